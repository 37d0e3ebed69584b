"""The share of a training that is over."""

from __future__ import annotations

import time

import pytest

from netwright.networks.training.training_clock import TrainingClock


def test_progress_without_deadline_counts_steps_alone() -> None:
    assert TrainingClock(start_time=time.monotonic() - 1000).progress(0.25) == 0.25


def test_progress_with_deadline_is_the_larger_share() -> None:
    now = time.monotonic()
    half = TrainingClock(deadline=now + 50, start_time=now - 50)
    assert half.progress(0.25) == pytest.approx(0.5, abs=0.01)
    assert half.progress(0.75) == 0.75


def test_initial_progress_counts() -> None:
    now = time.monotonic()
    resumed = TrainingClock(deadline=now + 50, initial_progress=0.6, start_time=now - 50)
    assert resumed.progress(0.6) == pytest.approx(0.8, abs=0.01)
