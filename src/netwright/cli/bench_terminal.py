"""What `netwright bench` says: the terms, a bar, and two tables with what their columns mean."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from rich.live import Live
from rich.text import Text

from netwright.bench.oracle import TableOracle
from netwright.bench.settings import ComparisonSettings
from netwright.bench.summary import Summary
from netwright.cli import terminal
from netwright.cli.terminal import ERR, OUT, print_line
from netwright.errors import plural
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.trials.formats import format_duration, format_metric


def print_opening(title: str, judge: TableOracle, seeds: int, folder: Path) -> None:
    """What is about to be compared."""
    protocol = judge.settings
    searched = ", ".join(one.metric for one in protocol.search)
    of = "one training" if judge.table.repetition == "one" else "mean of the trainings"
    at = f" at fidelity {judge.fidelity:g}" if protocol.fidelity is not None else ""
    limits = "".join(f", {limit}" for limit in protocol.limits)
    lines = [
        f"{title}: {_size(judge.table)}",
        f"searched  {searched} ({of}){at}{limits}",
        f"reported  {_reported(judge)}",
        f"budget    {_budget(protocol)} for each of {plural(seeds, 'seed')}, the same for all",
        f"-> {folder}   (Ctrl-C stops; the same line goes on)",
    ]
    for line in lines:
        print_wrapped(line, 10)
    print_line()


def _size(table: TableBenchmark) -> str:
    """The space is counted before its rule, and many of its candidates may share a row."""
    rows, size = int(table.rows_in_space.sum()), table.space.size
    return (
        plural(size, "candidate")
        if rows == size
        else f"{plural(rows, 'row')} for at most {plural(size, 'candidate')}"
    )


def print_summary(summary: Summary, seeds: int) -> None:
    """What came out."""
    protocol = summary.settings
    metric = protocol.report[0].metric if len(protocol.report) == 1 else ""
    unit = "s" if protocol.axis == "clock" else "evaluations"
    spent = f"{protocol.budget:,g} s" if unit == "s" else plural(protocol.budget, "evaluation")
    print_line(f"{protocol.measure} after {spent}, mean of {plural(seeds, 'seed')}")
    matches = f"= {shorten_middle(summary.reference, 8)} at"
    _columns(
        ["strategy", "mean", "95 % interval", "regret", "p", matches, "ms"],
        [
            [
                one.strategy, shown(metric, one.mean),
                f"[{shown(metric, one.low)} {shown(metric, one.high)}]",
                shown(metric, one.regret), _p(one.p), _spent(one.matches), _ms(one.overhead),
            ]
            for one in summary.strategies
        ],
    )  # fmt: skip
    print_line()
    what = "hypervolume of " if len(protocol.search) > 1 else ""
    searched = " x ".join(one.metric for one in protocol.search)
    print_line(f"until the best {what}{searched} of the table was found, {unit}")
    _columns(
        ["strategy", "found", "expected", "median", "90 %", "repeated"],
        [
            [
                one.strategy, f"{one.optimum.share:.0%}", _spent(one.optimum.expected),
                _spent(one.optimum.median), _spent(one.optimum.p90), f"{one.repeated:.0%}",
            ]
            for one in summary.strategies
        ],
    )  # fmt: skip
    print_line()
    for note in _notes(summary, matches, unit):
        print_wrapped(note, 2)


def _notes(summary: Summary, matches: str, unit: str) -> Iterator[str]:
    """What the columns mean."""
    if len(summary.strategies) > 1:
        yield (
            f"p: that it is better than {summary.reference}, one-sided Wilcoxon signed-rank test "
            "over paired seeds, Holm-corrected."
        )
    yield f"{matches}: {unit} at which the mean comes to {summary.reference}'s last."
    yield "ms: the strategy's own CPU time for a proposal, median."
    searched, reported = summary.settings.search, summary.settings.report
    if searched != reported:
        names = " x ".join(one.metric for one in reported)
        yield f"regret: to the best {names} of the table, which the search need not choose."
    yield (
        "expected: what all runs spent by the runs that found it (ERT); median and 90 %: "
        "Kaplan-Meier, runs that did not find it censored."
    )


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Names left, as long as 79 columns allow; figures right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    room = max(12, 79 - sum(2 + width for width in widths[1:]))
    called = [shorten_middle(row[0], room) for row in rows]
    if len(set(called)) < len(called):  # different ones must look different
        called = [row[0] for row in rows]
    first = max(map(len, [head[0], *called, " " * 15]))
    for name, row in zip([head[0], *called], [head, *rows], strict=True):
        cells = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        print_line("  ".join([name.ljust(first), *cells]))


def shorten_middle(name: str, width: int) -> str:
    """Without its middle where it is too long."""
    if len(name) <= width:
        return name
    tail = (width - 2) // 2
    return f"{name[: width - 2 - tail]}..{name[len(name) - tail :]}"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<.0001" if p < 0.0001 else f"{p:.4f}".replace("0.", ".", 1)


def _ms(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _spent(number: float) -> str:
    return f"{number:,.0f}" if math.isfinite(number) else "-"


def print_wrapped(text: str, indent: int) -> None:
    """A text of any length, its further lines indented."""
    for line in wrap(text, 79, subsequent_indent=" " * indent, break_long_words=False):
        print_line(line)


def _reported(judge: TableOracle) -> str:
    report = judge.settings.report
    name = report[0].metric
    if len(report) == 1:
        best = shown(name, judge.optimum)
        return f"{name} of the candidate that is best so far; the best in the table has {best}"
    bounds = ", ".join(f"{name} {shown(name, at)}" for name, at in judge.references.items())
    of = " x ".join(one.metric for one in report)
    return (
        f"share of the table's hypervolume of {of} that the candidates have which none so far "
        f"dominates; bounds {bounds}"
    )


def _budget(protocol: ComparisonSettings) -> str:
    parts = []
    if protocol.evaluations < math.inf:
        whole = "" if protocol.fidelity is None else " at that fidelity"
        parts.append(f"{plural(protocol.evaluations, 'evaluation')}{whole}")
    if protocol.clock < math.inf:
        parts.append(f"{protocol.clock:,.0f} s of the table's training time")
    return " or ".join(parts)


def shown(metric: str, number: float) -> str:
    """A metric as a person reads it, the test part like the metric itself; "" is a share."""
    if not math.isfinite(number):
        return "-"
    name = metric.removeprefix("test_") or "accuracy"  # a share is shown like one
    return format_metric(name, {name: number})


class ComparisonProgress:
    """A bar with the time left."""

    def __init__(self, quiet: bool) -> None:
        self.done, self.of, self.at_start = 0, 0, -1
        self.start = time.monotonic()
        self.live = Live(
            console=ERR if quiet else OUT, refresh_per_second=4, transient=True,
            get_renderable=self._bar,
        )  # fmt: skip
        self.shown = OUT.is_terminal and not quiet

    def __enter__(self) -> ComparisonProgress:
        if self.shown:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def __call__(self, done: int, of: int) -> None:
        if self.at_start < 0:
            self.at_start = done
        self.done, self.of = done, of

    def _bar(self) -> Text:
        made = self.done - self.at_start
        left = ""
        if made > 0:
            seconds = (time.monotonic() - self.start) / made * (self.of - self.done)
            left = f", about {format_duration(seconds)} left"
        share = self.done / self.of if self.of else 0.0
        return Text(
            f" comparing  {terminal.progress_bar(share, 24)}  {self.done} of {plural(self.of, 'run')}{left}"
        )
