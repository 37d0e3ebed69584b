"""`netwright fit` and `demo`: run a search, and print its course and its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netwright.automl.export.delivery import FitResult, has_unexported
from netwright.automl.finished_search import OpenedSearch
from netwright.automl.fit import is_finished, run_and_deliver, seconds_used
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.open_search import open_search
from netwright.automl.score_warnings import leakage_warnings, seen_test_fraction
from netwright.automl.search_budget import SearchBudget
from netwright.automl.spaces import IMAGE_SPACES, space_name
from netwright.catalog import DEFAULT_STRATEGY
from netwright.cli.progress import FitProgress
from netwright.cli.terminal import (
    ERR,
    legend,
    metric_columns,
    print_line,
    print_wrapped,
    table_lines,
)
from netwright.data.make_task import task as make_task
from netwright.data.targets import RequestedTaskKind
from netwright.data.task import Task, summary
from netwright.errors import plural
from netwright.interfaces.strategy import searches
from netwright.study.journal import n_budgeted_trials
from netwright.study.progress.callbacks import open_callbacks
from netwright.study.progress.events import StageStarted
from netwright.study.study import Study
from netwright.study.workers.executors import Supervised, available_cores
from netwright.trials.formats import format_duration, format_metric
from netwright.trials.metrics import metric
from netwright.trials.objective import objectives
from netwright.trials.trial import Status

_MAX_LEADERBOARD_ROWS = 8
"""Trials in the leaderboard at the end of a search; `netwright leaderboard` lists all."""
_TEST_METRICS = ("accuracy", "auc", "log_loss", "rmse", "r2")
"""Metrics of the line about the test data, after the first objective."""


@dataclass(frozen=True)
class Source:
    """The data to read, see `netwright.task`."""

    data: str
    target: str | None = None
    test: str | None = None
    kind: RequestedTaskKind = None
    missing_labels: Sequence[str] = ()


@dataclass(frozen=True)
class RunLocation:
    """Location of a run, and whether to print.

    Args:
        run: the run folder; None for the default one.
        fresh: whether to delete what it holds.
        quiet: whether to print nothing on stdout.
    """

    run: str | None = None
    fresh: bool = False
    quiet: bool = False


def search(
    source: Source,
    goal: Goal,
    budget: SearchBudget,
    method: Method,
    location: RunLocation,
    executor: Supervised | None = None,
) -> FitResult:
    """Run the whole command.

    Args:
        source: the data.
        goal: objectives and limits.
        budget: what the search may spend.
        method: strategy, families or space, and seed.
        location: the run folder.
        executor: where trials run; None for new workers.
    """
    quiet = location.quiet
    budget = budget.started()
    progress = FitProgress(budget)
    with open_callbacks(() if quiet else progress, verbose=False) as notify:
        with progress.shown(quiet=quiet):
            notify(StageStarted("reading", source.data))
            task = make_task(
                source.data,
                source.target,
                test=source.test,
                kind=source.kind or _kind_of_objectives(goal),
                seed=method.seed,
                missing_labels=source.missing_labels,
            )
            opened = open_search(
                task,
                goal,
                budget,
                method,
                run=location.run,
                fresh=location.fresh,
                executor=executor,
            )
        study = opened.study
        if not quiet:
            _print_opening(task, opened, budget, method)
        with progress.with_study(study).shown(quiet=quiet):
            outcome = run_and_deliver(opened, budget, notify)
    if not quiet:
        _print_outcome(outcome, method)
    return outcome


def _kind_of_objectives(goal: Goal) -> RequestedTaskKind:
    """Return the kind of task that all objectives belong to; None if that is left open."""
    if not goal.objectives:
        return None
    kinds = [metric(objective.metric).kinds for objective in objectives(goal.objectives)]
    are_of_regression = {"regression" in metric_kinds for metric_kinds in kinds if metric_kinds}
    if len(are_of_regression) != 1:
        return None
    return "regression" if are_of_regression.pop() else "classification"


def _print_opening(task: Task, opened: OpenedSearch, budget: SearchBudget, method: Method) -> None:
    """Print the data, notes about it, the budget and the run folder."""
    study, nothing_to_do = opened.study, is_finished(opened, budget)
    print_wrapped(summary(task), hanging_indent="    ")
    for note in (*task.notes, *(() if nothing_to_do else leakage_warnings(task))):
        # on stderr, since stdout may go to a file
        print_wrapped(note, ERR, indent="  ", hanging_indent="    ")
    if nothing_to_do:
        fix = _how_to_continue(study, budget, method)
        print_wrapped(f"Finished: {_spent(study, budget, method)}. {fix}")
        if has_unexported(study):
            print_line("Exporting the models for which there was no time before.")
        return
    settings = [f"time {budget.seconds:g} s"] if budget.seconds else []
    settings += [plural(budget.trials, "trial")] if budget.trials else []
    settings += [f"until {limit}" for limit in budget.until]
    settings += [f"{budget.n_workers} of {plural(available_cores(), 'core')}"]
    names = ", ".join(objective.metric for objective in study.objectives)
    settings += [f"objective{'s' if len(study.objectives) > 1 else ''} {names}"]
    print_line(f"{', '.join(settings)} -> {study.folder}")
    print_line("Press Ctrl-C to stop early and keep the best model.")
    print_line("Run the same command again to resume.")
    n_ended = sum(trial.status is not Status.RUNNING for trial in study.trials)
    if n_ended:
        seconds = f"{seconds_used(study):.0f} s"
        print_line(f"Resuming: {plural(n_ended, 'trial')} and {seconds} used so far.")
    print_line()


def _spent(study: Study[Any], budget: SearchBudget, method: Method) -> str:
    """Describe the budget that has been used up, or what is complete."""
    if study.is_exhausted and not searches(method.algorithm):
        return "all default configurations have been trained"
    n_trials = n_budgeted_trials(study.trials)
    if budget.trials is not None and n_trials >= budget.trials:
        return f"{plural(n_trials, 'trial')} done"
    if budget.seconds is not None:
        return f"{budget.seconds:g} s used"
    return "the --until limit is reached"


def _how_to_continue(study: Study[Any], budget: SearchBudget, method: Method) -> str:
    """Return a sentence with an option with which the search would continue."""
    if study.is_exhausted and not searches(method.algorithm):
        return f"Use --strategy {DEFAULT_STRATEGY} to search, or --fresh to start over."
    option = f"--time {2 * budget.seconds:g}" if budget.seconds else "a stricter --until"
    if budget.trials is not None:
        option = f"--trials {2 * budget.trials}"
    return f"Use {option} to continue, or --fresh to start over."


def _print_leaderboard(outcome: FitResult) -> None:
    """Print the best trials, and the delivered one whatever its rank."""
    objectives, rows = outcome.study.objectives, outcome.leaderboard()
    shown = [row for i, row in enumerate(rows) if i < _MAX_LEADERBOARD_ROWS or row.delivered]
    extra = ", and the delivered one" if len(shown) > _MAX_LEADERBOARD_ROWS else ""
    n_best = min(_MAX_LEADERBOARD_ROWS, len(rows))
    n_trials = plural(len(rows), "trial")
    best = f"best {n_best} of {n_trials}" if n_best < len(rows) else f"all {n_trials}"
    print_line(f"\nLeaderboard: {best}{extra}")
    for line in table_lines(shown, metric_columns(objectives, {}), objectives):
        print_line(line)
    print_line(legend(shown, objectives))
    if any(row.what.startswith("at ") for row in shown):
        print_line("at N %: trained on part of the folds or epochs; ranked below full trials")
    if any(row.what.startswith("final:") for row in shown):
        print_line("final: trained on nearly all rows, and scored on the few that are left")


def _print_outcome(outcome: FitResult, method: Method) -> None:
    """Print leaderboard, front, warnings, model and test metrics."""
    if outcome.study.interrupted:
        print_line("\nStopped early. Run the same command again to resume.")
    _print_leaderboard(outcome)
    _print_front(outcome)
    for sentence in (*outcome.left_out, *outcome.warnings):
        print_wrapped(sentence, ERR)
    print_line()
    if not searches(method.algorithm):
        print_line("search  off: only the default configurations were trained")
    parity = outcome.parity
    print_line(f"model   {outcome.model.path}   (trial {outcome.best.id})")
    if trained := _final_trainings(outcome):
        print_line(f"trained {trained}")
    rows = plural(parity.rows, "row")
    print_line(
        f"check   predictions match the trained model to within {parity.difference:.0e} ({rows})"
    )
    if outcome.test and outcome.task.test:
        test = f"test    {_test_scores(outcome)}   ({_describe_test_rows(outcome.task)})"
        print_wrapped(test, hanging_indent=" " * 8)
    name = space_name(method.space)
    option = "" if name in ("", *IMAGE_SPACES) else f" --space {method.space}"
    print_line(f"next    netwright show {outcome.study.folder}{option}")
    print_line(f"        netwright predict {outcome.study.folder} DATA")


def _final_trainings(outcome: FitResult) -> str:
    """Return ``19 epochs in 1:10, 1,169 images/s`` if the model is of a final training of images."""
    finals = outcome.search.last_finals
    delivered = {outcome.best.id, *outcome.best.proposal.parents}
    if not finals or not delivered & {trial.id for trial in finals}:
        return ""
    metrics = finals[0].metrics
    epochs, rate = round(metrics["epochs"]), metrics["rows_per_second"]
    models = f"{len(finals)} networks, " if len(finals) > 1 else ""
    duration = format_duration(finals[0].seconds)  # of all runs, as its epochs are
    return f"{models}{plural(epochs, 'epoch')} in {duration}, {rate:,.0f} images/s"


def _print_front(outcome: FitResult) -> None:
    """Print the Pareto front, with what its scores mean."""
    objectives, front = outcome.study.objectives, outcome.front
    names = ", ".join(objective.metric for objective in objectives)
    names += ", latency" if len(objectives) == 1 else ""
    rows = plural(outcome.n_validation_rows, "row")
    print_line(f"\nPareto front: {names} (validation, {rows})")
    metrics = metric_columns(objectives, front[0].metrics)
    for line in table_lines(front, metrics, objectives, with_marks=False):
        print_line(line)
    if any(row.what.startswith("one fold of") for row in front):
        print_line("one fold of N: a single fold model. Its score is the mean of N's fold models.")
    if any(row.what.startswith("refit of") for row in front):
        print_line("refit of N: trial N trained on all rows. The score is that of its fold models.")
    if interval := outcome.confidence_interval():
        first = objectives[0].metric
        low, high = (format_metric(first, {first: end}) for end in interval)
        print_line(f"{first} of the best: 95% confidence interval {low} to {high} (bootstrap)")


def _test_scores(outcome: FitResult) -> str:
    names = dict.fromkeys([outcome.study.objectives[0].metric, *_TEST_METRICS])
    return ", ".join(
        f"{name} {format_metric(name, outcome.test)}" for name in names if name in outcome.test
    )


def _describe_test_rows(task: Task) -> str:
    """Return the number of test rows, and the fraction of them that is in the training data."""
    assert task.test is not None  # it was scored
    fraction = seen_test_fraction(task)
    seen = f", {fraction:.0%} also in the training data" if fraction else ""
    return f"{plural(len(task.test), 'test row')}{seen}"


def to_json_object(outcome: FitResult) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    best = outcome.best
    metrics = {"validation": dict(best.metrics)}
    if outcome.test:
        metrics["test"] = dict(outcome.test)
    notes = [
        *outcome.task.notes,
        *leakage_warnings(outcome.task),
        *outcome.left_out,
        *outcome.warnings,
    ]
    return {
        "run": str(outcome.run),
        "seconds": round(seconds_used(outcome.study), 3),
        "trials": n_budgeted_trials(outcome.study.trials),
        "best": {"trial": best.id, "metrics": metrics},
        "front": [row.record() for row in outcome.front],
        "model": str(outcome.model.path),
        "interrupted": outcome.study.interrupted,
        "notes": notes,
    }
