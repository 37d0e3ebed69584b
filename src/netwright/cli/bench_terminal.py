"""Terminal output of `netwright bench`: settings, a progress bar, and two tables with explanations."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.live import Live
from rich.text import Text

from netwright.bench.oracle import TableOracle
from netwright.bench.settings import ComparisonSettings
from netwright.bench.summary import DEFAULT_STRATEGY, Summary
from netwright.cli.terminal import (
    ERR,
    MAX_WIDTH,
    OUT,
    print_line,
    print_wrapped,
    progress_bar,
)
from netwright.errors import plural
from netwright.interfaces.benchmark import Benchmark
from netwright.trials.formats import format_duration, format_metric


def print_opening(title: str, oracle: TableOracle, n_seeds: int, folder: Path) -> None:
    """Print the table and the settings of a comparison."""
    settings = oracle.settings
    searched = ", ".join(objective.metric for objective in settings.search)
    repeated = oracle.table.repetition != "one"
    trainings = "mean of repeated trainings" if repeated else "a single training"
    if oracle.table.best is not None:
        trainings = "each evaluated with the same seed" if repeated else "each with its own seed"
    at_fidelity = f" at fidelity {oracle.fidelity:g}" if settings.fidelity is not None else ""
    limits = "".join(f", {limit}" for limit in settings.limits)
    lines = [
        f"{title}: {_describe_size(oracle.table)}",
        f"searched  {searched} ({trainings}){at_fidelity}{limits}",
        f"reported  {_describe_report(oracle)}",
        f"budget    {_describe_budget(settings)} per strategy and seed, {plural(n_seeds, 'seed')}",
        f"folder    {folder}   (Ctrl-C stops; run the same command again to resume)",
    ]
    for line in lines:
        print_wrapped(line, hanging_indent=" " * 10, break_long_words=False)
    print_line()


def _describe_size(benchmark: Benchmark) -> str:
    """Return the numbers of known and of all candidates, the latter before the space's rule."""
    n_rows, n_candidates = benchmark.n_candidates, benchmark.space.size
    if benchmark.best is not None:
        return f"an evaluator; its scales are those of {n_rows} random candidates"
    if n_rows == n_candidates:
        return plural(n_candidates, "candidate")
    if math.isinf(n_candidates):
        return f"{plural(n_rows, 'row')} for real numbers"
    return f"{plural(n_rows, 'row')} for at most {plural(n_candidates, 'candidate')}"


def print_summary(summary: Summary, n_seeds: int) -> None:
    """Print the scores of the strategies, and how soon they found the best candidate."""
    settings = summary.settings
    metric = settings.report[0].metric if len(settings.report) == 1 else ""
    by_clock = settings.axis == "clock"
    unit = "seconds" if by_clock else "evaluations"
    budget = f"{settings.budget:,g} s" if by_clock else plural(settings.budget, "evaluation")
    print_line(f"{settings.measure} after {budget}, mean of {plural(n_seeds, 'seed')}")
    matches = f"= {shorten_middle(summary.reference, 8)} at"
    _print_columns(
        ["strategy", "mean", "95 % interval", "regret", "p", matches, "ms"],
        [
            [
                strategy.strategy,
                format_score(metric, strategy.mean),
                f"[{format_score(metric, strategy.low)} {format_score(metric, strategy.high)}]",
                format_score(metric, strategy.regret),
                _format_p(strategy.p),
                _format_cost(strategy.matches),
                _format_ms(strategy.overhead),
            ]
            for strategy in summary.strategies
        ],
    )
    print_line()
    hypervolume = "hypervolume of " if len(settings.search) > 1 else ""
    searched = " x ".join(objective.metric for objective in settings.search)
    if summary.knows_optimum:
        print_line(f"{unit} until the best {hypervolume}{searched} was found")
    else:
        print_line(f"the best {hypervolume}{searched} is unknown: how soon it is found, too")
    has_default = any(strategy.p_default is not None for strategy in summary.strategies)
    default_heading = [f"p {DEFAULT_STRATEGY}"] if has_default else []
    _print_columns(
        ["strategy", "found", "expected", "median", "90 %", "repeated", *default_heading],
        [
            [
                strategy.strategy,
                f"{strategy.optimum.share:.0%}" if summary.knows_optimum else "-",
                _format_cost(strategy.optimum.expected),
                _format_cost(strategy.optimum.median),
                _format_cost(strategy.optimum.p90),
                f"{strategy.repeated:.0%}",
                *([_format_p(strategy.p_default)] if default_heading else []),
            ]
            for strategy in summary.strategies
        ],
    )
    print_line()
    for note in _explain_columns(summary, matches, unit):
        print_wrapped(note, hanging_indent="  ", break_long_words=False)


def _explain_columns(summary: Summary, matches: str, unit: str) -> Iterator[str]:
    """Yield a sentence for each column that is not obvious."""
    reference = summary.reference
    if len(summary.strategies) > 1:
        yield (
            f"p: one-sided Wilcoxon signed-rank test of being better than {reference}, over paired "
            "seeds, Holm-corrected."
        )
    if any(strategy.p_default is not None for strategy in summary.strategies):
        yield f"p {DEFAULT_STRATEGY}: the same of being better than {DEFAULT_STRATEGY}, the default."
    yield f"{matches}: {unit} after which the mean reaches the final mean of {reference}."
    yield "ms: median CPU time of the strategy per proposal, in milliseconds."
    yield "repeated: share of evaluations spent on a candidate evaluated before."
    searched, reported = summary.settings.search, summary.settings.report
    if not summary.knows_optimum:
        yield f"regret: distance to the best {summary.settings.measure} that any of these runs reached."
    elif searched != reported:
        reported_names, searched_names = (
            " x ".join(objective.metric for objective in objectives)
            for objectives in (reported, searched)
        )
        yield (
            f"regret: distance to the best {reported_names} in the table; another candidate may have "
            f"the best {searched_names}."
        )
    if not summary.knows_optimum:
        return
    yield f"expected: {unit} of all runs divided by the number of runs that found it (ERT)."
    yield "median, 90 %: Kaplan-Meier quantiles; runs that did not find it are censored."


def _print_columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: names on the left, shortened to fit the width, and numbers aligned right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    name_width = max(12, MAX_WIDTH - sum(2 + width for width in widths[1:]))
    names = [shorten_middle(row[0], name_width) for row in rows]
    if len(set(names)) < len(names):  # different names must stay different
        names = [row[0] for row in rows]
    first_width = max(map(len, [headings[0], *names, " " * 15]))
    for name, row in zip([headings[0], *names], [headings, *rows], strict=True):
        cells = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        print_line("  ".join([name.ljust(first_width), *cells]))


def shorten_middle(name: str, width: int) -> str:
    """Replace the middle of a name by two dots, if it is longer than `width`."""
    if len(name) <= width:
        return name
    n_tail = (width - 2) // 2
    return f"{name[: width - 2 - n_tail]}..{name[len(name) - n_tail :]}"


def _format_p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<.0001" if p < 0.0001 else f"{p:.4f}".replace("0.", ".", 1)


def _format_ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 10 else f"{milliseconds:.2g}"


def _format_cost(cost: float) -> str:
    """Format evaluations or seconds; a dash if they are infinite."""
    return f"{cost:,.0f}" if math.isfinite(cost) else "-"


def _describe_report(oracle: TableOracle) -> str:
    """Return what is reported of a run, and its best value in the table."""
    report = oracle.settings.report
    metric = report[0].metric
    if len(report) == 1:
        if math.isnan(oracle.optimum):
            return f"{metric} of the best candidate so far; the best possible is unknown"
        best = format_score(metric, oracle.optimum)
        where = "in the table has" if oracle.table.best is None else "possible is"
        return f"{metric} of the best candidate so far; the best {where} {best}"
    point = ", ".join(
        f"{name} {format_score(name, bound)}" for name, bound in oracle.references.items()
    )
    names = " x ".join(objective.metric for objective in report)
    whole = "the table's" if oracle.table.best is None else "the random candidates'"
    return (
        f"share of {whole} hypervolume of {names} that the Pareto front so far covers; "
        f"reference point {point}"
    )


def _describe_budget(settings: ComparisonSettings) -> str:
    budgets = []
    if settings.evaluations < math.inf:
        at_fidelity = "" if settings.fidelity is None else " at that fidelity"
        budgets.append(f"{plural(settings.evaluations, 'evaluation')}{at_fidelity}")
    if settings.clock < math.inf:
        budgets.append(f"{settings.clock:,.0f} s of the table's training time")
    return " or ".join(budgets)


def format_score(metric: str, score: float) -> str:
    """Format a score as its metric is formatted; a hypervolume share (metric "") as an accuracy."""
    if not math.isfinite(score):
        return "-"
    name = metric.removeprefix("test_") or "accuracy"
    return format_metric(name, {name: score})


class ComparisonProgress:
    """Progress bar with the time left; called with the numbers of finished and of all runs.

    Args:
        quiet: whether to show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._n_done, self._n_runs, self._n_at_start = 0, 0, -1
        self._start = time.monotonic()
        self._live = Live(
            console=ERR if quiet else OUT,
            refresh_per_second=4,
            transient=True,
            get_renderable=self._status,
        )
        self._is_shown = OUT.is_terminal and not quiet

    def __enter__(self) -> ComparisonProgress:
        if self._is_shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, n_done: int, n_runs: int) -> None:
        """Update the bar."""
        if self._n_at_start < 0:
            self._n_at_start = n_done
        self._n_done, self._n_runs = n_done, n_runs

    def _status(self) -> Text:
        n_new = self._n_done - self._n_at_start
        time_left = ""
        if n_new > 0:
            seconds_per_run = (time.monotonic() - self._start) / n_new
            seconds = seconds_per_run * (self._n_runs - self._n_done)
            time_left = f", about {format_duration(seconds)} left"
        bar = progress_bar(self._n_done / self._n_runs if self._n_runs else 0.0, 24)
        return Text(
            f" comparing  {bar}  {self._n_done} of {plural(self._n_runs, 'run')}{time_left}"
        )
