from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.data.columns import Column
from netwright.data.datetimes import MISSING_DATE
from netwright.data.make_task import task
from netwright.data.tables import convert_frame, infer_table, load_frame, read_table_file
from netwright.errors import InputError, MissingExtra


def kinds(columns_or_rows: dict[str, Any]) -> dict[str, str]:
    table, _ = infer_table(load_frame(columns_or_rows).frame)
    return {column.name: column.kind for column in table.columns}


def test_every_column_kind_is_inferred_with_missing_cells(people: pd.DataFrame) -> None:
    table, notes = infer_table(people)
    by_name = {column.name: column.kind for column in table.columns}
    assert by_name == {
        "age": "numeric", "job": "category", "member": "boolean", "since": "date",
        "income": "category",
    }  # fmt: skip
    assert np.isnan(table["age"][3])
    assert table["job"][4] == ""
    assert table["since"][5] == MISSING_DATE
    assert table.n_missing == 3
    assert set(table["member"]) == {"true", "false"}
    assert [table[name].dtype for name in by_name] == [np.float32, object, object, np.int64, object]
    assert notes == ()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5", "?", "", "unknown"], "numeric"),
        (["1", "2.5", "x"], "category"),
        ([1, "2", None], "numeric"),
        (["true", "False", None], "boolean"),
        (["yes", "no"], "category"),
        (["2024-01-01", "2024/01/02 10:00", None], "date"),
        (["2024-01-01", "soon"], "category"),
        (["unknown", "missing"], "category"),
        (pd.Categorical(["3", "4"]), "category"),
        (pd.Categorical([3, 4]), "category"),
        (pd.Categorical(["2024-01-01", "2024-01-02"]), "date"),
        (pd.Series([1, None], dtype="Int64"), "numeric"),
        (pd.Series([True, None], dtype="boolean"), "boolean"),
        (pd.to_timedelta([1, 2], "s"), "numeric"),
        (pd.date_range("2024", periods=2, tz="Europe/Berlin"), "date"),
    ],
)
def test_the_kind_of_a_column(values: Any, kind: str) -> None:
    assert kinds({"a": values}) == {"a": kind}


def test_time_zones_become_utc() -> None:
    zoned = pd.Series(pd.to_datetime(["2024-01-01 01:00"]).tz_localize("Europe/Berlin"))
    table, _ = infer_table(pd.DataFrame({"a": zoned}))
    assert table["a"][0] == pd.Timestamp("2024-01-01").value


def test_near_miss_note_names_the_stray_value() -> None:
    values = [str(i) for i in range(99)] + ["n/k"]
    _, notes = infer_table(pd.DataFrame({"a": values}))
    assert notes == (
        "Column 'a' is taken as a category: 'n/k' is not a number, though 99 of 100 values are. "
        "Empty such cells to change that.",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [("3/1/2024", "whether the day or the month comes first"), ("1,234", "may be a decimal mark")],
)
def test_ambiguous_dates_and_numbers_are_noted(text: str, why: str) -> None:
    assert why in infer_table(pd.DataFrame({"a": [text, text, None]}))[1][0]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('id;a,b;y\n1;"x, y";2\n2;z;3\n', ["id", "a,b", "y"]),
        ("a|b|c,d\n1,2\n3,4\n", ["a|b|c", "d"]),
        ('a,b\n"1;2",3\n"4\n5",6\n', ["a", "b"]),
        ("a;b\n1;2\n", ["a", "b"]),
    ],
)
def test_separator_splits_all_lines_alike(text: str, names: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert read_table_file(tmp_path / "a.csv").frame.columns.tolist() == names


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["03/04/2024", "13/04/2024", None], "day"),
        (["03/04/2024", "04/13/2024 10:30", "NA"], "month"),
        (["3.4.2024", "4.3.2024", ""], "day"),
        (["03/04/2024", "04/03/2024"], ""),
        (["13/04/2024", "04/13/2024"], ""),
        (["13/04/2024", "soon"], ""),
    ],
)
def test_date_order_is_inferred_from_the_column(texts: list[str | None], first: str) -> None:
    table, notes = infer_table(pd.DataFrame({"a": texts, "b": range(2, 2 + len(texts))}))
    if not first:
        assert table.columns[0].kind == "category"
        return
    assert table.columns[0] == Column("a", "date", first)
    assert f"Column 'a' is read as dates, the {first} first." in notes
    day = 3 if first == "day" else 4
    month = 7 - day
    assert table["a"][0] == pd.Timestamp(2024, month, day).value
    again = convert_frame(pd.DataFrame({"a": ["05/04/2024", "2024-04-05"], "b": 1}), table.columns)
    day = 5 if first == "day" else 4
    other = pd.Timestamp(2024, 9 - day, day).value
    assert again["a"].tolist() == [other, pd.Timestamp("2024-04-05").value]
    with pytest.raises(InputError, match=r"dates such as .*2024, got '40/40/2024x'"):
        convert_frame(pd.DataFrame({"a": ["40/40/2024x"], "b": 1}), table.columns)


def test_decimal_comma_is_read_beside_semicolons(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b;c\n1,500;2;x,1\n-3,250;4;y\n;5;z\n")
    read = read_table_file(tmp_path / "a.csv")
    table, notes = infer_table(read.frame, decimal_comma=read.decimal_comma)
    assert table["a"].tolist()[:2] == [1.5, -3.25]
    assert table["b"].tolist() == [2, 4, 5]
    assert table["c"].tolist()[0] == "x,1"
    assert table.columns[0].decimal == ","
    assert notes == ("Column 'a' is read as numbers with a decimal comma.",)


def test_empty_columns_are_dropped_with_a_note() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [None, None], "c": [np.nan, np.nan]})
    table, notes = infer_table(frame)
    assert [column.name for column in table.columns] == ["a"]
    assert notes == ("2 columns ('b', 'c') are dropped: no row has a value.",)
    endless, _ = infer_table(pd.DataFrame({"a": [1.0, 2.0], "b": [np.inf, np.nan]}))
    assert set(endless.arrays) == {"a"}  # the file takes what is in the columns, and no more
    with pytest.raises(InputError, match=r"column to learn from, got only empty ones \(b, c\)"):
        infer_table(frame[["b", "c"]])


def test_pandas_index_column_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=[7, 3]).to_csv(path)
    table, notes = infer_table(read_table_file(path).frame)
    assert [column.name for column in table.columns] == ["a", "b"]
    assert notes == (
        "Column 'Unnamed: 0' is dropped: no name, and a different integer in each row.",
    )


def test_frame_equals_pandas_read_csv(people: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    people.to_csv(path, index=False)
    ours, _ = infer_table(load_frame(path).frame)
    theirs, _ = infer_table(pd.read_csv(path))
    direct, _ = infer_table(people)
    assert ours.columns == theirs.columns == direct.columns
    for name in ours.keys():  # noqa: SIM118  # a Table is no dict
        np.testing.assert_array_equal(ours[name], theirs[name])
        np.testing.assert_array_equal(ours[name], direct[name])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        f'"a, x"{separator}b\n1{separator}?\n2{separator} z\n'
        if separator != ","
        else "a,b\n1,?\n2, z\n"
    )
    read = load_frame(path)
    frame, notes = read.frame, read.notes
    assert frame.iloc[:, 1].isna().tolist() == [True, False]
    assert frame.iloc[1, 1] == "z"
    assert bool(notes) == (separator != ",")


@pytest.mark.parametrize(
    ("encoding", "noted"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("cp1252", True)],
)
def test_encodings(encoding: str, noted: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("näme,b\nö,1\nü,2\n".encode(encoding))
    read = read_table_file(path)
    frame, notes = read.frame, read.notes
    assert list(frame.columns) == ["näme", "b"]
    assert frame.iloc[0, 0] == "ö"
    assert bool(notes) == noted


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "must have a header line and rows, got an empty file"),
        ("a.csv", b"a,b\n", "a.csv must have at least one row, got none"),
        (
            "a.csv",
            b"a,b,a\n1,2,3\n",
            "columns of a.csv must have different names .*, got 'a' 2 times",
        ),
        ("a.csv", b"a b\n1 2\n", "got one column, 'a b'. Separate columns by a comma"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "same number of columns in every line, got: .*line 3"),
        ("a.csv", b"a,b\n1,2,3\n1,2,3\n", "same number of columns in every line"),
        ("a.csv", b"PK\x03\x04\0\0", "must be a table as text, got a binary file"),
        (
            "a.xlsx",
            b"PK",
            "must be a file of a supported type, got 'a.xlsx'. Convert it: python -c",
        ),
        ("a.parquet", b"nothing", "must be a parquet file, got"),
    ],
)
def test_a_broken_file_is_refused(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_table_file(tmp_path / name)


def test_missing_file_error_suggests_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "adult.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"must be a file or folder that exists.* 'adult.csv'"):
        read_table_file(tmp_path / "adlt.csv")


def test_parquet_without_pyarrow_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"reading parquet needs pyarrow.*netwright\[parquet\]"):
        read_table_file(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("columns_or_rows", "sentence"),
    [
        ([1, 2, 3], r"data must be a table, got list of shape \(3,\)"),
        (7, "data must be a table"),
        ({"a": [1, 2], "b": [1]}, r"columns must be of one length, got {'a': 2, 'b': 1}"),
        ({"a": [1, 2], "b": 3}, "column 'b' must be a list of values, got 3"),
        (
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            "must have different names .*, got 'a' 2 times",
        ),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "must have different names .*, got '1' 2 times"),
        (
            pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
            "one level of names",
        ),
    ],
)
def test_data_that_is_no_table_is_refused(columns_or_rows: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_frame(columns_or_rows)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([[1], [2]], "must hold one value in each row"), ([1j, 2j], "must hold real numbers")],
)
def test_a_column_of_no_known_kind_is_refused(values: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"column 'a' {sentence}"):
        infer_table(pd.DataFrame({"a": values}))


def test_new_rows_use_the_training_kinds(people: pd.DataFrame) -> None:
    table, _ = infer_table(people)
    texts = people.astype(object).astype(str).replace({"NaT": ""}).assign(more=1)
    again = convert_frame(texts, table.columns)
    assert again.columns == table.columns
    for name in table.keys():  # noqa: SIM118  # a Table is no dict
        np.testing.assert_array_equal(again[name], table[name])


def test_missing_column_error_suggests_the_nearest(people: pd.DataFrame) -> None:
    table, _ = infer_table(people)
    renamed = people.rename(columns={"age": "Age", "job": "work"})
    with pytest.raises(
        InputError, match=r"'age' and 1 more are missing; got Age, .* Did you mean 'Age'"
    ):
        convert_frame(renamed, table.columns)


def test_array_columns_count_in_order() -> None:
    table, _ = infer_table(pd.DataFrame({"a": [1.0, 2], "b": ["x", "y"]}))
    again = convert_frame(load_frame(np.array([[3, "z"]], object)).frame, table.columns)
    assert again["a"].tolist() == [3]
    assert again["b"].tolist() == ["z"]
    with pytest.raises(InputError, match="missing; got 0, 1, 2"):
        convert_frame(load_frame(np.ones((1, 3))).frame, table.columns)


def test_polars_and_arrow_tables_are_accepted() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    assert kinds(pa.table({"a": [1, 2], "b": ["x", "y"]})) == {"a": "numeric", "b": "category"}


def test_a_column_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="column 2 of the table must have a name"):
        load_frame(pd.DataFrame([[1, 2]], columns=["a", " "]))


def test_unusual_columns_are_noted() -> None:
    frame = pd.DataFrame(
        {
            "a": [np.inf, -np.inf, *range(58)], "name": [f"n {i or 1}" for i in range(60)],
            "b": ["x", "y"] * 30, "none": [np.inf] * 60,
        }
    )  # fmt: skip
    table, notes = infer_table(frame)
    assert [column.name for column in table.columns] == ["a", "name", "b"]
    assert "Column 'a' has 2 infinite values, taken as missing." in notes
    assert (
        "Column 'name' differs in nearly every row: drop it if it only identifies the row." in notes
    )
    assert "Column 'none' is dropped: no row has a value." in notes


@pytest.mark.parametrize("target", ["rows.csv", "nowhere.csv"])
def test_broken_link_error_names_it(target: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match=r"got .*rows.csv, a broken link. Pass the file"):
        task(tmp_path / "rows.csv", "y")
