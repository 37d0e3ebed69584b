"""Augmentations change images as documented, each by its own draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate
from netwright.networks.training.augmentation import Augmentation, Crop, Cutout, Flip

AUGMENTATIONS = (Flip(), Crop(2), Cutout(3))
every_augmentation = pytest.mark.parametrize("augmentation", AUGMENTATIONS)


def numbered(rows: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Copies of one image of 3 channels, 7 x 9, whose pixels all differ."""
    return (1 + torch.arange(3 * 7 * 9)).view(1, 3, 7, 9).repeat(rows, 1, 1, 1).to(dtype)


def applied(augmentation: Augmentation, images: Tensor, seed: int = 0) -> Tensor:
    return augmentation(images, torch.Generator().manual_seed(seed))


@every_augmentation
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_shape_dtype_and_input_are_preserved(
    augmentation: Augmentation, dtype: torch.dtype
) -> None:
    images = numbered(5, dtype)
    out = applied(augmentation, images)
    assert (out.shape, out.dtype) == (images.shape, dtype)
    assert torch.equal(images, numbered(5, dtype))


@every_augmentation
def test_each_image_has_its_own_draw_from_the_generator(
    augmentation: Augmentation,
) -> None:
    images = numbered(40)
    out = applied(augmentation, images)
    assert len(out.unique(dim=0)) > 1
    torch.manual_seed(99)
    assert torch.equal(applied(augmentation, images), out)
    assert not torch.equal(applied(augmentation, images, seed=1), out)


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


def test_cutout_fills_one_square_with_the_images_mean() -> None:
    images = numbered(200, torch.float32) * torch.linspace(1, 2, 200)[:, None, None, None]
    out = applied(Cutout(3), images)
    sizes = set()
    for before, after in zip(images, out, strict=True):
        mean = before.mean()
        changed = (after != before).any(0)  # (h, w)
        rows, columns = changed.any(1), changed.any(0)
        square = rows[:, None] & columns[None, :]
        assert torch.equal(changed, square)
        assert torch.allclose(after[:, square], mean)
        sizes.add((int(rows.sum()), int(columns.sum())))
    assert max(sizes) == (3, 3)
    assert min(min(size) for size in sizes) < 3  # the centre may lie at the border


@pytest.mark.parametrize("size", [7, 8, 20])
def test_cutout_refuses_a_square_as_large_as_the_image(size: int) -> None:
    with pytest.raises(InfeasibleCandidate, match=f"cutout size must be less .* 7 x 9, got {size}"):
        applied(Cutout(size), numbered(2))
    assert not torch.equal(applied(Cutout(6), numbered(2)), numbered(2))
