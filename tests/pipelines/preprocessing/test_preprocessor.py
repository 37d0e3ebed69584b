"""The preprocessor of a pipeline: its columns, its state, and the training rows."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from step_tools import categories, dates, numbers, run_step_onnx, side_by_side, texts

from netwright.data.make_task import task
from netwright.data.task import Table, Task
from netwright.errors import BrokenFile, InfeasibleCandidate
from netwright.networks.training.recipe import Training
from netwright.pipelines import pipeline as pipelines
from netwright.pipelines.interfaces import InputSpec, PreparedRows, ValidationLoss
from netwright.pipelines.pipeline import (
    DEFAULT_STEPS,
    TablePipeline,
    cached_preprocessor,
    fit_preprocessor,
    training_inputs,
)
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.pipelines.preprocessing.preprocessor import TablePreprocessor, state_types
from netwright.pipelines.preprocessing.redundant_columns import drop_redundant_columns
from netwright.pipelines.preprocessing.text import Text
from netwright.pipelines.serialization import from_state, to_state

PIPELINES = [
    TablePipeline(Training(())),
    TablePipeline(
        Training(()),
        {
            "numeric": Numeric("quantile", missing="keep", date_parts=True),
            "categories": Categories(2, "target", one_hot_max_size=3),
            "text": Text(20, grams=2, counts=True),
        },
    ),
    TablePipeline(
        Training(()),
        {"numeric": Numeric("none"), "categories": Categories(encode="onehot", one_hot_max_size=99)},
    ),
    TablePipeline(
        Training(()), {"numeric": Numeric("robust"), "categories": Categories(encode="frequency")}
    ),
]  # fmt: skip

STATE_TYPES = state_types(DEFAULT_STEPS.values())


def table_of_all_kinds(n: int = 120, seed: int = 0) -> Table:
    """Return a column of every kind, two of categories, with missing values."""
    rng = np.random.default_rng(seed)
    words = np.array(["good", "bad", "so", "12", "film"])
    return side_by_side(
        numbers(a=np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n))),
        dates(when=rng.integers(0, 2 * 10**18, n)),
        categories(few=rng.choice(["x", "y", ""], n).tolist(),
                   many=rng.integers(0, 30, n).astype(str).tolist()),
        texts(said=[" ".join(rng.choice(words, 5)) for _ in range(n)]),
    )  # fmt: skip


@pytest.mark.parametrize("steps", PIPELINES)
def test_preprocessor_equals_its_onnx_and_its_json(steps: TablePipeline) -> None:
    table, target_matrix = table_of_all_kinds(), np.random.default_rng(1).normal(size=(120, 2))
    fitted = fit_preprocessor(steps, table, target_matrix)
    new = table_of_all_kinds(40, seed=5)
    x = fitted.transform(new)
    assert x.shape == (40, *fitted.input_spec(2).shape)
    np.testing.assert_array_equal(run_step_onnx(fitted, new), x)  # type: ignore[arg-type]
    restored = from_state(json.loads(json.dumps(to_state(fitted))), STATE_TYPES)
    assert restored == fitted
    np.testing.assert_array_equal(restored.transform(new), x)
    codes = fitted.input_spec(2).given["cardinalities"]
    assert (x[:, x.shape[1] - len(codes) :] < codes).all()  # codes come last
    train_inputs = fitted.transform_training(table, target_matrix, 0)
    assert np.array_equal(train_inputs, fitted.transform(table), equal_nan=True) == (
        steps.steps["categories"].encode != "target"
    )


def test_columns_may_be_named_like_keys_of_the_state() -> None:
    table = dates(map=[1, 2], has=[5, 5 * 10**18])
    fitted = Numeric(date_parts=True).fit(table)
    assert from_state(json.loads(json.dumps(to_state(fitted))), STATE_TYPES) == fitted
    with pytest.raises(BrokenFile, match="must be made of TablePreprocessor"):
        from_state({"is": "Popen", "has": {}}, STATE_TYPES)


def test_constant_and_duplicate_columns_are_dropped() -> None:
    table = side_by_side(
        numbers(a=[1, 2, np.nan], same=[7, 7, 7], none=[np.nan] * 3, copy=[1, 2, np.nan]),
        numbers(holed=[7, 7, np.nan], zero=[0.0, 1, 2], minus=[-0.0, 1, 2]),
        categories(c=["x", "y", "x"], copied=["x", "y", "x"], one=["k"] * 3, two=["x", "yx", ""]),
        dates(d=[1, 2, 3], e=[1, 2, 3], f=[4, 4, 4]),
        texts(t=["x", "y", "x"]),
    )
    names = [column.name for column in drop_redundant_columns(table).columns]
    assert names == ["a", "holed", "zero", "c", "two", "d", "t"]
    fitted = fit_preprocessor(PIPELINES[0], table)
    assert isinstance(fitted, TablePreprocessor)
    assert fitted.steps["numeric"].columns == ("a", "holed", "zero", "d")
    np.testing.assert_array_equal(run_step_onnx(fitted, table), fitted.transform(table))  # type: ignore[arg-type]


def test_one_column_is_kept_if_all_are_constant() -> None:
    assert [c.name for c in drop_redundant_columns(numbers(a=[1, 1], b=[2, 2])).columns] == ["a"]
    assert fit_preprocessor(PIPELINES[0], numbers(a=[1], b=[2])).transform(
        numbers(a=[1], b=[2])
    ).shape == (1, 1)


def random_codes_task() -> Task:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": rng.integers(0, 60, 300).astype(str), "n": rng.normal(size=300)})
    frame = frame.astype({"id": "category"})
    return task(frame, np.where(rng.random(300) < 0.5, "a", "b"))


class Intercepted(Exception):
    """Carries the inputs of a learner."""


class InterceptingLearner:
    """A learner that raises its inputs."""

    def fit(
        self,
        inputs: InputSpec,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        validation_loss: ValidationLoss,
        **_: object,
    ) -> None:
        raise Intercepted(rows.inputs, validation_rows.inputs)


def test_training_rows_are_encoded_out_of_fold_and_validation_rows_by_all() -> None:
    task_ = random_codes_task()
    pipeline = TablePipeline(InterceptingLearner(), {"categories": Categories(encode="target")})  # type: ignore[arg-type]
    with pytest.raises(Intercepted) as caught:
        pipelines.fit(pipeline, task_, seed=3)
    inputs, validation_inputs = caught.value.args
    preprocessor = cached_preprocessor(pipeline, task_)
    np.testing.assert_array_equal(
        validation_inputs, preprocessor.transform(task_.features.take(task_.validation))
    )
    np.testing.assert_array_equal(inputs, training_inputs(pipeline, task_, seed=3))
    in_fold = preprocessor.transform(task_.features.take(task_.train))
    differ = (inputs != in_fold).any(0)
    assert differ.tolist() == [False, True, False]  # n, the mean target, the code
    plain = replace(pipeline, steps={"categories": Categories()})
    np.testing.assert_array_equal(
        training_inputs(plain, task_, seed=3),
        cached_preprocessor(plain, task_).transform(task_.features.take(task_.train)),
    )


def test_log_target_refuses_values_that_are_not_positive() -> None:
    task_ = task({"x": list(range(40))}, np.arange(40) - 1.5, kind="regression")
    with pytest.raises(InfeasibleCandidate, match=r"positive for its logarithm .* got -1\.5"):
        cached_preprocessor(TablePipeline(Training(()), target="log"), task_)


def test_log_predictions_stay_near_the_training_targets() -> None:
    y = np.exp(np.random.default_rng(0).normal(5, 2, 100))
    task_ = task({"x": list(range(100))}, y, kind="regression")
    target = pipelines.target_transform_of(task_, TablePipeline(Training(()), target="log"))
    scaled = target.transform(task_.target[task_.train])
    assert scaled.mean() == pytest.approx(0, abs=1e-5)
    assert scaled.std() == pytest.approx(1, abs=1e-5)
    restored = target.predictions(scaled[:, None])
    assert restored == pytest.approx(task_.target[task_.train], rel=1e-5)
    extreme = target.predictions(np.array([[1e6], [-1e6]], np.float32))
    train_target = task_.target[task_.train]
    assert extreme == pytest.approx(
        [train_target.max() * np.exp(target.std), train_target.min() / np.exp(target.std)]
    )
    assert target.max_difference(restored, restored * np.exp(0.5 * target.std)) == pytest.approx(
        0.5
    )
