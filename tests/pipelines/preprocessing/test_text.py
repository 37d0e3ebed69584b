"""Texts: terms and sizes, the same in arrays and in nodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_tools import agree, both, emitted, numbers, texts

from netwright.pipelines.preprocessing.text import Text

WORDS = ["good", "bad", "great", "poor", "film", "the", "a", "very", "not", "2001", "!"]
NASTY = [
    "", "   ", "\x00", "a\x00b\x1fc", "good\u3000bad", "GOOD,good;Good", "größer ß ẞ İ Σας",
    "日本語 の 文", "\ue000", "good \ue000 bad", "\U0001f600\U0001f468\u200d\U0001f469", "1" * 50,
    "x" * 3000, "good " * 2000, "\ud800", "NA", "(?s).{3,}", "a\nb\r\nc\td", "é", "e\u0301",
]  # fmt: skip


def reviews(n: int = 200, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Sentences of random words; the aim is whether "good" is there."""
    rng = np.random.default_rng(seed)
    found = [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(n)]
    return found, np.array([[1.0 if "good" in text.split() else -1.0] for text in found])


@pytest.mark.parametrize("grams", [1, 2])
@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("terms", [0, 5, 100])
def test_texts_agree_with_their_nodes(grams: int, counts: bool, terms: int) -> None:
    found, aims = reviews()
    table = both(texts(a=found, b=NASTY * 10), numbers(n=np.arange(200)))
    fitted = Text(terms, grams, counts).fit(table, aims)
    new = both(texts(a=NASTY, b=NASTY[::-1]), numbers(n=np.arange(len(NASTY))))
    assert agree(fitted, table, new, table.take(np.array([3])))
    empty = both(texts(a=[""] * 2, b=[""] * 2), numbers(n=[1, 2]))
    assert agree(fitted, empty)


def test_the_terms_that_go_with_the_target_come_first() -> None:
    found, aims = reviews(400)
    told = Text(terms=1).fit(texts(a=found), aims)
    assert told.terms == (("good",),)
    x = told.transform(texts(a=["Good!", "goods", "not GOOD, good"]))
    assert x[:, 0].tolist() == [1, 0, 1]
    counted = Text(terms=1, counts=True).fit(texts(a=found), aims)
    assert counted.transform(texts(a=["not GOOD, good"]))[0, 0] == 2


def test_pairs_of_neighbours_are_terms_where_they_are_wanted() -> None:
    rng = np.random.default_rng(0)
    found = [f"it is {'not ' * b}good {rng.integers(9)}" for b in rng.integers(0, 2, 100)]
    aims = np.array([[float("not" in text)] for text in found])
    assert "not good" in Text(terms=10, grams=2).fit(texts(a=found), aims - aims.mean()).terms[0]
    assert not any(" " in term for term in Text(terms=10).fit(texts(a=found), aims).terms[0])


def test_without_a_target_terms_tell_rows_apart() -> None:
    found = ["the end", "the sun", "the end", "the sun", "the one", "the one x"] * 3
    (terms,) = Text(terms=2).fit(texts(a=found)).terms
    assert "the" not in terms  # all rows have it
    assert len(terms) == 2


def test_sizes_are_words_digits_and_length() -> None:
    found = [f"{'word ' * n}{10**n}" for n in range(1, 9)]
    fitted = Text(terms=0).fit(texts(a=found))
    x = fitted.transform(texts(a=found))
    assert x.shape == (8, 3)
    for size in x.T:
        assert (np.diff(size) > 0).all()
        assert abs(size.mean()) < 1e-6
        assert size.std() == pytest.approx(1, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=8), st.integers(1, 2))
def test_any_text_agrees(found: list[str], grams: int) -> None:
    table = texts(a=found * 3)  # so that each term is in three rows
    fitted = Text(grams=grams).fit(table)
    np.testing.assert_array_equal(emitted(fitted, table), fitted.transform(table))
