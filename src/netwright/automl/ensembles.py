"""Which trials to average: by what they say of rows that they have not learnt from.

Every trial of a table leaves a prediction for each row by a model that did not see it
(`CrossValidate`). The average is chosen on these by greedy selection, and has to prove itself on
rows that it was not chosen on. Trials that were not fitted on all folds are known on fewer rows:
they are looked at apart, and win only where they are better on rows that both know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Kind
from netwright.evaluators.folds import HELD_OUT
from netwright.pipelines.blend import tempered
from netwright.pipelines.ensemble import GreedySelection, average
from netwright.space.candidate import Candidate
from netwright.trials.losses import OF_LABELS, Predictions, labelled, log_loss, loss_of
from netwright.trials.metrics import score, score_labels
from netwright.trials.trial import Metrics, Status, Trial

_LIBRARY = 16
"""The best so many take part."""
_MOST_ROWS = 5_000
"""Rows that the choice looks at: more cost time and change nothing."""
_PROVES = 5_000
"""With fewer rows an average has to prove itself on rows that it was not chosen on."""
_SPLITS, _QUICK, _MARGIN = 3, 8, 2.0
"""Splits into halves, steps for each, and standard errors by which models of fewer folds have to be
better."""
_MOST_BYTES = 20_000_000
"""Of what an average has fitted. A file of trees is nearly three times as large, and 160 MB take 10 s
to write, load and check."""
_LEAST_ROWS = 200
"""Fewer tell nothing of a temperature."""
_THRESHOLDS = 49


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
        flat = self.held_out.reshape(len(self.held_out), -1)
        return np.asarray(np.isfinite(flat).all(1))


@dataclass(frozen=True)
class Choice:
    """An average: the share of each trial, what is done to the mean, and how it does on the
    held-out rows."""

    shares: Mapping[int, float]
    temperature: float
    metrics: Metrics
    threshold: float = 0.5
    light: bool = False
    """Of each member only the model of one fold. The metrics are right for this: each row is held
    out of one fold. Of all folds' models the average is better than they say, and slower."""
    members: int = 0
    """So many are kept of a network of members; 0: all."""
    refit: bool = False
    """Of one trial: fitted again on all rows. The metrics are those of a fold's models, which have
    learnt from fewer."""


def members(trials: Sequence[Trial], folder: Callable[[int], Path]) -> list[Member]:
    """The finished trials whose folders still hold their predictions.

    Of a candidate that was tried on one fold, then on more, the last.
    """
    found: dict[Candidate, Member] = {}
    for trial in trials:
        path = folder(trial.id) / HELD_OUT
        if trial.status is Status.DONE and path.is_file():
            folds, before = int(trial.metrics.get("folds", 1)), found.get(trial.candidate)
            if before is None or before.folds <= folds:
                size = sum(
                    one.stat().st_size for one in path.parent.rglob("fold-*/*") if one != path
                )
                found[trial.candidate] = Member(trial, folds, np.load(path), size)
    return list(found.values())


def choose(
    found: Sequence[Member], kind: Kind, target: NDArray[Any], metric: str, steps: int = 25
) -> Choice:
    """The average of at most `steps` models, at least one; `target`: of the members' rows."""
    loss = loss_of(kind, metric)
    levels = sorted({one.folds for one in found}, reverse=True)
    options = []
    for level in levels:
        library = [one for one in found if one.folds >= level]
        common = np.logical_and.reduce([one.seen for one in library])
        rows = _some(np.flatnonzero(common))
        ranked = sorted(library, key=lambda one: loss(one.held_out[rows], target[rows]))[:_LIBRARY]
        options.append((ranked, rows))
    best = options[0]
    judged = _some(np.flatnonzero(np.logical_and.reduce([one.seen for one in found])))
    for option in options[1:]:
        if _lead(option[0], judged, target, loss) >= _lead(best[0], judged, target, loss):
            continue  # whoever is no better alone is not worth a longer look
        few = min(steps, _QUICK)
        gains = np.subtract(*(_honest(*one, judged, target, loss, few) for one in (best, option)))
        if gains.mean() > _MARGIN * gains.std() / np.sqrt(len(gains)):
            best = option
    weights = _select(*best, target, loss, steps)
    fitting = _of_size(best[0], weights)
    if len(fitting) < len(best[0]):
        best = fitting, best[1]
        weights = _select(*best, target, loss, steps)
    shares = {one.trial.id: float(w) for one, w in zip(best[0], weights, strict=True) if w > 0}
    return _judged(best[0], weights, shares, kind, target, metric)


def _of_size(library: list[Member], weights: NDArray[np.float64]) -> list[Member]:
    """The library without what would make the file too large: it has to be written in time.

    Of those chosen the ones with most weight for their bytes stay, the first whatever its size.
    """
    chosen = [(w / max(one.bytes, 1), one) for one, w in zip(library, weights, strict=True) if w]
    if sum(one.bytes for _, one in chosen) <= _MOST_BYTES:
        return library
    kept: list[Member] = []
    for _, one in sorted(chosen, key=lambda pair: -pair[0]):
        if not kept or sum(other.bytes for other in kept) + one.bytes <= _MOST_BYTES:
            kept.append(one)
    stays = {one.trial.id for one in kept}
    return [one for one in library if one.trial.id in stays]


def _lead(
    library: Sequence[Member], judged: NDArray[np.int64], target: NDArray[Any],
    loss: Callable[[Predictions, NDArray[Any]], float],
) -> float:  # fmt: skip
    """The loss of the best alone on the judged rows."""
    return min(loss(one.held_out[judged], target[judged]) for one in library)


def _select(
    library: Sequence[Member], rows: NDArray[np.int64], target: NDArray[Any],
    loss: Callable[[Predictions, NDArray[Any]], float], steps: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Weights, chosen on these rows."""
    truth = target[rows]

    def by_rows(p: Predictions, some: NDArray[np.int64]) -> float:
        return loss(p, truth[some])

    greedy = GreedySelection(steps, halves=4 if len(rows) < _PROVES else 0, margin=0)
    held_out = [one.held_out[rows] for one in library]
    return greedy(held_out, by_rows, np.random.default_rng(0))


def _honest(
    library: Sequence[Member], rows: NDArray[np.int64], judged: NDArray[np.int64],
    target: NDArray[Any], loss: Callable[[Predictions, NDArray[Any]], float], steps: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Losses on halves of the `judged` rows, of averages that were chosen without them."""
    rng, losses = np.random.default_rng(0), []
    for _ in range(_SPLITS):
        order = rng.permutation(judged)
        for half in (order[::2], order[1::2]):
            weights = _select(library, np.setdiff1d(rows, half), target, loss, steps)
            mixed = average([one.held_out[half] for one in library], weights)
            losses.append(loss(mixed, target[half]))
    return np.array(losses)


def _judged(
    library: Sequence[Member], weights: NDArray[np.float64], shares: Mapping[int, float],
    kind: Kind, target: NDArray[Any], metric: str,
) -> Choice:  # fmt: skip
    chosen = [one for one, w in zip(library, weights, strict=True) if w > 0]
    rows = np.flatnonzero(np.logical_and.reduce([one.seen for one in chosen]))
    mixed = average([one.held_out[rows] for one in library], weights)
    temperature, threshold = 1.0, 0.5
    if kind != "regression":
        mixed = mixed.astype(np.float32)
        if metric == "log_loss":
            temperature = fit_temperature(mixed, target[rows])
            mixed = tempered(mixed, temperature)
        if kind == "binary" and metric in OF_LABELS:
            threshold = fit_threshold(mixed[:, 1], target[rows], metric)
    metrics = score(kind, target[rows], mixed, threshold)
    metrics["folds"] = float(min(one.folds for one in chosen))
    return Choice(shares, temperature, metrics, threshold)


def fit_temperature(probabilities: NDArray[np.float32], target: NDArray[Any]) -> float:
    """The temperature of least log loss; 1 where that does not prove better on other rows."""
    from scipy.optimize import minimize_scalar

    if len(target) < _LEAST_ROWS:
        return 1.0

    def best(rows: NDArray[np.int64]) -> float:
        def loss(log_t: float) -> float:
            return log_loss(tempered(probabilities[rows], float(np.exp(log_t))), target[rows])

        return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))

    order = np.random.default_rng(0).permutation(len(target))
    gain = 0.0
    for here, there in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        p, truth = probabilities[there], target[there]
        gain += log_loss(p, truth) - log_loss(tempered(p, best(here)), truth)
    return best(order) if gain > 0 else 1.0


def fit_threshold(second: NDArray[np.float32], target: NDArray[Any], metric: str) -> float:
    """The probability of the second class from which on the labels score best.

    .5 where another one does not prove better on rows that it was not chosen on, or rows are few.
    """
    if len(target) < _LEAST_ROWS:
        return 0.5

    def value(rows: NDArray[np.int64], threshold: float) -> float:
        return score_labels(target[rows], labelled(second[rows], threshold), 2)[metric]

    def best(rows: NDArray[np.int64]) -> float:
        ends = np.unique(np.quantile(second[rows], np.linspace(0.01, 0.99, _THRESHOLDS)))
        options = [0.5, *(float(end) for end in ends)]
        return max(options, key=lambda one: value(rows, one))  # of equals .5

    order = np.random.default_rng(0).permutation(_some(np.arange(len(target))))
    gain = 0.0
    for here, there in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        gain += value(there, best(here)) - value(there, 0.5)
    return best(order) if gain > 0 else 0.5


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= _MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, _MOST_ROWS, replace=False))
