from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.data.column_inference import infer_column_format
from netwright.data.number_formats import NumberFormat
from netwright.data.tables import convert_frame, infer_table


def infer(values: list[Any]) -> Any:
    return infer_column_format(np.array(values, object), "a")


@pytest.mark.parametrize(
    ("values", "kind", "reading"),
    [
        (["12 kg", "5kg", None], "numeric", "numbers in kg"),
        (["1,5", "2,75"], "numeric", "numbers with a decimal comma"),
        (["$1,200", "$900"], "numeric", "numbers in $ with commas between thousands"),
        (["0 days 00:00:05", "1 days"], "numeric", "durations, in seconds"),
        (["2020-01", "2020-02"], "date", ""),
        (["2020Q1", "2020Q4"], "date", ""),
        (["id_007", "id_008"], "category", ""),
        (["A12", "B7"], "category", ""),
        (["Q3", "Q4"], "category", ""),
        (["5kg", "500g"], "category", ""),
        (["5kg", 7], "category", ""),
    ],
)
def test_texts_have_the_expected_kind_and_format(
    values: list[Any], kind: str, reading: str
) -> None:
    shown = infer(values)
    assert (shown.kind, shown.read_as) == (kind, reading)


def test_stray_unit_is_noted() -> None:
    note = infer([f"{i} kg" for i in range(99)] + ["5 lb"]).note
    assert "'5 lb' is not a number in kg, though 99 of 100 values are" in note


def test_words_among_numbers_are_noted() -> None:
    shown = infer(["1", "unknown", "-", "unknown", "?"])
    assert shown.kind == "numeric"
    assert shown.note == "Column 'a': 'unknown', '-' among numbers count as missing (3 rows)."
    assert infer(["5 kg", "unknown", "7 kg"]).number_format == NumberFormat("kg")


def test_impossible_dates_are_noted() -> None:
    frame = pd.DataFrame({"d": ["2024-02-30", "2024-02-28", "", "0000-00-00"], "x": range(4)})
    _, notes = infer_table(frame)
    assert notes == (
        "Column 'd': dates that do not exist ('2024-02-30', '0000-00-00') count as missing "
        "(2 rows).",
    )


def test_texts_merged_into_one_category_are_noted() -> None:
    _, notes = infer_table(pd.DataFrame({"c": ["07", "7", "x", "y ", "y"]}))
    assert notes == ("Column 'c': '07', '7' are taken as one category, and 1 more such group.",)


def test_declared_categories_keep_their_texts() -> None:
    texts = ["7", "07", "NA", "1E2", "100"]
    table, notes = infer_table(pd.DataFrame({"c": pd.Categorical(texts)}))
    assert table["c"].tolist() == texts
    assert notes == ()
    again = convert_frame(pd.DataFrame({"c": ["07", " 07 ", "NA", ""]}), table.columns)
    assert again["c"].tolist() == ["07", "07", "NA", ""]


def test_numbers_keep_their_unit() -> None:
    table, _ = infer_table(pd.DataFrame({"w": ["1.5 kg", "2 kg"]}))
    again = convert_frame(pd.DataFrame({"w": [1.5, 2.0]}), table.columns)
    assert again["w"].tolist() == table["w"].tolist() == [1.5, 2]
    with pytest.raises(ValueError, match="column 'w' must hold numbers in kg, got '3 lb' in row 1"):
        convert_frame(pd.DataFrame({"w": ["3 lb"]}), table.columns)


def test_categorical_dates_are_dates() -> None:
    days = pd.to_datetime(["2024-01-01", "2024-01-02"]).astype("datetime64[ns]")
    table, _ = infer_table(pd.DataFrame({"d": pd.Categorical(days)}))
    assert table.columns[0].kind == "date"
    texts, _ = infer_table(pd.DataFrame({"d": pd.Categorical(["2024-01-01", "x"])}))
    again = convert_frame(pd.DataFrame({"d": days}), texts.columns)
    assert again["d"].tolist() == ["2024-01-01", "2024-01-02"]


def test_dates_beyond_nanoseconds_are_noted() -> None:
    _, notes = infer_table(pd.DataFrame({"d": ["2024-01-01", "9999-12-31", "2500-01-01"]}))
    assert notes == (
        "Column 'd': dates before 1677 or after 2262 are clipped to that range (2 rows).",
    )


@pytest.mark.parametrize("other", [20_240_131, 1_700_000_001])
def test_implausible_nanoseconds_are_refused(other: int) -> None:
    table, _ = infer_table(pd.DataFrame({"d": pd.date_range("2024", periods=3)}))
    with pytest.raises(ValueError, match=rf"nanoseconds since 1970, got {other} in row 2"):
        convert_frame(pd.DataFrame({"d": [0, other]}), table.columns)


def test_a_quarter_is_the_same_in_a_frame_and_its_csv() -> None:
    quarters = pd.period_range("2024Q1", periods=3, freq="Q-MAR")
    frame, _ = infer_table(pd.DataFrame({"q": quarters}))
    texts, _ = infer_table(pd.DataFrame({"q": quarters.astype(str)}))
    assert frame["q"].tolist() == texts["q"].tolist()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["12/31/2024 2:05 PM"] * 9, "is a date in an unsupported format"),
        (["31-12-24"] * 9, "is a date in an unsupported format"),
        (["1", "2", "3"] * 30 + ["00:05:00", "x"], "'x' is not a number"),
        (["12.31.2024", "13.01.2024"] * 9, "whether the day or the month comes first"),
    ],
)
def test_near_miss_note_gives_the_true_reason(values: list[Any], why: str) -> None:
    shown = infer(values)
    assert shown.kind == "category"
    assert why in shown.note


def test_month_first_dates_with_dots_are_dates() -> None:
    assert infer(["12.31.2024", "01.15.2024"]).date_order == "month"


def test_odd_texts_are_fast_and_raise_nothing() -> None:
    odd = ["-" + " " * 5_000 + "x", "\udcff", 10**5_000, "a"]
    assert infer(odd).kind == "category"
    table, _ = infer_table(pd.DataFrame({"c": odd}))
    assert all(text.encode() for text in table["c"].tolist())
