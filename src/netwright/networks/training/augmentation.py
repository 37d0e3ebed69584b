"""Image augmentation: descriptions that change a batch on the device where it is.

Each takes images (batch, c, h, w) of any dtype and a generator, and returns images of the same
shape and dtype. Every image of a batch has its own random draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate, expected


class Augmentation(Protocol):
    """Changes a batch of images (batch, c, h, w) at random."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Flip(Augmentation):
    """Random horizontal flip: mirrors half of the images left to right."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        flipped = _uniform(len(images), images, generator) < 0.5  # (batch,)
        return torch.where(flipped[:, None, None, None], images.flip(3), images)


@dataclass(frozen=True)
class Crop(Augmentation):
    """Random crop after zero padding: shifts each image by up to `padding` pixels in each direction.

    Args:
        padding: Pixels of zeros on each side.
    """

    padding: int = 2

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        _, _, h, w = images.shape
        pad = self.padding
        padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))  # (batch, c, h + 2p, w + 2p)
        top, left = (_integers(2 * pad + 1, images, generator) for _ in range(2))  # (batch,)
        rows = top[:, None] + torch.arange(h, device=images.device)  # (batch, h)
        columns = left[:, None] + torch.arange(w, device=images.device)  # (batch, w)
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        # indices around the channel slice put channels last: (batch, h, w, c)
        cropped = padded[batch, :, rows[:, :, None], columns[:, None, :]]
        return cropped.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Replaces a random square with the image's mean (DeVries and Taylor 2017, 1708.04552).

    Args:
        size: Pixels along a side; the square may reach over the image's edge.
    """

    size: int = 4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        _, _, h, w = images.shape
        if self.size >= min(h, w):
            raise InfeasibleCandidate(
                expected("cutout size", f"less than the image's {h} x {w}", self.size)
            )
        masks = []
        for length in (h, w):
            centre = _integers(length, images, generator)[:, None]  # (batch, 1)
            start = centre - self.size // 2
            index = torch.arange(length, device=images.device)  # (length,)
            masks.append((index >= start) & (index < start + self.size))  # (batch, length)
        square = masks[0][:, None, :, None] & masks[1][:, None, None, :]  # (batch, 1, h, w)
        mean = images.float().mean((1, 2, 3), keepdim=True).to(images.dtype)
        return torch.where(square, mean, images)


def _uniform(n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw (n,) numbers in [0, 1) on the generator's device, and move them to that of `like`."""
    return torch.rand(n, generator=generator, device=generator.device).to(like.device)


def _integers(high: int, images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw (batch,) integers in [0, high)."""
    drawn = torch.randint(high, (len(images),), generator=generator, device=generator.device)
    return drawn.to(images.device)
