"""One run on a table that is known in full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_table import frame, make, write

from netwright.bench.oracle import TableOracle
from netwright.bench.settings import ComparisonSettings, parse_objective
from netwright.bench.single_run import Evaluation, make_problem, run_strategy
from netwright.errors import InputError
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.random import RandomSearch
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import nondominated
from netwright.trials.trial import Proposal, Status, Trial

ACCURACY, TEST = Objective("accuracy", "max"), Objective("test_accuracy", "max")
LATENCY = Objective("latency", "min")


def comparison_settings(**settings: Any) -> ComparisonSettings:
    chosen = {"search": (ACCURACY,), "report": (TEST,), "evaluations": 27} | settings
    return ComparisonSettings(**chosen)


class Listed:
    """Proposes what it was given, one after the other, and remembers what it was told."""

    def __init__(self, *proposals: tuple[tuple[int, int, int], float]) -> None:
        self.proposals = proposals
        self.told: list[Trial] = []
        self.problem: Problem | None = None

    def __call__(self, problem: Problem) -> Listed:
        self.problem, self.told = problem, []
        return self

    def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
        ended = sum(trial.status is not Status.RUNNING for trial in self.told)
        if ended == len(self.proposals):
            return []
        (a, b, c), fidelity = self.proposals[ended]
        return [Proposal(Candidate({"a": a, "b": b, "c": c}), fidelity)]

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)


def run(
    table: TableBenchmark, settings: ComparisonSettings, *proposals: Any, seed: int = 0
) -> list[Evaluation]:
    return list(run_strategy(Listed(*proposals), TableOracle(table, settings), seed))


def reported(evaluations: Sequence[Evaluation]) -> list[float]:
    return [evaluation.reported for evaluation in evaluations]


def test_incumbent_is_chosen_by_searched_metrics_alone(table: TableBenchmark) -> None:
    evaluations = run(
        table, comparison_settings(), ((2, 2, 1), 1.0), ((2, 2, 2), 1.0), ((0, 0, 0), 1.0)
    )
    assert reported(evaluations) == pytest.approx(
        [0.813, 0.6, 0.6]
    )  # the best there is not the best here
    oracle = run(table, comparison_settings(search=(TEST,)), ((2, 2, 1), 1.0), ((2, 2, 2), 1.0))
    assert reported(oracle) == pytest.approx([0.813, 0.813])


def test_exhaustive_search_reaches_the_optimum(table: TableBenchmark) -> None:
    oracle = TableOracle(table, comparison_settings())
    evaluations = list(run_strategy(RandomSearch(), oracle, 3))
    assert len(evaluations) == 27
    assert oracle.optimum == pytest.approx(frame()["test"].max())
    first = next(i for i, evaluation in enumerate(evaluations) if evaluation.reached)
    assert evaluations[first].metrics["accuracy"] == pytest.approx(
        table.metric_means("accuracy").max()
    )
    assert [evaluation.reached for evaluation in evaluations] == [i >= first for i in range(27)]
    assert not any(evaluation.repeated for evaluation in evaluations)


def test_evaluation_costs_its_fidelity(table: TableBenchmark) -> None:
    cheap = [((a, b, 0), 0.3) for a in range(3) for b in range(3)]
    evaluations = run(table, comparison_settings(evaluations=2), *cheap)
    assert [evaluation.fidelity for evaluation in evaluations] == [
        0.25
    ] * 8  # the ninth would end after the budget
    assert evaluations[-1].cost == 2
    assert evaluations[0].metrics["accuracy"] == pytest.approx(0.3)


def test_incumbent_comes_from_the_highest_fidelity(table: TableBenchmark) -> None:
    evaluations = run(
        table, comparison_settings(), ((2, 0, 2), 0.25), ((0, 0, 0), 1.0), ((2, 1, 2), 0.25)
    )
    assert reported(evaluations) == pytest.approx([0.728, 0.49, 0.49])
    assert not any(
        evaluation.reached for evaluation in run(table, comparison_settings(), ((2, 2, 2), 0.25))
    )


def test_fixed_fidelity_costs_one_evaluation_each(table: TableBenchmark) -> None:
    listed = Listed(((2, 1, 2), 1.0), ((2, 2, 2), 1.0))
    evaluations = list(
        run_strategy(listed, TableOracle(table, comparison_settings(fidelity=0.25)), 0)
    )
    assert listed.problem is not None
    assert listed.problem.fidelities == (1.0,)
    assert [evaluation.fidelity for evaluation in evaluations] == [0.25, 0.25]
    assert [evaluation.cost for evaluation in evaluations] == [1, 2]
    assert evaluations[0].metrics["accuracy"] == pytest.approx(0.5 + 0.2 + 0.05 + 0.04 - 0.2 + 0.06)
    assert reported(evaluations) == pytest.approx([0.78, 0.6])  # reported is fidelity 1
    assert [evaluation.reached for evaluation in evaluations] == [False, True]


def test_evaluation_ending_after_the_clock_does_not_count(table: TableBenchmark) -> None:
    settings = comparison_settings(evaluations=math.inf, clock=33)
    evaluations = run(
        table, settings, ((0, 0, 0), 1.0), ((2, 0, 0), 1.0), ((1, 0, 0), 1.0), ((0, 0, 1), 1.0)
    )
    assert [evaluation.clock for evaluation in evaluations] == [10, 22, 33]


def test_same_seed_gives_the_same_run(table: TableBenchmark) -> None:
    oracle = TableOracle(table, comparison_settings(evaluations=20))

    def found(seed: int) -> list[Any]:
        evaluations = run_strategy(RegularizedEvolution(population=5), oracle, seed)
        return [
            (evaluation.metrics, evaluation.reported, evaluation.reached)
            for evaluation in evaluations
        ]

    assert found(4) == found(4)
    assert found(4) != found(5)


def test_first_candidates_are_paired_across_strategies(table: TableBenchmark) -> None:
    oracle = TableOracle(table, comparison_settings(evaluations=5))
    first, second = (
        [evaluation.metrics for evaluation in run_strategy(algorithm, oracle, 7)]
        for algorithm in (RandomSearch(), RegularizedEvolution(population=5, tournament_size=2))
    )
    assert first == second


def test_training_noise_is_paired_and_reports_are_means(tmp_path: Path) -> None:
    noisy = make(write(tmp_path), "one")
    again = run(noisy, comparison_settings(report=(ACCURACY,)), *[((1, 1, 1), 1.0)] * 12)
    assert len({evaluation.metrics["accuracy"] for evaluation in again}) == 2
    assert {round(score, 9) for score in reported(again)} == {round(0.67 + 0.002, 9)}
    assert [evaluation.repeated for evaluation in again] == [False] + [True] * 11
    after = run(noisy, comparison_settings(), ((0, 0, 0), 1.0), ((1, 1, 1), 1.0))
    assert after[1].metrics == again[0].metrics  # same seed, same candidate, same training


def test_candidates_missing_from_the_table_are_infeasible(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    frame().query("a < 2").to_csv(file, index=False)
    listed = Listed(((2, 0, 0), 1.0), ((1, 0, 0), 1.0))
    evaluations = list(run_strategy(listed, TableOracle(make(file), comparison_settings()), 0))
    assert [evaluation.cost for evaluation in evaluations] == [1, 2]
    assert math.isnan(evaluations[0].reported)
    assert listed.told[1].status is Status.INFEASIBLE


def test_limits_apply_to_incumbent_and_optimum(table: TableBenchmark) -> None:
    settings = comparison_settings(limits=(Limit("latency", at_most=2.0),))
    oracle = TableOracle(table, settings)
    allowed = frame().query("ms <= 2")
    assert oracle.optimum == pytest.approx(allowed["test"].max())
    evaluations = run(
        table, settings, ((2, 2, 1), 1.0), ((0, 1, 0), 1.0), ((2, 2, 2), 1.0), ((1, 0, 2), 1.0)
    )
    assert math.isnan(evaluations[0].reported)
    assert reported(evaluations)[1:] == pytest.approx([0.54, 0.54, 0.628])
    assert [evaluation.reached for evaluation in evaluations] == [False, False, False, True]


def test_whole_table_has_hypervolume_share_one(table: TableBenchmark) -> None:
    settings = comparison_settings(search=(ACCURACY, LATENCY), report=(TEST, LATENCY))
    evaluations = list(run_strategy(RandomSearch(), TableOracle(table, settings), 0))
    assert all(
        a <= b + 1e-12
        for a, b in zip(reported(evaluations), reported(evaluations)[1:], strict=False)
    )
    same = comparison_settings(search=(TEST, LATENCY), report=(TEST, LATENCY))
    evaluations = list(run_strategy(RandomSearch(), TableOracle(table, same), 0))
    assert evaluations[-1].reported == pytest.approx(1.0)
    assert evaluations[-1].reached
    assert 0 < evaluations[2].reported < 1


def test_references_bound_the_hypervolume(table: TableBenchmark) -> None:
    settings = comparison_settings(
        search=(TEST, LATENCY), report=(TEST, LATENCY), references={"latency": 3.0, "test_accuracy": 0.5}
    )  # fmt: skip
    oracle = TableOracle(table, settings)
    evaluations = run(table, settings, ((1, 0, 0), 1.0))  # test .59, 2 ms
    front = {1.0: 0.53 - 0.002, 1.5: 0.58 - 0.002, 2.0: 0.63 - 0.002, 2.5: 0.68 - 0.001}
    whole = sum(0.5 * (accuracy - 0.5) for accuracy in front.values())
    assert evaluations[0].reported == pytest.approx((0.59 - 0.5) * 1.0 / whole)
    assert oracle.references == {"test_accuracy": 0.5, "latency": 3.0}
    plain = TableOracle(table, comparison_settings(search=(TEST, LATENCY), report=(TEST, LATENCY)))
    assert plain.references["latency"] == pytest.approx(np.quantile(frame()["ms"], 0.98))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"search": (Objective("size", "min"),)},
            r"search must be a metric of table\.csv, got 'size'",
        ),
        ({"report": (Objective("test_acuracy", "max"),)}, "Did you mean 'test_accuracy'"),
        ({"search": (TEST,), "fidelity": 0.25}, r"table\.csv at fidelity 0\.25"),
        ({"limits": (Limit("latency", at_most=0.1),)}, "limits must leave a candidate"),
    ],
)
def test_metrics_missing_from_the_table_are_refused(
    table: TableBenchmark, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        _ = TableOracle(table, comparison_settings(**settings)).optimum


def test_settings_that_contradict_are_refused() -> None:
    for settings, sentence in (
        ({"evaluations": math.inf}, "a comparison must end"),
        ({"clock": 0}, "clock must be above 0"),
        ({"report": (TEST, LATENCY)}, "report must be one metric"),
        ({"references": {"latency": 2.0}}, "reference must be for the metrics that are reported"),
        ({"references": {"test_accuracy": 2.0}}, "reference must go with several metrics"),
    ):
        with pytest.raises(InputError, match=sentence):
            comparison_settings(**settings)


def test_parse_objective_finds_directions() -> None:
    assert parse_objective("latency") == LATENCY
    assert parse_objective("test_accuracy") == TEST
    assert parse_objective("error:min") == Objective("error", "min")
    with pytest.raises(InputError, match="add a direction: eror:max or eror:min"):
        parse_objective("eror")


def test_problem_has_fidelities_and_knowledge(table: TableBenchmark) -> None:
    problem = make_problem(TableOracle(table, comparison_settings()))
    assert problem.fidelities == (0.25, 1.0)
    assert problem.knowledge.metrics(table.space.default()) == {}


def without(folder: Path, column: str, rows: str) -> TableBenchmark:
    """The table with empty cells."""
    holed = frame()
    holed.loc[holed.eval(rows), column] = np.nan
    holed.to_csv(folder / "holed.csv", index=False)
    return make(folder / "holed.csv")


def test_front_is_reached_by_searched_metrics(table: TableBenchmark) -> None:
    settings = comparison_settings(
        search=(ACCURACY, LATENCY), report=(TEST, LATENCY), references={"latency": 5.0}
    )
    evaluations = list(run_strategy(RandomSearch(), TableOracle(table, settings), 0))
    assert evaluations[-1].reported < 1  # the best on validation is not the best in the test
    assert evaluations[-1].reached
    (first, *_) = (i for i, evaluation in enumerate(evaluations) if evaluation.reached)
    seen = np.array([[1 - s.metrics["accuracy"], s.metrics["latency"]] for s in evaluations])
    front = {tuple(losses) for losses in seen[nondominated(seen)]}
    assert tuple(seen[first]) in front
    assert front <= {tuple(losses) for losses in seen[: first + 1]}


def test_unreachable_bound_applies_to_the_report_only(
    table: TableBenchmark,
) -> None:
    both = {"search": (ACCURACY, LATENCY), "report": (TEST, LATENCY), "fidelity": 0.25}
    oracle = TableOracle(table, comparison_settings(**both, references={"test_accuracy": 0.75}))
    assert table.metric_means("accuracy", 0.25).max() < 0.75
    oracle.check()
    assert list(run_strategy(RandomSearch(), oracle, 0))[-1].reached


def test_metrics_that_are_not_required_may_be_missing(tmp_path: Path) -> None:
    holed = without(tmp_path, "ms", "a == 2 and b == 2 and c == 2")
    evaluations = run(holed, comparison_settings(report=(ACCURACY,)), ((2, 2, 2), 1.0))
    assert evaluations[0].reached
    assert (
        evaluations[0].reported
        == TableOracle(holed, comparison_settings(report=(ACCURACY,))).optimum
    )


def test_optimum_can_be_evaluated(tmp_path: Path) -> None:
    holed = without(tmp_path, "ms", "a == 2 and b == 2")
    limited = comparison_settings(report=(ACCURACY,), limits=(Limit("latency", at_most=9.0),))
    oracle = TableOracle(holed, limited)
    best = frame().query("a < 2 or b < 2")["valid"].max() + 0.002
    assert (-oracle.target, oracle.optimum) == pytest.approx((best, best))
    assert list(run_strategy(RandomSearch(), oracle, 0))[-1].reached
    far = frame().assign(a=lambda rows: rows["a"].replace(2, 7))  # of no candidate
    far.to_csv(tmp_path / "far.csv", index=False)
    oracle = TableOracle(make(tmp_path / "far.csv"), comparison_settings())
    assert oracle.optimum == pytest.approx(frame().query("a < 2")["test"].max())
    with pytest.raises(InputError, match=r"holed\.csv must be a table with latency of some cand"):
        TableOracle(
            without(tmp_path, "ms", "a < 3"), comparison_settings(report=(LATENCY,))
        ).check()


def test_incumbents_without_reported_metrics_are_left_out(tmp_path: Path) -> None:
    holed = without(tmp_path, "test", "a == 2 and b == 0 and c == 0")
    settings = comparison_settings(
        search=(ACCURACY, LATENCY), report=(TEST, LATENCY), fidelity=0.25
    )
    alone = run(holed, settings, ((0, 1, 2), 1.0))
    both = run(holed, settings, ((0, 1, 2), 1.0), ((2, 0, 0), 1.0))
    assert both[1].reported == alone[0].reported > 0
    assert math.isnan(run(holed, settings, ((2, 0, 0), 1.0))[0].reported)


def test_fidelity_without_searched_metrics_is_not_offered(table: TableBenchmark) -> None:
    listed = Listed(((2, 1, 2), 0.25))
    (evaluation,) = run_strategy(listed, TableOracle(table, comparison_settings(search=(TEST,))), 0)
    assert listed.problem is not None
    assert listed.problem.fidelities == (1.0,)
    assert (evaluation.fidelity, evaluation.cost) == (1, 1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"evaluations": math.nan}, "evaluations must be above 0, got nan"),
        ({"clock": math.nan}, "clock must be above 0, got nan"),
        ({"search": (), "report": ()}, "search must be at least one metric"),
        ({"search": (ACCURACY, ACCURACY)}, "search must be different metrics, got accuracy, accuracy"),
        ({"references": {"latency": math.nan}}, "reference of latency must be a finite number, got nan"),
        ({"references": {"latency": -math.inf}}, "must be a finite number, got -inf"),
        ({"search": (ACCURACY, 3)}, "search must be Objectives, or metrics by name, got 3"),
        ({"fidelity": math.nan}, r"fidelity must be in \(0, 1\], got nan"),
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(settings: dict[str, Any], sentence: str) -> None:
    both = {"search": (ACCURACY, LATENCY), "report": (TEST, LATENCY)}
    with pytest.raises(InputError, match=sentence):
        comparison_settings(**both | settings)


def test_settings_accept_metric_names() -> None:
    assert (
        ComparisonSettings(("accuracy",), ["test_accuracy"], evaluations=27)
        == comparison_settings()
    )  # type: ignore[arg-type]
    assert ComparisonSettings("error:min", "error:min", evaluations=2).search == (
        Objective("error", "min"),
    )  # type: ignore[arg-type]
