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


def done(number: int, loss: float, cost: float = 0.0) -> Trial:
    proposal = Proposal(Candidate({f"d{i}": number % 4 for i in range(16)}))
    return Trial(number, proposal, 0, Status.DONE, {"loss": loss, "cost": cost})


def volume(log: list[Trial]) -> float:
    rows = [(t.metrics["loss"], t.metrics["cost"]) for t in log if t.status is Status.DONE]
    return hypervolume(np.array(rows), np.array([1.1, 4.0]))


def test_crowding_spreads_nsga2_over_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> float:
        makers = [NSGA2(population=10)(Problem(CURVE, [LOSS, COST])) for _ in range(8)]
        return float(np.mean([volume(simulate(m, zdt, 200, seed=s)) for s, m in enumerate(makers)]))

    spread = found()
    monkeypatch.setattr(selection, "crowding", lambda values: np.zeros(len(values)))
    assert spread > found() + 0.03


def test_the_best_of_parents_and_children_survive_in_nsga2() -> None:
    strategy = NSGA2(population=4, crossover=0.0)(Problem(LONG, [LOSS]))
    for number, loss in enumerate([1.0, 2.0, 3.0, 4.0, 9.0, 9.0, 9.0, 0.5]):
        strategy.tell(done(number, loss))
    asked = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(60)]
    parents = [one.parents[0] for one in asked]
    assert set(parents) == {0, 1, 2, 7}
    assert parents.count(7) > parents.count(0) > parents.count(2)  # binary tournaments


def test_elites_stay_whatever_their_children_are() -> None:
    def parents(elites: int) -> set[int]:
        strategy = Genetic(population=4, elites=elites, crossover=0.0)(Problem(LONG, [LOSS]))
        for number, loss in enumerate([1.0, 2.0, 3.0, 4.0, 9.0, 8.0, 7.0, 6.0]):
            strategy.tell(done(number, loss))
        asked = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(80)]
        return {one.parents[0] for one in asked}

    assert parents(elites=1) == {0, 5, 6, 7}
    assert parents(elites=0) == {4, 5, 6, 7}


def test_children_have_each_decision_from_a_parent_but_for_mutations() -> None:
    strategy = Genetic(population=2, tournament_size=1, crossover=1.0, elites=0)(
        Problem(LONG, [LOSS])
    )
    mother, father = done(0, 1.0), done(3, 2.0)
    strategy.tell(mother)
    strategy.tell(father)
    asked = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(60)]
    crossed = [one for one in asked if one.origin == "crossover"]
    assert len(crossed) > 20
    values = [list(one.candidate.values.values()) for one in crossed]
    assert 0.35 < np.mean([[v == 0 for v in row] for row in values]) < 0.65
    others = np.mean([sum(v not in (0, 3) for v in row) for row in values])
    assert 0.2 < others < 1.5  # a mutation each on average, two thirds of them to neither


def test_crossover_puts_together_what_parents_found() -> None:
    def found(crossover: float) -> float:
        makers = [Genetic(crossover=crossover)(Problem(LONG, [LOSS])) for _ in range(8)]
        return float(
            np.mean([best_loss(simulate(m, total, 240, seed=s)) for s, m in enumerate(makers)])
        )

    assert found(0.9) < found(0.0) - 1


def test_mutation_changes_one_decision_on_average() -> None:
    rng = np.random.default_rng(0)
    start = LONG.sample(rng)
    changed = []
    for _ in range(600):
        child = mutate_decisions(LONG, start, rng)
        changed.append(sum(child.values[k] != v for k, v in start.values.items()))
    assert np.mean(changed) == pytest.approx(1, abs=0.15)
    assert changed.count(0) == pytest.approx(600 * (15 / 16) ** 16, rel=0.25)


def test_workers_beyond_a_generation_breed_from_the_same_parents() -> None:
    strategy = NSGA2(population=4)(Problem(LONG, [LOSS]))
    for number in range(4):
        strategy.tell(done(number, float(number)))
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
def test_settings_that_cannot_be(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()
