from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from netwright.errors import InputError
from netwright.trials.metrics import METRICS, default_metric, defined, metric, score


def chances(n: int, classes: int, seed: int) -> np.ndarray:
    raw = np.random.default_rng(seed).random((n, classes))
    return raw / raw.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classification_metrics_agree_with_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(1)
    truth, p = rng.integers(0, classes, 200), chances(200, classes, 2)
    kind = "binary" if classes == 2 else "multiclass"
    found, label = score(kind, truth, p), p.argmax(1)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, label))
    balanced = reference.balanced_accuracy_score(truth, label)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    assert found["f1"] == pytest.approx(reference.f1_score(truth, label, average="macro"))
    assert found["log_loss"] == pytest.approx(reference.log_loss(truth, p.astype(float)), rel=1e-5)
    auc = reference.roc_auc_score(truth, p[:, 1] if classes == 2 else p, multi_class="ovr")
    assert found["auc"] == pytest.approx(auc)


def test_float32_probabilities_off_by_rounding_are_scored() -> None:
    p = chances(90, 3, 0).astype(np.float32)
    assert "auc" in score("multiclass", np.arange(90) % 3, p)


def test_undefined_metrics_are_left_out() -> None:
    found = score("binary", np.zeros(5, int), chances(5, 2, 0))
    assert "auc" not in found
    assert "accuracy" in found
    assert "r2" not in score("regression", np.ones(4), np.ones(4))


def test_regression_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, said = rng.normal(size=50), rng.normal(size=50)
    found = score("regression", truth, said)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, said))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(truth, said))
    assert found["r2"] == pytest.approx(reference.r2_score(truth, said))


def test_an_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"got 'acuracy'. Did you mean 'accuracy'"):
        metric("acuracy")


def test_each_default_scores_its_own_task() -> None:
    for kind in ("binary", "multiclass", "regression"):
        assert kind in METRICS[default_metric(kind)].kinds


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("values", [[0, 0, 0], [0, 1, 1], [1, 1, 1], [0, 1, 2], [2, 2, 0]])
def test_defined_metrics_are_those_that_score_returns(kind: Any, values: list[int]) -> None:
    classes = {"binary": 2, "multiclass": 3, "regression": 0}[kind]
    target = np.array(values) % classes if classes else np.array(values, float)
    shape = (3, classes) if classes else (3,)
    scores = score(kind, target, np.full(shape, 1 / max(1, classes)))
    assert set(defined(kind, target, classes)) == set(scores)
