"""Each step does the same thing to arrays and as ONNX nodes, on ordinary and on nasty rows."""

from dataclasses import replace

import numpy as np
import pytest
from step_tools import categories, numbers, run

from netwright.data.columns import MISSING_DATE
from netwright.data.task import Column, Images, Table, Task
from netwright.networks.training.recipe import Training
from netwright.pipelines import pipeline
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.channel_scaling import Scale
from netwright.pipelines.preprocessing.numeric import Numeric

NASTY = numbers(a=[np.nan, np.inf, -np.inf, 1e30, 0, -0.0, 1e-30], b=[np.nan, 1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("scale", ["standard", "robust"])
@pytest.mark.parametrize("indicator", [True, False])
def test_numbers_agree_with_their_nodes(scale: str, indicator: bool) -> None:
    rng = np.random.default_rng(0)
    table = numbers(a=rng.lognormal(size=50), b=np.where(rng.random(50) < 0.2, np.nan, 7.0))
    fitted = Numeric(scale, indicator).fit(table)
    for rows in (table, NASTY):
        nodes = OnnxGraphBuilder()
        assert np.array_equal(run(nodes, fitted.to_onnx(nodes), rows), fitted.transform(rows))
    assert np.isfinite(fitted.transform(NASTY)).all()


def test_what_is_missing_gets_the_median_and_a_flag() -> None:
    table = numbers(full=[1, 2, 3, 10], holes=[np.nan, 1, 5, 6])
    x = Numeric().fit(table).transform(table)
    assert x.shape == (4, 3)  # a flag only for the column that had holes
    assert list(x[:, 2]) == [1, 0, 0, 0]
    assert x[0, 1] == x[2, 1]  # 5 is the median of what is known


def test_scales_are_what_they_say() -> None:
    values = np.random.default_rng(1).normal(5, 3, 400)
    x = Numeric().fit(numbers(a=values)).transform(numbers(a=values))[:, 0]
    assert abs(x.mean()) < 1e-4
    assert abs(x.std() - 1) < 1e-4
    wild = np.append(values, 1e9)
    squeezed = Numeric("robust").fit(numbers(a=wild)).transform(numbers(a=wild))[:, 0]
    assert squeezed.max() == pytest.approx(3, abs=1e-3)  # the squeeze's own bound


def test_a_column_without_width_does_not_divide_by_zero() -> None:
    table = numbers(constant=[4, 4, 4], empty=[np.nan] * 3)
    for scale in ("standard", "robust"):
        assert np.isfinite(Numeric(scale).fit(table).transform(table)).all()


def test_dates_become_days_and_agree_with_their_nodes() -> None:
    day = 86_400 * 10**9
    when = np.array([0, day, 10 * day, MISSING_DATE, 365 * 50 * day + 1], np.int64)
    table = Table((Column("when", "date"),), {"when": when})
    fitted, nodes = Numeric().fit(table), OnnxGraphBuilder()
    x = fitted.transform(table)
    assert np.array_equal(run(nodes, fitted.to_onnx(nodes), table), x)
    steps = np.diff(x[:3, 0])
    assert steps[1] == pytest.approx(9 * steps[0], rel=1e-3)
    assert list(x[:, 1]) == [0, 0, 0, 1, 0]


def test_categories_get_codes_and_the_unseen_gets_zero() -> None:
    table = categories(colour=["red", "blue", "", "red"], size=["s", "m", "l", "s"])
    fitted = Categories().fit(table)
    assert fitted.cardinalities == (4, 4)
    new = categories(colour=["red", "green", "", "Blue"], size=["xl", "m", "", "s"])
    codes = fitted.transform(new)
    assert codes[0, 0] == codes[0, 0] != 0
    assert list(codes[:, 0] == 0) == [False, True, False, True]
    assert list(codes[:, 1] == 0) == [True, False, True, False]
    for rows in (table, new):
        nodes = OnnxGraphBuilder()
        assert np.array_equal(run(nodes, fitted.to_onnx(nodes), rows), fitted.transform(rows))


def test_rare_categories_count_as_unseen() -> None:
    table = categories(a=["x"] * 5 + ["y"], b=["p", "q", "r", "s", "t", "u"])
    fitted, nodes = Categories(min_frequency=3).fit(table), OnnxGraphBuilder()
    assert fitted.cardinalities == (2, 1)
    assert list(fitted.transform(table)[:, 0]) == [1] * 5 + [0]
    assert np.array_equal(run(nodes, fitted.to_onnx(nodes), table), fitted.transform(table))


def test_pixels_scale_by_channel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
    fitted = Scale().fit(Images(pixels))
    assert np.allclose(fitted.mean, pixels.mean((0, 1, 2)), rtol=1e-5)
    assert np.allclose(fitted.std, pixels.std((0, 1, 2)), rtol=1e-5)
    assert Scale().fit(Images(np.zeros((3, 2, 2, 1), np.uint8))).std == (1.0,)


def test_a_preparation_is_fitted_once_for_all_candidates_of_the_same_steps(
    binary_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[object] = []
    real = pipeline.fit_preprocessor
    monkeypatch.setattr(pipeline, "prepare", lambda *a: fitted.append(a[0]) or real(*a))
    found = replace(binary_task)  # a task that nobody has prepared yet
    one = pipeline.TablePipeline(Training((), lr=0.1), {"numeric": Numeric("robust")})
    other = pipeline.TablePipeline(Training((), lr=0.2), {"numeric": Numeric("robust")})
    assert pipeline.cached_preprocessor(one, found) is pipeline.cached_preprocessor(other, found)
    pipeline.cached_preprocessor(
        pipeline.TablePipeline(Training(()), {"numeric": Numeric("standard")}), found
    )
    assert len(fitted) == 2
