"""Flips and shifts are the windows and mirror images that they should be, in the right epochs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from augmentation_tools import applied, context, noise, numbered
from torch import Tensor

from netwright.networks.training.augmentation.geometry import Crop, Flip, Shift


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = numbered(1000)
    out, mirror = applied(Flip(), images), images[0].flip(2)
    mirrored = (out == mirror).flatten(1).all(1)
    unchanged = (out == images[0]).flatten(1).all(1)
    assert (mirrored ^ unchanged).all()
    assert 400 < mirrored.sum() < 600


def test_crop_is_a_window_of_the_padded_image() -> None:
    images = numbered(600)
    padded = np.pad(images[0].numpy(), ((0, 0), (2, 2), (2, 2)))
    windows = {(i, j): padded[:, i : i + 7, j : j + 9] for i in range(5) for j in range(5)}
    offsets = []
    for image in applied(Crop(2), images).numpy():
        offsets += [at for at, window in windows.items() if np.array_equal(window, image)]
    assert len(offsets) == 600  # each image is exactly one window
    assert set(offsets) == set(windows)  # every window occurs
    assert torch.equal(applied(Crop(0), images), images)


def is_mirrored(flip: Flip, rows: Tensor, epoch: int, dim: int = 2, seed: int = 0) -> list[bool]:
    """Whether each row comes out mirrored; every other result fails."""
    images = numbered(len(rows))
    out = flip(images, context(rows, seed, epoch))
    mirrored = (out == images.flip(dim + 1)).flatten(1).all(1)
    assert (mirrored ^ (out == images).flatten(1).all(1)).all()
    return mirrored.tolist()


def test_vertical_flip_mirrors_top_to_bottom() -> None:
    share = np.mean(is_mirrored(Flip("vertical"), torch.arange(1000), 0, dim=1))
    assert 0.4 < share < 0.6


@pytest.mark.parametrize(("axis", "dim"), [("horizontal", 2), ("vertical", 1)])
def test_alternating_flip_mirrors_each_row_every_other_epoch(
    axis: Literal["horizontal", "vertical"], dim: int
) -> None:
    flip, rows = Flip(axis, alternating=True), torch.arange(3000)
    first = np.array(is_mirrored(flip, rows, 0, dim))
    assert 0.47 < first.mean() < 0.53
    shuffle = torch.randperm(3000)
    for epoch in range(1, 5):  # wherever a row is in the batch, whatever the seed
        later = np.array(is_mirrored(flip, shuffle, epoch, dim, seed=epoch))
        assert np.array_equal(later, first[shuffle] ^ (epoch % 2 == 1))


def test_rows_that_alternating_flips_mirror_first_follow_no_pattern() -> None:
    rows = torch.arange(4096)
    first = np.array(is_mirrored(Flip(alternating=True), rows, 0))
    vertical = np.array(is_mirrored(Flip("vertical", alternating=True), rows, 0, dim=1))
    assert 0.4 < (first == vertical).mean() < 0.6
    for period in range(1, 17):
        assert 0.4 < (first[period:] == first[:-period]).mean() < 0.6


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shift_is_a_window_of_the_padded_image(
    mode: Literal["reflect", "zeros"], channels: int
) -> None:
    images = noise(1500, shape=(channels, 6, 9))
    numpy_mode: Literal["reflect", "constant"] = "reflect" if mode == "reflect" else "constant"
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode=numpy_mode)
    out = applied(Shift(3, mode), images).numpy()
    offsets = []
    for image, shifted in zip(padded, out, strict=True):
        windows = {(i, j): image[:, i : i + 6, j : j + 9] for i in range(7) for j in range(7)}
        offsets += [at for at, window in windows.items() if np.array_equal(window, shifted)]
    assert len(offsets) == 1500
    assert len(set(offsets)) == 49  # every window occurs


def test_crop_is_a_shift_with_zeros() -> None:
    images = noise(50)
    assert torch.equal(applied(Crop(3), images), applied(Shift(3, "zeros"), images))
