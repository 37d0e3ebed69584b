"""Gradient boosting of trees by LightGBM, XGBoost, CatBoost and scikit-learn.

Each stops early by its own loss on the validation rows, or when its time is up. Among the best
round and some around it, `validation_loss` chooses, since the metric of the search (a ranking,
labels) may keep improving after the library's loss. The result is a `TreeEnsemble`, which no longer
needs the library.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

import numpy as np

from netwright._optional import import_optional
from netwright.errors import InfeasibleCandidate
from netwright.pipelines.interfaces import (
    Arrays,
    InputSpec,
    PreparedRows,
    ValidationLoss,
    check_classes,
)
from netwright.pipelines.trees.importers import (
    HistogramTree,
    from_catboost,
    from_histogram_boosting,
    from_lightgbm,
    from_xgboost,
)
from netwright.pipelines.trees.tree_ensemble import TreeEnsemble, TreeLearner

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    SklearnBoosting: TypeAlias = HistGradientBoostingClassifier | HistGradientBoostingRegressor

_BOOSTING_TO_CONVERSION_RATIO = 7
"""Seconds of boosting for which a second is reserved to convert and evaluate the trees."""
_CALL_SAFETY_FACTOR = 1.5
"""By how much the rounds of the next call may be slower than those of the last."""


@dataclass
class EarlyStopping:
    """Decides after each round whether boosting ends: no improvement for a while, or no time.

    The patience is 300 rounds for up to 10,000 rows, fewer for more rows, at least 20 (as in
    AutoGluon 1.6), and at least a fifth of the best round.

    Args:
        n_rows: number of training rows.
        deadline: seconds of `time.monotonic()`; infinite for no limit.
        n_rounds: rounds so far.
        best_loss: lowest validation loss so far.
        best_round: the round of that loss, counted from 1.
    """

    n_rows: int
    deadline: float
    n_rounds: int = 0
    best_loss: float = math.inf
    best_round: int = 0
    _start: float = 0.0
    _last_time: float = 0.0
    _round_seconds: float = 0.0
    """Seconds of the slowest round, decaying by a tenth each round."""
    _n_rounds_at_last_call: int = 0

    def __post_init__(self) -> None:
        if math.isfinite(self.deadline):
            self._start = self._last_time = time.monotonic()

    def update(self, loss: float) -> bool:
        """Record a round's validation loss; return whether boosting should end."""
        has_stalled = self.record(loss)
        if not math.isfinite(self.deadline):
            return has_stalled
        now = time.monotonic()
        self._round_seconds = max(now - self._last_time, 0.9 * self._round_seconds)
        self._last_time = now
        needed = self._round_seconds + self._conversion_seconds(now)
        return has_stalled or now + needed > self.deadline

    def record(self, loss: float) -> bool:
        """Record a round's validation loss; return whether patience has run out."""
        self.n_rounds += 1
        if loss < self.best_loss:
            self.best_loss, self.best_round = loss, self.n_rounds
        by_rows = round(300 * min(1.0, 10_000 / self.n_rows))
        patience = max(20, by_rows, self.best_round // 5)
        return self.n_rounds - self.best_round >= patience

    def affordable_rounds(self, n_rounds: int) -> int:
        """Return for how many of the next rounds there is time; 1 on the first call.

        For libraries that train several rounds per call: the rounds recorded since the last call of
        this method tell how long one takes.
        """
        if not math.isfinite(self.deadline):
            return n_rounds
        now, n_done = time.monotonic(), self.n_rounds - self._n_rounds_at_last_call
        if not n_done:
            return 1
        round_seconds = (now - self._last_time) / n_done
        self._n_rounds_at_last_call, self._last_time = self.n_rounds, now
        seconds_left = self.deadline - now - self._conversion_seconds(now)
        return max(0, min(n_rounds, int(seconds_left / round_seconds / _CALL_SAFETY_FACTOR)))

    def is_late(self) -> bool:
        """Return whether the deadline has passed."""
        return math.isfinite(self.deadline) and time.monotonic() > self.deadline

    def _conversion_seconds(self, now: float) -> float:
        return (now - self._start) / _BOOSTING_TO_CONVERSION_RATIO


class _Boosting(TreeLearner, ABC):
    """Base of the boosting learners: early stopping, choice of the round and storage."""

    n_estimators: int

    def fit(
        self,
        input_spec: InputSpec,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        validation_loss: ValidationLoss,
        *,
        seed: int,
        fidelity: float,
        deadline: float,
    ) -> TreeEnsemble:
        """As `Learner.fit`; `fidelity` scales the maximum number of rounds."""
        check_classes(rows, input_spec.n_outputs)
        max_rounds = max(1, round(self.n_estimators * fidelity))
        stopping = EarlyStopping(len(rows), deadline)
        ensemble, trees_per_round = self._boost(
            input_spec.n_outputs, rows, validation_rows, max_rounds, stopping, seed
        )
        if not math.isfinite(stopping.best_loss):
            raise InfeasibleCandidate("boosting diverged: no round has a finite loss")
        return _best_rounds(ensemble, trees_per_round, stopping, validation_rows, validation_loss)

    def for_refit(self, fold_models: Sequence[TreeEnsemble]) -> Self:
        """As `RefittableLearner.for_refit`."""
        rounds = [model.n_trees / len(np.unique(model.output)) for model in fold_models]
        n_estimators = max(1, round(float(np.mean(rounds))))
        return replace(self, n_estimators=n_estimators)  # type: ignore[type-var]

    @abstractmethod
    def _boost(
        self,
        n_outputs: int,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        max_rounds: int,
        stopping: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        """Boost until `stopping` says so; return all trees and the number of trees per round."""


@dataclass(frozen=True)
class LightGBM(_Boosting):
    """LightGBM: histogram-based trees grown leaf by leaf (Ke et al. 2017).

    Any field may hold an open choice. The names are those of `lightgbm.LGBMModel`.

    Args:
        learning_rate: shrinkage of each tree.
        n_estimators: maximum number of boosting rounds; early stopping ends sooner.
        num_leaves: maximum number of leaves of a tree.
        min_child_samples: minimum number of rows of a leaf.
        colsample_bytree: share of the columns drawn for each tree, in (0, 1].
        subsample: share of the rows drawn for each round, in (0, 1].
        reg_alpha: L1 regularization of the leaf values.
        reg_lambda: L2 regularization of the leaf values.
        extra_trees: try a single random threshold for each column.

    Example:
        >>> pipeline = TablePipeline(LightGBM(num_leaves=Integer(4, 256, log=True)))
    """

    learning_rate: float = 0.05
    n_estimators: int = 2000
    num_leaves: int = 31
    min_child_samples: int = 20
    colsample_bytree: float = 1.0
    subsample: float = 1.0
    reg_alpha: float = 0.0
    reg_lambda: float = 0.0
    extra_trees: bool = False

    def _boost(
        self,
        n_outputs: int,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        max_rounds: int,
        stopping: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        import lightgbm

        settings: dict[str, object] = {
            "objective": _by_outputs(n_outputs, "regression", "binary", "multiclass"),
            "learning_rate": self.learning_rate, "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples, "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample, "bagging_freq": int(self.subsample < 1),
            "lambda_l1": self.reg_alpha, "lambda_l2": self.reg_lambda,
            "extra_trees": self.extra_trees, "num_threads": 1, "deterministic": True,
            "force_col_wise": True, "seed": seed, "feature_pre_filter": False, "verbosity": -1,
        }  # fmt: skip
        if n_outputs > 2:
            settings["num_class"] = n_outputs

        def stop_early(env: lightgbm.callback.CallbackEnv) -> None:
            if stopping.update(env.evaluation_result_list[0][2]):
                raise lightgbm.callback.EarlyStopException(env.iteration, [])

        try:
            train_set = lightgbm.Dataset(rows.inputs, rows.targets, weight=rows.weights)
            validation_set = lightgbm.Dataset(
                validation_rows.inputs,
                validation_rows.targets,
                weight=validation_rows.weights,
                reference=train_set,
            )
            booster = lightgbm.train(
                settings, train_set, max_rounds, valid_sets=[validation_set], callbacks=[stop_early]
            )
        except lightgbm.basic.LightGBMError as error:
            raise InfeasibleCandidate(f"LightGBM cannot learn these rows: {error}") from error
        return from_lightgbm(booster, n_outputs), booster.num_model_per_iteration()


@dataclass(frozen=True)
class XGBoost(_Boosting):
    """XGBoost: regularized second-order trees grown level by level (Chen & Guestrin 2016).

    Needs the extra ``boost``. Any field may hold an open choice. The names are those of
    `xgboost.XGBModel`.

    Args:
        learning_rate: shrinkage of each tree.
        n_estimators: maximum number of boosting rounds; early stopping ends sooner.
        max_depth: maximum depth of a tree.
        min_child_weight: minimum sum of second derivatives in a leaf; for squared error that is the
            number of rows.
        colsample_bytree: share of the columns drawn for each tree, in (0, 1].
        subsample: share of the rows drawn for each round, in (0, 1].
        reg_alpha: L1 regularization of the leaf values.
        reg_lambda: L2 regularization of the leaf values.

    Example:
        >>> pipeline = TablePipeline(XGBoost(max_depth=Integer(3, 10)))
    """

    learning_rate: float = 0.1
    n_estimators: int = 2000
    max_depth: int = 6
    min_child_weight: float = 1.0
    colsample_bytree: float = 1.0
    subsample: float = 1.0
    reg_alpha: float = 0.0
    reg_lambda: float = 1.0

    def _boost(
        self,
        n_outputs: int,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        max_rounds: int,
        stopping: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        xgboost = import_optional("xgboost", "boost", "boosting with XGBoost")
        loss = _by_outputs(n_outputs, "reg:squarederror", "binary:logistic", "multi:softprob")
        settings: dict[str, object] = {
            "objective": loss, "eval_metric": _by_outputs(n_outputs, "rmse", "logloss", "mlogloss"),
            "learning_rate": self.learning_rate, "max_depth": self.max_depth, "tree_method": "hist",
            "min_child_weight": self.min_child_weight, "colsample_bytree": self.colsample_bytree,
            "subsample": self.subsample, "alpha": self.reg_alpha, "lambda": self.reg_lambda,
            "nthread": 1, "seed": seed, "verbosity": 0,
        }  # fmt: skip
        if n_outputs > 2:
            settings["num_class"] = n_outputs

        class StopEarly(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
            def after_iteration(
                self,
                model: object,
                epoch: int,
                evals_log: Mapping[str, Mapping[str, Sequence[float]]],
            ) -> bool:
                (losses,) = evals_log["validation"].values()
                return stopping.update(losses[-1])

        def matrix(prepared: PreparedRows) -> object:
            return xgboost.DMatrix(
                prepared.inputs, prepared.targets, weight=prepared.weights, nthread=1
            )

        try:
            booster = xgboost.train(
                settings,
                matrix(rows),
                max_rounds,
                evals=[(matrix(validation_rows), "validation")],
                callbacks=[StopEarly()],
                verbose_eval=False,
            )
        except xgboost.core.XGBoostError as error:
            raise InfeasibleCandidate(f"XGBoost cannot learn these rows: {error}") from error
        return from_xgboost(booster, n_outputs), n_outputs if n_outputs > 2 else 1


class _CatBoostInfo(Protocol):
    """Used interface of the argument of CatBoost's `after_iteration`."""

    metrics: Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class CatBoost(_Boosting):
    """CatBoost: symmetric trees, one split per level (Prokhorenkova et al. 2018).

    Needs the extra ``boost``. Any field may hold an open choice. The names are those of
    `catboost.CatBoost`.

    Args:
        learning_rate: shrinkage of each tree.
        n_estimators: maximum number of boosting rounds; early stopping ends sooner.
        depth: depth of each tree.
        l2_leaf_reg: L2 regularization of the leaf values.
        rsm: share of the columns drawn for each level, in (0, 1] (random subspace method).
        subsample: share of the rows drawn for each round, in (0, 1].
        random_strength: noise on the scores of splits.
        border_count: maximum number of thresholds of a column.

    Example:
        >>> pipeline = TablePipeline(CatBoost(depth=Integer(4, 7)))
    """

    learning_rate: float = 0.05
    n_estimators: int = 2000
    depth: int = 6
    l2_leaf_reg: float = 3.0
    rsm: float = 1.0
    subsample: float = 0.8
    random_strength: float = 1.0
    border_count: int = 254

    def _boost(
        self,
        n_outputs: int,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        max_rounds: int,
        stopping: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        catboost = import_optional("catboost", "boost", "boosting with CatBoost")
        loss = _by_outputs(n_outputs, "RMSE", "Logloss", "MultiClass")
        sampling: dict[str, object] = {"bootstrap_type": "No"}
        if self.subsample < 1:
            sampling = {"bootstrap_type": "Bernoulli", "subsample": self.subsample}
        settings: dict[str, object] = sampling | {
            "loss_function": loss, "learning_rate": self.learning_rate, "iterations": max_rounds,
            "depth": self.depth, "l2_leaf_reg": self.l2_leaf_reg, "rsm": self.rsm,
            "random_strength": self.random_strength, "border_count": self.border_count,
            "boosting_type": "Plain", "use_best_model": False, "thread_count": 1,
            "random_seed": seed, "allow_writing_files": False, "logging_level": "Silent",
        }  # fmt: skip
        classes = np.unique(rows.targets) if n_outputs > 2 else np.arange(n_outputs)
        if len(classes) < n_outputs:  # CatBoost has no score, and so no loss, for the others
            validation_rows = _rows_of_classes(validation_rows, classes)

        class StopEarly:
            def after_iteration(self, info: _CatBoostInfo) -> bool:
                return not stopping.update(info.metrics["validation"][loss][-1])

        def pool(prepared: PreparedRows) -> object:
            return catboost.Pool(
                prepared.inputs, prepared.targets, weight=prepared.weights, thread_count=1
            )

        model = catboost.CatBoost(settings)
        try:
            model.fit(pool(rows), eval_set=pool(validation_rows), callbacks=[StopEarly()])
        except catboost.CatBoostError as error:
            raise InfeasibleCandidate(f"CatBoost cannot learn these rows: {error}") from error
        base = np.full(n_outputs, -math.log(2 * len(rows)))  # unseen classes: half a row
        base[classes] = 0
        return from_catboost(model, base, classes), 1


@dataclass(frozen=True)
class HistogramBoosting(_Boosting):
    """Histogram gradient boosting by scikit-learn, leaf by leaf; needs no other library.

    Any field may hold an open choice. The names are those of
    `sklearn.ensemble.HistGradientBoostingClassifier`, except for `n_estimators`. Early stopping
    reads the clock and the loss between calls, which add at least ten rounds or a quarter of those
    done.

    Args:
        learning_rate: shrinkage of each tree.
        n_estimators: maximum number of boosting rounds (scikit-learn: max_iter).
        max_leaf_nodes: maximum number of leaves of a tree.
        min_samples_leaf: minimum number of rows of a leaf.
        max_features: share of the columns drawn for each split, in (0, 1].
        l2_regularization: L2 regularization of the leaf values.

    Example:
        >>> pipeline = TablePipeline(HistogramBoosting(max_leaf_nodes=OneOf(8, 31, 128)))
    """

    learning_rate: float = 0.1
    n_estimators: int = 1000
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    max_features: float = 1.0
    l2_regularization: float = 0.0

    def _boost(
        self,
        n_outputs: int,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        max_rounds: int,
        stopping: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        from sklearn import ensemble
        from threadpoolctl import threadpool_limits

        estimator_type = ensemble.HistGradientBoostingRegressor
        if n_outputs > 1:
            estimator_type = ensemble.HistGradientBoostingClassifier
        model = estimator_type(
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            random_state=seed,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            warm_start=True,
            l2_regularization=self.l2_regularization,
            early_stopping=False,
        )
        rounds: list[Sequence[HistogramTree]] = []
        base, outputs, scores = np.zeros(n_outputs), list(range(n_outputs)), np.empty(0)
        has_stalled = False
        while not has_stalled:
            step = min(max(10, len(rounds) // 4), max_rounds - len(rounds))
            step = stopping.affordable_rounds(step)
            if not step:
                break
            model.set_params(max_iter=len(rounds) + step)
            with threadpool_limits(1):
                model.fit(rows.inputs, rows.targets, rows.weights)
            new_rounds, rounds = model._predictors[len(rounds) :], model._predictors.copy()
            if not scores.size:
                base, outputs = _initial_scores(model, rows, n_outputs)
                scores = np.repeat(base[None], len(validation_rows), axis=0)
            new_trees = from_histogram_boosting(new_rounds, np.zeros(n_outputs), outputs)
            tree_counts = [len(outputs) * (i + 1) for i in range(step)]
            for gain in new_trees.staged_outputs(validation_rows.inputs, tree_counts):
                has_stalled = has_stalled or stopping.record(_loss(scores + gain, validation_rows))
            scores = scores + gain
        ensemble_of_rounds = from_histogram_boosting(rounds[: stopping.n_rounds], base, outputs)
        return ensemble_of_rounds, len(outputs)


def _by_outputs(n_outputs: int, regression: str, binary: str, multiclass: str) -> str:
    """Return a library's name for the loss of this number of outputs."""
    return (regression, binary)[n_outputs - 1] if n_outputs <= 2 else multiclass


def _best_rounds(
    ensemble: TreeEnsemble,
    trees_per_round: int,
    stopping: EarlyStopping,
    validation_rows: PreparedRows,
    validation_loss: ValidationLoss,
) -> TreeEnsemble:
    """Return the best number of rounds: the library's own, or a nearby one by `validation_loss`.

    The library's own if there is no time to compare.
    """
    last = ensemble.n_trees // trees_per_round
    best = min(stopping.best_round, last)  # libraries drop rounds in which nothing was split
    rounds = sorted({max(1, best // 2), max(1, best * 3 // 4), best, (best + last) // 2, last})
    tree_counts = [n_rounds * trees_per_round for n_rounds in rounds]
    staged_outputs = ensemble.staged_outputs(validation_rows.inputs, tree_counts)
    candidates: list[tuple[float, int, int]] = []
    for n_rounds in rounds:
        if stopping.is_late():
            return ensemble.first(best * trees_per_round)
        loss = validation_loss(next(staged_outputs))
        candidates.append((loss, abs(n_rounds - best), n_rounds))
    return ensemble.first(min(candidates)[2] * trees_per_round)


def _initial_scores(
    model: SklearnBoosting, rows: PreparedRows, n_outputs: int
) -> tuple[Arrays, list[int]]:
    """Return histogram boosting's initial scores (outputs,) and the outputs its trees add to.

    A class without training rows starts where half a row would have put it.
    """
    baseline = model._baseline_prediction.ravel().astype(np.float64)
    if n_outputs == 1:
        return baseline, [0]
    classes = model.classes_.tolist()
    if len(classes) == 2:
        baseline = np.array([0.0, baseline[0]])
    min_count = np.bincount(rows.targets, minlength=n_outputs)[classes].min()
    base = np.full(n_outputs, baseline.min() - math.log(2 * min_count))
    base[classes] = baseline
    return base, classes[1:] if len(classes) == 2 else classes


def _rows_of_classes(rows: PreparedRows, classes: Arrays) -> PreparedRows:
    has_class = np.isin(rows.targets, classes)
    weights = None if rows.weights is None else rows.weights[has_class]
    return PreparedRows(rows.inputs[has_class], rows.targets[has_class], weights)


def _loss(scores: Arrays, rows: PreparedRows) -> float:
    """Return the weighted mean squared error or log loss of scores (rows, outputs)."""
    if scores.shape[1] == 1:
        losses = (scores[:, 0] - rows.targets) ** 2
    else:
        shifted = scores - scores.max(1, keepdims=True)
        true_scores = shifted[np.arange(len(rows)), rows.targets]
        losses = np.log(np.exp(shifted).sum(1)) - true_scores
    return float(np.average(losses, weights=rows.weights))
