"""The record of a search: proposals, jobs and trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from netwright.errors import expected
from netwright.space.candidate import Candidate, Value
from netwright.trials.ensemble import EnsembleSpec

Metrics: TypeAlias = Mapping[str, float]
"""Metric name -> value; units are those of `netwright.trials.metrics`."""


class Status(StrEnum):
    """The state of a trial."""

    RUNNING = "running"
    DONE = "done"
    INFEASIBLE = "infeasible"
    """The candidate is at fault: it cannot be built, gives NaN, or exceeds its time or memory."""
    FAILED = "failed"
    """The code or the machine is at fault; too many such trials stop the study."""


BASELINE = "baseline"
"""The origin of trials that a study was given, not proposed by its strategy."""
SUPERNET = "supernet"
"""The origin of trials that shared weights rank highest; origins of their mutants begin with it."""
ENSEMBLE = "ensemble"
"""The origin of trials that combine others, their parents: see `EnsembleSpec`."""
CONSTANT = "constant"
"""The origin of the constant prediction, which is delivered if no trial finishes in time."""
FINAL = "final training"
"""The origin of the chosen candidate's training on nearly all rows, for the rest of the time."""
MADE = (ENSEMBLE, CONSTANT, FINAL)
"""Origins of trials made after the search: budgets and strategies do not count them."""
FAMILY = "family"
"""The path of the choice among families of models, at the root of a space of several."""


@dataclass(frozen=True)
class Proposal:
    """A candidate that a strategy asks to have evaluated.

    Args:
        candidate: a candidate of the problem's space.
        fidelity: share of the full effort, in (0, 1].
        origin: how the candidate came about, such as "mutation".
        parents: ids of the trials that it comes from.
        note: the strategy's own; it comes back with the trial, so that replaying the log needs
            nothing else.
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
    """One evaluation for an evaluator to do.

    Args:
        proposal: the candidate and its fidelity.
        seed: of all random numbers of the evaluation.
        folder: takes the trial's files (weights, held-out predictions, curve). Folders of other
            trials are its siblings, named by trial id; of a trial off the front only `ABOUT`
            remains, unless the evaluator's capabilities say that it `keeps` parents.
        deadline: in seconds of `time.monotonic()`; infinite if trials are counted, not time.
        alone: returns a context in which no other trial of the study uses the machine; measure
            time inside it.
    """

    proposal: Proposal
    seed: int
    folder: Path
    deadline: float = math.inf
    alone: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True)
class Trial:
    """The record of one evaluation.

    Args:
        id: counts from 1 in the order of starts.
        proposal: what was evaluated.
        seed: of the evaluation.
        status: running, done, infeasible or failed.
        metrics: what the evaluator returned; empty until then.
        seconds: wall time.
        error: why the trial did not finish.
        ensemble: how it combines other trials; its candidate is then empty. None for a candidate
            of its own.
    """

    id: int
    proposal: Proposal
    seed: int
    status: Status = Status.RUNNING
    metrics: Metrics = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    ensemble: EnsembleSpec | None = None

    @property
    def candidate(self) -> Candidate:
        """The proposed candidate."""
        return self.proposal.candidate

    @property
    def family(self) -> str:
        """The value of the decision at the root of the space, such as ``lightgbm``; else empty."""
        root = self.candidate.values.get(FAMILY)
        return root if isinstance(root, str) else ""


def as_told(trial: Trial, searched: Collection[str]) -> Trial:
    """Return a trial as a strategy hears of it: without scores on test data.

    Args:
        trial: of a study or a benchmark.
        searched: metrics of objectives and limits, which are told whatever their names.
    """
    hidden = [name for name in trial.metrics if name.startswith("test_") and name not in searched]
    if not hidden:
        return trial
    metrics = {name: trial.metrics[name] for name in trial.metrics if name not in hidden}
    return replace(trial, metrics=metrics)
