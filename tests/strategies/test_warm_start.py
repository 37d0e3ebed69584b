"""Warm starts: winners first, whatever the algorithm; nothing else is taken for a result."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem, prior_weights
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.bayesian.beliefs import EARLIER_TRIALS
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.random import RandomSearch
from netwright.strategies.warm_start import WarmStart
from netwright.testing import simulate
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS = Objective("loss", "min")
SPACE = Space({"x": Integer(0, 30), "y": Integer(0, 30)})


def loss_around(x: int, y: int, scale: float = 1.0) -> Any:
    def measure(candidate: Candidate) -> Metrics:
        values = candidate.values
        distance = (int(str(values["x"])) - x) ** 2 + (int(str(values["y"])) - y) ** 2
        return {"loss": scale * float(distance)}

    return measure


def earlier(measure: Any, n: int = 30) -> tuple[Trial, ...]:
    """Random trials of another search."""
    log = simulate(RandomSearch()(Problem(SPACE, (LOSS,))), measure, n, seed=7)
    return tuple(trial for trial in log if trial.status is Status.DONE)


@pytest.mark.parametrize("algorithm", [RandomSearch(), RegularizedEvolution(), Bayesian()])
def test_three_winners_are_proposed_first_and_evaluated_anew(algorithm: Any) -> None:
    trials = earlier(loss_around(20, 10))
    best = sorted(trials, key=lambda trial: trial.metrics["loss"])[:3]
    problem = Problem(SPACE, (LOSS,))
    log = simulate(WarmStart(algorithm, trials)(problem), loss_around(3, 3), 10)
    started = [trial for trial in log if trial.status is Status.RUNNING]
    assert [trial.candidate for trial in started[:3]] == [trial.candidate for trial in best]
    assert len(started) == 10
    assert all(trial.id >= 1 for trial in started)


def test_winners_beyond_a_limit_come_last_and_those_outside_the_space_not_at_all() -> None:
    outside = Trial(1, Proposal(Candidate({"x": 99, "y": 0})), 0, Status.DONE, {"loss": -1.0})
    other = Trial(
        2, Proposal(Candidate({"x": 1, "y": 0})), 0, Status.DONE, {"loss": 0.0, "cost": 9.0}
    )
    inside = Trial(
        3, Proposal(Candidate({"x": 2, "y": 0})), 0, Status.DONE, {"loss": 5.0, "cost": 1.0}
    )
    problem = Problem(SPACE, (LOSS,), [Limit("cost", at_most=3)])
    strategy = WarmStart(RandomSearch(), (outside, other, inside))(problem)
    first = strategy.ask(2, np.random.default_rng(0))
    assert [proposal.candidate.values["x"] for proposal in first] == [2, 1]


def test_short_trials_are_no_winners() -> None:
    short = Trial(1, Proposal(Candidate({"x": 1, "y": 0}), 0.1), 0, Status.DONE, {"loss": 0.0})
    whole = Trial(2, Proposal(Candidate({"x": 2, "y": 0})), 0, Status.DONE, {"loss": 5.0})
    strategy = WarmStart(RandomSearch(), (short, whole))(Problem(SPACE, (LOSS,)))
    (first,) = strategy.ask(1, np.random.default_rng(0))
    assert first.candidate.values["x"] == 2


def losses_of(trials: tuple[Trial, ...] | None, seed: int) -> list[float]:
    """Of 25 trials, with the optimum at (20, 10)."""
    algorithm = Bayesian() if trials is None else WarmStart(Bayesian(), trials)
    log = simulate(algorithm(Problem(SPACE, (LOSS,))), loss_around(20, 10), 25, seed=seed)
    return [trial.metrics["loss"] for trial in log if trial.status is Status.DONE]


def test_a_similar_search_helps_and_a_wrong_one_is_doubted() -> None:
    similar = earlier(loss_around(19, 11, scale=1000.0))  # of another scale
    wrong = earlier(loss_around(0, 30))
    cold, warm, misled = (
        [losses_of(trials, seed) for seed in range(4)] for trials in (None, similar, wrong)
    )
    assert np.mean([min(losses[:6]) for losses in warm]) < 0.5 * np.mean(
        [min(losses[:6]) for losses in cold]
    )

    def evaluations(runs: list[list[float]]) -> float:
        return float(np.mean([losses.index(min(losses)) + 1 for losses in runs]))

    assert all(min(losses) == 0 for losses in misled)
    assert evaluations(misled) < evaluations(cold) + 5


def test_earlier_trials_are_a_source_that_has_to_earn_its_weight() -> None:
    def weight(trials: tuple[Trial, ...]) -> float:
        strategy = WarmStart(Bayesian(), trials)(Problem(SPACE, (LOSS,)))
        random = simulate(RandomSearch()(Problem(SPACE, (LOSS,))), loss_around(20, 10), 12)
        for trial in random:
            strategy.tell(trial)
        return prior_weights(strategy)["loss"][EARLIER_TRIALS]

    similar, shuffled = earlier(loss_around(19, 11)), earlier(loss_around(19, 11))
    losses = np.random.default_rng(0).permutation([trial.metrics["loss"] for trial in shuffled])
    shuffled = tuple(
        Trial(t.id, t.proposal, 0, Status.DONE, {"loss": float(loss)})
        for t, loss in zip(shuffled, losses, strict=True)
    )
    assert weight(similar) > 0.6
    assert weight(shuffled) < 0.4


def test_a_run_resumes_only_with_the_same_trials() -> None:
    one, other = earlier(loss_around(1, 1)), earlier(loss_around(1, 2))
    assert repr(WarmStart(Bayesian(), one)) == repr(WarmStart(Bayesian(), one))
    assert repr(WarmStart(Bayesian(), one)) != repr(WarmStart(Bayesian(), other))
    with pytest.raises(InputError, match="trials must be Trials, got 3"):
        WarmStart(Bayesian(), cast("Any", (3,)))
