"""Cutout fills one square of each image with its mean."""

from __future__ import annotations

import pytest
import torch
from augmentation_tools import applied, numbered

from netwright.errors import InfeasibleCandidate
from netwright.networks.training.augmentation.erasing import Cutout


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


def test_cutout_reaches_over_every_edge_by_half_its_size() -> None:
    images = numbered(400)
    is_changed = (applied(Cutout(4), images) != images).any(1)  # (batch, h, w)
    for dim, before, after in ((1, 2, 3), (2, 2, 3)):  # pixels left of squares over either edge
        lengths = is_changed.any(3 - dim)  # (batch, rows or columns)
        n_pixels = lengths.sum(1)
        assert n_pixels[lengths[:, 0]].min() == before
        assert n_pixels[lengths[:, -1]].min() == after
