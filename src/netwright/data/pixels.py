"""Mapping of raw pixel values onto 256 levels.

Training and the delivered model both convert here. The model ships with numpy and onnxruntime
alone, so nothing else is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, Phrase, expected

ImageShape: TypeAlias = tuple[int, int, int]
"""Height, width, channels."""
Pixels: TypeAlias = NDArray[np.uint8]

MAX_CHANNELS = 64
"""More than multispectral cameras have; a longer last axis is most likely a width."""
_MIN_RANGE_FRACTION = 1 / 16
"""Fraction of the training range that a batch must span, or its scale is doubted: 12 of 16 bits."""
_CHUNK_VALUES = 1 << 17
"""Values converted at a time: as float64 they take 1 MB, which stays in a processor's cache."""


@dataclass(frozen=True)
class PixelFormat:
    """The meaning of raw pixels, inferred from the training images and stored with the model.

    Args:
        low: The raw value that becomes level 0; one for all channels, or one for each. It holds for
            arrays and for files with more than 8 bits; files with 8 bits hold levels already.
        high: The raw value that becomes level 255; as many as `low`.
        background: The grey level that shows through transparent pixels.
    """

    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (255.0,)
    background: int = 0

    def of_channel(self, index: int) -> PixelFormat:
        """Return the format of a single channel."""
        if len(self.low) == 1:
            return self
        return PixelFormat((self.low[index],), (self.high[index],), self.background)

    @property
    def is_eight_bit(self) -> bool:
        """Whether raw values are levels already."""
        return self.low == (0.0,) and self.high == (255.0,)

    @property
    def range_text(self) -> str:
        """The range in words, such as ``0 to 4,095``."""
        if len(self.low) > 1:
            return "different for each channel"
        return f"{_number_text(self.low[0])} to {_number_text(self.high[0])}"

    def to_levels(self, values: NDArray[Any]) -> tuple[Pixels, int]:
        """Map raw values (n, ..., channels) onto levels.

        Returns:
            The levels, and how many values were outside the range and clipped.

        Raises:
            InputError: A value is not finite.
        """
        if values.dtype == np.uint8 and self.is_eight_bit:
            return values, 0
        low, high = np.array(self.low), np.array(self.high)
        pixels, n_clipped = np.empty(values.shape, np.uint8), 0
        for rows in row_chunks(values):
            chunk = values[rows].astype(np.float64)
            smallest, largest = finite_min_max(chunk, rows.start)
            if smallest < low.max() or largest > high.min():
                n_clipped += int(np.count_nonzero((chunk < low) | (chunk > high)))
                np.clip(chunk, low, high, out=chunk)
            chunk /= 2  # the whole range could overflow
            chunk -= low / 2
            chunk *= 255 / (high / 2 - low / 2)
            pixels[rows] = np.rint(chunk, out=chunk)
        return pixels, n_clipped


EIGHT_BITS = PixelFormat()
"""Values of 0 to 255, which are levels already."""


@dataclass(frozen=True)
class ImageSchema:
    """Description of the images that a model accepts.

    Args:
        shape: Height, width and channels of its images.
        pixel_format: None for models of older versions, which did not store it; see
            `legacy_levels`.
    """

    shape: ImageShape
    pixel_format: PixelFormat | None = EIGHT_BITS

    @classmethod
    def from_card(cls, image: Mapping[str, Any]) -> ImageSchema:
        """Return the schema stated under "image" in a model's card."""
        shape = (int(image["height"]), int(image["width"]), int(image["channels"]))
        if "low" not in image:
            return cls(shape, None)
        low, high = (tuple(map(float, np.atleast_1d(image[end]))) for end in ("low", "high"))
        return cls(shape, PixelFormat(low, high, int(image["background"])))

    def to_card(self) -> dict[str, Any]:
        """Return the entry "image" of a model's card as plain JSON."""
        height, width, channels = self.shape
        card: dict[str, Any] = {
            "height": height, "width": width, "channels": channels, "range": "uint8, 0 to 255",
        }  # fmt: skip
        if self.pixel_format is not None:
            for end, bounds in (("low", self.pixel_format.low), ("high", self.pixel_format.high)):
                card[end] = bounds[0] if len(bounds) == 1 else list(bounds)
            card["background"] = self.pixel_format.background
        return card

    def read(self, values: object) -> tuple[Pixels, tuple[str, ...]]:
        """Convert raw images of any size to (n, h, w, c) levels.

        Returns:
            The levels, and notes.

        Raises:
            InputError: The values are no batch of images with as many channels as the model's.
        """
        if (pixels := self.as_is(values)) is not None:
            return pixels, ()
        array = as_numeric_array(values)
        if self.pixel_format is None:
            return legacy_levels(array), ()
        array = as_image_batch(array, self.shape, per_channel_ranges=len(self.pixel_format.low) > 1)
        pixels, n_clipped = self.pixel_format.to_levels(array)
        return pixels, (
            *self.format_notes(n_clipped, array.size),
            *_scale_notes(array, self.pixel_format),
        )

    def as_is(self, values: object) -> Pixels | None:
        """Return (n, h, w, c) images that need no conversion; None for all others.

        Predicting a single image mostly spends its time, beside the network, on the checks that
        these images can skip.
        """
        if type(values) is not np.ndarray or values.dtype != np.uint8:
            return None
        if self.pixel_format is None or not self.pixel_format.is_eight_bit:
            return None
        if values.ndim == 3 and self.shape[2] == 1:
            values = values[..., None]
        return values if values.shape[1:] == self.shape else None

    def format_notes(self, n_clipped: int, n_values: int) -> tuple[str, ...]:
        """Return a note on values outside the training range."""
        if not n_clipped or self.pixel_format is None:
            return ()
        lie = "lies" if n_clipped == 1 else "lie"
        are = "is" if n_clipped == 1 else "are"
        return (
            f"{n_clipped:,} of {n_values:,} pixel values {lie} outside the training range "
            f"({self.pixel_format.range_text}) and {are} clipped.",
        )


def as_numeric_array(values: object) -> NDArray[Any]:
    """Return the user's images as an array of numbers or booleans; raise InputError for others."""
    if isinstance(values, str) or hasattr(values, "__fspath__"):
        fix = "Read files on the command line: netwright predict MODEL FOLDER."
        raise InputError(expected("images", "an array of numbers here", values, fix))
    check_not_masked(values, "pixels")
    try:
        array = np.asarray(values)
        if array.dtype == object:  # a list of arrays, or numbers as Python objects
            array = np.asarray(array.tolist())
    except ValueError:
        fix = "Resize them to one size first."
        got = Phrase(f"different sizes in {type(values).__name__}")
        raise InputError(expected("images", "of one size", got, fix)) from None
    if array.dtype.kind not in "biuf":
        fix = "Convert them: np.asarray(x, np.float32)." if array.dtype == object else ""
        got = Phrase(f"{type(values).__name__} of {array.dtype}")
        raise InputError(expected("pixels", "numbers", got, fix))
    return array


def check_not_masked(values: object, what: str, filled_with: str = "0") -> None:
    """Raise InputError for a masked array with masked values, which numpy would unmask."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        got = Phrase(f"a masked array with {np.ma.getmaskarray(values).sum():,} masked values")
        fix = f"Fill them: x.filled({filled_with})."
        raise InputError(expected(what, "numbers without a mask", got, fix))


def as_image_batch(
    array: NDArray[Any], shape: ImageShape | None = None, *, per_channel_ranges: bool = False
) -> NDArray[Any]:
    """Return images as an (n, h, w, c) batch.

    Args:
        array: (n, h, w) or (n, h, w, c).
        shape: Of the model's images; None in training.
        per_channel_ranges: Each channel has its own range of values, so that grey images cannot
            replace RGB ones, nor the other way round.

    Raises:
        InputError: The shape or the number of channels is wrong; with the line that fixes it.
    """
    if shape is not None:
        _check_has_batch_axis(array, shape)
    batch = array[..., None] if array.ndim == 3 else array
    if batch.ndim != 4 or not all(batch.shape[1:]):
        fix = "Add an axis for a single image: x[None]." if array.ndim == 2 else "Reshape them."
        raise InputError(expected("images", "of shape (n, h, w) or (n, h, w, c)", array.shape, fix))
    channels = batch.shape[3]
    if shape is None and (channels > MAX_CHANNELS or _seem_channels_first(batch.shape)):
        fix = "Move the channels last: x.transpose(0, 2, 3, 1)."
        if channels > MAX_CHANNELS and batch.shape[1] == batch.shape[2]:
            fix = "Choose some of the channels: x[..., :64]."
        rule = f"of shape (n, h, w, c) with at most {MAX_CHANNELS} channels"
        raise InputError(expected("images", rule, array.shape, fix))
    grey_for_rgb = shape is not None and {channels, shape[2]} == {1, 3} and not per_channel_ranges
    if shape is not None and channels != shape[2] and not grey_for_rgb:
        rule = f"of {_channels_text(shape[2])}"
        raise InputError(expected("images", rule, array.shape, _channel_fix(batch, shape)))
    return batch


def row_chunks(values: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of the first axis that hold about `_CHUNK_VALUES` values each."""
    step = max(1, _CHUNK_VALUES // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), step):
        yield slice(start, min(start + step, len(values)))


def finite_min_max(values: NDArray[Any], first_image: int = 0) -> tuple[float, float]:
    """Return the smallest and the largest of values (n, ...), which must not be empty.

    Args:
        values: Of some images.
        first_image: Index of the first of them in the whole set, for the error message.

    Raises:
        InputError: A value is not finite.
    """
    smallest, largest = float(values.min()), float(values.max())  # NaN if any value is
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        is_bad = ~np.isfinite(values)
        image = first_image + int(np.argwhere(is_bad)[0][0])
        got = Phrase(f"{values[is_bad][0]} in image {image + 1}")
        raise InputError(expected("pixels", "finite numbers", got, "Replace it: np.nan_to_num(x)."))
    return smallest, largest


def legacy_levels(array: NDArray[Any]) -> Pixels:
    """Convert to levels as for models without a stored format: by the range of each batch.

    The last of two or four channels was alpha and is dropped; floats up to 1 are multiplied by 255.
    """
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[3] not in (1, 2, 3, 4):
        fix = "Add an axis for a single image: x[None]." if array.ndim == 2 else ""
        raise InputError(expected("images", "of shape (n, h, w) or (n, h, w, c)", array.shape, fix))
    array = array[..., :-1] if array.shape[3] in (2, 4) else array
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.size and not (array.min() >= 0 and array.max() <= 255):  # NaN fails both
        got = Phrase(f"{array.min():g} to {array.max():g}")
        rule = "from 0 to 255 (or floats from 0 to 1)"
        raise InputError(expected("pixels", rule, got, "Undo the scaling first."))
    if array.dtype.kind == "f" and array.size and array.max() <= 1:
        array = array * array.dtype.type(255)
    pixels: Pixels = np.rint(array).astype(np.uint8)
    return pixels


def size_text(size: Sequence[int]) -> str:
    """Return a shape in words: ``32 x 32 x 3``."""
    return " x ".join(map(str, size))


def _check_has_batch_axis(array: NDArray[Any], shape: ImageShape) -> None:
    """Raise InputError for a single image without the batch axis, and for flattened images."""
    height, width, channels = shape
    is_single = array.ndim == 3 and channels > 1 and array.shape[2] == channels
    is_single |= array.shape == shape and array.shape[1:] != shape[:2]
    if array.shape == shape[:2] or is_single:
        fix = "Add the batch axis: x[None]."
        got = Phrase(f"a single image of shape {array.shape}")
        raise InputError(
            expected("images", "a batch, of shape (n, h, w) or (n, h, w, c)", got, fix)
        )
    if array.ndim == 2 and array.shape[1] == height * width * channels:
        fix = f"Reshape them: x.reshape(-1, {height}, {width}, {channels})."
        rule = "of shape (n, h, w) or (n, h, w, c)"
        raise InputError(expected("images", rule, array.shape, fix))


def _seem_channels_first(shape: Sequence[int]) -> bool:
    """Return whether square images seem to be channels-first, such as (n, 3, 32, 32).

    Images with as many channels as columns are allowed only if they have as many rows, too.
    """
    _, first, middle, last = shape
    return first <= MAX_CHANNELS and first != last and middle == last > 4


def _channel_fix(batch: NDArray[Any], shape: ImageShape) -> str:
    height, width, channels = shape
    if batch.shape[1:] == (channels, height, width):
        return "Move the channels last: x.transpose(0, 2, 3, 1)."
    if (batch.shape[3], channels) in ((4, 3), (2, 1)):
        return f"Drop the alpha channel: x[..., :{channels}]."
    return "Pass the channels that the model was trained on."


def _channels_text(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


def _scale_notes(array: NDArray[Any], pixel_format: PixelFormat) -> tuple[str, ...]:
    """Return a note if a whole batch seems to be on another scale; predictions do not change."""
    highs = np.array(pixel_format.high)  # (1,) or (channels,)
    if not array.size or highs.max() * _MIN_RANGE_FRACTION < 1 or min(pixel_format.low) < 0:
        return ()
    smallest, largest = float(array.min()), float(array.max())
    is_uniform_image = len(array) == 1 and smallest == largest and largest.is_integer()
    if smallest < 0 or largest == 0 or is_uniform_image:
        return ()
    trained = f"but the model was trained on {pixel_format.range_text}"
    if len(highs) > 1:
        trained = "but each channel had a wider range in training"
    if array.dtype.kind == "b":
        return (f"All pixel values are true or false, taken as 1 and 0, {trained}.",)
    if array.dtype.kind == "f" and largest <= 1 and len(highs) == 1:
        fix = f"multiply them by {_number_text(highs[0])} if they were divided by it."
        return (f"All pixel values lie between 0 and 1, {trained}: {fix}",)
    is_narrow = bool((array.max(axis=(0, 1, 2)) <= highs * _MIN_RANGE_FRACTION).all())
    is_narrow |= array.dtype == np.uint8 and highs.min() > 255
    if pixel_format.is_eight_bit or not is_narrow:  # a dark image of 8 bits is nothing unusual
        return ()
    return (
        f"All pixel values lie between 0 and {_number_text(largest)}, {trained}: "
        "pass them on the scale of the training images.",
    )


def _number_text(number: float) -> str:
    if number.is_integer() and abs(number) < 1e15:
        return f"{int(number):,}"
    return f"{number:.6g}"
