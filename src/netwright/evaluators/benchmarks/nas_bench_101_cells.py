"""The cells of a file of NAS-Bench-101, or of EC-NAS, as a space and its evaluator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netwright.errors import InputError, expected
from netwright.evaluators.benchmarks.nas_bench import Evaluation, read_nas_bench_101
from netwright.evaluators.benchmarks.table import (
    DecisionColumn,
    Fidelities,
    MetricColumns,
    TableBenchmark,
)
from netwright.networks.layers.canonical import canonical
from netwright.networks.layers.cells import at_most_edges, nas_bench_101, nas_bench_101_cell
from netwright.networks.layers.graph import Graph
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Shared
from netwright.space.space import Space

if TYPE_CHECKING:
    import pandas as pd

_METRICS = {
    "accuracy": "validation_accuracy",
    "test_accuracy": "test_accuracy",
    "train_seconds": "seconds",
    "energy": "energy",
}
"""Metric -> its name in an `Evaluation`."""


def nas_bench_101_table(
    file: str | Path, repetition: Literal["mean", "one"] = "mean"
) -> TableBenchmark:
    """NAS-Bench-101 (Ying et al. 2019, 1902.09635) or EC-NAS (2210.06015) as an evaluator, from
    their own files.

    The space has the cells of up to as many vertices as the largest in the file, at most nine
    edges, and some route from input to output. A cell is found whatever the order of its vertices,
    and by what is left of it without the vertices that reach nothing. Metrics: "accuracy"
    (validation), "test_accuracy", "parameters", "train_seconds" and, where the file has it,
    "energy" of the training in kWh. Each number of epochs in the file is a fidelity, as a share of
    the largest. The file is read at once, and once more by each worker. Raises InputError when it
    is not such a file.
    """  # fmt: skip
    path = Path(file)
    frame = _cells_in(path)
    inner = int(frame["vertices"].max()) - 2
    space = Space(nas_bench_101(inner=inner), rule=is_legal)
    return TableBenchmark(
        space, path, {"cell": DecisionColumn("cell")}, _fidelities(frame), repetition,
        identify=partial(cell_text, inner), reader=_read, costs=("parameters",),
    )  # fmt: skip


def is_legal(values: Mapping[str, Value]) -> bool:
    """Whether a cell has at most nine edges, and a route from its input to its output."""
    sources = {
        path.rpartition(".")[2]: value for path, value in values.items() if isinstance(value, tuple)
    }
    reached: set[Value] = {"0"}
    for name in sorted(sources, key=lambda name: (len(name), name)):  # "1", ..., "10", "out"
        if reached.intersection(sources[name]):
            reached.add(name)
    return "out" in reached and at_most_edges(values)


def cell_text(inner: int, candidate: Candidate) -> dict[str, Value]:
    """The canonical form of the cell that a candidate of `inner` inner vertices describes."""
    return {"cell": canonical(_cells(inner).fill(candidate))}


@lru_cache(maxsize=8)
def _cells(inner: int) -> Space[Graph]:
    """The cell by itself: the decisions of the network, filled a hundred times faster."""
    return Space(Shared(nas_bench_101_cell(inner), "cell"))


def candidate_of(evaluation: Evaluation) -> Candidate:
    """The candidate, of the space of cells of its own size, that was trained."""
    last = len(evaluation.operations) - 1
    values: dict[str, Value] = {}
    for j in range(1, last + 1):
        name = "out" if j == last else str(j)
        values[f"cell.{name}"] = tuple(str(i) for i in range(j) if evaluation.adjacency[i][j])
        if j < last:
            values[f"cell.{name}.then"] = evaluation.operations[j].partition("-")[0]
    return Candidate(values)


def _read(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    return _cells_in(file)[list(columns)]


def _cells_in(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise InputError(expected("file", "one that exists", str(file)))
    return _remembered(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _remembered(file: Path, changed: int) -> pd.DataFrame:
    """A row for each cell: its text, vertices, parameters, and ``metric_epochs_repetition``."""
    import pandas as pd

    texts: dict[object, str] = {}
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for one in read_nas_bench_101(file):
        vertices, cell = len(one.operations), (one.adjacency, one.operations)
        if cell not in texts:
            texts[cell] = str(cell_text(vertices - 2, candidate_of(one))["cell"])
        row = rows[texts[cell]]
        row |= {"vertices": vertices, "parameters": one.parameters}
        i = 0
        while f"accuracy_{one.epochs}_{i}" in row:
            i += 1
        row |= {f"{name}_{one.epochs}_{i}": getattr(one, of) for name, of in _METRICS.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell").reset_index()
    if frame.empty:
        raise InputError(expected("file", "one with trainings", str(file)))
    return frame


def _fidelities(frame: pd.DataFrame) -> Fidelities:
    names = [name for name in frame.columns if name.startswith("accuracy_")]
    epochs = sorted({int(name.split("_")[1]) for name in names})
    return {one / epochs[-1]: _metrics(frame, one) for one in epochs}


def _metrics(frame: pd.DataFrame, epochs: int) -> dict[str, MetricColumns]:
    found = {}
    for name in _METRICS:
        columns = [c for c in frame.columns if c.startswith(f"{name}_{epochs}_")]
        if name != "energy" or (frame[columns] > 0).any(axis=None):
            found[name] = MetricColumns(tuple(columns))
    return found | {"parameters": MetricColumns.of("parameters")}
