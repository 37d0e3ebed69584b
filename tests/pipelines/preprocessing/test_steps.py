"""Each step computes the same on arrays and as ONNX nodes, on ordinary and on extreme rows."""

from dataclasses import replace

import numpy as np
import pytest
from step_tools import categories, numbers, run_onnx

from netwright.data.columns import MISSING_DATE
from netwright.data.task import Column, Images, Table, Task
from netwright.networks.training.recipe import Training
from netwright.pipelines import pipeline
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.channel_scaling import Scale
from netwright.pipelines.preprocessing.numeric import Numeric

EXTREME = numbers(a=[np.nan, np.inf, -np.inf, 1e30, 0, -0.0, 1e-30], b=[np.nan, 1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("scale", ["standard", "robust"])
@pytest.mark.parametrize("add_indicator", [True, False])
def test_numeric_onnx_equals_transform(scale: str, add_indicator: bool) -> None:
    rng = np.random.default_rng(0)
    table = numbers(a=rng.lognormal(size=50), b=np.where(rng.random(50) < 0.2, np.nan, 7.0))
    fitted = Numeric(scale, add_indicator).fit(table)
    for rows in (table, EXTREME):
        builder = OnnxGraphBuilder()
        assert np.array_equal(
            run_onnx(builder, fitted.to_onnx(builder), rows), fitted.transform(rows)
        )
    assert np.isfinite(fitted.transform(EXTREME)).all()


def test_missing_numbers_get_the_median_and_an_indicator() -> None:
    table = numbers(full=[1, 2, 3, 10], holes=[np.nan, 1, 5, 6])
    x = Numeric().fit(table).transform(table)
    assert x.shape == (4, 3)  # an indicator only for the column with missing values
    assert list(x[:, 2]) == [1, 0, 0, 0]
    assert x[0, 1] == x[2, 1]  # 5 is the median of the present values


def test_standard_and_robust_scaling() -> None:
    values = np.random.default_rng(1).normal(5, 3, 400)
    x = Numeric().fit(numbers(a=values)).transform(numbers(a=values))[:, 0]
    assert abs(x.mean()) < 1e-4
    assert abs(x.std() - 1) < 1e-4
    with_outlier = np.append(values, 1e9)
    clipped = (
        Numeric("robust").fit(numbers(a=with_outlier)).transform(numbers(a=with_outlier))[:, 0]
    )
    assert clipped.max() == pytest.approx(3, abs=1e-3)  # bound of the smooth clipping


def test_constant_and_empty_columns_are_not_divided_by_zero() -> None:
    table = numbers(constant=[4, 4, 4], empty=[np.nan] * 3)
    for scale in ("standard", "robust"):
        assert np.isfinite(Numeric(scale).fit(table).transform(table)).all()


def test_dates_become_days_and_onnx_agrees() -> None:
    day = 86_400 * 10**9
    when = np.array([0, day, 10 * day, MISSING_DATE, 365 * 50 * day + 1], np.int64)
    table = Table((Column("when", "date"),), {"when": when})
    fitted, builder = Numeric().fit(table), OnnxGraphBuilder()
    x = fitted.transform(table)
    assert np.array_equal(run_onnx(builder, fitted.to_onnx(builder), table), x)
    steps = np.diff(x[:3, 0])
    assert steps[1] == pytest.approx(9 * steps[0], rel=1e-3)
    assert list(x[:, 1]) == [0, 0, 0, 1, 0]


def test_unseen_categories_get_code_zero() -> None:
    table = categories(colour=["red", "blue", "", "red"], size=["s", "m", "l", "s"])
    fitted = Categories().fit(table)
    assert fitted.cardinalities == (4, 4)
    new = categories(colour=["red", "green", "", "Blue"], size=["xl", "m", "", "s"])
    codes = fitted.transform(new)
    assert codes[0, 0] == codes[0, 0] != 0
    assert list(codes[:, 0] == 0) == [False, True, False, True]
    assert list(codes[:, 1] == 0) == [True, False, True, False]
    for rows in (table, new):
        builder = OnnxGraphBuilder()
        assert np.array_equal(
            run_onnx(builder, fitted.to_onnx(builder), rows), fitted.transform(rows)
        )


def test_rare_categories_count_as_unseen() -> None:
    table = categories(a=["x"] * 5 + ["y"], b=["p", "q", "r", "s", "t", "u"])
    fitted, builder = Categories(min_frequency=3).fit(table), OnnxGraphBuilder()
    assert fitted.cardinalities == (2, 1)
    assert list(fitted.transform(table)[:, 0]) == [1] * 5 + [0]
    assert np.array_equal(
        run_onnx(builder, fitted.to_onnx(builder), table), fitted.transform(table)
    )


def test_scale_standardizes_each_image_channel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
    fitted = Scale().fit(Images(pixels))
    assert np.allclose(fitted.mean, pixels.mean((0, 1, 2)), rtol=1e-5)
    assert np.allclose(fitted.std, pixels.std((0, 1, 2)), rtol=1e-5)
    assert Scale().fit(Images(np.zeros((3, 2, 2, 1), np.uint8))).std == (1.0,)


def test_pipelines_with_equal_steps_share_one_fitted_preprocessor(
    binary_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[object] = []
    original = pipeline.fit_preprocessor
    monkeypatch.setattr(
        pipeline, "fit_preprocessor", lambda *a: fitted.append(a[0]) or original(*a)
    )
    task = replace(binary_task)  # a copy has no cached preprocessor
    first = pipeline.TablePipeline(Training((), lr=0.1), {"numeric": Numeric("robust")})
    second = pipeline.TablePipeline(Training((), lr=0.2), {"numeric": Numeric("robust")})
    assert pipeline.cached_preprocessor(first, task) is pipeline.cached_preprocessor(second, task)
    pipeline.cached_preprocessor(
        pipeline.TablePipeline(Training(()), {"numeric": Numeric("standard")}), task
    )
    assert len(fitted) == 2
