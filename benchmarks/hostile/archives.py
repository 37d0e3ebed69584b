"""Hostile archives and data: bombs, links, paths that lead out, sizes that lie, pipes, depth."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hostile.case import Case

_BOMB_BYTES = 300 * 2**20
"""What a bomb of some hundred kilobytes unpacks to."""

Write = Callable[[Path, random.Random], None]


def _fit(data: str) -> tuple[str, ...]:
    target = () if data.endswith((".npz", "pictures")) else ("--target", "y")
    families = () if data == "pictures" else ("--families", "linear")
    return ("fit", data, *target, *families, "--workers", "1", "--trials", "1", "--run", "new")


def _case(name: str, file: str, write: Write, *, predict: bool = False) -> Case:
    """A case with a new file or folder beside the model; it is learnt from, or predicted."""

    def make(folder: Path, rng: random.Random) -> None:
        write(folder / file, rng)

    command = ("predict", "model.onnx", file) if predict else _fit(file)
    return Case(f"archive: {name}", make, command)


def _array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def _header(shape: str, dtype: str = "<f8") -> bytes:
    """The start of a .npy of this shape."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (64 - (len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def _zip(
    members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None
) -> Write:
    def write(path: Path, rng: random.Random) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                if change:
                    change(info)
                archive.writestr(info, content)

    return write


def _as_link(info: zipfile.ZipInfo) -> None:
    info.create_system, info.external_attr = 3, 0o120777 << 16


def _rows(rng: random.Random, n: int = 60) -> dict[str, bytes]:
    x = np.array([[rng.gauss(0, 1) for _ in range(3)] for _ in range(n)])
    return {"x.npy": _array(x), "y.npy": _array((x[:, 0] > 0).astype(np.int64))}


def _zip_bomb(path: Path, rng: random.Random) -> None:
    _zip({f"{name}/{i}.png": bytes(2**24) for name in "ab" for i in range(8)})(path, rng)


def _npz_bomb(path: Path, rng: random.Random) -> None:
    """An array of more than there is memory, in a member that is short."""
    _zip({"x.npy": _header("(1125899906842624,)") + bytes(64), "y.npy": _array(np.arange(9))})(
        path, rng
    )


def _lying_member(path: Path, rng: random.Random) -> None:
    """A member whose directory says that it is larger than it is."""
    _zip(_rows(rng))(path, rng)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 2**31)
    path.write_bytes(data)


def _overlapping(path: Path, rng: random.Random) -> None:
    """Two entries of the directory share the bytes of one member."""
    _zip(_rows(rng))(path, rng)
    data = bytearray(path.read_bytes())
    last = data.rindex(b"PK\x01\x02")
    data[last + 42 : last + 46] = struct.pack("<I", 0)
    path.write_bytes(data)


def _encrypted(path: Path, rng: random.Random) -> None:
    _zip(_rows(rng))(path, rng)
    data = path.read_bytes().replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"
    )
    path.write_bytes(data)


class _Opens:
    """Writes into the canary when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (os.system, ("touch ../canary/opened",))


def _pickled(path: Path, rng: random.Random) -> None:
    objects = np.array([_Opens()] * 3, dtype=object)
    _zip({"x.npy": _array(objects), "y.npy": _array(np.arange(3))})(path, rng)


def _nested(path: Path, rng: random.Random) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x.npy", _array(np.arange(4)))
    for _ in range(50):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w") as archive:
            archive.writestr("x.npz", inner.getvalue())
        inner = outer
    path.write_bytes(inner.getvalue())


def _many(path: Path, rng: random.Random) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.npy", b"")


def _bomb(pack: Callable[[bytes], bytes], content: bytes) -> Write:
    return lambda path, rng: _written(path, pack(content * (_BOMB_BYTES // len(content))))


def _written(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _half(path: Path, rng: random.Random) -> None:
    text = b"a,b,c,y\n" + b"1.5,2.5,u,p\n2.5,1.5,v,q\n" * 500
    data = gzip.compress(text)
    path.write_bytes(data[: len(data) // 2])


def _wide(path: Path, rng: random.Random) -> None:
    names = ",".join(f"c{i}" for i in range(300_000))
    path.write_text(f"{names},y\n" + "1," * 300_000 + "p\n")


def _quoted(path: Path, rng: random.Random) -> None:
    """A quote that is never closed, before fifty megabytes."""
    path.write_bytes(b'a,b,y\n1,2,p\n"' + b"3,4,q\n" * (50 * 2**20 // 6))


def _parquet(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"PAR1" + rng.randbytes(200) + struct.pack("<I", 2**31 - 1) + b"PAR1")


def _png(width: int, height: int, packed: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + end


def _pictures(more: Callable[[Path], None]) -> Write:
    """A folder of two classes, and something else in the first."""

    def write(path: Path, rng: random.Random) -> None:
        packed = zlib.compress(b"\0" + bytes(rng.randrange(256) for _ in range(24)))
        for name in "ab":
            (path / name).mkdir(parents=True)
            for i in range(8):
                (path / name / f"{i}.png").write_bytes(_png(8, 1, packed))
        more(path / "a")

    return write


def _deep(path: Path) -> None:
    for _ in range(300):
        path = path / "d"
        path.mkdir()


def _gigapixels(path: Path) -> None:
    (path / "x.png").write_bytes(_png(65_535, 65_535, b""))


def _named(name: bytes) -> Write:
    """Columns that are called like commands for a terminal, or like files."""
    return lambda path, rng: _written(path, name + b",b,y\n" + b"1,2,p\n2,1,q\n" * 40)


CASES: tuple[Case, ...] = (
    _case("pictures that unpack to much more", "images.zip", _zip_bomb),
    _case(
        "paths that lead out", "images.zip", _zip({"../../canary/precious": b"x", "/tmp/x": b"x"})
    ),
    _case("a link as a member", "images.zip", _zip({"a/1.png": b"../../../canary"}, _as_link)),
    _case("an array of petabytes", "data.npz", _npz_bomb),
    _case("a member of a lying size", "data.npz", _lying_member),
    _case("members that overlap", "data.npz", _overlapping),
    _case("encrypted members", "data.npz", _encrypted),
    _case("a pickle that runs a command", "data.npz", _pickled),
    _case("a pickle to predict", "rows.npz", _pickled, predict=True),
    _case("archives within archives", "data.npz", _nested),
    _case("twenty thousand members", "data.npz", _many),
    _case("names that lead out", "data.npz", _zip({"../x.npy": _array(np.arange(9))})),
    _case("one line of 300 MB, packed", "data.csv.gz", _bomb(gzip.compress, b"1" * 1024)),
    _case("lines of 300 MB, packed", "data.csv.bz2", _bomb(bz2.compress, b"," * 1023 + b"\n")),
    _case("zeros of 300 MB, packed", "data.csv.xz", _bomb(lzma.compress, bytes(1024))),
    _case("half of a packed table", "data.csv.gz", _half),
    _case("300,000 columns", "data.csv", _wide),
    _case("a quote without an end", "data.csv", _quoted),
    _case("a footer of gigabytes", "data.parquet", _parquet),
    _case("a pipe", "data.csv", lambda path, rng: os.mkfifo(path)),
    _case("a pipe to predict", "rows.csv", lambda path, rng: os.mkfifo(path), predict=True),
    _case("a link to a device", "data.csv", lambda path, rng: path.symlink_to("/dev/zero")),
    _case("a link to itself", "data.csv", lambda path, rng: path.symlink_to(path.name)),
    _case("a header that commands the terminal", "data.csv", _named(b"\x1b]2;owned\x07")),
    _case(
        "a picture of 12 gigabytes",
        "pictures",
        _pictures(lambda place: _written(place / "x.png", _png(65_535, 65_535, b""))),
    ),
    _case(
        "a link to all files", "pictures", _pictures(lambda place: (place / "x").symlink_to("/"))
    ),
    _case("a pipe among pictures", "pictures", _pictures(lambda place: os.mkfifo(place / "x.png"))),
    _case("folders 300 deep", "pictures", _pictures(_deep)),
)
