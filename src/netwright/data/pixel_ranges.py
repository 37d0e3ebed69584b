"""Which range raw pixels have, decided from the training images; and what its levels lose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.pixels import PixelFormat, Pixels, chunks, extremes

BIT_RANGES = (255.0, 1023.0, 4095.0, 65535.0)
"""The largest value of 8, 10, 12 and 16 bits: what cameras, scanners and their files have."""
_MIN_LEVELS_SHARE_OF_COMMON_RANGE = 0.25
"""Below this share of the levels that could be kept, a common range is given up for min to max.

A quarter is 64 of 256 levels, 6 bits: a choice, at which gradients begin to show steps.
"""
_MIN_LEVELS_SHARE_WITHOUT_NOTE = 0.5
"""Below this share of distinct values that stay distinct, the loss is told: fewer than most."""
_SAMPLE_VALUES = 1 << 20
"""Values of all channels together that distinct ones are counted in."""


@dataclass(frozen=True, eq=False)
class RawValues:
    """Raw pixel values of the training images, summed up by channel.

    `low`, `high` (channels,): the smallest and the largest; `sample` (values, channels): some of
    them, spread evenly; `is_float`: whether fractions are possible.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    sample: NDArray[np.float64]
    is_float: bool

    def channel(self, index: int) -> RawValues:
        """One channel alone."""
        part = slice(index, index + 1)
        return RawValues(self.low[part], self.high[part], self.sample[:, part], self.is_float)


def raw_values(images: NDArray[Any]) -> RawValues:
    """Sums up images (n, h, w, c). Raises InputError at a value that is not finite."""
    channels = images.shape[3]
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    for rows in chunks(images):
        part = images[rows]
        ends = [extremes(part[..., i], rows.start) for i in range(channels)]
        low = np.minimum(low, [smallest for smallest, _ in ends])
        high = np.maximum(high, [largest for _, largest in ends])
    n_images = max(1, _SAMPLE_VALUES // max(1, images[:1].size))
    indices = np.linspace(0, len(images) - 1, min(n_images, len(images))).astype(np.int64)
    pixels = images[np.unique(indices)].reshape(-1, channels)
    step = max(1, pixels.size // _SAMPLE_VALUES)
    return RawValues(low, high, pixels[::step].astype(np.float64), images.dtype.kind == "f")


def choose_range(raw: RawValues) -> PixelFormat:
    """The range of all channels, or one for each where a common one would blur some of them.

    Floats up to 1 have the range 0 to 1; other values that of 8, 10, 12 or 16 bits. Values below
    0, beyond 16 bits, or that fill so little of such a range that most levels would be lost, have
    the range that they fill.
    """
    common = _range(float(raw.low.min()), float(raw.high.max()), raw)
    if len(raw.low) == 1 or not any(_blurred(common, raw.channel(i)) for i in _channels(raw)):
        return common
    channels = [raw.channel(i) for i in _channels(raw)]
    formats = [_range(float(raw.low[0]), float(raw.high[0]), raw) for raw in channels]
    low, high = zip(*((own.low[0], own.high[0]) for own in formats), strict=True)
    return PixelFormat(low, high)


def range_notes(pixel_format: PixelFormat, raw: RawValues, what: str) -> tuple[str, ...]:
    """What was decided; `what`: ``The pixels of 80 images``."""
    if len(pixel_format.low) > 1:
        text = "have ranges that differ by channel: each channel's is mapped onto 256 levels."
    elif pixel_format.is_eight_bit and not raw.is_float:
        return _lost_notes(pixel_format, raw)
    elif pixel_format.is_eight_bit:
        whole = bool((raw.sample == np.rint(raw.sample)).all())
        text = "" if whole else "have fractions and are rounded to whole levels of 0 to 255."
    elif _standard(float(raw.low.min()), float(raw.high.max()), raw.is_float) == pixel_format:
        text = f"are taken as {pixel_format.range_text}, mapped onto 256 levels."
    else:
        text = (
            f"lie within {pixel_format.range_text}: this range is mapped onto 256 levels, and later "
            "values outside it are clipped."
        )
    return ((f"{what} {text}",) if text else ()) + _lost_notes(pixel_format, raw)


def identical_note(pixels: Pixels) -> tuple[str, ...]:
    """A sentence where all images are one and the same."""
    if len(pixels) < 2 or any((image != pixels[0]).any() for image in pixels[1:]):
        return ()
    return (f"All {len(pixels):,} images are identical: nothing can be learnt from them.",)


def corner_background(pixels: Pixels) -> int:
    """White where the corners of the images are light on average, else black."""
    corners = pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    return 255 if corners.size and corners.mean() >= 128 else 0


def _range(low: float, high: float, raw: RawValues) -> PixelFormat:
    standard = _standard(low, high, raw.is_float)
    if standard is not None and not any(
        _kept(standard, raw.channel(i)) < _MIN_LEVELS_SHARE_OF_COMMON_RANGE for i in _widest(raw)
    ):
        return standard
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-280):  # one value: any width will do
        high = low + max(1.0, abs(low))
    return PixelFormat((low,), (high,))


def _standard(low: float, high: float, is_float: bool) -> PixelFormat | None:
    """The range of shares or of bits that these values fit; None where there is none."""
    if low < 0 or high > BIT_RANGES[-1]:
        return None
    if is_float and high <= 1:
        return PixelFormat((0.0,), (1.0,))
    return PixelFormat((0.0,), (next(top for top in BIT_RANGES if high <= top),))


def _widest(raw: RawValues) -> list[int]:
    """The channel with the widest values: narrower ones may get a range of their own."""
    return [int(np.argmax(raw.high - raw.low))]


def _channels(raw: RawValues) -> range:
    return range(len(raw.low))


def _blurred(pixel_format: PixelFormat, channel: RawValues) -> bool:
    return _kept(pixel_format, channel) < _MIN_LEVELS_SHARE_OF_COMMON_RANGE


def _kept(pixel_format: PixelFormat, channel: RawValues) -> float:
    """Share of a channel's distinct values, as far as 256 levels allow, that stay distinct."""
    values = np.unique(channel.sample)
    levels = np.unique(pixel_format.levels(values[:, None])[0])
    return len(levels) / max(1, min(256, len(values)))


def _lost_notes(pixel_format: PixelFormat, raw: RawValues) -> tuple[str, ...]:
    """A sentence where most of the distinct values of a channel fall together."""
    for i in _channels(raw):
        alone = pixel_format.of_channel(i)
        channel = raw.channel(i)
        if _kept(alone, channel) < _MIN_LEVELS_SHARE_WITHOUT_NOTE:
            values = np.unique(channel.sample)
            levels = len(np.unique(alone.levels(values[:, None])[0]))
            where = f" of channel {i + 1}" if len(raw.low) > 1 else ""
            return (
                f"Most distinct pixel values{where} fall together: {len(values):,} become "
                f"{levels:,} levels. If finer differences matter, scale the values or clip "
                "outliers first.",
            )
    return ()
