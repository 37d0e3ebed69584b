"""Properties of training recipes."""

from __future__ import annotations

from typing import Literal

import pytest

from netwright.networks.training.augmentation.batch_context import Augmentation
from netwright.networks.training.augmentation.erasing import Cutout
from netwright.networks.training.augmentation.geometry import Flip
from netwright.networks.training.recipe import Training

Views = Literal["none", "mirror", "matching"]


@pytest.mark.parametrize(
    ("test_views", "augment", "averages"),
    [
        ("none", (Flip(),), False),
        ("mirror", (), True),
        ("matching", (), False),
        ("matching", (Cutout(2), Flip()), True),
        ("matching", (Flip(alternating=True),), True),
        ("matching", (Flip("vertical"),), False),
    ],
)
def test_mirror_image_is_averaged_as_the_views_say(
    test_views: Views, augment: tuple[Augmentation, ...], averages: bool
) -> None:
    assert Training((), augment=augment, test_views=test_views).averages_mirror_image is averages
