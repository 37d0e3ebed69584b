"""A case, and the good table and images that the malformed ones are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

RNG = np.random.Generator
Make: TypeAlias = Callable[[Path, RNG], Path | str]
"""Writes into an empty folder and returns the path to pass as DATA."""
ROWS = 60
LARGE = psutil.virtual_memory().total // 3
"""Bytes: more than a file may take, which is a quarter of the machine's memory."""


@dataclass(frozen=True)
class Case:
    """One kind of file. `expects`: "read", "refused", or "either" where both can be right.

    `shows`: what the summary must say of data that is read. `named`: what the sentence must call
    the file, its name when empty. `target` is "" where the data holds it.
    """

    kind: str
    name: str
    make: Make
    expects: Literal["read", "refused", "either"] = "either"
    shows: str = ""
    target: str = "y"
    named: str = ""
    door: Literal["fit", "predict", "task"] = "fit"


def lines(rng: RNG, rows: int = ROWS, separator: str = ",") -> list[str]:
    """Header and rows of a table whose `y` follows from `x`."""
    x = rng.normal(size=rows).round(3)
    z = rng.choice(["red", "green", "blue"], rows)
    y = np.where(x > np.median(x), "yes", "no")
    body = [separator.join(map(str, row)) for row in zip(x, z, y, strict=True)]
    return [separator.join(("x", "colour", "y")), *body]


def some(rng: RNG, count: int = ROWS) -> int:
    """A place in the body of the table."""
    return int(rng.integers(1, count))


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(rng: RNG, label: int, side: int = 12) -> NDArray[np.uint8]:
    """(side, side, 3) pixels, brighter for a larger label."""
    return rng.integers(90 * label, 90 * label + 80, (side, side, 3)).astype(np.uint8)


def class_folders(
    folder: Path, rng: RNG, each: int = 8, names: tuple[str, ...] = ("a", "b")
) -> Path:
    """A folder of pictures, one folder a class."""
    place = folder / "pictures"
    for label, name in enumerate(names):
        (place / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(picture(rng, label)).save(place / name / f"{number}.png")
    return place
