"""Random sets of images: modes of files, ranges and channels of arrays, small odd sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

N_IMAGE_SETS = 20
LEARNT, NEW = 36, 12
SETS: tuple[tuple[str, str, int], ...] = (
    ("array", "uint8", 1), ("array", "share", 1), ("array", "float", 1), ("array", "10 bits", 1),
    ("array", "12 bits", 3), ("array", "16 bits", 1), ("array", "uint8", 2), ("array", "uint8", 4),
    ("array", "share", 7), ("png", "L", 1), ("png", "RGB", 3), ("png", "RGBA", 4), ("png", "LA", 2),
    ("png", "P", 3), ("png", "I;16", 1), ("tif", "share", 1), ("tif", "float", 1),
    ("png", "sizes", 3), ("array", "bool", 1), ("array", "8 bits in 16", 1),
)  # fmt: skip
"""Where the images are, their range or mode, and their channels; "sizes": RGB of different ones."""
_HIGHEST = {"10 bits": 1023.0, "12 bits": 4095.0, "16 bits": 65535.0, "I;16": 4095.0}


@dataclass(frozen=True, eq=False)
class RandomImages:
    """Images to learn from with their targets, and new ones; `others`: the new ones in other types.

    `new` (n, h, w) or (n, h, w, c) of files holds what is written to them. `as_pixels`: an array of
    the same numbers means the same as the file; it does not where a file has alpha or a palette.
    """

    learnt: NDArray[Any]
    target: NDArray[Any]
    new: NDArray[Any]
    others: tuple[NDArray[Any], ...]
    mode: str
    ending: str
    as_pixels: bool
    regression: bool

    @property
    def description(self) -> str:
        return f"{self.mode} {self.learnt.dtype} {self.learnt.shape} {self.ending or 'array'}"

    def write_learnt(self, folder: Path) -> tuple[Any, ...]:
        """What `fit` takes: arrays, or a folder with one of each class."""
        if not self.ending:
            return self.learnt, self.target
        for number, (pixels, label) in enumerate(zip(self.learnt, self.target, strict=True)):
            self._write(pixels, number, folder / str(label) / f"{number:03}{self.ending}")
        return (folder,)

    def write_new(self, folder: Path, places: Any = None) -> Path:
        """New images as files of a folder, in their order."""
        for number, place in enumerate(range(len(self.new)) if places is None else places):
            self._write(self.new[place], int(place), folder / f"{number:03}{self.ending}")
        return folder

    def _write(self, pixels: NDArray[Any], place: int, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cut = place % 3 if self.mode == "sizes" else 0
        image = Image.fromarray(pixels[cut:])
        image = image.quantize(16) if self.mode == "P" else image
        image.save(path)


def random_images(seed: int) -> RandomImages:
    """Set number `seed`: the classes differ in their brightness, the darkest is nearly black."""
    rng = np.random.default_rng([seed, 20])
    where, mode, channels = SETS[seed % len(SETS)]
    height, width = int(rng.integers(5, 17)), int(rng.integers(5, 17))
    rows = LEARNT + NEW
    regression = seed == 2
    y = np.arange(rows) % 3
    bright = np.array([0.0, 0.3, 0.6])[y] + rng.uniform(0, 0.3, rows) * (y > 0)
    unit = rng.uniform(0, 1, (rows, height, width, channels)) ** 2 * 0.4
    unit = np.where(y[:, None, None, None] == 0, unit / 150, unit + bright[:, None, None, None])
    unit[..., -1] = unit[..., -1] ** (1 + y[:, None, None])  # the last channel says something, too
    unit = np.clip(unit, 0, 1)
    unit[1, 0, 0], unit[2, -1, -1] = 1.0, 1.0  # the whole range is there to learn from
    pixels = _in_range(unit, mode)
    pixels = pixels[..., 0] if channels == 1 else pixels
    target: NDArray[Any] = bright if regression else np.array(["night", "dusk", "day"])[y]
    as_pixels = mode not in ("RGBA", "LA", "P", "sizes")
    return RandomImages(
        pixels[:LEARNT], target[:LEARNT], pixels[LEARNT:], _same_values(pixels[LEARNT:], mode),
        mode, "" if where == "array" else f".{where}", as_pixels, regression,
    )  # fmt: skip


def _in_range(unit: NDArray[np.float64], mode: str) -> NDArray[Any]:
    highest = _HIGHEST.get(mode, 255.0)
    if mode == "share":
        return unit.astype(np.float32)
    if mode == "float":
        return (255 * unit).astype(np.float32)
    if mode == "bool":
        return unit > 0.5
    wide = highest > 255 or mode == "8 bits in 16"
    return np.rint(highest * unit).astype(np.uint16 if wide else np.uint8)


def _same_values(pixels: NDArray[Any], mode: str) -> tuple[NDArray[Any], ...]:
    """The same numbers in other types of numpy."""
    names = ["float64", "float32"]
    if mode not in ("share", "float"):
        names += ["int64", "uint16", "int32"]
    return tuple(pixels.astype(name) for name in names)
