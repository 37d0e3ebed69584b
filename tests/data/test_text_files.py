import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netwright.data import memory, text_layout
from netwright.data.make_task import task
from netwright.data.new_rows import read_rows
from netwright.data.tables import load_frame, read_table_file
from netwright.data.task import Table
from netwright.data.text_layout import detect_layout, may_hold_leading_zeros
from netwright.errors import InputError

TEXT = "x,y\n1,a\n2,b\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize(
    ("name", "opener"), [("a.csv.gz", gzip.open), ("a.csv.bz2", bz2.open), ("a.tsv.xz", lzma.open)]
)
def test_compressed_tables_are_read(name: str, opener: object, tmp_path: Path) -> None:
    text = TEXT.replace(",", "\t") if ".tsv" in name else TEXT
    with opener(tmp_path / name, "wt") as file:  # type: ignore[operator]
        file.write(text)
    assert read_table_file(tmp_path / name).frame["y"].tolist() == ["a", "b"]
    assert task(
        pd.read_csv(tmp_path / name, sep=None, engine="python").iloc[[0, 1] * 9], "y"
    ).classes


def test_broken_or_oversized_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode() * 1000)[:-20])
    with pytest.raises(InputError, match=r"a.csv.gz must be a complete compressed file"):
        read_table_file(path)
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="must be a complete compressed file"):
        read_table_file(path)
    memory.max_data_bytes.cache_clear()
    monkeypatch.setattr(memory, "MAX_MEMORY_FRACTION", 1e-9)
    path.write_bytes(gzip.compress(TEXT.encode() * 1000))
    with pytest.raises(InputError, match=r"a.csv.gz without compression must take at most"):
        read_table_file(path)
    with pytest.raises(InputError, match=r"b.csv must take at most"):
        read_table_file(write(tmp_path / "b.csv", TEXT * 10))
    memory.max_data_bytes.cache_clear()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("sep=;\nx;y\n1;a\n2;b\n", "separated by ';'"),
        ('"sep=,"\nx,y\n1,a\n2,b\n', ""),
        ("# made by a tool\n#\n\nx,y\n1,a\n2,b\n", "2 comment lines before the header of a.csv"),
        ("\n\nx,y\n1,a\n2,b\n", ""),
        ("x,y\r1,a\r2,b\r", ""),
        ("\ufeffx,y\r\n1,a\r\n2,b\r\n", ""),
        ('"x",y\n1,"a"\n2,b', ""),
    ],
)
def test_preambles_and_separators_are_detected(text: str, note: str, tmp_path: Path) -> None:
    read = read_table_file(write(tmp_path / "a.csv", text))
    assert read.frame.to_dict("list") == {"x": [1, 2], "y": ["a", "b"]}
    assert len(read.notes) == bool(note)
    assert all(note in note for note in read.notes)


def test_header_starting_with_hash_is_no_comment(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '#id,"y, z"\n1,a\n2,b\n')
    assert (
        list(read_table_file(path).frame)
        == list(read_table_file(path, ["#id"]).frame)
        == ["#id", "y, z"]
    )
    path = write(tmp_path / "b.csv", "# one\n1\n2\n")
    assert read_table_file(path, [], ["# one"]).frame["# one"].tolist() == [1, 2]


def test_short_lines_are_counted(tmp_path: Path) -> None:
    read = read_table_file(write(tmp_path / "a.csv", "x,y,z\n1,2,3\n4\n5,6\n\n7,8,9\n"))
    assert read.notes == ("a.csv has short lines: 3 missing cells are read as empty.",)
    assert read_table_file(write(tmp_path / "b.csv", "x,y\n1,2\n3,4")).notes == ()


def test_merged_codes_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "code,y\n7,1\n07,2\n007,3\n8,4\n08,5\n")
    (note,) = read_table_file(path).notes
    assert "'007', '07', '7' become one value, and 1 more such" in note
    assert read_table_file(write(tmp_path / "b.csv", "zip,y\n01234,1\n10000,2\n")).notes == ()


def test_text_columns_keep_their_spelling(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b,c\n1E5,True,NA\n007,False,2\n")
    frame = read_table_file(path, text_columns=["a"], number_columns=["b", "c"]).frame
    assert frame["a"].tolist() == ["1E5", "007"]
    assert frame["b"].tolist() == ["True", "False"]
    assert np.isnan(frame["c"][0])
    assert list(read_table_file(path, text_columns=["a"], number_columns=[]).frame) == ["a"]


@pytest.mark.parametrize(
    "texts",
    [["1E5", "2E3", "A7"], ["Infinity", "Nova", "1"], ["1,2", "3", "x"], ["True", "7", "x"]],
)
def test_row_means_the_same_in_every_file(texts: list[str], tmp_path: Path) -> None:
    frame = pd.DataFrame({"code": texts * 20, "n": range(60), "y": [0, 1] * 30})
    frame.to_csv(tmp_path / "all.csv", index=False, sep=";")
    loaded = task(tmp_path / "all.csv", "y")
    for text in texts:
        subset = frame[frame.code == text][["code", "n"]]
        subset.to_csv(tmp_path / "part.csv", index=False, sep=";")
        rows, _ = read_rows(tmp_path / "part.csv", loaded.features)
        assert isinstance(rows, Table)
        assert isinstance(loaded.features, Table)
        whole = loaded.features.take(np.flatnonzero((frame.code == text).to_numpy()))
        assert rows["code"].tolist() == whole["code"].tolist()


@pytest.mark.parametrize("text", ["good; bad, day 1", 'say "hi", twice', "7"])
def test_single_column_file_can_be_predicted(text: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"t": [f"{text} {i}" for i in range(60)], "y": [0, 1] * 30})
    loaded = task(frame, "y")
    frame[["t"]].to_csv(tmp_path / "a.csv", index=False)
    rows, _ = read_rows(tmp_path / "a.csv", loaded.features)
    assert len(rows) == 60
    bare = write(tmp_path / "b.csv", "t\n" + "".join(f"{t}\n" for t in frame.t if '"' not in t))
    if '"' not in text:
        assert len(read_rows(bare, loaded.features)[0]) == 60
    with pytest.raises(InputError, match="got one column, 't'"):
        task(tmp_path / "a.csv", "t")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.xlsx", r"pandas.read_excel\('a.xlsx'\).to_csv\('a.csv', index=False\)"),
        ("a.jsonl", r"pandas.read_json\('a.jsonl', lines=True\)"),
        ("a.npy", "numpy.savez"),
        ("a.dat", r"Save it as one of .*\.csv\.gz"),
    ],
)
def test_unsupported_file_error_has_a_conversion_line(name: str, line: str, tmp_path: Path) -> None:
    write(tmp_path / name, "x")
    with pytest.raises(InputError, match=line):
        read_table_file(tmp_path / name)


def test_glob_error_has_a_line_that_joins_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got '.*part-\*.csv'. Join the files: python -c"):
        task(str(tmp_path / "part-*.csv"), "y")


def test_records_and_series_are_tables() -> None:
    records = [{"a": 1, "b": "x"}, {"a": 2, "b": "y", "c": 3}]
    assert load_frame(records).frame.shape == (2, 3)
    assert list(load_frame(pd.Series(["a", "b"], name="text")).frame) == ["text"]
    assert list(load_frame(pd.Series(["a", "b"])).frame) == ["x"]


def test_many_columns_are_refused_without_a_long_wait(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(60_000))
    with pytest.raises(InputError, match="must have at most 50,000 columns, got 60,000"):
        read_table_file(write(tmp_path / "a.csv", f"{names}\n{names}\n"))
    with pytest.raises(InputError, match="must have a header line that ends within"):
        read_table_file(write(tmp_path / "a.csv", "a" * 5_000_000))
    assert text_layout.text_suffix(tmp_path / "a.b.CSV.GZ") == ".csv"


def test_quotes_in_comments_do_not_hide_rows(tmp_path: Path) -> None:
    text = '# a,"b\nx,y\n1,a\n2,b\n3,"c"\n'
    assert read_table_file(write(tmp_path / "a.csv", text), ["y"]).frame["x"].tolist() == [1, 2, 3]


def test_merged_codes_beside_empty_cells_are_noted(tmp_path: Path) -> None:
    (note,) = read_table_file(write(tmp_path / "a.csv", "c,y\n007,1\n7,2\n,3\n07,4\n")).notes
    assert "'007', '07', '7' become one value" in note
    text = "c,y\n9007199254740993,1\n9007199254740992,2\n,3\n"
    (note,) = read_table_file(write(tmp_path / "b.csv", text)).notes
    assert "become one value" in note


def test_blank_lines_of_a_single_column_are_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x\na\n\nb\n\n")
    assert read_table_file(path, text_columns=["x"], number_columns=[]).frame["x"].tolist() == [
        "a",
        "",
        "b",
    ]


def test_thousands_of_comment_lines_are_skipped(tmp_path: Path) -> None:
    text = "# a, b\n" * 5_000 + "x,y\n1,2\n"
    assert read_table_file(write(tmp_path / "a.csv", text), ["y"]).frame["y"].tolist() == ["2"]


def test_a_text_in_place_of_a_path_is_refused() -> None:
    with pytest.raises(InputError, match=r"must be the path .*, got a text of 8,000 characters"):
        task("a,b\n1,2\n" * 1_000, "b")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_preamble_is_skipped_in_every_encoding(encoding: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(end.join(["sep=;", "x;y", "1;ä", "2;b", ""]).encode(encoding))
    read = read_table_file(path, ["y"])
    assert read.frame.to_dict("list") == {"x": [1, 2], "y": ["ä", "b"]}


def test_decimal_commas_are_read_beside_booleans(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x;b\n1,5;True\n2,5;False\n")
    frame = read_table_file(path, text_columns=[], number_columns=["x", "b"]).frame
    assert frame.to_dict("list") == {"x": ["1.5", "2.5"], "b": ["True", "False"]}
    path = write(tmp_path / "b.csv", "b\nTrue\nFalse\n\n")
    assert read_table_file(path, number_columns=["b"]).frame["b"].tolist() == ["True", "False"]


@pytest.mark.parametrize(
    ("cell", "codes"),
    [
        ("007", True), ("+01", True), ('"007"', True), (" 007", True), ("-007", True),
        ("0.07", False), ("0", False), ("-0.5", False), ("100", False), ("2020-01-05", False),
    ],
)  # fmt: skip
def test_leading_zeros_are_detected_in_the_bytes(cell: str, codes: bool, tmp_path: Path) -> None:
    for where in (0, 1):
        cells = ["5", "6"]
        cells[where] = cell
        (tmp_path / "t.csv").write_text(f"a,b\n1,2\n{','.join(cells)}\n3,4\n")
        layout, _ = detect_layout(tmp_path / "t.csv", ())
        assert may_hold_leading_zeros(layout) is codes
