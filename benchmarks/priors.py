"""The default strategy's prior beliefs against random search, no belief, and belief without doubt.

    python benchmarks/priors.py NASBENCH201.PARQUET ECNAS_4V.TFRECORD ECNAS_5V.TFRECORD
        [--seeds 50] [--tables digits,ninapro,...] [--strategies default,never,always,random,...]
        [--out CSV]
    python benchmarks/priors.py --report CSV

Tables: the digits that are shipped, NinaPro and Darcy of NAS-Bench-360, and both files of EC-NAS with
accuracy and energy. ``never`` is the default without beliefs; ``always`` gives no belief no weight, asks
no sceptical proposals, and starts with candidates that all sources like. Seeds are paired. Regret is the
distance of the incumbent to the optimum, relative to the worst; with two objectives the hypervolume that
is missing. Other work on the machine does not matter; each finished run is a row of the CSV, and the
same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
from csv_rows import append_runs, read_rows
from numpy.typing import NDArray

from netwright.bench.oracle import TableOracle
from netwright.bench.peers import PEERS, peer
from netwright.bench.settings import ComparisonSettings
from netwright.bench.single_run import run_strategy
from netwright.evaluators.benchmarks.digits import digits_table
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.evaluators.benchmarks.nas_bench_101_cells import nas_bench_101_table
from netwright.interfaces.strategy import Algorithm
from netwright.strategies.bayesian import belief_mixture, search, startup
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.random import RandomSearch

Array = NDArray[np.float64]

EVALUATIONS = 50
CHECKPOINTS = (5, 10, 20, 50)
N_BOOTSTRAP = 10_000
OURS = ("default", "never", "always", "random")
TABLES = ("digits", "ninapro", "darcy", "ecnas_4v", "ecnas_5v")
MAX_REGRET_SHARE, MAX_HYPERVOLUME_LOSS = 0.05, 0.02
"""What a front or an incumbent may be worse than random search's: the goals."""


@dataclass(frozen=True)
class Run:
    """A row of the CSV; `regrets` has the regret after each evaluation, separated by spaces."""

    table: str
    strategy: str
    seed: int
    regrets: str

    @property
    def values(self) -> Array:
        return np.array([float(regret) for regret in self.regrets.split()])


@lru_cache(maxsize=5)
def oracle_of(name: str, files: tuple[str, ...]) -> TableOracle:
    """The table and what is searched and reported on it."""
    nas_bench_201, *ec_nas = files
    metrics = ("accuracy", "energy:min") if name.startswith("ecnas") else ("accuracy",)
    if name == "digits":
        table = digits_table()
    elif name in ("ninapro", "darcy"):
        table = nas_bench_201_table(nas_bench_201, name)
    else:
        table = nas_bench_101_table(ec_nas[0] if name == "ecnas_4v" else ec_nas[1])
    settings = ComparisonSettings(metrics, metrics, evaluations=EVALUATIONS, fidelity=1.0)  # type: ignore[arg-type]
    return TableOracle(table, settings)


@contextmanager
def believing_always() -> Iterator[None]:
    """Without doubt: no weight for no belief, no sceptical proposals, all first trials are liked."""
    plain_weights, plain_startup = belief_mixture.earned_weights, startup.startup_candidates

    def weights(log_likelihoods: Array, prior_weights: Array, n: int) -> Array:
        if len(prior_weights) == 1:
            return plain_weights(log_likelihoods, prior_weights, n)
        believed = plain_weights(log_likelihoods, prior_weights, n)[1:]
        return np.append(0.0, believed / believed.sum())

    def first(problem: object, beliefs: object, candidates: object, index: int, n: int) -> object:
        return plain_startup(problem, beliefs, candidates, 2 * index, n)  # type: ignore[arg-type]

    with (
        patch.object(belief_mixture, "earned_weights", weights),
        patch.object(search, "startup_candidates", first),
        patch.object(search, "_SCEPTICAL_EVERY", 10**9),
    ):
        yield


def algorithm(name: str) -> Algorithm:
    """Return a strategy of ours, or a peer by its name."""
    ours: Mapping[str, Callable[[], Algorithm]] = {
        "default": Bayesian,
        "never": lambda: Bayesian(prior=False),
        "always": Bayesian,
        "random": RandomSearch,
    }
    return ours[name]() if name in ours else peer(name, EVALUATIONS)


def run(table: str, files: tuple[str, ...], name: str, seed: int) -> Run:
    """Run a strategy on a table."""
    oracle = oracle_of(table, files)

    def reported() -> list[float]:
        return [each.reported for each in run_strategy(algorithm(name), oracle, seed)]

    if name == "always":
        with believing_always():
            scores = reported()
    else:
        scores = reported()
    scores += [scores[-1]] * (EVALUATIONS - len(scores))  # a finished search stays there
    regrets = (oracle.optimum - np.array(scores)) / (oracle.optimum - oracle.worst)
    return Run(table, name, seed, " ".join(f"{regret:.6f}" for regret in regrets))


def lower_bound(differences: Array) -> float:
    """Return the lower end of the 95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(0)
    draws = rng.choice(differences, (N_BOOTSTRAP, len(differences))).mean(1)
    return float(np.quantile(draws, 0.025))


def report(runs: Sequence[Run]) -> Iterable[str]:
    """Yield the regret of each strategy, and whether the goals are met."""
    strategies = list(dict.fromkeys(row.strategy for row in runs))
    ratios = []
    for table in dict.fromkeys(row.table for row in runs):
        values = {
            strategy: {r.seed: r.values for r in runs if (r.table, r.strategy) == (table, strategy)}
            for strategy in strategies
        }
        yield f"{table:12}" + "".join(f"{n:>9}" for n in CHECKPOINTS) + "     area  seeds"
        area = {}
        for strategy, by_seed in values.items():
            if not by_seed:
                continue
            curve = np.mean([*by_seed.values()], axis=0)
            area[strategy] = float(curve.mean())
            cells = "".join(f"{curve[n - 1]:9.4f}" for n in CHECKPOINTS)
            yield f"  {strategy:10}{cells}{area[strategy]:9.4f}{len(by_seed):7}"
        if values.get("random") and values.get("default"):
            yield from _against_random(table, values["default"], values["random"])
        if {"default", "never", "always"} <= area.keys():
            ratios.append(area["default"] / min(area["never"], area["always"]))
            yield f"  area: {ratios[-1]:.3f} x the better of never and always (goal 1.10)"
    if ratios:
        mean = float(np.exp(np.mean(np.log(ratios))))
        yield f"geometric mean of the area's ratios: {mean:.3f} (goal 1.03)"


def _against_random(
    table: str, ours: Mapping[int, Array], random: Mapping[int, Array]
) -> Iterable[str]:
    paired = sorted(ours.keys() & random.keys())
    for n in CHECKPOINTS:
        gains = np.array([random[seed][n - 1] - ours[seed][n - 1] for seed in paired])
        scale = float(np.mean([random[seed][n - 1] for seed in paired]))
        bound = lower_bound(gains)
        goal = -MAX_HYPERVOLUME_LOSS if table.startswith("ecnas") else -MAX_REGRET_SHARE * scale
        mark = "met" if bound >= goal else "NOT MET"
        gain = f"gain {gains.mean():+.4f}, from {bound:+.4f}"
        yield f"  {n:3} evaluations: {gain}, goal {goal:+.4f}  {mark}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--strategies", default=",".join(OURS))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    default_out = Path(__file__).parent / "results/priors.csv"
    parser.add_argument("--out", type=Path, default=default_out)
    parser.add_argument("--report", type=Path)
    settings = parser.parse_args()
    if settings.report:
        print(*report(read_rows(settings.report, Run)), sep="\n")
        return
    if len(settings.files) != 3:
        parser.error(f"files must be three, got {len(settings.files)}. See the usage above.")
    tables, names = settings.tables.split(","), settings.strategies.split(",")
    for unknown in ({*tables} - {*TABLES}) | ({*names} - {*OURS, *PEERS}):
        parser.error(f"tables and strategies must be known, got {unknown}.")
    done = {(row.table, row.strategy, row.seed) for row in read_rows(settings.out, Run)}
    wanted = itertools.product(tables, names, range(settings.seeds))
    missing = [each for each in wanted if each not in done]
    append_runs(
        settings.out,
        run,
        [(t, tuple(settings.files), s, seed) for t, s, seed in missing],
        settings.workers,
    )
    print(*report(read_rows(settings.out, Run)), sep="\n")


if __name__ == "__main__":
    main()
