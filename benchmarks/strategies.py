"""Benchmark the strategies with `netwright bench` on tables of evaluated candidates; resumable.

    python benchmarks/strategies.py NASBENCH201.PARQUET [NAME ...]

runs all comparisons, or the named ones, one after the other; the same command resumes. Runs are kept
in ``bench/``, summaries and curves in ``benchmarks/results/``. Results are counts and scores, and
overheads are CPU time, so other work on the machine does not matter. The comparisons peers-* need
the peers to be installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import MetricColumns

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TASKS = ("cifar10", "cifar100", "imagenet16")
TABLE = "NETWRIGHT_NASBENCH201"
FIDELITIES = "random,halving,asha,hyperband,bohb,dehb,asha+evolution,evolution,tpe,bayesian"


def _reported_on(task: str) -> TableBenchmark:
    """Return a table to search on CIFAR-10 and report on another dataset, as the paper does."""
    table = nas_bench_201_table(os.environ[TABLE], "cifar10")
    test_accuracy = MetricColumns.of(f"{task}_test_acc_200", scale=0.01)
    fidelities = {at: {**of, "test_accuracy": test_accuracy} for at, of in table.fidelities.items()}
    return replace(table, fidelities=fidelities)


def paper_cifar10() -> TableBenchmark:
    return _reported_on("cifar10")


def paper_cifar100() -> TableBenchmark:
    return _reported_on("cifar100")


def paper_imagenet16() -> TableBenchmark:
    return _reported_on("imagenet16")


def comparisons(table: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the arguments of `netwright bench` of each comparison."""
    for task in TASKS:
        yield (
            f"oracle-{task}",
            (
                f"{table} --task {task} --search test_accuracy --report test_accuracy --seeds 100 "
                "--evaluations 200 --strategies random,evolution,bayesian --until-found"
            ),
        )
    for device in ("pixel3", "gold_6226"):
        yield (
            f"front-{device}",
            (
                f"{table} --task cifar100 --device {device} --search accuracy --search latency "
                "--report accuracy --report latency --reference accuracy=0.5 --seeds 20 "
                "--evaluations 150 --strategies random,nsga2,bayesian"
            ),
        )
    for task in TASKS:
        yield (
            f"validation-{task}",
            (
                f"{table} --task {task} --search accuracy --seeds 100 --evaluations 100 "
                "--strategies random,evolution,bayesian --until-found"
            ),
        )
    yield (
        "all-cifar100",
        (
            f"{table} --task cifar100 --search accuracy --seeds 20 --evaluations 100 --strategies all"
        ),
    )
    for task in ("ninapro", "darcy"):
        yield (
            f"unseen-{task}",
            (
                f"{table} --task {task} --seeds 30 --evaluations 100 --until-found "
                "--strategies random,evolution,bayesian"
            ),
        )
    yield (
        "fidelities-cifar100",
        (
            f"{table} --task cifar100 --search accuracy --seeds 20 --evaluations 50 --strategies "
            f"{FIDELITIES}"
        ),
    )
    yield "fidelities-digits", f"digits --seeds 20 --evaluations 20 --strategies {FIDELITIES}"
    for task in TASKS:
        clock = "--clock 12000 --fidelity 0.06 --search accuracy --report test_accuracy"
        paper = f"strategies:paper_{task} {clock} --until-found"
        yield f"paper-{task}", f"{paper} --seeds 500 --strategies random,evolution,reinforce"
        yield f"paper-default-{task}", f"{paper} --seeds 100 --strategies random,bayesian,tpe"
    for task in TASKS:
        yield (
            f"one-seed-{task}",
            (
                f"{table} --task {task} --repetition one --search accuracy --seeds 50 "
                "--evaluations 100 --strategies random,bayesian"
            ),
        )
    for task in TASKS:
        yield (
            f"peers-{task}",
            (
                f"{table} --task {task} --search accuracy --seeds 10 --evaluations 100 "
                "--strategies random,evolution,bayesian --peers"
            ),
        )


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {sys.argv[0]} NASBENCH201.PARQUET [NAME ...]")
    table, only = sys.argv[1], sys.argv[2:]
    os.environ[TABLE] = str(Path(table).absolute())
    RESULTS.mkdir(exist_ok=True)
    for name, arguments in comparisons(os.environ[TABLE]):
        if only and name not in only:
            continue
        folder = HERE.parent / "bench" / name
        print(f"{name}: netwright bench {arguments}", flush=True)
        program = Path(sys.executable).with_name("netwright")
        command = [program, "bench", *arguments.split(), "--run", folder]
        if subprocess.run(command, cwd=HERE).returncode == 0:
            for kind in ("summary", "curves"):
                shutil.copy(folder / f"{kind}.csv", RESULTS / f"{name}-{kind}.csv")


if __name__ == "__main__":
    main()
