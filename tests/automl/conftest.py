"""Searches of these tests train for a few epochs only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netwright.automl import spaces


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    real = spaces.epochs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spaces, "epochs", lambda rows, most: min(40, real(rows, most)))
        yield
