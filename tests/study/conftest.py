"""Makes `study_tools` importable, here and in the workers (they get this process's path)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from netwright.space.choices import Integer  # noqa: E402  # the path above comes first
from netwright.space.space import Space  # noqa: E402


@pytest.fixture
def space() -> Space[dict[str, int]]:
    return Space({"x": Integer(0, 99), "y": Integer(0, 99)})
