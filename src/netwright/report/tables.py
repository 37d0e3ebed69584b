"""The leaderboard as rows of plain values, the same in the terminal, in Python and in JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from netwright.errors import NetwrightError, plural
from netwright.report.describe import summary
from netwright.space.candidate import Candidate
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import (
    BASELINE,
    CONSTANT,
    FINAL,
    SUPERNET,
    Metrics,
    Status,
    Trial,
)

Fill = Callable[[Candidate], object]


@dataclass(frozen=True)
class Row:
    """One trial of a leaderboard.

    Args:
        trial: its id.
        status: of the trial.
        metrics: of the trial.
        seconds: wall time.
        what: a short description of its model.
        on_front: whether it is on the Pareto front.
        error: why it did not finish.
        fidelity: share of the full effort that it had.
        delivered: whether the run's `model.onnx` is of this trial.
    """

    trial: int
    status: str
    metrics: Metrics
    seconds: float
    what: str
    on_front: bool = False
    error: str = ""
    fidelity: float = 1.0
    delivered: bool = False

    def record(self) -> dict[str, object]:
        """Return the fields, flat for a DataFrame or JSON."""
        head = {
            "trial": self.trial,
            "status": self.status,
            "what": self.what,
        }
        flags = {"delivered": self.delivered, "front": self.on_front}
        effort = {"error": self.error, "fidelity": self.fidelity, "seconds": self.seconds}
        return head | flags | effort | dict(self.metrics)


def describe_trial(trial: Trial, fill: Fill, fidelity: float = 1.0) -> str:
    """Return a short description of a trial's model; "?" if its candidate no longer fits the space.

    Args:
        trial: to describe.
        fill: puts a candidate into the space's description.
        fidelity: as of `row`.
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
    labels = {BASELINE: BASELINE, SUPERNET: SUPERNET, FINAL: "final"}
    label = next((labels[name] for name in labels if origin.startswith(name)), "")
    return f"{label}: {words}" if label else words


def _combined(ensemble: EnsembleSpec) -> str:
    """Return ``ensemble of 3, 1``, ``refit of 3`` or ``one fold of 3, 2 members``."""
    trials = ", ".join(map(str, ensemble.trials))
    if ensemble.n_members:
        return f"one fold of {trials}, {plural(ensemble.n_members, 'member')}"
    if ensemble.refit:
        return f"refit of {trials}"
    if ensemble.first_fold:
        return f"one fold of {trials}"
    return f"{'ensemble' if len(ensemble.weights) > 1 else 'average'} of {trials}"


_UNFINISHED = (Status.INFEASIBLE, Status.FAILED, Status.RUNNING)
"""The order of trials without a score; one that still runs, or was interrupted, comes last."""


def leaderboard(
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    fill: Fill,
    *,
    delivered: int | None = None,
    front: Collection[int] | None = None,
) -> list[Row]:
    """Return all trials in groups, each by the first objective, best first.

    The groups are: full fidelity within the limits, partial fidelity, outside the limits,
    infeasible, failed, interrupted. A trial that had time for only some of its folds is of partial
    fidelity, whatever was proposed.

    Args:
        trials: of the search.
        objectives: of the search.
        limits: of the search.
        fill: puts a candidate into the space's description.
        delivered: id of the trial that the run's `model.onnx` is of, if any.
        front: ids of the trials to mark; None: the Pareto front of the search.
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
        return 1 if fidelity(trial) < 1 else 0

    def order(trial: Trial) -> tuple[int, float, int]:
        return group(trial), objectives[0].loss(trial.metrics), trial.id

    return [
        row(
            trial,
            fill,
            on_front=trial.id in front,
            fidelity=fidelity(trial),
            delivered=trial.id == delivered,
        )
        for trial in sorted(trials, key=order)
    ]


def row(
    trial: Trial,
    fill: Fill,
    *,
    on_front: bool,
    measured: Metrics | None = None,
    fidelity: float = 1.0,
    delivered: bool = False,
) -> Row:
    """Return a trial as a row.

    Args:
        trial: to show.
        fill: puts a candidate into the space's description.
        on_front: whether it is on the Pareto front.
        measured: metrics that replace the trial's own, such as those of the exported model.
        fidelity: the fidelity reached, if time ran out before the proposed one.
        delivered: whether the run's `model.onnx` is of this trial.
    """
    return Row(
        trial.id,
        str(trial.status),
        dict(trial.metrics) | dict(measured or {}),
        trial.seconds,
        describe_trial(trial, fill, fidelity),
        on_front,
        error=trial.error,
        fidelity=min(fidelity, trial.proposal.fidelity),
        delivered=delivered,
    )
