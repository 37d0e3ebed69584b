"""Augmentation policies: operations drawn for each image from a fixed set.

The fourteen operations are those of AutoAugment (Cubuk et al. 2018, 1805.09501) as RandAugment chose
them. The images of a batch that draw the same operation go through it together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.augmentation import affine, pixel_values
from netwright.networks.training.augmentation.batch_context import Augmentation, BatchContext
from netwright.networks.training.augmentation.memory_layout import (
    from_planes,
    in_layout_of,
    to_planes,
)

_MAX_MAGNITUDE = 10
"""Magnitude of RandAugment at which every operation has its full strength."""
_N_BINS = 31
"""Number of strengths that TrivialAugment draws from."""
_WIDE_TRANSLATION = 32
"""Largest translation of TrivialAugment's wide space in pixels."""


@dataclass(frozen=True)
class RandAugment(Augmentation):
    """Applies `n` random operations to each image, all of one magnitude (Cubuk et al. 2019, 1909.13719).

    The ranges are those of AutoAugment: up to 30 degrees of rotation, shears of 0.3, translations by
    150/331 of the side, changes of colours by 0.9, four bits removed, all values inverted.

    Args:
        n: Operations for each image.
        magnitude: Strength of the operations that have one, from 0 to 10.
    """

    n: int = 2
    magnitude: float = 4.0

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        if self.n < 0:
            raise InfeasibleCandidate(expected("n", "at least 0", self.n))
        if not 0 <= self.magnitude <= _MAX_MAGNITUDE:
            raise InfeasibleCandidate(
                expected("magnitude", f"from 0 to {_MAX_MAGNITUDE}", self.magnitude)
            )
        device = batch.generator.device
        levels = torch.full((len(images),), self.magnitude / _MAX_MAGNITUDE, device=device)
        operations = _operations(images, _AUTOAUGMENT)
        for _ in range(self.n):
            images = _apply_random(images, operations, levels, batch)
        return images


@dataclass(frozen=True)
class TrivialAugment(Augmentation):
    """Applies one random operation of random strength to each image (2103.10158).

    It has no setting. The ranges are the wide ones of Müller and Hutter (2021): up to 135 degrees of
    rotation, shears of 0.99, translations by 32 pixels or the image's side, changes of colours by
    0.99, six bits removed, all values inverted.
    """

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        generator = batch.generator
        size = (len(images),)
        bins = torch.randint(_N_BINS, size, generator=generator, device=generator.device)
        levels = bins / (_N_BINS - 1)
        return _apply_random(images, _operations(images, _WIDE), levels, batch)


@dataclass(frozen=True)
class _Ranges:
    """Full strengths of the operations: translations as a share of the side and in pixels."""

    degrees: float
    shear: float
    translation_share: float
    translation_pixels: float
    change: float
    removed_bits: int


_AUTOAUGMENT = _Ranges(30.0, 0.3, 150 / 331, float("inf"), 0.9, 4)
_WIDE = _Ranges(135.0, 0.99, 1.0, _WIDE_TRANSLATION, 0.99, 6)


@dataclass(frozen=True)
class _AffineOperation:
    """Affine maps (n, 2, 3) for strengths (n,), as `affine.warp` takes them; signs are random."""

    matrices: Callable[[Tensor], Tensor]
    strength: float
    signed: bool = True


@dataclass(frozen=True)
class _PixelOperation:
    """A change of the values of images (n, c, h, w) by strengths (n,)."""

    apply: Callable[[Tensor, Tensor], Tensor]
    strength: float = 1.0
    signed: bool = False


@dataclass(frozen=True)
class _Operations:
    """Operations to draw from; all images that draw an affine one go through one warp."""

    affine: tuple[_AffineOperation, ...]
    pixel: tuple[_PixelOperation, ...]


def _operations(images: Tensor, ranges: _Ranges) -> _Operations:
    """Return the fourteen operations with their ranges for images of this shape."""
    _, _, h, w = images.shape
    x, y = (min(ranges.translation_share * side, ranges.translation_pixels) for side in (w, h))
    return _Operations(
        affine=(
            _AffineOperation(lambda s: affine.shearing(s, 0 * s), ranges.shear),
            _AffineOperation(lambda s: affine.shearing(0 * s, s), ranges.shear),
            _AffineOperation(lambda s: affine.translation(s, 0 * s), x),
            _AffineOperation(lambda s: affine.translation(0 * s, s), y),
            _AffineOperation(affine.rotation, ranges.degrees),
        ),
        pixel=(
            _PixelOperation(lambda images, _: images),  # identity
            _PixelOperation(pixel_values.change_brightness, ranges.change, signed=True),
            _PixelOperation(pixel_values.change_saturation, ranges.change, signed=True),
            _PixelOperation(pixel_values.change_contrast, ranges.change, signed=True),
            _PixelOperation(pixel_values.change_sharpness, ranges.change, signed=True),
            _PixelOperation(lambda x, s: pixel_values.posterize(x, s.round()), ranges.removed_bits),
            _PixelOperation(pixel_values.solarize),
            _PixelOperation(lambda x, s: pixel_values.stretch_contrast(x, torch.ones_like(s))),
            _PixelOperation(lambda x, s: pixel_values.equalize(x, torch.ones_like(s))),
        ),
    )


def _apply_random(
    images: Tensor, operations: _Operations, levels: Tensor, batch: BatchContext
) -> Tensor:
    """Apply an operation drawn for each image, at its level (batch,) in [0, 1] of full strength."""
    every: tuple[_AffineOperation | _PixelOperation, ...] = (
        *operations.affine,
        *operations.pixel,
    )
    size, generator, device = (len(images),), batch.generator, batch.generator.device
    drawn = torch.randint(len(every), size, generator=generator, device=device)
    signs = 2 * torch.randint(2, size, generator=generator, device=device) - 1
    full = torch.tensor([operation.strength for operation in every], device=device)[drawn]
    is_signed = torch.tensor([operation.signed for operation in every], device=device)[drawn]
    strengths = full * levels * torch.where(is_signed, signs, 1)  # (batch,)
    # images in the order of their operations; sorted on the generator's device, usually the CPU
    order = drawn.argsort(stable=True)
    counts = drawn.bincount(minlength=len(every)).tolist()
    strengths, order = strengths[order].to(images.device), order.to(images.device)
    planes = to_planes(images)
    changed = _apply_in_order(operations, planes.index_select(0, order), strengths, counts)
    return from_planes(torch.empty_like(planes).index_copy_(0, order, changed))


def _apply_in_order(
    operations: _Operations, planes: Tensor, strengths: Tensor, counts: Sequence[int]
) -> Tensor:
    """Return planes (batch, planes, h, w, numbers) after operations of strengths (batch,).

    `counts` says how many images go through each operation: affine ones first, then the others.
    """
    n = len(operations.affine)
    n_warped = sum(counts[:n])
    results = []
    if n_warped:
        matrices = [
            operation.matrices(strength)
            for operation, strength in zip(
                operations.affine, strengths[:n_warped].split(counts[:n]), strict=True
            )
        ]
        warped = affine.warp(from_planes(planes[:n_warped]), torch.cat(matrices))
        results.append(to_planes(warped))
    start = n_warped
    for operation, count in zip(operations.pixel, counts[n:], strict=True):
        if count:
            group = from_planes(planes[start : start + count])
            changed = operation.apply(group, strengths[start : start + count])
            results.append(to_planes(in_layout_of(changed, group)))
            start += count
    return torch.cat(results)
