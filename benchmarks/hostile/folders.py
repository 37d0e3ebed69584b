"""Hostile run folders and files of trials; the folders of comparisons."""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hostile.case import BENCH, FIT, MORE, Case, canary_of, deliver_again, replaced, trials_of

Spoil = Callable[[Path, Path, random.Random], None]
"""Makes something hostile of a file; beside it the canary's folder, and a generator."""


def _link(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path).symlink_to(canary / "precious")


def _dangling(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path).symlink_to(canary / "new")


def _loop(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path).symlink_to(path.name)


def _pipe(path: Path, canary: Path, rng: random.Random) -> None:
    os.mkfifo(replaced(path))


def _socket(path: Path, canary: Path, rng: random.Random) -> None:
    here = Path.cwd()
    replaced(path)
    os.chdir(path.parent)  # the path of a socket has at most 108 characters
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path).symlink_to("/dev/zero")


def _folder(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path).mkdir()


def _empty(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path).touch()


def _missing(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path)


def _noise(path: Path, canary: Path, rng: random.Random) -> None:
    replaced(path).write_bytes(rng.randbytes(rng.randint(1, 5_000)))


def _cut(path: Path, canary: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randint(1, max(1, len(content) - 1))])


def _longer(path: Path, canary: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(64))


def _flipped(path: Path, canary: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(8):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _sparse(path: Path, canary: Path, rng: random.Random) -> None:
    with replaced(path).open("wb") as file:
        file.truncate(1 << 40)


def _text(text: str | bytes) -> Spoil:
    def spoil(path: Path, canary: Path, rng: random.Random) -> None:
        data = text.encode() if isinstance(text, str) else text
        replaced(path).write_bytes(data)

    return spoil


JSON: dict[str, Spoil] = {
    "deep": _text("[" * 100_000 + "]" * 100_000),
    "nested": _text('{"shape":' + "[" * 500 + "]" * 500 + "}"),
    "digits": _text('{"shape": [' + "9" * 10_000 + "]}"),
    "large": _text(
        '{"shape": [1000000000000], "given": {"outputs": 1e999}, "mean": [], "std": []}'
    ),
    "latin": _text('{"shape": ["é"]}'.encode("latin-1")),
    "list": _text("[]"),
    "null": _text("null"),
    "texts": _text('{"shape": "xx", "given": {"outputs": "two"}, "mean": [], "std": []}'),
    "negative": _text('{"shape": [-3], "given": {"outputs": -1}, "mean": [], "std": []}'),
}


def _array(make: Callable[[np.ndarray], object]) -> Spoil:
    def spoil(path: Path, canary: Path, rng: random.Random) -> None:
        np.save(path, make(np.load(path)), allow_pickle=True)

    return spoil


class _Call:
    """Unpickled, it creates a file in the canary's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def _pickled(path: Path, canary: Path, rng: random.Random) -> None:
    np.save(path, np.array([_Call(canary / "called")], object), allow_pickle=True)


def _plain_pickle(path: Path, canary: Path, rng: random.Random) -> None:
    path.write_bytes(pickle.dumps(_Call(canary / "called")))


def _header(text: str) -> Spoil:
    """An array whose header says something else than what follows."""

    def spoil(path: Path, canary: Path, rng: random.Random) -> None:
        header = text.encode().ljust(118) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)

    return spoil


ARRAYS: dict[str, Spoil] = {
    "empty": _empty, "cut": _cut, "longer": _longer, "noise": _noise, "link": _link,
    "pipe": _pipe, "sparse": _sparse, "pickled": _pickled, "pickle": _plain_pickle,
    "shape": _array(lambda held_out: held_out[:3]),
    "values": _array(lambda held_out: held_out * np.inf),
    "unknown": _array(lambda held_out: held_out * np.nan),
    "large": _array(lambda held_out: held_out + 7),
    "whole": _array(lambda held_out: np.zeros(held_out.shape, np.int64)),
    "texts": _array(lambda held_out: np.full(held_out.shape, "a")),
    "axes": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1," * 40 + ")}"),
    "huge": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 9)}"),
    "minus": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}"),
    "code": _header("{'descr': __import__('os').getcwd(), 'shape': ()}"),
    "parens": _header("(" * 110),
}  # fmt: skip

TENSORS: dict[str, Spoil] = {
    "empty": _empty, "cut": _cut, "longer": _longer, "noise": _noise, "link": _link,
    "pipe": _pipe, "missing": _missing, "folder": _folder,
    "header": _text((1 << 62).to_bytes(8, "little") + b"{}"),
    "offsets": _text(
        (76).to_bytes(8, "little")
        + b'{"weights":{"dtype":"F32","shape":[9,9],"data_offsets":[0,1000000000000]}}  '
    ),
    "none": _text((2).to_bytes(8, "little") + b"{}"),
}  # fmt: skip

KINDS: dict[str, Spoil] = {
    "link": _link, "dangling": _dangling, "loop": _loop, "pipe": _pipe, "socket": _socket,
    "device": _device, "folder": _folder, "empty": _empty, "noise": _noise, "sparse": _sparse,
}  # fmt: skip


def _file(name: str, spoil: Spoil) -> Callable[[Path, random.Random], None]:
    def make(place: Path, rng: random.Random) -> None:
        spoil(place / name, canary_of(place), rng)

    return make


def _of_trial(name: str, spoil: Spoil, all_of_them: bool) -> Callable[[Path, random.Random], None]:
    """Files of one trial, or of all trials, spoiled; what they were exported to is forgotten."""

    def make(place: Path, rng: random.Random) -> None:
        deliver_again(place)
        folders = trials_of(place)
        for folder in folders if all_of_them else folders[:1]:  # the one that is delivered
            for path in list(folder.glob(name)) or [folder / name]:
                spoil(path, canary_of(place), rng)

    return make


def _entry(name: str, target: str) -> Callable[[Path, random.Random], None]:
    """A link of the run folder to somewhere in the canary's."""

    def make(place: Path, rng: random.Random) -> None:
        replaced(place / "run" / name).symlink_to(canary_of(place) / target)

    return make


def _trial_is_link(place: Path, rng: random.Random) -> None:
    deliver_again(place)
    replaced(rng.choice(trials_of(place))).symlink_to(canary_of(place) / "1")


def _exported_trial_is_link(place: Path, rng: random.Random) -> None:
    deliver_again(place)
    for folder in trials_of(place, "model.onnx"):
        replaced(folder).symlink_to(canary_of(place) / "1")


def _fold_is_link(place: Path, rng: random.Random) -> None:
    deliver_again(place)
    replaced(rng.choice(trials_of(place)) / "fold-0").symlink_to(canary_of(place) / "1" / "fold-0")


def _part_is_link(place: Path, rng: random.Random) -> None:
    deliver_again(place)
    for folder in trials_of(place):
        (folder / ".model.onnx.part").symlink_to(canary_of(place) / "precious")
        (folder / ".checked.json.part").symlink_to(canary_of(place) / "new")
    (place / "run" / ".model.onnx.part").symlink_to(canary_of(place) / "precious")
    (place / "run" / ".delivered.json.part").symlink_to(canary_of(place) / "precious")


def _odd_names(place: Path, rng: random.Random) -> None:
    for name in ("0", "-1", "²", "٣", "007", "1e3", "99999999999999999999", "\x1b[2J", "a b"):
        (place / "run" / "trials" / name).mkdir()
    (place / "run" / "trials" / "5").write_text("a file")
    (place / "run" / "trials" / "998").symlink_to(canary_of(place))


def _run_is_link(place: Path, rng: random.Random) -> None:
    (place / "run").rename(place / "elsewhere")
    (place / "run").symlink_to("elsewhere")


def _checked(**changes: object) -> Callable[[Path, random.Random], None]:
    def make(place: Path, rng: random.Random) -> None:
        for folder in trials_of(place, "checked.json"):
            noted = json.loads((folder / "checked.json").read_text())
            (folder / "checked.json").write_text(json.dumps(noted | changes))

    return make


_TRIAL_FILES = {
    "about.json": JSON | {"link": _link, "pipe": _pipe, "empty": _empty, "folder": _folder},
    "fold-0/pipeline.json": {
        "deep": JSON["deep"], "list": JSON["list"], "latin": JSON["latin"], "cut": _cut,
        "empty": _empty, "pipe": _pipe, "link": _link, "flipped": _flipped,
        "class": _text('{"preparation": {"is": "Popen", "has": {}}, "target": {}}'),
    },
    "fold-0/seconds.json": {"texts": _text('"long"'), "nan": _text("NaN"), "pipe": _pipe},
    "candidate.json": {"list": JSON["list"], "deep": JSON["deep"], "link": _link},
}  # fmt: skip


def _cases() -> Iterator[Case]:
    for name in ("study.sqlite", "model.onnx", "delivered.json"):
        command = {"model.onnx": ("predict", "run", "table.csv")}.get(name, ("leaderboard", "run"))
        for kind, spoil in KINDS.items():
            yield Case(f"{name}: {kind}", _file(f"run/{name}", spoil), command)
    for kind in ("link", "pipe", "folder", "empty"):
        yield Case(f"study.sqlite, fit: {kind}", _file("run/study.sqlite", KINDS[kind]), FIT)
        make = _file("run/model.onnx", KINDS[kind])
        yield Case(f"model.onnx, export: {kind}", make, ("export", "run", "--out", "new.onnx"))
    for kind, spoil in ARRAYS.items():
        yield Case(f"held-out.npy: {kind}", _of_trial("held-out.npy", spoil, False), FIT)
    for kind, spoil in TENSORS.items():
        yield Case(f"weights: {kind}", _of_trial("fold-*/*.safetensors", spoil, False), FIT)
    yield Case("all held-out.npy empty", _of_trial("held-out.npy", _empty, True), FIT)
    yield Case("all weights empty", _of_trial("fold-*/*.safetensors", _empty, True), FIT)
    for name, spoils in _TRIAL_FILES.items():
        for kind, spoil in spoils.items():
            command = ("show", "run", "2") if name == "about.json" else FIT
            yield Case(f"{name}: {kind}", _of_trial(name, spoil, name == "about.json"), command)
    for kind, spoil in JSON.items():
        yield Case(f"delivered.json, fit: {kind}", _file("run/delivered.json", spoil), FIT)
    yield from _links()
    yield from _comparisons()


def _links() -> Iterator[Case]:
    yield Case("trials is a link, finished", _entry("trials", "."), FIT)
    yield Case("trials is a link, show", _entry("trials", "."), ("show", "run"))
    yield Case("a trial is a link", _trial_is_link, FIT)
    yield Case("exported trials are links", _exported_trial_is_link, FIT)
    yield Case("a fold is a link", _fold_is_link, FIT)
    yield Case("an unknown trial is a link", _entry("trials/999", "."), FIT)
    yield Case("an unknown trial is a link, more trials", _entry("trials/999", "."), MORE)
    yield Case("supernet is a link", _entry("supernet", "."), FIT)
    yield Case("parts are links", _part_is_link, FIT)
    yield Case("parts are links, export", _part_is_link, ("export", "run", "--trial", "1"))
    for number in (1, 2, 3):
        drawing = _entry(f"trial-{number}.svg", "precious")
        yield Case(f"drawing {number} is a link", drawing, ("show", "run", str(number)))
    yield Case("odd names in trials", _odd_names, FIT)
    yield Case("the run is reached by a link", _run_is_link, ("leaderboard", "run"))
    yield Case("the run is reached by a link, fit", _run_is_link, FIT)
    yield Case("checked: parity", _checked(parity={"rows": "many"}), FIT)
    yield Case("checked: measured", _checked(measured={"size": [1]}), FIT)
    yield Case("checked: nothing measured", _checked(measured={}), FIT)


def _comparisons() -> Iterator[Case]:
    for kind in ("link", "pipe", "folder", "noise", "empty"):
        yield Case(f"runs.csv: {kind}", _file("bench/runs.csv", KINDS[kind]), BENCH)
        yield Case(f"protocol.json: {kind}", _file("bench/protocol.json", KINDS[kind]), BENCH)
    for kind in ("deep", "list", "latin"):
        yield Case(f"protocol.json: {kind}", _file("bench/protocol.json", JSON[kind]), BENCH)
    for name in ("summary.csv", "curves.csv", "bench.svg", "parts", "parts/x.csv"):
        yield Case(f"bench/{name}: link", _file(f"bench/{name}", _link), BENCH)
    rows = _text("strategy,seed\nrandom,x,y\n")
    yield Case("runs.csv: short rows", _file("bench/runs.csv", rows), BENCH)


CASES: tuple[Case, ...] = tuple(_cases())
