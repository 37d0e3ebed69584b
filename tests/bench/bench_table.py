"""A table of 27 candidates whose validation and test disagree, with a cheap fidelity and seconds."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd

from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import DecisionColumn, MetricColumns
from netwright.space.choices import OneOf
from netwright.space.space import Space

SPACE = Space({"a": OneOf(0, 1, 2), "b": OneOf(0, 1, 2), "c": OneOf(0, 1, 2)})


def frame() -> pd.DataFrame:
    """Validation rises with a, b and c; test is the same but for the best, which is lucky there."""
    rows = []
    for a, b, c in product(range(3), repeat=3):
        valid = 0.5 + 0.1 * a + 0.05 * b + 0.02 * c + 0.001 * (a * b - c)
        test = 0.6 if a == b == c == 2 else valid - 0.01
        rows.append({
            "a": a, "b": b, "c": c, "valid": valid, "valid_2": valid + 0.004, "test": test,
            "short": valid - 0.2 + 0.03 * c, "ms": 1.0 + a + 0.5 * b, "seconds": 10.0 + a,
            "short_seconds": 2.0,
        })  # fmt: skip
    return pd.DataFrame(rows)


def write(folder: Path) -> Path:
    frame().to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def make(file: Path, repetition: str = "mean") -> TableBenchmark:
    full = {
        "accuracy": MetricColumns.of("valid", "valid_2"), "test_accuracy": MetricColumns.of("test"),
        "latency": MetricColumns.of("ms"), "train_seconds": MetricColumns.of("seconds"),
    }  # fmt: skip
    short = {
        "accuracy": MetricColumns.of("short"), "latency": MetricColumns.of("ms"),
        "train_seconds": MetricColumns.of("short_seconds"),
    }  # fmt: skip
    decisions = {name: DecisionColumn(name) for name in "abc"}
    return TableBenchmark(SPACE, file, decisions, {0.25: short, 1.0: full}, repetition)  # type: ignore[arg-type]
