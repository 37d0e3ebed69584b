"""A search over shared weights, as long work that a study has done before its first proposal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from netwright.data.task import Task
from netwright.errors import (
    BrokenFile,
    InputError,
    InvalidCandidate,
    Phrase,
    SpaceError,
    expected,
    plural,
    printable,
    shortened,
)
from netwright.evaluators.one_shot.single_path_search import Among, Found, SampledWork
from netwright.evaluators.one_shot.supernet_setup import Opened
from netwright.files.run_layout import PROGRESS, SHORTLIST
from netwright.oneshot.checkpoints import read_history
from netwright.oneshot.gradient.discretize import discretize
from netwright.oneshot.gradient.finalize import SupernetResult, finalize_search
from netwright.oneshot.gradient.held_decisions import all_decision_values
from netwright.oneshot.gradient.relaxations import Relaxation
from netwright.oneshot.gradient.search import STOPPED, EpochRecord, GradientSearch, split_in_halves
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.step_cost import measure_step_cost
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.monitor import Finding, is_trusted
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.oneshot.single_path.training import SampledEpoch, SampledPathTraining
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space
from netwright.trials.time_budget import PhaseShares
from netwright.trials.trial import Job, Metrics

_OUTSIDE = "it is no part of the network"
_WORDS = 200
"""Characters of what is said of the progress."""
_MOST = 20
"""Candidates in a shortlist."""


@dataclass(frozen=True)
class _Plan:
    """What a supernet will mix, known before it is trained.

    `held`: paths of decisions that it cannot mix -> why; `values`: what these are held at.
    """

    mixed: int
    held: Mapping[str, str]
    values: Mapping[str, Value]

    @classmethod
    def of(cls, supernet: Supernet, space: Space[Any], values: Mapping[str, Value]) -> _Plan:
        held = {
            one.path: supernet.held.get(one.path, _OUTSIDE)
            for one in space.decisions if one.path not in supernet.options
        }  # fmt: skip
        return cls(len(supernet.options), held, values)


def as_one_shot_settings(method: Any) -> DifferentiableNAS | SinglePathNAS:
    """A search over shared weights with its settings: a relaxation or a sampler by itself has the
    usual ones. Raises InputError for anything else."""
    if isinstance(method, DifferentiableNAS | SinglePathNAS):
        return method
    if isinstance(method, SampledPathTraining):
        return SinglePathNAS(method)
    if hasattr(method, "penalty"):
        return DifferentiableNAS(method)
    if hasattr(method, "step"):
        return SinglePathNAS(SampledPathTraining(method))
    rule = "the settings of a search over shared weights, such as Gradient(DrNAS())"
    raise InputError(expected("method", rule, Phrase(repr(method))))


@dataclass(frozen=True)
class SupernetSearch:
    """Trains a supernet of the space's network on the task's training rows, by `method`.

    Called like an evaluator, with a job: it goes on where it was killed, and ends before the
    deadline. All it leaves lies in `folder`; what it came to is what `candidates` reads there.
    Decisions that it cannot search are as in `start`, a candidate of the space, its default when
    None; those of the network in all copies of a `Repeat` as in the first, or at their defaults,
    should more be mixed then. Raises InputError when the description has not one network in it,
    SpaceError when there is nothing to mix.
    """

    space: Space[Any]
    task: Task
    method: DifferentiableNAS | SinglePathNAS | Relaxation | SampledPathTraining
    folder: Path
    seed: int = 0
    among: Among | None = None
    start: Candidate | None = None
    phases: PhaseShares = PhaseShares()

    def __post_init__(self) -> None:
        assert self.held is not None  # refused now, not when a worker runs it

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("supernet_epochs", "supernet_loss")

    @cached_property
    def settings(self) -> DifferentiableNAS | SinglePathNAS:
        """The method with its settings; a relaxation or a sampler by itself has the usual ones."""
        return as_one_shot_settings(self.method)

    @cached_property
    def held(self) -> Mapping[str, str]:
        """Paths of decisions that have one value while the supernet trains -> why."""
        if isinstance(self.settings, SinglePathNAS):
            if self.among is None:
                rule = "given who searches among sub-networks, for such a method"
                raise InputError(expected("a search", rule, Phrase("nobody"), "Use OneShot."))
            return dict.fromkeys(self._opened.outside(), _OUTSIDE)
        held = self._plan.held
        return {path: why for path, why in held.items() if path not in self._opened.idle}

    @cached_property
    def _plan(self) -> _Plan:
        """Held values of the network that let it mix the most; see the class."""
        opened, space = self._opened, self.space
        values = [opened.values]
        if self.start is not None:
            alike = all_decision_values(space, self.start, same_in_copies=True)
            defaults = all_decision_values(space, space.default())
            values += [found | opened.outside() for found in (alike, defaults)]
        plans: list[_Plan] = []
        for held_values in values:
            with torch.device("meta"), contextlib.suppress(SpaceError):
                plans.append(_Plan.of(self._supernet(held_values), self.space, held_values))
        if not plans:
            with torch.device("meta"):
                self._supernet(opened.values)  # says why
        return max(plans, key=lambda plan: plan.mixed)  # the first of equals

    @cached_property
    def _searched(self) -> Space[Any]:
        """The space with everything fixed that a gradient cannot search."""
        plan = self._plan
        held = {path: plan.values[path] for path in plan.held}
        return self.space.fix({**held, **self._opened.idle})

    @cached_property
    def _opened(self) -> Opened:
        return Opened(self.space, self.task, self.folder, self.seed, self.start)

    # What it came to

    @property
    def over(self) -> bool:
        """Whether it is done, or was given up."""
        return self._result is not None

    def candidates(self, n: int) -> list[Candidate]:
        """At most `number` of those found, best first. None where it was given up."""
        result = self._result
        return [] if result is None else [*map(Candidate.from_json, result.candidates[:n])]

    @property
    def trusted(self) -> bool:
        """Whether what was watched lets shared weights decide."""
        return self._result is not None and self._result.trusted

    def report(self) -> list[str]:
        """What it came to, in sentences."""
        result = self._result
        if result is None:
            return []
        says, held = [*result.says], [*result.held]
        if held and result.candidates:
            more = f" and {len(held) - 4} more" if len(held) > 4 else ""
            at = "at their defaults" if self.start is None else "as in the first baseline"
            says.append(f"held {at}, and searched from here on: {', '.join(held[:4])}{more}")
        return says

    @property
    def shortfall(self) -> str:
        """Why it did not finish, in a sentence; empty where it did."""
        return printable(self._result.shortfall, "") if self._result else ""

    def give_up(self, reason: str) -> None:
        """Ends it where it is: with what was preferred after the last epoch, where that is known."""
        record: list[EpochRecord] = []
        if isinstance(self.settings, DifferentiableNAS):
            with contextlib.suppress(BrokenFile):  # the reason says it
                record = read_history(self.folder, EpochRecord)
        candidates, says = [], f"the supernet came to nothing: {reason}"
        if record:
            candidates = discretize(self._searched, record[-1].scores, _MOST)
            epochs = plural(len(record), "epoch")
            says = f"the supernet did not finish, and ended after {epochs}: {reason}"
        found = _as_json(candidates, (), [says]) | {"trusted": False, "shortfall": says}
        self._end_with(found)

    def progress(self) -> str:
        """How far it is, in a few words; empty before there is anything to say."""
        return printable(shortened(str(self._opened.read(PROGRESS).get("says", "")), _WORDS), "")

    @property
    def _result(self) -> _Result | None:
        """What it came to; None where that is not known yet, or the file is damaged or of another
        space: then it is done again."""
        if "_known" not in self.__dict__:
            found = self._opened.read_as(SHORTLIST, _Result)
            if found is None or not self._is_of_space(found):
                return None
            self.__dict__["_known"] = found
        known: _Result = self.__dict__["_known"]
        return known

    def _is_of_space(self, found: _Result) -> bool:
        try:
            return all(self.space.contains(Candidate.from_json(text)) for text in found.candidates)
        except (InvalidCandidate, TypeError):
            return False

    # The work

    def __call__(self, job: Job) -> Metrics:
        settings = self.settings
        if isinstance(settings, SinglePathNAS):
            return self._by_paths(settings, job)
        return self._by_gradient(settings, job)

    def _by_gradient(self, settings: DifferentiableNAS, job: Job) -> Metrics:
        begun = time.monotonic()
        left = job.deadline - begun
        search = self._search(settings)
        watch = _Watch(self._opened, begun, begun + self.phases.supernet_training * left)
        watch.says(str(measure_step_cost(search)))
        search.train(watch.end, watch)
        watch.says("trained, looking at it")
        conclusion = finalize_search(search, _MOST, job.deadline - self.phases.judging * left)
        cut = _cut(len(search.history), settings.epochs, search.history[-1].remedy == STOPPED)
        self._end_with(_of_gradient(search, conclusion) | {"shortfall": cut})
        last = search.history[-1]
        return {"supernet_epochs": float(len(search.history)), "supernet_loss": last.train_loss}

    def _by_paths(self, settings: SinglePathNAS, job: Job) -> Metrics:
        begun = time.monotonic()
        left = job.deadline - begun
        assert self.among is not None  # refused before
        watch = _Watch(self._opened, begun, job.deadline)
        work = SampledWork(self._opened, settings, self.among, self.phases)
        watch.says(f"shared weights: {sum(one.numel() for one in work.shared.parameters()):,}")
        found = work.run(_MOST, job.deadline - self.phases.judging * left, watch, watch.says)
        cut = _cut(len(found.epochs), settings.training.epochs)
        self._end_with(_of_paths(found) | {"shortfall": cut})
        last = found.epochs[-1]
        return {"supernet_epochs": float(len(found.epochs)), "supernet_loss": last.loss}

    def _search(self, settings: DifferentiableNAS) -> GradientSearch:
        """The search as it was left, or a new one."""
        opened = self._opened
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            supernet = self._supernet(self._plan.values)
        supernet.to(opened.device)
        rows = split_in_halves(opened.rows(), self.seed)
        return GradientSearch(
            self._searched, supernet, rows, settings, self.seed, self.folder, opened.feed()
        )

    def _supernet(self, values: Mapping[str, Value]) -> Supernet:
        opened, settings = self._opened, self.settings
        assert isinstance(settings, DifferentiableNAS)  # paths have no supernet of mixtures
        return Supernet(
            opened.network, opened.inputs.shape, opened.prefix, channel_divisor=settings.channel_divisor,
            affine=settings.weights.affine, held_values=values, **opened.inputs.given,
        )  # fmt: skip

    def _end_with(self, found: Mapping[str, Any]) -> None:
        self._opened.write(SHORTLIST, {**found, "held": dict(self.held)})


@dataclass(frozen=True)
class _Result:
    """`SHORTLIST`, as it is read back."""

    candidates: tuple[str, ...]
    trusted: bool
    says: tuple[str, ...]
    held: Mapping[str, str]
    findings: tuple[object, ...] = ()
    scores: Mapping[str, object] = field(default_factory=dict)
    record: tuple[object, ...] = ()
    shortfall: str = ""


class _Watch:
    """Writes down how far the training is, for those who look on."""

    def __init__(self, opened: Opened, begun: float, end: float) -> None:
        self.opened, self.begun, self.end = opened, begun, end
        self.started: tuple[float, float] | None = None

    def says(self, text: str) -> None:
        self.opened.write(PROGRESS, {"says": text})

    def __call__(self, epoch: EpochRecord | SampledEpoch) -> None:
        now = time.monotonic()
        if self.started is None:  # the first epoch after a start tells how fast it goes
            self.started = now, epoch.progress
            pace = (now - self.begun) / max(epoch.progress, 1e-9)
        else:
            pace = (now - self.started[0]) / max(epoch.progress - self.started[1], 1e-9)
        left = max(0.0, min((1 - epoch.progress) * pace, self.end - now))
        minutes, seconds = divmod(round(left), 60)
        loss = epoch.loss if isinstance(epoch, SampledEpoch) else epoch.train_loss
        self.says(f"{epoch.progress:.0%}, loss {loss:.3f}, {minutes}:{seconds:02d} left")


def _cut(epochs: int, of: int, stopped: bool = False) -> str:
    """That there was no time for all epochs, in a sentence; empty where there was."""
    if epochs >= of or stopped:
        return ""
    return f"the supernet was trained for {epochs} of {of} epochs: its share of the time was over"


def _of_gradient(search: GradientSearch, found: SupernetResult) -> dict[str, Any]:
    remedies = [f"epoch {i}, {one.remedy}" for i, one in enumerate(search.history, 1) if one.remedy]
    what = (
        f"supernet: {len(search.history)} epochs, options chosen by {found.selected_by}, "
        f"{len(found.candidates)} candidates"
    )
    return _as_json(found.candidates, found.findings, [what, *remedies]) | {
        "scores": {path: [*scores] for path, scores in found.scores.items()},
        "record": [one._asdict() for one in search.history],
    }


def _of_paths(found: Found) -> dict[str, Any]:
    what = (
        f"shared weights: {len(found.epochs)} epochs, {found.evaluations} sub-networks judged, "
        f"{len(found.candidates)} candidates"
    )
    record = [one._asdict() for one in found.epochs]
    return _as_json(found.candidates, found.findings, [what]) | {"record": record}


def _as_json(
    candidates: Sequence[Candidate], findings: Sequence[Finding], says: Sequence[str]
) -> dict[str, Any]:
    return {
        "candidates": [one.json() for one in candidates],
        "trusted": is_trusted(findings),
        "says": [*says, *(one.message for one in findings)],
        "findings": [asdict(one) for one in findings],
    }
