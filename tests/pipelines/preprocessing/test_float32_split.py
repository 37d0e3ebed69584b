from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netwright.data.make_task import task
from netwright.data.task import Table
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import TablePipeline, fit
from netwright.pipelines.preprocessing.float32_split import Float32Split, fit_splits
from netwright.pipelines.preprocessing.numeric import Numeric

N = 120
RNG = np.random.default_rng(0)
WIDE = {
    "unix": 1_700_000_000 + RNG.permutation(N),
    "day": 20_240_101 + RNG.permutation(N),
    "order": RNG.permutation(N) * (2**45 + 1),
    "id": 2**53 - 1 - RNG.permutation(N),
    "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.permutation(N) * 86_400_001, "ms"),
    "tick": pd.Timestamp("2020-01-01")
    + pd.to_timedelta(np.r_[0, 10**9 + RNG.permutation(N - 1)], "ms"),
}


def table() -> Table:
    features = task(pd.DataFrame(WIDE), np.arange(N) % 2).features
    assert isinstance(features, Table)
    return features


@pytest.mark.parametrize("name", WIDE)
def test_split_columns_keep_all_values_distinct(name: str) -> None:
    features = table()
    inputs = Numeric(scale="none").fit(features).transform(features)
    columns = [column.name for column in features.columns]
    index = columns.index(name)
    columns_of_number = [inputs[:, index]]
    splits = fit_splits(features, columns)
    next_column = len(columns)
    for column in columns:
        remainders = splits[column].remainders if column in splits else 0
        if column == name:
            columns_of_number += [inputs[:, next_column + i] for i in range(remainders)]
        next_column += remainders
    assert len(np.unique(np.stack(columns_of_number, axis=1), axis=0)) == N
    assert inputs.dtype == np.float32


def test_narrow_range_needs_only_an_offset() -> None:
    splits = fit_splits(table(), ["unix", "day", "order", "id", "when", "tick"])
    remainders = {name: split.remainders for name, split in splits.items()}
    assert remainders == {"unix": 0, "day": 0, "order": 2, "id": 0, "tick": 1}
    assert abs(splits["unix"].offset - 1_700_000_060) < 60


def test_split_columns_sum_to_the_number() -> None:
    values = np.array([0.0, 2**53 - 1, 2**40 + 1, -(2**33) - 1, np.nan, np.inf])
    columns_of_number = Float32Split(5.0, 2).split(values)
    assert (
        sum(column.astype(np.float64) for column in columns_of_number)[:4].tolist()
        == (values[:4] - 5).tolist()
    )
    assert not np.isfinite(sum(columns_of_number)[4:]).any()


@pytest.mark.parametrize("scale", ["standard", "quantile", "none"])
def test_exported_model_takes_float64_and_agrees(scale: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(WIDE)
    frame["hole"] = frame["unix"].where(frame.index % 7 > 0)
    task_ = task(frame, np.arange(N) % 2)
    network = Training((Columns(), Linear()), epochs=1)
    pipeline = fit(
        TablePipeline(network, {"numeric": Numeric(scale=scale, date_parts=True)}), task_, seed=0
    )  # type: ignore[arg-type]
    model = export_onnx(pipeline, make_card(task_), tmp_path / "m.onnx")
    assert check_parity(model, pipeline, task_.features).difference < 1e-5
    kinds = {node.name: node.type for node in model.session.get_inputs()}
    assert kinds["unix"] == kinds["hole"] == "tensor(double)"
    assert kinds["when"] == "tensor(int64)"
    assert {column["name"] for column in model.card["columns"] if "dtype" in column} == {
        "unix", "day", "order", "id", "hole",
    }  # fmt: skip
