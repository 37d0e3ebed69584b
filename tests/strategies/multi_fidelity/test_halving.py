from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float
from netwright.space.space import Space
from netwright.strategies.evolution.differential import DifferentialEvolution
from netwright.strategies.multi_fidelity.halving import (
    BOHB,
    DEHB,
    Hyperband,
    SuccessiveHalving,
    make_bracket,
)
from netwright.strategies.multi_fidelity.rungs import rung_fidelities
from netwright.testing import best_loss, simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS = Objective("loss", "min")
CUBE = Space({f"x{i}": Float(0.0, 1.0) for i in range(4)})


def bowl(candidate: Candidate) -> Metrics:
    return {"loss": 10 * sum((float(str(v)) - 0.3) ** 2 for v in candidate.values.values())}


def of_bracket(log: list[Trial], bracket_index: int) -> dict[float, list[Trial]]:
    """Fidelity -> the events of one bracket."""
    by_fidelity: dict[float, list[Trial]] = defaultdict(list)
    for trial in log:
        if trial.proposal.note.get("bracket") == bracket_index:
            by_fidelity[trial.proposal.fidelity].append(trial)
    return by_fidelity


def ended(trials: list[Trial], status: Status = Status.DONE) -> list[Trial]:
    return [t for t in trials if t.status is status]


def test_brackets_equal_hyperbands_table() -> None:
    """eta = 3, R = 81: Algorithm 1 of arXiv:1603.06560, n = ceil(B/R eta^s/(s+1))."""
    fidelities = rung_fidelities((), 3, 1 / 81)
    table = [
        [(round(81 * fidelities[k]), n) for k, n in make_bracket(fidelities, s)]
        for s in range(4, -1, -1)
    ]
    assert table == [
        [(1, 81), (3, 27), (9, 9), (27, 3), (81, 1)],
        [(3, 34), (9, 11), (27, 3), (81, 1)],
        [(9, 15), (27, 5), (81, 1)],
        [(27, 8), (81, 2)],
        [(81, 5)],
    ]


def test_rungs_of_declared_fidelities_cost_the_same() -> None:
    assert make_bracket((0.06, 1.0), 1) == [(0, 17), (1, 1)]
    assert make_bracket((0.06, 1.0), 0) == [(1, 2)]
    assert make_bracket((0.5, 1.0), 1) == [(0, 2), (1, 1)]


def test_brackets_repeat() -> None:
    log = simulate(Hyperband()(Problem(CUBE, [LOSS])), bowl, 1 + 2 * 22)
    sizes = [
        [(round(9 * f), len(ended(trials))) for f, trials in of_bracket(log, bracket_index).items()]
        for bracket_index in range(6)
    ]
    assert sizes == 2 * [[(1, 9), (3, 3), (9, 1)], [(3, 5), (9, 1)], [(9, 3)]]
    log = simulate(SuccessiveHalving()(Problem(CUBE, [LOSS])), bowl, 1 + 2 * 13)
    for bracket_index in range(2):
        sizes = [[len(ended(trials)) for trials in of_bracket(log, bracket_index).values()]]
        assert sizes == [[9, 3, 1]]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_complete_rung_promotes_its_best(workers: int) -> None:
    log = simulate(SuccessiveHalving()(Problem(CUBE, [LOSS])), bowl, 120, workers=workers)
    for bracket_index in range(6):
        low, middle, high = of_bracket(log, bracket_index).values()
        for below, above in ((low, middle), (middle, high)):
            order = sorted(ended(below), key=lambda t: t.metrics["loss"])
            tried = [t.proposal.parents[0] for t in above if t.status is Status.RUNNING]
            assert tried == [t.id for t in order[: len(tried)]]
            assert log.index(below[-1]) < log.index(above[0])
        # a slot is filled again where a trial failed by no fault of its own
        assert [len(ended(trials)) for trials in (low, middle, high)] == [9, 3, 1]
        assert bool(ended(low, Status.FAILED)) <= (workers > 1)


def test_the_next_bracket_begins_while_a_rung_waits() -> None:
    strategy = SuccessiveHalving()(Problem(CUBE, [LOSS]))
    rng = np.random.default_rng(0)
    proposals = strategy.ask(25, rng)
    assert [proposal.note.get("bracket") for proposal in proposals] == [None] + [0] * 9 + [
        1
    ] * 9 + [2] * 6
    for trial_id, proposal in enumerate(proposals):
        strategy.tell(Trial(trial_id, proposal, 0))
    for trial_id, proposal in list(enumerate(proposals))[1:9]:
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, bowl(proposal.candidate)))
    assert [proposal.note["bracket"] for proposal in strategy.ask(4, rng)] == [2, 2, 2, 3]
    strategy.tell(Trial(9, proposals[9], 0, Status.DONE, bowl(proposals[9].candidate)))
    again = strategy.ask(4, rng)
    assert [proposal.note["bracket"] for proposal in again] == [0, 0, 0, 2]
    assert {proposal.origin for proposal in again[:3]} == {"promotion"}


def test_infeasible_trials_fill_slots_without_being_promoted() -> None:
    def measure(candidate: Candidate) -> Metrics | None:
        return None if float(str(candidate.values["x0"])) < 0.85 else bowl(candidate)

    log = simulate(SuccessiveHalving()(Problem(CUBE, [LOSS])), measure, 150)
    for bracket_index in range(4):
        trials = of_bracket(log, bracket_index)
        low = trials[1 / 9]
        assert len(ended(low)) + len(ended(low, Status.INFEASIBLE)) == 9
        above = {t.candidate for t in trials.get(1 / 3, [])}
        assert above == {t.candidate for t in ended(low)} or len(above) == 3


# DEHB


def tell_population(strategy: Any, points: np.ndarray, losses: list[float]) -> list[Trial]:
    trials = []
    for trial_id, (point, loss) in enumerate(zip(points, losses, strict=True)):
        proposal = Proposal(CUBE.from_unit(point), note={"point": tuple(map(float, point))})
        strategy.tell(Trial(trial_id, proposal, 0))
        trials.append(Trial(trial_id, proposal, 0, Status.DONE, {"loss": loss}))
        strategy.tell(trials[-1])
    return trials


def test_mutants_come_from_the_pool_below() -> None:
    rng = np.random.default_rng(1)
    settings = DifferentialEvolution(mutation_factor=0.4, crossover=0.5)
    strategy = settings.sub_population(Problem(CUBE, [LOSS]), 5)
    own, below = rng.uniform(0.3, 0.7, (5, 4)), rng.uniform(0.3, 0.7, (3, 4))
    pool = [
        Trial(100 + i, Proposal(CUBE.from_unit(p), note={"point": tuple(map(float, p))}), 0)
        for i, p in enumerate(below)
    ]
    tell_population(strategy, own[:4], [1.0] * 4)
    assert strategy.propose_child(pool, set(), 0, rng) is None  # it is not full yet
    strategy = settings.sub_population(Problem(CUBE, [LOSS]), 5)
    tell_population(strategy, own, [1.0] * 5)
    assert strategy.propose_child(pool[:2], set(), 0, rng) is None
    targets = set()
    for n_proposed in range(20):
        child = strategy.propose_child(pool, set(), n_proposed, rng)
        assert child is not None
        target, r1 = child.parents
        targets.add(target)
        u = np.array(child.note["point"])
        mutants = [
            below[r1 - 100] + 0.4 * (below[b] - below[c])
            for b in range(3) for c in range(3) if len({r1 - 100, b, c}) == 3
        ]  # fmt: skip
        assert any((np.isclose(u, v) | np.isclose(u, own[target])).all() for v in mutants)
    assert targets == set(range(5))


def test_sub_populations_have_the_size_of_their_largest_rung() -> None:
    sizes = []

    class Sized(DifferentialEvolution):
        def sub_population(self, problem: Problem, size: int) -> Any:
            sizes.append(size)
            return super().sub_population(problem, size)

    Hyperband(Sized())(Problem(CUBE, [LOSS]))
    assert sizes == [9, 5, 3]


def above_the_lowest(log: list[Trial], brackets: range) -> list[Trial]:
    rungs_above = [rung for n in brackets for rung in list(of_bracket(log, n).values())[1:]]
    return [trial for rung in rungs_above for trial in rung]


def test_first_rungs_are_promoted_and_later_ones_are_children() -> None:
    log = simulate(DEHB(Problem(CUBE, [LOSS])), bowl, 1 + 8 * 22)
    trials = {t.id: t for t in log if t.status is Status.DONE}
    first = above_the_lowest(log, range(2))
    assert {t.proposal.origin for t in first} == {"promotion"}
    later = above_the_lowest(log, range(6, 24))
    assert {t.proposal.origin for t in later} == {"difference"}
    below = 0
    for trial in later:
        target, r1 = (trials[trial_id] for trial_id in trial.proposal.parents)
        assert target.proposal.fidelity == trial.proposal.fidelity
        below += r1.proposal.fidelity < trial.proposal.fidelity
    assert below > 0.6 * len(later)


@pytest.mark.parametrize(("algorithm", "factor"), [(BOHB, 0.6), (DEHB, 0.6)], ids=["BOHB", "DEHB"])
def test_bohb_and_dehb_beat_random_candidates(algorithm: Any, factor: float) -> None:
    def mean_best_loss(settings: Any) -> float:
        problem = Problem(CUBE, [LOSS])
        logs = [simulate(settings(problem), bowl, 900, seed=s, max_cost=50) for s in range(6)]
        return float(np.mean([best_loss(log) for log in logs]))

    assert mean_best_loss(algorithm) < factor * mean_best_loss(Hyperband())
