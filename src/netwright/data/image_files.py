"""Image files: which files below a folder are images, told by their content, and their pixels."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from netwright.data.image_headers import channel_bits, exceeds_file, has_unnamed_band, n_bands
from netwright.data.memory import memory_allowance, refuse_if_larger
from netwright.data.pixels import PixelFormat, Pixels, Size
from netwright.errors import InputError, printable

FORMATS = (
    "PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO",
)  # fmt: skip
"""Pillow's names. Not EPS, PS and PDF, which it hands to other programs, and no rare ones."""
ENDINGS = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".dib", ".tif",
    ".tiff", ".webp", ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".ico",
})  # fmt: skip
"""A file with such an ending has to be an image; others are images where their content says so."""
UNREAD_ENDINGS = frozenset({
    ".heic", ".heif", ".tga", ".psd", ".jxl", ".svg", ".eps", ".dng", ".cr2", ".nef", ".arw",
    ".dcm", ".qoi", ".pcx", ".exr", ".hdr",
})  # fmt: skip
"""Images in formats that are not read: a class of nothing else is refused, not left out."""

Reason: TypeAlias = Literal[
    "hidden", "no image", "unread format", "unreadable", "no regular file", "link to a folder",
    "too large", "outside",
]  # fmt: skip
"""Why something is left out."""

_SYSTEM_FOLDERS = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found"})
"""What operating systems put beside the data; some hold images: previews and copies."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation -> what turns the image upright."""
_ORIENTATION = 0x0112
_VIA_RGB = ("P", "PA", "LAB")
"""Modes that Pillow does not turn to grey in one step, or not by the colours that are seen."""
_MANY_FRAMES = ("GIF", "TIFF", "WEBP", "PNG", "AVIF")
"""Formats of which further frames are worth a word; those of MPO are previews and depth maps."""
_ICON = b"\0\0\1\0"
_MAX_ICON_PIXELS = 2048 * 2048
"""Icons have 256 x 256 pixels at most, those of some programs 1024 x 1024."""
_GREY_PIXEL_BYTES, _MAX_PIXEL_BYTES = 2, 12
_PIXEL_BYTES = {"1": 6, "L": 6, "P": 9}
"""Mode -> bytes a pixel while it is decoded, turned and converted to colours, which take 4 each.

Grey ones that stay grey take `_GREY_PIXEL_BYTES`; other modes up to `_MAX_PIXEL_BYTES`: three
copies of 4 bytes.
"""
_PILLOW = threading.RLock()


@dataclass(frozen=True)
class ImageFile:
    """An image file as its header describes it; height and width are those of it upright."""

    path: Path
    height: int
    width: int
    mode: str
    has_alpha: bool = False
    has_frames: bool = False
    is_deep_colour: bool = False
    """Whether it has more than 8 bits a channel, of which Pillow reads the upper 8."""
    bands: int = 0
    """Bands of the file where it has more than are read, else 0."""

    @property
    def bands_read(self) -> int:
        """Bands of its mode; a fourth that no tag calls alpha is left out."""
        return 3 if self.mode == "RGBA" and not self.has_alpha else Image.getmodebands(self.mode)

    @property
    def is_deep(self) -> bool:
        """Whether its values are numbers of more than 8 bits."""
        return _is_deep(self.mode)

    @property
    def is_grey(self) -> bool:
        return self.mode in ("1", "L", "LA", "La") or self.is_deep


@dataclass(frozen=True)
class Scan:
    """What lies below a folder: images, folders, and what is left out with the reason.

    All in the order of their paths.
    """

    images: tuple[ImageFile, ...]
    folders: tuple[Path, ...]
    left_out: tuple[tuple[Path, Reason], ...]


def scan(folder: Path) -> Scan:
    """Looks at every file below a folder.

    Raises InputError, naming the file, where one with the ending of an image is none.
    """
    images: list[ImageFile] = []
    folders: list[Path] = []
    left_out: list[tuple[Path, Reason]] = []
    for path, is_folder in _entries(folder):
        reason = _reason(path, is_folder)
        if reason is None and is_folder:
            folders.append(path)
        elif reason is None and (image := _looked_at(path)):
            images.append(image)
        else:
            left_out.append((path, reason or _no_image(path)))
    return Scan(
        tuple(sorted(images, key=lambda image: image.path)),
        tuple(sorted(folders)), tuple(sorted(left_out)),
    )  # fmt: skip


def describe(path: Path) -> ImageFile:
    """An image file by its header. InputError where it is none, or too large for the memory."""
    with _opened(path) as image:
        try:
            turned = image.format in ("JPEG", "MPO", "TIFF", "WEBP") and _orientation(image) >= 5
            width, height = image.size[::-1] if turned else image.size
            described = ImageFile(
                path, height, width, image.mode, _has_alpha(image), _has_frames(image),
                not _is_deep(image.mode) and channel_bits(image, path) > 8, _extra_bands(image),
            )  # fmt: skip
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable(path, error) from None
        _refuse_larger(path, image, 1)
    return described


def is_image(path: Path) -> bool:
    """Whether a file's content is that of an image."""
    try:
        with _opened(path):
            return True
    except InputError:
        return False


def decode(path: Path, size: Size, pixel_format: PixelFormat | None) -> tuple[Pixels, int]:
    """(h, w, c) levels of one file, and how many values were clipped.

    `pixel_format` None: as versions read it that did not store the format.
    """
    with _opened(path) as image:
        _refuse_larger(path, image, size[2])
        try:
            upright = _upright(image)
            if pixel_format is None:
                return fitted(_old_levels(upright), size), 0
            if not _is_deep(upright.mode):
                return fitted(_without_alpha(upright, size[2], pixel_format.background), size), 0
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable(path, error) from None
        levels, n_clipped = format_levels(path, np.asarray(upright), pixel_format)
        return fitted(Image.fromarray(levels), size), n_clipped


def raw_pixels(path: Path) -> NDArray[Any]:
    """(h, w) values of a file with more than 8 bits. InputError where one is not finite."""
    with _opened(path) as image:
        try:
            values = np.asarray(image)
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable(path, error) from None
    _refuse_infinite(path, values)
    return values


def opaque_greys(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grey levels (n,) and opacities (n,) of 0 to 1, of some pixels of a file with alpha."""
    with _opened(path) as image:
        try:
            with_alpha = image.convert("RGBA")
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable(path, error) from None
        small = with_alpha.resize((min(64, image.width), min(64, image.height)), 0)
    alpha = np.asarray(small.getchannel("A"), np.float64).ravel() / 255
    return np.asarray(small.convert("RGB").convert("L"), np.float64).ravel(), alpha


def fitted(image: Image.Image, size: Size) -> Pixels:
    """(h, w, c) of a picture with 8 bits a channel."""
    height, width, channels = size
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size)


def format_levels(
    path: Path, values: NDArray[Any], pixel_format: PixelFormat
) -> tuple[Pixels, int]:
    """(h, w) levels of the values (h, w) of a file, and how many were clipped."""
    _refuse_infinite(path, values)
    levels, n_clipped = pixel_format.levels(values[..., None])
    return levels[..., 0], n_clipped


def unreadable(path: Path, error: Exception) -> InputError:
    """The sentence for a file that should be an image."""
    why = "no image" if isinstance(error, UnidentifiedImageError) else str(error)
    return InputError(
        f"{path} must be an image that can be read, got {why or 'a broken file'}. "
        "Replace the file or take it out of the folder."
    )


def some_names(paths: Iterable[Path], shown: int = 3) -> str:
    """``a.txt, b.txt, c.txt, ...``: the first few names."""
    names = [printable(path.name) for path in paths]
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def _entries(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Files and folders below a folder, and whether it is a folder.

    Hidden ones and those that may not be read are not entered.
    """
    errors: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=errors.append):
        yield from ((Path(place, name), False) for name in files)
        yield from ((Path(place, name), True) for name in folders)
        folders[:] = [
            name for name in folders if not _is_hidden(name) and _may_be_read(Path(place, name))
        ]
    yield from ((Path(error.filename), True) for error in errors)


def _reason(path: Path, is_folder: bool) -> Reason | None:
    """Why a file or folder is not looked at."""
    if _is_hidden(path.name):
        return "hidden"
    if is_folder and path.is_symlink():
        return "link to a folder"
    try:
        if not is_folder and not path.is_file():  # a pipe would be waited for
            return "no regular file"
    except PermissionError:  # of the folder that it is in
        return "unreadable"
    if not _may_be_read(path):
        return "unreadable"
    if is_folder:
        return None
    if path.stat().st_size > memory_allowance() and path.suffix.lower() not in ENDINGS:
        return "too large"
    return None


def _may_be_read(path: Path) -> bool:
    """Whether its permissions let it be read; folders must let their entries be opened, too."""
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return os.access(path, needed, effective_ids=os.access in os.supports_effective_ids)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def _looked_at(path: Path) -> ImageFile | None:
    """The image of a file; None where it is none and does not claim to be one."""
    if path.suffix.lower() in ENDINGS or is_image(path):
        return describe(path)
    return None


def _no_image(path: Path) -> Reason:
    return "unread format" if path.suffix.lower() in UNREAD_ENDINGS else "no image"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file opened by Pillow, without its own limit of size and its warnings meanwhile."""
    refuse_if_larger(path.stat().st_size, str(path), "Take it out of the folder.")
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which say nothing of the pixels
        limit = Image.MAX_IMAGE_PIXELS
        try:
            try:
                Image.MAX_IMAGE_PIXELS = _open_limit(path)
                image = Image.open(path, formats=_formats())
            except Exception as error:  # broken files make Pillow's readers raise nearly anything
                raise unreadable(path, error) from None
            with image:
                yield image
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _open_limit(path: Path) -> int | None:
    """Pixels that Pillow itself may open; None for no bound, as `_refuse_larger` judges headers.

    Icons are decoded when they are opened, and hold images larger than their headers say.
    """
    with path.open("rb") as file:
        return _MAX_ICON_PIXELS if file.read(4) == _ICON else None


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _refuse_larger(path: Path, image: Image.Image, channels: int) -> None:
    """InputError where decoding and converting to `channels` would take too much memory.

    And where a TIFF claims a size that its bytes cannot hold: to find out takes its decoder long.
    """
    width, height = image.size
    if exceeds_file(image, path):
        raise unreadable(path, OSError(f"{width:,} x {height:,} pixels in too few bytes"))
    bytes_a_pixel = _PIXEL_BYTES.get(image.mode, _MAX_PIXEL_BYTES)
    if channels == 1 and image.mode in ("1", "L"):
        bytes_a_pixel = _GREY_PIXEL_BYTES
    what = f"{path} ({width:,} x {height:,} pixels)"
    refuse_if_larger(width * height * bytes_a_pixel, what, "Scale it down first.")


def _upright(image: Image.Image) -> Image.Image:
    """The decoded image, turned as its EXIF data say."""
    image.load()
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # viewers show images with broken EXIF data as they are, and so do we
        return 1


def _is_deep(mode: str) -> bool:
    return mode in ("I", "F") or mode.startswith("I;")


def _refuse_infinite(path: Path, values: NDArray[Any]) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(
            f"{path} must have finite pixels, got NaN or infinite ones. "
            "Replace them or take the file out of the folder."
        )


def _old_levels(image: Image.Image) -> Image.Image:
    """Deep images as 16 bits, whatever they held."""
    if not _is_deep(image.mode):
        return image
    return Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8))


def _has_alpha(image: Image.Image) -> bool:
    """Whether the file declares transparency: a channel, or a colour that stands for it."""
    if _is_deep(image.mode) or has_unnamed_band(image):
        return False
    return image.has_transparency_data


def _extra_bands(image: Image.Image) -> int:
    """Bands of the file where it has more than are read, else 0."""
    bands = n_bands(image)
    return bands if bands > len(image.getbands()) or has_unnamed_band(image) else 0


def _without_alpha(image: Image.Image, channels: int, background: int) -> Image.Image:
    """Transparent parts laid over the background; a palette looked up."""
    mode = "L" if channels == 1 else "RGB"
    if not _has_alpha(image):
        return image.convert("RGB").convert(mode) if image.mode in _VIA_RGB else image
    with_alpha = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
    ground = Image.new(mode, image.size, (background,) * len(mode) if channels > 1 else background)
    ground.paste(with_alpha.convert(mode), mask=with_alpha.getchannel("A"))
    return ground


def _has_frames(image: Image.Image) -> bool:
    return image.format in _MANY_FRAMES and bool(getattr(image, "is_animated", False))
