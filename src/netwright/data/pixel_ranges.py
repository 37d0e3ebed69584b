"""Infer the value range of raw pixels from the training images, and note what is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.pixels import PixelFormat, Pixels, finite_min_max, row_chunks

MAX_VALUE_BY_BIT_DEPTH = (255.0, 1023.0, 4095.0, 65535.0)
"""The largest value of 8, 10, 12 and 16 bits: the depths of cameras, scanners and their files."""
_MIN_LEVELS_FRACTION_OF_COMMON_RANGE = 0.25
"""Below this fraction of the levels that could be kept, min to max replaces a common range.

A quarter is 64 of 256 levels, 6 bits: a choice, at which gradients begin to show steps.
"""
_MIN_LEVELS_FRACTION_WITHOUT_NOTE = 0.5
"""Below this fraction of distinct values that stay distinct, a note reports the loss."""
_SAMPLE_VALUES = 1 << 20
"""Values, of all channels together, among which distinct ones are counted."""


@dataclass(frozen=True, eq=False)
class RawPixelStats:
    """Statistics of the raw pixels of the training images.

    Args:
        low: (channels,) the smallest value of each channel.
        high: (channels,) the largest.
        sample: (values, channels), spread evenly.
        is_float: Whether the values may have fractions.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    sample: NDArray[np.float64]
    is_float: bool

    def channel(self, index: int) -> RawPixelStats:
        """Return the statistics of a single channel."""
        only = slice(index, index + 1)
        return RawPixelStats(self.low[only], self.high[only], self.sample[:, only], self.is_float)


def raw_pixel_stats(images: NDArray[Any]) -> RawPixelStats:
    """Compute the statistics of images (n, h, w, c); raise InputError if a value is not finite."""
    n_channels = images.shape[3]
    low, high = np.full(n_channels, np.inf), np.full(n_channels, -np.inf)
    for rows in row_chunks(images):
        chunk = images[rows]
        bounds = [finite_min_max(chunk[..., i], rows.start) for i in range(n_channels)]
        low = np.minimum(low, [smallest for smallest, _ in bounds])
        high = np.maximum(high, [largest for _, largest in bounds])
    n_images = max(1, _SAMPLE_VALUES // max(1, images[:1].size))
    indices = np.linspace(0, len(images) - 1, min(n_images, len(images))).astype(np.int64)
    pixels = images[np.unique(indices)].reshape(-1, n_channels)
    step = max(1, pixels.size // _SAMPLE_VALUES)
    sample = pixels[::step].astype(np.float64)
    return RawPixelStats(low, high, sample, images.dtype.kind == "f")


def infer_pixel_format(raw: RawPixelStats) -> PixelFormat:
    """Infer the range of all channels, or one for each where a common one would blur some.

    Floats up to 1 get the range 0 to 1, other values that of 8, 10, 12 or 16 bits. Values below 0,
    beyond 16 bits, or that would use too few of the 256 levels, get the range from min to max.
    """
    common = _infer_range(float(raw.low.min()), float(raw.high.max()), raw)
    channels = [raw.channel(i) for i in _channel_indices(raw)]
    if len(channels) == 1 or not any(_is_blurred(common, channel) for channel in channels):
        return common
    formats = [
        _infer_range(float(channel.low[0]), float(channel.high[0]), channel) for channel in channels
    ]
    low, high = zip(*((own.low[0], own.high[0]) for own in formats), strict=True)
    return PixelFormat(low, high)


def range_notes(pixel_format: PixelFormat, raw: RawPixelStats, what: str) -> tuple[str, ...]:
    """Return notes on the inferred range; `what` is such as ``The pixels of 80 images``."""
    if len(pixel_format.low) > 1:
        text = "have a different range in each channel: each is mapped onto 256 levels."
    elif pixel_format.is_eight_bit and not raw.is_float:
        return _lost_levels_notes(pixel_format, raw)
    elif pixel_format.is_eight_bit:
        is_integral = bool((raw.sample == np.rint(raw.sample)).all())
        text = "" if is_integral else "have fractions and are rounded to whole levels of 0 to 255."
    elif pixel_format == _standard_range(
        float(raw.low.min()), float(raw.high.max()), is_float=raw.is_float
    ):
        text = f"are taken as {pixel_format.range_text}, mapped onto 256 levels."
    else:
        text = (
            f"lie within {pixel_format.range_text}: this range is mapped onto 256 levels, and later "
            "values outside it are clipped."
        )
    return ((f"{what} {text}",) if text else ()) + _lost_levels_notes(pixel_format, raw)


def identical_images_note(pixels: Pixels) -> tuple[str, ...]:
    """Return a note if all images are identical."""
    if len(pixels) < 2 or any((image != pixels[0]).any() for image in pixels[1:]):
        return ()
    return (f"All {len(pixels):,} images are identical: nothing can be learnt from them.",)


def corner_background(pixels: Pixels) -> int:
    """Return white if the corners of the images are light on average, else black."""
    corners = pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    return 255 if corners.size and corners.mean() >= 128 else 0


def _infer_range(low: float, high: float, raw: RawPixelStats) -> PixelFormat:
    standard = _standard_range(low, high, is_float=raw.is_float)
    if standard is not None:
        # narrower channels than the widest may get ranges of their own
        widest = raw.channel(int(np.argmax(raw.high - raw.low)))
        if not _is_blurred(standard, widest):
            return standard
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-280):  # one value: any width will do
        high = low + max(1.0, abs(low))
    return PixelFormat((low,), (high,))


def _standard_range(low: float, high: float, *, is_float: bool) -> PixelFormat | None:
    """Return the range 0 to 1, or that of a bit depth, that fits the values; None if none does."""
    if low < 0 or high > MAX_VALUE_BY_BIT_DEPTH[-1]:
        return None
    if is_float and high <= 1:
        return PixelFormat((0.0,), (1.0,))
    return PixelFormat((0.0,), (next(top for top in MAX_VALUE_BY_BIT_DEPTH if high <= top),))


def _channel_indices(raw: RawPixelStats) -> range:
    return range(len(raw.low))


def _is_blurred(pixel_format: PixelFormat, channel: RawPixelStats) -> bool:
    return _distinct_fraction(pixel_format, channel) < _MIN_LEVELS_FRACTION_OF_COMMON_RANGE


def _distinct_fraction(pixel_format: PixelFormat, channel: RawPixelStats) -> float:
    """Return the fraction of a channel's distinct values (at most 256) that stay distinct."""
    values = np.unique(channel.sample)
    levels = np.unique(pixel_format.to_levels(values[:, None])[0])
    return len(levels) / max(1, min(256, len(values)))


def _lost_levels_notes(pixel_format: PixelFormat, raw: RawPixelStats) -> tuple[str, ...]:
    """Return a note if most distinct values of a channel become the same level."""
    for i in _channel_indices(raw):
        channel_format = pixel_format.of_channel(i)
        channel = raw.channel(i)
        if _distinct_fraction(channel_format, channel) < _MIN_LEVELS_FRACTION_WITHOUT_NOTE:
            values = np.unique(channel.sample)
            n_levels = len(np.unique(channel_format.to_levels(values[:, None])[0]))
            where = f" of channel {i + 1}" if len(raw.low) > 1 else ""
            return (
                f"Most distinct pixel values{where} are merged: {len(values):,} become "
                f"{n_levels:,} levels. If finer differences matter, scale the values or clip "
                "outliers first.",
            )
    return ()
