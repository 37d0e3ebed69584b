from __future__ import annotations

from collections.abc import Callable

import pytest

from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.testing import simulate
from netwright.trials.trial import Trial


@pytest.fixture
def space() -> Space[dict[str, int]]:
    return Space({"x": Integer(0, 99), "y": Integer(0, 99)})


@pytest.fixture
def search() -> Callable[..., list[Trial]]:
    """A study in miniature: the events (starts and ends) that a strategy was told."""
    return simulate
