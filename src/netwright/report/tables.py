"""Leaderboard and front as rows of plain values: the terminal, Python and JSON show the same ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.errors import NetwrightError, plural
from netwright.report.describe import summary
from netwright.space.candidate import Candidate
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import (
    BASELINE,
    CONSTANT,
    SUPERNET,
    Metrics,
    Status,
    Trial,
)

Fill = Callable[[Candidate], object]


@dataclass(frozen=True)
class Row:
    """One trial, ready to be shown."""

    trial: int
    status: str
    metrics: Metrics
    seconds: float
    what: str
    on_front: bool = False
    error: str = ""
    fidelity: float = 1.0
    delivered: bool = False
    """Whether the run's `model.onnx` is of this trial."""

    def record(self) -> dict[str, Any]:
        """Flat, for a DataFrame or JSON."""
        head = {"trial": self.trial, "status": self.status, "what": self.what}
        marks = {"delivered": self.delivered, "front": self.on_front}
        how = {"error": self.error, "fidelity": self.fidelity, "seconds": self.seconds}
        return head | marks | how | dict(self.metrics)


def describe_trial(trial: Trial, fill: Fill, fidelity: float = 1.0) -> str:
    """A few words on a trial: its model, or "?" when its candidate no longer fits the space.

    `fidelity`: as in `row`.
    """
    if trial.proposal.origin == CONSTANT:
        return "constant prediction, the same for every row"
    if trial.ensemble is not None:
        return _combined(trial.ensemble)
    try:
        words = summary(fill(trial.candidate))
    except NetwrightError:
        return "?"
    if not words.lower().startswith(trial.family.replace("_", "")):
        words = f"{trial.family}: {words}"
    if (share := min(fidelity, trial.proposal.fidelity)) < 1:
        return f"at {100 * share:.0f} %: {words}"
    origin = trial.proposal.origin
    label = next((name for name in (BASELINE, SUPERNET) if origin.startswith(name)), "")
    return f"{label}: {words}" if label else words


def _combined(ensemble: EnsembleSpec) -> str:
    """``ensemble of 3, 1``, ``refit of 3``, ``one fold of 3, 2 members``."""
    trials = ", ".join(map(str, ensemble.trials))
    if ensemble.n_members:
        return f"one fold of {trials}, {plural(ensemble.n_members, 'member')}"
    if ensemble.refit:
        return f"refit of {trials}"
    if ensemble.first_fold:
        return f"one fold of {trials}"
    return f"{'ensemble' if len(ensemble.weights) > 1 else 'average'} of {trials}"


_UNFINISHED = (Status.INFEASIBLE, Status.FAILED, Status.RUNNING)
"""How trials without a score are ordered; one that still runs, or was cut off, comes last."""


def leaderboard(
    trials: Sequence[Trial], objectives: Sequence[Objective], limits: Sequence[Limit], fill: Fill,
    *, delivered: int | None = None, front: Collection[int] | None = None,
) -> list[Row]:  # fmt: skip
    """All trials in groups, each by the first objective, best first.

    Full fidelity within the limits, partial fidelity, outside the limits, infeasible, failed, cut
    off. A trial that had time for some of its folds alone is of partial fidelity, whatever was
    asked for.

    Args:
        delivered: the trial that the run's `model.onnx` is of, if any.
        front: trials to be marked; None: the Pareto front of the search.
    """
    n_folds = max((trial.metrics.get("folds", 1.0) for trial in trials), default=1.0)
    if front is None:
        front = {trial.id for trial in pareto_front(trials, objectives, limits)}

    def fidelity(trial: Trial) -> float:
        return min(trial.proposal.fidelity, trial.metrics.get("folds", n_folds) / n_folds)

    def group(trial: Trial) -> int:
        if trial.status is not Status.DONE:
            return 3 + _UNFINISHED.index(trial.status)
        if not all(limit.keeps(trial.metrics) for limit in limits):
            return 2
        return int(fidelity(trial) < 1)

    def order(trial: Trial) -> tuple[int, float, int]:
        return group(trial), objectives[0].loss(trial.metrics), trial.id

    return [
        row(trial, fill, trial.id in front, None, fidelity(trial), trial.id == delivered)
        for trial in sorted(trials, key=order)
    ]


def row(
    trial: Trial, fill: Fill, on_front: bool, measured: Metrics | None = None,
    fidelity: float = 1.0, delivered: bool = False,
) -> Row:  # fmt: skip
    """A trial as a row; `measured` metrics are newer than the trial's own, `fidelity` is less than
    was asked for where there was no time."""
    metrics, share = dict(trial.metrics) | dict(measured or {}), trial.proposal.fidelity
    words = describe_trial(trial, fill, fidelity)
    return Row(
        trial.id, str(trial.status), metrics, trial.seconds, words, on_front,
        error=trial.error, fidelity=min(fidelity, share), delivered=delivered,
    )  # fmt: skip
