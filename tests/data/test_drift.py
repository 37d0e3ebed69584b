"""New rows beside those learnt from."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from netwright.data.drift import drift_warnings, reference_distribution
from netwright.data.make_task import task
from netwright.data.task import Table


def table(seed: int, n: int = 400, shift: float = 0.0, town: str = "abc") -> Table:
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    holes = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    frame = pd.DataFrame({"size": size, "holes": holes, "town": rng.choice(list("abc"), n)})
    features = task(frame, rng.normal(size=n)).features
    assert isinstance(features, Table)
    arrays = dict(features.arrays) | {"size": features.arrays["size"] + np.float32(shift)}
    arrays["town"] = np.array([town[i % len(town)] for i in range(n)], object)
    return Table(features.columns, arrays)


def test_same_distribution_gives_no_drift_warning() -> None:
    reference = json.loads(json.dumps(reference_distribution(table(0))))  # as a card keeps it
    assert set(reference) == {"size", "holes", "town"}
    assert all(drift_warnings(table(seed), reference) == [] for seed in range(1, 8))


def test_drift_warning_names_the_worst_column_first() -> None:
    reference = reference_distribution(table(0))
    (sentence,) = drift_warnings(table(1, shift=1.0), reference)
    assert sentence.startswith("1 column has drifted since training ('size')")
    (sentence,) = drift_warnings(table(1, shift=0.7, town="ddda"), reference)
    assert "('town', 'size')" in sentence
    assert drift_warnings(table(1, n=60, shift=9.0), reference) == []  # too few rows to tell


def test_missing_values_are_a_bin_of_drift() -> None:
    reference, new = reference_distribution(table(0)), table(1)
    gone = dict(new.arrays) | {"holes": np.full(len(new), np.nan, np.float32)}
    (sentence,) = drift_warnings(Table(new.columns, gone), reference)
    assert "'holes'" in sentence
