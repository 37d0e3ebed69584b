"""Columns by what they are there for: texts, names of rows, copies of the target."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.data.columns import normalize_text
from netwright.data.make_task import task
from netwright.data.tables import infer_table
from netwright.data.task import Table, summary
from netwright.errors import InputError

N = 80
RNG = np.random.default_rng(0)
WORDS = ["late", "good", "Parcel", "never", "came", "again"]
SAID = [" ".join(RNG.choice(WORDS, 5)) + "!" for _ in range(N)]


def kinds(**columns: object) -> dict[str, str]:
    table, _ = infer_table(pd.DataFrame(columns))
    return {column.name: column.kind for column in table.columns}


def test_many_different_sentences_are_text() -> None:
    table, notes = infer_table(pd.DataFrame({"said": SAID, "n": range(N)}))
    assert [column.kind for column in table.columns] == ["text", "numeric"]
    assert table["said"][0] == SAID[0].lower().replace("!", " !")
    assert "Column 'said' is read as text: by its words, not as a category." in notes


def test_few_sentences_and_short_words_are_categories() -> None:
    short_texts = ["no checking account yet", "a small amount of money"] * (N // 2)
    names = [f"Ann {i}" for i in range(N)]
    assert set(kinds(short_texts=short_texts, names=names).values()) == {"category"}


def test_a_declared_category_is_text_only_where_nearly_all_differ() -> None:
    repeated = pd.Categorical((SAID[:25] * 4)[:N])
    assert kinds(a=pd.Categorical(SAID), b=repeated) == {"a": "text", "b": "category"}


def test_identifiers_are_dropped_with_a_note() -> None:
    ids = [f"u-{i:04x}" for i in range(N)]
    table, notes = infer_table(pd.DataFrame({"id": ids, "n": [1, 2] * (N // 2)}))
    assert [column.name for column in table.columns] == ["n"]
    assert notes == (
        "Column 'id' is dropped: all values differ and are neither numbers, dates nor sentences, "
        "so that none will occur again.",
    )
    assert kinds(id=ids[:40], n=[1, 2] * 20)["id"] == "category"  # 40 rows may differ by chance
    with pytest.raises(
        InputError, match=r"got only ones whose values all differ or are missing \(id\)"
    ):
        infer_table(pd.DataFrame({"id": ids}))


def test_increasing_numbers_are_noted() -> None:
    big = np.arange(N) + 10**12  # float32 could not tell them apart
    _, notes = infer_table(pd.DataFrame({"id": big, "n": big[::-1], "x": np.arange(N) / 2}))
    assert notes == (
        "Column 'id' increases with every row: drop it if it only identifies the row.",
    )


@pytest.mark.parametrize(
    ("copy", "noted"),
    [
        (lambda y: y, True), (lambda y: y + 1, True), (lambda y: np.where(y, "yes", "no"), True),
        (lambda y: np.where(np.arange(len(y)) == 3, 1 - y, y), False),
        (lambda y: np.r_[2, y[1:]], False), (lambda y: np.zeros(len(y)), False),
    ],
)  # fmt: skip
def test_copy_of_the_classes_is_noted_as_leakage(copy: object, noted: bool) -> None:
    y = RNG.integers(0, 2, N)
    loaded = task({"copy": copy(y), "x": RNG.normal(size=N), "y": y}, "y")  # type: ignore[operator]
    sentence = (
        "Column 'copy' is 'y' under another name: drop it if it is unknown at prediction time."
    )
    assert (sentence in loaded.notes) == noted


def test_copy_of_a_regression_target_is_noted_as_leakage() -> None:
    y = RNG.normal(size=N)
    loaded = task({"copy": y, "twice": 2 * y, "y": y}, "y")
    assert [note for note in loaded.notes if "under another name" in note] == [
        "Column 'copy' is 'y' under another name: drop it if it is unknown at prediction time."
    ]


@pytest.mark.parametrize(
    ("text_or_cell", "text"),
    [
        ("Don't  PANIC!", "don ' t panic !"), ("a\x00b\x1f\tc\u3000d", "a b c d"),
        ("GRÖSSE 3.5", "grösse 3 . 5"), (b"ab", "ab"), (" NA ", ""), (None, ""), (np.nan, ""),
        (3.0, "3"), ("\ud800x", "? x"), ("  ", ""),
    ],
)  # fmt: skip
def test_text_becomes_words_and_punctuation(text_or_cell: object, text: str) -> None:
    assert normalize_text([text_or_cell]).tolist() == [text]


@given(st.text())
def test_normalize_text_is_idempotent(text_or_cell: str) -> None:
    once = normalize_text([text_or_cell])
    assert normalize_text(once).tolist() == once.tolist() or once[0].upper() in (
        "NA",
        "?",
        "NULL",
        "NAN",
    )
    assert once[0] == " ".join(once[0].split())


def test_text_columns_appear_in_summary_and_fingerprint() -> None:
    loaded = task({"said": SAID, "y": [0, 1] * (N // 2)}, "y")
    assert "1 column (1 text)" in summary(loaded)
    assert isinstance(loaded.features, Table)
    assert loaded.features.n_missing == 0
    other = task({"said": [*SAID[:-1], SAID[-1] + " more"], "y": [0, 1] * (N // 2)}, "y")
    assert loaded.fingerprint != other.fingerprint
