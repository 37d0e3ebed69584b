"""Your own table of results: strategies compared on its rows, and on a function, with a peer."""

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

import netwright as nw
from netwright.bench.oracle import TableOracle
from netwright.bench.peers import PEERS, missing_packages, peer
from netwright.bench.runner import Comparison, compare
from netwright.bench.settings import ComparisonSettings
from netwright.bench.summary import summarise

SEEDS = range(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
EVALUATIONS = 15


def write_results(file):
    """What an earlier random search left: settings, and an accuracy for each of two seeds."""
    rng = np.random.default_rng(0)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["lr", "depth", "activation", "val_acc"])
        for _ in range(150):
            lr, depth = float(f"{10 ** rng.uniform(-4, -1):.3g}"), int(rng.integers(1, 9))
            activation = str(rng.choice(["relu", "gelu"]))
            quality = 90 - 6 * (np.log10(lr) + 2.5) ** 2 - 0.4 * (depth - 5) ** 2
            for _ in range(2):
                accuracy = quality + (activation == "gelu") + rng.normal(0, 0.5)
                writer.writerow([lr, depth, activation, round(accuracy, 2)])


def table(file):
    import pandas as pd

    decisions = ["lr", "depth", "activation"]
    return nw.TableBenchmark(
        nw.Space.from_candidates(pd.read_csv(file)[decisions]),
        file,
        {name: nw.DecisionColumn(name) for name in decisions},
        {1.0: {"accuracy": nw.MetricColumns.of("val_acc", scale=0.01)}},
        repeated_rows=True,
    )


def branin(job):
    x, y = (job.proposal.candidate.values[name] for name in "xy")
    parabola = (y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6) ** 2
    return {"loss": float(parabola + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10)}


branin.metrics = ("loss",)


def print_comparison(benchmark, objective, folder):
    settings = ComparisonSettings(objective, objective, evaluations=EVALUATIONS)
    strategies = {"random": nw.RandomSearch(), "bayesian": nw.Bayesian()}
    if "optuna" not in missing_packages():
        strategies["optuna-tpe"] = peer("optuna-tpe", EVALUATIONS)
    runs = compare(Comparison(benchmark, strategies, settings, SEEDS), folder, workers=2)
    oracle = TableOracle(benchmark, settings)
    for each in summarise(runs.file, oracle, [*strategies], SEEDS).strategies:
        print(f"{each.strategy:12} mean {each.mean:.4f}, regret {each.regret:.4f}")


if __name__ == "__main__":  # worker processes import this file
    assert set(PEERS) > {"optuna-tpe", "smac"}
    with tempfile.TemporaryDirectory() as place:
        results = Path(place) / "results.csv"
        write_results(results)
        print("The rows of a table")
        print_comparison(table(results), "accuracy", Path(place) / "table")
        print("A function")
        space = nw.Space({"x": nw.Float(-5, 10), "y": nw.Float(0, 15)})
        function = nw.EvaluatorBenchmark(space, branin, best={"loss": 0.397887})
        print_comparison(function, "loss:min", Path(place) / "function")
