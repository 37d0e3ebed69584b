"""The shipped table: whole, true, and a benchmark."""

import sys
from importlib import util
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import spearmanr

from netwright.errors import InfeasibleCandidate
from netwright.evaluators.benchmarks.digits import EPOCHS, SEEDS, digits_table, digits_task
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.networks.costs import costs
from netwright.networks.layers.canonical import canonical
from netwright.networks.layers.graph import Graph
from netwright.space.candidate import Candidate


@pytest.fixture(scope="module")
def table() -> TableBenchmark:
    return digits_table()


@pytest.fixture(scope="module")
def one() -> TableBenchmark:
    return digits_table("one")


@pytest.fixture(scope="module")
def networks(table: TableBenchmark) -> dict[str, Candidate]:
    """A candidate of each cell that lets something through, by its canonical form."""
    found: dict[str, Candidate] = {}
    for candidate in table.space:
        try:
            found.setdefault(form(table, candidate), candidate)
        except InfeasibleCandidate:
            continue
    return found


def form(table: TableBenchmark, candidate: Candidate) -> str:
    cell = table.space.fill(candidate).network[1]  # type: ignore[index]  # a tuple
    assert isinstance(cell, Graph)
    return canonical(cell)


def test_every_live_candidate_is_in_the_table(
    table: TableBenchmark, networks: dict[str, Candidate]
) -> None:
    infeasible = 0
    for candidate in table.space:
        try:
            twin = networks[form(table, candidate)]
        except InfeasibleCandidate:
            infeasible += 1
            with pytest.raises(InfeasibleCandidate, match="has no row of this candidate"):
                table.look_up(candidate)
            continue
        assert table.look_up(candidate) == table.look_up(twin)
    assert (table.space.size, infeasible, len(networks)) == (1728, 96, 687)
    for fidelity in table.fidelities:
        assert all(np.isfinite(table.metric_means(name, fidelity)).all() for name in table.metrics)


def test_costs_are_those_of_the_network(
    table: TableBenchmark, networks: dict[str, Candidate]
) -> None:
    for candidate in list(networks.values())[::50]:
        found = table.look_up(candidate)
        known = costs(table.space.fill(candidate).network, (1, 8, 8), outputs=10)
        assert (found["parameters"], found["flops"]) == (known.parameters, known.flops)


def scores(table: TableBenchmark, networks: dict[str, Candidate], metric: str) -> np.ndarray:
    """(networks, seeds) of a metric, at full fidelity."""
    return np.array([
        [table.look_up(candidate, seed=seed)[metric] for seed in SEEDS]
        for candidate in networks.values()
    ])  # fmt: skip


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_seeds_agree_on_the_order_of_networks(
    one: TableBenchmark, networks: dict[str, Candidate], metric: str
) -> None:
    found = scores(one, networks, metric)
    pairs = [spearmanr(found[:, a], found[:, b])[0] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert np.mean(pairs) >= 0.8


def test_one_training_is_noisy_and_the_mean_is_not(
    table: TableBenchmark, one: TableBenchmark, networks: dict[str, Candidate]
) -> None:
    found, mean = scores(one, networks, "log_loss"), scores(table, networks, "log_loss")
    assert np.all(np.ptp(mean, axis=1) == 0)
    assert np.mean(np.ptp(found, axis=1) > 0) > 0.99
    assert found.mean(axis=1) == pytest.approx(mean[:, 0])


def test_the_best_ten_are_not_tied(table: TableBenchmark, networks: dict[str, Candidate]) -> None:
    accuracy = np.sort(scores(table, networks, "accuracy")[:, 0])[-10:]
    log_loss = np.sort(scores(table, networks, "log_loss")[:, 0])[:10]
    assert len(np.unique(log_loss)) == 10
    assert len(np.unique(accuracy)) >= 5
    assert accuracy[-1] > accuracy[-2]
    assert accuracy[-1] < 0.97


def test_longer_schedules_rank_better(
    table: TableBenchmark, networks: dict[str, Candidate]
) -> None:
    full = [table.look_up(candidate)["accuracy"] for candidate in networks.values()]
    said = []
    for fidelity in (1 / 9, 1 / 3):
        short = [table.look_up(one, fidelity)["accuracy"] for one in networks.values()]
        assert np.mean(short) < np.mean(full)
        said.append(spearmanr(short, full)[0])
    assert 0.3 < said[0] < said[1] < 0.99


def test_validation_and_test_share_nothing_and_agree(
    table: TableBenchmark, networks: dict[str, Candidate]
) -> None:
    task = digits_task()
    assert task.test is not None
    assert (len(task.train), len(task.validation), len(task.test)) == (300, 899, 598)
    judged = [scores(table, networks, name)[:, 0] for name in ("accuracy", "test_accuracy")]
    assert spearmanr(*judged)[0] > 0.9
    parts = [task.features.take(rows) for rows in (task.train, task.validation)]
    images = [{one.tobytes() for one in part.pixels} for part in (*parts, task.test.features)]  # type: ignore[union-attr]  # images
    assert all(not a & b for a, b in combinations(images, 2))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    place = Path(__file__).parents[3] / "benchmarks" / "digits.py"
    spec = util.spec_from_file_location("digits_script", place)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["digits_script"] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_retraining_reproduces_the_table(
    one: TableBenchmark, networks: dict[str, Candidate], script: ModuleType
) -> None:
    """Loosely: another machine adds in another order, and small differences grow."""
    order = sorted(networks.values(), key=lambda candidate: one.look_up(candidate)["accuracy"])
    for candidate in (order[len(order) // 10], order[-1]):
        again, known = script.evaluate(candidate, 0, EPOCHS[-1]), one.look_up(candidate)
        assert again["accuracy"] == pytest.approx(known["accuracy"], abs=0.06)
        assert again["log_loss"] == pytest.approx(known["log_loss"], abs=0.25)
        assert again["test_accuracy"] == pytest.approx(known["test_accuracy"], abs=0.08)
