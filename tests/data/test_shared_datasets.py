"""The data sets of the shared folder: each is skipped, with the reason, where they are absent."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netwright.data.make_task import task
from netwright.data.new_rows import read_rows
from netwright.data.task import Images, Table

_ROW = r"^\| `(\w+)` \| (\d+) \| \d+ \| (\w+) \| (\S+) \| (\d+)/(\d+) \| (\d+)"
DATES = {"nyc_taxi_fares": 2}
NONE_IS_A_WORD = {"ames_housing"}
"""Has the text "None", which pandas takes for missing when it reads a CSV file, and so do we."""


def test_shared_tables_have_the_listed_types(shared: Path) -> None:
    pytest.importorskip("pyarrow", reason="the tables are parquet")
    listed = re.findall(_ROW, (shared / "README.md").read_text(), re.M)
    assert len(listed) == 29
    for name, rows, kind, target, numeric, others, missing in listed:
        loaded = task(shared / "tabular" / f"{name}.parquet", target)
        assert isinstance(loaded.features, Table)
        kinds = [column.kind for column in loaded.features.columns]
        assert (len(loaded.features), loaded.kind) == (int(rows), kind), name
        assert kinds.count("numeric") == int(numeric), name
        assert len(kinds) == int(numeric) + int(others), name
        assert kinds.count("date") == DATES.get(name, 0), name
        if name not in NONE_IS_A_WORD:
            assert loaded.features.n_missing == int(missing), name


def test_adult_csv_equals_its_parquet(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the tables are parquet")
    frame = pd.read_parquet(shared / "tabular" / "adult.parquet").drop(columns="split")
    loaded = task(frame, "income")
    frame.to_csv(tmp_path / "adult.csv", index=False)
    again = task(tmp_path / "adult.csv", "income")
    assert again.fingerprint == loaded.fingerprint
    rows, _ = read_rows(frame[:100], loaded.features)
    assert isinstance(loaded.features, Table)
    for name, array in loaded.features.take(np.arange(100)).arrays.items():
        np.testing.assert_array_equal(rows.arrays[name], array)


def test_mnist_and_flowers_keep_their_splits(shared: Path) -> None:
    mnist = task(shared / "images" / "mnist.npz")
    assert mnist.test is not None
    assert isinstance(mnist.features, Images)
    assert (len(mnist.features), len(mnist.test), mnist.features.shape) == (
        60_000,
        10_000,
        (28, 28, 1),
    )
    assert len(mnist.validation) == pytest.approx(6_000, abs=10)
    flowers = task(shared / "images" / "flowers17_16.npz")
    assert (len(flowers.train), len(flowers.validation)) == (680, 340)
    assert len(flowers.classes) == 17
