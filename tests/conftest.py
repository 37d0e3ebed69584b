"""Small tasks of each kind, for tests above the data floor."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.data.task import Task
from task_tools import messy


def pytest_configure() -> None:
    """What is printed does not depend on the terminal at hand."""
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def binary_task() -> Task:
    return task(messy(), "y", name="messy")


@pytest.fixture(scope="session")
def number_task() -> Task:
    frame = messy()
    target = np.random.default_rng(1).normal(size=len(frame)) + 3 * frame["new"]
    return task(frame.drop(columns="y"), target * 1000 + 5000, name="numbers")


@pytest.fixture(scope="session")
def image_task() -> Task:
    """90 pictures of three classes: a bright bar at the top, in the middle, at the bottom."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.integers(0, 60, (90, 9, 8, 1)).astype(np.uint8)
    for i, place in enumerate(y):
        x[i, place * 3 : place * 3 + 2] += 150
    return task(x, np.array(["top", "middle", "bottom"])[y], name="bars")
