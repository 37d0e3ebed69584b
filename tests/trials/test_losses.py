"""One metric at a time is what all of them say together."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from netwright.trials.losses import loss_of, row_losses
from netwright.trials.metrics import Kind, score
from netwright.trials.scores import area_of
from task_tools import noisy


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_the_area_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    truth = rng.integers(2, size=500)
    for ranked in (rng.normal(size=500), rng.integers(4, size=500), np.zeros(500)):
        assert area_of(ranked, truth == 1) == pytest.approx(roc_auc_score(truth, ranked))


@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy", "f1"])
def test_losses_agree_with_the_metrics(name: str, rng: np.random.Generator) -> None:
    truth = rng.integers(2, size=300)
    p = noisy(rng, truth, 1.0)
    wanted = score("binary", truth, p)[name]
    found = loss_of("binary", name)(p, truth)
    assert found == pytest.approx(wanted if name == "log_loss" else 1 - wanted)


@pytest.mark.parametrize(("kind", "name"), [("multiclass", "auc"), ("regression", "r2")])
def test_maximised_metrics_give_one_minus_the_metric(
    kind: Kind, name: str, rng: np.random.Generator
) -> None:
    truth = rng.integers(3, size=300)
    said = truth + rng.normal(size=300)
    if kind == "multiclass":
        said = np.exp(rng.normal(size=(300, 3)) + np.eye(3)[truth])
        said /= said.sum(1, keepdims=True)
    wanted = score(kind, truth, said)[name]
    assert loss_of(kind, name)(said, truth) == pytest.approx(1 - wanted)


def test_rows_of_one_class_have_a_fallback_loss(rng: np.random.Generator) -> None:
    p, one = noisy(rng, np.ones(50), 1.0), np.ones(50, np.int64)
    assert loss_of("binary", "auc")(p, one) == 0.5
    three = np.full((50, 3), 1 / 3)
    assert loss_of("multiclass", "auc")(three, one) == pytest.approx(np.log(3))


KINDS: list[tuple[Kind, str]] = [
    *(("binary", name) for name in ("auc", "log_loss", "accuracy", "balanced_accuracy", "f1")),
    *(("multiclass", name) for name in ("auc", "f1")),
    *(("regression", name) for name in ("rmse", "mae", "r2")),
]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_weight_of_two_counts_as_a_repeated_row(
    kind: Kind, name: str, rng: np.random.Generator
) -> None:
    classes = 2 if kind == "binary" else 3
    truth, weights = rng.integers(classes, size=200), rng.integers(3, size=200)
    said = np.exp(rng.normal(size=(200, classes)) + np.eye(classes)[truth]).round(1)
    said /= said.sum(1, keepdims=True)
    if kind == "regression":
        said = truth + rng.normal(size=200)
    again = np.repeat(np.arange(200), weights)
    wanted = score(kind, truth[again], said[again])
    found = score(kind, truth, said, weights=weights.astype(float))
    assert found == pytest.approx(wanted)
    loss = loss_of(kind, name)
    assert loss(said, truth, weights.astype(float)) == pytest.approx(
        loss(said[again], truth[again])
    )


@pytest.mark.parametrize(("kind", "classes"), [("binary", 2), ("multiclass", 4)])
def test_losses_of_rows_have_the_mean_of_the_log_loss(
    kind: Kind, classes: int, rng: np.random.Generator
) -> None:
    truth, p = rng.integers(classes, size=200), rng.dirichlet(np.ones(classes), 200)
    losses = row_losses(kind, p.astype(np.float32), truth)
    assert losses.shape == (200,)
    assert losses.mean() == pytest.approx(score(kind, truth, p)["log_loss"], rel=1e-5)
    assert losses[7] == pytest.approx(-np.log(p[7, truth[7]]), rel=1e-5)


def test_losses_of_regression_rows_are_squared_errors() -> None:
    p, truth = np.array([1.0, 2.0, -1.0], np.float32), np.array([1.0, 4.0, 2.0])
    assert row_losses("regression", p, truth).tolist() == [0, 4, 9]


def test_certain_mistake_has_a_finite_loss() -> None:
    p = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    losses = row_losses("binary", p, np.array([1, 1]))
    assert losses.tolist() == pytest.approx([-np.log(1e-7), 0])
