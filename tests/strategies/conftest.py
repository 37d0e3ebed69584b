"""A study in miniature: tells starts and ends as the real one does, without processes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.base import Strategy
from netwright.trials.trial import Metrics, Status, Trial

Measure = Callable[[Trial], Metrics | None]
Search = Callable[..., list[Trial]]


@pytest.fixture
def space() -> Space[dict[str, int]]:
    return Space({"x": Integer(0, 99), "y": Integer(0, 99)})


@pytest.fixture
def search() -> Search:
    return run


def run(
    strategy: Strategy, measure: Measure, trials: int, *, workers: int = 1, seed: int = 0
) -> list[Trial]:
    """The events (starts and ends); None from `measure` is infeasible; a random worker ends."""
    events: list[Trial] = []
    running: list[Trial] = []
    started = 0
    order = np.random.default_rng(99)
    while True:
        room = min(workers - len(running), trials - started)
        rng = np.random.default_rng([seed, len(events)])
        for proposal in strategy.ask(room, rng) if room else ():
            started += 1
            running.append(Trial(started, proposal, seed=0))
            events.append(running[-1])
            strategy.tell(running[-1])
        if not running:
            return events
        trial = running.pop(order.integers(len(running)))
        metrics = measure(trial)
        status = Status.DONE if metrics is not None else Status.INFEASIBLE
        events.append(Trial(trial.id, trial.proposal, 0, status, metrics or {}))
        strategy.tell(events[-1])
