"""Gradient boosting of trees: LightGBM, XGBoost, CatBoost and scikit-learn's, behind one door.

Each stops early by its own loss on the held-out rows, or when its time is up. Of the best round
and a few around it the one is kept that the judge prefers, for what is judged (a ranking, labels)
may go on rising after the loss. What is fitted is a `TreeEnsemble`: the library is not needed any
more.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

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
from netwright.pipelines.trees.importers import of_catboost, of_histograms, of_lightgbm, of_xgboost
from netwright.pipelines.trees.tree_ensemble import GrowsTrees, TreeEnsemble


@dataclass
class EarlyStopping:
    """Says after each round whether boosting is over: nothing gained for a while, or no time.

    Patience: 300 rounds for up to 10,000 rows, fewer for more, at least 20 (AutoGluon 1.6), and no
    less than a fifth of the rounds so far.
    """

    rows: int
    deadline: float
    rounds: int = 0
    best: float = math.inf
    best_round: int = 0
    _began: float = 0.0
    _last: float = 0.0
    _slow: float = 0.0
    """Seconds a round: the slowest, forgotten by a tenth a round."""
    _asked: int = 0

    def __post_init__(self) -> None:
        if math.isfinite(self.deadline):
            self._began = self._last = time.monotonic()

    def over(self, loss: float) -> bool:
        """After a round that came to `loss` on the held-out rows."""
        idle = self.idle(loss)
        if not math.isfinite(self.deadline):
            return idle
        now = time.monotonic()
        self._slow, self._last = max(now - self._last, 0.9 * self._slow), now
        return idle or now + self._slow + self._reading(now) > self.deadline

    def idle(self, loss: float) -> bool:
        """The same without a look at the clock."""
        self.rounds += 1
        if loss < self.best:
            self.best, self.best_round = loss, self.rounds
        patience = max(20, round(300 * min(1.0, 10_000 / self.rows)), self.best_round // 5)
        return self.rounds - self.best_round >= patience

    def room(self, rounds: int) -> int:
        """How many of the next `rounds` there is time for, by those since the last such question.

        For a library that is asked for several rounds at once. At first: 1.
        """
        if not math.isfinite(self.deadline):
            return rounds
        now, done = time.monotonic(), self.rounds - self._asked
        if not done:
            return 1
        slow = (now - self._last) / done
        self._asked, self._last = self.rounds, now
        return max(0, min(rounds, int((self.deadline - now - self._reading(now)) / slow / 1.5)))

    def late(self) -> bool:
        """Whether the time is over."""
        return math.isfinite(self.deadline) and time.monotonic() > self.deadline

    def _reading(self, now: float) -> float:
        """Seconds to leave for reading and judging the trees: a seventh of what they took."""
        return (now - self._began) / 7


class _Boosting(GrowsTrees, ABC):
    """What the four have in common: when to stop, what to keep, where it is kept."""

    n_estimators: int

    def fit(
        self, inputs: InputSpec, rows: PreparedRows, held_out: PreparedRows, judge: ValidationLoss, *,
        seed: int, fidelity: float, deadline: float,
    ) -> TreeEnsemble:  # fmt: skip
        """As `Learner.fit`; `fidelity` scales the largest number of rounds."""
        check_classes(rows, inputs.n_outputs)
        rounds = max(1, round(self.n_estimators * fidelity))
        watch = EarlyStopping(len(rows), deadline)
        ensemble, width = self._grow(inputs.n_outputs, rows, held_out, rounds, watch, seed)
        if not math.isfinite(watch.best):
            raise InfeasibleCandidate("boosting diverged: no round has a finite loss")
        return _preferred(ensemble, width, watch, held_out, judge)

    def for_refit(self, fitted: Sequence[TreeEnsemble]) -> Self:
        """As `Settles.settled`: their rounds."""
        rounds = [one.trees / len(np.unique(one.output)) for one in fitted]
        return replace(self, trees=max(1, round(float(np.mean(rounds)))))  # type: ignore[type-var]

    @abstractmethod
    def _grow(
        self,
        outputs: int,
        rows: PreparedRows,
        held_out: PreparedRows,
        rounds: int,
        watch: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        """All rounds until `watch` says that it is over, and the trees of a round."""


@dataclass(frozen=True)
class LightGBM(_Boosting):
    """Trees grown leaf by leaf on histograms (Ke et al. 2017). Any field may hold an open choice.

    `trees` is the most rounds, `leaves` the most leaves of a tree, `min_rows` the fewest rows of
    one; `feature_share` of the columns for each tree, `row_share` of the rows for each round; `l1`
    and `l2` weigh on the leaves' values; `extra_trees` tries one random threshold a column.
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

    def _grow(
        self,
        outputs: int,
        rows: PreparedRows,
        held_out: PreparedRows,
        rounds: int,
        watch: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        import lightgbm

        loss = _by_outputs(outputs, "regression", "binary", "multiclass")
        settings: dict[str, Any] = {
            "objective": loss, "learning_rate": self.learning_rate, "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples, "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample, "bagging_freq": int(self.subsample < 1),
            "lambda_l1": self.reg_alpha, "lambda_l2": self.reg_lambda, "extra_trees": self.extra_trees,
            "num_threads": 1, "deterministic": True, "force_col_wise": True, "seed": seed,
            "feature_pre_filter": False, "verbosity": -1,
        }  # fmt: skip
        if outputs > 2:
            settings["num_class"] = outputs

        def after(env: Any) -> None:
            if watch.over(env.evaluation_result_list[0][2]):
                raise lightgbm.callback.EarlyStopException(env.iteration, [])

        try:
            train = lightgbm.Dataset(rows.inputs, rows.targets, weight=rows.weights)
            other = lightgbm.Dataset(
                held_out.inputs, held_out.targets, weight=held_out.weights, reference=train
            )
            booster = lightgbm.train(settings, train, rounds, valid_sets=[other], callbacks=[after])
        except lightgbm.basic.LightGBMError as error:
            raise InfeasibleCandidate(f"LightGBM cannot learn these rows: {error}") from error
        return of_lightgbm(booster, outputs), booster.num_model_per_iteration()


@dataclass(frozen=True)
class XGBoost(_Boosting):
    """Regularised trees of second order, level by level (Chen & Guestrin 2016). Extra: boost.

    `trees` is the most rounds, `depth` that of a tree, `min_weight` the least sum of second
    derivatives in a leaf (of squared error: rows); the rest as those of `LightGBM`.
    """

    learning_rate: float = 0.1
    n_estimators: int = 2000
    max_depth: int = 6
    min_child_weight: float = 1.0
    colsample_bytree: float = 1.0
    subsample: float = 1.0
    reg_alpha: float = 0.0
    reg_lambda: float = 1.0

    def _grow(
        self,
        outputs: int,
        rows: PreparedRows,
        held_out: PreparedRows,
        rounds: int,
        watch: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        xgboost = import_optional("xgboost", "boost", "boosting with XGBoost")
        loss = _by_outputs(outputs, "reg:squarederror", "binary:logistic", "multi:softprob")
        settings: dict[str, Any] = {
            "objective": loss, "eval_metric": _by_outputs(outputs, "rmse", "logloss", "mlogloss"),
            "learning_rate": self.learning_rate, "max_depth": self.max_depth, "tree_method": "hist",
            "min_child_weight": self.min_child_weight, "colsample_bytree": self.colsample_bytree,
            "subsample": self.subsample, "alpha": self.reg_alpha, "lambda": self.reg_lambda,
            "nthread": 1, "seed": seed, "verbosity": 0,
        }  # fmt: skip
        if outputs > 2:
            settings["num_class"] = outputs

        class After(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                (losses,) = evals_log["held_out"].values()
                return watch.over(losses[-1])

        def matrix(part: PreparedRows) -> Any:
            return xgboost.DMatrix(part.inputs, part.targets, weight=part.weights, nthread=1)

        try:
            booster = xgboost.train(
                settings, matrix(rows), rounds, evals=[(matrix(held_out), "held_out")],
                callbacks=[After()], verbose_eval=False,
            )  # fmt: skip
        except xgboost.core.XGBoostError as error:
            raise InfeasibleCandidate(f"XGBoost cannot learn these rows: {error}") from error
        return of_xgboost(booster, outputs), outputs if outputs > 2 else 1


@dataclass(frozen=True)
class CatBoost(_Boosting):
    """Symmetric trees, one question a level (Prokhorenkova et al. 2018). Extra: boost.

    `trees` is the most rounds, `random_strength` the noise on the scores of splits, `bins` the most
    thresholds of a column; `feature_share` is drawn for each level; the rest as above.
    """

    learning_rate: float = 0.05
    n_estimators: int = 2000
    depth: int = 6
    l2_leaf_reg: float = 3.0
    rsm: float = 1.0
    subsample: float = 0.8
    random_strength: float = 1.0
    border_count: int = 254

    def _grow(
        self,
        outputs: int,
        rows: PreparedRows,
        held_out: PreparedRows,
        rounds: int,
        watch: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        catboost = import_optional("catboost", "boost", "boosting with CatBoost")
        loss = _by_outputs(outputs, "RMSE", "Logloss", "MultiClass")
        sampling: dict[str, Any] = {"bootstrap_type": "No"}
        if self.subsample < 1:
            sampling = {"bootstrap_type": "Bernoulli", "subsample": self.subsample}
        settings: dict[str, Any] = sampling | {
            "loss_function": loss, "learning_rate": self.learning_rate, "iterations": rounds,
            "depth": self.depth, "l2_leaf_reg": self.l2_leaf_reg, "rsm": self.rsm,
            "random_strength": self.random_strength, "border_count": self.border_count,
            "boosting_type": "Plain", "use_best_model": False, "thread_count": 1,
            "random_seed": seed, "allow_writing_files": False, "logging_level": "Silent",
        }  # fmt: skip
        known = np.unique(rows.targets) if outputs > 2 else np.arange(outputs)
        if len(known) < outputs:  # it has no score for the others, and no loss
            held_out = _only(held_out, known)

        class After:
            def after_iteration(self, info: Any) -> bool:
                return not watch.over(info.metrics["validation"][loss][-1])

        def pool(part: PreparedRows) -> Any:
            return catboost.Pool(part.inputs, part.targets, weight=part.weights, thread_count=1)

        model = catboost.CatBoost(settings)
        try:
            model.fit(pool(rows), eval_set=pool(held_out), callbacks=[After()])
        except catboost.CatBoostError as error:
            raise InfeasibleCandidate(f"CatBoost cannot learn these rows: {error}") from error
        base = np.full(outputs, -math.log(2 * len(rows)))  # as if of half a row
        base[known] = 0
        return of_catboost(model, base, known), 1


@dataclass(frozen=True)
class HistogramBoosting(_Boosting):
    """Scikit-learn's boosting on histograms, leaf by leaf; needs no library more.

    `trees` is the most rounds; `feature_share` is drawn for each split; the rest as those of
    `LightGBM`. It cannot be watched while it boosts: it is asked for a few rounds more each time,
    at least a quarter of those it has.
    """

    learning_rate: float = 0.1
    n_estimators: int = 1000
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    max_features: float = 1.0
    l2_regularization: float = 0.0

    def _grow(
        self,
        outputs: int,
        rows: PreparedRows,
        held_out: PreparedRows,
        rounds: int,
        watch: EarlyStopping,
        seed: int,
    ) -> tuple[TreeEnsemble, int]:
        from sklearn import ensemble
        from threadpoolctl import threadpool_limits

        kind = ensemble.HistGradientBoostingRegressor
        if outputs > 1:
            kind = ensemble.HistGradientBoostingClassifier
        model = kind(
            learning_rate=self.learning_rate, max_leaf_nodes=self.max_leaf_nodes, random_state=seed,
            min_samples_leaf=self.min_samples_leaf, max_features=self.max_features, warm_start=True,
            l2_regularization=self.l2_regularization, early_stopping=False,
        )  # fmt: skip
        found: list[Any] = []
        base, places, scores = np.zeros(outputs), list(range(outputs)), np.empty(0)
        idle = False
        while not idle and (some := watch.room(min(max(10, len(found) // 4), rounds - len(found)))):
            model.set_params(max_iter=len(found) + some)
            with threadpool_limits(1):
                model.fit(rows.inputs, rows.targets, rows.weights)
            new, found = model._predictors[len(found) :], model._predictors.copy()
            if not scores.size:
                base, places = _first_scores(model, rows, outputs)
                scores = np.repeat(base[None], len(held_out), axis=0)
            gains = of_histograms(new, np.zeros(outputs), places)
            counts = [len(places) * (i + 1) for i in range(some)]
            for gain in gains.stages(held_out.inputs, counts):
                idle = idle or watch.idle(_loss(scores + gain, held_out))
            scores = scores + gain
        return of_histograms(found[: watch.rounds], base, places), len(places)


def _by_outputs(outputs: int, number: str, two: str, more: str) -> str:
    """A library's name for the loss of one number, two classes or more."""
    return (number, two)[outputs - 1] if outputs <= 2 else more


def _preferred(
    ensemble: TreeEnsemble,
    width: int,
    watch: EarlyStopping,
    held_out: PreparedRows,
    judge: ValidationLoss,
) -> TreeEnsemble:
    """The rounds (of `width` trees) up to the best by the loss, or to one near it by the judge.

    Where there is no time for the judge, the best by the loss.
    """
    last = ensemble.trees // width
    best = min(watch.best_round, last)  # a library drops rounds in which nothing was split
    rounds = sorted({max(1, best // 2), max(1, best * 3 // 4), best, (best + last) // 2, last})
    stages = ensemble.stages(held_out.inputs, [count * width for count in rounds])
    judged: list[tuple[float, int, int]] = []
    for count in rounds:
        if watch.late():
            return ensemble.first(best * width)
        judged.append((judge(next(stages)), abs(count - best), count))
    return ensemble.first(min(judged)[2] * width)


def _first_scores(model: Any, rows: PreparedRows, outputs: int) -> tuple[Arrays, list[int]]:
    """(outputs,) what histogram boosting begins with, and the outputs its trees are added to.

    A class without rows begins where half a row would have put it.
    """
    start = model._baseline_prediction.ravel().astype(np.float64)
    if outputs == 1:
        return start, [0]
    known = model.classes_.tolist()
    if len(known) == 2:
        start = np.array([0.0, start[0]])
    fewest = np.bincount(rows.targets, minlength=outputs)[known].min()
    base = np.full(outputs, start.min() - math.log(2 * fewest))
    base[known] = start
    return base, known[1:] if len(known) == 2 else known


def _only(rows: PreparedRows, classes: Arrays) -> PreparedRows:
    """Those of the rows that are of these classes."""
    some = np.isin(rows.targets, classes)
    weights = None if rows.weights is None else rows.weights[some]
    return PreparedRows(rows.inputs[some], rows.targets[some], weights)


def _loss(scores: Arrays, rows: PreparedRows) -> float:
    """Mean squared error or log loss of (rows, outputs) scores, by the rows' weights."""
    if scores.shape[1] == 1:
        losses = (scores[:, 0] - rows.targets) ** 2
    else:
        shifted = scores - scores.max(1, keepdims=True)
        chosen = shifted[np.arange(len(rows)), rows.targets]
        losses = np.log(np.exp(shifted).sum(1)) - chosen
    return float(np.average(losses, weights=rows.weights))
