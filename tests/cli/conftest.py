"""Searches of these tests train for a few epochs only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netwright.automl.tabular import families, spaces
from netwright.networks.tabular import recipes as tabular


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for place in (spaces, families):
            patch.setattr(place, "epochs", lambda rows, most: 8)
        patch.setattr(tabular, "passes", lambda rows, steps, most: 8)
        yield
