"""Numbers and dates: what `test_steps` does not show of them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_tools import agree, both, dates, emitted, numbers

from netwright.data.columns import MISSING_DATE
from netwright.pipelines.preprocessing.dates import DATE_PARTS, calendar
from netwright.pipelines.preprocessing.numeric import Numeric

EDGE = int(np.iinfo(np.int64).max)
NASTY = numbers(
    a=[np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, -0.0, 1e-40], b=[np.nan, 1, 2, 3, 4, 5, 6]
)
float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize("scale", ["none", "standard", "robust", "quantile"])
@pytest.mark.parametrize("missing", ["fill", "keep"])
@pytest.mark.parametrize("indicator", [True, False])
def test_every_scale_agrees_with_its_nodes(scale: str, missing: str, indicator: bool) -> None:
    rng = np.random.default_rng(0)
    holed = np.where(rng.random(400) < 0.2, np.nan, rng.integers(0, 4, 400))
    table = numbers(a=rng.lognormal(size=400), b=holed)
    fitted = Numeric(scale, indicator, missing).fit(table)
    assert agree(fitted, table, NASTY)
    known = np.isfinite(NASTY["a"])
    x = fitted.transform(NASTY)
    assert np.isfinite(x[known, 0]).all()
    assert np.isnan(x[~known, 0]).all() == (missing == "keep")
    assert x.shape[1] == 2 + indicator


def test_what_is_kept_is_scaled_like_the_rest() -> None:
    table = numbers(a=[1, 2, np.nan, np.inf, 4])
    kept = Numeric("none", add_indicator=False, missing="keep").fit(table).transform(table)
    np.testing.assert_array_equal(kept[:, 0], [1, 2, np.nan, np.nan, 4])
    scaled = Numeric("standard", False, "keep").fit(table).transform(table)
    filled = Numeric("standard", False).fit(table).transform(table)
    known = np.isfinite(table["a"])
    np.testing.assert_array_equal(scaled[known], filled[known])


def test_quantiles_make_a_normal_of_anything_that_varies() -> None:
    rng = np.random.default_rng(1)
    wild = np.exp(3 * rng.normal(size=5000))
    fitted = Numeric("quantile").fit(numbers(a=wild))
    x = fitted.transform(numbers(a=rng.permutation(np.exp(3 * rng.normal(size=5000)))))[:, 0]
    shares = np.quantile(x, [0.02, 0.16, 0.5, 0.84, 0.98])
    assert shares == pytest.approx([-2.05, -1, 0, 1, 2.05], abs=0.15)
    order = np.argsort(wild, kind="stable")
    assert (np.diff(fitted.transform(numbers(a=wild))[order, 0]) >= -1e-6).all()


def test_outside_of_the_quantiles_nothing_is_further_out() -> None:
    values = np.arange(1000.0)
    fitted = Numeric("quantile").fit(numbers(a=values))
    x = fitted.transform(numbers(a=[-1e30, 0, 999, 1e30]))[:, 0]
    assert x[0] == x[1] == -x[3]
    assert x[2] == x[3] == pytest.approx(3.29, abs=0.01)  # half a row from the end


def test_equal_quantiles_are_one_knot_in_their_middle() -> None:
    values = np.r_[np.zeros(600), np.linspace(1, 2, 400)]
    fitted = Numeric("quantile").fit(numbers(a=values))
    at_zero = fitted.transform(numbers(a=[0.0]))[0, 0]
    assert at_zero == pytest.approx(-0.52, abs=0.05)  # the normal's quantile at .3
    constant = Numeric("quantile").fit(numbers(a=[7, 7, 7], none=[np.nan] * 3))
    assert agree(constant, numbers(a=[7, 8, np.nan], none=[1, 2, np.inf]))
    assert (constant.transform(numbers(a=[7, 8], none=[1, 2]))[:, :2] == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(float32, min_size=1, max_size=30), st.lists(float32, min_size=1, max_size=10))
def test_any_numbers_agree_on_any_scale(learnt: list[float], new: list[float]) -> None:
    table, more = numbers(a=learnt), numbers(a=new)
    for scale in ("standard", "robust", "quantile"):
        fitted = Numeric(scale).fit(table)
        np.testing.assert_allclose(
            emitted(fitted, more), fitted.transform(more), rtol=1e-5, atol=1e-6
        )
        assert np.isfinite(fitted.transform(more)).all()


def random_moments(n: int, seed: int = 0) -> np.ndarray:
    """All over what nanoseconds reach, its ends and the turns of days and years among them."""
    rng = np.random.default_rng(seed)
    turns = np.array(
        ["1700-03-01", "1899-12-31T23:59:59.999999999", "1900-02-28", "1970-01-01", "2000-02-29",
         "2100-03-01", "2000-12-31T23:00"], "datetime64[ns]",
    )  # fmt: skip
    known = turns.astype(np.int64)
    return np.r_[rng.integers(-EDGE, EDGE, n), known, known - 1, [-EDGE, EDGE, 0, -1]]


def test_the_calendar_is_that_of_pandas() -> None:
    moments = random_moments(20_000)
    theirs = pd.DatetimeIndex(moments.view("datetime64[ns]"))
    ours = calendar(moments)
    for part in DATE_PARTS:
        name = "day_of_week" if part == "weekday" else part
        np.testing.assert_array_equal(ours[part], getattr(theirs, name), err_msg=part)


def test_parts_of_dates_agree_with_their_nodes() -> None:
    moments = np.r_[random_moments(500, seed=1), MISSING_DATE]
    table = both(dates(when=moments), numbers(n=np.arange(len(moments))))
    fitted = Numeric("none", missing="keep", date_parts=True).fit(table)
    assert fitted.date_parts == {"when": DATE_PARTS}
    assert agree(fitted, table, table.take(np.arange(3)))
    x = fitted.transform(table)
    assert x.shape[1] == 2 + 5 + 1  # a flag for the date alone
    assert np.isnan(x[-1, [0, 2, 3, 4, 5, 6]]).all()
    theirs = pd.DatetimeIndex(moments[:-1].view("datetime64[ns]"))
    np.testing.assert_array_equal(x[:-1, 2], theirs.year)
    np.testing.assert_array_equal(x[:-1, 6], theirs.hour)
    assert agree(Numeric(date_parts=True).fit(table), table)  # filled and scaled like numbers


def test_parts_that_do_not_vary_are_left_out() -> None:
    days = pd.date_range("2024-03-01", periods=20, freq="D").to_numpy()
    table = dates(when=days.astype("datetime64[ns]").astype(np.int64), none=[MISSING_DATE] * 20)
    assert Numeric(date_parts=True).fit(table).date_parts == {"when": ("day", "weekday")}
    assert Numeric().fit(table).date_parts == {}
