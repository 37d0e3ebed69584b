"""The whole preparation: which columns it sees, what it keeps, and what training rows are given."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from step_tools import both, categories, dates, emitted, numbers, texts

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
from netwright.pipelines.preprocessing.preprocessor import TablePreprocessor, kinds_of
from netwright.pipelines.preprocessing.redundant_columns import distinct
from netwright.pipelines.preprocessing.text import Text
from netwright.pipelines.serialization import read, written

ALL = [
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

KINDS = kinds_of(DEFAULT_STEPS.values())


def mixed(n: int = 120, seed: int = 0) -> Table:
    """A column of every kind, two of categories, with holes."""
    rng = np.random.default_rng(seed)
    words = np.array(["good", "bad", "so", "12", "film"])
    return both(
        numbers(a=np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n))),
        dates(when=rng.integers(0, 2 * 10**18, n)),
        categories(few=rng.choice(["x", "y", ""], n).tolist(),
                   many=rng.integers(0, 30, n).astype(str).tolist()),
        texts(said=[" ".join(rng.choice(words, 5)) for _ in range(n)]),
    )  # fmt: skip


@pytest.mark.parametrize("steps", ALL)
def test_all_steps_together_agree_and_are_kept_as_json(steps: TablePipeline) -> None:
    table, aims = mixed(), np.random.default_rng(1).normal(size=(120, 2))
    fitted = fit_preprocessor(steps, table, aims)
    new = mixed(40, seed=5)
    x = fitted.transform(new)
    assert x.shape == (40, *fitted.input_spec(2).shape)
    np.testing.assert_array_equal(emitted(fitted, new), x)  # type: ignore[arg-type]
    again = read(json.loads(json.dumps(written(fitted))), KINDS)
    assert again == fitted
    np.testing.assert_array_equal(again.inputs(new), x)
    codes = fitted.input_spec(2).given["cardinalities"]
    assert (x[:, x.shape[1] - len(codes) :] < codes).all()  # codes come last
    told = fitted.transform_training(table, aims, 0)
    assert np.array_equal(told, fitted.transform(table), equal_nan=True) == (
        steps.steps["categories"].encode != "target"
    )


def test_names_that_states_use_may_be_columns() -> None:
    table = dates(map=[1, 2], has=[5, 5 * 10**18])
    fitted = Numeric(date_parts=True).fit(table)
    assert read(json.loads(json.dumps(written(fitted))), KINDS) == fitted
    with pytest.raises(BrokenFile, match="must be made of TableInputs"):
        read({"is": "Popen", "has": {}}, KINDS)


def test_constant_columns_and_copies_are_not_seen() -> None:
    table = both(
        numbers(a=[1, 2, np.nan], same=[7, 7, 7], none=[np.nan] * 3, copy=[1, 2, np.nan]),
        numbers(holed=[7, 7, np.nan], zero=[0.0, 1, 2], minus=[-0.0, 1, 2]),
        categories(c=["x", "y", "x"], copied=["x", "y", "x"], one=["k"] * 3, two=["x", "yx", ""]),
        dates(d=[1, 2, 3], e=[1, 2, 3], f=[4, 4, 4]),
        texts(t=["x", "y", "x"]),
    )
    names = [column.name for column in distinct(table).columns]
    assert names == ["a", "holed", "zero", "c", "two", "d", "t"]
    fitted = fit_preprocessor(ALL[0], table)
    assert isinstance(fitted, TablePreprocessor)
    assert fitted.steps["numeric"].columns == ("a", "holed", "zero", "d")
    np.testing.assert_array_equal(emitted(fitted, table), fitted.transform(table))  # type: ignore[arg-type]


def test_where_nothing_varies_one_column_is_left() -> None:
    assert [c.name for c in distinct(numbers(a=[1, 1], b=[2, 2])).columns] == ["a"]
    assert fit_preprocessor(ALL[0], numbers(a=[1], b=[2])).transform(
        numbers(a=[1], b=[2])
    ).shape == (1, 1)


def coded_task() -> Task:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": rng.integers(0, 60, 300).astype(str), "n": rng.normal(size=300)})
    frame = frame.astype({"id": "category"})
    return task(frame, np.where(rng.random(300) < 0.5, "a", "b"))


class Seen(Exception):
    """Carries what a model was given."""


class Nosy:
    """A learner that hands on what it is given."""

    def fit(
        self,
        inputs: InputSpec,
        rows: PreparedRows,
        held_out: PreparedRows,
        judge: ValidationLoss,
        **_: object,
    ) -> None:
        raise Seen(rows.inputs, held_out.inputs)


def test_a_model_learns_from_out_of_fold_means_and_is_judged_by_those_of_all_rows() -> None:
    found = coded_task()
    described = TablePipeline(Nosy(), {"categories": Categories(encode="target")})  # type: ignore[arg-type]
    with pytest.raises(Seen) as given:
        pipelines.fit(described, found, seed=3)
    learnt, judged = given.value.args
    full = cached_preprocessor(described, found)
    np.testing.assert_array_equal(judged, full.transform(found.features.take(found.validation)))
    np.testing.assert_array_equal(learnt, training_inputs(described, found, seed=3))
    inside = full.transform(found.features.take(found.train))
    differ = (learnt != inside).any(0)
    assert differ.tolist() == [False, True, False]  # n, the mean target, the code
    plain = replace(described, steps={"categories": Categories()})
    np.testing.assert_array_equal(
        training_inputs(plain, found, seed=3),
        cached_preprocessor(plain, found).transform(found.features.take(found.train)),
    )


def test_a_logarithm_is_refused_where_there_is_none() -> None:
    found = task({"x": list(range(40))}, np.arange(40) - 1.5, kind="regression")
    with pytest.raises(InfeasibleCandidate, match=r"positive for its logarithm .* got -1\.5"):
        cached_preprocessor(TablePipeline(Training(()), target="log"), found)


def test_predictions_of_logarithms_stay_near_what_was_seen() -> None:
    y = np.exp(np.random.default_rng(0).normal(5, 2, 100))
    found = task({"x": list(range(100))}, y, kind="regression")
    target = pipelines.target_transform_of(found, TablePipeline(Training(()), target="log"))
    scaled = target.transform(found.target[found.train])
    assert scaled.mean() == pytest.approx(0, abs=1e-5)
    assert scaled.std() == pytest.approx(1, abs=1e-5)
    back = target.predictions(scaled[:, None])
    assert back == pytest.approx(found.target[found.train], rel=1e-5)
    wild = target.predictions(np.array([[1e6], [-1e6]], np.float32))
    seen = found.target[found.train]
    assert wild == pytest.approx([seen.max() * np.exp(target.std), seen.min() / np.exp(target.std)])
    assert target.max_difference(back, back * np.exp(0.5 * target.std)) == pytest.approx(0.5)
