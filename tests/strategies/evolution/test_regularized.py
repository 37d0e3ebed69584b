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
    height = float(sum(digit for digit in candidate.values.values() if isinstance(digit, int)))
    return {"loss": 36.0 - height, "cost": height}


def done(trial_id: int, **metrics: float) -> Trial:
    candidate = Candidate({"x": trial_id, "y": 0})
    return Trial(trial_id, Proposal(candidate), 0, Status.DONE, metrics)


def parents(strategy: RegularizedEvolution, seeds: int = 60) -> set[int]:
    proposals = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(seeds)]
    return {proposal.parents[0] for proposal in proposals if proposal.origin == "mutation"}


def test_the_oldest_is_discarded_even_if_it_is_best(space: Space[Any]) -> None:
    strategy = RegularizedEvolution(population=4, tournament_size=4)(Problem(space, [LOSS]))
    strategy.tell(done(1, loss=0.0))
    for trial_id in (2, 3, 4):
        strategy.tell(done(trial_id, loss=float(trial_id)))
    assert 1 in parents(strategy)
    strategy.tell(done(5, loss=5.0))
    assert 1 not in parents(strategy)
    assert 2 in parents(strategy)


def test_the_winner_of_a_tournament_is_the_parent(space: Space[Any]) -> None:
    strategy = RegularizedEvolution(population=10, tournament_size=5)(Problem(space, [LOSS]))
    for trial_id in range(10):
        strategy.tell(done(trial_id, loss=float(trial_id)))
    proposals = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(400)]
    mean = np.mean([proposal.parents[0] for proposal in proposals])
    # the least of S draws from 0..P-1, with replacement: sum over k of P(least > k)
    assert mean == pytest.approx(sum(((9 - k) / 10) ** 5 for k in range(9)), abs=0.25)


def test_selection_beats_random_search(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def mean_best_loss(make: Any) -> float:
        logs = [
            search(make()(Problem(LONG, [LOSS])), total, n_trials=200, seed=seed)
            for seed in range(8)
        ]
        return float(
            np.mean([min(trial.metrics.get("loss", 1e9) for trial in log) for log in logs])
        )

    evolved, drawn = mean_best_loss(RegularizedEvolution), mean_best_loss(RandomSearch)
    assert evolved < drawn / 2
    monkeypatch.setattr(evolution, "winner", lambda sample, *_: sample[0])
    assert mean_best_loss(RegularizedEvolution) > 2 * evolved


def test_children_differ_from_their_parent_in_one_decision(space: Space[Any], search: Any) -> None:
    log = search(RegularizedEvolution()(Problem(space, [LOSS])), hill, n_trials=80)
    by_id = {trial.id: trial.candidate.values for trial in log}
    children = [trial for trial in log if trial.proposal.origin == "mutation"]
    assert len(children) > 100  # started and ended
    for child in children:
        (parent,) = child.proposal.parents
        changed = [k for k, v in child.candidate.values.items() if by_id[parent][k] != v]
        assert len(changed) == 1


def test_the_first_population_is_random_including_running_trials(space: Space[Any]) -> None:
    strategy = RegularizedEvolution(population=5, tournament_size=2)(Problem(space, [LOSS]))
    assert [proposal.origin for proposal in strategy.ask(9, np.random.default_rng(0))] == [
        "random"
    ] * 5
    for trial_id in range(5):
        strategy.tell(Trial(trial_id, Proposal(Candidate({"x": trial_id, "y": 0})), 0))
    assert strategy.ask(2, np.random.default_rng(0)) == []  # wait: nobody to inherit from
    strategy.tell(done(0, loss=1.0))
    assert [proposal.parents for proposal in strategy.ask(2, np.random.default_rng(0))] == [
        (0,),
        (0,),
    ]


def test_infeasible_trials_do_not_enter_the_population() -> None:
    tiny = Space({"x": Integer(0, 9)})
    strategy = RegularizedEvolution(population=3, tournament_size=1)(Problem(tiny, [LOSS]))
    for x in range(4):
        status = Status.INFEASIBLE if x else Status.DONE
        strategy.tell(Trial(x, Proposal(Candidate({"x": x})), 0, status, {"loss": 1.0}))
    proposals = [strategy.ask(5, np.random.default_rng(seed)) for seed in range(30)]
    assert {proposal.candidate.values["x"] for batch in proposals for proposal in batch} == set(
        range(4, 10)
    )
    assert {batch[0].origin for batch in proposals} == {"random"}  # the population has room
    assert parents(strategy) <= {0}


def test_the_search_ends_when_the_space_is_exhausted(search: Any) -> None:
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


def test_invalid_settings_are_errors() -> None:
    with pytest.raises(InputError, match="population must be at least 1, got 0"):
        RegularizedEvolution(population=0)
    with pytest.raises(
        InputError, match=r"tournament_size must be at most the population \(3\), got 4"
    ):
        RegularizedEvolution(population=3, tournament_size=4)


def test_a_space_of_one_candidate_ends_the_search(search: Any) -> None:
    single = Space({"x": Integer(3, 3)})
    log = search(
        RegularizedEvolution(population=1, tournament_size=1)(Problem(single, [LOSS])),
        lambda t: {"loss": 1.0},
        9,
    )
    assert len(log) == 2
