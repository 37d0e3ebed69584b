"""Read sets of images from files and arrays, all brought to one size and to 256 levels."""

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
    IMAGE_SUFFIXES,
    ImageFile,
    decode_image,
    first_names,
    greys_and_alpha,
    is_image,
    read_deep_pixels,
    resize_image,
)
from netwright.data.memory import format_bytes, max_data_bytes
from netwright.data.pixel_ranges import (
    RawPixelStats,
    corner_background,
    identical_images_note,
    infer_pixel_format,
    range_notes,
    raw_pixel_stats,
)
from netwright.data.pixels import (
    EIGHT_BITS,
    ImageSchema,
    ImageShape,
    PixelFormat,
    Pixels,
    as_image_batch,
    as_numeric_array,
    size_text,
)
from netwright.data.task import Images
from netwright.errors import InputError, Phrase, expected

MAX_SIDE = 256
"""Larger images in folders are reduced until their longer side has this many pixels."""
_BACKGROUNDS = (0, 255, 128)
"""Candidate grey levels of the background of transparent images; in a tie the first is chosen."""
_VISIBLE_CONTRAST = 64.0
"""A quarter of the levels: a pixel that differs this much from its background is visible."""
_SAMPLE_VALUES_PER_FILE = 4096
"""Values of each file with more than 8 bits among which distinct ones are counted."""


def read_images(files: Sequence[ImageFile], n_other: int = 0) -> tuple[Images, tuple[str, ...]]:
    """Read image files to train on; their common size and pixel format are inferred.

    Args:
        files: Of the training and validation sets.
        n_other: How many more images will be read, for the limit of memory.

    Returns:
        The images, and notes on what was inferred.
    """
    shape, notes = choose_common_shape(files, len(files) + n_other)
    pixel_format, inferred_notes = _infer_files_format(files)
    pixels, _ = decode_files(files, shape, pixel_format)
    if not any(file.has_alpha for file in files):
        pixel_format = replace(pixel_format, background=corner_background(pixels))
    notes += inferred_notes + _unread_content_notes(files, shape) + identical_images_note(pixels)
    return Images(pixels, pixel_format), notes


def read_images_like(
    files: Sequence[ImageFile], schema: ImageSchema
) -> tuple[Images, tuple[str, ...]]:
    """Read image files as a model's training images were read; also return notes."""
    _check_files_fit_channels(schema.shape)
    _check_grey_files(files, schema)
    _check_set_size(len(files), schema.shape)
    pixels, n_clipped = decode_files(files, schema.shape, schema.pixel_format)
    n_deep_values = sum(file.height * file.width for file in files if file.is_deep)
    notes = _resize_notes(files, schema.shape) + _unread_content_notes(files, schema.shape)
    names = tuple(str(file.path) for file in files)
    images = Images(pixels, schema.pixel_format or EIGHT_BITS, names)
    notes += _bit_depth_notes(files, schema) + schema.format_notes(n_clipped, n_deep_values)
    return images, notes


def read_image_array(values: object) -> tuple[Images, tuple[str, ...]]:
    """Read an array of images to train on; the range of its values is inferred.

    Returns:
        The images, and notes on what was inferred.
    """
    array = as_image_batch(as_numeric_array(values))
    pixel_format, notes = EIGHT_BITS, _channels_first_note(array)
    if array.dtype.kind == "b":
        pixel_format = PixelFormat((0.0,), (1.0,))
        notes += (f"The pixels of {_images_text(len(array))} are true or false, taken as 1 and 0.",)
    elif array.dtype != np.uint8 and len(array):
        raw = raw_pixel_stats(array)
        pixel_format = infer_pixel_format(raw)
        notes += range_notes(pixel_format, raw, f"The pixels of {_images_text(len(array))}")
    pixels, _ = pixel_format.to_levels(array)
    pixel_format = replace(pixel_format, background=corner_background(pixels))
    return Images(pixels, pixel_format), notes + identical_images_note(pixels)


def read_image_array_like(values: object, schema: ImageSchema) -> tuple[Images, tuple[str, ...]]:
    """Read an array of images as a model's training images were read, resized; also return notes."""
    pixels, notes = schema.read(values)
    shape = pixels.shape[1:]
    if shape != schema.shape:
        notes += (
            f"The images are {size_text(shape)} and are resized to {size_text(schema.shape)}.",
        )
    _check_set_size(len(pixels), schema.shape)
    return Images(resize_images(pixels, schema.shape), schema.pixel_format or EIGHT_BITS), notes


def append_validation(train: Images, x_val: object) -> tuple[Images, tuple[str, ...]]:
    """Append validation images, read as the training images were; also return notes."""
    validation, notes = read_image_array_like(x_val, train.schema)
    pixels = np.concatenate([train.pixels, validation.pixels])
    return replace(train, pixels=pixels), tuple(f"Validation set: {note}" for note in notes)


def choose_common_shape(
    files: Sequence[ImageFile], n_images: int = 0
) -> tuple[ImageShape, tuple[str, ...]]:
    """Choose the height, width and channels that a set of images is brought to.

    The most common size if at least half of the images have it, else the median height and width;
    the longer side at most `MAX_SIDE`, and less if `n_images` would not fit into the memory. One
    channel if all images are grey.

    Returns:
        The shape, and notes.
    """
    counts = Counter((file.height, file.width) for file in files)
    (height, width), count = counts.most_common(1)[0]
    how = "the most common size"
    if 2 * count < len(files):
        height = int(np.median([file.height for file in files]))
        width = int(np.median([file.width for file in files]))
        how = "their median size"
    if max(height, width) > MAX_SIDE:
        height, width = _scaled(height, width, MAX_SIDE / max(height, width))
        how = f"at most {MAX_SIDE} pixels a side"
    channels = 1 if all(file.is_grey for file in files) else 3
    n_bytes = max(n_images, len(files)) * height * width * channels
    if n_bytes > max_data_bytes():
        height, width = _scaled(height, width, math.sqrt(max_data_bytes() / n_bytes))
        how = f"more would not fit into {format_bytes(max_data_bytes())}, a quarter of the memory"
    notes: tuple[str, ...] = ()
    if set(counts) != {(height, width)}:
        sizes = f"{len(counts):,} sizes" if len(counts) > 1 else "one size"
        notes = (f"The images have {sizes} and are resized to {height} x {width} ({how}).",)
    return (height, width, channels), notes


def decode_files(
    files: Sequence[ImageFile], shape: ImageShape, pixel_format: PixelFormat | None = EIGHT_BITS
) -> tuple[Pixels, int]:
    """Decode image files to (n, h, w, c) levels; also return how many values were clipped.

    Raises:
        InputError: A file cannot be read; with its name.
    """
    pixels, n_clipped = np.empty((len(files), *shape), np.uint8), 0
    for i, file in enumerate(files):
        pixels[i], n_clipped_in_file = decode_image(file.path, shape, pixel_format)
        n_clipped += n_clipped_in_file
    return pixels, n_clipped


def resize_images(pixels: Pixels, shape: ImageShape) -> Pixels:
    """Bring (n, h, w, c) images to `shape`; grey becomes three equal channels, and RGB grey."""
    if pixels.shape[1:] == shape:
        return pixels
    resized = np.empty((len(pixels), *shape), np.uint8)
    for i, image in enumerate(pixels):
        resized[i] = _resize_pixels(image, shape)
    return resized


def _resize_pixels(image: Pixels, shape: ImageShape) -> Pixels:
    height, width, channels = shape
    if {image.shape[2], channels} == {1, 3}:
        converted = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        return resize_image(converted, shape)
    # Pillow knows no images of 2 or 5 channels, and resizes each channel by itself anyway
    planes = [
        resize_image(Image.fromarray(image[..., i]), (height, width, 1)) for i in range(channels)
    ]
    return np.concatenate(planes, axis=2)


def _scaled(height: int, width: int, factor: float) -> tuple[int, int]:
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def _infer_files_format(files: Sequence[ImageFile]) -> tuple[PixelFormat, tuple[str, ...]]:
    """Infer the range of files with more than 8 bits and the background of those with alpha."""
    deep = [file for file in files if file.is_deep]
    transparent = [file for file in files if file.has_alpha]
    pixel_format = EIGHT_BITS
    notes: tuple[str, ...] = ()
    if deep:
        raw = _deep_pixel_stats(deep)
        pixel_format = infer_pixel_format(raw)
        what = f"The pixels of {_images_text(len(deep))} with more than 8 bits"
        notes = range_notes(pixel_format, raw, what)
    if transparent:
        level = _choose_background(transparent)
        pixel_format = replace(pixel_format, background=level)
        colour = {0: "black", 255: "white"}.get(level, "grey")
        have, are = ("has", "is") if len(transparent) == 1 else ("have", "are")
        notes += (
            f"{_images_text(len(transparent))} {have} an alpha channel and {are} laid over {colour}.",
        )
    return pixel_format, notes


def _deep_pixel_stats(files: Sequence[ImageFile]) -> RawPixelStats:
    low, high, is_float = np.inf, -np.inf, False
    samples: list[NDArray[Any]] = []
    for file in files:
        values = read_deep_pixels(file.path)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        is_float |= values.dtype.kind == "f"
        step = max(1, values.size // _SAMPLE_VALUES_PER_FILE)
        samples.append(values.ravel()[::step].astype(np.float64))
    sample = np.concatenate(samples)[:, None]
    return RawPixelStats(np.array([low]), np.array([high]), sample, is_float)


def _choose_background(files: Sequence[ImageFile]) -> int:
    """Choose the grey level against which the opaque pixels of most files are visible."""
    visible, contrast = np.zeros(len(_BACKGROUNDS)), np.zeros(len(_BACKGROUNDS))
    for file in files:
        greys, alpha = greys_and_alpha(file.path)
        if alpha.any():
            differences = np.abs(greys[:, None] - np.array(_BACKGROUNDS))  # (pixels, backgrounds)
            means = np.average(differences, axis=0, weights=alpha)
            visible += means.clip(max=_VISIBLE_CONTRAST)
            contrast += means
    best = max(range(len(_BACKGROUNDS)), key=lambda i: (visible[i].round(6), contrast[i]))
    return _BACKGROUNDS[best]


def _unread_content_notes(files: Sequence[ImageFile], shape: ImageShape) -> tuple[str, ...]:
    """Return notes on content that is not read: frames, bit depth, bands, and colours."""
    notes = []
    if frames := [file.path for file in files if file.has_frames]:
        have = "1 file has" if len(frames) == 1 else f"{len(frames):,} files have"
        notes.append(f"{have} several frames ({first_names(frames)}): only the first is read.")
    if deep_colour := [file.path for file in files if file.is_deep_colour]:
        have = "1 file has" if len(deep_colour) == 1 else f"{len(deep_colour):,} files have"
        notes.append(
            f"{have} more than 8 bits per channel ({first_names(deep_colour)}): only the upper 8 "
            "are read. Arrays (.npz) keep all."
        )
    notes += _bands_notes(files)
    coloured = [file.path for file in files if not file.is_grey]
    if shape[2] == 1 and coloured:
        are = "1 colour file is" if len(coloured) == 1 else f"{len(coloured):,} colour files are"
        notes.append(
            f"{are} converted to grey ({first_names(coloured)}), as the training images were grey."
        )
    return tuple(notes)


def _bands_notes(files: Sequence[ImageFile]) -> list[str]:
    """Return notes on bands that are neither colours nor alpha and are not read."""
    notes = []
    paths_by_bands: dict[tuple[int, int], list[Path]] = {}
    for file in files:
        if file.bands:
            paths_by_bands.setdefault((file.bands, file.bands_read), []).append(file.path)
    for (n_bands, n_read), paths in paths_by_bands.items():
        have = "1 file has" if len(paths) == 1 else f"{len(paths):,} files have"
        are = "is" if n_read == 1 else "are"
        notes.append(
            f"{have} {n_bands} bands ({first_names(paths)}), of which {n_read} {are} read. Arrays "
            "(.npz) keep all."
        )
    return notes


def _bit_depth_notes(files: Sequence[ImageFile], schema: ImageSchema) -> tuple[str, ...]:
    """Return a note if files with 8 bits are predicted by a model of another range.

    None for the range 0 to 1: levels of 0 to 255 divided by 255 mean the same.
    """
    pixel_format = schema.pixel_format
    if pixel_format is None:
        return ()
    if (pixel_format.low, pixel_format.high) in (((0.0,), (255.0,)), ((0.0,), (1.0,))):
        return ()
    if any(file.is_deep for file in files):
        return ()
    return (
        "The files have 8 bits: their 0 to 255 stand for the whole training range "
        f"({pixel_format.range_text}).",
    )


def _check_grey_files(files: Sequence[ImageFile], schema: ImageSchema) -> None:
    """Raise InputError for grey files if each channel of the model has its own range."""
    grey = [file.path for file in files if file.is_grey]
    if grey and schema.pixel_format is not None and len(schema.pixel_format.low) > 1:
        got = Phrase(f"grey ones ({first_names(grey)})")
        fix = "Pass the channels that the model was trained on."
        raise InputError(expected("images", f"of {schema.shape[2]} channels", got, fix))


def _resize_notes(files: Sequence[ImageFile], shape: ImageShape) -> tuple[str, ...]:
    """Return a note if files have another size than the training images."""
    sizes = {(file.height, file.width) for file in files}
    if sizes <= {shape[:2]}:
        return ()
    verb = f"have {len(sizes):,} sizes" if len(sizes) > 1 else f"are {size_text(next(iter(sizes)))}"
    return (f"The images {verb} and are resized to {size_text(shape[:2])}.",)


def _check_files_fit_channels(shape: ImageShape) -> None:
    """Raise InputError if no image file can have the model's number of channels."""
    if shape[2] not in (1, 3):
        rule = f"an array (n, {shape[0]}, {shape[1]}, {shape[2]}), as in training"
        raise InputError(expected("images", rule, Phrase("image files")))


def _check_set_size(n_images: int, shape: ImageShape) -> None:
    """Raise InputError if so many images do not fit into the memory."""
    n_bytes = n_images * math.prod(shape)
    if n_bytes > max_data_bytes():
        raise InputError(
            f"images must fit into {format_bytes(max_data_bytes())} (a quarter of the memory), got "
            f"{n_images:,} of {size_text(shape)}. Predict them in several batches."
        )


def _channels_first_note(array: NDArray[Any]) -> tuple[str, ...]:
    """Return a note if few rows and many channels suggest that the images are channels-first."""
    _, height, width, channels = array.shape
    if height not in (1, 3, 4) or channels <= 4 or width <= 4:
        return ()
    return (
        f"The images are taken as {height} x {width} with {channels} channels. If the channels "
        "come first, use x.transpose(0, 2, 3, 1).",
    )


def _images_text(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def labels_of(files: Iterable[tuple[ImageFile, str]]) -> list[str]:
    """Return the labels in the order of the files."""
    return [label for _, label in files]


def is_image_file(path: Path) -> bool:
    """Return whether a path is an image file, by its suffix or its content."""
    return path.is_file() and (path.suffix.lower() in IMAGE_SUFFIXES or is_image(path))
