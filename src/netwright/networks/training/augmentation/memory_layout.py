"""Images as they lie in memory, so that both memory formats take one fast path.

Contiguous images (batch, c, h, w) are c planes of single numbers; channels-last images are one plane
of pixels with c numbers. Both are contiguous as (batch, planes, h, w, numbers), and an augmentation
that is written for this shape preserves the memory format.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(images: Tensor) -> bool:
    """Return whether images (batch, c, h, w) are channels-last and not also contiguous."""
    if images.is_contiguous():  # as one channel is
        return False
    return images.is_contiguous(memory_format=torch.channels_last)


def to_planes(images: Tensor) -> Tensor:
    """Return images (batch, c, h, w) as contiguous planes: (batch, planes, h, w, numbers)."""
    if is_channels_last(images):
        return images.permute(0, 2, 3, 1)[:, None]  # (batch, 1, h, w, c)
    return images.contiguous()[..., None]  # (batch, c, h, w, 1)


def from_planes(planes: Tensor) -> Tensor:
    """Return planes (batch, planes, h, w, numbers) as images (batch, c, h, w)."""
    if planes.shape[-1] > 1:
        return planes.squeeze(1).permute(0, 3, 1, 2)
    return planes.squeeze(-1)


def pad_with_zeros(planes: Tensor, padding: int) -> Tensor:
    """Pad planes (batch, planes, h, w, numbers) with `padding` pixels on all four sides."""
    n, n_planes, h, w, numbers = planes.shape
    padded = planes.new_zeros((n, n_planes, h + 2 * padding, w + 2 * padding, numbers))
    padded[:, :, padding : padding + h, padding : padding + w] = planes
    return padded


def in_layout_of(images: Tensor, like: Tensor) -> Tensor:
    """Return the images in the memory format of others of the same shape."""
    memory_format = torch.channels_last if is_channels_last(like) else torch.contiguous_format
    return images.contiguous(memory_format=memory_format)
