"""The record of a search: what was proposed, what was done about it, what came out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from netwright.errors import expected
from netwright.space.candidate import Candidate, Value
from netwright.trials.ensemble import EnsembleSpec

Metrics: TypeAlias = Mapping[str, float]
"""Metric name -> value; units are those of `netwright.trials.metrics`."""


class Status(StrEnum):
    """How a trial stands."""

    RUNNING = "running"
    DONE = "done"
    INFEASIBLE = "infeasible"
    """The candidate is at fault: cannot be built, NaN, over its time or memory. Learn from it."""
    FAILED = "failed"
    """The code or the machine is at fault. Counted; too many stop the study."""


BASELINE = "baseline"
"""The origin of trials that a study was given instead of proposed."""
SUPERNET = "supernet"
"""The origin of trials that shared weights prefer; that of trials around the best of them begins so."""
ENSEMBLE = "ensemble"
"""The origin of trials that combine others, their parents: see `EnsembleSpec`."""
CONSTANT = "constant"
"""The origin of the constant prediction, which is delivered where no trial has finished in time."""
MADE = (ENSEMBLE, CONSTANT)
"""The origins of trials that no search has proposed: budgets and strategies do not count them."""
FAMILY = "family"
"""The path of the choice among families of models, at the root of a space of several."""


@dataclass(frozen=True)
class Proposal:
    """What a strategy asks to be evaluated.

    `fidelity` in (0, 1] is the share of the full effort; `origin` says how the candidate came
    about ("mutation"), `parents` from which trials (their ids); `note` is the strategy's own
    and comes back with the trial, so that replaying the log needs nothing else.
    """

    candidate: Candidate
    fidelity: float = 1.0
    origin: str = ""
    parents: tuple[int, ...] = ()
    note: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.fidelity <= 1:
            raise ValueError(expected("fidelity", "in (0, 1]", self.fidelity, "Use 1 for all."))


@dataclass(frozen=True)
class Job:
    """One evaluation to be done.

    `folder` takes what the trial leaves behind (weights, held-out predictions, curve); those of
    other trials lie beside it, named by trial id. Of a trial that is not on the front only `ABOUT`
    stays, so that a parent's weights are there when it is on the front, or where the evaluator
    says that it `keeps` parents. `deadline` is in seconds of
    `time.monotonic()`, infinite when trials are counted instead of time. `alone()` is a context
    inside which no other trial of the study uses the machine: clocks are read in there.
    """

    proposal: Proposal
    seed: int
    folder: Path
    deadline: float = math.inf
    alone: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True)
class Trial:
    """The record of one evaluation. `seconds` is wall time; `error` says why it did not finish."""

    id: int
    proposal: Proposal
    seed: int
    status: Status = Status.RUNNING
    metrics: Metrics = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    ensemble: EnsembleSpec | None = None
    """How it combines other trials, where it does; its candidate is then empty."""

    @property
    def candidate(self) -> Candidate:
        return self.proposal.candidate

    @property
    def family(self) -> str:
        """The value of the decision at the root of the space, such as ``lightgbm``; else empty."""
        root = self.candidate.values.get(FAMILY)
        return root if isinstance(root, str) else ""
