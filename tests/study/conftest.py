"""Makes `study_tools` importable, here and in the workers (they get this process's path)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netwright.space.choices import Integer
from netwright.space.space import Space

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def space() -> Space[dict[str, int]]:
    return Space({"x": Integer(0, 99), "y": Integer(0, 99)})
