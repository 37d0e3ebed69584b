import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.data.columns import (
    Column,
    as_boolean,
    as_category,
    as_date,
    as_numbers,
    canonical_text,
    convert_column,
)
from netwright.data.datetimes import MISSING_DATE
from netwright.data.na_values import DEFAULT_NA_VALUES
from netwright.errors import InputError

DAY = 86_400 * 10**9


def test_columns_module_imports_only_numpy() -> None:
    code = (
        "import sys, netwright.data.columns; "
        "print({'pandas', 'torch', 'sklearn', 'PIL'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("same", "text"),
    [
        ([3, 3.0, "3", "3.0", " 3 ", "03", np.int8(3), np.float32(3), Decimal(3), b"3"], "3"),
        ([True, np.True_, "True", "true", "TRUE"], "true"),
        ([0.1, np.float32(0.1), "0.1", "0.10", ".1"], "0.1"),
        ([-0.0, 0, "0", "-0"], "0"),
        ([None, np.nan, pd.NA, pd.NaT, "", "  ", "NA", "?", "nan", np.datetime64("NaT")], ""),
        (["blue", " blue "], "blue"),
    ],
)
def test_equal_categories_have_one_canonical_text(same: list[object], text: str) -> None:
    assert {canonical_text(cell) for cell in same} == {text}
    assert set(as_category(same)) == {text}


@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none()))
@settings(deadline=None)
def test_canonical_text_is_idempotent(cell: object) -> None:
    assert canonical_text(canonical_text(cell)) == canonical_text(cell)


def test_true_and_one_are_two_categories() -> None:
    assert list(as_category([True, 1, 1.0, False, 0])) == ["true", "1", "1", "false", "0"]
    assert list(as_boolean([True, 1, 0.0, "False", None])) == [
        "true", "true", "false", "false", "",
    ]  # fmt: skip


def test_integers_stored_as_floats_keep_their_categories() -> None:
    whole, holed = pd.Series([7, 12, 7]), pd.Series([7, None, 12])
    assert list(as_category(whole.to_numpy())) == ["7", "12", "7"]
    assert list(as_category(holed.to_numpy())) == ["7", "", "12"]
    assert list(as_category(holed.astype("Int64"))) == ["7", "", "12"]
    assert list(as_category(holed.astype("Int64").astype("category"))) == ["7", "", "12"]


def test_na_texts_are_those_of_pandas_plus_question_mark() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert STR_NA_VALUES | {"?"} == DEFAULT_NA_VALUES.texts


def test_numbers_come_from_numbers_booleans_durations_and_texts() -> None:
    got = as_numbers([1, 2.5, "3e2", " -4 ", True, Decimal("0.5"), timedelta(minutes=2), None, "?"])
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [1, 2.5, 300, -4, 1, 0.5, 120, np.nan, np.nan])
    spans = np.array([90, "NaT"], "timedelta64[s]")
    np.testing.assert_array_equal(as_numbers(spans), [90, np.nan])


def test_a_number_beyond_float32_is_infinite() -> None:
    column = Column("a", "numeric")
    assert list(convert_column(column, np.array([1e300, -1e300]))) == [np.inf, -np.inf]
    assert list(convert_column(column, [10**400, -(10**400)])) == [np.inf, -np.inf]


@pytest.mark.parametrize("text", ["abc", "1_000", "12 kg", "1,5"])
def test_text_among_numbers_error_names_the_row(text: str) -> None:
    with pytest.raises(InputError, match=rf"column 'age' must hold numbers, got '{text}' in row 2"):
        as_numbers(["1", text, "3"], "age")
    with pytest.raises(InputError, match=f"got '{text}'"):
        as_numbers(np.array(["1", text]), "age")


def test_every_date_format_gives_the_same_nanoseconds() -> None:
    noon = [
        "2024-03-01 12:00", "2024/3/1 12:00:00", "2024-03-01T12:00:00Z",
        "2024-03-01T14:00:00+02:00", "2024-03-01 07:30:00.000-0430", datetime(2024, 3, 1, 12),
        datetime(2024, 3, 1, 12, tzinfo=UTC), pd.Timestamp("2024-03-01 12:00"),
        datetime(2024, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))),
        np.datetime64("2024-03-01T12"),
    ]  # fmt: skip
    expected = pd.Timestamp("2024-03-01 12:00").value
    assert set(as_date(noon).tolist()) == {expected}
    assert set(as_date(["2024-03-01", date(2024, 3, 1)]).tolist()) == {expected - DAY // 2}


def test_missing_and_impossible_dates_are_missing() -> None:
    values = [None, "", pd.NaT, "0000-00-00", "2023-02-30", np.nan]
    assert as_date(values).tolist() == [MISSING_DATE] * 6
    assert as_date(np.array(["NaT"], "datetime64[D]")).tolist() == [MISSING_DATE]
    assert as_date(np.array([np.nan])).tolist() == [MISSING_DATE]


@pytest.mark.parametrize("unit", ["D", "s", "ms", "us", "ns"])
def test_numpy_dates_of_any_unit_agree(unit: str) -> None:
    array = np.array(["2024-03-01", "1969-07-20"], f"datetime64[{unit}]")
    assert as_date(array).tolist() == [19783 * DAY, -165 * DAY]


def test_far_dates_are_clipped_not_wrapped() -> None:
    end, start = np.iinfo(np.int64).max // 1000 * 1000, 1678
    far = as_date(np.array(["9999-12-31", "0001-01-01"], "datetime64[us]"))
    assert far[0] >= end
    assert MISSING_DATE < far[1] < pd.Timestamp(f"{start}-01-01").value
    assert as_date(["9999-12-31"])[0] >= end


def test_nanoseconds_are_kept() -> None:
    array = np.array(["2024-03-01T00:00:00.123456789"], "datetime64[ns]")
    assert as_date(array)[0] == array.astype(np.int64)[0]


@pytest.mark.parametrize("text", ["3/1/2024", "soon", "2024", "12:30"])
def test_a_text_among_dates_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"column 'day' must hold dates .* in row 2"):
        as_date(["2024-01-01", text], "day")


def test_a_container_in_a_cell_is_refused() -> None:
    with pytest.raises(InputError, match="column 'x' must hold one value in each row"):
        as_numbers(np.array([[1], [2, 3]], dtype=object), "x")


def test_two_dimensional_array_is_not_a_column() -> None:
    with pytest.raises(InputError, match=r"must be one column, got an array of shape \(2, 2\)"):
        as_category(np.ones((2, 2)))


def test_repeated_texts_are_converted_once() -> None:
    texts = np.array(["a", "b", "12", "?"] * 100_000, dtype=object)
    start = time.perf_counter()
    as_category(texts)
    assert time.perf_counter() - start < 1  # about 0.06 s; a conversion for each takes over 0.5 s
