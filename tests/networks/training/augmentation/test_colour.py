"""Changes of colours and levels give what Pillow gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from augmentation_tools import applied, noise
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from netwright.networks.training.augmentation import pixel_values
from netwright.networks.training.augmentation.colour import (
    AutoContrast,
    Brightness,
    Equalize,
    Invert,
    Posterize,
    Solarize,
)

Change = Callable[[Tensor, Tensor], Tensor]
PillowChange = Callable[[Image.Image], Image.Image]


def gradients() -> Tensor:
    """Three images of 3 x 20 x 30 with uneven histograms; the last has a constant channel."""
    x = torch.linspace(0, 1, 30) ** torch.tensor([1.0, 2.0, 0.5])[:, None]  # (channels, w)
    y = torch.linspace(0.4, 1, 20)
    image = 30 + 190 * x[:, None, :] * y[:, None]
    images = torch.stack([image, image.flip(0) / 2, image])
    images[2, 1] = 77
    return images.byte()


def pillow(change: PillowChange, images: Tensor) -> Tensor:
    arrays = [np.asarray(change(Image.fromarray(i.permute(1, 2, 0).numpy()))) for i in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


EXACT: list[tuple[Change, float, PillowChange]] = [
    (pixel_values.posterize, 1, lambda image: ImageOps.posterize(image, 7)),
    (pixel_values.posterize, 6, lambda image: ImageOps.posterize(image, 2)),
    (pixel_values.solarize, 0.25, lambda image: ImageOps.solarize(image, 192)),
    (pixel_values.solarize, 1, lambda image: ImageOps.solarize(image, 0)),
    (pixel_values.invert, 1, ImageOps.invert),
    (pixel_values.equalize, 1, ImageOps.equalize),
]


@pytest.mark.parametrize(("change", "strength", "expected"), EXACT)
@pytest.mark.parametrize("make_images", [gradients, lambda: noise(5, shape=(3, 25, 31))])
def test_levels_are_exactly_those_of_pillow(
    change: Change, strength: float, expected: PillowChange, make_images: Callable[[], Tensor]
) -> None:
    images = make_images()
    strengths = torch.full((len(images),), strength)
    reference = pillow(expected, images)
    assert not torch.equal(reference, images)
    assert torch.equal(change(images, strengths), reference)
    of_floats = change(images / 255, strengths) * 255
    torch.testing.assert_close(of_floats, reference.float(), rtol=0, atol=1.01)


def test_autocontrast_is_that_of_pillow_and_reaches_white() -> None:
    images = gradients()
    reference = pillow(ImageOps.autocontrast, images)  # 254 by a rounding error where we have 255
    out = pixel_values.stretch_contrast(images, torch.ones(3))
    assert (out == reference).float().mean() > 0.97
    torch.testing.assert_close(out, reference, rtol=0, atol=1)
    assert out[:, 0].amin((1, 2)).tolist() == [0, 0, 0]
    assert out[:, 0].amax((1, 2)).tolist() == [255, 255, 255]
    assert torch.equal(out[2, 1], images[2, 1])  # one value in the whole channel
    of_floats = pixel_values.stretch_contrast(images / 255, torch.ones(3)) * 255
    torch.testing.assert_close(of_floats, out.float(), rtol=0, atol=1.01)


@pytest.mark.parametrize("strength", [-1.0, -0.6, 0.4, 1.0])
@pytest.mark.parametrize(
    ("change", "enhancer"),
    [
        (pixel_values.change_brightness, ImageEnhance.Brightness),
        (pixel_values.change_contrast, ImageEnhance.Contrast),
        (pixel_values.change_saturation, ImageEnhance.Color),
        (pixel_values.change_sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_those_of_pillow_but_for_rounding(
    change: Change, enhancer: Callable[[Image.Image], ImageEnhance._Enhance], strength: float
) -> None:
    images = noise(4)
    reference = pillow(lambda image: enhancer(image).enhance(1 + strength), images).int()
    out = change(images, torch.full((4,), strength)).int()
    assert (out - reference).abs().max() <= 2
    assert (out - images.int()).abs().float().mean() > 5


def test_strengths_are_those_of_each_image() -> None:
    images = noise(3)
    out = pixel_values.change_brightness(images, torch.tensor([0.0, -1.0, -0.5]))
    assert torch.equal(out[0], images[0])
    assert out[1].max() == 0
    torch.testing.assert_close(out[2].float(), images[2] / 2, rtol=0, atol=0.5)


@pytest.mark.parametrize("augmentation", [Invert(0.3), AutoContrast(0.3), Equalize(0.3)])
def test_probability_is_the_share_of_changed_images(
    augmentation: Invert | AutoContrast | Equalize,
) -> None:
    images = noise(1000)
    is_changed = (applied(augmentation, images) != images).flatten(1).any(1)
    assert 0.25 < is_changed.float().mean() < 0.35


def test_brightness_factors_fill_their_range() -> None:
    images = torch.full((2000, 1, 2, 2), 0.5)
    factors = applied(Brightness(0.4), images)[:, 0, 0, 0] / 0.5
    assert factors.min() == pytest.approx(0.6, abs=0.01)
    assert factors.max() == pytest.approx(1.4, abs=0.01)
    assert factors.mean() == pytest.approx(1, abs=0.02)


def test_posterize_draws_every_number_of_bits() -> None:
    images = torch.full((500, 1, 2, 2), 255, dtype=torch.uint8)
    assert set(applied(Posterize(3), images).flatten().tolist()) == {255, 254, 252, 248}


def test_solarize_inverts_only_bright_values() -> None:
    levels = torch.arange(256).byte().view(1, 1, 16, 16).repeat(300, 1, 1, 1)
    out = applied(Solarize(0.5), levels)
    assert torch.equal(out[..., :8, :], levels[..., :8, :])
    n_inverted = (out != levels).flatten(1).sum(1)
    assert n_inverted.min() < 10
    assert n_inverted.max() > 118
    assert torch.equal(out[out != levels], (255 - levels)[out != levels])
