"""`netwright bench`: compare strategies on a table of evaluated candidates."""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from netwright.automl.name_resolution import BLACK_BOX_NAMES, import_object, strategy_by_name
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
)
from netwright.cli.terminal import ERR, print_line, print_wrapped
from netwright.errors import InputError, MissingExtra, Phrase, RunError, closest, expected, plural
from netwright.evaluators.benchmarks.evaluator_benchmark import EvaluatorBenchmark
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.files.folder import Folder
from netwright.interfaces.benchmark import Benchmark
from netwright.interfaces.strategy import Algorithm
from netwright.study.workers.executors import available_cores
from netwright.trials.objective import limits

_DEFAULT_EVALUATIONS = 60
"""Budget of a run without --evaluations and --clock."""


@dataclass(frozen=True)
class TableOptions:
    """Options that choose a table.

    Args:
        name: ``digits``, a file of a NAS benchmark, or ``module:Object``.
        task: dataset of NAS-Bench-201.
        repetition: mean of the repeated trainings, or one of them.
        device: device of NAS-Bench-201's latencies.
    """

    name: str
    task: str | None = None
    repetition: str = "mean"
    device: str = ""

    def open(self) -> Benchmark:
        """Read the table; InputError if there is none, or an option does not fit it."""
        repetition = _check_repetition(self.repetition)
        file = Path(self.name)
        if (self.dataset or file.suffix == ".tfrecord") and not file.is_file():
            raise InputError(expected("table", "a file that exists", self.name))
        if self.dataset:
            return nas_bench_201_table(file, self.dataset, repetition, self.device)
        for text, option in ((self.task, "--task"), (self.device, "--device")):
            if text:
                rule = "left out for this table"
                raise InputError(expected(option, rule, text, "It is for NAS-Bench-201."))
        if file.suffix == ".tfrecord":
            return _load_shipped_table(
                "netwright.evaluators.benchmarks.nas_bench_101_cells:nas_bench_101_table",
                file,
                repetition,
            )
        if self.name == "digits":
            return _load_shipped_table(
                "netwright.evaluators.benchmarks.digits:digits_table", repetition
            )
        if ":" in self.name:
            table = _import_table(self.name)
            return replace(table, repetition="one") if repetition == "one" else table
        rule = "digits, a .parquet of NAS-Bench-201, a .tfrecord of NAS-Bench-101 or module:Object"
        raise InputError(expected("table", rule, self.name, closest(self.name, ["digits"])))

    @property
    def dataset(self) -> str:
        """The dataset of NAS-Bench-201; empty for another table."""
        return (self.task or "cifar10") if Path(self.name).suffix in (".parquet", ".pq") else ""

    @property
    def title(self) -> str:
        """The name for headings."""
        return " ".join(filter(None, (Path(self.name).name, self.dataset, self.device)))

    @property
    def stem(self) -> str:
        """The name for a folder."""
        stem = Path(self.name).stem.replace(":", "-")
        return f"{stem}-{self.dataset}" if self.dataset else stem


def _check_repetition(name: str) -> Literal["mean", "one"]:
    if name == "mean":
        return "mean"
    if name == "one":
        return "one"
    fix = closest(name, ("mean", "one"))
    raise InputError(expected("repetition", "mean or one", name, fix))


def _load_shipped_table(reference: str, *arguments: object) -> TableBenchmark:
    """Make a table by its function's name, so that no other table's code is imported."""
    table: TableBenchmark = import_object(reference, "table")(*arguments)
    return table


def _import_table(reference: str) -> TableBenchmark | EvaluatorBenchmark:
    """Import the user's table, or the result of a function without arguments."""
    imported: object = import_object(reference, "table")
    rule = (
        "a TableBenchmark or EvaluatorBenchmark, or a function without arguments that returns one"
    )
    if callable(imported) and not isinstance(imported, TableBenchmark | EvaluatorBenchmark):
        signature = inspect.signature(imported)
        try:
            signature.bind()
        except TypeError:
            got = Phrase(f"{reference}{signature}")
            raise InputError(expected("table", rule, got)) from None
        imported = imported()
    if not isinstance(imported, TableBenchmark | EvaluatorBenchmark):
        raise InputError(expected("table", rule, imported))
    return imported


@dataclass(frozen=True)
class ComparisonOptions:
    """Options that make `ComparisonSettings`; those left out come from the table."""

    evaluations: float | None = None
    clock: float | None = None
    fidelity: float | None = None
    search: Sequence[str] = ()
    report: Sequence[str] = ()
    limits: Sequence[str] = ()
    references: Sequence[str] = field(default_factory=tuple)
    until_found: bool = False

    def settings(self, table: Benchmark) -> ComparisonSettings:
        """Return the settings of a comparison on this table."""
        search = tuple(parse_objective(name) for name in self.search or table.metrics[:1])
        report = tuple(parse_objective(name) for name in self.report)
        evaluations = self.evaluations
        if evaluations is None:
            evaluations = math.inf if self.clock is not None else _DEFAULT_EVALUATIONS
        return ComparisonSettings(
            search,
            report or tuple(reported_objective(objective, table) for objective in search),
            evaluations,
            math.inf if self.clock is None else self.clock,
            self.fidelity,
            limits(self.limits, measured=table.metrics),
            dict(map(_parse_reference, self.references)),
            self.until_found,
        )


def _parse_reference(text: str) -> tuple[str, float]:
    """Parse ``latency=3.2``, a coordinate of the hypervolume's reference point."""
    name, _, bound = text.partition("=")
    try:
        return name.strip(), float(bound)
    except ValueError:
        fix = "For example latency=3.2."
        raise InputError(expected("reference", "METRIC=NUMBER", text, fix)) from None


def parse_strategies(text: str, oracle: TableOracle, *, with_peers: bool) -> dict[str, Algorithm]:
    """Return the algorithms by name.

    Args:
        text: names separated by commas, or ``all``; names of peers are allowed.
        oracle: for the evaluations that a run has.
        with_peers: whether to add all installed peers.
    """
    names = BLACK_BOX_NAMES if text == "all" else map(str.strip, text.split(","))
    chosen = [name for name in names if name]
    if repeated := [name for name in chosen if chosen.count(name) > 1]:
        raise InputError(expected("strategies", "different ones", repeated[0]))
    algorithms: dict[str, Algorithm] = {}
    for name in chosen:
        is_peer = name in PEERS
        algorithms[name] = peer(name, oracle.evaluations) if is_peer else strategy_by_name(name)
    if with_peers:
        missing = missing_packages()
        for name, spec in PEERS.items():
            if spec.package not in missing:
                algorithms[name] = peer(name, oracle.evaluations)
        for package in missing:
            print_line(f"{package} is not installed. Install it with: pip install {package}", ERR)
    return algorithms


@dataclass(frozen=True)
class BenchLocation:
    """Location and workers of a comparison, and whether to print.

    Args:
        run: the folder; None for the default one.
        workers: parallel runs; 0 for one per core.
        fresh: whether to delete earlier runs of these strategies.
        quiet: whether to print nothing but JSON on stdout.
    """

    run: str | None = None
    workers: int = 0
    fresh: bool = False
    quiet: bool = False


def bench(
    table: TableOptions,
    options: ComparisonOptions,
    strategies: str,
    n_seeds: int,
    location: BenchLocation,
    *,
    with_peers: bool,
) -> None:
    """Run the whole command."""
    if n_seeds < 1:
        raise InputError(expected("seeds", "at least 1", n_seeds))
    if location.workers < 0:
        raise InputError(expected("workers", "at least 0", location.workers))
    opened = table.open()
    settings = options.settings(opened)
    oracle = TableOracle(opened, settings)
    oracle.check()
    algorithms = parse_strategies(strategies, oracle, with_peers=with_peers)
    folder = Path(location.run) if location.run else default_folder(table.stem, opened, settings)
    comparison = Comparison(opened, algorithms, settings, range(n_seeds))
    incompatible = incompatible_algorithms(comparison.algorithms, oracle)
    if len(incompatible) == len(algorithms):
        name, reason = next(iter(incompatible.items()))
        raise InputError(f"{name} cannot run here: {reason}.")
    if not location.quiet:
        print_opening(table.title, oracle, n_seeds, folder)
    workers = location.workers or available_cores()
    try:
        with ComparisonProgress(quiet=location.quiet) as progress:
            runs = compare(
                comparison, folder, workers=workers, fresh=location.fresh, on_progress=progress
            )
    except KeyboardInterrupt:
        print_line("Stopped. Run the same command again to resume.", ERR)
        raise SystemExit(130) from None
    _print_failures(runs, algorithms)
    # the folder may hold strategies of earlier commands with the same settings
    completed = completed_strategies(runs.file, range(n_seeds))
    names = [*algorithms, *(name for name in completed if name not in algorithms)]
    names = [name for name in names if name not in runs.failures]
    summary = summarise(runs.file, oracle, names, range(n_seeds))
    _write_tables(summary, folder)
    Folder(folder).check("bench.svg")
    how_to_draw = _draw(summary, folder / "bench.svg", f"{table.title}, {plural(n_seeds, 'seed')}")
    if location.quiet:
        json_object = _to_json_object(summary, oracle, n_seeds, folder)
        sys.stdout.write(json.dumps(json_object) + "\n")
        return
    print_summary(summary, n_seeds)
    drawing = "" if how_to_draw else "  bench.svg"
    print_line(f"\n{folder}/runs.csv  summary.csv  curves.csv{drawing}")
    if how_to_draw:
        print_wrapped(how_to_draw, break_long_words=False)


def _print_failures(runs: Runs, algorithms: Mapping[str, Algorithm]) -> None:
    """Print each failure; RunError if no strategy is left, with the reason if all have the same."""
    reasons = set(runs.failures.values())
    all_failed = len(runs.failures) == len(algorithms)
    if all_failed and len(reasons) == 1:
        raise RunError(f"no strategy finished: {reasons.pop()}.")
    for name, reason in runs.failures.items():
        print_line(f"{name} failed and is left out: {reason}", ERR)
    if all_failed:
        raise RunError("no strategy finished.")


def _write_tables(summary: Summary, folder: Path) -> None:
    """Write ``summary.csv`` and ``curves.csv``."""
    import pandas as pd

    output = Folder(folder)
    strategies = pd.DataFrame([strategy.record() for strategy in summary.strategies])
    output.write("summary.csv", strategies.to_csv(index=False))
    curves = [
        pd.DataFrame(
            {
                "strategy": name,
                summary.settings.axis: curve.grid,
                "mean": curve.mean,
                "low": curve.low,
                "high": curve.high,
            }
        )
        for name, curve in summary.curves.items()
    ]
    output.write("curves.csv", pd.concat(curves).to_csv(index=False, float_format="%.7g"))


def _draw(summary: Summary, file: Path, title: str) -> str:
    """Draw the regret curves; return how to make that possible if a library is missing."""
    from netwright.bench.plot import plot_regret

    try:
        plot_regret(summary, file, title)
    except MissingExtra as error:
        return str(error)
    return ""


def _to_json_object(
    summary: Summary, oracle: TableOracle, n_seeds: int, folder: Path
) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    settings = summary.settings
    return {
        "folder": str(folder),
        "search": [objective.metric for objective in settings.search],
        "report": [objective.metric for objective in settings.report],
        "fidelity": settings.fidelity,
        "evaluations": settings.evaluations if settings.evaluations < math.inf else None,
        "clock": settings.clock if settings.clock < math.inf else None,
        "limits": [str(limit) for limit in settings.limits],
        "references": oracle.references if len(settings.report) > 1 else {},
        "seeds": n_seeds,
        "optimum": summary.optimum,
        "reference": summary.reference,
        "strategies": [strategy.record() for strategy in summary.strategies],
    }
