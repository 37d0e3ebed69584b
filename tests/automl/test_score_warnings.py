"""What speaks against a score, and that nothing is said where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.automl.score_warnings import (
    constant_prediction_metrics,
    leakage_warnings,
    no_better_than_constant,
    score_interval,
    seen_test_fraction,
)
from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.trials.metrics import score

RNG = np.random.default_rng(0)
N = 400


def columns(**more: np.ndarray) -> dict[str, np.ndarray]:
    return {"a": RNG.normal(size=N), "b": RNG.normal(size=N), "c": RNG.normal(size=N), **more}


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_leaking_numeric_column_is_named(kind: str) -> None:
    y = RNG.normal(size=N) if kind == "regression" else RNG.integers(2 + (kind != "binary"), size=N)
    told = np.exp(y + 1e-3 * RNG.normal(size=N))  # not the target, but in its order
    hidden = y + 0.8 * RNG.normal(size=N)
    if kind == "multiclass":  # the middle class is told by no order
        y = np.where(y == 1, 2, y)
    (sentence,) = leakage_warnings(task(columns(told=told, hidden=hidden), y))
    assert "Column 'told' alone predicts the target almost perfectly" in sentence
    assert leakage_warnings(task(columns(hidden=hidden), y)) == []


@pytest.mark.parametrize("classes", [2, 3])
def test_leaking_category_is_named(classes: int) -> None:
    """Words have no order; those of one row each tell nothing of others."""
    n, rng = 2_000, np.random.default_rng(0)
    y = rng.integers(classes, size=n)
    status = np.array(["paid", "open", "late"])[y].astype(object)
    y[0] = (y[0] + 1) % classes  # it is not the target itself
    hidden = np.where(rng.random(n) < 0.8, status, "none")
    words = np.array([f"w{i}" for i in range(n // 2)] * 2, object)
    found = leakage_warnings(
        task({"a": rng.normal(size=n), "s": status, "h": hidden, "w": words}, y)
    )
    assert [one.split("'")[1] for one in found] == ["s"]


def test_copied_validation_rows_are_counted() -> None:
    few = {name: np.concatenate([values, values[:100]]) for name, values in columns().items()}
    y = RNG.integers(2, size=N)
    (sentence,) = leakage_warnings(task(few, np.concatenate([y, y[:100]])))
    assert "of the validation rows are copies of training rows" in sentence
    groups = np.concatenate([np.arange(N), np.arange(100)])
    assert leakage_warnings(task(few, np.concatenate([y, y[:100]]), groups=groups)) == []


def with_test(share: float, regression: bool) -> Task:
    """A task of 400 rows, and 200 test rows of which this share are copies of its own."""
    rng, x = np.random.default_rng(1), columns()
    y = rng.normal(size=N) if regression else rng.integers(2, size=N)
    rows, copied = rng.choice(N, 200, replace=False), int(200 * share)
    test = {name: rng.normal(size=200) for name in x}
    for name, values in x.items():
        test[name][:copied] = values[rows[:copied]]
    return task(x, y, test=(test, y[rows]))


@pytest.mark.parametrize("regression", [False, True])
def test_seen_test_rows_are_counted(regression: bool) -> None:
    (sentence,) = leakage_warnings(with_test(0.25, regression))
    assert sentence.startswith("25% of the test rows are also in the training data")
    assert seen_test_fraction(with_test(1.0, regression)) == 1.0
    assert leakage_warnings(with_test(0.0, regression)) == []


def test_seen_test_images_are_counted() -> None:
    pixels = RNG.integers(0, 255, (60, 5, 5)).astype(np.uint8)
    y = np.arange(60) % 2
    (sentence,) = leakage_warnings(task(pixels, y, test=(pixels[:30], y[:30])))
    assert sentence.startswith("100% of the test images are also in the training data")
    assert leakage_warnings(task(pixels[:40], y[:40], test=(pixels[40:], y[40:]))) == []


def test_naturally_repeated_rows_are_no_leak() -> None:
    rng = np.random.default_rng(0)
    x = {name: rng.choice(["u", "v"], 300).astype(object) for name in "abc"}
    y = rng.integers(2, size=300)
    first = {name: values[:200] for name, values in x.items()}
    second = {name: values[200:] for name, values in x.items()}
    assert seen_test_fraction(task(first, y[:200], test=(second, y[200:]))) == 0


def test_noise_is_no_better_than_a_constant() -> None:
    found = task(columns(), RNG.normal(size=N))
    rows = found.validation
    noise = score("regression", found.target[rows], found.target[rows][::-1])
    assert (
        "no better than predicting the mean for every row"
        in no_better_than_constant("rmse", noise, found, rows)[0]
    )
    assert no_better_than_constant("rmse", {"rmse": 0.1}, found, rows) == []
    classes = task(columns(), RNG.integers(2, size=N))
    assert constant_prediction_metrics(classes, classes.validation)["auc"] == 0.5
    assert "no better than predicting the class frequencies" in no_better_than_constant(
        "auc", {"auc": 0.49}, classes, classes.validation
    )[0]  # fmt: skip


@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy"])
def test_score_interval_narrows_with_more_rows(name: str) -> None:
    widths = []
    for n in (100, 4000):
        y = RNG.integers(2, size=n)
        p = np.clip(0.3 + 0.4 * y + 0.2 * RNG.normal(size=n), 0.01, 0.99)
        found = task({"a": p, "b": RNG.normal(size=n)}, y)
        held_out = np.stack([1 - p, p], 1)
        ends = score_interval(found, np.arange(n), held_out, name)
        assert ends is not None
        assert ends[0] < score("binary", y, held_out)[name] < ends[1]
        widths.append(ends[1] - ends[0])
    assert widths[1] < widths[0] / 3
    assert score_interval(found, np.arange(n), held_out, "latency") is None
    if name == "accuracy":  # the interval is that of the labels that are given
        moved = score("binary", y, held_out, 0.75)[name]
        low, high = score_interval(found, np.arange(n), held_out, name, 0.75) or (0, 0)
        assert low < moved < high < ends[0]
    right = np.stack([1.0 - y, y], 1)
    assert score_interval(found, np.arange(n), right, name) is None  # no error, and no width
