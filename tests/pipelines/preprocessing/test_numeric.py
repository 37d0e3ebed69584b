"""Numbers and dates, beyond `test_steps`."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_tools import agrees_with_onnx, dates, numbers, run_step_onnx, side_by_side

from netwright.data.columns import MISSING_DATE
from netwright.pipelines.preprocessing.dates import DATE_PARTS, calendar
from netwright.pipelines.preprocessing.numeric import Numeric

MAX_INT64 = int(np.iinfo(np.int64).max)
EXTREME = numbers(
    a=[np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, -0.0, 1e-40], b=[np.nan, 1, 2, 3, 4, 5, 6]
)
float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize("scale", ["none", "standard", "robust", "quantile"])
@pytest.mark.parametrize("missing", ["fill", "keep"])
@pytest.mark.parametrize("add_indicator", [True, False])
def test_every_setting_equals_its_onnx(scale: str, missing: str, add_indicator: bool) -> None:
    rng = np.random.default_rng(0)
    with_missing = np.where(rng.random(400) < 0.2, np.nan, rng.integers(0, 4, 400))
    table = numbers(a=rng.lognormal(size=400), b=with_missing)
    fitted = Numeric(scale, add_indicator, missing).fit(table)
    assert agrees_with_onnx(fitted, table, EXTREME)
    present = np.isfinite(EXTREME["a"])
    x = fitted.transform(EXTREME)
    assert np.isfinite(x[present, 0]).all()
    assert np.isnan(x[~present, 0]).all() == (missing == "keep")
    assert x.shape[1] == 2 + add_indicator


def test_missing_keep_returns_nan_and_scales_the_rest() -> None:
    table = numbers(a=[1, 2, np.nan, np.inf, 4])
    unscaled = Numeric("none", add_indicator=False, missing="keep").fit(table).transform(table)
    np.testing.assert_array_equal(unscaled[:, 0], [1, 2, np.nan, np.nan, 4])
    scaled = Numeric("standard", False, "keep").fit(table).transform(table)
    filled = Numeric("standard", False).fit(table).transform(table)
    present = np.isfinite(table["a"])
    np.testing.assert_array_equal(scaled[present], filled[present])


def test_quantile_scaling_makes_any_distribution_normal() -> None:
    rng = np.random.default_rng(1)
    lognormal = np.exp(3 * rng.normal(size=5000))
    fitted = Numeric("quantile").fit(numbers(a=lognormal))
    x = fitted.transform(numbers(a=rng.permutation(np.exp(3 * rng.normal(size=5000)))))[:, 0]
    quantiles = np.quantile(x, [0.02, 0.16, 0.5, 0.84, 0.98])
    assert quantiles == pytest.approx([-2.05, -1, 0, 1, 2.05], abs=0.15)
    order = np.argsort(lognormal, kind="stable")
    assert (np.diff(fitted.transform(numbers(a=lognormal))[order, 0]) >= -1e-6).all()


def test_quantile_scaling_clips_at_the_outer_quantiles() -> None:
    values = np.arange(1000.0)
    fitted = Numeric("quantile").fit(numbers(a=values))
    x = fitted.transform(numbers(a=[-1e30, 0, 999, 1e30]))[:, 0]
    assert x[0] == x[1] == -x[3]
    assert x[2] == x[3] == pytest.approx(3.29, abs=0.01)  # half a row from the end


def test_equal_quantiles_become_one_knot_in_their_middle() -> None:
    values = np.r_[np.zeros(600), np.linspace(1, 2, 400)]
    fitted = Numeric("quantile").fit(numbers(a=values))
    at_zero = fitted.transform(numbers(a=[0.0]))[0, 0]
    assert at_zero == pytest.approx(-0.52, abs=0.05)  # the normal's quantile at .3
    constant = Numeric("quantile").fit(numbers(a=[7, 7, 7], none=[np.nan] * 3))
    assert agrees_with_onnx(constant, numbers(a=[7, 8, np.nan], none=[1, 2, np.inf]))
    assert (constant.transform(numbers(a=[7, 8], none=[1, 2]))[:, :2] == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(float32, min_size=1, max_size=30), st.lists(float32, min_size=1, max_size=10))
def test_any_float32_equals_its_onnx_on_any_scale(
    train_values: list[float], new_values: list[float]
) -> None:
    table, new_rows = numbers(a=train_values), numbers(a=new_values)
    for scale in ("standard", "robust", "quantile"):
        fitted = Numeric(scale).fit(table)
        np.testing.assert_allclose(
            run_step_onnx(fitted, new_rows), fitted.transform(new_rows), rtol=1e-5, atol=1e-6
        )
        assert np.isfinite(fitted.transform(new_rows)).all()


def random_dates(n: int, seed: int = 0) -> np.ndarray:
    """Return dates over the range of int64 nanoseconds, with its ends and ends of days and years."""
    rng = np.random.default_rng(seed)
    boundaries = np.array(
        ["1700-03-01", "1899-12-31T23:59:59.999999999", "1900-02-28", "1970-01-01", "2000-02-29",
         "2100-03-01", "2000-12-31T23:00"], "datetime64[ns]",
    )  # fmt: skip
    present = boundaries.astype(np.int64)
    return np.r_[
        rng.integers(-MAX_INT64, MAX_INT64, n), present, present - 1, [-MAX_INT64, MAX_INT64, 0, -1]
    ]


def test_calendar_equals_pandas() -> None:
    nanoseconds = random_dates(20_000)
    expected = pd.DatetimeIndex(nanoseconds.view("datetime64[ns]"))
    parts = calendar(nanoseconds)
    for part in DATE_PARTS:
        name = "day_of_week" if part == "weekday" else part
        np.testing.assert_array_equal(parts[part], getattr(expected, name), err_msg=part)


def test_date_parts_equal_pandas_and_their_onnx() -> None:
    nanoseconds = np.r_[random_dates(500, seed=1), MISSING_DATE]
    table = side_by_side(dates(when=nanoseconds), numbers(n=np.arange(len(nanoseconds))))
    fitted = Numeric("none", missing="keep", date_parts=True).fit(table)
    assert fitted.date_parts == {"when": DATE_PARTS}
    assert agrees_with_onnx(fitted, table, table.take(np.arange(3)))
    x = fitted.transform(table)
    assert x.shape[1] == 2 + 5 + 1  # an indicator for the date only
    assert np.isnan(x[-1, [0, 2, 3, 4, 5, 6]]).all()
    expected = pd.DatetimeIndex(nanoseconds[:-1].view("datetime64[ns]"))
    np.testing.assert_array_equal(x[:-1, 2], expected.year)
    np.testing.assert_array_equal(x[:-1, 6], expected.hour)
    assert agrees_with_onnx(
        Numeric(date_parts=True).fit(table), table
    )  # imputed and scaled like numbers


def test_constant_date_parts_are_left_out() -> None:
    days = pd.date_range("2024-03-01", periods=20, freq="D").to_numpy()
    table = dates(when=days.astype("datetime64[ns]").astype(np.int64), none=[MISSING_DATE] * 20)
    assert Numeric(date_parts=True).fit(table).date_parts == {"when": ("day", "weekday")}
    assert Numeric().fit(table).date_parts == {}
