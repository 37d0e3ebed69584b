"""Images: folders, single files and arrays -> pixels of one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from netwright.data.checks import existing
from netwright.data.columns import as_pixels, shares
from netwright.data.text_files import SEPARATORS
from netwright.errors import InputError

Size: TypeAlias = tuple[int, int, int]
"""Height, width, channels (1 or 3)."""
Pixels: TypeAlias = NDArray[np.uint8]

ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
LARGEST = 256
"""The longer side that larger folders of images are reduced to."""

_PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}


@dataclass(frozen=True)
class Folder:
    """The files of an image folder and the class of each; parts that it does not have are empty."""

    train: tuple[tuple[Path, str], ...]
    validation: tuple[tuple[Path, str], ...] = ()
    test: tuple[tuple[Path, str], ...] = ()


def read_folder(folder: Path) -> Folder:
    """Files and classes: one folder a class, or such folders below ``train`` and ``test``.

    InputError when there are no images, or none in folders.
    """
    inner = {path.name.lower(): path for path in _folders(folder)}
    parts = {
        part: next((inner[name] for name in names if name in inner), None)
        for part, names in _PARTS.items()
    }
    if parts["train"] is None or not _folders(parts["train"]):
        return Folder(_labelled(folder))
    files = {part: _labelled(path) for part, path in parts.items() if path is not None}
    return Folder(**files)


def image_files(folder: Path) -> list[Path]:
    """All images below a folder (or the one file), sorted by path."""
    if folder.is_file():
        return [folder]
    found = [p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and not _hidden(p)]
    return sorted(path for path in found if path.is_file())


def common_size(files: Sequence[Path]) -> tuple[Size, tuple[str, ...]]:
    """The size and channels that a set of images is brought to, and notes.

    The most common size where half of the images have it, else the median height and width; the
    longer side at most `LARGEST`. One channel where all images are grey.
    """
    looks = [_look(path) for path in files]
    sizes = Counter((h, w) for h, w, _ in looks)
    (height, width), count = sizes.most_common(1)[0]
    how = "the most common"
    if 2 * count < len(looks):
        height, width = (int(np.median([look[axis] for look in looks])) for axis in (0, 1))
        how = "their median"
    if max(height, width) > LARGEST:
        shrink = LARGEST / max(height, width)
        height, width = max(1, round(height * shrink)), max(1, round(width * shrink))
        how = f"at most {LARGEST} a side"
    notes: tuple[str, ...] = ()
    if set(sizes) != {(height, width)}:
        have = f"{len(sizes):,} sizes" if len(sizes) > 1 else "one size"
        notes = (f"The images have {have} and are resized to {height} x {width} ({how}).",)
    return (height, width, 1 if all(grey for _, _, grey in looks) else 3), notes


def read_files(files: Sequence[Path], size: Size) -> Pixels:
    """(n, h, w, c) of image files. InputError, naming the file, at one that cannot be read."""
    pixels = np.empty((len(files), *size), np.uint8)
    for i, path in enumerate(files):
        pixels[i] = _decode(path, size)
    return pixels


def read_array(values: Any) -> tuple[Pixels, tuple[str, ...]]:
    """(n, h, w, c) of an array of images, and a note where its values were changed."""
    array = np.asarray(values)
    pixels = as_pixels(array)
    notes: tuple[str, ...] = ()
    if shares(array):
        notes = ("Pixels from 0 to 1 are taken as shares of 255.",)
    elif array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        notes = ("Pixels with fractions are rounded to whole levels of 0 to 255.",)
    if array.ndim == 4 and array.shape[3] != pixels.shape[3]:
        notes += ("The images' alpha channel is left out.",)
    return pixels, notes


def resized(pixels: Pixels, size: Size) -> Pixels:
    """Images of another size or number of channels, brought to `size`."""
    if pixels.shape[1:] == size:
        return pixels
    return (
        np.stack([_fit(_picture(one), size) for one in pixels])
        if len(pixels)
        else np.empty((0, *size), np.uint8)
    )


def _labelled(folder: Path) -> tuple[tuple[Path, str], ...]:
    """The images of each class folder; folders without images do not count."""
    found = [(file, one.name) for one in _folders(folder) for file in image_files(one)]
    if found:
        return tuple(found)
    loose = image_files(folder)
    tables = [
        p.name for p in folder.iterdir() if p.suffix.lower() in {*SEPARATORS, ".parquet", ".npz"}
    ]
    got = f"{len(loose):,} images outside such folders" if loose else "no images"
    fix = f" Did you mean the file {str(folder / sorted(tables)[0])!r}?" if tables else ""
    raise InputError(f"{folder} must hold one folder of images for each class, got {got}.{fix}")


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(p))


def _hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def _look(path: Path) -> tuple[int, int, bool]:
    """Height, width, and whether it is grey, without decoding the pixels."""
    image = _opened(path)
    try:
        with image:
            width, height = image.size
            turned = image.format in ("JPEG", "MPO", "TIFF") and image.getexif().get(0x0112, 1) >= 5
            grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;")
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from None
    return (width, height, grey) if turned else (height, width, grey)  # held on its side


def _decode(path: Path, size: Size) -> Pixels:
    image = _opened(path)
    try:
        with image:
            return _fit(ImageOps.exif_transpose(image), size)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on broken data
        raise _unreadable(path, error) from None


def _opened(path: Path) -> Image.Image:
    existing(path)
    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    why = "no image" if isinstance(error, UnidentifiedImageError) else str(error)
    return InputError(
        f"{path} must be an image that can be read, got {why or 'a broken file'}. "
        "Replace the file or take it out of the folder."
    )


def _fit(image: Image.Image, size: Size) -> Pixels:
    """(h, w, c) of one picture."""
    height, width, channels = size
    if image.mode in ("I", "F") or image.mode.startswith("I;"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size)


def _picture(pixels: Pixels) -> Image.Image:
    """A picture of (h, w, c) pixels."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def resize_note(have: Sequence[int], size: Size) -> tuple[str, ...]:
    """What is said when images come in another size than the one learnt."""
    if tuple(have) == size:
        return ()
    return (f"The images are {_by(have)} and are brought to {_by(size)}.",)


def classes_of(files: Iterable[tuple[Path, str]]) -> list[str]:
    """The labels, in the order of the files."""
    return [label for _, label in files]


def _by(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
