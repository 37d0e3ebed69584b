"""`netwright bench`: strategies side by side on a table of evaluated candidates."""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from netwright.automl import name_resolution
from netwright.bench.comparison_folder import default_folder
from netwright.bench.oracle import TableOracle
from netwright.bench.peers import PEERS, missing_packages, peer
from netwright.bench.runner import Comparison, Runs, compare, incompatible_algorithms
from netwright.bench.settings import ComparisonSettings, parse_objective, reported_objective
from netwright.bench.summary import Summary, completed_strategies, summarise
from netwright.cli.bench_terminal import (
    ComparisonProgress,
    print_opening,
    print_summary,
    print_wrapped,
)
from netwright.cli.terminal import ERR, print_line
from netwright.errors import InputError, MissingExtra, Phrase, RunError, closest, expected, plural
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.files.folder import Folder
from netwright.interfaces.strategy import Algorithm
from netwright.study.workers.executors import available_cores
from netwright.trials.objective import limits


@dataclass(frozen=True)
class TableOptions:
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
                "netwright.evaluators.benchmarks.nas_bench_101_cells:nas_bench_101_table",
                file,
                repetition,
            )
        if self.name == "digits":
            return _shipped("netwright.evaluators.benchmarks.digits:digits_table", repetition)
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
    def title(self) -> str:
        """As it is spoken of."""
        return " ".join(filter(None, (Path(self.name).name, self.dataset, self.device)))

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
    table: TableBenchmark = name_resolution.import_object(place, "table")(*arguments)
    return table


def _own(place: str) -> TableBenchmark:
    found = name_resolution.import_object(place, "table")
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
class ComparisonOptions:
    """The options that make a protocol."""

    evaluations: float | None = None
    clock: float | None = None
    fidelity: float | None = None
    search: Sequence[str] = ()
    report: Sequence[str] = ()
    limits: Sequence[str] = ()
    references: Sequence[str] = field(default_factory=tuple)
    until_found: bool = False

    def protocol(self, table: TableBenchmark) -> ComparisonSettings:
        """With what is left out taken from the table."""
        search = tuple(parse_objective(name) for name in self.search or table.metrics[:1])
        report = tuple(parse_objective(name) for name in self.report)
        evaluations = self.evaluations
        if evaluations is None:
            evaluations = math.inf if self.clock is not None else 60
        return ComparisonSettings(
            search,
            report or tuple(reported_objective(one, table) for one in search),
            evaluations,
            math.inf if self.clock is None else self.clock,
            self.fidelity,
            limits(self.limits, measured=table.metrics),
            dict(map(_reference, self.references)),
            self.until_found,
        )


def _reference(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        fix = "For example latency=3.2."
        raise InputError(expected("reference", "METRIC=NUMBER", text, fix)) from None


def parse_strategies(wanted: str, with_peers: bool, judge: TableOracle) -> dict[str, Algorithm]:
    """``all`` or names joined by commas, peers among them -> algorithms by name."""
    given = (
        name_resolution.BLACK_BOX_NAMES if wanted == "all" else map(str.strip, wanted.split(","))
    )
    chosen = [name for name in given if name]
    if twice := [name for name in chosen if chosen.count(name) > 1]:
        raise InputError(expected("strategies", "different ones", twice[0]))
    found: dict[str, Algorithm] = {}
    for name in chosen:
        found[name] = (
            peer(name, judge.evaluations)
            if name in PEERS
            else name_resolution.strategy_by_name(name)
        )
    if with_peers:
        absent = missing_packages()
        for name, kind in PEERS.items():
            if kind.package not in absent:
                found[name] = peer(name, judge.evaluations)
        for package in absent:
            print_line(
                f"{package} is not installed: pip install {package} puts it beside ours.", ERR
            )
    return found


@dataclass(frozen=True)
class BenchLocation:
    """Where it runs, and what is shown."""

    run: str | None = None
    workers: int = 0
    fresh: bool = False
    quiet: bool = False


def bench(
    table: TableOptions,
    terms: ComparisonOptions,
    strategies: str,
    peers: bool,
    seeds: int,
    place: BenchLocation,
) -> None:
    """The whole command."""
    if seeds < 1:
        raise InputError(expected("seeds", "at least 1", seeds))
    if place.workers < 0:
        raise InputError(expected("workers", "at least 0", place.workers))
    opened = table.open()
    protocol = terms.protocol(opened)
    judge = TableOracle(opened, protocol)
    judge.check()
    algorithms = parse_strategies(strategies, peers, judge)
    folder = Path(place.run) if place.run else default_folder(table.stem, opened, protocol)
    comparison = Comparison(opened, algorithms, protocol, range(seeds))
    absent = incompatible_algorithms(comparison.algorithms, judge)
    if len(absent) == len(algorithms):
        raise InputError(f"{next(iter(absent))} cannot run here: {next(iter(absent.values()))}.")
    if not place.quiet:
        print_opening(table.title, judge, seeds, folder)
    try:
        with ComparisonProgress(place.quiet) as progress:
            workers = place.workers or available_cores()
            runs = compare(
                comparison, folder, workers=workers, fresh=place.fresh, on_progress=progress
            )
    except KeyboardInterrupt:
        print_line("stopped: the same line goes on.", ERR)
        raise SystemExit(130) from None
    _say_failures(runs, algorithms)
    everyone = completed_strategies(
        runs.file, range(seeds)
    )  # of other lines on the same terms, too
    chosen = [*algorithms, *(name for name in everyone if name not in algorithms)]
    chosen = [name for name in chosen if name not in runs.failures]
    summary = summarise(runs.file, judge, chosen, range(seeds))
    _write(summary, folder)
    Folder(folder).check("bench.svg")
    missing = _draw(summary, folder / "bench.svg", f"{table.title}, {plural(seeds, 'seed')}")
    if place.quiet:
        sys.stdout.write(json.dumps(_as_object(summary, judge, seeds, folder)) + "\n")
    else:
        print_summary(summary, seeds)
        print_line(
            f"\n{folder}/runs.csv  summary.csv  curves.csv" + ("" if missing else "  bench.svg")
        )
        if missing:
            print_wrapped(missing, 0)


def _say_failures(runs: Runs, algorithms: Mapping[str, Algorithm]) -> None:
    """A line for each; RunError where nobody is left, once where all have the same reason."""
    reasons = set(runs.failures.values())
    alike = len(runs.failures) == len(algorithms) and len(reasons) == 1
    if alike:
        raise RunError(f"no strategy came to an end: {reasons.pop()}.")
    for name, reason in runs.failures.items():
        print_line(f"{name} failed and is left out: {reason}", ERR)
    if len(runs.failures) == len(algorithms):
        raise RunError("no strategy came to an end.")


def _write(summary: Summary, folder: Path) -> None:
    """``summary.csv`` and ``curves.csv``."""
    import pandas as pd

    kept = Folder(folder)
    results = pd.DataFrame([one.record() for one in summary.strategies])
    kept.write("summary.csv", results.to_csv(index=False))
    curves = [
        pd.DataFrame({
            "strategy": name, summary.settings.axis: curve.grid, "mean": curve.mean,
            "low": curve.low, "high": curve.high,
        })
        for name, curve in summary.curves.items()
    ]  # fmt: skip
    kept.write("curves.csv", pd.concat(curves).to_csv(index=False, float_format="%.7g"))


def _draw(summary: Summary, file: Path, title: str) -> str:
    """Draws where that is possible; else how to make it so."""
    from netwright.bench.plot import plot_regret

    try:
        plot_regret(summary, file, title)
    except MissingExtra as error:
        return str(error)
    return ""


def _as_object(summary: Summary, judge: TableOracle, seeds: int, folder: Path) -> dict[str, Any]:
    """What `--json` prints."""
    protocol = summary.settings
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
        "strategies": [one.record() for one in summary.strategies],
    }
