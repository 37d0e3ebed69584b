"""What happens in a search, as callbacks, the progress lines and the command line hear of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from netwright.errors import shortened
from netwright.trials.objective import Objective
from netwright.trials.trial import BASELINE, CONSTANT, ENSEMBLE, Trial

Stage: TypeAlias = Literal[
    "reading", "starting", "preparing", "searching", "averaging", "refitting", "exporting",
    "checking", "measuring",
]  # fmt: skip

_MAX_NAME = 36
"""Characters of a trial's name: a line of 80 columns has room for it beside the rest."""


@dataclass(frozen=True)
class StageStarted:
    """What is being done from now on, and with what: "exporting", "trial 12"."""

    stage: Stage
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.stage} {self.detail}".rstrip()


@dataclass(frozen=True)
class SearchStarted:
    """A search begins, or one is resumed.

    `seconds` and `trials` are its limits over all runs of the folder, None where there is none;
    `ended`: trials of earlier runs; `best`: the best of these.
    """

    objectives: tuple[Objective, ...]
    seconds: float | None
    trials: int | None
    n_ended: int = 0
    best: Trial | None = None


@dataclass(frozen=True)
class TrialStarted:
    """A trial is about to be executed; `again` when an earlier run left it unfinished.

    `what`, here and below: a few words on its candidate, such as its family of models.
    """

    trial: Trial
    trial_name: str
    is_rerun: bool = False


@dataclass(frozen=True)
class TrialEnded:
    """A trial is recorded as ended.

    `on_front`: it is on the Pareto front at this moment; `is_best`: within the limits it is the best
    so far in the first objective (a trial of full fidelity is better than any other); `seconds_left`
    until the search ends, estimated where trials are counted, None where that is unknown.
    """

    trial: Trial
    trial_name: str
    on_front: bool
    is_best: bool = False
    seconds_left: float | None = None


@dataclass(frozen=True)
class RunningTrial:
    """A trial that is being executed, for so many seconds now."""

    trial: Trial
    trial_name: str
    seconds: float


@dataclass(frozen=True)
class Tick:
    """Several times a second while trials run in workers.

    `seconds` used by all runs of the folder; the trials that run now; how far the strategy's
    preparation is, while there is one; trials that have ended; seconds left, as in `TrialEnded`.
    """

    seconds: float
    running: tuple[RunningTrial, ...]
    preparation_progress: str = ""
    n_ended: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True)
class PreparationEnded:
    """What a strategy needed before it could propose is over; what it came to, in sentences."""

    report: tuple[str, ...]


@dataclass(frozen=True)
class ModelDelivered:
    """The best trial has been written as the model of the run, checked and measured."""

    trial: Trial
    trial_name: str


Event: TypeAlias = (
    StageStarted
    | SearchStarted
    | TrialStarted
    | TrialEnded
    | Tick
    | PreparationEnded
    | ModelDelivered
)
Callback: TypeAlias = Callable[[Event], object]


def ignore_event(event: Event) -> None:
    """The callback of those who listen to nothing."""


def short_name(trial: Trial) -> str:
    """A few words on a trial: its family of models, or the first of its decisions."""
    if trial.proposal.origin == ENSEMBLE:
        return shortened(f"average of {', '.join(map(str, trial.proposal.parents))}", _MAX_NAME)
    if trial.proposal.origin == CONSTANT:
        return "constant prediction"
    values = trial.candidate.values
    decisions = ", ".join(map(_decision, values, values.values()))
    name = trial.family or decisions or "candidate"
    if trial.proposal.fidelity < 1:
        name += f" at {100 * trial.proposal.fidelity:.0f} %"
    elif trial.proposal.origin == BASELINE:
        name = f"baseline {name}"
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1].rstrip(", ") + "…"


def _decision(path: str, value: object) -> str:
    """``channels 32``: the last name of the path, which says most, and three digits."""
    name = path.rpartition(".")[2]
    number = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{path if name.isdigit() else name} {number}"
