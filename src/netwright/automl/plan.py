"""The whole way: a task and a budget in, a searched, trained, exported model out."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from pathlib import Path
from threading import Thread
from typing import Any

from netwright.automl import names
from netwright.automl.export.delivery import Outcome, deliver, load_libraries
from netwright.automl.export.plan import wide_seconds
from netwright.automl.finished_search import OpenedSearch
from netwright.automl.portfolio import portfolio
from netwright.automl.saved_run import check_folds, kept_brief
from netwright.automl.spaces import space_for
from netwright.automl.tabular.families import NETWORKS, check_families, family_names
from netwright.automl.tabular.schedule import pace, schedule
from netwright.automl.task_metadata import Brief
from netwright.data.task import Images, Task, summary
from netwright.errors import InputError, check_whole, expected, plural
from netwright.evaluators.defaults import cross_validation_for, evaluator_for
from netwright.interfaces.checks import is_strategy
from netwright.report.tables import what
from netwright.space.space import Space
from netwright.strategies.oneshot import OneShot
from netwright.study.progress.callbacks import Callbacks, Verbose, listening
from netwright.study.progress.events import (
    Callback,
    Event,
    ModelDelivered,
    TrialStarted,
    ignore,
    short_name,
)
from netwright.study.storage.run_folder import clear
from netwright.study.study import Study
from netwright.study.workers.executors import Executor, Supervised, cores
from netwright.trials.formats import folder_name
from netwright.trials.metrics import METRICS, default_metric, defined, metric
from netwright.trials.objective import Limit, Objective, limits, objectives
from netwright.trials.trial import Status, Trial

LEAST_SECONDS = 5
"""Start-up of a worker, one short training and the export."""
_MAX_EXPORT_SHARE = 0.3
"""Of the time, at most, for what a wide table takes to be exported beyond the usual."""
_SHARES = 16
"""A trial may take this share of the search: enough trials to choose among."""


@dataclass(frozen=True)
class Goal:
    """What to improve, and within which bounds.

    Objectives empty: the task's metric; of images also the size of the network.
    """

    objectives: str | Objective | Sequence[str | Objective] | None = ()
    limits: str | Limit | Sequence[str | Limit] | None = ()

    def of(self, task: Task) -> tuple[tuple[Objective, ...], tuple[Limit, ...]]:
        """Objectives and limits, checked against the task."""
        known = defined(task.kind, task.target[task.validation], len(task.classes))
        name = default_metric(task.kind)
        if name not in known:  # auc, where a class is not among the validation rows
            name = "log_loss"
        usual = (name, "parameters") if isinstance(task.features, Images) else (name,)
        given = self.objectives
        left_out = given is None or (isinstance(given, Sequence) and not len(given))
        wanted = objectives(usual if left_out or given is None else given)
        bounds = limits(() if self.limits is None else self.limits)
        for name in [*(one.metric for one in wanted), *(limit.metric for limit in bounds)]:
            _refuse_foreign(name, task)
            _refuse_undefined(name, task, known)
        return wanted, bounds


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
    export_seconds: float = 0.0
    """What exporting a model of the task takes beyond the usual; see `of`."""

    def __post_init__(self) -> None:
        if self.seconds is not None and not _is_time(self.seconds):
            least = f"at least {LEAST_SECONDS} (start-up and one short training)"
            rule = f"a finite number of seconds, {least}"
            raise InputError(expected("time", rule, self.seconds))
        if self.trials is not None:
            check_whole("trials", self.trials, 1)
        check_whole("workers", self.workers, 0, "Use 0 for one on each core.")

    @property
    def parallel(self) -> int:
        """How many workers run side by side: one-thread trials share a machine best."""
        return self.workers or cores()

    @property
    def search_seconds(self) -> float | None:
        """The time for trials: what starting, exporting and measuring will need is kept back."""
        if self.seconds is None:
            return None
        usual = min(0.2 * self.seconds, 6 + 0.04 * self.seconds)
        return self.seconds - usual - min(self.export_seconds, _MAX_EXPORT_SHARE * self.seconds)

    def of(self, task: Task) -> Effort:
        """The same for a task, of which exporting a model may take longer."""
        return replace(self, export_seconds=wide_seconds(task))

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


def _is_time(seconds: object) -> bool:
    """Numbers of numpy count; true and false do not."""
    if not isinstance(seconds, Real) or isinstance(seconds, bool):
        return False
    return LEAST_SECONDS <= float(seconds) < math.inf


def fit(
    task: Task,
    goal: Goal = Goal(),  # frozen
    effort: Effort = Effort(),  # frozen
    *,
    strategy: str | Any = names.DEFAULT,
    families: str | Sequence[str] = (),
    seed: int = 0,
    run: str | Path | None = None,
    fresh: bool = False,
    verbose: Verbose = "auto",
    callbacks: Callback | Sequence[Callback] | None = (),
    executor: Executor | None = None,
) -> Outcome:
    """Searches until the effort is spent, then delivers the best model within the limits.

    The same call goes on where an earlier one stopped. Raises RunError when the folder belongs to
    another search, InputError when the goal does not fit the task.

    `verbose` and `callbacks`: as for `Study.run`.
    """
    effort = effort.starting().of(task)
    with listening(callbacks, verbose) as notify:
        opened = open_study(
            task, goal, effort, strategy=strategy, families=families, seed=seed, run=run,
            fresh=fresh, executor=executor,
        )  # fmt: skip
        return carry_out(opened, effort, notify)


def carry_out(opened: OpenedSearch, effort: Effort, notify: Callback = ignore) -> Outcome:
    """Runs an opened search until the effort is spent, and delivers; `notify` hears of it."""
    study = opened.study
    already, before = study.over(**effort.budget), _ended(study)
    loading = Thread(target=load_libraries, daemon=True)

    def heard(event: Event) -> None:
        # at the end time is short; before the first trial it would keep the workers from starting
        if isinstance(event, TrialStarted) and loading.ident is None and effort.seconds is not None:
            loading.start()
        notify(event)

    callbacks = Callbacks([heard])  # `notify` has joined them with logging already
    study.run(**effort.budget, verbose=False, callbacks=callbacks, since=effort.begun)
    if loading.ident is not None:
        loading.join()
    timed = effort.seconds is not None and not already and not study.interrupted
    idle = timed and before == _ended(study) > 0
    outcome = deliver(opened, already, effort.end, effort.parallel, notify)
    notify(ModelDelivered(outcome.best, study.describe(outcome.best)))
    if not idle:
        return outcome
    said = "No further trial fitted into what was left of the time: give it more."
    return replace(outcome, doubts=(*outcome.doubts, said))


def _ended(study: Study[Any]) -> int:
    return sum(trial.status is not Status.RUNNING for trial in study.trials)


def open_study(
    task: Task,
    goal: Goal,
    effort: Effort,
    *,
    strategy: str | Any = names.DEFAULT,
    families: str | Sequence[str] = (),
    seed: int = 0,
    run: str | Path | None = None,
    fresh: bool = False,
    executor: Executor | None = None,
) -> OpenedSearch:
    """The search that `fit` runs, with what earlier runs of its folder have found.

    `executor`: where trials run; None: in supervised workers.
    """
    wanted, limits = goal.of(task)
    families = family_names(families)
    check_whole("seed", seed, 0)
    folder = _folder(run) or default_run(task, wanted, limits, strategy, families, seed)
    if fresh:
        clear(folder)
        (folder / "model.onnx").unlink(missing_ok=True)
    algorithm = names.strategy(strategy) if isinstance(strategy, str) else strategy
    brief = _brief(task, algorithm, families, [*wanted, *limits])
    kept = kept_brief(folder)
    pacing = pace(brief, effort.search_seconds, effort.parallel, kept.folds if kept else 0)
    folds = pacing.folds if brief.columns and not isinstance(algorithm, OneShot) else 0
    brief = replace(brief, folds=folds)
    space = space_for(brief)
    first = portfolio(space, brief)
    if isinstance(algorithm, OneShot):
        first = first[:1]  # an answer; the rest of the budget is for what the search prefers
    fitting = None
    if folds:
        seconds = pacing.fold_seconds
        fitting = cross_validation_for(space, task, wanted, folds, seconds)
    seeded = folds > 0 and not is_strategy(algorithm)
    study = Study(
        space,
        evaluator_for(space, task, wanted, limits, folds=fitting),
        strategy=schedule(algorithm, first, folds) if seeded else algorithm,
        objectives=wanted,
        limits=limits,
        baselines=() if seeded else first,
        run=folder,
        seed=seed,
        executor=executor or Supervised(effort.parallel, memory=effort.memory),
        about={"data": task.fingerprint},
        notes={
            "data in words": summary(task),
            "name": task.name,
            "brief": brief.json(),
            "data notes": "\n".join(task.notes),
        },
        trial_seconds=pacing.trial_seconds if folds else effort.trial_seconds,
        describe=partial(_few_words, space),
    )
    check_folds(study.trials, folder)
    return OpenedSearch(study, task, fitting)


def _few_words(space: Space[Any], trial: Trial) -> str:
    """The trial's family of models, or its model where the space is of one family."""
    return short_name(trial) if trial.family else what(trial, space.fill)


def _folder(run: object) -> Path | None:
    """The run folder that is asked for, if any; InputError for what is no path."""
    if run is not None and not isinstance(run, str | Path):
        raise InputError(expected("run", "the path of a folder", run))
    return Path(run) if run else None


def _brief(
    task: Task, algorithm: Any, families: Sequence[str], wanted: Sequence[Objective | Limit]
) -> Brief:
    """The task's, with the families that can be searched by the strategy and have the metrics."""
    brief = Brief.of(task)
    if brief.image:
        if families:
            raise InputError(expected("families", "left out for images", ", ".join(families)))
        return brief
    if isinstance(algorithm, OneShot):
        if set(families) - {"network"}:
            rule = "network alone for a strategy that shares weights"
            raise InputError(expected("families", rule, ", ".join(families)))
        return replace(brief, families=("network",))
    found = check_families(families)
    if sized := {one.metric for one in wanted} & {"parameters", "flops", "memory"}:
        if others := [name for name in families if name not in NETWORKS]:
            rule = f"networks ({', '.join(NETWORKS)}) where {min(sized)} counts"
            raise InputError(expected("families", rule, ", ".join(others)))
        found = tuple(name for name in found if name in NETWORKS)
    return replace(brief, families=found)


def default_run(
    task: Task, wanted: Sequence[Objective], limits: Sequence[Limit], strategy: Any,
    families: Sequence[str], seed: int,
) -> Path:  # fmt: skip
    """``runs/adult-3f9c1a``: the data's name, and a hash of what makes this search this search."""
    line = [task.name, task.kind, [one.metric for one in wanted], [str(one) for one in limits]]
    line += [sorted(families)] if families else []
    text = json.dumps([*line, str(strategy), seed])
    name = folder_name(task.name) or "run"
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _refuse_undefined(name: str, task: Task, known: Sequence[str]) -> None:
    """InputError when the validation rows do not say what the metric is: auc without a class."""
    if METRICS[name].kinds and name not in known:
        rows = "rows of every class" if task.classes else "rows of different values"
        fix = "log_loss" if task.classes else "rmse"
        raise InputError(
            f"{name} needs {rows} for validation, got {plural(len(task.validation), 'row')} without. "
            f"Use {fix}, or other validation rows."
        )


def _refuse_foreign(name: str, task: Task) -> None:
    """InputError when a metric judges another kind of task."""
    kinds = metric(name).kinds
    if kinds and task.kind not in kinds:
        rule = f"a metric of {task.kind} tasks"
        raise InputError(expected("objective", rule, name, f"Try {default_metric(task.kind)}."))
