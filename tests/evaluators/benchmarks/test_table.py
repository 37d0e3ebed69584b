import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import DecisionColumn, MetricColumns
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.trials.trial import Job, Proposal

SPACE = Space({"a": OneOf("x", "y"), "b": OneOf(1, 2)})
FIDELITIES = {
    0.5: {"accuracy": MetricColumns.of("short", scale=0.01)},
    1.0: {
        "accuracy": MetricColumns.of("one", "two", scale=0.01),
        "latency": MetricColumns.of("ms"),
    },
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame = pd.DataFrame({
        "op": [0, 0, 1], "b": [1, 2, 1], "set": ["s", "s", "s"],
        "short": [10.0, 20.0, np.nan], "one": [50.0, 60.0, 70.0], "two": [54.0, np.nan, 72.0],
        "ms": [1.0, 2.0, 3.0], "unused": [0, 0, 0],
    })  # fmt: skip
    frame.loc[3] = [1, 2, "other", 1.0, 1.0, 1.0, 1.0, 0]
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def benchmark(file: Path, **options: object) -> TableBenchmark:
    decisions = {"a": DecisionColumn("op", ("x", "y")), "b": DecisionColumn("b")}
    return TableBenchmark(SPACE, file, decisions, FIDELITIES, filter={"set": "s"}, **options)  # type: ignore[arg-type]


def job(a: str, b: int, fidelity: float = 1.0, seed: int = 0) -> Job:
    return Job(Proposal(Candidate({"a": a, "b": b}), fidelity), seed, Path())


def test_candidates_are_looked_up(table: Path) -> None:
    evaluator = benchmark(table)
    assert evaluator.metrics == ("accuracy", "latency")
    assert evaluator(job("x", 1)) == {"accuracy": pytest.approx(0.52), "latency": 1.0}
    assert evaluator(job("x", 2)) == {"accuracy": pytest.approx(0.60), "latency": 2.0}
    assert evaluator.metric_means("accuracy") == pytest.approx([0.52, 0.6, 0.71])
    short = evaluator.metric_means("accuracy", 0.5)  # the third has none
    assert short == pytest.approx([0.1, 0.2, np.nan], nan_ok=True)


def test_seed_selects_the_repetition(table: Path) -> None:
    evaluator = benchmark(table, repetition="one")
    seen = {evaluator(job("x", 1, seed=seed))["accuracy"] for seed in range(8)}
    assert sorted(seen) == [pytest.approx(0.50), pytest.approx(0.54)]
    assert {evaluator(job("x", 2, seed=seed))["accuracy"] for seed in range(8)} == {0.6}


def test_mean_repetitions_remove_noise(table: Path) -> None:
    noisy = benchmark(table, repetition="one")
    found = {noisy.with_mean_repetitions()(job("x", 1, seed=seed))["accuracy"] for seed in range(8)}
    assert [*found] == [pytest.approx(0.52)]
    mean = benchmark(table)
    assert mean.with_mean_repetitions() is mean


def test_a_fidelity_is_the_nearest_below(table: Path) -> None:
    evaluator = benchmark(table)
    for asked, accuracy in ((0.1, 0.10), (0.5, 0.10), (0.9, 0.10), (1.0, 0.52)):
        assert evaluator(job("x", 1, asked))["accuracy"] == pytest.approx(accuracy)


def test_candidate_missing_from_the_table_is_infeasible(table: Path) -> None:
    with pytest.raises(InfeasibleCandidate, match="has no row of this candidate"):
        benchmark(table)(job("y", 2))  # another set's row
    with pytest.raises(InfeasibleCandidate, match=r"has no accuracy at fidelity 0\.5"):
        benchmark(table)(job("y", 1, 0.5))


def either(candidate: Candidate) -> dict[str, Value]:
    """The letter alone."""
    return {"letter": candidate.values["a"]}


def semicolons(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    return pd.read_csv(file, sep=";")[list(columns)]


def test_candidates_may_share_a_row_with_identify(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("name;score\ny;0.5\n")
    evaluator = TableBenchmark(
        SPACE, path, {"letter": DecisionColumn("name")}, {1.0: {"accuracy": MetricColumns.of("score")}},
        identify=either, reader=semicolons,
    )  # fmt: skip
    assert evaluator(job("y", 1)) == evaluator(job("y", 2)) == {"accuracy": 0.5}
    assert pickle.loads(pickle.dumps(evaluator))(job("y", 1)) == {"accuracy": 0.5}
    with pytest.raises(InfeasibleCandidate, match="has no row of this candidate"):
        evaluator(job("x", 1))


def test_table_is_read_lazily_and_pickles_without_rows(table: Path) -> None:
    missing = benchmark(table.with_name("none.csv"))
    assert missing.metrics == ("accuracy", "latency")
    with pytest.raises(InputError, match="table must be a file that exists"):
        missing(job("x", 1))
    evaluator = benchmark(table)
    empty = len(pickle.dumps(evaluator))
    evaluator(job("x", 1))
    assert len(pickle.dumps(evaluator)) == empty
    assert pickle.loads(pickle.dumps(evaluator))(job("x", 1))["latency"] == 1.0


def test_a_wrong_description_is_refused(table: Path) -> None:
    decisions = {"a": DecisionColumn("op", ("x", "y")), "b": DecisionColumn("b")}
    with pytest.raises(InputError, match="fidelities must be such that 1 is one"):
        TableBenchmark(SPACE, table, decisions, {0.5: FIDELITIES[0.5]})
    with pytest.raises(InputError, match="decisions must be a column for each of the space"):
        TableBenchmark(SPACE, table, {"a": DecisionColumn("op")}, FIDELITIES)
    with pytest.raises(InputError, match="repetition must be mean or one, got 'median'"):
        benchmark(table, repetition="median")
    with pytest.raises(InputError, match="a column must be given as a DecisionColumn, got 'op'"):
        small(table, decisions={"a": "op", "b": "b"})
    for given, rule in (
        ("one", "a column must be given as a MetricColumns, got 'one'"),
        (
            MetricColumns("one"),
            r"must be a tuple of at least one, got 'one'\. Use MetricColumns\.of",
        ),  # type: ignore[arg-type]
        (MetricColumns.of(), r"must be a tuple of at least one, got \(\)"),
    ):
        with pytest.raises(InputError, match=rule):
            small(table, fidelities={1.0: {"accuracy": given}})
    wrong = {1.0: {"accuracy": MetricColumns.of("onee")}}
    with pytest.raises(InputError, match=r"must have the column 'onee'\. Did you mean 'one'"):
        TableBenchmark(SPACE, table, decisions, wrong)(job("x", 1))
    with pytest.raises(InputError, match=r"metric must be one of table\.csv, got 'acuracy'"):
        benchmark(table).metric_means("acuracy")


def small(file: Path, space: Space[Any] = SPACE, **options: Any) -> TableBenchmark:
    """Columns a, b and metrics as they are."""
    metrics = {"accuracy": MetricColumns.of("accuracy"), "latency": MetricColumns.of("latency")}
    given = {
        "decisions": {"a": DecisionColumn("a"), "b": DecisionColumn("b")},
        "fidelities": {1.0: metrics},
    }
    return TableBenchmark(space, file, **given | options)


def written(folder: Path, *rows: str, head: str = "a,b,accuracy,latency") -> Path:
    file = folder / "small.csv"
    file.write_text("\n".join([head, *rows]) + "\n")
    return file


def test_the_file_may_be_given_as_text(table: Path) -> None:
    assert benchmark(str(table))(job("x", 1))["latency"] == 1.0  # type: ignore[arg-type]
    assert benchmark(str(table)).path == table  # type: ignore[arg-type]


def test_only_required_metrics_make_a_candidate_infeasible(tmp_path: Path) -> None:
    evaluator = small(written(tmp_path, "x,1,.5,", "y,1,.6,inf", "y,2,.7,3"))
    for a in "xy":
        candidate = Candidate({"a": a, "b": 1})
        assert [*evaluator.look_up(candidate, required=["accuracy"])] == ["accuracy"]
        for needed in (["latency"], None):
            with pytest.raises(InfeasibleCandidate, match="has no latency at fidelity 1"):
                evaluator.look_up(candidate, required=needed)
    assert evaluator.metric_means("latency") == pytest.approx([np.nan, np.nan, 3.0], nan_ok=True)


def test_codes_outside_are_refused(tmp_path: Path) -> None:
    decisions = {"a": DecisionColumn("a", ("x", "y")), "b": DecisionColumn("b")}
    for code in ("-1", "2", "0.5", "x", ""):
        evaluator = small(written(tmp_path, "0,1,.5,1", f"{code},2,.5,1"), decisions=decisions)
        if not code:  # nobody's row
            assert evaluator.n_candidates == 1
            continue
        with pytest.raises(
            InputError, match=r"column 'a' must be whole numbers from 0 to 1, for 'a'"
        ):
            evaluator(job("x", 1))


def test_different_rows_of_one_candidate_are_refused(tmp_path: Path) -> None:
    evaluator = small(written(tmp_path, "x,1,.5,1", "y,1,.5,1", "x,1,.9,1"))
    with pytest.raises(InputError, match=r"got several of a='x', b=1\. Use repeated_rows=True if"):
        evaluator(job("y", 1))
    foreign = small(written(tmp_path, "x,1,.5,1", "z,1,.5,1", "z,1,.9,1"))
    assert foreign(job("x", 1))["accuracy"] == 0.5  # rows of no candidate may be as they like
    assert foreign.n_candidates == 1
    equal = small(written(tmp_path, "x,1,.5,1", "x,1,.5,1", "y,1,.6,1"))
    assert equal.metric_means("accuracy").tolist() == [0.5, 0.6]


def test_repeated_rows_are_repetitions_where_declared(tmp_path: Path) -> None:
    file = written(tmp_path, "x,1,.5,1", "y,1,.6,1", "x,1,.9,3", "x,1,,5")
    evaluator = small(file, repeated_rows=True)
    assert evaluator.n_candidates == 2
    assert evaluator(job("x", 1)) == {"accuracy": pytest.approx(0.7), "latency": 3.0}
    assert evaluator(job("y", 1)) == {"accuracy": 0.6, "latency": 1.0}
    single = small(file, repeated_rows=True, repetition="one")
    seen = [single(job("x", 1, seed=seed)) for seed in range(6)]
    assert {metrics["accuracy"] for metrics in seen} == {0.5, 0.9}
    assert {metrics["latency"] for metrics in seen} == {1.0, 3.0, 5.0}


def test_a_row_for_each_epoch_or_metric(tmp_path: Path) -> None:
    rows = [
        f"{a},1,{epoch},{0.1 * epoch + bonus},{ms}"
        for a, bonus, ms in (("x", 0.0, 1), ("y", 0.05, 2))
        for epoch in (1, 2, 4)
    ]
    file = written(tmp_path, *rows, "x,2,1,.7,3", head="a,b,epoch,accuracy,latency")
    fidelities = {
        epoch / 4: {
            "accuracy": MetricColumns.of("accuracy", where={"epoch": epoch}),
            "latency": MetricColumns.of("latency"),  # equal in all rows of a candidate
        }
        for epoch in (1, 4)
    }
    evaluator = small(file, fidelities=fidelities)
    assert evaluator(job("y", 1)) == {"accuracy": pytest.approx(0.45), "latency": 2.0}
    assert evaluator(job("y", 1, 0.25)) == {"accuracy": pytest.approx(0.15), "latency": 2.0}
    with pytest.raises(InfeasibleCandidate, match="has no accuracy at fidelity 1"):
        evaluator(job("x", 2))  # stopped after an epoch
    file = written(
        tmp_path, "x,1,acc,90", "x,1,ms,2", "y,1,ms,3", "y,1,acc,80", head="a,b,what,number"
    )
    metrics = {
        "accuracy": MetricColumns.of("number", scale=0.01, where={"what": "acc"}),
        "latency": MetricColumns.of("number", where={"what": "ms"}),
    }
    evaluator = small(file, fidelities={1.0: metrics})
    assert evaluator(job("y", 1)) == {"accuracy": 0.8, "latency": 3.0}


NUMBERS = Space({"a": OneOf("x", "y"), "b": Float(1, 100, log=True)})


def test_the_nearest_row_stands_in_where_declared(tmp_path: Path) -> None:
    file = written(tmp_path, "x,1,.5,1", "x,10,.6,1", "y,100,.7,1", "y,1000,.9,1")
    evaluator = small(file, NUMBERS, nearest=True)
    for a, b, nearest in (("x", 2.0, 1.0), ("x", 4.0, 10.0), ("x", 90.0, 10.0), ("y", 2.0, 100.0)):
        asked = Candidate({"a": a, "b": b})
        assert evaluator.stand_in(asked) == Candidate({"a": a, "b": nearest})
        assert evaluator.look_up(asked) == evaluator.look_up(Candidate({"a": a, "b": nearest}))
    assert evaluator.n_candidates == 3  # 1000 is outside
    with pytest.raises(InputError, match="nearest must be left out where several candidates share"):
        small(file, nearest=True, identify=either)


def test_known_rows_make_a_space(tmp_path: Path) -> None:
    file = written(tmp_path, "x,0.003,.5,1", "y,0.1,.6,1", "x,0.7,.7,1", "x,0.003,.9,1")
    space = Space.from_candidates(pd.read_csv(file)[["a", "b"]])
    evaluator = small(file, space, repeated_rows=True)
    assert space.size == evaluator.n_candidates == 3
    assert [evaluator.look_up(candidate)["accuracy"] for candidate in space] == pytest.approx(
        [0.7, 0.6, 0.7]
    )


class Depth:
    """Knowledge of the user's own."""

    def canonical(self, candidate: Candidate) -> str:
        return candidate.key

    def features(self, candidates: Sequence[Candidate]) -> tuple[()]:
        return ()

    def metrics(self, candidate: Candidate) -> dict[str, float]:
        return {"depth": float(candidate.values["b"])}  # type: ignore[arg-type]  # 1 or 2

    def scores(self, candidate: Candidate) -> dict[str, float]:
        return {}


def test_knowledge_may_be_given(tmp_path: Path) -> None:
    own = Depth()
    evaluator = small(written(tmp_path, "x,1,.5,1"), knowledge=own)
    assert evaluator.capabilities.knowledge is own


def test_a_table_that_no_candidate_matches_is_refused(tmp_path: Path) -> None:
    texts = Space({"a": OneOf("x", "y"), "b": OneOf("1", "2")})
    evaluator = small(written(tmp_path, "x,1,.5,1", "y,2,.5,1"), texts)
    with pytest.raises(InputError, match=r"got no row of any: a row has b=1, a candidate b='1'\.$"):
        evaluator(job("x", 1))
    with pytest.raises(
        InputError, match=r"among listed values .* where 'b' is decided, got any real"
    ):
        small(tmp_path / "small.csv", Space({"a": OneOf("x"), "b": Float(0, 1)}))
    more = {"a": DecisionColumn("a"), "b": DecisionColumn("b"), "bb": DecisionColumn("b")}
    with pytest.raises(
        InputError, match="decisions must be those of the space, no others, got 'bb'"
    ):
        small(tmp_path / "small.csv", decisions=more)


def test_inactive_decisions_have_empty_cells(tmp_path: Path) -> None:
    space = Space({"a": OneOf({"x": "plain", "y": (Integer(1, 3),)})})
    decisions = {"a": DecisionColumn("a"), "a.y.0": DecisionColumn("b")}
    evaluator = small(written(tmp_path, "x,,.5,1", "y,2,.6,2"), space, decisions=decisions)
    assert evaluator.look_up(Candidate({"a": "x"}))["accuracy"] == 0.5
    assert evaluator.look_up(Candidate({"a": "y", "a.y.0": 2}))["accuracy"] == 0.6


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "must be a CSV file, got another or one cut off"),
        ("a.csv", b"\x00\xff\xfe\x80,\x81", "must be a CSV file, got another or one cut off"),
        ("a.csv", b"a,b,accuracy,latency\nx,1,oops,2", "of a.csv must be numbers, got 'oops'"),
        ("a.csv", b"a,b,latency\nx,1,2", r"have the column 'accuracy'\. It has: a, b, latency\.$"),
        ("a.parquet", b"nothing", "must be a parquet file, got another or one cut off"),
    ],
)  # fmt: skip
def test_wrong_table_file_is_an_input_error(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence) as error:
        small(tmp_path / name)(job("x", 1))
    assert "\n" not in str(error.value)


def test_truncated_parquet_file_is_an_input_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": ["x"] * 99, "b": range(99), "accuracy": 0.5, "latency": 1.0})
    frame.to_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="must be a parquet file, got another or one cut off"):
        small(tmp_path / "a.parquet")(job("x", 1))
