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
    found = task(frame, rng.normal(size=n)).features
    assert isinstance(found, Table)
    arrays = dict(found.arrays) | {"size": found.arrays["size"] + np.float32(shift)}
    arrays["town"] = np.array([town[i % len(town)] for i in range(n)], object)
    return Table(found.columns, arrays)


def test_rows_of_the_same_kind_have_not_shifted() -> None:
    known = json.loads(json.dumps(reference_distribution(table(0))))  # as a card keeps it
    assert set(known) == {"size", "holes", "town"}
    assert all(drift_warnings(table(seed), known) == [] for seed in range(1, 8))


def test_shifted_columns_are_named_the_furthest_first() -> None:
    known = reference_distribution(table(0))
    (sentence,) = drift_warnings(table(1, shift=1.0), known)
    assert sentence.startswith("1 column has drifted since training ('size')")
    (sentence,) = drift_warnings(table(1, shift=0.7, town="ddda"), known)
    assert "('town', 'size')" in sentence
    assert drift_warnings(table(1, n=60, shift=9.0), known) == []  # too few rows to tell


def test_missing_values_are_a_part_of_their_own() -> None:
    known, new = reference_distribution(table(0)), table(1)
    gone = dict(new.arrays) | {"holes": np.full(len(new), np.nan, np.float32)}
    (sentence,) = drift_warnings(Table(new.columns, gone), known)
    assert "'holes'" in sentence
