"""Images and contexts for tests of augmentations."""

from __future__ import annotations

import torch
from torch import Tensor

from netwright.networks.training.augmentation.batch_context import Augmentation, BatchContext


def numbered(rows: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Copies of one image of 3 channels, 7 x 9, whose pixels all differ."""
    return (1 + torch.arange(3 * 7 * 9)).view(1, 3, 7, 9).repeat(rows, 1, 1, 1).to(dtype)


def noise(
    rows: int, dtype: torch.dtype = torch.uint8, shape: tuple[int, int, int] = (3, 19, 16)
) -> Tensor:
    """Random images: 20 to 219 as uint8, the same over 255 as float."""
    generator = torch.Generator().manual_seed(7)
    levels = torch.randint(20, 220, (rows, *shape), generator=generator)
    return levels.byte() if dtype == torch.uint8 else (levels / 255).to(dtype)


def context(rows: int | Tensor, seed: int = 0, epoch: int = 0) -> BatchContext:
    """Of so many rows, or of these."""
    if isinstance(rows, int):
        rows = torch.arange(rows)
    return BatchContext(torch.Generator().manual_seed(seed), rows, epoch)


def applied(augmentation: Augmentation, images: Tensor, seed: int = 0) -> Tensor:
    return augmentation(images, context(len(images), seed))
