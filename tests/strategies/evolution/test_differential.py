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


def tell_population(strategy: Any, points: np.ndarray, losses: list[float]) -> None:
    for index, (point, loss) in enumerate(zip(points, losses, strict=True)):
        note = {"place": index, "point": tuple(map(float, point))}
        proposal = Proposal(CUBE.from_unit(point), origin="random", note=note)
        strategy.tell(Trial(index, proposal, 0))
        strategy.tell(Trial(index, proposal, 0, Status.DONE, {"loss": loss}))


def test_a_mutant_is_a_vector_plus_a_scaled_difference() -> None:
    points = np.random.default_rng(1).uniform(0.3, 0.7, (5, 5))
    strategy = DifferentialEvolution(population=5, mutation_factor=0.4, crossover=1.0)(
        Problem(CUBE, [LOSS])
    )
    tell_population(strategy, points, [1.0] * 5)
    for seed in range(20):
        (child,) = strategy.ask(1, np.random.default_rng(seed))
        u, target = np.array(child.note["point"]), child.note["place"]
        others = [i for i in range(5) if i != target]
        fits = [
            (a, b, c)
            for a in others for b in others for c in others
            if len({a, b, c}) == 3 and np.allclose(u, points[a] + 0.4 * (points[b] - points[c]))
        ]  # fmt: skip
        assert len(fits) == 1
        assert child.parents == (target, fits[0][0])
        assert child.candidate == CUBE.from_unit(u)


def test_crossover_keeps_the_other_coordinates_of_the_target() -> None:
    points = np.random.default_rng(1).uniform(0.3, 0.7, (5, 5))
    strategy = DifferentialEvolution(population=5, crossover=0.0)(Problem(CUBE, [LOSS]))
    tell_population(strategy, points, [1.0] * 5)
    for seed in range(10):
        (child,) = strategy.ask(1, np.random.default_rng(seed))
        from_target = np.isclose(child.note["point"], points[int(str(child.note["place"]))])
        assert from_target.sum() == 4  # one at least comes from the mutant


def test_a_child_replaces_its_target_unless_the_target_is_better() -> None:
    points = np.random.default_rng(1).uniform(0.3, 0.7, (4, 5))

    def parents_after(loss: float) -> set[int]:
        strategy = DifferentialEvolution(population=4)(Problem(CUBE, [LOSS]))
        tell_population(strategy, points, [1.0, 2.0, 3.0, 4.0])
        note = {"place": 2, "point": (0.5,) * 5}
        proposal = Proposal(CUBE.from_unit([0.5] * 5), note=note)
        strategy.tell(Trial(9, proposal, 0))
        strategy.tell(Trial(9, proposal, 0, Status.DONE, {"loss": loss}))
        proposals = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(40)]
        return {parent for proposal in proposals for parent in proposal.parents}

    assert parents_after(loss=3.5) == {0, 1, 2, 3}
    assert parents_after(loss=3.0) == parents_after(loss=2.5) == {0, 1, 3, 9}


def test_without_difference_vectors_results_are_worse() -> None:
    def mean_best_loss(**settings: float) -> float:
        runs = [DifferentialEvolution(**settings)(Problem(CUBE, [LOSS])) for _ in range(3)]  # type: ignore[arg-type]
        return float(
            np.mean([best_loss(simulate(r, valley, 400, seed=s)) for s, r in enumerate(runs)])
        )

    assert mean_best_loss(crossover=0.9) < mean_best_loss(mutation_factor=1e-9, crossover=0.9) / 4


def test_coordinates_outside_the_cube_are_redrawn() -> None:
    points = np.array([[0.0] * 5, [1.0] * 5, [0.0, 1, 0, 1, 0], [1.0, 0, 1, 0, 1], [0.5] * 5])
    strategy = DifferentialEvolution(population=5, mutation_factor=1.0, crossover=1.0)(
        Problem(CUBE, [LOSS])
    )
    tell_population(strategy, points, [1.0] * 5)
    children = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(40)]
    values = np.array([proposal.note["point"] for proposal in children])
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
def test_invalid_settings_are_errors(settings: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        DifferentialEvolution(**settings)
