"""A hostile input, made of a copy of a good one, and what the command did with it."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CANARY = "canary"
"""Name of the folder next to each case's: nothing in it may be read, changed or deleted."""
SECRET = "a secret that no command may print"
"""Stands in the canary's files."""

FIT = (
    "fit", "table.csv", "--target", "y", "--families", "linear,network", "--workers", "1",
    "--trials", "3", "--run", "run",
)  # fmt: skip
"""The line that made `run`: finished, so that it reads and delivers again."""
MORE = tuple("4" if word == "3" else word for word in FIT)
"""The same for one trial more, which is searched for."""
BENCH = (
    "bench", "digits", "--strategies", "random", "--seeds", "2", "--evaluations", "5",
    "--workers", "1", "--run", "bench",
)  # fmt: skip
"""The line that made `bench`."""


@dataclass(frozen=True)
class Case:
    """`make` turns a copy of the good folder into a hostile one, by its own random generator.

    The folder holds `run/`, `bench/`, `model.onnx`, `images.zip` and `table.csv`. `command`: the
    arguments of `netwright`, with paths relative to the folder.
    """

    name: str
    make: Callable[[Path, random.Random], None]
    command: tuple[str, ...]


def canary_of(place: Path) -> Path:
    """The tree that links of a hostile folder point to."""
    return place.parent / CANARY


def make_canary(folder: Path) -> None:
    """Files that a run would overwrite, empty or believe if it followed a link."""
    (folder / "1" / "fold-0").mkdir(parents=True)
    for name in ("precious", "model.onnx", "1/about.json", "1/held-out.npy", "1/fold-0/file"):
        (folder / name).write_text(SECRET)


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return every path below the folder with its mode, modification time and contents."""
    found: dict[str, tuple[int, int, str]] = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = ""
        if stat.S_ISLNK(about.st_mode):
            content = os.readlink(path)  # noqa: PTH115  # the text of the link
        elif stat.S_ISREG(about.st_mode):
            content = path.read_bytes().hex()
        found[str(path.relative_to(folder))] = (about.st_mode, about.st_mtime_ns, content)
    return found


def replaced(path: Path) -> Path:
    """Delete what is at the path, and return the path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def trials_of(place: Path, name: str = "held-out.npy") -> list[Path]:
    """Return the trials' folders that contain a file of this name."""
    found = (path.parent for path in (place / "run" / "trials").glob(f"*/{name}"))
    return sorted(found, key=lambda path: int(path.name))


def deliver_again(place: Path) -> None:
    """Forget what was exported, so that the next `fit` reads what trials have left."""
    (place / "run" / "model.onnx").unlink(missing_ok=True)
    (place / "run" / "delivered.json").unlink(missing_ok=True)
    for path in (place / "run" / "trials").glob("*/checked.json"):
        path.unlink()
