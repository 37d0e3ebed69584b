"""Mixing of the rows of a batch, which changes their targets too.

For a batch with inputs x and targets y, a random order of the rows gives each a partner. The loss of
the mixed inputs is `share * loss(outputs, y) + (1 - share) * loss(outputs, y[partners])`, which for
the cross-entropy is that of the mixed targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.augmentation.memory_layout import from_planes, to_planes


@dataclass(frozen=True)
class Mixture:
    """The partners and shares by which the rows of a batch were mixed.

    Args:
        partners: (batch,) int64: index in the batch of the row that was mixed into each.
        share: Share in [0, 1] of each row itself: lambda in the papers.
    """

    partners: Tensor
    share: float


class Mixing(Protocol):
    """Mixes the rows of a batch at random."""

    def __call__(self, inputs: Tensor, batch: BatchContext) -> tuple[Tensor, Mixture]: ...


@dataclass(frozen=True)
class Mixup(Mixing):
    """Weighted means of pairs of rows (Zhang et al. 2017, 1710.09412), for inputs of any shape.

    Args:
        alpha: Each batch's share of the row itself is drawn from Beta(alpha, alpha); 0 mixes nothing.
    """

    alpha: float = 0.2

    def __call__(self, inputs: Tensor, batch: BatchContext) -> tuple[Tensor, Mixture]:
        share = _draw_beta(self.alpha, batch)
        partners = _draw_partners(inputs, batch)
        numbers = inputs if inputs.is_floating_point() else inputs.float()
        mixed = numbers * share + _take(numbers, partners) * (1 - share)
        if not inputs.is_floating_point():
            mixed = mixed.round_()
        return mixed.to(inputs.dtype), Mixture(partners, share)


@dataclass(frozen=True)
class CutMix(Mixing):
    """Replaces a random rectangle of each image by that of another (Yun et al. 2019, 1905.04899).

    Args:
        alpha: Each batch's share of the area that is kept is drawn from Beta(alpha, alpha), before
            the rectangle is cut off at the image's edge; 0 mixes nothing.
    """

    alpha: float = 1.0

    def __call__(self, inputs: Tensor, batch: BatchContext) -> tuple[Tensor, Mixture]:
        if inputs.dim() != 4:
            raise InfeasibleCandidate(
                expected("inputs of CutMix", "images (batch, c, h, w)", tuple(inputs.shape))
            )
        _, _, h, w = inputs.shape
        share = _draw_beta(self.alpha, batch)
        partners = _draw_partners(inputs, batch)
        rows, columns = (_draw_interval(length, sqrt(1 - share), batch) for length in (h, w))
        mixed = inputs.clone()
        mixed[:, :, rows, columns] = inputs[:, :, rows, columns].index_select(0, partners)
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return mixed, Mixture(partners, 1 - area / (h * w))


def _take(inputs: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of these indices; images keep their memory format."""
    if inputs.dim() != 4:
        return inputs.index_select(0, indices)
    return from_planes(to_planes(inputs).index_select(0, indices))


def _draw_interval(length: int, share: float, batch: BatchContext) -> slice:
    """Draw the interval of a share of the length around a random centre, cut off at the edges."""
    generator = batch.generator
    centre = int(torch.randint(length, (), generator=generator, device=generator.device))
    size = int(length * share)
    start = centre - size // 2
    return slice(max(0, start), min(length, start + size))


def _draw_partners(inputs: Tensor, batch: BatchContext) -> Tensor:
    """Draw a random order (batch,) of the rows, on their device."""
    generator = batch.generator
    order = torch.randperm(len(inputs), generator=generator, device=generator.device)
    return order.to(inputs.device)


def _draw_beta(alpha: float, batch: BatchContext) -> float:
    """Draw from Beta(alpha, alpha); 1 if alpha is 0."""
    if alpha < 0:
        raise InfeasibleCandidate(expected("alpha", "at least 0", alpha))
    generator = batch.generator
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return (
        float(np.random.default_rng(seed).beta(alpha, alpha)) if alpha else 1.0
    )  # torch draws none
