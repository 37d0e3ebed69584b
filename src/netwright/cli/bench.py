"""`netwright bench`: strategies side by side on a table of evaluated candidates."""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, cast

from rich.live import Live
from rich.text import Text

from netwright.automl import names
from netwright.bench.files import default_folder
from netwright.bench.peers import PEERS, missing, peer
from netwright.bench.protocol import Judge, Protocol, objective_of, reported_of
from netwright.bench.runner import Comparison, Runs, compare, left_out
from netwright.bench.summary import Summary, strategies_in, summarise
from netwright.cli import screen
from netwright.cli.screen import ERR, OUT, say
from netwright.errors import InputError, MissingExtra, Phrase, RunError, closest, expected
from netwright.evaluators.nasbench import nas_bench_201_table
from netwright.evaluators.table import TableBenchmark
from netwright.report.tables import value
from netwright.strategies.base import Algorithm
from netwright.study.executors import cores
from netwright.trials.metrics import METRICS
from netwright.trials.objective import Limit, parse_limit


@dataclass(frozen=True)
class Table:
    """How a table is named on the command line."""

    name: str
    task: str | None = None
    repetition: str = "mean"
    device: str = ""

    def open(self) -> TableBenchmark:
        """The table; InputError when there is none, or it is not of the kind that its name says."""
        repetition = _repetition(self.repetition)
        file = Path(self.name)
        if (self.dataset or file.suffix == ".tfrecord") and not file.is_file():
            raise InputError(expected("table", "a file that exists", self.name))
        if self.dataset:
            return nas_bench_201_table(file, self.dataset, repetition, self.device)
        for given, option in ((self.task, "--task"), (self.device, "--device")):
            if given:
                rule = "left out for this table"
                raise InputError(expected(option, rule, given, "It is for NAS-Bench-201's."))
        if file.suffix == ".tfrecord":
            return _shipped(
                "netwright.evaluators.nasbench101:nas_bench_101_table", file, repetition
            )
        if self.name == "digits":
            return _shipped("netwright.evaluators.digits:digits_table", repetition)
        if ":" in self.name:
            own = _own(self.name)
            return replace(own, repetition="one") if repetition == "one" else own
        rule = "digits, a .parquet of NAS-Bench-201, a .tfrecord of NAS-Bench-101 or module:Object"
        raise InputError(expected("table", rule, self.name, closest(self.name, ["digits"])))

    @property
    def dataset(self) -> str:
        """Which of NAS-Bench-201's; empty for another table."""
        return (self.task or "cifar10") if Path(self.name).suffix in (".parquet", ".pq") else ""

    @property
    def stem(self) -> str:
        """Fit for a folder's name."""
        stem = Path(self.name).stem.replace(":", "-")
        return f"{stem}-{self.dataset}" if self.dataset else stem


def _repetition(name: str) -> Literal["mean", "one"]:
    if name not in ("mean", "one"):
        raise InputError(
            expected("repetition", "mean or one", name, closest(name, ("mean", "one")))
        )
    return cast('Literal["mean", "one"]', name)


def _shipped(place: str, *arguments: object) -> TableBenchmark:
    """By name, so that no table's code is loaded for another."""
    table: TableBenchmark = names.imported(place, "table")(*arguments)
    return table


def _own(place: str) -> TableBenchmark:
    found = names.imported(place, "table")
    rule = "a TableBenchmark, or a function without arguments that returns one"
    if callable(found) and not isinstance(found, TableBenchmark):
        signature = inspect.signature(found)
        try:
            signature.bind()
        except TypeError:
            got = Phrase(f"{place}{signature}")
            raise InputError(expected("table", rule, got)) from None
        found = found()
    if not isinstance(found, TableBenchmark):
        raise InputError(expected("table", rule, found))
    return found


@dataclass(frozen=True)
class Terms:
    """The options that make a protocol."""

    evaluations: float | None = None
    clock: float | None = None
    fidelity: float | None = None
    search: Sequence[str] = ()
    report: Sequence[str] = ()
    limits: Sequence[str] = ()
    references: Sequence[str] = field(default_factory=tuple)
    until_found: bool = False

    def protocol(self, table: TableBenchmark) -> Protocol:
        """With what is left out taken from the table."""
        search = tuple(objective_of(name) for name in self.search or table.metrics[:1])
        report = tuple(objective_of(name) for name in self.report)
        evaluations = self.evaluations
        if evaluations is None:
            evaluations = math.inf if self.clock is not None else 60
        return Protocol(
            search,
            report or tuple(reported_of(one, table) for one in search),
            evaluations,
            math.inf if self.clock is None else self.clock,
            self.fidelity,
            tuple(_limit(one, table) for one in self.limits),
            dict(map(_reference, self.references)),
            self.until_found,
        )


def _limit(text: str, table: TableBenchmark) -> Limit:
    """On a metric that netwright knows, or one of the table's own."""
    found = re.fullmatch(r"\s*(\w+)\s*([<>])=?\s*(\S+)\s*", text)
    if found is None or found[1] in METRICS or found[1] not in table.metrics:
        return parse_limit(text)
    try:
        bound = float(found[3])
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        rule = "METRIC<=NUMBER or METRIC>=NUMBER"
        raise InputError(expected("limit", rule, text))
    return Limit(found[1], at_most=bound) if found[2] == "<" else Limit(found[1], at_least=bound)


def _reference(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        fix = "For example latency=3.2."
        raise InputError(expected("reference", "METRIC=NUMBER", text, fix)) from None


def entrants(wanted: str, with_peers: bool, judge: Judge) -> dict[str, Algorithm]:
    """``all`` or names joined by commas, peers among them -> algorithms by name."""
    given = names.BLACK_BOX if wanted == "all" else map(str.strip, wanted.split(","))
    chosen = [name for name in given if name]
    if twice := [name for name in chosen if chosen.count(name) > 1]:
        raise InputError(expected("strategies", "different ones", twice[0]))
    found: dict[str, Algorithm] = {}
    for name in chosen:
        found[name] = peer(name, judge.evaluations) if name in PEERS else names.strategy(name)
    if with_peers:
        absent = missing()
        for name, kind in PEERS.items():
            if kind.package not in absent:
                found[name] = peer(name, judge.evaluations)
        for package in absent:
            say(f"{package} is not installed: pip install {package} puts it beside ours.", ERR)
    return found


@dataclass(frozen=True)
class Place:
    """Where it runs, and what is shown."""

    run: str | None = None
    workers: int = 0
    fresh: bool = False
    quiet: bool = False


def bench(
    table: Table, terms: Terms, strategies: str, peers: bool, seeds: int, place: Place
) -> None:
    """The whole command."""
    if seeds < 1:
        raise InputError(expected("seeds", "at least 1", seeds))
    if place.workers < 0:
        raise InputError(expected("workers", "at least 0", place.workers))
    opened = table.open()
    protocol = terms.protocol(opened)
    judge = Judge(opened, protocol)
    judge.check()
    algorithms = entrants(strategies, peers, judge)
    folder = Path(place.run) if place.run else default_folder(table.stem, opened, protocol)
    comparison = Comparison(opened, algorithms, protocol, range(seeds))
    absent = left_out(comparison.entrants, judge)
    if len(absent) == len(algorithms):
        raise InputError(f"{next(iter(absent))} cannot run here: {next(iter(absent.values()))}.")
    if not place.quiet:
        _opening(table, judge, seeds, folder)
    try:
        with _Progress(place.quiet) as progress:
            workers = place.workers or cores()
            runs = compare(comparison, folder, workers=workers, fresh=place.fresh, watch=progress)
    except KeyboardInterrupt:
        say("stopped: the same line goes on.", ERR)
        raise SystemExit(130) from None
    _say_failures(runs, algorithms)
    everyone = strategies_in(runs.file, range(seeds))  # of other lines on the same terms, too
    chosen = [*algorithms, *(name for name in everyone if name not in algorithms)]
    chosen = [name for name in chosen if name not in runs.failures]
    summary = summarise(runs.file, judge, chosen, range(seeds))
    _write(summary, folder)
    missing = _draw(summary, folder / "bench.svg", f"{_called(table)}, {seeds} seeds")
    if place.quiet:
        sys.stdout.write(json.dumps(_as_object(summary, judge, seeds, folder)) + "\n")
    else:
        _closing(summary, seeds)
        say(f"\n{folder}/runs.csv  summary.csv  curves.csv" + ("" if missing else "  bench.svg"))
        if missing:
            _say_wrapped(missing, 0)


def _say_failures(runs: Runs, algorithms: Mapping[str, Algorithm]) -> None:
    """A line for each; RunError where nobody is left, once where all have the same reason."""
    reasons = set(runs.failures.values())
    alike = len(runs.failures) == len(algorithms) and len(reasons) == 1
    if alike:
        raise RunError(f"no strategy came to an end: {reasons.pop()}.")
    for name, reason in runs.failures.items():
        say(f"{name} failed and is left out: {reason}", ERR)
    if len(runs.failures) == len(algorithms):
        raise RunError("no strategy came to an end.")


def _opening(table: Table, judge: Judge, seeds: int, folder: Path) -> None:
    protocol = judge.protocol
    searched = ", ".join(one.metric for one in protocol.search)
    of = "one training" if judge.table.repetition == "one" else "mean of the trainings"
    at = f" at fidelity {judge.fidelity:g}" if protocol.fidelity is not None else ""
    limits = "".join(f", {limit}" for limit in protocol.limits)
    lines = [
        f"{_called(table)}: {_size(judge.table)}",
        f"searched  {searched} ({of}){at}{limits}",
        f"reported  {_reported(judge)}",
        f"budget    {_budget(protocol)} for each of {seeds} seeds, the same for all",
        f"-> {folder}   (Ctrl-C stops; the same line goes on)",
    ]
    for line in lines:
        _say_wrapped(line, 10)
    say()


def _size(table: TableBenchmark) -> str:
    """The space is counted before its rule, and many of its candidates may share a row."""
    rows, size = int(table.matched.sum()), table.space.size
    return (
        f"{size:,.0f} candidates"
        if rows == size
        else f"{rows:,} rows for at most {size:,.0f} candidates"
    )


def _called(table: Table) -> str:
    return " ".join(filter(None, (Path(table.name).name, table.dataset, table.device)))


def _say_wrapped(text: str, indent: int) -> None:
    for line in wrap(text, 79, subsequent_indent=" " * indent, break_long_words=False):
        say(line)


def _reported(judge: Judge) -> str:
    report = judge.protocol.report
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


def _budget(protocol: Protocol) -> str:
    parts = []
    if protocol.evaluations < math.inf:
        whole = "" if protocol.fidelity is None else " at that fidelity"
        parts.append(f"{protocol.evaluations:g} evaluations{whole}")
    if protocol.clock < math.inf:
        parts.append(f"{protocol.clock:,.0f} s of the table's training time")
    return " or ".join(parts)


def shown(metric: str, number: float) -> str:
    """A metric as a person reads it, the test part like the metric itself; "" is a share."""
    if not math.isfinite(number):
        return "-"
    name = metric.removeprefix("test_") or "accuracy"  # a share is shown like one
    return value(name, {name: number})


class _Progress:
    """A bar with the time left."""

    def __init__(self, quiet: bool) -> None:
        self.done, self.of, self.at_start = 0, 0, -1
        self.start = time.monotonic()
        self.live = Live(
            console=ERR if quiet else OUT, refresh_per_second=4, transient=True,
            get_renderable=self._bar,
        )  # fmt: skip
        self.shown = OUT.is_terminal and not quiet

    def __enter__(self) -> _Progress:
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
            left = f", about {screen.clock(seconds)} left"
        share = self.done / self.of if self.of else 0.0
        return Text(f" comparing  {screen.bar(share, 24)}  {self.done} of {self.of} runs{left}")


def _write(summary: Summary, folder: Path) -> None:
    """``summary.csv`` and ``curves.csv``."""
    import pandas as pd

    pd.DataFrame([one.record() for one in summary.results]).to_csv(
        folder / "summary.csv", index=False
    )
    curves = [
        pd.DataFrame({
            "strategy": name, summary.protocol.axis: curve.grid, "mean": curve.mean,
            "low": curve.low, "high": curve.high,
        })
        for name, curve in summary.curves.items()
    ]  # fmt: skip
    pd.concat(curves).to_csv(folder / "curves.csv", index=False, float_format="%.7g")


def _draw(summary: Summary, file: Path, title: str) -> str:
    """Draws where that is possible; else how to make it so."""
    from netwright.bench.plot import draw

    try:
        draw(summary, file, title)
    except MissingExtra as error:
        return str(error)
    return ""


def _closing(summary: Summary, seeds: int) -> None:
    protocol = summary.protocol
    metric = protocol.report[0].metric if len(protocol.report) == 1 else ""
    unit = "s" if protocol.axis == "clock" else "evaluations"
    say(f"{protocol.measure} after {protocol.budget:,g} {unit}, mean of {seeds} seeds")
    matches = f"= {_cut(summary.reference, 8)} at"
    _columns(
        ["strategy", "mean", "95 % interval", "regret", "p", matches, "ms"],
        [
            [
                one.strategy, shown(metric, one.mean),
                f"[{shown(metric, one.low)} {shown(metric, one.high)}]",
                shown(metric, one.regret), _p(one.p), _spent(one.matches), _ms(one.overhead),
            ]
            for one in summary.results
        ],
    )  # fmt: skip
    say()
    what = "hypervolume of " if len(protocol.search) > 1 else ""
    searched = " x ".join(one.metric for one in protocol.search)
    say(f"until the best {what}{searched} of the table was found, {unit}")
    _columns(
        ["strategy", "found", "expected", "median", "90 %", "repeated"],
        [
            [
                one.strategy, f"{one.optimum.share:.0%}", _spent(one.optimum.expected),
                _spent(one.optimum.median), _spent(one.optimum.p90), f"{one.repeated:.0%}",
            ]
            for one in summary.results
        ],
    )  # fmt: skip
    say()
    for note in _notes(summary, matches, unit):
        _say_wrapped(note, 2)


def _notes(summary: Summary, matches: str, unit: str) -> Iterator[str]:
    """What the columns mean."""
    if len(summary.results) > 1:
        yield (
            f"p: that it is better than {summary.reference}, one-sided Wilcoxon signed-rank test "
            "over paired seeds, Holm-corrected."
        )
    yield f"{matches}: {unit} at which the mean comes to {summary.reference}'s last."
    yield "ms: the strategy's own CPU time for a proposal, median."
    searched, reported = summary.protocol.search, summary.protocol.report
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
    cut = [_cut(row[0], room) for row in rows]
    if len(set(cut)) < len(cut):  # different ones must look different
        cut = [row[0] for row in rows]
    first = max(map(len, [head[0], *cut, " " * 15]))
    for name, row in zip([head[0], *cut], [head, *rows], strict=True):
        cells = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        say("  ".join([name.ljust(first), *cells]))


def _cut(name: str, width: int) -> str:
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


def _as_object(summary: Summary, judge: Judge, seeds: int, folder: Path) -> dict[str, Any]:
    """What `--json` prints."""
    protocol = summary.protocol
    return {
        "folder": str(folder),
        "search": [one.metric for one in protocol.search],
        "report": [one.metric for one in protocol.report],
        "fidelity": protocol.fidelity,
        "evaluations": protocol.evaluations if protocol.evaluations < math.inf else None,
        "clock": protocol.clock if protocol.clock < math.inf else None,
        "limits": [str(one) for one in protocol.limits],
        "references": judge.references if len(protocol.report) > 1 else {},
        "seeds": seeds,
        "optimum": summary.optimum,
        "reference": summary.reference,
        "strategies": [one.record() for one in summary.results],
    }
