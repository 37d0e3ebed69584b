"""Events of a search, sent to callbacks, progress lines and the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from netwright.errors import shortened
from netwright.trials.objective import Objective
from netwright.trials.trial import BASELINE, CONSTANT, ENSEMBLE, Trial

Stage: TypeAlias = Literal[
    "reading", "starting", "preparing", "searching", "averaging", "refitting", "training",
    "exporting",
    "checking", "measuring",
]  # fmt: skip

_MAX_NAME_LENGTH = 36
"""Characters of a trial's name; leaves room for the rest on a line of 80 columns."""


@dataclass(frozen=True)
class StageStarted:
    """A stage of the work begins.

    Args:
        stage: what is done from now on, such as ``"exporting"``.
        detail: what it is done with, such as ``"trial 12"``; may be empty.
    """

    stage: Stage
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.stage} {self.detail}".rstrip()


@dataclass(frozen=True)
class SearchStarted:
    """A search begins or is resumed.

    Args:
        objectives: metrics to optimise.
        seconds: budget of wall time over all runs of the folder, or None.
        trials: budget of trials over all runs of the folder, or None.
        n_ended: trials that ended in earlier runs.
        best: the best trial of earlier runs, or None.
    """

    objectives: tuple[Objective, ...]
    seconds: float | None
    trials: int | None
    n_ended: int = 0
    best: Trial | None = None


@dataclass(frozen=True)
class TrialStarted:
    """A trial is about to be executed.

    Args:
        trial: its status is RUNNING.
        trial_label: a few words on its candidate, such as its family of models.
        is_rerun: whether an earlier run left it unfinished.
    """

    trial: Trial
    trial_label: str
    is_rerun: bool = False


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended and is recorded.

    Args:
        trial: with its status, metrics and error.
        trial_label: as in `TrialStarted`.
        on_front: whether it is on the Pareto front now.
        is_best: whether it is now the best within the limits in the first objective; trials of full
            fidelity are better than all others.
        seconds_left: until the search ends; an estimate with a budget of trials, None if unknown.
    """

    trial: Trial
    trial_label: str
    on_front: bool
    is_best: bool = False
    seconds_left: float | None = None


@dataclass(frozen=True)
class RunningTrial:
    """A trial that is being executed, and for how many seconds."""

    trial: Trial
    trial_label: str
    seconds: float


@dataclass(frozen=True)
class Tick:
    """The state of the search, sent several times a second while trials run in workers.

    Args:
        seconds: used by all runs of the folder.
        running: the trials being executed.
        preparation_progress: of the strategy's preparation, in a few words; empty while none runs.
        n_ended: trials that have ended, of all runs.
        seconds_left: as in `TrialEnded`.
    """

    seconds: float
    running: tuple[RunningTrial, ...]
    preparation_progress: str = ""
    n_ended: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True)
class PreparationEnded:
    """The strategy's preparation, such as the training of a supernet, is over; `report`: sentences."""

    report: tuple[str, ...]


@dataclass(frozen=True)
class TrialCompared:
    """A trial is compared with the default, on the same rows.

    Args:
        trial: the trial.
        default: the default's trial of as many epochs.
        loss_name: the loss of a row: "log loss" or "squared error".
        gain: mean decrease of the loss; positive if the trial is better.
        interval: half the width of the gain's 95 % interval.
        n_rows: number of rows.
        rows_per_second: rows that the trial trained on in a second; 0 if unknown.
    """

    trial: Trial
    default: Trial
    loss_name: str
    gain: float
    interval: float
    n_rows: int
    rows_per_second: float = 0.0

    def __str__(self) -> str:
        """Return ``trial 4 beside 2: log loss .215 ± .021 lower on 2,000 rows, 2,031 images/s``."""
        direction = "lower" if self.gain > 0 else "higher"
        size = f"{abs(self.gain):.3f}".removeprefix("0")
        interval = f"{self.interval:.3f}".removeprefix("0")
        text = (
            f"trial {self.trial.id} beside {self.default.id}: {self.loss_name} {size} ± {interval} "
            f"{direction} on {self.n_rows:,} rows"
        )
        return f"{text}, {self.rows_per_second:,.0f} images/s" if self.rows_per_second else text


@dataclass(frozen=True)
class ModelDelivered:
    """The best trial has been exported as the run's model, checked and measured.

    Args:
        trial: that was exported.
        trial_label: as in `TrialStarted`.
    """

    trial: Trial
    trial_label: str


Event: TypeAlias = (
    StageStarted
    | SearchStarted
    | TrialStarted
    | TrialEnded
    | Tick
    | PreparationEnded
    | TrialCompared
    | ModelDelivered
)
Callback: TypeAlias = Callable[[Event], object]


def ignore_event(event: Event) -> None:
    """Do nothing; the default callback."""


def short_name(trial: Trial) -> str:
    """Return a trial's name, a few words: its family of models, or its first decisions."""
    if trial.proposal.origin == ENSEMBLE:
        return shortened(
            f"average of {', '.join(map(str, trial.proposal.parents))}", _MAX_NAME_LENGTH
        )
    if trial.proposal.origin == CONSTANT:
        return "constant prediction"
    values = trial.candidate.values
    decisions = ", ".join(map(_format_decision, values, values.values()))
    name = trial.family or decisions or "candidate"
    if trial.proposal.fidelity < 1:
        name += f" at {100 * trial.proposal.fidelity:.0f} %"
    elif trial.proposal.origin == BASELINE:
        name = f"baseline {name}"
    if len(name) <= _MAX_NAME_LENGTH:
        return name
    return name[: _MAX_NAME_LENGTH - 1].rstrip(", ") + "…"


def _format_decision(path: str, decision: object) -> str:
    """Format a decision: ``channels 32``; the last name of its path, floats with three digits."""
    name = path.rpartition(".")[2]
    formatted = f"{decision:.3g}" if isinstance(decision, float) else str(decision)
    return f"{path if name.isdigit() else name} {formatted}"
