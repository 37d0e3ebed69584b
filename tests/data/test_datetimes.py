from datetime import time, timedelta

import numpy as np
import pandas as pd
import pytest

from netwright.data.columns import Column, convert_column, to_number
from netwright.data.datetimes import array_to_seconds, to_nanoseconds, to_seconds


@pytest.mark.parametrize("freq", ["D", "W", "M", "Q", "h", "min", "s"])
def test_period_is_a_date_in_frame_and_csv(freq: str) -> None:
    periods = pd.period_range("2021-02-03", periods=4, freq=freq)
    starts = [start.value for start in periods.start_time]
    assert [to_nanoseconds(period) for period in periods] == starts
    assert [to_nanoseconds(str(period)) for period in periods] == starts
    column = Column("p", "date")
    assert convert_column(column, np.asarray(pd.Series(periods))).tolist() == starts


def test_yearly_period_is_a_number_as_in_csv() -> None:
    years = pd.period_range("2019", periods=3, freq="Y")
    assert [to_number(year) for year in years] == [2019, 2020, 2021]
    assert [to_number(str(year)) for year in years] == [2019, 2020, 2021]


def test_every_duration_type_gives_the_same_seconds() -> None:
    spans = pd.Series(pd.to_timedelta(["1s", "-5min", "3 days 02:00:00.25", "17ns", None]))
    seconds = array_to_seconds(np.asarray(spans))
    assert seconds.tolist()[:4] == [1, -300, 266_400.25, 1.7e-8]
    assert np.isnan(seconds[4])
    for span, expected_seconds in zip(spans[:4], seconds[:4], strict=True):
        assert (
            to_number(span) == to_number(str(span)) == to_seconds(np.timedelta64(span.value, "ns"))
        )
        assert to_number(span) == expected_seconds
    assert to_number("1 day, 2:03:04") == to_number(
        timedelta(days=1, hours=2, minutes=3, seconds=4)
    )
    assert to_number(time(1, 30)) == to_number("01:30:00") == 5400


@pytest.mark.parametrize("text", ["3:1", "soon", "12 apples", "1:2:3:4", "25:61:00"])
def test_other_texts_are_not_durations(text: str) -> None:
    assert to_seconds(text) is None
    assert to_number(text) is None


@pytest.mark.parametrize("text", ["2020-13", "0999-05", "2020Q5", "1234"])
def test_other_texts_are_not_periods(text: str) -> None:
    assert to_nanoseconds(text) is None
