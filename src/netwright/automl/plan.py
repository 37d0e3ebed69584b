"""The whole way: a task and a budget in, a searched, trained, exported model out."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netwright.automl import names
from netwright.automl.portfolio import portfolio
from netwright.automl.spaces import Brief, space_for
from netwright.data.task import Task, summary
from netwright.deploy.model import Model
from netwright.deploy.onnx import Parity, card_of, export, parity
from netwright.errors import ExportError, InputError, RunError, check_whole, expected
from netwright.evaluators.defaults import evaluator_for
from netwright.evaluators.latency import example_feeds, measure
from netwright.pipelines.pipeline import FittedPipeline, as_pipeline, load
from netwright.report.tables import Row, row
from netwright.study.events import Event
from netwright.study.executors import Supervised, cores
from netwright.study.folders import clear
from netwright.study.study import Study
from netwright.trials.metrics import METRICS, default_metric, metric, score
from netwright.trials.objective import Limit, Objective, objectives, parse_limit
from netwright.trials.trial import Metrics, Status, Trial

LEAST_SECONDS = 5
"""Start-up of a worker, one short training and the export."""
_FRONT = 24
"""So many members of the front are exported and measured; the best come first."""
_SHARES = 16
"""A trial may take this share of the search: enough trials to choose among."""


@dataclass(frozen=True)
class Goal:
    """What to improve, and within which bounds; objectives empty: the task's metric and size."""

    objectives: Sequence[str | Objective] = ()
    limits: Sequence[str | Limit] = ()

    def of(self, task: Task) -> tuple[tuple[Objective, ...], tuple[Limit, ...]]:
        """Objectives and limits, checked against the task."""
        defined = _defined(task)
        name = default_metric(task.kind)
        if name not in defined:  # auc, where a class is not among the validation rows
            name = "log_loss"
        wanted = objectives(self.objectives or (name, "parameters"))
        limits = tuple(parse_limit(limit) for limit in self.limits)
        for name in [*(one.metric for one in wanted), *(limit.metric for limit in limits)]:
            _refuse_foreign(name, task)
            _refuse_undefined(name, task, defined)
        return wanted, limits


@dataclass(frozen=True)
class Effort:
    """How much to spend: seconds of wall time in all, trials, or until limits are reached.

    Counted over all runs of the same folder. `workers` 0: one for each core. `memory` in bytes is
    the most that one trial may take; 0: its share of four fifths of the machine's.
    """

    seconds: float | None = None
    trials: int | None = None
    until: Sequence[str | Limit] = ()
    workers: int = 0
    memory: int = 0
    begun: float | None = None
    """From when the time counts, in seconds of `time.monotonic()`; None: from the call that uses it."""

    def __post_init__(self) -> None:
        if self.seconds is not None and not LEAST_SECONDS <= self.seconds < math.inf:
            rule = f"at least {LEAST_SECONDS} s (start-up and one short training)"
            raise InputError(expected("time", rule, self.seconds))
        if self.trials is not None:
            check_whole("trials", self.trials, 1)
        if self.workers < 0:
            raise InputError(expected("workers", "0 (one for each core) or more", self.workers))

    @property
    def parallel(self) -> int:
        """How many workers run side by side: one-thread trials share a machine best."""
        return self.workers or cores()

    @property
    def search_seconds(self) -> float | None:
        """The time for trials: what starting, exporting and measuring will need is kept back."""
        if self.seconds is None:
            return None
        return self.seconds - min(0.2 * self.seconds, 6 + 0.04 * self.seconds)

    def starting(self) -> Effort:
        """The same, whose time counts from now, unless it counts already."""
        return self if self.begun is not None else replace(self, begun=time.monotonic())

    @property
    def end(self) -> float:
        """When the whole has to be over; never, before it has started."""
        if self.seconds is None or self.begun is None:
            return math.inf
        return self.begun + self.seconds

    @property
    def trial_seconds(self) -> float | None:
        """The most that one trial may take: a share, so that there is something to choose among."""
        if self.search_seconds is None:
            return None
        return max(min(3.0, self.search_seconds), self.search_seconds * self.parallel / _SHARES)

    @property
    def budget(self) -> dict[str, Any]:
        """As `Study.run` takes it."""
        return {"trials": self.trials, "seconds": self.search_seconds, "until": tuple(self.until)}


@dataclass(frozen=True)
class Outcome:
    """What a search came to; everything in it is on disk in the run folder.

    `front` has one row for each delivered point, measured afresh; `test` is empty without a test
    part. `already`: earlier runs of the same line had used up the budget.
    """

    run: Path
    task: Task
    study: Study[Any]
    best: Trial
    front: list[Row]
    model: Model
    parity: Parity
    test: Metrics
    already: bool
    left_out: tuple[str, ...] = ()
    """Sentences on members of the front that could not be exported."""


def fit(
    task: Task,
    goal: Goal = Goal(),  # frozen
    effort: Effort = Effort(),  # frozen
    *,
    strategy: str | Any = names.DEFAULT,
    seed: int = 0,
    run: str | Path | None = None,
    fresh: bool = False,
    watch: Callable[[Event], object] | None = None,
) -> Outcome:
    """Searches until the effort is spent, then delivers the best model within the limits.

    The same call goes on where an earlier one stopped. Raises RunError when the folder belongs to
    another search, InputError when the goal does not fit the task.
    """
    effort = effort.starting()
    study = open_study(task, goal, effort, strategy=strategy, seed=seed, run=run, fresh=fresh)
    already = study.over(**effort.budget)
    study.run(**effort.budget, watch=watch, since=effort.begun)
    return deliver(study, task, already, effort.end)


def open_study(
    task: Task,
    goal: Goal,
    effort: Effort,
    *,
    strategy: str | Any = names.DEFAULT,
    seed: int = 0,
    run: str | Path | None = None,
    fresh: bool = False,
) -> Study[Any]:
    """The study that `fit` runs, with what earlier runs of its folder have found."""
    wanted, limits = goal.of(task)
    folder = Path(run) if run else default_run(task, wanted, limits, strategy, seed)
    if fresh:
        clear(folder)
        (folder / "model.onnx").unlink(missing_ok=True)
    brief = Brief.of(task)
    space = space_for(brief)
    return Study(
        space,
        evaluator_for(space, task, wanted, limits),
        strategy=names.strategy(strategy) if isinstance(strategy, str) else strategy,
        objectives=wanted,
        limits=limits,
        baselines=portfolio(space, brief),
        run=folder,
        seed=seed,
        executor=Supervised(effort.parallel, memory=effort.memory),
        about={"data": task.fingerprint},
        notes={"data in words": summary(task), "name": task.name, "brief": brief.json()},
        trial_seconds=effort.trial_seconds,
    )


def default_run(
    task: Task, wanted: Sequence[Objective], limits: Sequence[Limit], strategy: Any, seed: int
) -> Path:
    """``runs/adult-3f9c1a``: the data's name, and a hash of what makes this search this search."""
    line = [task.name, task.kind, [one.metric for one in wanted], [str(one) for one in limits]]
    text = json.dumps([*line, str(strategy), seed])
    name = re.sub(r"[^A-Za-z0-9]+", "-", task.name).strip("-").lower() or "run"
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def deliver(study: Study[Any], task: Task, already: bool = False, end: float = math.inf) -> Outcome:
    """Exports and measures the front, and writes its best as `model.onnx` in the run folder.

    A member that cannot be exported exactly is left out, with its reason; so are those for which
    no time is left at `end`, but never the best. Raises RunError when there is nothing to deliver,
    KeyboardInterrupt when that is because the study was stopped.
    """
    rows, left_out, best = [], [], None
    front = study.front[:_FRONT]
    for place, trial in enumerate(front):
        if best and not already and time.monotonic() > end:
            left_out.append(
                f"{len(front) - place} more of the front are not exported: the time was up. "
                "The same line exports them."
            )
            break
        try:
            pipeline, model = export_trial(study, task, trial)
            agreed = parity(model, pipeline, task.features.take(task.validation))
        except ExportError as error:
            left_out.append(f"trial {trial.id} is left out: {error}")
            continue
        measured = measure(model.path, example_feeds(model, task))
        rows.append(row(trial, study.space.fill, on_front=True, measured=measured))
        if best is None:
            best = trial, agreed
    if best is None:
        if study.interrupted:
            raise KeyboardInterrupt
        raise RunError(_nothing(study, left_out))
    trial, agreed = best
    final = study.folder / "model.onnx"
    part = final.with_name(".model.onnx.part")
    shutil.copyfile(study.trial_folder(trial.id) / "model.onnx", part)
    part.replace(final)
    model = Model(final)
    test = score_part(model, task)
    return Outcome(
        study.folder, task, study, trial, rows, model, agreed, test, already, tuple(left_out)
    )


def export_trial(study: Study[Any], task: Task, trial: Trial) -> tuple[FittedPipeline, Model]:
    """The trial's pipeline, and its ONNX file, written into the trial's folder."""
    folder = study.trial_folder(trial.id)
    if not (folder / "pipeline.json").is_file():
        raise RunError(
            f"trial {trial.id} has left no weights in {study.folder}: only members of the front "
            f"are kept. Choose one of: {', '.join(str(one.id) for one in study.front)}."
        )
    description = as_pipeline(study.space.fill(trial.candidate), task)
    pipeline = load(description, folder)
    card = card_of(task) | {"trial": trial.id, "validation": scores_of(trial.metrics)}
    return pipeline, export(pipeline, card, folder / "model.onnx")


def scores_of(metrics: Metrics) -> dict[str, float]:
    """The metrics that judge predictions, without the costs."""
    return {
        name: value for name, value in metrics.items() if name in METRICS and METRICS[name].kinds
    }


def score_part(model: Model, task: Task) -> Metrics:
    """The delivered file on the task's test part; empty when there is none."""
    if task.test is None:
        return {}
    return score(task.kind, task.test.target, model.scores(task.test.features))


def _nothing(study: Study[Any], left_out: list[str]) -> str:
    """Why there is no model, from what the trials say."""
    if left_out:
        return left_out[0]
    done = [trial for trial in study.trials if trial.status is Status.DONE]
    if done:
        limits = ", ".join(str(limit) for limit in study.limits)
        return f"no trial kept the limits {limits}. Loosen them, or give the search more time."
    reasons = [trial.error for trial in study.trials if trial.error]
    if reasons and "is broken" in reasons[-1]:
        limits = ", ".join(str(limit) for limit in study.limits)
        return (
            f"no candidate kept the limits {limits}; the last one says: {reasons[-1]}. Loosen them."
        )
    if reasons:
        return f"no trial finished; the last one says: {reasons[-1]}. Give the search more time."
    return "no trial finished in time. Use a larger --time."


def _defined(task: Task) -> Metrics:
    """The metrics that the validation rows define, of a prediction that says nothing."""
    truth = task.target[task.validation]
    shape = (len(truth), len(task.classes)) if task.classes else (len(truth),)
    return score(task.kind, truth, np.full(shape, 1 / max(1, len(task.classes))))


def _refuse_undefined(name: str, task: Task, defined: Metrics) -> None:
    """InputError when the validation rows do not say what the metric is: auc without a class."""
    if METRICS[name].kinds and name not in defined:
        rows = "rows of every class" if task.classes else "rows of different values"
        fix = "log_loss" if task.classes else "rmse"
        raise InputError(
            f"{name} needs {rows} for validation, got {len(task.validation)} rows without. "
            f"Use {fix}, or other validation rows."
        )


def _refuse_foreign(name: str, task: Task) -> None:
    """InputError when a metric judges another kind of task."""
    kinds = metric(name).kinds
    if kinds and task.kind not in kinds:
        rule = f"a metric of {task.kind} tasks"
        raise InputError(expected("objective", rule, name, f"Try {default_metric(task.kind)}."))
