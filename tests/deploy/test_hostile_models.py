"""Models from strangers and damaged ones: refused in one sentence, or exactly what they were."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark_scripts import benchmark_module
from netwright.data.make_task import task
from netwright.deploy.export import export_onnx, make_card
from netwright.deploy.model import Model, load
from netwright.errors import InputError
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.pipeline import TablePipeline, fit

MODELS = benchmark_module("hostile", "models")
DAMAGES = {case.name: case for case in MODELS.damages()}
OTHERS = {case.name: case for case in MODELS.CASES if case.name not in DAMAGES}


def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.normal(size=90), "b": rng.normal(size=90)})
    return frame.assign(c=rng.choice(list("uvw"), 90))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Model:
    frame = table()
    toy_task = task(frame.assign(y=np.where(frame["a"] + frame["b"] > 0, "p", "q")), "y")
    path = tmp_path_factory.mktemp("good") / "model.onnx"
    return export_onnx(
        fit(TablePipeline(LinearModel(0.1)), toy_task, seed=0), make_card(toy_task), path
    )


def spoiled(name: str, good: Model, folder: Path, seed: int) -> Path:
    (folder / "model.onnx").write_bytes(good.path.read_bytes())
    (DAMAGES | OTHERS)[name].make(folder, random.Random(seed))
    return folder / "model.onnx"


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused_or_predict_the_same(
    name: str, good: Model, tmp_path: Path
) -> None:
    rows = table()
    for seed in (0, 1):
        path = spoiled(name, good, tmp_path, seed)
        try:
            model = load(path)
        except InputError:
            continue
        np.testing.assert_array_equal(model.predict_proba(rows), good.predict_proba(rows))
        assert model.predict(rows).tolist() == good.predict(rows).tolist()


@pytest.mark.parametrize("name", OTHERS)
def test_hostile_files_are_refused(name: str, good: Model, tmp_path: Path) -> None:
    path = spoiled(name, good, tmp_path, 0)
    with pytest.raises(InputError, match=r"^.*(model|ONNX file).*, got .*\.$"):
        load(path).predict(table())


def test_older_formats_predict_the_same(good: Model, tmp_path: Path) -> None:
    import onnx

    card = {name: value for name, value in good.card.items() if name != "crc32"} | {"format": 2}
    file = onnx.load(good.path)
    path = tmp_path / "model.onnx"
    path.write_bytes(MODELS._signed(file, MODELS.json.dumps(card)))
    assert "crc32" not in load(path).card
    np.testing.assert_array_equal(load(path).predict_proba(table()), good.predict_proba(table()))
