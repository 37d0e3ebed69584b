"""Random changes of brightness, colours and levels.

They expect uint8 images or float images in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.augmentation import pixel_values
from netwright.networks.training.augmentation.batch_context import (
    Augmentation,
    BatchContext,
    draw_integers,
    draw_signed,
    draw_uniform,
)


@dataclass(frozen=True)
class Brightness(Augmentation):
    """Random brightness: multiplies each image by a factor in [1 - strength, 1 + strength].

    Args:
        strength: In [0, 1].
    """

    strength: float = 0.4

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        changes = _share("strength", self.strength) * draw_signed(images, batch)
        return pixel_values.change_brightness(images, changes)


@dataclass(frozen=True)
class Contrast(Augmentation):
    """Random contrast: scales the distance from the image's mean grey.

    Args:
        strength: In [0, 1]; factors are in [1 - strength, 1 + strength].
    """

    strength: float = 0.4

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        changes = _share("strength", self.strength) * draw_signed(images, batch)
        return pixel_values.change_contrast(images, changes)


@dataclass(frozen=True)
class Saturation(Augmentation):
    """Random saturation of images with three channels: scales the distance from the pixel's grey.

    Args:
        strength: In [0, 1]; factors are in [1 - strength, 1 + strength].
    """

    strength: float = 0.4

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        if images.shape[1] != 3:
            raise InfeasibleCandidate(
                expected("the number of channels for Saturation", "3", images.shape[1])
            )
        changes = _share("strength", self.strength) * draw_signed(images, batch)
        return pixel_values.change_saturation(images, changes)


@dataclass(frozen=True)
class Sharpness(Augmentation):
    """Random sharpness: scales the distance from a smoothed image.

    Args:
        strength: In [0, 1]; factors are in [1 - strength, 1 + strength].
    """

    strength: float = 0.4

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        changes = _share("strength", self.strength) * draw_signed(images, batch)
        return pixel_values.change_sharpness(images, changes)


@dataclass(frozen=True)
class Posterize(Augmentation):
    """Removes the lowest bits of each value: a random number of them for each image.

    Args:
        bits: Most bits to remove of the eight, in 0..8.
    """

    bits: int = 4

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        if not 0 <= self.bits <= 8:
            raise InfeasibleCandidate(expected("bits", "from 0 to 8", self.bits))
        return pixel_values.posterize(images, draw_integers(self.bits + 1, images, batch))


@dataclass(frozen=True)
class Solarize(Augmentation):
    """Inverts the brightest values: those above a random threshold for each image.

    Args:
        strength: Largest share of the range of values that is inverted, in [0, 1].
    """

    strength: float = 0.5

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        shares = _share("strength", self.strength) * draw_uniform(images, batch)
        return pixel_values.solarize(images, shares)


@dataclass(frozen=True)
class Invert(Augmentation):
    """Turns black to white and white to black in some images.

    Args:
        probability: Share of the images, in [0, 1].
    """

    probability: float = 0.5

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        return pixel_values.invert(images, _chosen(self.probability, images, batch))


@dataclass(frozen=True)
class AutoContrast(Augmentation):
    """Stretches each channel of some images to the whole range of values.

    Args:
        probability: Share of the images, in [0, 1].
    """

    probability: float = 0.5

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        return pixel_values.stretch_contrast(images, _chosen(self.probability, images, batch))


@dataclass(frozen=True)
class Equalize(Augmentation):
    """Equalizes the histogram of each channel of some images; those of less than 256 pixels stay.

    Args:
        probability: Share of the images, in [0, 1].
    """

    probability: float = 0.5

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        return pixel_values.equalize(images, _chosen(self.probability, images, batch))


def _chosen(probability: float, images: Tensor, batch: BatchContext) -> Tensor:
    """Draw (batch,) booleans that are true with a probability."""
    return draw_uniform(images, batch) < _share("probability", probability)


def _share(name: str, share: float) -> float:
    """Return a share; refuse one outside of [0, 1]."""
    if not 0 <= share <= 1:
        raise InfeasibleCandidate(expected(name, "from 0 to 1", share))
    return share
