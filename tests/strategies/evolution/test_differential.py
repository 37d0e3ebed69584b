from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float
from netwright.space.space import Space
from netwright.strategies.evolution.differential import DifferentialEvolution
from netwright.testing import best_loss, simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS = Objective("loss", "min")
CUBE = Space({f"x{i}": Float(-5.0, 5.0) for i in range(5)})


def valley(candidate: Candidate) -> Metrics:
    """Rosenbrock's curved valley: directions matter."""
    x = np.array([float(str(candidate.values[f"x{i}"])) for i in range(5)])
    return {
        "loss": float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()),
        "cost": 0.0,
    }


def told(strategy: Any, points: np.ndarray, losses: list[float]) -> None:
    for place, (point, loss) in enumerate(zip(points, losses, strict=True)):
        note = {"place": place, "point": tuple(map(float, point))}
        proposal = Proposal(CUBE.from_unit(point), origin="random", note=note)
        strategy.tell(Trial(place, proposal, 0))
        strategy.tell(Trial(place, proposal, 0, Status.DONE, {"loss": loss}))


def test_a_child_is_a_point_plus_the_scaled_difference_of_two_others() -> None:
    points = np.random.default_rng(1).uniform(0.3, 0.7, (5, 5))
    strategy = DifferentialEvolution(population=5, mutation_factor=0.4, crossover=1.0)(
        Problem(CUBE, [LOSS])
    )
    told(strategy, points, [1.0] * 5)
    for seed in range(20):
        (child,) = strategy.ask(1, np.random.default_rng(seed))
        u, rival = np.array(child.note["point"]), child.note["place"]
        others = [i for i in range(5) if i != rival]
        fits = [
            (a, b, c)
            for a in others for b in others for c in others
            if len({a, b, c}) == 3 and np.allclose(u, points[a] + 0.4 * (points[b] - points[c]))
        ]  # fmt: skip
        assert len(fits) == 1
        assert child.parents == (rival, fits[0][0])
        assert child.candidate == CUBE.from_unit(u)


def test_crossover_keeps_the_rest_of_the_rival() -> None:
    points = np.random.default_rng(1).uniform(0.3, 0.7, (5, 5))
    strategy = DifferentialEvolution(population=5, crossover=0.0)(Problem(CUBE, [LOSS]))
    told(strategy, points, [1.0] * 5)
    for seed in range(10):
        (child,) = strategy.ask(1, np.random.default_rng(seed))
        kept = np.isclose(child.note["point"], points[int(str(child.note["place"]))])
        assert kept.sum() == 4  # one at least comes from the mutant


def test_a_child_takes_its_rivals_place_unless_the_rival_is_better() -> None:
    points = np.random.default_rng(1).uniform(0.3, 0.7, (4, 5))

    def keepers(loss: float) -> set[int]:
        strategy = DifferentialEvolution(population=4)(Problem(CUBE, [LOSS]))
        told(strategy, points, [1.0, 2.0, 3.0, 4.0])
        note = {"place": 2, "point": (0.5,) * 5}
        proposal = Proposal(CUBE.from_unit([0.5] * 5), note=note)
        strategy.tell(Trial(9, proposal, 0))
        strategy.tell(Trial(9, proposal, 0, Status.DONE, {"loss": loss}))
        asked = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(40)]
        return {parent for one in asked for parent in one.parents}

    assert keepers(loss=3.5) == {0, 1, 2, 3}
    assert keepers(loss=3.0) == keepers(loss=2.5) == {0, 1, 3, 9}


def test_differences_find_the_valley_and_their_absence_does_not() -> None:
    def found(**settings: float) -> float:
        runs = [DifferentialEvolution(**settings)(Problem(CUBE, [LOSS])) for _ in range(3)]  # type: ignore[arg-type]
        return float(
            np.mean([best_loss(simulate(r, valley, 400, seed=s)) for s, r in enumerate(runs)])
        )

    assert found(crossover=0.9) < found(mutation_factor=1e-9, crossover=0.9) / 4


def test_what_leaves_the_cube_is_drawn_anew() -> None:
    points = np.array([[0.0] * 5, [1.0] * 5, [0.0, 1, 0, 1, 0], [1.0, 0, 1, 0, 1], [0.5] * 5])
    strategy = DifferentialEvolution(population=5, mutation_factor=1.0, crossover=1.0)(
        Problem(CUBE, [LOSS])
    )
    told(strategy, points, [1.0] * 5)
    children = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(40)]
    values = np.array([one.note["point"] for one in children])
    assert values.min() >= 0
    assert values.max() <= 1
    assert len(np.unique(values[(values > 0) & (values < 1)])) > 30


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"population": 3}, "population must be at least 4"),
        ({"mutation_factor": 0.0}, "mutation_factor must be above 0"),
        ({"crossover": -0.1}, "crossover must be from 0 to 1"),
    ],
)
def test_settings_that_cannot_be(settings: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        DifferentialEvolution(**settings)
