"""Which trials to average: by what they say of rows that they have not learnt from.

Every trial of a table leaves a prediction for each row by a model that did not see it
(`CrossValidate`). The average is chosen on these by greedy selection, and has to prove itself on
rows that it was not chosen on. Trials that were not fitted on all folds are known on fewer rows:
a choice among all, on these rows, has half of the average.
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

_LIBRARY = 16
"""The best so many take part."""
_MOST_ROWS = 5_000
"""Rows that the choice looks at: more cost time and change nothing."""
_PROVES = 5_000
"""With fewer rows an average has to prove itself on rows that it was not chosen on."""
_SPLITS, _QUICK, _MARGIN = 3, 8, 2.0
"""Splits into halves, steps for each, and standard errors of the gain that make one choice clearly
better than the half of two."""
_BETTER = 0.05
"""And by this part of the loss: models of all folds are better by about so much than is known of
one (half a hundredth to 13 hundredths, measured on nine tables)."""
_MOST_BYTES = 20_000_000
"""Of what an average has fitted. A file of trees is nearly three times as large, and 160 MB take 10 s
to write, load and check."""
_JUDGED = 30
"""With fewer rows that all know, models of some folds are not looked at."""
_LEAST_ROWS = 200
"""Fewer tell nothing of a temperature."""
_THRESHOLDS = 49


@dataclass(frozen=True)
class ScoringTargets:
    """Of the rows that members are judged by: their targets, their groups, how much they count."""

    target: NDArray[Any]
    groups: NDArray[Any] | None = None
    weights: NDArray[np.floating] | None = None

    def of(self, rows: NDArray[np.int64]) -> ScoringTargets:
        """Of some of the rows. They count alike where none of them counts."""
        groups = None if self.groups is None else self.groups[rows]
        weights = None if self.weights is None else self.weights[rows]
        if weights is not None and not weights.any():
            weights = None
        return ScoringTargets(self.target[rows], groups, weights)


@dataclass(frozen=True)
class Member:
    """A trial, how many folds it was fitted on, and what it says of the rows (NaN: nothing)."""

    trial: Trial
    folds: int
    held_out: Predictions
    bytes: int = 0
    """What it has fitted, on disk."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(rows,) those it has a prediction for."""
        return predicted(self.held_out)


@dataclass(frozen=True)
class ProposedEnsemble:
    """An ensemble, and how it does on the held-out rows.

    With `first_fold` the metrics are right: each row is held out of one fold. Of all folds' models
    the average is better than they say. Those of a refit are of a fold's models, which have learnt
    from fewer rows.
    """

    spec: EnsembleSpec
    metrics: Metrics
    ranked: tuple[int, ...] = ()
    """The members in the order in which they were chosen from: the best alone first."""


def choose(
    found: Sequence[Member], kind: TaskKind, truth: ScoringTargets, metric: str, steps: int = 25
) -> ProposedEnsemble:
    """The average of at most `steps` models of each choice below; `truth`: of the members' rows.

    One is chosen among those of most folds, on all their rows; one among all, on the rows that all
    know; what comes out is half of each. Models of one fold bring what the others lack, models of
    all folds are many and known well. Where one of the two is clearly better than the half, on
    rows that it was not chosen on, it is that one.
    """
    judge, most = _Judge(loss_of(kind, metric), truth), max(one.folds for one in found)
    whole = [one for one in found if one.folds == most]
    if len(whole) < len(found):
        shares = _with_partial(found, whole, judge, steps)
    else:
        shares = _shares(whole, judge, steps)
    chosen = [one for one in found if one.trial.id in shares]
    fitting = _of_size(chosen, shares)
    if len(fitting) < len(chosen):
        return choose(fitting, kind, truth, metric, steps)
    return _judged(chosen, shares, kind, judge, metric)


def mean_known(said: Sequence[Predictions], shares: Sequence[float]) -> NDArray[np.float64]:
    """Each row's mean, by their shares, over those that have a prediction for it; NaN without one."""
    total, weight = np.zeros(said[0].shape), np.zeros(len(said[0]))
    for one, share in zip(said, shares, strict=True):
        seen = predicted(one)
        total[seen] += share * one[seen]
        weight[seen] += share
    with np.errstate(invalid="ignore"):
        return (total.T / weight).T


@dataclass(frozen=True)
class _Judge:
    """What averages are judged by."""

    loss: Loss
    truth: ScoringTargets

    def __call__(self, said: Predictions, rows: NDArray[np.int64]) -> float:
        """The loss of what is said of these rows."""
        some = self.truth.of(rows)
        return self.loss(said, some.target, some.weights)

    def halves(
        self, rows: NDArray[np.int64], times: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        groups = self.truth.of(rows).groups
        for here, there in repeated_two_fold(len(rows), times, np.random.default_rng(0), groups):
            yield rows[here], rows[there]


def _with_partial(
    found: Sequence[Member], whole: Sequence[Member], judge: _Judge, steps: int
) -> dict[int, float]:
    """Half of the average of `whole`, half of that of all, or one of them."""
    judged = _some(_common(found))
    if len(judged) < _JUDGED:
        return _shares(whole, judge, steps)
    losses, few = [], min(steps, _QUICK)
    for there, _ in judge.halves(judged, _SPLITS):
        a, b = (_shares(some, judge, few, there) for some in (whole, found))
        losses.append([_loss(found, one, there, judge) for one in (_half(a, b), a, b)])
    if losses:
        gains = np.array(losses)[:, :1] - np.array(losses)[:, 1:]  # of either alone
        error = gains.std(0) / np.sqrt(len(gains))
        sure = gains.mean(0) > np.maximum(_MARGIN * error, _BETTER * np.mean(losses))
        if sure.any():
            some = (whole, found)[int(np.argmax(np.where(sure, gains.mean(0), -np.inf)))]
            return _shares(some, judge, steps)
    return _half(*(_shares(some, judge, steps) for some in (whole, found)))


def _half(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    return {n: (a.get(n, 0) + b.get(n, 0)) / 2 for n in (*a, *(n for n in b if n not in a))}


def _loss(
    found: Sequence[Member], shares: Mapping[int, float], rows: NDArray[np.int64], judge: _Judge
) -> float:
    known = {one.trial.id: one.held_out[rows] for one in found}
    return judge(weighted_average([known[n] for n in shares], [*shares.values()]), rows)


def _shares(
    found: Sequence[Member], judge: _Judge, steps: int, without: NDArray[np.int64] | None = None
) -> dict[int, float]:
    """Of the best of them, chosen on the rows that all know, `without` these."""
    rows = _common(found)
    rows = _some(rows if without is None else np.setdiff1d(rows, without))
    library = sorted(found, key=lambda one: judge(one.held_out[rows], rows))[:_LIBRARY]

    def by_rows(p: Predictions, some: NDArray[np.int64]) -> float:
        return judge(p, rows[some])

    greedy = GreedySelection(
        steps, n_repeats=4 if len(rows) < _PROVES else 0, min_standard_errors=0
    )
    said, rng = [one.held_out[rows] for one in library], np.random.default_rng(0)
    weights = greedy(said, by_rows, rng, judge.truth.of(rows).groups)
    return {one.trial.id: float(w) for one, w in zip(library, weights, strict=True) if w > 0}


def _common(found: Sequence[Member]) -> NDArray[np.int64]:
    return np.flatnonzero(np.logical_and.reduce([one.seen for one in found]))


def _of_size(chosen: list[Member], shares: Mapping[int, float]) -> list[Member]:
    """Without what would make the file too large: it has to be written in time.

    The ones with most weight for their bytes stay; the first of those of most folds whatever its
    size: the figures of others are of fewer rows.
    """
    if sum(one.bytes for one in chosen) <= _MOST_BYTES:
        return chosen

    def dear(one: Member) -> float:
        return -shares[one.trial.id] / max(one.bytes, 1)

    first, *others = sorted(chosen, key=lambda one: (-one.folds, dear(one)))
    kept = [first]
    for one in sorted(others, key=dear):
        if sum(other.bytes for other in kept) + one.bytes <= _MOST_BYTES:
            kept.append(one)
    return kept


def _judged(
    chosen: Sequence[Member],
    shares: Mapping[int, float],
    kind: TaskKind,
    judge: _Judge,
    metric: str,
) -> ProposedEnsemble:
    """With its metrics: each row is judged by those of the members that know it."""
    mean = mean_known([one.held_out for one in chosen], [shares[one.trial.id] for one in chosen])
    rows = np.flatnonzero(predicted(mean))
    mixed: Predictions = mean[rows]
    truth = judge.truth.of(rows)
    temperature, threshold = 1.0, 0.5
    if kind != "regression":
        sure = mixed.astype(np.float32)
        if metric == "log_loss":
            temperature = fit_temperature(sure, truth)
        mixed = sure = apply_temperature(sure, temperature)
        if kind == "binary" and METRICS[metric].of_labels:
            threshold = fit_threshold(sure[:, 1], truth, metric)
    metrics = score(kind, truth.target, mixed, threshold, truth.weights)
    metrics["folds"] = float(max(one.folds for one in chosen))
    return ProposedEnsemble(EnsembleSpec.of(shares, temperature, threshold), metrics, tuple(shares))


def fit_temperature(probabilities: NDArray[np.float32], truth: ScoringTargets) -> float:
    """The temperature of least log loss; 1 where that does not prove better on other rows."""
    from scipy.optimize import minimize_scalar

    n = len(truth.target)
    if n < _LEAST_ROWS:
        return 1.0

    def loss(rows: NDArray[np.int64], temperature: float) -> float:
        some = truth.of(rows)
        return log_loss(
            apply_temperature(probabilities[rows], temperature), some.target, some.weights
        )

    def best(rows: NDArray[np.int64]) -> float:
        def of_log(log_t: float) -> float:
            return loss(rows, float(np.exp(log_t)))

        return float(np.exp(minimize_scalar(of_log, bounds=(-1.5, 1.5), method="bounded").x))

    gain = 0.0
    for here, there in repeated_two_fold(n, 1, np.random.default_rng(0), truth.groups):
        gain += loss(there, 1.0) - loss(there, best(here))
    return best(np.arange(n)) if gain > 0 else 1.0


def fit_threshold(second: NDArray[np.float32], truth: ScoringTargets, metric: str) -> float:
    """The probability of the second class from which on the labels score best.

    .5 where another one does not prove better on rows that it was not chosen on, or rows are few.
    """
    n = len(truth.target)
    if n < _LEAST_ROWS:
        return 0.5

    score_of = METRICS[metric].score
    assert score_of  # it judges labels

    def value(rows: NDArray[np.int64], threshold: float) -> float:
        some, labels = truth.of(rows), labelled(second[rows], threshold)
        none = np.empty((0, 2), np.float32)  # labels alone count
        return score_of(ScoredRows(some.target, none, weights=some.weights, labels=labels))

    def best(rows: NDArray[np.int64]) -> float:
        ends = np.unique(np.quantile(second[rows], np.linspace(0.01, 0.99, _THRESHOLDS)))
        options = [0.5, *(float(end) for end in ends)]
        return max(options, key=lambda one: value(rows, one))  # of equals .5

    rows, gain = _some(np.arange(n)), 0.0
    groups = truth.of(rows).groups
    for here, there in repeated_two_fold(len(rows), 1, np.random.default_rng(0), groups):
        gain += value(rows[there], best(rows[here])) - value(rows[there], 0.5)
    return best(rows) if gain > 0 else 0.5


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= _MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, _MOST_ROWS, replace=False))
