"""Rotation, shear and translation move pixels as Pillow and NumPy do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from augmentation_tools import applied, noise, numbered
from PIL import Image

from netwright.networks.training.augmentation.affine import (
    Rotate,
    Shear,
    Translate,
    rotation,
    shearing,
    translation,
    warp,
)


@pytest.mark.parametrize("degrees", [-130.0, -30.0, 7.0, 90.0, 135.0])
def test_rotation_is_that_of_pillow(degrees: float) -> None:
    images = noise(1, shape=(3, 21, 32))
    out = warp(images, rotation(torch.tensor([degrees])))[0]
    image = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    expected = np.asarray(image.rotate(degrees, Image.Resampling.NEAREST)).transpose(2, 0, 1)
    assert (out.numpy() == expected).mean() > 0.98  # pixels half-way may be either neighbour


@pytest.mark.parametrize(("x", "y"), [(0.31, 0.0), (0.0, -0.57), (-0.87, 0.23)])
def test_shear_is_that_of_pillow(x: float, y: float) -> None:
    images = noise(1, shape=(3, 21, 32))
    out = warp(images, shearing(torch.tensor([x]), torch.tensor([y])))[0]
    image = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    # Pillow's origin is a corner, ours the centre
    coefficients = (1, x, -x * 21 / 2, y, 1, -y * 32 / 2)
    sheared = image.transform(
        image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST
    )
    assert (out.numpy() == np.asarray(sheared).transpose(2, 0, 1)).mean() > 0.98


def test_translation_moves_right_and_down_by_whole_pixels() -> None:
    images = numbered(3)
    out = warp(images, translation(torch.tensor([2.0, 0.0, -9.4]), torch.tensor([-1.0, 3.4, 0.0])))
    expected = torch.zeros_like(images)
    expected[0, :, :6, 2:] = images[0, :, 1:, :7]
    expected[1, :, 3:] = images[1, :, :4]  # the last has left the image
    assert torch.equal(out, expected)


def test_quarter_turns_are_exact() -> None:
    images = noise(2, shape=(2, 8, 8))
    out = warp(images, rotation(torch.tensor([90.0, 180.0])))
    assert torch.equal(out[0], images[0].rot90(1, (1, 2)))
    assert torch.equal(out[1], images[1].rot90(2, (1, 2)))


def test_translate_draws_all_distances_up_to_its_share() -> None:
    images = numbered(2000)
    first = images[0, 0]
    distances = set()
    for image in applied(Translate(0.25), images)[:, 0]:  # channel 0 of 7 x 9 pixels
        row, column = (int(at[0]) for at in (image == first[3, 4]).nonzero(as_tuple=True))
        distances.add((row - 3, column - 4))
    assert distances == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_small_rotations_and_shears_stay_near() -> None:
    images = torch.zeros(300, 1, 21, 21)
    images[:, :, 10, 18] = 1.0  # 8 pixels right of the centre
    for augmentation in (Rotate(30), Shear(0.5)):  # 8 sin 30 = 8 / 2 = 4, and a pixel's corner
        rows = applied(augmentation, images)[:, 0].sum(2).nonzero()[:, 1] - 10
        assert -5 <= rows.min() <= -4
        assert 4 <= rows.max() <= 5
