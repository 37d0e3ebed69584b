"""The interface of augmentations, what they know of a batch, and their random draws.

An augmentation takes images (batch, c, h, w) and returns images of the same shape, dtype, device and
memory format. It works on the whole batch in the dtype in which it is stored. Every image has its
own random draw. Values of uint8 images lie in 0..255; operations on colour expect float images in
[0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class BatchContext:
    """Random numbers of a batch, and the place of its rows in the training.

    Args:
        generator: Source of all random draws.
        rows: (batch,) int64 indices of the rows in the training set.
        epoch: Number of passes over the training set that are over: 0 in the first.
    """

    generator: torch.Generator
    rows: Tensor
    epoch: int


class Augmentation(Protocol):
    """Changes a batch of images (batch, c, h, w) at random."""

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor: ...


def draw_uniform(images: Tensor, batch: BatchContext) -> Tensor:
    """Draw (batch,) numbers in [0, 1), on the device of the images."""
    generator = batch.generator
    drawn = torch.rand(len(images), generator=generator, device=generator.device)
    return drawn.to(images.device)


def draw_signed(images: Tensor, batch: BatchContext) -> Tensor:
    """Draw (batch,) numbers in [-1, 1), on the device of the images."""
    return 2 * draw_uniform(images, batch) - 1


def draw_integers(high: int, images: Tensor, batch: BatchContext) -> Tensor:
    """Draw (batch,) integers in [0, high), on the device of the images."""
    generator = batch.generator
    drawn = torch.randint(high, (len(images),), generator=generator, device=generator.device)
    return drawn.to(images.device)
