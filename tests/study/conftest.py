"""Makes `study_tools` importable, here and in the workers (they get this process's path)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netwright.space.choices import Integer
from netwright.space.space import Space

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def space() -> Space[dict[str, int]]:
    return Space({"x": Integer(0, 99), "y": Integer(0, 99)})


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Ctrl-C as in a foreground job: a shell lets its background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
