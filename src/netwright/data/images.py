"""Sets of images: files and arrays -> levels of one size, by a format that is decided once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netwright.data.image_files import (
    ENDINGS,
    ImageFile,
    decode,
    fitted,
    is_image,
    opaque_greys,
    raw_pixels,
    some_names,
)
from netwright.data.memory import memory_allowance, readable
from netwright.data.pixel_ranges import (
    RawValues,
    choose_range,
    corner_background,
    identical_note,
    range_notes,
    raw_values,
)
from netwright.data.pixels import (
    EIGHT_BITS,
    ImageSchema,
    PixelFormat,
    Pixels,
    Size,
    batch_of,
    numeric_array,
    size_text,
)
from netwright.data.task import Images
from netwright.errors import InputError, Phrase, expected

LARGEST = 256
"""The longer side that larger folders of images are reduced to."""
_BACKGROUNDS = (0, 255, 128)
"""Grey levels that transparent parts may be laid over, the first where several do."""
_VISIBLE_CONTRAST = 64.0
"""A quarter of the levels: what differs so much from its background is seen."""
_FILE_SAMPLE = 4096
"""Values of each file with more than 8 bits that distinct ones are counted in."""


def read_images(files: Sequence[ImageFile], more: int = 0) -> tuple[Images, tuple[str, ...]]:
    """Image files to learn from: their common size and format are decided here, and said.

    `more`: how many images will be read beside them, for the bound of memory.
    """
    size, notes = common_size(files, len(files) + more)
    pixel_format, decided = _files_format(files)
    pixels, _ = read_files(files, size, pixel_format)
    if not any(file.has_alpha for file in files):
        pixel_format = replace(pixel_format, background=corner_background(pixels))
    notes += decided + _kinds_notes(files, size) + identical_note(pixels)
    return Images(pixels, pixel_format), notes


def follow_images(
    files: Sequence[ImageFile], schema: ImageSchema
) -> tuple[Images, tuple[str, ...]]:
    """Image files read as a model's training images were, and notes."""
    _refuse_channels(schema.size)
    _refuse_grey(files, schema)
    _refuse_set(len(files), schema.size)
    pixels, n_clipped = read_files(files, schema.size, schema.pixel_format)
    deep = sum(file.height * file.width for file in files if file.is_deep)
    notes = _resize_notes(files, schema.size) + _kinds_notes(files, schema.size)
    names = tuple(str(file.path) for file in files)
    images = Images(pixels, schema.pixel_format or EIGHT_BITS, names)
    return images, notes + _bits_notes(files, schema) + schema.format_notes(n_clipped, deep)


def read_array(values: Any) -> tuple[Images, tuple[str, ...]]:
    """An array of images to learn from: the range of its values is decided here, and said."""
    array = batch_of(numeric_array(values))
    pixel_format, notes = EIGHT_BITS, _long_channels_note(array)
    if array.dtype.kind == "b":
        pixel_format = PixelFormat((0.0,), (1.0,))
        notes += (f"The pixels of {_images(len(array))} are true or false, taken as 1 and 0.",)
    elif array.dtype != np.uint8 and len(array):
        raw = raw_values(array)
        pixel_format = choose_range(raw)
        notes += range_notes(pixel_format, raw, f"The pixels of {_images(len(array))}")
    pixels, _ = pixel_format.levels(array)
    pixel_format = replace(pixel_format, background=corner_background(pixels))
    return Images(pixels, pixel_format), notes + identical_note(pixels)


def follow_array(values: Any, schema: ImageSchema) -> tuple[Images, tuple[str, ...]]:
    """An array of images read as a model's training images were, resized to them, and notes."""
    pixels, notes = schema.read(values)
    if pixels.shape[1:] != schema.size:
        notes += (
            f"The images are {size_text(pixels.shape[1:])} and are brought to {size_text(schema.size)}.",
        )
    _refuse_set(len(pixels), schema.size)
    return Images(resized(pixels, schema.size), schema.pixel_format or EIGHT_BITS), notes


def with_validation(train: Images, x_val: Any) -> tuple[Images, tuple[str, ...]]:
    """Images for training and then for validation, whose pixels are read as those are; notes."""
    rows, notes = follow_array(x_val, train.schema)
    pixels = np.concatenate([train.pixels, rows.pixels])
    return replace(train, pixels=pixels), tuple(f"Validation part: {note}" for note in notes)


def common_size(files: Sequence[ImageFile], n_images: int = 0) -> tuple[Size, tuple[str, ...]]:
    """The size and channels that a set of images is brought to, and notes.

    The most common size where half of the images have it, else the median height and width; the
    longer side at most `LARGEST`, and less where `n_images` would not fit into the bound of
    memory. One channel where all images are grey.
    """
    sizes = Counter((file.height, file.width) for file in files)
    (height, width), count = sizes.most_common(1)[0]
    how = "the most common"
    if 2 * count < len(files):
        height = int(np.median([file.height for file in files]))
        width = int(np.median([file.width for file in files]))
        how = "their median"
    if max(height, width) > LARGEST:
        height, width = _shrunk(height, width, LARGEST / max(height, width))
        how = f"at most {LARGEST} a side"
    channels = 1 if all(file.is_grey for file in files) else 3
    needed = max(n_images, len(files)) * height * width * channels
    if needed > memory_allowance():
        height, width = _shrunk(height, width, math.sqrt(memory_allowance() / needed))
        how = f"more would not fit into {readable(memory_allowance())}, a quarter of the memory"
    notes: tuple[str, ...] = ()
    if set(sizes) != {(height, width)}:
        have = f"{len(sizes):,} sizes" if len(sizes) > 1 else "one size"
        notes = (f"The images have {have} and are resized to {height} x {width} ({how}).",)
    return (height, width, channels), notes


def read_files(
    files: Sequence[ImageFile], size: Size, pixel_format: PixelFormat | None = EIGHT_BITS
) -> tuple[Pixels, int]:  # fmt: skip
    """(n, h, w, c) of image files, and how many values were clipped.

    InputError, naming the file, at one that cannot be read.
    """
    pixels, n_clipped = np.empty((len(files), *size), np.uint8), 0
    for i, file in enumerate(files):
        pixels[i], clipped = decode(file.path, size, pixel_format)
        n_clipped += clipped
    return pixels, n_clipped


def resized(pixels: Pixels, size: Size) -> Pixels:
    """Images of another size, brought to `size`; grey ones to three equal channels and back."""
    if pixels.shape[1:] == size:
        return pixels
    images = np.empty((len(pixels), *size), np.uint8)
    for i, image in enumerate(pixels):
        images[i] = _resized(image, size)
    return images


def _resized(image: Pixels, size: Size) -> Pixels:
    height, width, channels = size
    if {image.shape[2], channels} == {1, 3}:
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        return fitted(picture, size)
    planes = [
        fitted(Image.fromarray(image[..., i]), (height, width, 1)) for i in range(channels)
    ]  # Pillow knows no pictures of 2 or 5 channels, and resizes each by itself anyway
    return np.concatenate(planes, axis=2)


def _shrunk(height: int, width: int, factor: float) -> tuple[int, int]:
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def _files_format(files: Sequence[ImageFile]) -> tuple[PixelFormat, tuple[str, ...]]:
    """The range of the files with more than 8 bits, the background of those with alpha; notes."""
    deep = [file for file in files if file.is_deep]
    transparent = [file for file in files if file.has_alpha]
    pixel_format = EIGHT_BITS
    notes: tuple[str, ...] = ()
    if deep:
        raw = _raw_values(deep)
        pixel_format = choose_range(raw)
        what = f"The pixels of {_images(len(deep))} with more than 8 bits"
        notes = range_notes(pixel_format, raw, what)
    if transparent:
        level = _background(transparent)
        pixel_format = replace(pixel_format, background=level)
        name = {0: "black", 255: "white"}.get(level, "grey")
        have = "has an alpha channel and is" if len(transparent) == 1 else (
            "have an alpha channel and are"
        )  # fmt: skip
        notes += (f"{_images(len(transparent))} {have} laid over {name}.",)
    return pixel_format, notes


def _raw_values(files: Sequence[ImageFile]) -> RawValues:
    low, high, is_float = np.inf, -np.inf, False
    samples: list[NDArray[Any]] = []
    for file in files:
        values = raw_pixels(file.path)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        is_float |= values.dtype.kind == "f"
        samples.append(values.ravel()[:: max(1, values.size // _FILE_SAMPLE)].astype(np.float64))
    sample = np.concatenate(samples)[:, None]
    return RawValues(np.array([low]), np.array([high]), sample, is_float)


def _background(files: Sequence[ImageFile]) -> int:
    """The grey level against which the opaque parts of most files are seen."""
    visible, contrast = np.zeros(len(_BACKGROUNDS)), np.zeros(len(_BACKGROUNDS))
    for file in files:
        greys, alpha = opaque_greys(file.path)
        if alpha.any():
            differences = np.abs(greys[:, None] - np.array(_BACKGROUNDS))  # (pixels, backgrounds)
            means = np.average(differences, axis=0, weights=alpha)
            visible += means.clip(max=_VISIBLE_CONTRAST)
            contrast += means
    best = max(range(len(_BACKGROUNDS)), key=lambda i: (visible[i].round(6), contrast[i]))
    return _BACKGROUNDS[best]


def _kinds_notes(files: Sequence[ImageFile], size: Size) -> tuple[str, ...]:
    """Notes on what is not read of some files: frames, bits of colours, colours."""
    notes = []
    if frames := [file.path for file in files if file.has_frames]:
        have = "1 file has" if len(frames) == 1 else f"{len(frames):,} files have"
        notes.append(f"{have} several frames ({some_names(frames)}): the first one is read.")
    if deep := [file.path for file in files if file.is_deep_colour]:
        have = "1 file has" if len(deep) == 1 else f"{len(deep):,} files have"
        notes.append(
            f"{have} more than 8 bits a channel ({some_names(deep)}): the upper 8 are read. Arrays "
            "(.npz) keep all."
        )
    notes += _bands_notes(files)
    coloured = [file.path for file in files if not file.is_grey]
    if size[2] == 1 and coloured:
        have = "1 colour file is" if len(coloured) == 1 else f"{len(coloured):,} colour files are"
        notes.append(f"{have} read as grey ({some_names(coloured)}): the training images were.")
    return tuple(notes)


def _bands_notes(files: Sequence[ImageFile]) -> list[str]:
    """Notes on bands that are not read: they are neither colours nor alpha."""
    notes = []
    groups: dict[tuple[int, int], list[Path]] = {}
    for file in files:
        if file.bands:
            groups.setdefault((file.bands, file.bands_read), []).append(file.path)
    for (bands, n_read), paths in groups.items():
        have = "1 file has" if len(paths) == 1 else f"{len(paths):,} files have"
        are = "is" if n_read == 1 else "are"
        notes.append(
            f"{have} {bands} bands ({some_names(paths)}), of which {n_read} {are} read. Arrays "
            "(.npz) keep all."
        )
    return notes


def _bits_notes(files: Sequence[ImageFile], schema: ImageSchema) -> tuple[str, ...]:
    """A doubt where files with 8 bits stand for values of another range.

    Shares have none: levels of 0 to 255 divided by 255 are what they mean.
    """
    own = schema.pixel_format
    if own is None or (own.low, own.high) in (((0.0,), (255.0,)), ((0.0,), (1.0,))):
        return ()
    if any(file.is_deep for file in files):
        return ()
    learnt = "another for each channel" if len(own.low) > 1 else own.range_text
    return (
        f"The files have 8 bits: their 0 to 255 stand for the whole range trained on ({learnt}).",
    )


def _refuse_grey(files: Sequence[ImageFile], schema: ImageSchema) -> None:
    """InputError for grey files where each channel of the model has a range of its own."""
    grey = [file.path for file in files if file.is_grey]
    if grey and schema.pixel_format is not None and len(schema.pixel_format.low) > 1:
        got = Phrase(f"grey ones ({some_names(grey)})")
        fix = "Pass the channels that it was trained on."
        raise InputError(expected("images", f"of {schema.size[2]} channels", got, fix))


def _resize_notes(files: Sequence[ImageFile], size: Size) -> tuple[str, ...]:
    """Note on files of another size than that of the training images."""
    sizes = {(file.height, file.width) for file in files}
    if sizes <= {size[:2]}:
        return ()
    have = f"have {len(sizes):,} sizes" if len(sizes) > 1 else f"are {size_text(next(iter(sizes)))}"
    return (f"The images {have} and are brought to {size_text(size[:2])}.",)


def _refuse_channels(size: Size) -> None:
    if size[2] not in (1, 3):
        rule = f"an array (n, {size[0]}, {size[1]}, {size[2]}), as the model was trained on"
        raise InputError(expected("images", rule, Phrase("image files")))


def _refuse_set(n_images: int, size: Size) -> None:
    """InputError where so many images do not fit into the bound of memory."""
    needed = n_images * math.prod(size)
    if needed > memory_allowance():
        raise InputError(
            f"images must fit into {readable(memory_allowance())} (a quarter of the memory), got "
            f"{n_images:,} of {size_text(size)}. Predict them in several parts."
        )


def _long_channels_note(array: NDArray[Any]) -> tuple[str, ...]:
    """A doubt where few rows and many channels suggest that the channels come first."""
    _, height, width, channels = array.shape
    if height not in (1, 3, 4) or channels <= 4 or width <= 4:
        return ()
    return (
        f"The images are taken as {height} x {width} with {channels} channels. If the channels "
        "come first, use x.transpose(0, 2, 3, 1).",
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def classes_of(files: Iterable[tuple[ImageFile, str]]) -> list[str]:
    """The labels, in the order of the files."""
    return [label for _, label in files]


def single_file(path: Path) -> bool:
    """Whether a path is one image file, by its ending or its content."""
    return path.is_file() and (path.suffix.lower() in ENDINGS or is_image(path))
