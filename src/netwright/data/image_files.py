"""Image files below a folder, recognised by their content; their headers and pixels."""

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

from netwright.data.image_headers import (
    bits_per_channel,
    claims_too_many_pixels,
    has_unnamed_band,
    n_bands,
)
from netwright.data.memory import check_fits_in_memory, max_data_bytes
from netwright.data.pixels import ImageShape, PixelFormat, Pixels
from netwright.errors import InputError, printable

IMAGE_FORMATS = (
    "PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO",
)  # fmt: skip
"""Pillow's names. EPS, PS and PDF are missing: Pillow hands them to other programs."""
IMAGE_SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".dib", ".tif",
    ".tiff", ".webp", ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".ico",
})  # fmt: skip
"""Files with these suffixes must be images; others are images if their content is."""
UNSUPPORTED_SUFFIXES = frozenset({
    ".heic", ".heif", ".tga", ".psd", ".jxl", ".svg", ".eps", ".dng", ".cr2", ".nef", ".arw",
    ".dcm", ".qoi", ".pcx", ".exr", ".hdr",
})  # fmt: skip
"""Images that cannot be read: a class with nothing else is an error, not a skipped folder."""

SkipReason: TypeAlias = Literal[
    "hidden", "no image", "unread format", "unreadable", "no regular file", "link to a folder",
    "too large", "outside",
]  # fmt: skip
"""Why a file or folder is skipped."""

_SYSTEM_FOLDERS = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found"})
"""Created by operating systems beside the data; some hold images: previews and copies."""
_UPRIGHT_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation -> the operation that turns the image upright."""
_ORIENTATION_TAG = 0x0112
"""EXIF tag of the orientation."""
_MODES_VIA_RGB = ("P", "PA", "LAB")
"""Modes that Pillow cannot convert to grey directly, or not by the visible colours."""
_FORMATS_WITH_FRAMES = ("GIF", "TIFF", "WEBP", "PNG", "AVIF")
"""Formats whose further frames are noted; those of MPO are previews and depth maps."""
_ICON_SIGNATURE = b"\0\0\1\0"
_MAX_ICON_PIXELS = 2048 * 2048
"""Icons have at most 256 x 256 pixels; some programs write 1024 x 1024."""
_GREY_PIXEL_BYTES, _MAX_PIXEL_BYTES = 2, 12
_PIXEL_BYTES = {"1": 6, "L": 6, "P": 9}
"""Mode -> bytes per pixel while it is decoded, turned and converted to colours, which take 4 each.

Grey images that stay grey take `_GREY_PIXEL_BYTES`; other modes up to `_MAX_PIXEL_BYTES`: three
copies of 4 bytes.
"""
_PILLOW_LOCK = threading.RLock()
"""Held while Pillow's global limit of pixels is changed."""
_ALPHA_SAMPLE_SIDE = 64
"""Side of the reduced image that `greys_and_alpha` looks at."""


@dataclass(frozen=True)
class ImageFile:
    """An image file as described by its header.

    Args:
        path: Of the file.
        height: Of the upright image.
        width: Of the upright image.
        mode: Pillow's.
        has_alpha: Whether it declares transparency.
        has_frames: Whether it has several frames, of which only the first is read.
        is_deep_colour: Whether it is a colour image with more than 8 bits per channel, of which
            Pillow reads the upper 8.
        bands: How many bands it has, if more than are read; else 0.
    """

    path: Path
    height: int
    width: int
    mode: str
    has_alpha: bool = False
    has_frames: bool = False
    is_deep_colour: bool = False
    bands: int = 0

    @property
    def bands_read(self) -> int:
        """How many bands are read; a fourth that no tag calls alpha is not."""
        return 3 if self.mode == "RGBA" and not self.has_alpha else Image.getmodebands(self.mode)

    @property
    def is_deep(self) -> bool:
        """Whether it is a grey image with more than 8 bits."""
        return _is_deep(self.mode)

    @property
    def is_grey(self) -> bool:
        return self.mode in ("1", "L", "LA", "La") or self.is_deep


@dataclass(frozen=True)
class ImageScan:
    """The content of a folder at any depth, ordered by path.

    Args:
        images: All images.
        folders: All folders that were searched.
        skipped: Files and folders that were not used, and why.
    """

    images: tuple[ImageFile, ...]
    folders: tuple[Path, ...]
    skipped: tuple[tuple[Path, SkipReason], ...]


def scan_images(folder: Path) -> ImageScan:
    """Look at every file below a folder.

    Raises:
        InputError: A file with the suffix of an image is none; with the file's name.
    """
    images: list[ImageFile] = []
    folders: list[Path] = []
    skipped: list[tuple[Path, SkipReason]] = []
    for path, is_folder in _entries(folder):
        reason = _skip_reason(path, is_folder=is_folder)
        if reason is None and is_folder:
            folders.append(path)
        elif reason is None and (image := _image_file(path)):
            images.append(image)
        else:
            skipped.append((path, reason or _not_an_image(path)))
    return ImageScan(
        tuple(sorted(images, key=lambda image: image.path)),
        tuple(sorted(folders)),
        tuple(sorted(skipped)),
    )


def read_image_header(path: Path) -> ImageFile:
    """Describe an image file by its header; raise InputError if it is none, or too large."""
    with _opened(path) as image:
        try:
            has_exif = image.format in ("JPEG", "MPO", "TIFF", "WEBP")
            is_sideways = has_exif and _orientation(image) >= 5
            width, height = image.size[::-1] if is_sideways else image.size
            image_file = ImageFile(
                path,
                height,
                width,
                image.mode,
                has_alpha=_has_alpha(image),
                has_frames=_has_frames(image),
                is_deep_colour=not _is_deep(image.mode) and bits_per_channel(image, path) > 8,
                bands=_unread_bands(image),
            )
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable_image_error(path, error) from None
        _check_decoded_size(path, image, 1)
    return image_file


def is_image(path: Path) -> bool:
    """Return whether a file is an image, by its content."""
    try:
        with _opened(path):
            return True
    except InputError:
        return False


def decode_image(
    path: Path, shape: ImageShape, pixel_format: PixelFormat | None
) -> tuple[Pixels, int]:
    """Decode a file to levels.

    Args:
        path: Of the file.
        shape: Height, width and channels to bring it to.
        pixel_format: None: as for models of older versions, which did not store it.

    Returns:
        (h, w, c) levels, and how many values were clipped.
    """
    with _opened(path) as image:
        _check_decoded_size(path, image, shape[2])
        try:
            upright = _upright(image)
            if pixel_format is None:
                return resize_image(_legacy_eight_bits(upright), shape), 0
            if not _is_deep(upright.mode):
                opaque = _without_alpha(upright, shape[2], pixel_format.background)
                return resize_image(opaque, shape), 0
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable_image_error(path, error) from None
        levels, n_clipped = deep_levels(path, np.asarray(upright), pixel_format)
        return resize_image(Image.fromarray(levels), shape), n_clipped


def read_deep_pixels(path: Path) -> NDArray[Any]:
    """Read the (h, w) values of a file with more than 8 bits; raise InputError if one is not finite."""
    with _opened(path) as image:
        try:
            values = np.asarray(image)
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable_image_error(path, error) from None
    _check_finite(path, values)
    return values


def greys_and_alpha(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read grey levels (n,) and opacities (n,) in [0, 1] of some pixels of a file with alpha."""
    with _opened(path) as image:
        try:
            with_alpha = image.convert("RGBA")
        except Exception as error:  # broken files make Pillow's readers raise nearly anything
            raise unreadable_image_error(path, error) from None
        side = _ALPHA_SAMPLE_SIDE
        sample = with_alpha.resize((min(side, image.width), min(side, image.height)), 0)
    alpha = np.asarray(sample.getchannel("A"), np.float64).ravel() / 255
    return np.asarray(sample.convert("RGB").convert("L"), np.float64).ravel(), alpha


def resize_image(image: Image.Image, shape: ImageShape) -> Pixels:
    """Return the (h, w, c) pixels of an image with 8 bits per channel, brought to `shape`."""
    height, width, channels = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape)


def deep_levels(path: Path, values: NDArray[Any], pixel_format: PixelFormat) -> tuple[Pixels, int]:
    """Map the (h, w) values of a file onto levels; also return how many were clipped."""
    _check_finite(path, values)
    levels, n_clipped = pixel_format.to_levels(values[..., None])
    return levels[..., 0], n_clipped


def unreadable_image_error(path: Path, error: Exception) -> InputError:
    """Build the error for a file that should be an image."""
    why = "no image" if isinstance(error, UnidentifiedImageError) else str(error)
    return InputError(
        f"{path} must be an image that can be read, got {why or 'a broken file'}. "
        "Replace the file or take it out of the folder."
    )


def first_names(paths: Iterable[Path], max_shown: int = 3) -> str:
    """Join the first few file names: ``a.txt, b.txt, c.txt, ...``."""
    names = [printable(path.name) for path in paths]
    return ", ".join(names[:max_shown]) + (", ..." if len(names) > max_shown else "")


def _entries(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield files and folders below a folder, and whether each is a folder.

    Hidden and unreadable folders are not entered.
    """
    errors: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=errors.append):
        yield from ((Path(parent, name), False) for name in files)
        yield from ((Path(parent, name), True) for name in folders)
        folders[:] = [
            name for name in folders if not _is_hidden(name) and _is_readable(Path(parent, name))
        ]
    yield from ((Path(error.filename), True) for error in errors)


def _skip_reason(path: Path, *, is_folder: bool) -> SkipReason | None:
    """Return why a file or folder is skipped unopened; None if it is not."""
    if _is_hidden(path.name):
        return "hidden"
    if is_folder and path.is_symlink():
        return "link to a folder"
    try:
        if not is_folder and not path.is_file():  # opening a pipe would block
            return "no regular file"
    except PermissionError:  # of the folder that it is in
        return "unreadable"
    if not _is_readable(path):
        return "unreadable"
    if is_folder:
        return None
    if path.stat().st_size > max_data_bytes() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return "too large"
    return None


def _is_readable(path: Path) -> bool:
    """Return whether the permissions allow reading; of folders, also opening their entries."""
    mode = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def _image_file(path: Path) -> ImageFile | None:
    """Describe a file; None if neither its suffix nor its content is that of an image."""
    if path.suffix.lower() in IMAGE_SUFFIXES or is_image(path):
        return read_image_header(path)
    return None


def _not_an_image(path: Path) -> SkipReason:
    return "unread format" if path.suffix.lower() in UNSUPPORTED_SUFFIXES else "no image"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a file with Pillow, its own size limit and warnings switched off."""
    check_fits_in_memory(path.stat().st_size, str(path), "Take it out of the folder.")
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about odd metadata, not about the pixels
        previous_limit = Image.MAX_IMAGE_PIXELS
        try:
            try:
                Image.MAX_IMAGE_PIXELS = _max_pixels_at_opening(path)
                image = Image.open(path, formats=_supported_formats())
            except Exception as error:  # broken files make Pillow's readers raise nearly anything
                raise unreadable_image_error(path, error) from None
            with image:
                yield image
        finally:
            Image.MAX_IMAGE_PIXELS = previous_limit


def _max_pixels_at_opening(path: Path) -> int | None:
    """Return Pillow's own limit of pixels; None for none, as `_check_decoded_size` limits all others.

    Icons are decoded when they are opened, and may hold larger images than their headers state.
    """
    with path.open("rb") as file:
        return _MAX_ICON_PIXELS if file.read(4) == _ICON_SIGNATURE else None


@cache
def _supported_formats() -> tuple[str, ...]:
    """Return those of `IMAGE_FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in IMAGE_FORMATS if name in Image.OPEN)


def _check_decoded_size(path: Path, image: Image.Image, channels: int) -> None:
    """Raise InputError if decoding and converting to `channels` would take too much memory.

    Also if a TIFF claims a size that its bytes cannot hold, which its decoder takes long to notice.
    """
    width, height = image.size
    if claims_too_many_pixels(image, path):
        raise unreadable_image_error(
            path, OSError(f"{width:,} x {height:,} pixels in too few bytes")
        )
    pixel_bytes = _PIXEL_BYTES.get(image.mode, _MAX_PIXEL_BYTES)
    if channels == 1 and image.mode in ("1", "L"):
        pixel_bytes = _GREY_PIXEL_BYTES
    what = f"{path} ({width:,} x {height:,} pixels)"
    check_fits_in_memory(width * height * pixel_bytes, what, "Scale it down first.")


def _upright(image: Image.Image) -> Image.Image:
    """Decode an image and turn it upright by its EXIF data."""
    image.load()
    transpose = _UPRIGHT_TRANSPOSES.get(_orientation(image))
    return image if transpose is None else image.transpose(transpose)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # viewers show images with broken EXIF data unturned, and so do we
        return 1


def _is_deep(mode: str) -> bool:
    return mode in ("I", "F") or mode.startswith("I;")


def _check_finite(path: Path, values: NDArray[Any]) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(
            f"{path} must have finite pixels, got NaN or infinite ones. "
            "Replace them or take the file out of the folder."
        )


def _legacy_eight_bits(image: Image.Image) -> Image.Image:
    """Reduce a deep image to 8 bits as older versions did: as if it had 16."""
    if not _is_deep(image.mode):
        return image
    return Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8))


def _has_alpha(image: Image.Image) -> bool:
    """Return whether the file declares transparency: an alpha channel or a transparent colour."""
    if _is_deep(image.mode) or has_unnamed_band(image):
        return False
    return image.has_transparency_data


def _unread_bands(image: Image.Image) -> int:
    """Return the number of bands in the file if it has more than are read, else 0."""
    bands = n_bands(image)
    return bands if bands > len(image.getbands()) or has_unnamed_band(image) else 0


def _without_alpha(image: Image.Image, channels: int, background: int) -> Image.Image:
    """Lay transparent pixels over the background; convert palettes to colours."""
    mode = "L" if channels == 1 else "RGB"
    if not _has_alpha(image):
        return image.convert("RGB").convert(mode) if image.mode in _MODES_VIA_RGB else image
    with_alpha = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
    colour = (background,) * len(mode) if channels > 1 else background
    opaque = Image.new(mode, image.size, colour)
    opaque.paste(with_alpha.convert(mode), mask=with_alpha.getchannel("A"))
    return opaque


def _has_frames(image: Image.Image) -> bool:
    return image.format in _FORMATS_WITH_FRAMES and bool(getattr(image, "is_animated", False))
