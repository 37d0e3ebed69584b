from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.evolution import regularized as evolution
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.random import RandomSearch
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS, COST = Objective("loss", "min"), Objective("cost", "min")


def hill(candidate: Candidate) -> Metrics:
    x, y = candidate.values["x"], candidate.values["y"]
    assert isinstance(x, int)
    assert isinstance(y, int)
    return {"loss": (x - 61.0) ** 2 + (y - 17.0) ** 2, "cost": float(x + y)}


LONG = Space({f"d{i}": Integer(0, 3) for i in range(12)})


def total(candidate: Candidate) -> Metrics:
    """The more, the less the loss; 12 decisions of 0 to 3."""
    height = float(sum(value for value in candidate.values.values() if isinstance(value, int)))
    return {"loss": 36.0 - height, "cost": height}


def done(number: int, **metrics: float) -> Trial:
    candidate = Candidate({"x": number, "y": 0})
    return Trial(number, Proposal(candidate), 0, Status.DONE, metrics)


def parents(strategy: RegularizedEvolution, seeds: int = 60) -> set[int]:
    asked = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(seeds)]
    return {one.parents[0] for one in asked if one.origin == "mutation"}


def test_the_oldest_leaves_even_when_it_is_the_best(space: Space[Any]) -> None:
    strategy = RegularizedEvolution(population=4, tournament_size=4)(Problem(space, [LOSS]))
    strategy.tell(done(1, loss=0.0))
    for number in (2, 3, 4):
        strategy.tell(done(number, loss=float(number)))
    assert 1 in parents(strategy)
    strategy.tell(done(5, loss=5.0))
    assert 1 not in parents(strategy)
    assert 2 in parents(strategy)


def test_the_better_of_a_sample_is_the_parent(space: Space[Any]) -> None:
    strategy = RegularizedEvolution(population=10, tournament_size=5)(Problem(space, [LOSS]))
    for number in range(10):
        strategy.tell(done(number, loss=float(number)))
    asked = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(400)]
    mean = np.mean([one.parents[0] for one in asked])
    # the least of S draws from 0..P-1, with replacement: sum over k of P(least > k)
    assert mean == pytest.approx(sum(((9 - k) / 10) ** 5 for k in range(9)), abs=0.25)


def test_it_finds_more_than_random_search_because_it_selects(
    search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(make: Any) -> float:
        logs = [
            search(make()(Problem(LONG, [LOSS])), total, n_trials=200, seed=seed)
            for seed in range(8)
        ]
        return float(np.mean([min(one.metrics.get("loss", 1e9) for one in log) for log in logs]))

    evolved, drawn = found(RegularizedEvolution), found(RandomSearch)
    assert evolved < drawn / 2
    monkeypatch.setattr(evolution, "winner", lambda sample, *_: sample[0])
    assert found(RegularizedEvolution) > 2 * evolved


def test_children_differ_from_their_parent_in_one_decision(space: Space[Any], search: Any) -> None:
    log = search(RegularizedEvolution()(Problem(space, [LOSS])), hill, n_trials=80)
    by_id = {trial.id: trial.candidate.values for trial in log}
    children = [trial for trial in log if trial.proposal.origin == "mutation"]
    assert len(children) > 100  # started and ended
    for child in children:
        (parent,) = child.proposal.parents
        changed = [k for k, v in child.candidate.values.items() if by_id[parent][k] != v]
        assert len(changed) == 1


def test_the_first_population_is_random_and_running_trials_count(space: Space[Any]) -> None:
    strategy = RegularizedEvolution(population=5, tournament_size=2)(Problem(space, [LOSS]))
    assert [one.origin for one in strategy.ask(9, np.random.default_rng(0))] == ["random"] * 5
    for number in range(5):
        strategy.tell(Trial(number, Proposal(Candidate({"x": number, "y": 0})), 0))
    assert strategy.ask(2, np.random.default_rng(0)) == []  # wait: nobody to inherit from
    strategy.tell(done(0, loss=1.0))
    assert [one.parents for one in strategy.ask(2, np.random.default_rng(0))] == [(0,), (0,)]


def test_infeasible_trials_take_no_place_and_are_not_proposed_again() -> None:
    tiny = Space({"x": Integer(0, 9)})
    strategy = RegularizedEvolution(population=3, tournament_size=1)(Problem(tiny, [LOSS]))
    for x in range(4):
        status = Status.INFEASIBLE if x else Status.DONE
        strategy.tell(Trial(x, Proposal(Candidate({"x": x})), 0, status, {"loss": 1.0}))
    asked = [strategy.ask(5, np.random.default_rng(seed)) for seed in range(30)]
    assert {one.candidate.values["x"] for batch in asked for one in batch} == set(range(4, 10))
    assert {batch[0].origin for batch in asked} == {"random"}  # the population has room
    assert parents(strategy) <= {0}


def test_it_is_over_when_a_small_space_is_exhausted(search: Any) -> None:
    tiny = Space({"x": Integer(0, 7), "y": Integer(0, 7)})
    log = search(RegularizedEvolution()(Problem(tiny, [LOSS])), hill, n_trials=500, workers=2)
    assert len({trial.candidate for trial in log}) == 64


def test_limits_pull_the_search_inside(search: Any) -> None:
    limit = Limit("cost", at_most=10)

    def inside(limits: list[Limit]) -> float:
        log = search(RegularizedEvolution()(Problem(LONG, [LOSS], limits)), total, n_trials=300)
        return sum(limit.keeps(trial.metrics) for trial in log if trial.status is Status.DONE)

    assert inside([limit]) > 100
    assert inside([]) < 5  # the loss pulls the other way


def test_settings_that_cannot_be() -> None:
    with pytest.raises(InputError, match="population must be at least 1, got 0"):
        RegularizedEvolution(population=0)
    with pytest.raises(
        InputError, match=r"tournament_size must be at most the population \(3\), got 4"
    ):
        RegularizedEvolution(population=3, tournament_size=4)


def test_a_space_of_one_candidate_is_searched_and_over(search: Any) -> None:
    one = Space({"x": Integer(3, 3)})
    log = search(
        RegularizedEvolution(population=1, tournament_size=1)(Problem(one, [LOSS])),
        lambda t: {"loss": 1.0},
        9,
    )
    assert len(log) == 2
