"""`netwright fit` and `demo`: a calm account of a search, from the data to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from netwright.automl.export.delivery import FitResult, has_unexported
from netwright.automl.fit import run_and_deliver
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.open_search import open_search
from netwright.automl.score_warnings import leakage_warnings, seen_test_fraction
from netwright.automl.search_budget import SearchBudget
from netwright.automl.spaces import IMAGE_SPACES, space_name
from netwright.cli import terminal
from netwright.cli.progress import FitProgress
from netwright.cli.terminal import ERR, print_line
from netwright.data.make_task import task
from netwright.data.targets import RequestedTaskKind
from netwright.data.task import Task, summary
from netwright.errors import plural
from netwright.study.journal import n_budgeted_trials
from netwright.study.progress.callbacks import open_callbacks
from netwright.study.progress.events import StageStarted
from netwright.study.study import Study
from netwright.study.workers.executors import Supervised, available_cores
from netwright.trials.formats import format_metric
from netwright.trials.metrics import metric
from netwright.trials.objective import objectives
from netwright.trials.trial import Status


@dataclass(frozen=True)
class Source:
    """What is read, and how: see `netwright.task`."""

    data: str
    target: str | None = None
    test: str | None = None
    kind: RequestedTaskKind = None
    missing_labels: Sequence[str] = ()


@dataclass(frozen=True)
class RunLocation:
    """Where a run lies, and whether anything but JSON goes to stdout.

    Args:
        run: its folder; None: the usual one.
        fresh: whether to forget what it holds.
        quiet: whether nothing is said on stdout.
    """

    run: str | None = None
    fresh: bool = False
    quiet: bool = False


def search(
    source: Source, goal: Goal, budget: SearchBudget, method: Method, location: RunLocation,
    executor: Supervised | None = None,
) -> FitResult:  # fmt: skip
    """The whole command. Trials run in the `executor`, if any."""
    quiet = location.quiet
    budget = budget.started()
    progress = FitProgress(budget)
    with open_callbacks(() if quiet else progress, verbose=False) as notify:
        with progress.shown(quiet):
            notify(StageStarted("reading", source.data))
            found = task(
                source.data, source.target, test=source.test, kind=source.kind or _kind_of(goal),
                seed=method.seed, missing_labels=source.missing_labels,
            )  # fmt: skip
            opened = open_search(
                found,
                goal,
                budget,
                method,
                run=location.run,
                fresh=location.fresh,
                executor=executor,
            )
        study = opened.study
        if not quiet:
            already = study.is_budget_used(trials=budget.trials, until=budget.until)
            _opening(found, study, budget, already)
        with progress.with_study(study).shown(quiet):
            outcome = run_and_deliver(opened, budget, notify)
    if not quiet:
        _closing(outcome, method)
    return outcome


def _kind_of(goal: Goal) -> RequestedTaskKind:
    """The kind that the objectives settle: regression, or classes, where all agree."""
    if not goal.objectives:
        return None
    kinds = [metric(objective.metric).kinds for objective in objectives(goal.objectives)]
    regression = {"regression" in judged for judged in kinds if judged}
    if len(regression) != 1:
        return None
    return "regression" if regression.pop() else "classification"


def _opening(found: Task, study: Study[Any], effort: SearchBudget, already: bool) -> None:
    for line in wrap(summary(found), 79, subsequent_indent="    "):
        print_line(line)
    for note in (*found.notes, *(leakage_warnings(found) if not already else ())):
        for line in wrap(f"  {note}", 79, subsequent_indent="    "):
            print_line(line, ERR)  # beside the account of the search, which may go into a file
    if already:
        print_line(
            f"finished: {_spent(study, effort)}. {_more(effort)} goes on, --fresh starts anew."
        )
        if has_unexported(study):
            print_line("What there was no time to export is exported now.")
        return
    wanted = [f"time {effort.seconds:g} s"] if effort.seconds else []
    wanted += [plural(effort.trials, "trial")] if effort.trials else []
    wanted += [f"until {one}" for one in effort.until]
    workers = f"{effort.n_workers} of {plural(available_cores(), 'core')}"
    print_line(f"{', '.join(wanted)}, {workers} -> {study.folder}")
    print_line("Ctrl-C stops with the best so far; the same line goes on.")
    if ended := [trial for trial in study.trials if trial.status is not Status.RUNNING]:
        print_line(f"going on after {plural(len(ended), 'trial')}, {study.seconds:.0f} s")
    print_line()


def _spent(study: Study[Any], effort: SearchBudget) -> str:
    done = n_budgeted_trials(study.trials)
    if effort.trials is not None and done >= effort.trials:
        return f"{plural(done, 'trial')} done"
    if effort.seconds is not None:
        return f"{effort.seconds:g} s used"
    return "the goal is reached"


def _more(effort: SearchBudget) -> str:
    if effort.trials is not None:
        return f"--trials {2 * effort.trials}"
    return f"--time {2 * effort.seconds:g}" if effort.seconds else "A further --until"


def _board(outcome: FitResult, most: int = 8) -> None:
    """The best trials, and the delivered one wherever it stands."""
    study, rows = outcome.study, outcome.leaderboard()
    best = [row for i, row in enumerate(rows) if i < most or row.delivered]
    beyond = ", and the delivered one" * (len(best) > most)
    shown = f"the best {min(most, len(rows))} of {plural(len(rows), 'trial')}{beyond}"
    print_line(f"\nLeaderboard, {shown}")
    for line in terminal.table_lines(
        best, terminal.metric_columns(study.objectives, {}), study.objectives
    ):
        print_line(line)
    print_line(terminal.legend(best, study.objectives))


def _closing(outcome: FitResult, method: Method) -> None:
    study = outcome.study
    if study.interrupted:
        print_line("\nstopped: this is the best so far; the same line goes on.")
    _board(outcome)
    names = " x ".join(one.metric for one in study.objectives)
    names += " x latency" if len(study.objectives) == 1 else ""
    print_line(f"\nPareto front, {names} (validation, {plural(outcome.n_validation_rows, 'row')})")
    metrics = terminal.metric_columns(study.objectives, outcome.front[0].metrics)
    for line in terminal.table_lines(outcome.front, metrics, study.objectives, star=False):
        print_line(line)
    if any(row.what.startswith("one fold of") for row in outcome.front):
        print_line("one fold of N: the score of N is that of single folds; all together are better")
    if any(row.what.startswith("refit of") for row in outcome.front):
        print_line("refit of N: one model of all rows; its score is that of models of N's folds")
    if sure := outcome.confidence_interval():
        first = study.objectives[0].metric
        low, high = (format_metric(first, {first: end}) for end in sure)
        print_line(f"{first} of the best: 95 % within {low} to {high}, by rows drawn again")
    for sentence in (*outcome.left_out, *outcome.warnings):
        for line in wrap(sentence, 79):
            print_line(line, ERR)
    print_line()
    agreed = outcome.parity
    print_line(f"model   {outcome.model.path}   (trial {outcome.best.id})")
    agree = "row agrees" if agreed.rows == 1 else "rows agree"
    print_line(f"check   {agreed.rows:,} {agree} with the trained model to {agreed.difference:.0e}")
    if outcome.test and outcome.task.test:
        test = f"test    {_test_scores(outcome)}   ({_test_rows(outcome.task)})"
        for line in wrap(test, 79, subsequent_indent=" " * 8):
            print_line(line)
    own = f" --space {method.space}" if space_name(method.space) not in ("", *IMAGE_SPACES) else ""
    print_line(f"next    netwright show {study.folder}{own}")
    print_line(f"        netwright predict {study.folder} DATA")


_TEST = ("accuracy", "auc", "log_loss", "rmse", "r2")
"""Metrics of the test line, after the first objective."""


def _test_scores(outcome: FitResult) -> str:
    names = dict.fromkeys([outcome.study.objectives[0].metric, *_TEST])
    return ", ".join(
        f"{name} {format_metric(name, outcome.test)}" for name in names if name in outcome.test
    )


def _test_rows(task: Task) -> str:
    """How many they are, and how many of them the search has seen."""
    assert task.test is not None  # it was scored
    share = seen_test_fraction(task)
    seen = f", {share:.0%} of them trained on" if share else ""
    return f"{plural(len(task.test), 'test row')}{seen}"


def as_object(outcome: FitResult) -> dict[str, Any]:
    """What `--json` prints."""
    best = outcome.best
    known = {"validation": dict(best.metrics)}
    if outcome.test:
        known["test"] = dict(outcome.test)
    return {
        "run": str(outcome.run),
        "seconds": round(outcome.study.seconds, 3),
        "trials": n_budgeted_trials(outcome.study.trials),
        "best": {"trial": best.id, "metrics": known},
        "front": [one.record() for one in outcome.front],
        "model": str(outcome.model.path),
        "interrupted": outcome.study.interrupted,
        "notes": [
            *outcome.task.notes,
            *leakage_warnings(outcome.task),
            *outcome.left_out,
            *outcome.warnings,
        ],
    }
