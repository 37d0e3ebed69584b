"""Arithmetic features: which are selected, and that ONNX computes the same."""

from __future__ import annotations

import numpy as np
import pytest
from step_tools import agrees_with_onnx, numbers

from netwright.data.task import Table
from netwright.errors import InputError
from netwright.pipelines.preprocessing.arithmetic_features import (
    ArithmeticFeature,
    arithmetic_columns,
    best_arithmetic_features,
)
from netwright.pipelines.preprocessing.numeric import Numeric

N = 1500


def standardized(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / values.std())[:, None]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("op", "combine"),
    [("*", lambda a, b: a * b), ("/", lambda a, b: a / b), ("-", lambda a, b: np.sin(3 * (a - b)))],
)
def test_informative_arithmetic_feature_is_selected_first(
    op: str, combine: object, rng: object
) -> None:
    x = np.exp(0.7 * rng.normal(size=(N, 6))).astype(np.float32)  # type: ignore[attr-defined]
    target = combine(x[:, 4], x[:, 1]) + 0.1 * rng.normal(size=N)  # type: ignore[operator, attr-defined]
    features = best_arithmetic_features(x, standardized(target), 3)
    assert (features[0].op, {features[0].first, features[0].second}) == (op, {1, 4})


def test_noise_and_additive_targets_give_no_features(rng: np.random.Generator) -> None:
    features = []
    for _ in range(10):
        x = rng.normal(size=(600, 6)).astype(np.float32)
        features += best_arithmetic_features(x, standardized(rng.normal(size=600)), 5)
    assert len(features) <= 1
    x = rng.normal(size=(N, 4)).astype(np.float32)
    additive = standardized((x[:, 0] > 0) + 1.0 * (x[:, 1] > 1) + 0.3 * rng.normal(size=N))
    assert best_arithmetic_features(x, additive, 5) == ()
    assert best_arithmetic_features(x[:50], additive[:50], 5) == ()  # too few rows


def test_second_feature_explains_residuals_of_the_first(rng: np.random.Generator) -> None:
    x = rng.normal(size=(N, 5)).astype(np.float32)
    target = standardized(2 * x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] + 0.1 * rng.normal(size=N))
    products = {
        (feature.first, feature.second) for feature in best_arithmetic_features(x, target, 2)
    }
    assert products == {(0, 1), (2, 3)}


@pytest.mark.parametrize("scale", ["none", "robust", "quantile"])
@pytest.mark.parametrize("missing", ["fill", "keep"])
def test_numeric_with_arithmetic_features_equals_its_onnx(
    scale: str, missing: str, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(N, 4)).astype(np.float32)
    target = standardized(x[:, 0] * x[:, 3] + x[:, 1] * x[:, 2])
    x[rng.random((N, 4)) < 0.05] = np.nan
    table = numbers(**{f"c{i}": x[:, i] for i in range(4)})
    fitted = Numeric(scale, missing=missing, arithmetic_features=4).fit(table, target)  # type: ignore[arg-type]
    assert fitted.arithmetic_features
    assert fitted.n_columns == 8 + len(fitted.arithmetic_features)
    extreme = numbers(c0=[1, 0, np.inf, 3e38, -0.0], c1=[0, 0, 1, 3e38, 1], c2=[2] * 5, c3=[0] * 5)
    assert agrees_with_onnx(fitted, table, extreme)


def test_division_by_zero_is_missing() -> None:
    matrix = np.float32([[1, 0], [0, 0], [np.nan, 1], [4, 2]])
    quotient = arithmetic_columns(matrix, [ArithmeticFeature("/", 0, 1)])[:, 0]
    assert np.isfinite(quotient).tolist() == [False, False, False, True]
    table: Table = numbers(a=matrix[:, 0], b=matrix[:, 1])
    with pytest.raises(
        InputError, match="target_matrix must be given if Numeric has arithmetic_features"
    ):
        Numeric(arithmetic_features=2).fit(table)
