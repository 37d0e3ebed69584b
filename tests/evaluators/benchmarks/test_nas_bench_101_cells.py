"""On a small file in the benchmark's format, and on EC-NAS's where they are."""

import base64
import json
import os
import pickle
import struct
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.benchmarks.nas_bench import read_nas_bench_101
from netwright.evaluators.benchmarks.nas_bench_101_cells import (
    candidate_of,
    is_legal,
    nas_bench_101_table,
)
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.networks.build import build
from netwright.space.candidate import Candidate
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.study.study import Study
from netwright.trials.objective import Objective

PLACE = (
    Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[4] / "shared" / "data")) / "nas"
)
real = pytest.mark.skipif(not PLACE.is_dir(), reason="the NAS tables are not on this machine")

INPUT, C1, C3, POOL, OUTPUT = "input", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", "output"


def field(number: int, value: float | bytes) -> bytes:
    if isinstance(value, bytes):
        assert len(value) < 128
        return bytes([number << 3 | 2, len(value)]) + value
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def training(
    cell: tuple[Sequence[str], Sequence[str]], epochs: int, validation: float, energy: float = 0.0
) -> bytes:
    """A record of one training of a cell: adjacency row by row, operations."""
    matrix, operations = cell
    final = field(2, 60.0 * epochs) + field(3, 1.0) + field(4, validation)
    final += field(5, validation - 0.01)
    model = field(1, field(4, 0.1)) + field(1, final) + field(2, 1000.0 * len(operations))
    model += field(4, energy) if energy else b""
    packed = base64.b64encode(model).decode()
    line = json.dumps(["hash", epochs, "".join(matrix), ",".join(operations), packed]).encode()
    return struct.pack("<Q", len(line)) + bytes(4) + line + bytes(4)


STRAIGHT = (("010", "001", "000"), (INPUT, C3, OUTPUT))
FORKED = (("0110", "0001", "0001", "0000"), (INPUT, C1, POOL, OUTPUT))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tfrecord"
    path.write_bytes(
        training(STRAIGHT, 108, 0.90) + training(STRAIGHT, 108, 0.92) + training(STRAIGHT, 4, 0.5)
        + training(FORKED, 108, 0.80) + training(FORKED, 4, 0.4)
    )  # fmt: skip
    return path


def four(one: tuple, op1: str, two: tuple, op2: str, out: tuple) -> Candidate:  # type: ignore[type-arg]
    return Candidate({
        "cell.1": one, "cell.1.then": op1, "cell.2": two, "cell.2.then": op2, "cell.out": out,
    })  # fmt: skip


def test_a_cell_is_found_whatever_the_order_of_its_vertices(file: Path) -> None:
    table = nas_bench_101_table(file)
    forked = four(("0",), "conv1x1", ("0",), "maxpool3x3", ("1", "2"))
    swapped = four(("0",), "maxpool3x3", ("0",), "conv1x1", ("1", "2"))
    assert table.look_up(forked) == table.look_up(swapped)
    assert table.look_up(forked) == {
        "parameters": 4000, "accuracy": pytest.approx(0.80), "test_accuracy": pytest.approx(0.79),
        "train_seconds": 6480,
    }  # fmt: skip
    other = four(("0",), "maxpool3x3", ("0",), "maxpool3x3", ("1", "2"))
    with pytest.raises(InfeasibleCandidate, match="has no row of this candidate"):
        table.look_up(other)


def test_dead_vertices_do_not_change_a_cell(file: Path) -> None:
    table = nas_bench_101_table(file)
    straight = [
        four((), "maxpool3x3", ("0",), "conv3x3", ("2",)),  # nothing reaches 1
        four((), "maxpool3x3", ("0", "1"), "conv3x3", ("1", "2")),
        four(("0",), "conv3x3", ("0", "1"), "conv1x1", ("1",)),  # 2 reaches nothing
    ]
    for candidate in straight:
        assert table.look_up(candidate)["accuracy"] == pytest.approx(0.91)
        assert table.look_up(candidate)["parameters"] == 3000


def test_epochs_are_fidelities_and_trainings_repetitions(file: Path) -> None:
    table, one = nas_bench_101_table(file), nas_bench_101_table(file, "one")
    straight = four((), "conv1x1", ("0",), "conv3x3", ("2",))
    assert sorted(table.fidelities) == [4 / 108, 1]
    assert table.look_up(straight, 4 / 108)["accuracy"] == pytest.approx(0.5)
    assert table.look_up(straight, 4 / 108)["train_seconds"] == 240
    seen = {round(one.look_up(straight, 1, seed)["accuracy"], 6) for seed in range(6)}
    assert seen == {0.9, 0.92}
    assert sorted(table.metric_means("accuracy")) == pytest.approx([0.80, 0.91])
    assert "energy" not in table.metrics


def test_energy_is_a_metric_where_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "energy.tfrecord"
    path.write_bytes(training(STRAIGHT, 4, 0.5, energy=0.25))
    table = nas_bench_101_table(path)
    candidate = Candidate({"cell.1": ("0",), "cell.1.then": "conv3x3", "cell.out": ("1",)})
    assert table.look_up(candidate)["energy"] == 0.25


def test_the_space_has_the_legal_cells_of_the_files_size(file: Path) -> None:
    space = nas_bench_101_table(file).space
    cells = list(space)
    assert space.size == 2 * 3 * 4 * 3 * 7
    assert all(is_legal(one.values) for one in cells)
    assert not space.contains(four((), "conv1x1", ("1",), "conv3x3", ("2",)))
    ten = {f"cell.{j}": tuple(map(str, range(j))) for j in (1, 2, 3, 4)}
    assert not is_legal(ten | {"cell.out": ("4",)} | {"cell.5": ()})
    module = build(space.fill(cells[-1]), (3, 8, 8), outputs=10)
    assert sum(p.numel() for p in module.parameters()) > 0


def test_nas_bench_101_table_pickles_without_rows(file: Path) -> None:
    table = nas_bench_101_table(file)
    candidate = four((), "conv1x1", ("0",), "conv3x3", ("2",))
    found = table.look_up(candidate)
    packed = pickle.dumps(table)
    assert len(packed) < 10_000
    assert pickle.loads(packed).look_up(candidate) == found


def test_a_study_searches_it(file: Path, tmp_path: Path) -> None:
    table = nas_bench_101_table(file)
    study = Study(
        table.space, table, objectives=["accuracy", Objective("train_seconds", "min")],
        strategy=RegularizedEvolution(population=5), run=tmp_path / "run",
    )  # fmt: skip
    study.run(trials=40)
    assert max(trial.metrics["accuracy"] for trial in study.front) == pytest.approx(0.91)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="file must be one that exists"):
        nas_bench_101_table(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InputError, match="file must be one with trainings"):
        nas_bench_101_table(tmp_path / "empty")


@pytest.fixture(scope="module")
def ec_nas() -> TableBenchmark:
    return nas_bench_101_table(PLACE / "ecnas_4v.tfrecord")


@real
def test_the_legal_cells_of_four_vertices_are_those_of_ec_nas(ec_nas: TableBenchmark) -> None:
    found = {tuple(ec_nas.look_up(candidate).items()) for candidate in ec_nas.space}
    assert len(found) == len(ec_nas.metric_means("accuracy")) == 91
    assert ec_nas.metric_means("accuracy").mean() == pytest.approx(0.8995, abs=1e-4)
    assert ec_nas.metric_means("energy").mean() == pytest.approx(0.412, abs=1e-3)
    assert sorted(ec_nas.fidelities) == pytest.approx([4 / 108, 12 / 108, 36 / 108, 1])
    assert set(ec_nas.metrics) == {
        "accuracy", "test_accuracy", "parameters", "train_seconds", "energy",
    }  # fmt: skip


@real
def test_every_training_of_ec_nas_is_found_under_its_cell(ec_nas: TableBenchmark) -> None:
    one = nas_bench_101_table(PLACE / "ecnas_4v.tfrecord", "one")
    whole = [e for e in read_nas_bench_101(PLACE / "ecnas_4v.tfrecord") if len(e.operations) == 4]
    for training in whole[::25]:
        fidelity = training.epochs / 108
        candidate = candidate_of(training)
        seen = {one.look_up(candidate, fidelity, seed)["accuracy"] for seed in range(3)}
        assert training.validation_accuracy in seen


@real
def test_cells_of_five_vertices_are_found_in_any_order() -> None:
    table = nas_bench_101_table(PLACE / "ecnas_5v_4epochs.tfrecord")
    assert len(table.metric_means("accuracy")) == 2532
    rng = np.random.default_rng(0)
    accuracies = [table.look_up(table.space.sample(rng))["accuracy"] for _ in range(200)]
    assert 0.3 < np.mean(accuracies) < 0.6
    fan = {f"cell.{j}": ("0",) for j in (1, 2, 3)} | {"cell.out": ("1", "2", "3")}
    names = ("conv1x1", "conv3x3", "maxpool3x3")
    orders = [
        {f"cell.{j}.then": name for j, name in enumerate(order, 1)} for order in permutations(names)
    ]
    found = [table.look_up(Candidate(fan | order)) for order in orders]
    assert all(one == found[0] for one in found)
