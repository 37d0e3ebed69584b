"""How a raw pixel value becomes one of 256 levels: the one place that says it.

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

Size: TypeAlias = tuple[int, int, int]
"""Height, width, channels."""
Pixels: TypeAlias = NDArray[np.uint8]

MAX_CHANNELS = 64
"""More than multispectral cameras have; a longer last axis is most likely a width."""
_DOUBTED_SHARE = 1 / 16
"""A batch that fills no more of the range is doubted: that of 12 bits where 16 were learnt."""
_CHUNK_VALUES = 1 << 17
"""Values converted at a time: as float64 they take 1 MB, which stays in a processor's cache."""


@dataclass(frozen=True)
class PixelFormat:
    """What raw pixels mean, decided once from the training images and stored with the model.

    `low` and `high`: the range of raw values that is mapped onto the levels 0 to 255; one number
    for all channels, or one a channel. It holds for arrays and for files with more than 8 bits;
    8-bit files are levels already. `background`: the grey level laid under transparent parts.
    """

    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (255.0,)
    background: int = 0

    def of_channel(self, index: int) -> PixelFormat:
        """The format of one channel alone."""
        if len(self.low) == 1:
            return self
        return PixelFormat((self.low[index],), (self.high[index],), self.background)

    @property
    def is_eight_bit(self) -> bool:
        """Whether raw values are levels as they are."""
        return self.low == (0.0,) and self.high == (255.0,)

    @property
    def range_text(self) -> str:
        """``0 to 4,095``, for sentences."""
        if len(self.low) > 1:
            return "that each channel had in training"
        return f"{_number(self.low[0])} to {_number(self.high[0])}"

    def levels(self, values: NDArray[Any]) -> tuple[Pixels, int]:
        """The levels of raw values (n, ..., channels), and how many lay outside and were clipped.

        Raises InputError at a value that is not finite.
        """
        if values.dtype == np.uint8 and self.is_eight_bit:
            return values, 0
        low, high = np.array(self.low), np.array(self.high)
        pixels, n_clipped = np.empty(values.shape, np.uint8), 0
        for rows in chunks(values):
            numbers = values[rows].astype(np.float64)
            smallest, largest = extremes(numbers, rows.start)
            if smallest < low.max() or largest > high.min():
                n_clipped += int(np.count_nonzero((numbers < low) | (numbers > high)))
                np.clip(numbers, low, high, out=numbers)
            numbers /= 2  # the whole range could overflow
            numbers -= low / 2
            numbers *= 255 / (high / 2 - low / 2)
            pixels[rows] = np.rint(numbers, out=numbers)
        return pixels, n_clipped


EIGHT_BITS = PixelFormat()
"""Values of 0 to 255, which are levels as they are."""


@dataclass(frozen=True)
class ImageSchema:
    """What a model takes: the size of its images, and what their pixels mean.

    `format` is None for models of versions that did not store it (see `levels_by_batch`).
    """

    size: Size
    pixel_format: PixelFormat | None = EIGHT_BITS

    @classmethod
    def from_card(cls, image: Mapping[str, Any]) -> ImageSchema:
        """The schema that the entry "image" of a model's card states."""
        size = (int(image["height"]), int(image["width"]), int(image["channels"]))
        if "low" not in image:
            return cls(size, None)
        low, high = (tuple(map(float, np.atleast_1d(image[end]))) for end in ("low", "high"))
        return cls(size, PixelFormat(low, high, int(image["background"])))

    def to_card(self) -> dict[str, Any]:
        """The entry "image" of a model's card; plain JSON."""
        height, width, channels = self.size
        card: dict[str, Any] = {
            "height": height, "width": width, "channels": channels, "range": "uint8, 0 to 255",
        }  # fmt: skip
        if self.pixel_format is not None:
            pair = ("low", self.pixel_format.low), ("high", self.pixel_format.high)
            card |= {end: number[0] if len(number) == 1 else list(number) for end, number in pair}
            card["background"] = self.pixel_format.background
        return card

    def read(self, values: Any) -> tuple[Pixels, tuple[str, ...]]:
        """(n, h, w, c) levels of raw images of any size, and notes.

        Raises InputError where they are no batch of images with as many channels as the model's.
        """
        if (ready := self.as_is(values)) is not None:
            return ready, ()
        array = numeric_array(values)
        if self.pixel_format is None:
            return levels_by_batch(array), ()
        array = batch_of(array, self.size, own_ranges=len(self.pixel_format.low) > 1)
        pixels, n_clipped = self.pixel_format.levels(array)
        return pixels, (
            *self.format_notes(n_clipped, array.size),
            *_scale_doubts(array, self.pixel_format),
        )

    def as_is(self, values: Any) -> Pixels | None:
        """Images (n, h, w, c) that are levels of the right size already, else None.

        What a single image costs beside its network is mostly the checks that these need not pass.
        """
        if type(values) is not np.ndarray or values.dtype != np.uint8:
            return None
        if self.pixel_format is None or not self.pixel_format.is_eight_bit:
            return None
        if values.ndim == 3 and self.size[2] == 1:
            values = values[..., None]
        return values if values.shape[1:] == self.size else None

    def format_notes(self, n_clipped: int, n_values: int) -> tuple[str, ...]:
        """Note on values outside the range that was trained on."""
        if not n_clipped or self.pixel_format is None:
            return ()
        are = "lies" if n_clipped == 1 else "lie"
        clipped = "is" if n_clipped == 1 else "are"
        return (
            f"{n_clipped:,} of {n_values:,} pixel values {are} outside the range trained on "
            f"({self.pixel_format.range_text}) and {clipped} clipped.",
        )


def numeric_array(values: Any) -> NDArray[Any]:
    """An array of numbers or booleans of what the user gave. InputError where it is none."""
    if isinstance(values, str) or hasattr(values, "__fspath__"):
        fix = "Read files on the command line: netwright predict MODEL FOLDER."
        raise InputError(expected("images", "an array of numbers here", values, fix))
    refuse_masked(values, "pixels")
    try:
        array = np.asarray(values)
        if array.dtype == object:  # a list of arrays, or numbers as Python objects
            array = np.asarray(array.tolist())
    except ValueError:
        fix = "Resize them to one size first."
        got = Phrase(f"different ones in {type(values).__name__}")
        raise InputError(expected("images", "of one size", got, fix)) from None
    if array.dtype.kind not in "biuf":
        fix = "Convert them: np.asarray(x, np.float32)." if array.dtype == object else ""
        got = Phrase(f"{type(values).__name__} of {array.dtype}")
        raise InputError(expected("pixels", "numbers", got, fix))
    return array


def refuse_masked(values: Any, what: str, filled_with: str = "0") -> None:
    """InputError for a masked array that hides values: numpy would bring them back."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        got = Phrase(f"a masked array that hides {np.ma.getmaskarray(values).sum():,}")
        fix = f"Fill them: x.filled({filled_with})."
        raise InputError(expected(what, "numbers that are all there", got, fix))


def batch_of(
    array: NDArray[Any], size: Size | None = None, *, own_ranges: bool = False
) -> NDArray[Any]:
    """(n, h, w, c) of a batch of images; `size`: of the model's images, None when learning.

    Grey and RGB stand for each other, unless each channel has a range of its own (`own_ranges`).
    Raises InputError for other shapes and numbers of channels, with the line that mends it.
    """
    if size is not None:
        _refuse_single(array, size)
    batch = array[..., None] if array.ndim == 3 else array
    if batch.ndim != 4 or not all(batch.shape[1:]):
        fix = "Add an axis for a single image: x[None]." if array.ndim == 2 else "Reshape them."
        raise InputError(expected("images", "of shape (n, h, w) or (n, h, w, c)", array.shape, fix))
    channels = batch.shape[3]
    if size is None and (channels > MAX_CHANNELS or _channels_first(batch.shape)):
        fix = "Move the channels last: x.transpose(0, 2, 3, 1)."
        if channels > MAX_CHANNELS and batch.shape[1] == batch.shape[2]:
            fix = "Choose some of the channels: x[..., :64]."
        rule = f"of shape (n, h, w, c) with at most {MAX_CHANNELS} channels"
        raise InputError(expected("images", rule, array.shape, fix))
    grey_for_rgb = size is not None and {channels, size[2]} == {1, 3} and not own_ranges
    if size is not None and channels != size[2] and not grey_for_rgb:
        raise InputError(
            expected("images", f"of {_count(size[2])}", array.shape, _channel_fix(batch, size))
        )
    return batch


def chunks(values: NDArray[Any]) -> Iterator[slice]:
    """Slices of the first axis, of some `_CHUNK_VALUES` values each."""
    step = max(1, _CHUNK_VALUES // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), step):
        yield slice(start, min(start + step, len(values)))


def extremes(values: NDArray[Any], first: int = 0) -> tuple[float, float]:
    """The smallest and largest of values (n, ...), of which there are some.

    InputError where one is not finite; `first` counts the images before.
    """
    smallest, largest = float(values.min()), float(values.max())  # NaN where one is
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        bad = ~np.isfinite(values)
        place = int(np.argwhere(bad)[0][0])
        got = Phrase(f"{values[bad][0]} in image {first + place + 1}")
        raise InputError(expected("pixels", "finite numbers", got, "Replace it: np.nan_to_num(x)."))
    return smallest, largest


def levels_by_batch(array: NDArray[Any]) -> Pixels:
    """Levels as models without a stored format took them: the range was judged by each batch.

    The last of two or four channels was alpha and is left out; floats up to 1 are shares of 255.
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
    """``32 x 32 x 3``."""
    return " x ".join(map(str, size))


def _refuse_single(array: NDArray[Any], size: Size) -> None:
    """InputError for one image without the axis of the batch, and for images as rows."""
    height, width, channels = size
    alone = array.ndim == 3 and channels > 1 and array.shape[2] == channels
    alone |= array.shape == size and array.shape[1:] != size[:2]
    if array.shape == size[:2] or alone:
        fix = "Add the axis of the batch: x[None]."
        got = Phrase(f"a single image of shape {array.shape}")
        raise InputError(
            expected("images", "a batch, of shape (n, h, w) or (n, h, w, c)", got, fix)
        )
    if array.ndim == 2 and array.shape[1] == height * width * channels:
        fix = f"Reshape them: x.reshape(-1, {height}, {width}, {channels})."
        rule = "of shape (n, h, w) or (n, h, w, c)"
        raise InputError(expected("images", rule, array.shape, fix))


def _channels_first(shape: Sequence[int]) -> bool:
    """Whether square images seem to have their channels first: (n, 3, 32, 32).

    As many channels as columns are possible only where there are as many rows, too.
    """
    _, first, middle, last = shape
    return first <= MAX_CHANNELS and first != last and middle == last > 4


def _channel_fix(batch: NDArray[Any], size: Size) -> str:
    height, width, channels = size
    if batch.shape[1:] == (channels, height, width):
        return "Move the channels last: x.transpose(0, 2, 3, 1)."
    if (batch.shape[3], channels) in ((4, 3), (2, 1)):
        return f"Without its alpha channel it fits: x[..., :{channels}]."
    return "Pass the channels that it was trained on."


def _count(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


def _scale_doubts(array: NDArray[Any], pixel_format: PixelFormat) -> tuple[str, ...]:
    """A doubt where a whole batch seems to be on another scale: the answer stays as it is."""
    highs = np.array(pixel_format.high)  # (1,) or (channels,)
    if not array.size or highs.max() * _DOUBTED_SHARE < 1 or min(pixel_format.low) < 0:
        return ()
    smallest, largest = float(array.min()), float(array.max())
    plain = len(array) == 1 and smallest == largest and largest.is_integer()
    if smallest < 0 or largest == 0 or plain:
        return ()
    trained = f"where the model was trained on {pixel_format.range_text}"
    if len(highs) > 1:
        trained = "where each channel had a wider range in training"
    if array.dtype.kind == "b":
        return (f"All pixel values are true or false, taken as 1 and 0, {trained}.",)
    if array.dtype.kind == "f" and largest <= 1 and len(highs) == 1:
        fix = f"multiply them by {_number(highs[0])} if they were divided by it."
        return (f"All pixel values lie between 0 and 1, {trained}: {fix}",)
    narrow = bool((array.max(axis=(0, 1, 2)) <= highs * _DOUBTED_SHARE).all())
    narrow |= array.dtype == np.uint8 and highs.min() > 255
    if pixel_format.is_eight_bit or not narrow:  # one dark picture of 8 bits is nothing odd
        return ()
    return (
        f"All pixel values lie between 0 and {_number(largest)}, {trained}: "
        "give them on the scale of the training images.",
    )


def _number(value: float) -> str:
    return f"{int(value):,}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
