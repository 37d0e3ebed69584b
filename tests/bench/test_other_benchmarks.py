"""Comparisons on what is no complete table: the nearest rows, a pool, an evaluator."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netwright.bench.oracle import TableOracle
from netwright.bench.runner import Comparison, compare
from netwright.bench.settings import ComparisonSettings
from netwright.bench.single_run import run_strategy
from netwright.bench.summary import Summary, summarise
from netwright.evaluators.benchmarks.evaluator_benchmark import EvaluatorBenchmark
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import DecisionColumn, MetricColumns
from netwright.interfaces.benchmark import Benchmark
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.random import RandomSearch
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import Job, Metrics, Proposal, Trial

SPACE = Space({"x": Float(-1, 1), "y": Float(-1, 1)})
STRATEGIES = {"random": RandomSearch(), "evolution": RegularizedEvolution(5, 3)}


def sphere(job: Job) -> Metrics:
    x, y = (float(job.proposal.candidate.values[name]) for name in "xy")  # type: ignore[arg-type]
    return {"loss": x**2 + y**2, "cost": 2 - x}


sphere.metrics = ("loss", "cost")  # type: ignore[attr-defined]  # an evaluator declares them


def summary_of(benchmark: Benchmark, settings: ComparisonSettings, folder: Path) -> Summary:
    comparison = Comparison(benchmark, STRATEGIES, settings, range(4))
    runs = compare(comparison, folder, executor=InProcess())
    assert not runs.failures
    return summarise(runs.file, TableOracle(benchmark, settings), [*STRATEGIES], range(4))


def written(folder: Path) -> Path:
    rng = np.random.default_rng(2026)
    frame = pd.DataFrame(rng.uniform(-1, 1, (60, 2)), columns=["x", "y"])
    frame["loss"] = frame["x"] ** 2 + frame["y"] ** 2
    frame.to_csv(folder / "random.csv", index=False)
    return folder / "random.csv"


def table(file: Path, space: Space, **options: bool) -> TableBenchmark:  # type: ignore[type-arg]
    decisions = {name: DecisionColumn(name) for name in "xy"}
    columns = {1.0: {"loss": MetricColumns.of("loss")}}
    return TableBenchmark(space, file, decisions, columns, **options)  # type: ignore[arg-type]


class Heard:
    """Draws at random, and remembers what it is told."""

    def __init__(self, problem: Problem) -> None:
        self.random = RandomSearch()(problem)
        self.asked: list[Candidate] = []
        self.told: list[Trial] = []

    def ask(self, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
        proposals = self.random.ask(n, rng)
        self.asked += [proposal.candidate for proposal in proposals]
        return proposals

    def tell(self, trial: Trial) -> None:
        self.random.tell(trial)
        self.told.append(trial)


def test_a_strategy_is_told_the_candidate_of_the_nearest_row(tmp_path: Path) -> None:
    file = written(tmp_path)
    benchmark = table(file, SPACE, nearest=True)
    settings = ComparisonSettings("loss:min", "loss:min", evaluations=20)
    heard: list[Heard] = []

    def algorithm(problem: Problem) -> Heard:
        heard.append(Heard(problem))
        return heard[0]

    evaluations = list(run_strategy(algorithm, TableOracle(benchmark, settings), seed=0))
    rows = {(row.x, row.y): row.loss for row in pd.read_csv(file).itertuples()}
    strategy = heard[0]
    assert len(evaluations) == 20
    for evaluation, asked in zip(evaluations, strategy.asked, strict=False):
        assert tuple(asked.values.values()) not in rows
        known = tuple(evaluation.candidate.values.values())
        assert evaluation.metrics["loss"] == pytest.approx(rows[known])  # type: ignore[index]
        distances = [math.dist(known, asked.values.values())]  # type: ignore[arg-type]
        assert distances[0] < 0.7
    heard_of = [trial.candidate for trial in strategy.told]
    assert heard_of[::2] == heard_of[1::2] == [each.candidate for each in evaluations]


def test_a_pool_is_searched_to_its_end(tmp_path: Path) -> None:
    file = written(tmp_path)
    space = Space.from_candidates(pd.read_csv(file)[["x", "y"]])
    settings = ComparisonSettings("loss:min", "loss:min", evaluations=60)
    summary = summary_of(table(file, space), settings, tmp_path / "pool")
    assert {each.strategy: each.optimum.share for each in summary.strategies} == {
        "random": 1.0, "evolution": 1.0,
    }  # fmt: skip
    assert all(each.repeated == 0 for each in summary.strategies)
    rows = pd.read_csv(tmp_path / "pool" / "runs.csv")
    assert {len(Candidate(json.loads(text)).values) for text in rows["candidate"]} == {2}


def test_regret_on_an_evaluator_is_to_the_best_possible(tmp_path: Path) -> None:
    settings = ComparisonSettings("loss:min", "loss:min", evaluations=30)
    benchmark = EvaluatorBenchmark(SPACE, sphere, best={"loss": 0.0})
    summary = summary_of(benchmark, settings, tmp_path / "known")
    assert summary.optimum == 0.0
    assert summary.knows_optimum
    for each in summary.strategies:
        assert each.regret == pytest.approx(each.mean)
        assert 0 < each.regret < 0.5


def test_regret_without_an_optimum_is_to_the_best_of_all_runs(tmp_path: Path) -> None:
    settings = ComparisonSettings("loss:min", "loss:min", evaluations=30)
    summary = summary_of(EvaluatorBenchmark(SPACE, sphere), settings, tmp_path / "unknown")
    lowest = pd.read_csv(tmp_path / "unknown" / "runs.csv")["reported"].min()
    assert summary.optimum == pytest.approx(lowest)
    assert not summary.knows_optimum
    assert all(each.optimum.share == 0 for each in summary.strategies)
    for each in summary.strategies:
        assert each.regret == pytest.approx(each.mean - lowest)


def test_several_metrics_of_an_evaluator(tmp_path: Path) -> None:
    objectives = ("loss:min", "cost:min")
    settings = ComparisonSettings(objectives, objectives, evaluations=40)  # type: ignore[arg-type]
    summary = summary_of(EvaluatorBenchmark(SPACE, sphere), settings, tmp_path / "front")
    assert min(each.mean for each in summary.strategies) > 0.5  # of the random candidates'
    assert summary.optimum == max(
        pd.read_csv(tmp_path / "front" / "runs.csv")["reported"].max(), summary.optimum
    )
    assert all(each.regret >= 0 for each in summary.strategies)
