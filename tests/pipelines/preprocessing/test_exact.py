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
from netwright.pipelines.preprocessing.float32_split import Float32Split, exact_numbers
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
    found = task(pd.DataFrame(WIDE), np.arange(N) % 2).features
    assert isinstance(found, Table)
    return found


@pytest.mark.parametrize("name", WIDE)
def test_no_two_values_meet(name: str) -> None:
    features = table()
    inputs = Numeric(scale="none").fit(features).transform(features)
    columns = [column.name for column in features.columns]
    place = columns.index(name)
    parts = [inputs[:, place]]
    exact = exact_numbers(features, columns)
    first = len(columns)
    for other in columns:
        remainders = exact[other].remainders if other in exact else 0
        if other == name:
            parts += [inputs[:, first + i] for i in range(remainders)]
        first += remainders
    assert len(np.unique(np.stack(parts, axis=1), axis=0)) == N
    assert inputs.dtype == np.float32


def test_a_narrow_range_needs_an_offset_alone() -> None:
    exact = exact_numbers(table(), ["unix", "day", "order", "id", "when", "tick"])
    remainders = {name: number.remainders for name, number in exact.items()}
    assert remainders == {"unix": 0, "day": 0, "order": 2, "id": 0, "tick": 1}
    assert abs(exact["unix"].offset - 1_700_000_060) < 60


def test_the_parts_add_up_to_the_number() -> None:
    values = np.array([0.0, 2**53 - 1, 2**40 + 1, -(2**33) - 1, np.nan, np.inf])
    parts = Float32Split(5.0, 2).split(values)
    assert sum(part.astype(np.float64) for part in parts)[:4].tolist() == (values[:4] - 5).tolist()
    assert not np.isfinite(sum(parts)[4:]).any()


@pytest.mark.parametrize("scale", ["standard", "quantile", "none"])
def test_the_file_takes_doubles_and_agrees(scale: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(WIDE)
    frame["hole"] = frame["unix"].where(frame.index % 7 > 0)
    found = task(frame, np.arange(N) % 2)
    network = Training((Columns(), Linear()), epochs=1)
    pipeline = fit(
        TablePipeline(network, {"numeric": Numeric(scale=scale, date_parts=True)}), found, seed=0
    )  # type: ignore[arg-type]
    model = export_onnx(pipeline, make_card(found), tmp_path / "m.onnx")
    assert check_parity(model, pipeline, found.features).difference < 1e-5
    kinds = {node.name: node.type for node in model.session.get_inputs()}
    assert kinds["unix"] == kinds["hole"] == "tensor(double)"
    assert kinds["when"] == "tensor(int64)"
    assert {column["name"] for column in model.card["columns"] if "dtype" in column} == {
        "unix", "day", "order", "id", "hole",
    }  # fmt: skip
