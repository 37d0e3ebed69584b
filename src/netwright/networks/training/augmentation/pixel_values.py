"""Operations on the values of pixels, each with its own strength for each image.

Images are (batch, c, h, w), uint8 or float in [0, 1]; strengths are (batch,), and 0 changes nothing.
The results are those of Pillow's `ImageEnhance` and `ImageOps`, which AutoAugment and its successors
use, but for rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from netwright.networks.training.augmentation.memory_layout import (
    from_planes,
    in_layout_of,
    to_planes,
)

N_LEVELS = 256
"""Number of values of a uint8."""
_LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a pixel (ITU-R BT.601), as in Pillow."""


def change_brightness(images: Tensor, changes: Tensor) -> Tensor:
    """Multiply by 1 + change, with changes in [-1, 1]."""
    return _blend(images, torch.zeros((), device=images.device), changes)


def change_contrast(images: Tensor, changes: Tensor) -> Tensor:
    """Multiply the distance from the image's mean grey by 1 + change, with changes in [-1, 1]."""
    return _blend(images, _grey(images).mean((1, 2, 3), keepdim=True), changes)


def change_saturation(images: Tensor, changes: Tensor) -> Tensor:
    """Multiply the distance from each pixel's grey by 1 + change, with changes in [-1, 1].

    Images without three channels have no colours, and stay as they are.
    """
    return _blend(images, _grey(images), changes) if images.shape[1] == 3 else images


def change_sharpness(images: Tensor, changes: Tensor) -> Tensor:
    """Multiply the distance from the smoothed image by 1 + change, with changes in [-1, 1].

    The filter is 3 x 3 with ones around a five; pixels at the border stay as they are.
    """
    planes = to_planes(images.float())
    n, n_planes, h, w, numbers = planes.shape
    if min(h, w) < 3:
        return images
    lines = planes.view(n, n_planes, h, w * numbers)  # neighbours in a line are `numbers` apart
    sums = lines[:, :, :-2] + lines[:, :, 1:-1] + lines[:, :, 2:]
    sums = (
        sums[..., : -2 * numbers] + sums[..., numbers:-numbers] + sums[..., 2 * numbers :]
    )  # over 3 x 3
    smooth = lines.clone()
    inner = smooth[:, :, 1:-1, numbers:-numbers]
    inner.mul_(4 / 13).add_(sums, alpha=1 / 13)
    return _blend(images, from_planes(smooth.view(planes.shape)), changes)


def posterize(images: Tensor, removed_bits: Tensor) -> Tensor:
    """Set the lowest bits of the 256 levels to 0; removed_bits are whole numbers in 0..8."""
    if images.dtype == torch.uint8:
        mask = (N_LEVELS - 2 ** removed_bits.long()).to(torch.uint8)  # 256 wraps around to 0
        return images & _by_image(mask)
    step = _by_image(2**removed_bits)
    posterized = _to_levels(images) // step * step / (N_LEVELS - 1)
    return torch.where(step > 1, posterized.to(images.dtype), images)


def solarize(images: Tensor, shares: Tensor) -> Tensor:
    """Invert the brightest share in [0, 1] of the range of values: all for 1."""
    lowest = N_LEVELS - shares * N_LEVELS  # of the inverted levels
    if images.dtype == torch.uint8:  # 255 - x flips every bit of x
        lowest = lowest.ceil()
        is_any = lowest < N_LEVELS
        is_inverted = images >= _by_image(lowest.clamp(max=N_LEVELS - 1).to(torch.uint8))
        return images ^ (is_inverted.byte() * _by_image(is_any.byte() * (N_LEVELS - 1)))
    is_inverted = images >= _by_image(lowest / (N_LEVELS - 1))
    return torch.where(is_inverted, 1 - images, images)


def invert(images: Tensor, is_chosen: Tensor) -> Tensor:
    """Turn black to white and white to black where is_chosen (batch,) is not 0."""
    return torch.where(_by_image(is_chosen != 0), _white(images) - images, images)


def stretch_contrast(images: Tensor, is_chosen: Tensor) -> Tensor:
    """Stretch each channel to the whole range where is_chosen (batch,) is not 0 (AutoContrast)."""
    planes = to_planes(images)
    n, n_planes, h, w, numbers = planes.shape
    lines = planes.view(n, n_planes, h, w * numbers)
    low, high = (
        extreme(extreme(lines, 2).view(n, n_planes, w, numbers), 2).view(n, -1, 1, 1)
        for extreme in (torch.amin, torch.amax)
    )  # (batch, c, 1, 1), first over the rows: a quarter of the time of both at once
    is_stretched = _by_image(is_chosen != 0) & (high > low)
    low, high = low.float(), high.float()
    scale = torch.where(is_stretched, _white(images) / (high - low), 1.0)
    offset = torch.where(is_stretched, low, 0.0)
    stretched = (images.float() - offset) * scale
    if images.is_floating_point():
        return torch.where(is_stretched, stretched.to(images.dtype), images)
    return (stretched + _STRETCH_ROUNDING).to(images.dtype)


_STRETCH_ROUNDING = 1e-3
"""Added before rounding down, as Pillow rounds: 85 * (255 / 85) may be a little less than 255."""


def equalize(images: Tensor, is_chosen: Tensor) -> Tensor:
    """Equalize the histogram of each channel where is_chosen (batch,) is not 0.

    Channels with less than 255 pixels below their brightest level stay as they are, as in Pillow.
    """
    levels = _to_levels(images).long()
    n, c = images.shape[:2]
    histogram_index = torch.arange(n * c, device=images.device).view(n, c, 1, 1) * N_LEVELS
    index = to_planes(in_layout_of(levels + histogram_index, images))  # (n, planes, h, w, numbers)
    counts = torch.bincount(index.flatten(), minlength=n * c * N_LEVELS)
    table = _equalization(counts.view(n, c, N_LEVELS))
    table = torch.where((is_chosen != 0)[:, None, None], table, _all_levels(images))
    if images.is_floating_point():
        table = table / (N_LEVELS - 1)
    table = table.to(images.dtype).flatten()
    equalized = from_planes(table.index_select(0, index.flatten()).view(index.shape))
    if images.is_floating_point():  # images that stay have more than 256 values
        return torch.where(_by_image(is_chosen != 0), equalized, images)
    return equalized


def _equalization(counts: Tensor) -> Tensor:
    """Return the level that replaces each, from histograms (batch, c, 256), as Pillow does."""
    levels = _all_levels(counts)
    brightest = torch.where(counts > 0, levels, 0).amax(-1, keepdim=True)  # (batch, c, 1)
    n_below = counts.sum(-1, keepdim=True) - counts.gather(-1, brightest)
    step = n_below // (N_LEVELS - 1)  # pixels to a level
    darker = counts.cumsum(-1) - counts
    table = ((step // 2 + darker) // step.clamp(min=1)).clamp(max=N_LEVELS - 1)
    return torch.where(step > 0, table, levels)


def _blend(images: Tensor, degenerate: Tensor, changes: Tensor) -> Tensor:
    """Return images + change * (images - degenerate), within the range of values."""
    factor = _by_image(1 + changes)
    blended = (images.float() * factor + degenerate * (1 - factor)).clamp_(0, _white(images))
    if images.is_floating_point():
        return blended.to(images.dtype)
    return (blended + 0.5).to(images.dtype)


def _grey(images: Tensor) -> Tensor:
    """Return the brightness of each pixel (batch, 1, h, w) as float32."""
    if images.shape[1] != 3:
        return images.float().mean(1, keepdim=True)
    red, green, blue = (images[:, i : i + 1].float() for i in range(3))
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _to_levels(images: Tensor) -> Tensor:
    """Return the level in 0..255 of each value."""
    if not images.is_floating_point():
        return images
    return (images.float() * (N_LEVELS - 1)).round().clamp_(0, N_LEVELS - 1)


def _all_levels(like: Tensor) -> Tensor:
    """Return all levels (256,) in order, on the device of a tensor."""
    return torch.arange(N_LEVELS, device=like.device)


def _white(images: Tensor) -> int:
    """Return the largest value of a pixel."""
    return 1 if images.is_floating_point() else N_LEVELS - 1


def _by_image(numbers: Tensor) -> Tensor:
    """Return numbers (batch,) with the dimensions of images: (batch, 1, 1, 1)."""
    return numbers[:, None, None, None]
