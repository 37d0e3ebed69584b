"""Searches of these tests train for a few epochs only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netwright.automl.image import space as image_space
from netwright.automl.tabular import families
from netwright.networks.tabular import realmlp_and_tabm as tabular


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    real = image_space.epochs
    with pytest.MonkeyPatch.context() as patch:
        for place in (image_space, families):
            patch.setattr(place, "epochs", lambda rows, max_epochs: min(12, real(rows, max_epochs)))
        patch.setattr(tabular, "epochs_for", lambda n_rows, n_steps, max_epochs: 8)
        yield
