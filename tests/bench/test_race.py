"""One run on a table that is known in full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_table import frame, make, write

from netwright.bench.settings import ComparisonSettings, TableOracle, parse_objective
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


def protocol(**terms: Any) -> ComparisonSettings:
    given = {"search": (ACCURACY,), "report": (TEST,), "evaluations": 27} | terms
    return ComparisonSettings(**given)


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
        ended = sum(one.status is not Status.RUNNING for one in self.told)
        if ended == len(self.proposals):
            return []
        (a, b, c), fidelity = self.proposals[ended]
        return [Proposal(Candidate({"a": a, "b": b, "c": c}), fidelity)]

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)


def run(
    table: TableBenchmark, terms: ComparisonSettings, *proposals: Any, seed: int = 0
) -> list[Evaluation]:
    return list(run_strategy(Listed(*proposals), TableOracle(table, terms), seed))


def reported(steps: Sequence[Evaluation]) -> list[float]:
    return [step.reported for step in steps]


def test_the_incumbent_is_chosen_on_validation_alone(table: TableBenchmark) -> None:
    steps = run(table, protocol(), ((2, 2, 1), 1.0), ((2, 2, 2), 1.0), ((0, 0, 0), 1.0))
    assert reported(steps) == pytest.approx(
        [0.813, 0.6, 0.6]
    )  # the best there is not the best here
    oracle = run(table, protocol(search=(TEST,)), ((2, 2, 1), 1.0), ((2, 2, 2), 1.0))
    assert reported(oracle) == pytest.approx([0.813, 0.813])


def test_a_search_of_everything_finds_the_optimum(table: TableBenchmark) -> None:
    judge = TableOracle(table, protocol())
    steps = list(run_strategy(RandomSearch(), judge, 3))
    assert len(steps) == 27
    assert judge.optimum == pytest.approx(frame()["test"].max())
    first = next(i for i, step in enumerate(steps) if step.reached)
    assert steps[first].metrics["accuracy"] == pytest.approx(table.mean_metric("accuracy").max())
    assert [step.reached for step in steps] == [i >= first for i in range(27)]
    assert not any(step.repeated for step in steps)


def test_a_trial_at_a_fidelity_costs_that_much(table: TableBenchmark) -> None:
    cheap = [((a, b, 0), 0.3) for a in range(3) for b in range(3)]
    steps = run(table, protocol(evaluations=2), *cheap)
    assert [step.fidelity for step in steps] == [0.25] * 8  # the ninth would end after the budget
    assert steps[-1].cost == 2
    assert steps[0].metrics["accuracy"] == pytest.approx(0.3)


def test_the_highest_fidelity_seen_decides_the_incumbent(table: TableBenchmark) -> None:
    steps = run(table, protocol(), ((2, 0, 2), 0.25), ((0, 0, 0), 1.0), ((2, 1, 2), 0.25))
    assert reported(steps) == pytest.approx([0.728, 0.49, 0.49])
    assert not any(step.reached for step in run(table, protocol(), ((2, 2, 2), 0.25)))


def test_everything_at_one_fidelity_is_a_problem_of_one(table: TableBenchmark) -> None:
    listed = Listed(((2, 1, 2), 1.0), ((2, 2, 2), 1.0))
    steps = list(run_strategy(listed, TableOracle(table, protocol(fidelity=0.25)), 0))
    assert listed.problem is not None
    assert listed.problem.fidelities == (1.0,)
    assert [step.fidelity for step in steps] == [0.25, 0.25]
    assert [step.cost for step in steps] == [1, 2]
    assert steps[0].metrics["accuracy"] == pytest.approx(0.5 + 0.2 + 0.05 + 0.04 - 0.2 + 0.06)
    assert reported(steps) == pytest.approx([0.78, 0.6])  # reported is fidelity 1
    assert [step.reached for step in steps] == [False, True]


def test_what_would_end_after_the_clock_does_not_count(table: TableBenchmark) -> None:
    terms = protocol(evaluations=math.inf, clock=33)
    steps = run(
        table, terms, ((0, 0, 0), 1.0), ((2, 0, 0), 1.0), ((1, 0, 0), 1.0), ((0, 0, 1), 1.0)
    )
    assert [step.clock for step in steps] == [10, 22, 33]


def test_a_run_is_a_function_of_its_seed(table: TableBenchmark) -> None:
    judge = TableOracle(table, protocol(evaluations=20))

    def found(seed: int) -> list[Any]:
        steps = run_strategy(RegularizedEvolution(population=5), judge, seed)
        return [(step.metrics, step.reported, step.reached) for step in steps]

    assert found(4) == found(4)
    assert found(4) != found(5)


def test_strategies_that_begin_alike_begin_with_the_same_candidates(table: TableBenchmark) -> None:
    judge = TableOracle(table, protocol(evaluations=5))
    one, other = (
        [step.metrics for step in run_strategy(algorithm, judge, 7)]
        for algorithm in (RandomSearch(), RegularizedEvolution(population=5, tournament_size=2))
    )
    assert one == other


def test_the_noise_of_one_training_is_paired_and_the_report_is_not_noisy(tmp_path: Path) -> None:
    noisy = make(write(tmp_path), "one")
    again = run(noisy, protocol(report=(ACCURACY,)), *[((1, 1, 1), 1.0)] * 12)
    assert len({step.metrics["accuracy"] for step in again}) == 2
    assert {round(one, 9) for one in reported(again)} == {round(0.67 + 0.002, 9)}
    assert [step.repeated for step in again] == [False] + [True] * 11
    after = run(noisy, protocol(), ((0, 0, 0), 1.0), ((1, 1, 1), 1.0))
    assert after[1].metrics == again[0].metrics  # same seed, same candidate, same training


def test_what_is_not_in_the_table_is_infeasible_and_counts(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    frame().query("a < 2").to_csv(file, index=False)
    listed = Listed(((2, 0, 0), 1.0), ((1, 0, 0), 1.0))
    steps = list(run_strategy(listed, TableOracle(make(file), protocol()), 0))
    assert [step.cost for step in steps] == [1, 2]
    assert math.isnan(steps[0].reported)
    assert listed.told[1].status is Status.INFEASIBLE


def test_limits_bind_the_incumbent_and_the_optimum(table: TableBenchmark) -> None:
    terms = protocol(limits=(Limit("latency", at_most=2.0),))
    judge = TableOracle(table, terms)
    allowed = frame().query("ms <= 2")
    assert judge.optimum == pytest.approx(allowed["test"].max())
    steps = run(
        table, terms, ((2, 2, 1), 1.0), ((0, 1, 0), 1.0), ((2, 2, 2), 1.0), ((1, 0, 2), 1.0)
    )
    assert math.isnan(steps[0].reported)
    assert reported(steps)[1:] == pytest.approx([0.54, 0.54, 0.628])
    assert [step.reached for step in steps] == [False, False, False, True]


def test_the_whole_table_has_all_of_its_hypervolume(table: TableBenchmark) -> None:
    terms = protocol(search=(ACCURACY, LATENCY), report=(TEST, LATENCY))
    steps = list(run_strategy(RandomSearch(), TableOracle(table, terms), 0))
    assert all(a <= b + 1e-12 for a, b in zip(reported(steps), reported(steps)[1:], strict=False))
    same = protocol(search=(TEST, LATENCY), report=(TEST, LATENCY))
    steps = list(run_strategy(RandomSearch(), TableOracle(table, same), 0))
    assert steps[-1].reported == pytest.approx(1.0)
    assert steps[-1].reached
    assert 0 < steps[2].reported < 1


def test_the_hypervolume_is_bounded_by_the_references(table: TableBenchmark) -> None:
    terms = protocol(
        search=(TEST, LATENCY), report=(TEST, LATENCY), references={"latency": 3.0, "test_accuracy": 0.5}
    )  # fmt: skip
    judge = TableOracle(table, terms)
    one = run(table, terms, ((1, 0, 0), 1.0))  # test .59, 2 ms
    front = {1.0: 0.53 - 0.002, 1.5: 0.58 - 0.002, 2.0: 0.63 - 0.002, 2.5: 0.68 - 0.001}
    whole = sum(0.5 * (accuracy - 0.5) for accuracy in front.values())
    assert one[0].reported == pytest.approx((0.59 - 0.5) * 1.0 / whole)
    assert judge.references == {"test_accuracy": 0.5, "latency": 3.0}
    plain = TableOracle(table, protocol(search=(TEST, LATENCY), report=(TEST, LATENCY)))
    assert plain.references["latency"] == pytest.approx(np.quantile(frame()["ms"], 0.98))


@pytest.mark.parametrize(
    ("terms", "sentence"),
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
def test_what_the_table_lacks_is_said(
    table: TableBenchmark, terms: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        _ = TableOracle(table, protocol(**terms)).optimum


def test_terms_that_do_not_fit_are_refused() -> None:
    for terms, sentence in (
        ({"evaluations": math.inf}, "a comparison must end"),
        ({"clock": 0}, "clock must be above 0"),
        ({"report": (TEST, LATENCY)}, "report must be one metric"),
        ({"references": {"latency": 2.0}}, "reference must be for the metrics that are reported"),
        ({"references": {"test_accuracy": 2.0}}, "reference must go with several metrics"),
    ):
        with pytest.raises(InputError, match=sentence):
            protocol(**terms)


def test_metrics_have_directions() -> None:
    assert parse_objective("latency") == LATENCY
    assert parse_objective("test_accuracy") == TEST
    assert parse_objective("error:min") == Objective("error", "min")
    with pytest.raises(InputError, match="say which way is better: eror:max or eror:min"):
        parse_objective("eror")


def test_strategies_are_told_of_the_fidelities_and_the_knowledge(table: TableBenchmark) -> None:
    problem = make_problem(TableOracle(table, protocol()))
    assert problem.fidelities == (0.25, 1.0)
    assert problem.knowledge.metrics(table.space.default()) == {}


def without(folder: Path, column: str, rows: str) -> TableBenchmark:
    """The table with empty cells."""
    holed = frame()
    holed.loc[holed.eval(rows), column] = np.nan
    holed.to_csv(folder / "holed.csv", index=False)
    return make(folder / "holed.csv")


def test_a_front_is_found_by_what_is_searched(table: TableBenchmark) -> None:
    terms = protocol(
        search=(ACCURACY, LATENCY), report=(TEST, LATENCY), references={"latency": 5.0}
    )
    steps = list(run_strategy(RandomSearch(), TableOracle(table, terms), 0))
    assert steps[-1].reported < 1  # the best on validation is not the best in the test
    assert steps[-1].reached
    (first, *_) = (i for i, step in enumerate(steps) if step.reached)
    seen = np.array([[1 - s.metrics["accuracy"], s.metrics["latency"]] for s in steps])
    front = {tuple(one) for one in seen[nondominated(seen)]}
    assert tuple(seen[first]) in front
    assert front <= {tuple(one) for one in seen[: first + 1]}


def test_a_bound_that_nothing_searched_is_within_is_only_for_the_report(
    table: TableBenchmark,
) -> None:
    both = {"search": (ACCURACY, LATENCY), "report": (TEST, LATENCY), "fidelity": 0.25}
    judge = TableOracle(table, protocol(**both, references={"test_accuracy": 0.75}))
    assert table.mean_metric("accuracy", 0.25).max() < 0.75
    judge.check()
    assert list(run_strategy(RandomSearch(), judge, 0))[-1].reached


def test_a_metric_that_nobody_asks_for_may_be_missing(tmp_path: Path) -> None:
    holed = without(tmp_path, "ms", "a == 2 and b == 2 and c == 2")
    steps = run(holed, protocol(report=(ACCURACY,)), ((2, 2, 2), 1.0))
    assert steps[0].reached
    assert steps[0].reported == TableOracle(holed, protocol(report=(ACCURACY,))).optimum


def test_the_best_is_one_that_can_be_evaluated(tmp_path: Path) -> None:
    holed = without(tmp_path, "ms", "a == 2 and b == 2")
    limited = protocol(report=(ACCURACY,), limits=(Limit("latency", at_most=9.0),))
    judge = TableOracle(holed, limited)
    best = frame().query("a < 2 or b < 2")["valid"].max() + 0.002
    assert (-judge.target, judge.optimum) == pytest.approx((best, best))
    assert list(run_strategy(RandomSearch(), judge, 0))[-1].reached
    far = frame().assign(a=lambda rows: rows["a"].replace(2, 7))  # of no candidate
    far.to_csv(tmp_path / "far.csv", index=False)
    judge = TableOracle(make(tmp_path / "far.csv"), protocol())
    assert judge.optimum == pytest.approx(frame().query("a < 2")["test"].max())
    with pytest.raises(InputError, match=r"holed\.csv must be a table with latency of some cand"):
        TableOracle(without(tmp_path, "ms", "a < 3"), protocol(report=(LATENCY,))).check()


def test_an_incumbent_that_the_report_lacks_is_left_out_of_the_front(tmp_path: Path) -> None:
    holed = without(tmp_path, "test", "a == 2 and b == 0 and c == 0")
    terms = protocol(search=(ACCURACY, LATENCY), report=(TEST, LATENCY), fidelity=0.25)
    alone = run(holed, terms, ((0, 1, 2), 1.0))
    both = run(holed, terms, ((0, 1, 2), 1.0), ((2, 0, 0), 1.0))
    assert both[1].reported == alone[0].reported > 0
    assert math.isnan(run(holed, terms, ((2, 0, 0), 1.0))[0].reported)


def test_a_fidelity_without_what_is_searched_is_not_offered(table: TableBenchmark) -> None:
    listed = Listed(((2, 1, 2), 0.25))
    (step,) = run_strategy(listed, TableOracle(table, protocol(search=(TEST,))), 0)
    assert listed.problem is not None
    assert listed.problem.fidelities == (1.0,)
    assert (step.fidelity, step.cost) == (1, 1)


@pytest.mark.parametrize(
    ("terms", "sentence"),
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
def test_terms_that_mean_nothing_are_refused(terms: dict[str, Any], sentence: str) -> None:
    both = {"search": (ACCURACY, LATENCY), "report": (TEST, LATENCY)}
    with pytest.raises(InputError, match=sentence):
        protocol(**both | terms)


def test_metrics_may_be_given_by_name() -> None:
    assert ComparisonSettings(("accuracy",), ["test_accuracy"], evaluations=27) == protocol()  # type: ignore[arg-type]
    assert ComparisonSettings("error:min", "error:min", evaluations=2).search == (
        Objective("error", "min"),
    )  # type: ignore[arg-type]
