"""NAS-Bench-101 or EC-NAS as an evaluator: the cells of a file, and their space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netwright.errors import InputError, expected
from netwright.evaluators.benchmarks.nas_bench import NASBench101Run, live_sizes, read_nas_bench_101
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import DecisionColumn, Fidelities, MetricColumns
from netwright.networks.layers.canonical import canonical
from netwright.networks.layers.cells import at_most_edges, nas_bench_101, nas_bench_101_cell
from netwright.networks.layers.graph import Graph
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Shared
from netwright.space.space import Space

if TYPE_CHECKING:
    import pandas as pd

_METRIC_FIELDS = {
    "accuracy": "validation_accuracy",
    "test_accuracy": "test_accuracy",
    "train_seconds": "seconds",
    "energy": "energy",
}
"""Metric -> its field of `NASBench101Run`."""


def nas_bench_101_table(
    file: str | Path, repetition: Literal["mean", "one"] = "mean"
) -> TableBenchmark:
    """Return NAS-Bench-101 (Ying et al., 2019, 1902.09635) or EC-NAS (2210.06015) as an evaluator.

    The space has the cells of up to as many vertices as the largest in the file, with at most nine
    edges and a path from input to output. A cell is found whatever the order of its vertices, and
    without those that reach nothing. Metrics: "accuracy" (validation), "test_accuracy",
    "parameters", "train_seconds", and "energy" of the training in kWh if the file has it. Each
    number of epochs in the file is a fidelity, as a share of the largest.

    Args:
        file: its TFRecord; read at once, and once more by each worker.
        repetition: "mean" averages a cell's trainings, "one" takes the one that the trial's seed
            selects.

    Returns:
        An evaluator with its `space`.

    Raises:
        InputError: the file is something else, cut off or empty.

    Example:
        >>> table = nas_bench_101_table("nasbench_only108.tfrecord")
        >>> Study(table.space, table, objectives="accuracy").run(trials=100)
    """
    path = Path(file)
    frame = _read_cells(path)
    n_inner = int(frame["vertices"].max()) - 2
    space = Space(nas_bench_101(inner=n_inner), rule=is_legal)
    return TableBenchmark(
        space,
        path,
        {"cell": DecisionColumn("cell")},
        _fidelities(frame),
        repetition,
        identify=partial(cell_text, n_inner),
        reader=_read,
        compute_prior_scores=live_sizes,
    )


def is_legal(values: Mapping[str, Value]) -> bool:
    """Return whether a cell has at most nine edges, and a path from its input to its output."""
    sources = {
        path.rpartition(".")[2]: value for path, value in values.items() if isinstance(value, tuple)
    }
    reached: set[Value] = {"0"}
    for name in sorted(sources, key=lambda name: (len(name), name)):  # "1", ..., "10", "out"
        if reached.intersection(sources[name]):
            reached.add(name)
    return "out" in reached and at_most_edges(values)


def cell_text(n_inner: int, candidate: Candidate) -> dict[str, Value]:
    """Return the canonical form of a candidate's cell; `n_inner`: vertices between in- and output."""
    return {"cell": canonical(_cell_space(n_inner).fill(candidate))}


@lru_cache(maxsize=8)
def _cell_space(n_inner: int) -> Space[Graph]:
    """The space of the cell alone: the network's decisions, filled a hundred times faster."""
    return Space(Shared(nas_bench_101_cell(n_inner), "cell"))


def candidate_of(run: NASBench101Run) -> Candidate:
    """Return the candidate that was trained, of the space of cells of its own size."""
    last = len(run.operations) - 1
    values: dict[str, Value] = {}
    for j in range(1, last + 1):
        name = "out" if j == last else str(j)
        values[f"cell.{name}"] = tuple(str(i) for i in range(j) if run.adjacency[i][j])
        if j < last:
            values[f"cell.{name}.then"] = run.operations[j].partition("-")[0]
    return Candidate(values)


def _read(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    return _read_cells(file)[list(columns)]


def _read_cells(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise InputError(expected("file", "one that exists", str(file)))
    return _read_cells_cached(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_cells_cached(file: Path, modified_at: int) -> pd.DataFrame:
    """Return a row for each cell: text, vertices, parameters and ``metric_epochs_repetition``."""
    import pandas as pd

    texts: dict[object, str] = {}
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for run in read_nas_bench_101(file):
        n_vertices, cell = len(run.operations), (run.adjacency, run.operations)
        if cell not in texts:
            texts[cell] = str(cell_text(n_vertices - 2, candidate_of(run))["cell"])
        row = rows[texts[cell]]
        row |= {"vertices": n_vertices, "parameters": run.parameters}
        i = 0
        while f"accuracy_{run.epochs}_{i}" in row:
            i += 1
        row |= {
            f"{metric}_{run.epochs}_{i}": getattr(run, name)
            for metric, name in _METRIC_FIELDS.items()
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell").reset_index()
    if frame.empty:
        raise InputError(expected("file", "one with trainings", str(file)))
    return frame


def _fidelities(frame: pd.DataFrame) -> Fidelities:
    columns = [column for column in frame.columns if column.startswith("accuracy_")]
    schedules = sorted({int(column.split("_")[1]) for column in columns})
    return {epochs / schedules[-1]: _metrics(frame, epochs) for epochs in schedules}


def _metrics(frame: pd.DataFrame, epochs: int) -> dict[str, MetricColumns]:
    metrics = {}
    for name in _METRIC_FIELDS:
        columns = [column for column in frame.columns if column.startswith(f"{name}_{epochs}_")]
        if name != "energy" or (frame[columns] > 0).any(axis=None):
            metrics[name] = MetricColumns(tuple(columns))
    return metrics | {"parameters": MetricColumns.of("parameters")}
