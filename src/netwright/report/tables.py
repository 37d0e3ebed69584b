"""Leaderboard and front as rows of plain values: the terminal, Python and JSON show the same ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.errors import NetwrightError, plural
from netwright.report.describe import summary
from netwright.space.candidate import Candidate
from netwright.trials.metrics import METRICS
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import (
    BASELINE,
    CONSTANT,
    ENSEMBLE,
    LIGHT,
    MEMBERS,
    REFIT,
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


def what(trial: Trial, fill: Fill, fidelity: float = 1.0) -> str:
    """A few words on a trial: its model, or "?" when its candidate no longer fits the space.

    `fidelity`: as in `row`.
    """
    if trial.proposal.origin == CONSTANT:
        return "constant prediction, the same for every row"
    if trial.proposal.origin == ENSEMBLE:
        members = ", ".join(map(str, trial.proposal.parents))
        kind = "ensemble" if len(trial.proposal.parents) > 1 else "average"
        if kept := trial.candidate.values.get(MEMBERS):
            return f"one fold of {members}, {plural(int(str(kept)), 'member')}"
        if trial.candidate.values.get(REFIT):
            kind = "refit"
        return f"{'one fold' if trial.candidate.values.get(LIGHT) else kind} of {members}"
    try:
        words = summary(fill(trial.candidate))
    except NetwrightError:
        return "?"
    family = trial.candidate.values.get("")
    if isinstance(family, str) and not words.lower().startswith(family.replace("_", "")):
        words = f"{family}: {words}"
    if (share := min(fidelity, trial.proposal.fidelity)) < 1:
        return f"at {100 * share:.0f} %: {words}"
    return f"baseline: {words}" if trial.proposal.origin == BASELINE else words


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
    most = max((trial.metrics.get("folds", 1.0) for trial in trials), default=1.0)
    if front is None:
        front = {trial.id for trial in pareto_front(trials, objectives, limits)}

    def fidelity(trial: Trial) -> float:
        return min(trial.proposal.fidelity, trial.metrics.get("folds", most) / most)

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
    words = what(trial, fill, fidelity)
    return Row(
        trial.id, str(trial.status), metrics, trial.seconds, words, on_front,
        error=trial.error, fidelity=min(fidelity, share), delivered=delivered,
    )  # fmt: skip


def value(name: str, metrics: Mapping[str, float]) -> str:
    """A metric as a person reads it: ``.9324``, ``1,210``, ``0.91 ms``, ``1.9 MB``."""
    if name not in metrics:
        return ""
    number = metrics[name]
    unit = METRICS[name].unit if name in METRICS else ""
    if unit == "byte":
        return size(number)
    if name in ("parameters", "flops"):
        return count(number)
    if METRICS.get(name) and METRICS[name].kinds and unit != "target" and abs(number) <= 1:
        return f"{number:.4f}".replace("0.", ".", 1)
    return significant(number)


def size(number: float) -> str:
    """Bytes as ``412 kB`` or ``1.9 MB``."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def count(number: float) -> str:
    """Large numbers as ``37,218``, ``1.26 M`` or ``2.4 G``."""
    if number < 999_999.5:
        return f"{number:,.0f}"
    return f"{number / 1e6:.3g} M" if number < 999.5e6 else f"{number / 1e9:.3g} G"


def significant(number: float) -> str:
    """Four digits that count: ``45,734``, ``3.528``, ``0.09123``, ``1.2e+30``."""
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e9 else f"{number:.4g}"
