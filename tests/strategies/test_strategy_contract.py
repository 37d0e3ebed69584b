"""What every strategy has to keep, whatever it searches for."""

from typing import Any

import numpy as np
import pytest

from netwright.space.space import Space
from netwright.strategies.evolution import RegularizedEvolution
from netwright.strategies.random import RandomSearch
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Metrics, Status, Trial

OBJECTIVES = (Objective("loss", "min"), Objective("cost", "min"))
LIMITS = (Limit("cost", at_most=150),)
MAKERS = [RandomSearch(), RegularizedEvolution()]


def hill(trial: Trial) -> Metrics | None:
    x, y = trial.candidate.values["x"], trial.candidate.values["y"]
    assert isinstance(x, int)
    assert isinstance(y, int)
    return {"loss": (x - 61.0) ** 2 + (y - 17.0) ** 2, "cost": float(x + y)} if x % 7 else None


@pytest.mark.parametrize("make", MAKERS)
def test_asking_changes_nothing(make: Any, space: Space[Any], search: Any) -> None:
    strategy = make(space, OBJECTIVES, LIMITS)
    search(strategy, hill, trials=60)
    first = strategy.ask(3, np.random.default_rng(5))
    strategy.ask(7, np.random.default_rng(6))
    assert strategy.ask(3, np.random.default_rng(5)) == first


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("make", MAKERS)
def test_a_strategy_told_the_log_goes_on_as_the_first(
    make: Any, workers: int, space: Space[Any], search: Any
) -> None:
    strategy = make(space, OBJECTIVES, LIMITS)
    log = search(strategy, hill, trials=70, workers=workers)
    for cut in (0, 1, 30, 75, len(log)):
        original, replayed = make(space, OBJECTIVES, LIMITS), make(space, OBJECTIVES, LIMITS)
        for trial in log[:cut]:
            original.ask(2, np.random.default_rng(cut))  # one that was asked between
            original.tell(trial)
            replayed.tell(trial)
        rng = [np.random.default_rng(cut) for _ in range(2)]
        assert original.ask(workers, rng[0]) == replayed.ask(workers, rng[1])


@pytest.mark.parametrize("make", MAKERS)
def test_no_candidate_is_proposed_twice_even_by_several_workers(
    make: Any, space: Space[Any], search: Any
) -> None:
    log = search(make(space, OBJECTIVES, LIMITS), hill, trials=300, workers=4)
    proposed = [trial.candidate for trial in log if trial.status is Status.RUNNING]
    assert len(proposed) == len(set(proposed)) == 300
