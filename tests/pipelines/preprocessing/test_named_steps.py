"""Named steps of a pipeline: more of them, others in place of the default ones, wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netwright.data.task import Table, Task
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.errors import BrokenFile, InputError
from netwright.files.run_layout import PIPELINE
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.pipeline import TablePipeline, cached_preprocessor, fit, load
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.pipelines.preprocessing.steps import FittedStep, TargetMatrix
from netwright.pipelines.trees.boosting import LightGBM
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space


@dataclass(frozen=True)
class Powers:
    """Raise numbers to a power; missing ones become 0."""

    power: int = 2

    @staticmethod
    def state_types() -> tuple[type, ...]:
        return (FittedPowers,)

    def fit(self, table: Table, aims: TargetMatrix | None = None) -> FittedPowers:
        names = [column.name for column in table.columns if column.kind == "numeric"]
        return FittedPowers(tuple(names), self.power)


@dataclass(frozen=True)
class FittedPowers(FittedStep):
    columns: tuple[str, ...]
    power: int

    @property
    def n_columns(self) -> int:
        return len(self.columns)

    def transform(self, table: Table) -> NDArray[np.float32]:
        columns = [table.arrays[name].astype(np.float32) for name in self.columns]
        filled = [np.where(np.isnan(column), np.float32(0), column) for column in columns]
        x = np.stack(filled, axis=1)
        powers: NDArray[np.float32] = x**self.power
        return powers

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        x = builder.stack_columns([builder.cast(name, np.float32) for name in self.columns])
        zero = builder.constant(np.float32(0))
        filled = builder.add("Where", [builder.add("IsNaN", [x]), zero, x])
        return builder.add("Pow", [filled, builder.constant(np.float32(self.power))])


ROBUST = Numeric(scale="robust")
WITH_POWERS = TablePipeline(LinearModel(l2=1.0), {"powers": Powers()})


def test_additional_step_is_fitted_saved_and_exported(binary_task: Task, tmp_path: Path) -> None:
    plain = cached_preprocessor(TablePipeline(LinearModel()), binary_task).input_spec(1)
    fitted = fit(WITH_POWERS, binary_task, seed=0)
    spec = fitted.preprocessor.input_spec(1)
    columns = binary_task.features.columns  # type: ignore[union-attr]
    n_numeric = sum(column.kind == "numeric" for column in columns)
    assert spec.shape == (plain.shape[0] + n_numeric,)
    assert spec.given["cardinalities"] == plain.given["cardinalities"]  # codes are last
    fitted.save(tmp_path)
    rows = binary_task.features.take(binary_task.validation)
    np.testing.assert_array_equal(load(WITH_POWERS, tmp_path).predict(rows), fitted.predict(rows))
    model = export_onnx(fitted, make_card(binary_task), tmp_path / "model.onnx")
    assert check_parity(model, fitted, rows).difference < 1e-5


def test_step_names_are_paths_of_decisions() -> None:
    described = TablePipeline(
        LinearModel(Float(0.1, 1.0)),
        {"powers": Powers(Integer(2, 3)), "numeric": Numeric(scale=OneOf("robust", "none"))},
    )
    space = Space(described)
    assert {decision.path for decision in space.decisions} == {
        "model.l2",
        "powers.power",
        "numeric.scale",
    }
    filled = space.fill(space.default())
    assert filled.steps["powers"] == Powers(2)
    assert filled == replace(filled)  # default steps are added
    assert filled.steps["categories"] == Categories()


def test_load_refuses_the_state_of_another_pipeline(binary_task: Task, tmp_path: Path) -> None:
    fit(TablePipeline(LinearModel(l2=1.0)), binary_task, seed=0).save(tmp_path)
    with pytest.raises(BrokenFile, match=r"steps in .* must be numeric, text, categories, powers"):
        load(WITH_POWERS, tmp_path)
    state = json.loads((tmp_path / PIPELINE).read_text())
    steps = state["preparation"]["has"]["steps"]["map"]
    steps["numeric"] = steps["numeric"]["has"]["scaling"] or {"is": "AffineScaler", "has": {}}
    (tmp_path / PIPELINE).write_text(json.dumps(state))
    with pytest.raises(BrokenFile):
        load(TablePipeline(LinearModel(l2=1.0)), tmp_path)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (Numeric(), "steps must be a mapping of names to steps"),
        ({"numeric": "none"}, r"step numeric must be an object like Numeric\(\), .* got 'none'"),
        ({"text": None}, r"step text must be an object like Numeric\(\), .* got None"),
        ({"numeric": Numeric}, "step numeric must be an object like Numeric"),
        ({3: Categories()}, "the name of a step must be a string other than .* got 3"),
        ({"model": Numeric()}, "the name of a step must be a string other than .* got 'model'"),
    ],
)
def test_wrong_steps_are_refused(steps: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        TablePipeline(LinearModel(), steps)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Numeric(scale="robsut"), "scale must be one of .* got 'robsut'. Did you mean"),  # type: ignore[arg-type]
        (lambda: Numeric(missing="drop"), "missing must be one of fill, keep, got 'drop'"),  # type: ignore[arg-type]
        (lambda: Categories(encode="hash"), "encode must be one of codes, frequency, onehot"),  # type: ignore[arg-type]
        (lambda: TablePipeline(LinearModel(), target="sqrt"), "target must be one of plain, log"),  # type: ignore[arg-type]
    ],
)
def test_unknown_settings_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


@dataclass(frozen=True)
class WithoutStateTypes(Powers):
    @staticmethod
    def state_types() -> tuple[type, ...]:
        return ()


def test_step_without_its_state_type_is_refused_at_fit(binary_task: Task) -> None:
    with pytest.raises(InputError, match="state_types of step powers must be with FittedPowers"):
        fit(TablePipeline(LinearModel(), {"powers": WithoutStateTypes()}), binary_task, seed=0)


def test_pipelines_as_options_have_distinct_labels() -> None:
    plain, scaled = TablePipeline(LinearModel()), TablePipeline(LinearModel(), {"numeric": ROBUST})
    space = Space(OneOf(plain, scaled, TablePipeline(LightGBM())))
    assert space.decisions[0].values == (
        "TablePipeline(model=LinearModel)",
        "TablePipeline(model=LinearModel, numeric=Numeric(scale=robust))",
        "TablePipeline(model=LightGBM)",
    )  # fmt: skip


@pytest.mark.parametrize("order", [("numeric", "more", "categories"), ("more", "categories")])
def test_codes_of_several_steps_come_last(
    order: tuple[str, ...], binary_task: Task, tmp_path: Path
) -> None:
    steps = {"more": Categories(encode="target", one_hot_max_size=2), "numeric": Numeric()}
    pipeline = TablePipeline(LinearModel(l2=1.0), {n: steps[n] for n in order if n in steps})
    fitted = fit(pipeline, binary_task, seed=0)
    codes = fitted.preprocessor.input_spec(1).given["cardinalities"]
    rows = binary_task.features.take(binary_task.validation)
    last = fitted.preprocessor.transform(rows)[:, -len(codes) :]
    assert len(codes) == 2 * sum(c.kind in ("category", "boolean") for c in rows.columns)  # type: ignore[union-attr]
    assert (last == last.round()).all()
    assert (last < codes).all()
    model = export_onnx(fitted, make_card(binary_task), tmp_path / "model.onnx")
    assert check_parity(model, fitted, rows).difference < 1e-5


def test_load_refuses_steps_in_another_order(binary_task: Task, tmp_path: Path) -> None:
    pipeline = TablePipeline(LinearModel(l2=1.0))
    fit(pipeline, binary_task, seed=0).save(tmp_path)
    state = json.loads((tmp_path / PIPELINE).read_text())
    steps = state["preparation"]["has"]["steps"]["map"]
    state["preparation"]["has"]["steps"]["map"] = dict(reversed(steps.items()))
    (tmp_path / PIPELINE).write_text(json.dumps(state))
    with pytest.raises(BrokenFile, match=r"steps in .* must be numeric, text, categories, got"):
        load(pipeline, tmp_path)
