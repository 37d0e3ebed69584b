"""What a study tells those who watch it, such as a progress display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from netwright.trials.trial import Trial


@dataclass(frozen=True)
class TrialStarted:
    """A trial is about to be executed; `again` when an earlier run left it unfinished."""

    trial: Trial
    again: bool = False


@dataclass(frozen=True)
class TrialEnded:
    """A trial is recorded as ended; `on_front`: it is on the Pareto front at this moment."""

    trial: Trial
    on_front: bool


@dataclass(frozen=True)
class Tick:
    """Several times a second: seconds used by all runs of the folder, trials that run now, and how
    far the strategy's preparation is, while there is one."""

    seconds: float
    running: tuple[int, ...]
    preparing: str = ""


@dataclass(frozen=True)
class Prepared:
    """What a strategy needed before it could propose is over; what it came to, in sentences."""

    says: tuple[str, ...]


@dataclass(frozen=True)
class Delivering:
    """The search is over: its best are averaged, written, checked and measured."""


Event: TypeAlias = TrialStarted | TrialEnded | Prepared | Tick | Delivering
