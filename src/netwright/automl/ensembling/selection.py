"""Ensemble selection on out-of-fold predictions (Caruana et al., 2004).

Every trial of a table leaves a prediction for each held-out row by a model that was not fitted on it
(`CrossValidate`). Greedy selection picks the members on these predictions, and the ensemble has to
win on rows that it was not selected on. Trials that were not fitted on all folds have predictions
for fewer rows: a second ensemble, selected among all trials on the rows they share, gets half of the
weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import TaskKind
from netwright.pipelines.ensemble_selection import (
    GreedySelection,
    repeated_two_fold,
    weighted_average,
)
from netwright.pipelines.weighted_ensemble import apply_temperature
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.losses import Loss, log_loss, loss_of, predicted
from netwright.trials.metrics import METRICS, score
from netwright.trials.scores import Predictions, ScoredRows, labelled
from netwright.trials.trial import Metrics, Trial

_LIBRARY_SIZE = 16
"""Candidates for membership: the trials with the lowest losses."""
_MAX_SELECTION_ROWS = 5_000
"""Rows that selection scores on; more rows take longer and select the same members."""
_MIN_ROWS_WITHOUT_PROOF = 5_000
"""Below this many rows, an ensemble has to win on rows that it was not selected on."""
_N_SPLITS = 3
"""Splits into halves on which the ensembles of full and of partial trials are compared."""
_STEPS_PER_SPLIT = 8
_MIN_GAIN_STANDARD_ERRORS = 2.0
"""Standard errors by which one ensemble alone must beat the mean of both."""
_MIN_RELATIVE_GAIN = 0.05
"""Fraction of the loss by which one ensemble alone must beat the mean of both.

Models of all folds gain about this much over the score of one fold (0.005 to 0.13, measured on nine
tables).
"""
_MAX_ENSEMBLE_BYTES = 20_000_000
"""Size of the members' fitted models. The ONNX file of trees is nearly three times as large, and
160 MB take 10 s to write, load and check."""
_MIN_SHARED_ROWS = 30
"""Rows with predictions by all trials below which trials of some folds are ignored."""
_MIN_CALIBRATION_ROWS = 200
"""Rows below which neither a temperature nor a threshold is fitted."""
_N_THRESHOLDS = 49
"""Quantiles of the probabilities that are tried as thresholds."""


@dataclass(frozen=True)
class ScoringTargets:
    """Targets of the rows that members are scored on, with their groups and sample weights."""

    target: NDArray[Any]
    groups: NDArray[Any] | None = None
    weights: NDArray[np.floating] | None = None

    def take(self, rows: NDArray[np.int64]) -> ScoringTargets:
        """Return the targets of some of the rows, unweighted if all their weights are 0."""
        groups = None if self.groups is None else self.groups[rows]
        weights = None if self.weights is None else self.weights[rows]
        if weights is not None and not weights.any():
            weights = None
        return ScoringTargets(self.target[rows], groups, weights)


@dataclass(frozen=True)
class Member:
    """A trial that may join an ensemble.

    Args:
        trial: the trial.
        n_folds: on how many folds it was fitted.
        predictions: (rows, classes) or (rows,) out-of-fold predictions; NaN for rows without one.
        n_bytes: size of its fitted models on disk.
    """

    trial: Trial
    n_folds: int
    predictions: Predictions
    n_bytes: int = 0

    @property
    def has_prediction(self) -> NDArray[np.bool_]:
        """(rows,) whether there is a prediction for the row."""
        return predicted(self.predictions)


@dataclass(frozen=True)
class ProposedEnsemble:
    """An ensemble and its metrics on the held-out rows.

    With `first_fold` the metrics are unbiased, as each row is held out of one fold. An ensemble of
    all fold models is better than its metrics. Those of a refit are of fold models, which were
    trained on fewer rows.

    Args:
        spec: members and their weights.
        metrics: scores on the held-out rows.
        ranked: ids of the members, in the order in which they were listed for selection: the one
            with the best score of its own first.
    """

    spec: EnsembleSpec
    metrics: Metrics
    ranked: tuple[int, ...] = ()


def select_ensemble(
    members: Sequence[Member],
    kind: TaskKind,
    targets: ScoringTargets,
    metric: str,
    steps: int = 25,
) -> ProposedEnsemble:
    """Select the members of an ensemble and their weights.

    One ensemble is selected among the trials of most folds, on all their rows; another among all
    trials, on the rows that all have predictions for. The outcome is the mean of both: trials of one
    fold add diversity, trials of all folds average many models and have reliable scores. If one of
    the two is clearly better than the mean, on rows that it was not selected on, it is used alone.

    Args:
        members: trials that may join.
        kind: kind of the task.
        targets: targets of the members' rows.
        metric: the metric to optimise.
        steps: greedy additions, and so the maximal number of members of each ensemble.
    """
    loss = _EnsembleLoss(loss_of(kind, metric), targets)
    max_folds = max(member.n_folds for member in members)
    full = [member for member in members if member.n_folds == max_folds]
    if len(full) < len(members):
        weights = _weights_with_partial(members, full, loss, steps)
    else:
        weights = _greedy_weights(full, loss, steps)
    chosen = [member for member in members if member.trial.id in weights]
    fitting = _within_size_limit(chosen, weights)
    if len(fitting) < len(chosen):
        return select_ensemble(fitting, kind, targets, metric, steps)
    return _scored(chosen, weights, kind, loss, metric)


def mean_of_available(
    predictions: Sequence[Predictions], weights: Sequence[float]
) -> NDArray[np.float64]:
    """Return each row's weighted mean over the members that predict it; NaN if none does."""
    total, total_weight = np.zeros(predictions[0].shape), np.zeros(len(predictions[0]))
    for member_predictions, weight in zip(predictions, weights, strict=True):
        available = predicted(member_predictions)
        total[available] += weight * member_predictions[available]
        total_weight[available] += weight
    with np.errstate(invalid="ignore"):
        return (total.T / total_weight).T


@dataclass(frozen=True)
class _EnsembleLoss:
    """Loss of predictions for some of the rows, and splits of the rows that respect groups."""

    loss: Loss
    targets: ScoringTargets

    def __call__(self, predictions: Predictions, rows: NDArray[np.int64]) -> float:
        targets = self.targets.take(rows)
        return self.loss(predictions, targets.target, targets.weights)

    def two_fold(
        self, rows: NDArray[np.int64], n_repeats: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the halves of repeated 2-fold splits, each way round."""
        groups, rng = self.targets.take(rows).groups, np.random.default_rng(0)
        for first, second in repeated_two_fold(len(rows), n_repeats, rng, groups):
            yield rows[first], rows[second]


def _weights_with_partial(
    members: Sequence[Member], full: Sequence[Member], loss: _EnsembleLoss, steps: int
) -> dict[int, float]:
    """Return the mean weights of the ensembles of `full` and of all members, or those of one.

    One is used alone if it beats the mean by both minimal gains, over repeated 2-fold splits.
    """
    rows = _sample_rows(_shared_rows(members))
    if len(rows) < _MIN_SHARED_ROWS:
        return _greedy_weights(full, loss, steps)
    libraries = (full, members)
    losses = []
    for held_out, _ in loss.two_fold(rows, _N_SPLITS):
        of_full, of_all = (
            _greedy_weights(library, loss, min(steps, _STEPS_PER_SPLIT), held_out)
            for library in libraries
        )
        options = (_mean_weights(of_full, of_all), of_full, of_all)
        losses.append([_ensemble_loss(members, option, held_out, loss) for option in options])
    if losses:
        gains = np.array(losses)[:, :1] - np.array(losses)[:, 1:]  # of each alone over the mean
        standard_error = gains.std(0) / np.sqrt(len(gains))
        is_better = gains.mean(0) > np.maximum(
            _MIN_GAIN_STANDARD_ERRORS * standard_error, _MIN_RELATIVE_GAIN * np.mean(losses)
        )
        if is_better.any():
            best = int(np.argmax(np.where(is_better, gains.mean(0), -np.inf)))
            return _greedy_weights(libraries[best], loss, steps)
    return _mean_weights(*(_greedy_weights(library, loss, steps) for library in libraries))


def _mean_weights(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    """Average two ensembles (trial id -> weight); a missing trial has weight 0."""
    only_in_second = (trial_id for trial_id in second if trial_id not in first)
    return {
        trial_id: (first.get(trial_id, 0) + second.get(trial_id, 0)) / 2
        for trial_id in (*first, *only_in_second)
    }


def _ensemble_loss(
    members: Sequence[Member],
    weights: Mapping[int, float],
    rows: NDArray[np.int64],
    loss: _EnsembleLoss,
) -> float:
    """Return the loss of a weighted mean on rows that all its members predict."""
    predictions = {member.trial.id: member.predictions[rows] for member in members}
    mean = weighted_average([predictions[trial_id] for trial_id in weights], [*weights.values()])
    return loss(mean, rows)


def _greedy_weights(
    members: Sequence[Member],
    loss: _EnsembleLoss,
    steps: int,
    held_out: NDArray[np.int64] | None = None,
) -> dict[int, float]:
    """Return greedy-selection weights (trial id -> weight), fitted on rows that all members predict.

    Args:
        members: trials to select among; the best `_LIBRARY_SIZE` of them are.
        loss: what is minimised.
        steps: greedy additions.
        held_out: rows that are not used.
    """
    rows = _shared_rows(members)
    rows = _sample_rows(rows if held_out is None else np.setdiff1d(rows, held_out))
    library = sorted(members, key=lambda member: loss(member.predictions[rows], rows))
    library = library[:_LIBRARY_SIZE]

    def subset_loss(predictions: Predictions, subset: NDArray[np.int64]) -> float:
        return loss(predictions, rows[subset])

    n_repeats = 4 if len(rows) < _MIN_ROWS_WITHOUT_PROOF else 0
    greedy = GreedySelection(steps, n_check_repeats=n_repeats, min_standard_errors=0)
    predictions = [member.predictions[rows] for member in library]
    groups = loss.targets.take(rows).groups
    weights = greedy(predictions, subset_loss, np.random.default_rng(0), groups)
    return {
        member.trial.id: float(weight)
        for member, weight in zip(library, weights, strict=True)
        if weight > 0
    }


def _shared_rows(members: Sequence[Member]) -> NDArray[np.int64]:
    """Return the indices of the rows that all members have predictions for."""
    return np.flatnonzero(np.logical_and.reduce([member.has_prediction for member in members]))


def _within_size_limit(chosen: list[Member], weights: Mapping[int, float]) -> list[Member]:
    """Drop members until the fitted models fit into a file that can be written in time.

    Members with the most weight per byte stay. The first of those of most folds stays whatever its
    size, since the scores of the others cover fewer rows.
    """
    if sum(member.n_bytes for member in chosen) <= _MAX_ENSEMBLE_BYTES:
        return chosen

    def negative_weight_per_byte(member: Member) -> float:
        return -weights[member.trial.id] / max(member.n_bytes, 1)

    first, *others = sorted(
        chosen, key=lambda member: (-member.n_folds, negative_weight_per_byte(member))
    )
    fitting = [first]
    for member in sorted(others, key=negative_weight_per_byte):
        if sum(other.n_bytes for other in fitting) + member.n_bytes <= _MAX_ENSEMBLE_BYTES:
            fitting.append(member)
    return fitting


def _scored(
    chosen: Sequence[Member],
    weights: Mapping[int, float],
    kind: TaskKind,
    loss: _EnsembleLoss,
    metric: str,
) -> ProposedEnsemble:
    """Calibrate the ensemble and score it; each row is predicted by the members that can."""
    mean = mean_of_available(
        [member.predictions for member in chosen],
        [weights[member.trial.id] for member in chosen],
    )
    rows = np.flatnonzero(predicted(mean))
    predictions: Predictions = mean[rows]
    targets = loss.targets.take(rows)
    temperature, threshold = 1.0, 0.5
    if kind != "regression":
        probabilities = predictions.astype(np.float32)
        if metric == "log_loss":
            temperature = fit_temperature(probabilities, targets)
        predictions = probabilities = apply_temperature(probabilities, temperature)
        if kind == "binary" and METRICS[metric].of_labels:
            threshold = fit_threshold(probabilities[:, 1], targets, metric)
    metrics = score(kind, targets.target, predictions, threshold, targets.weights)
    metrics["folds"] = float(max(member.n_folds for member in chosen))
    spec = EnsembleSpec.of(weights, temperature, threshold)
    return ProposedEnsemble(spec, metrics, tuple(weights))


def fit_temperature(probabilities: NDArray[np.float32], targets: ScoringTargets) -> float:
    """Fit the softmax temperature that minimises the log loss (Guo et al., 2017).

    Args:
        probabilities: (rows, classes).
        targets: of the same rows.

    Returns:
        The temperature, between exp(-1.5) and exp(1.5); 1 if it does not lower the log loss of rows
        that it was not fitted on.
    """
    from scipy.optimize import minimize_scalar

    n_rows = len(targets.target)
    if n_rows < _MIN_CALIBRATION_ROWS:
        return 1.0

    def loss(rows: NDArray[np.int64], temperature: float) -> float:
        subset = targets.take(rows)
        return log_loss(
            apply_temperature(probabilities[rows], temperature), subset.target, subset.weights
        )

    def best_temperature(rows: NDArray[np.int64]) -> float:
        def loss_of_log(log_temperature: float) -> float:
            return loss(rows, float(np.exp(log_temperature)))

        return float(np.exp(minimize_scalar(loss_of_log, bounds=(-1.5, 1.5), method="bounded").x))

    gain = 0.0
    for fitted, held_out in repeated_two_fold(n_rows, 1, np.random.default_rng(0), targets.groups):
        gain += loss(held_out, 1.0) - loss(held_out, best_temperature(fitted))
    return best_temperature(np.arange(n_rows)) if gain > 0 else 1.0


def fit_threshold(second: NDArray[np.float32], targets: ScoringTargets, metric: str) -> float:
    """Fit the decision threshold that maximises a metric of labels.

    Args:
        second: (rows,) probabilities of the second class.
        targets: of the same rows.
        metric: a metric of labels, such as ``f1``.

    Returns:
        The probability from which on the second class is predicted; 0.5 if another threshold does
        not score better on rows that it was not fitted on, or if rows are few.
    """
    n_rows = len(targets.target)
    if n_rows < _MIN_CALIBRATION_ROWS:
        return 0.5

    score_of = METRICS[metric].score
    assert score_of  # it is a metric of labels

    def metric_at(rows: NDArray[np.int64], threshold: float) -> float:
        subset, labels = targets.take(rows), labelled(second[rows], threshold)
        no_probabilities = np.empty((0, 2), np.float32)
        return score_of(
            ScoredRows(subset.target, no_probabilities, weights=subset.weights, labels=labels)
        )

    def best_threshold(rows: NDArray[np.int64]) -> float:
        quantiles = np.quantile(second[rows], np.linspace(0.01, 0.99, _N_THRESHOLDS))
        # 0.5 comes first, since `max` returns the first of equals
        options = [0.5, *(float(threshold) for threshold in np.unique(quantiles))]
        return max(options, key=lambda threshold: metric_at(rows, threshold))

    rows, gain = _sample_rows(np.arange(n_rows)), 0.0
    groups = targets.take(rows).groups
    for fitted, held_out in repeated_two_fold(len(rows), 1, np.random.default_rng(0), groups):
        fitted_metric = metric_at(rows[held_out], best_threshold(rows[fitted]))
        gain += fitted_metric - metric_at(rows[held_out], 0.5)
    return best_threshold(rows) if gain > 0 else 0.5


def _sample_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw at most `_MAX_SELECTION_ROWS` row indices, sorted."""
    if len(rows) <= _MAX_SELECTION_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, _MAX_SELECTION_ROWS, replace=False))
