"""Texts: terms and statistics of length, the same on arrays and as ONNX nodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_tools import agrees_with_onnx, numbers, run_step_onnx, side_by_side, texts

from netwright.pipelines.preprocessing.text import Text

WORDS = ["good", "bad", "great", "poor", "film", "the", "a", "very", "not", "2001", "!"]
UNUSUAL = [
    "", "   ", "\x00", "a\x00b\x1fc", "good\u3000bad", "GOOD,good;Good", "größer ß ẞ İ Σας",
    "日本語 の 文", "\ue000", "good \ue000 bad", "\U0001f600\U0001f468\u200d\U0001f469", "1" * 50,
    "x" * 3000, "good " * 2000, "\ud800", "NA", "(?s).{3,}", "a\nb\r\nc\td", "é", "e\u0301",
]  # fmt: skip


def reviews(n: int = 200, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return sentences of random words and whether "good" occurs."""
    rng = np.random.default_rng(seed)
    documents = [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(n)]
    return documents, np.array([[1.0 if "good" in text.split() else -1.0] for text in documents])


@pytest.mark.parametrize("grams", [1, 2])
@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("terms", [0, 5, 100])
def test_texts_equal_their_onnx(grams: int, counts: bool, terms: int) -> None:
    documents, target_matrix = reviews()
    table = side_by_side(texts(a=documents, b=UNUSUAL * 10), numbers(n=np.arange(200)))
    fitted = Text(terms, grams, counts).fit(table, target_matrix)
    new_rows = side_by_side(texts(a=UNUSUAL, b=UNUSUAL[::-1]), numbers(n=np.arange(len(UNUSUAL))))
    assert agrees_with_onnx(fitted, table, new_rows, table.take(np.array([3])))
    empty = side_by_side(texts(a=[""] * 2, b=[""] * 2), numbers(n=[1, 2]))
    assert agrees_with_onnx(fitted, empty)


def test_terms_that_correlate_with_the_target_are_chosen() -> None:
    documents, target_matrix = reviews(400)
    fitted = Text(terms=1).fit(texts(a=documents), target_matrix)
    assert fitted.terms == (("good",),)
    x = fitted.transform(texts(a=["Good!", "goods", "not GOOD, good"]))
    assert x[:, 0].tolist() == [1, 0, 1]
    counted = Text(terms=1, counts=True).fit(texts(a=documents), target_matrix)
    assert counted.transform(texts(a=["not GOOD, good"]))[0, 0] == 2


def test_grams_two_adds_pairs_of_words() -> None:
    rng = np.random.default_rng(0)
    documents = [f"it is {'not ' * b}good {rng.integers(9)}" for b in rng.integers(0, 2, 100)]
    target_matrix = np.array([[float("not" in text)] for text in documents])
    assert (
        "not good"
        in Text(terms=10, grams=2)
        .fit(texts(a=documents), target_matrix - target_matrix.mean())
        .terms[0]
    )
    assert not any(
        " " in term for term in Text(terms=10).fit(texts(a=documents), target_matrix).terms[0]
    )


def test_terms_without_a_target_have_most_variance() -> None:
    documents = ["the end", "the sun", "the end", "the sun", "the one", "the one x"] * 3
    (terms,) = Text(terms=2).fit(texts(a=documents)).terms
    assert "the" not in terms  # all rows have it
    assert len(terms) == 2


def test_statistics_are_words_digits_and_length() -> None:
    documents = [f"{'word ' * n}{10**n}" for n in range(1, 9)]
    fitted = Text(terms=0).fit(texts(a=documents))
    x = fitted.transform(texts(a=documents))
    assert x.shape == (8, 3)
    for statistic in x.T:
        assert (np.diff(statistic) > 0).all()
        assert abs(statistic.mean()) < 1e-6
        assert statistic.std() == pytest.approx(1, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=8), st.integers(1, 2))
def test_any_text_equals_its_onnx(documents: list[str], grams: int) -> None:
    table = texts(a=documents * 3)  # each term occurs in three rows
    fitted = Text(grams=grams).fit(table)
    np.testing.assert_array_equal(run_step_onnx(fitted, table), fitted.transform(table))
