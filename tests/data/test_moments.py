from datetime import time, timedelta

import numpy as np
import pandas as pd
import pytest

from netwright.data.columns import Column, convert_column, number
from netwright.data.datetimes import moment, seconds_array, seconds_of


@pytest.mark.parametrize("freq", ["D", "W", "M", "Q", "h", "min", "s"])
def test_a_period_is_a_date_in_a_frame_and_in_its_csv(freq: str) -> None:
    periods = pd.period_range("2021-02-03", periods=4, freq=freq)
    starts = [start.value for start in periods.start_time]
    assert [moment(period) for period in periods] == starts
    assert [moment(str(period)) for period in periods] == starts
    column = Column("p", "date")
    assert convert_column(column, np.asarray(pd.Series(periods))).tolist() == starts


def test_a_yearly_period_is_the_number_of_its_csv() -> None:
    years = pd.period_range("2019", periods=3, freq="Y")
    assert [number(year) for year in years] == [2019, 2020, 2021]
    assert [number(str(year)) for year in years] == [2019, 2020, 2021]


def test_durations_are_the_same_seconds_however_they_came() -> None:
    spans = pd.Series(pd.to_timedelta(["1s", "-5min", "3 days 02:00:00.25", "17ns", None]))
    seconds = seconds_array(np.asarray(spans))
    assert seconds.tolist()[:4] == [1, -300, 266_400.25, 1.7e-8]
    assert np.isnan(seconds[4])
    for span, wanted in zip(spans[:4], seconds[:4], strict=True):
        assert number(span) == number(str(span)) == seconds_of(np.timedelta64(span.value, "ns"))
        assert number(span) == wanted
    assert number("1 day, 2:03:04") == number(timedelta(days=1, hours=2, minutes=3, seconds=4))
    assert number(time(1, 30)) == number("01:30:00") == 5400


@pytest.mark.parametrize("text", ["3:1", "soon", "12 apples", "1:2:3:4", "25:61:00"])
def test_what_is_no_duration_is_no_number(text: str) -> None:
    assert seconds_of(text) is None
    assert number(text) is None


@pytest.mark.parametrize("text", ["2020-13", "0999-05", "2020Q5", "1234"])
def test_what_is_no_period_is_no_date(text: str) -> None:
    assert moment(text) is None
