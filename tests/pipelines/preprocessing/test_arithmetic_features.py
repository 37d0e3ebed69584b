"""Arithmetic of two columns: what is found, what is not, and that the file does the same."""

from __future__ import annotations

import numpy as np
import pytest
from step_tools import agree, numbers

from netwright.data.task import Table
from netwright.errors import InputError
from netwright.pipelines.preprocessing.arithmetic_features import (
    ArithmeticFeature,
    best_pairs,
    paired,
)
from netwright.pipelines.preprocessing.numeric import Numeric

N = 1500


def standard(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / values.std())[:, None]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("op", "make"),
    [("*", lambda a, b: a * b), ("/", lambda a, b: a / b), ("-", lambda a, b: np.sin(3 * (a - b)))],
)
def test_what_two_columns_say_together_is_found(op: str, make: object, rng: object) -> None:
    x = np.exp(0.7 * rng.normal(size=(N, 6))).astype(np.float32)  # type: ignore[attr-defined]
    target = make(x[:, 4], x[:, 1]) + 0.1 * rng.normal(size=N)  # type: ignore[operator, attr-defined]
    found = best_pairs(x, standard(target), 3)
    assert (found[0].op, {found[0].first, found[0].second}) == (op, {1, 4})


def test_noise_and_sums_of_single_columns_have_no_pairs(rng: np.random.Generator) -> None:
    found = []
    for _ in range(10):
        x = rng.normal(size=(600, 6)).astype(np.float32)
        found += best_pairs(x, standard(rng.normal(size=600)), 5)
    assert len(found) <= 1
    x = rng.normal(size=(N, 4)).astype(np.float32)
    steps = standard((x[:, 0] > 0) + 1.0 * (x[:, 1] > 1) + 0.3 * rng.normal(size=N))
    assert best_pairs(x, steps, 5) == ()
    assert best_pairs(x[:50], steps[:50], 5) == ()  # too few rows to tell


def test_the_second_choice_says_what_the_first_has_left(rng: np.random.Generator) -> None:
    x = rng.normal(size=(N, 5)).astype(np.float32)
    target = standard(2 * x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] + 0.1 * rng.normal(size=N))
    products = {(one.first, one.second) for one in best_pairs(x, target, 2)}
    assert products == {(0, 1), (2, 3)}


@pytest.mark.parametrize("scale", ["none", "robust", "quantile"])
@pytest.mark.parametrize("missing", ["fill", "keep"])
def test_the_file_makes_the_same_numbers(
    scale: str, missing: str, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(N, 4)).astype(np.float32)
    target = standard(x[:, 0] * x[:, 3] + x[:, 1] * x[:, 2])
    x[rng.random((N, 4)) < 0.05] = np.nan
    table = numbers(**{f"c{i}": x[:, i] for i in range(4)})
    fitted = Numeric(scale, missing=missing, arithmetic_features=4).fit(table, target)  # type: ignore[arg-type]
    assert fitted.arithmetic_features
    assert fitted.n_columns == 8 + len(fitted.arithmetic_features)
    nasty = numbers(c0=[1, 0, np.inf, 3e38, -0.0], c1=[0, 0, 1, 3e38, 1], c2=[2] * 5, c3=[0] * 5)
    assert agree(fitted, table, nasty)


def test_dividing_by_nothing_is_missing() -> None:
    raw = np.float32([[1, 0], [0, 0], [np.nan, 1], [4, 2]])
    quotient = paired(raw, [ArithmeticFeature("/", 0, 1)])[:, 0]
    assert np.isfinite(quotient).tolist() == [False, False, False, True]
    table: Table = numbers(a=raw[:, 0], b=raw[:, 1])
    with pytest.raises(InputError, match="the target must be given to pairs of columns"):
        Numeric(arithmetic_features=2).fit(table)
