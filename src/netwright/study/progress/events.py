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
    """A trial is compared with the one that it has to beat, on the same rows.

    Args:
        trial: the trial.
        trial_label: as in `TrialStarted`.
        other: the trial to beat, of as many epochs.
        loss_name: the loss of a row: "log loss" or "squared error".
        gain: mean decrease of the loss; positive if the trial is better.
        interval: half the width of the gain's 95 % interval.
        correct: how many more rows are predicted correctly; None for a regression.
        n_rows: number of rows.
    """

    trial: Trial
    trial_label: str
    other: Trial
    loss_name: str
    gain: float
    interval: float
    correct: int | None
    n_rows: int

    def __str__(self) -> str:
        """Return the comparison in words.

        For example ``trial 4 against 2: log loss .215 ± .021 lower, 57 more of 800 rows correct,
        2,031 images/s, channel tower``.
        """
        direction = "lower" if self.gain > 0 else "higher"
        size, interval = (f"{n:.3f}".removeprefix("0") for n in (abs(self.gain), self.interval))
        details = [f"{self.loss_name} {size} ± {interval} {direction}"]
        if self.correct is not None:
            more = "more" if self.correct >= 0 else "fewer"
            details.append(f"{abs(self.correct):,} {more} of {self.n_rows:,} rows correct")
        if rate := self.trial.metrics.get("rows_per_second"):
            details.append(f"{rate:,.0f} images/s")
        details.append(self.trial_label)
        return f"trial {self.trial.id} against {self.other.id}: {', '.join(details)}"


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
