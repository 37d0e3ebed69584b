"""Warm starts between the data sets of NAS-Bench-201: from a right source, and from a wrong one.

    python benchmarks/warm_starts.py NASBENCH201.PARQUET [--seeds 30] [--out CSV]
    python benchmarks/warm_starts.py --report CSV

For each pair of data sets, the default searches the target until it has evaluated the cell of the best
validation accuracy: cold, after a default search of 100 trials on the source, and after the same trials
with their accuracies shuffled, or in reverse order. Seeds are paired. Other work on the machine does not
matter; each finished run is a row of the CSV, and the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from csv_rows import append_runs, read_rows

from netwright.bench.oracle import TableOracle
from netwright.bench.settings import ComparisonSettings
from netwright.bench.single_run import make_problem, run_strategy
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.interfaces.strategy import Algorithm
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.warm_start import WarmStart
from netwright.testing import simulate
from netwright.trials.trial import Status, Trial

DATASETS = ("cifar10", "cifar100", "imagenet16")
N_EARLIER, MAX_EVALUATIONS = 100, 300
STARTS = ("cold", "warm", "shuffled", "reversed")


@dataclass(frozen=True)
class Run:
    """A row of the CSV: evaluations until the optimum of the target, 300 if it was not found."""

    source: str
    target: str
    start: str
    seed: int
    evaluations: int


@lru_cache(maxsize=3)
def oracle_of(file: str, dataset: str) -> TableOracle:
    settings = ComparisonSettings(  # type: ignore[arg-type]  # names are parsed
        ("accuracy",), ("accuracy",), evaluations=MAX_EVALUATIONS, fidelity=1.0, until_found=True
    )
    return TableOracle(nas_bench_201_table(file, dataset), settings)


@lru_cache(maxsize=8)
def earlier_trials(file: str, dataset: str, seed: int) -> tuple[Trial, ...]:
    """The trials of a default search on the source."""
    oracle = oracle_of(file, dataset)
    strategy = Bayesian()(make_problem(oracle))
    log = simulate(
        strategy, lambda candidate: oracle.evaluate(candidate, 1.0, 0) or None, N_EARLIER, seed=seed
    )
    return tuple(trial for trial in log if trial.status is Status.DONE)


def algorithm(start: str, trials: tuple[Trial, ...], seed: int) -> Algorithm:
    """Return the default, warm or cold."""
    if start == "cold":
        return Bayesian()
    accuracies = [trial.metrics["accuracy"] for trial in trials]
    if start == "shuffled":
        accuracies = np.random.default_rng(seed).permutation(accuracies).tolist()
    if start == "reversed":
        accuracies = [-accuracy for accuracy in accuracies]
    changed = (
        replace(trial, metrics={"accuracy": accuracy})
        for trial, accuracy in zip(trials, accuracies, strict=True)
    )
    return WarmStart(Bayesian(), tuple(changed))


def run(file: str, source: str, target: str, start: str, seed: int) -> Run:
    trials = () if start == "cold" else earlier_trials(file, source, seed)
    oracle = oracle_of(file, target)
    evaluations = [*run_strategy(algorithm(start, trials, seed), oracle, 1000 + seed)]
    found = evaluations[-1].reached
    return Run(source, target, start, seed, len(evaluations) if found else MAX_EVALUATIONS)


def report(runs: Sequence[Run]) -> Iterable[str]:
    """Yield the mean evaluations of each start, and its paired difference to the cold one."""
    cold = {(r.target, r.seed): r.evaluations for r in runs if r.start == "cold"}
    for source, target, start in dict.fromkeys((r.source, r.target, r.start) for r in runs):
        mine = [r for r in runs if (r.source, r.target, r.start) == (source, target, start)]
        values = np.array([r.evaluations for r in mine])
        more = np.array([r.evaluations - cold[target, r.seed] for r in mine])
        error = more.std(ddof=1) / np.sqrt(len(more)) if len(more) > 1 else np.nan
        name = f"{source or '-':11} -> {target:11} {start:9}"
        yield f"{name} {values.mean():6.1f} evaluations, {more.mean():+6.1f} ± {1.96 * error:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", nargs="?")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    default_out = Path(__file__).parent / "results/warm-starts.csv"
    parser.add_argument("--out", type=Path, default=default_out)
    parser.add_argument("--report", type=Path)
    settings = parser.parse_args()
    if settings.report:
        print(*report(read_rows(settings.report, Run)), sep="\n")
        return
    if not settings.file:
        parser.error("a file is needed. See the usage above.")
    done = {(r.source, r.target, r.start, r.seed) for r in read_rows(settings.out, Run)}
    cold = [("", target, "cold") for target in DATASETS]
    pairs = [pair for pair in itertools.product(DATASETS, DATASETS) if pair[0] != pair[1]]
    warm = [(*pair, start) for pair in pairs for start in STARTS[1:]]
    wanted = [(*each, seed) for seed in range(settings.seeds) for each in (*cold, *warm)]
    missing = [each for each in wanted if each not in done]
    arguments = [(settings.file, *each) for each in missing]
    append_runs(settings.out, run, arguments, settings.workers)
    print(*report(read_rows(settings.out, Run)), sep="\n")


if __name__ == "__main__":
    main()
