from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.evolution.genetic import NSGA2, Genetic, mutate_decisions
from netwright.testing import best_loss, simulate
from netwright.trials import selection
from netwright.trials.objective import Objective
from netwright.trials.pareto import hypervolume
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS, COST = Objective("loss", "min"), Objective("cost", "min")
LONG = Space({f"d{i}": Integer(0, 3) for i in range(16)})
CURVE = Space({f"x{i}": Integer(0, 31) for i in range(4)})


def total(candidate: Candidate) -> Metrics:
    """Each decision counts by itself: what two parents found can be put together."""
    return {"loss": 48.0 - sum(map(float, candidate.values.values())), "cost": 0.0}  # type: ignore[arg-type]


def zdt(candidate: Candidate) -> Metrics:
    """ZDT1 (Zitzler, Deb and Thiele 2000) on a grid: a curved front."""
    x = [float(str(candidate.values[f"x{i}"])) / 31 for i in range(4)]
    g = 1 + 3 * sum(x[1:])
    return {"loss": x[0], "cost": g * (1 - (x[0] / g) ** 0.5)}


def done(trial_id: int, loss: float, cost: float = 0.0) -> Trial:
    proposal = Proposal(Candidate({f"d{i}": trial_id % 4 for i in range(16)}))
    return Trial(trial_id, proposal, 0, Status.DONE, {"loss": loss, "cost": cost})


def volume(log: list[Trial]) -> float:
    rows = [(t.metrics["loss"], t.metrics["cost"]) for t in log if t.status is Status.DONE]
    return hypervolume(np.array(rows), np.array([1.1, 4.0]))


def test_crowding_spreads_nsga2_over_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean_volume() -> float:
        makers = [NSGA2(population=10)(Problem(CURVE, [LOSS, COST])) for _ in range(8)]
        return float(np.mean([volume(simulate(m, zdt, 200, seed=s)) for s, m in enumerate(makers)]))

    spread = mean_volume()
    monkeypatch.setattr(selection, "crowding", lambda values: np.zeros(len(values)))
    assert spread > mean_volume() + 0.03


def test_nsga2_keeps_the_best_of_parents_and_children() -> None:
    strategy = NSGA2(population=4, crossover=0.0)(Problem(LONG, [LOSS]))
    for trial_id, loss in enumerate([1.0, 2.0, 3.0, 4.0, 9.0, 9.0, 9.0, 0.5]):
        strategy.tell(done(trial_id, loss))
    proposals = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(60)]
    parents = [proposal.parents[0] for proposal in proposals]
    assert set(parents) == {0, 1, 2, 7}
    assert parents.count(7) > parents.count(0) > parents.count(2)  # binary tournaments


def test_elites_survive_whatever_the_children() -> None:
    def parents(elites: int) -> set[int]:
        strategy = Genetic(population=4, elites=elites, crossover=0.0)(Problem(LONG, [LOSS]))
        for trial_id, loss in enumerate([1.0, 2.0, 3.0, 4.0, 9.0, 8.0, 7.0, 6.0]):
            strategy.tell(done(trial_id, loss))
        proposals = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(80)]
        return {proposal.parents[0] for proposal in proposals}

    assert parents(elites=1) == {0, 5, 6, 7}
    assert parents(elites=0) == {4, 5, 6, 7}


def test_children_inherit_each_decision_from_a_parent() -> None:
    strategy = Genetic(population=2, tournament_size=1, crossover=1.0, elites=0)(
        Problem(LONG, [LOSS])
    )
    mother, father = done(0, 1.0), done(3, 2.0)
    strategy.tell(mother)
    strategy.tell(father)
    proposals = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(60)]
    crossed = [proposal for proposal in proposals if proposal.origin == "crossover"]
    assert len(crossed) > 20
    values = [list(proposal.candidate.values.values()) for proposal in crossed]
    assert 0.35 < np.mean([[v == 0 for v in row] for row in values]) < 0.65
    others = np.mean([sum(v not in (0, 3) for v in row) for row in values])
    assert 0.2 < others < 1.5  # a mutation each on average, two thirds of them to neither


def test_crossover_combines_the_parents_strengths() -> None:
    def mean_best_loss(crossover: float) -> float:
        makers = [Genetic(crossover=crossover)(Problem(LONG, [LOSS])) for _ in range(8)]
        return float(
            np.mean([best_loss(simulate(m, total, 240, seed=s)) for s, m in enumerate(makers)])
        )

    assert mean_best_loss(0.9) < mean_best_loss(0.0) - 1


def test_mutation_changes_one_decision_on_average() -> None:
    rng = np.random.default_rng(0)
    start = LONG.sample(rng)
    changed = []
    for _ in range(600):
        child = mutate_decisions(LONG, start, rng)
        changed.append(sum(child.values[k] != v for k, v in start.values.items()))
    assert np.mean(changed) == pytest.approx(1, abs=0.15)
    assert changed.count(0) == pytest.approx(600 * (15 / 16) ** 16, rel=0.25)


def test_proposals_beyond_a_generation_have_the_same_parents() -> None:
    strategy = NSGA2(population=4)(Problem(LONG, [LOSS]))
    for trial_id in range(4):
        strategy.tell(done(trial_id, float(trial_id)))
    assert len(strategy.ask(9, np.random.default_rng(0))) == 9


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Genetic(population=1), "population must be at least 2, got 1"),
        (lambda: Genetic(population=4, elites=4), r"elites must be below the population"),
        (lambda: Genetic(crossover=1.5), "crossover must be from 0 to 1, got 1.5"),
        (lambda: Genetic(tournament_size=0), "tournament_size must be at least 1, got 0"),
        (lambda: NSGA2(population=0), "population must be at least 2"),
    ],
)
def test_invalid_settings_are_errors(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()
