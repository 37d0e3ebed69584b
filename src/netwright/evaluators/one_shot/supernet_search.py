"""A one-shot search with shared weights, which a study runs before its strategy's first proposal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

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
from netwright.evaluators.one_shot.single_path_search import (
    SinglePathResult,
    SinglePathSearch,
    SubnetSearch,
)
from netwright.evaluators.one_shot.supernet_setup import SupernetSetup
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
from netwright.oneshot.single_path.samplers import Sampler
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.oneshot.single_path.training import SampledEpoch, SampledPathTraining
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space
from netwright.trials.time_budget import PhaseShares
from netwright.trials.trial import Job, Metrics

_OUTSIDE_REASON = "it is no part of the network"
_MAX_PROGRESS_LENGTH = 200
"""Characters of a progress text that are shown; the file may not be trusted."""
_MAX_CANDIDATES = 20
"""Candidates of a shortlist."""
_MAX_HELD_SHOWN = 4
"""Held decisions that the report names."""


@dataclass(frozen=True)
class _MixingPlan:
    """The decisions that a supernet will mix, known before it is trained.

    Args:
        n_mixed: number of decisions that it mixes.
        held: path of each decision that it cannot mix -> why.
        values: path -> value for every decision, of which the held ones are used.
    """

    n_mixed: int
    held: Mapping[str, str]
    values: Mapping[str, Value]

    @classmethod
    def of(cls, supernet: Supernet, space: Space[Any], values: Mapping[str, Value]) -> _MixingPlan:
        held = {
            decision.path: supernet.held.get(decision.path, _OUTSIDE_REASON)
            for decision in space.decisions
            if decision.path not in supernet.options
        }
        return cls(len(supernet.options), held, values)


def as_one_shot_settings(method: object) -> DifferentiableNAS | SinglePathNAS:
    """Return the settings of a one-shot search; a relaxation or a sampler gets the default ones.

    Raises:
        InputError: `method` is something else.
    """
    if isinstance(method, DifferentiableNAS | SinglePathNAS):
        return method
    if isinstance(method, SampledPathTraining):
        return SinglePathNAS(method)
    if hasattr(method, "penalty"):
        return DifferentiableNAS(cast("Relaxation", method))
    if hasattr(method, "step"):
        return SinglePathNAS(SampledPathTraining(cast("Sampler", method)))
    rule = "the settings of a one-shot search, such as DifferentiableNAS(DrNAS())"
    raise InputError(expected("method", rule, Phrase(repr(method))))


@dataclass(frozen=True)
class SupernetSearch:
    """A one-shot search as a strategy's preparation: trains a supernet, leaves a shortlist.

    Called with a job, like an evaluator: it resumes after a kill and ends before the deadline. Its
    files are in `folder`; `candidates` reads the shortlist there.

    Decisions outside the network are held as in `start`. So are decisions of the network that a
    gradient cannot search; in copies of a `Repeat` they are held as in the first copy, or at their
    defaults, if the supernet then mixes more decisions.

    Args:
        space: of the candidates.
        task: its training rows train the supernet.
        method: settings, a relaxation, or how paths are sampled.
        folder: for checkpoints, progress and the shortlist.
        seed: of the weights and the rows' order.
        subnet_search: the strategy that searches among sub-networks; needed by `SinglePathNAS`.
        start: a candidate of the space; None for its default.
        phase_shares: how the search divides its time.

    Raises:
        InputError: the description has no network, or `subnet_search` is missing.
        SpaceError: the network has no decision that a supernet can mix.
    """

    space: Space[Any]
    task: Task
    method: DifferentiableNAS | SinglePathNAS | Relaxation | SampledPathTraining
    folder: Path
    seed: int = 0
    subnet_search: SubnetSearch | None = None
    start: Candidate | None = None
    phase_shares: PhaseShares = PhaseShares()

    def __post_init__(self) -> None:
        assert self.held is not None  # raises here rather than in a worker

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("supernet_epochs", "supernet_loss")

    @cached_property
    def settings(self) -> DifferentiableNAS | SinglePathNAS:
        """The settings of `method`; the default ones of a relaxation or sampler."""
        return as_one_shot_settings(self.method)

    @cached_property
    def held(self) -> Mapping[str, str]:
        """Path of each decision with a fixed value during the search -> why."""
        if isinstance(self.settings, SinglePathNAS):
            if self.subnet_search is None:
                rule = "given a strategy among sub-networks, for such a method"
                raise InputError(expected("a search", rule, Phrase("none"), "Use OneShot."))
            return dict.fromkeys(self._setup.values_outside_network(), _OUTSIDE_REASON)
        held = self._plan.held
        unused = self._setup.values_without_columns
        return {path: why for path, why in held.items() if path not in unused}

    @cached_property
    def _plan(self) -> _MixingPlan:
        """The plan that mixes the most decisions, the first of equals; see the class."""
        setup, space = self._setup, self.space
        options = [setup.decision_values]
        if self.start is not None:
            same_in_copies = all_decision_values(space, self.start, same_in_copies=True)
            defaults = all_decision_values(space, space.default())
            outside = setup.values_outside_network()
            options += [same_in_copies | outside, defaults | outside]
        plans: list[_MixingPlan] = []
        for values in options:
            with torch.device("meta"), contextlib.suppress(SpaceError):
                plans.append(_MixingPlan.of(self._make_supernet(values), self.space, values))
        if not plans:
            with torch.device("meta"):
                self._make_supernet(setup.decision_values)  # raises with the reason
        return max(plans, key=lambda plan: plan.n_mixed)

    @cached_property
    def _searched_space(self) -> Space[Any]:
        """The space with everything fixed that a gradient cannot search."""
        plan = self._plan
        held = {path: plan.values[path] for path in plan.held}
        return self.space.fix({**held, **self._setup.values_without_columns})

    @cached_property
    def _setup(self) -> SupernetSetup:
        return SupernetSetup(self.space, self.task, self.folder, self.seed, self.start)

    # The shortlist

    @property
    def is_over(self) -> bool:
        """Whether it is done or was given up."""
        return self._shortlist is not None

    def candidates(self, n: int) -> list[Candidate]:
        """Return at most `n` candidates, best first; empty if it was given up early."""
        shortlist = self._shortlist
        return [] if shortlist is None else [*map(Candidate.from_json, shortlist.candidates[:n])]

    @property
    def trusted(self) -> bool:
        """Whether the findings let shared weights decide."""
        return self._shortlist is not None and self._shortlist.trusted

    def report(self) -> list[str]:
        """Return what it found, in sentences."""
        shortlist = self._shortlist
        if shortlist is None:
            return []
        sentences, held = [*shortlist.says], [*shortlist.held]
        if held and shortlist.candidates:
            n_more = len(held) - _MAX_HELD_SHOWN
            more = f" and {n_more} more" if n_more > 0 else ""
            how = "at their defaults" if self.start is None else "as in the first baseline"
            names = ", ".join(held[:_MAX_HELD_SHOWN])
            sentences.append(f"held {how}, and searched from here on: {names}{more}")
        return sentences

    @property
    def shortfall(self) -> str:
        """Why it did not finish, in a sentence; empty if it did."""
        return printable(self._shortlist.shortfall, "") if self._shortlist else ""

    def give_up(self, reason: str) -> None:
        """End with the candidates preferred after the last epoch, or with none."""
        history: list[EpochRecord] = []
        if isinstance(self.settings, DifferentiableNAS):
            with contextlib.suppress(BrokenFile):  # `reason` explains it
                history = read_history(self.folder, EpochRecord)
        candidates, sentence = [], f"the supernet came to nothing: {reason}"
        if history:
            candidates = discretize(self._searched_space, history[-1].scores, _MAX_CANDIDATES)
            epochs = plural(len(history), "epoch")
            sentence = f"the supernet did not finish, and ended after {epochs}: {reason}"
        shortlist = _shortlist_json(candidates, (), [sentence])
        self._write_shortlist(shortlist | {"trusted": False, "shortfall": sentence})

    def progress(self) -> str:
        """Return its progress in a few words; empty before the first."""
        return printable(
            shortened(str(self._setup.read(PROGRESS).get("says", "")), _MAX_PROGRESS_LENGTH), ""
        )

    @property
    def _shortlist(self) -> _SavedShortlist | None:
        """The saved shortlist; None, so that the search is done again, without a valid one."""
        if "_cached_shortlist" not in self.__dict__:
            saved = self._setup.read_as(SHORTLIST, _SavedShortlist)
            if saved is None or not self._is_of_space(saved):
                return None
            self.__dict__["_cached_shortlist"] = saved
        shortlist: _SavedShortlist = self.__dict__["_cached_shortlist"]
        return shortlist

    def _is_of_space(self, saved: _SavedShortlist) -> bool:
        try:
            return all(self.space.contains(Candidate.from_json(text)) for text in saved.candidates)
        except (InvalidCandidate, TypeError):
            return False

    # The search

    def __call__(self, job: Job) -> Metrics:
        settings = self.settings
        if isinstance(settings, SinglePathNAS):
            return self._search_by_paths(settings, job)
        return self._search_by_gradient(settings, job)

    def _search_by_gradient(self, settings: DifferentiableNAS, job: Job) -> Metrics:
        started_at = time.monotonic()
        seconds_left = job.deadline - started_at
        search = self._make_gradient_search(settings)
        training_end = started_at + self.phase_shares.supernet_training * seconds_left
        progress = _ProgressWriter(self._setup, started_at, training_end)
        progress.write(str(measure_step_cost(search)))
        search.train(training_end, progress)
        progress.write("trained, discretizing")
        search_result = finalize_search(
            search, _MAX_CANDIDATES, job.deadline - self.phase_shares.judging * seconds_left
        )
        n_epochs, last_epoch = len(search.history), search.history[-1]
        shortfall = _shortfall(n_epochs, settings.epochs, was_stopped=last_epoch.remedy == STOPPED)
        self._write_shortlist(_gradient_json(search, search_result) | {"shortfall": shortfall})
        return {"supernet_epochs": float(n_epochs), "supernet_loss": last_epoch.train_loss}

    def _search_by_paths(self, settings: SinglePathNAS, job: Job) -> Metrics:
        started_at = time.monotonic()
        seconds_left = job.deadline - started_at
        assert self.subnet_search is not None  # checked by `held`
        progress = _ProgressWriter(self._setup, started_at, job.deadline)
        search = SinglePathSearch(self._setup, settings, self.subnet_search, self.phase_shares)
        n_weights = sum(weights.numel() for weights in search.shared.parameters())
        progress.write(f"shared weights: {n_weights:,}")
        deadline = job.deadline - self.phase_shares.judging * seconds_left
        search_result = search.run(_MAX_CANDIDATES, deadline, progress, progress.write)
        shortfall = _shortfall(len(search_result.epochs), settings.training.epochs)
        self._write_shortlist(_single_path_json(search_result) | {"shortfall": shortfall})
        last_epoch = search_result.epochs[-1]
        return {
            "supernet_epochs": float(len(search_result.epochs)),
            "supernet_loss": last_epoch.loss,
        }

    def _make_gradient_search(self, settings: DifferentiableNAS) -> GradientSearch:
        """Return a new search, or one that resumes from its checkpoint in `folder`."""
        setup = self._setup
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            supernet = self._make_supernet(self._plan.values)
        supernet.to(setup.device)
        rows = split_in_halves(setup.training_rows(), self.seed)
        return GradientSearch(
            self._searched_space,
            supernet,
            rows,
            settings,
            self.seed,
            self.folder,
            setup.batch_transform(),
        )

    def _make_supernet(self, values: Mapping[str, Value]) -> Supernet:
        setup, settings = self._setup, self.settings
        assert isinstance(settings, DifferentiableNAS)  # sampled paths mix nothing
        return Supernet(
            setup.network,
            setup.inputs.shape,
            setup.prefix,
            channel_divisor=settings.channel_divisor,
            affine=settings.weight_training.affine,
            held_values=values,
            **setup.inputs.given,
        )

    def _write_shortlist(self, shortlist: Mapping[str, Any]) -> None:
        self._setup.write(SHORTLIST, {**shortlist, "held": dict(self.held)})


@dataclass(frozen=True)
class _SavedShortlist:
    """The file `SHORTLIST`; its fields are the file's keys."""

    candidates: tuple[str, ...]
    trusted: bool
    says: tuple[str, ...]
    held: Mapping[str, str]
    findings: tuple[object, ...] = ()
    scores: Mapping[str, object] = field(default_factory=dict)
    record: tuple[object, ...] = ()
    shortfall: str = ""


class _ProgressWriter:
    """Writes the progress of the training into the file `PROGRESS`, for the study's process."""

    def __init__(self, setup: SupernetSetup, started_at: float, deadline: float) -> None:
        self._setup, self._started_at, self._deadline = setup, started_at, deadline
        self._first_epoch: tuple[float, float] | None = None
        """When the first epoch after a start ended, and the progress then."""

    def write(self, text: str) -> None:
        self._setup.write(PROGRESS, {"says": text})

    def __call__(self, epoch: EpochRecord | SampledEpoch) -> None:
        now = time.monotonic()
        if self._first_epoch is None:  # it includes warm-up: later ones are timed from its end
            self._first_epoch = now, epoch.progress
            seconds_per_progress = (now - self._started_at) / max(epoch.progress, 1e-9)
        else:
            first_end, first_progress = self._first_epoch
            seconds_per_progress = (now - first_end) / max(epoch.progress - first_progress, 1e-9)
        seconds_left = min((1 - epoch.progress) * seconds_per_progress, self._deadline - now)
        minutes, seconds = divmod(round(max(0.0, seconds_left)), 60)
        loss = epoch.loss if isinstance(epoch, SampledEpoch) else epoch.train_loss
        self.write(f"{epoch.progress:.0%}, loss {loss:.3f}, {minutes}:{seconds:02d} left")


def _shortfall(n_epochs: int, max_epochs: int, *, was_stopped: bool = False) -> str:
    """Return that there was no time for all epochs, in a sentence; empty if there was."""
    if n_epochs >= max_epochs or was_stopped:
        return ""
    return (
        f"the supernet was trained for {n_epochs} of {max_epochs} epochs: "
        "its share of the time was over"
    )


def _gradient_json(search: GradientSearch, search_result: SupernetResult) -> dict[str, Any]:
    remedies = [
        f"epoch {i}, {epoch.remedy}" for i, epoch in enumerate(search.history, 1) if epoch.remedy
    ]
    summary = (
        f"supernet: {len(search.history)} epochs, options chosen by {search_result.selected_by}, "
        f"{len(search_result.candidates)} candidates"
    )
    return _shortlist_json(
        search_result.candidates, search_result.findings, [summary, *remedies]
    ) | {
        "scores": {path: [*scores] for path, scores in search_result.scores.items()},
        "record": [epoch._asdict() for epoch in search.history],
    }


def _single_path_json(search_result: SinglePathResult) -> dict[str, Any]:
    summary = (
        f"shared weights: {len(search_result.epochs)} epochs, "
        f"{search_result.n_evaluations} sub-networks scored, "
        f"{len(search_result.candidates)} candidates"
    )
    record = [epoch._asdict() for epoch in search_result.epochs]
    return _shortlist_json(search_result.candidates, search_result.findings, [summary]) | {
        "record": record
    }


def _shortlist_json(
    candidates: Sequence[Candidate], findings: Sequence[Finding], sentences: Sequence[str]
) -> dict[str, Any]:
    return {
        "candidates": [candidate.json() for candidate in candidates],
        "trusted": is_trusted(findings),
        "says": [*sentences, *(finding.message for finding in findings)],
        "findings": [asdict(finding) for finding in findings],
    }
