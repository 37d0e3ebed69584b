"""`netwright bench` as a user meets it."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from test_cli import Said

MODULE = """
from pathlib import Path
import netwright as nw

SPACE = nw.Space({"a": nw.OneOf(0, 1, 2), "b": nw.OneOf(0, 1, 2), "c": nw.OneOf(0, 1, 2)})
FULL = {
    "accuracy": nw.MetricColumns.of("valid"), "test_accuracy": nw.MetricColumns.of("test"),
    "latency": nw.MetricColumns.of("ms"), "train_seconds": nw.MetricColumns.of("seconds"),
    "loss": nw.MetricColumns.of("loss"),
}

def table():
    decisions = {name: nw.DecisionColumn(name) for name in "abc"}
    file = str(Path(__file__).with_name("t.csv"))
    return nw.TableBenchmark(SPACE, file, decisions, {1.0: FULL})

def needs(x): ...

class Broken:
    def __init__(self, problem):
        raise ValueError("broken by design")

    def ask(self, n, rng): ...

    def tell(self, trial): ...
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bench")
    (place / "mine_for_bench.py").write_text(MODULE)
    rows = [
        {"a": a, "b": b, "c": c, "valid": 0.5 + 0.1 * a + 0.05 * b + 0.02 * c,
         "test": 0.49 + 0.1 * a + 0.05 * b + 0.02 * c, "ms": 1.0 + a, "seconds": 10.0, "loss": 2.0 - a}
        for a, b, c in product(range(3), repeat=3)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(place / "t.csv", index=False)
    return place


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


LINE = (
    "bench", "mine_for_bench:table", "--strategies", "random,evolution", "--evaluations", "10",
    "--seeds", "4", "--workers", "1",
)  # fmt: skip


def test_bench_output_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, *LINE, "--run", "told")
    assert (said.code, said.err) == (0, "")
    assert "27 candidates" in said.out
    assert "searched  accuracy (mean of repeated trainings)" in said.out
    assert "the best in the table has .8300" in " ".join(said.out.split())
    assert "10 evaluations per strategy and seed, 4 seeds" in said.out
    assert "test_accuracy after 10 evaluations, mean of 4 seeds" in said.out
    assert "Holm-corrected" in said.out
    assert "(ERT)" in said.out
    for name in ("random", "evolution"):
        assert sum(line.startswith(name) for line in said.out.splitlines()) == 2
    assert max(map(len, said.out.splitlines())) < 80
    assert len(pd.read_csv("told/runs.csv")) == 2 * 4 * 10
    assert set(pd.read_csv("told/summary.csv")["strategy"]) == {"random", "evolution"}
    assert len(pd.read_csv("told/curves.csv")) == 2 * 10


def test_bench_json_is_one_object_and_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    first = json.loads(Said(capsys, *LINE, "--json").out)
    runs = Path(first["folder"]) / "runs.csv"
    assert first["folder"].startswith("bench/mine_for_bench-table-")
    before = runs.read_text()
    said = Said(capsys, *LINE, "--json")
    assert (said.out.count("\n"), said.err) == (1, "")
    assert json.loads(said.out) == first
    assert runs.read_text() == before  # nothing was run again: measured overheads are the same
    assert first["optimum"] == pytest.approx(0.83)
    assert {one["strategy"] for one in first["strategies"]} == {"random", "evolution"}
    assert all(one["seeds"] == 4 for one in first["strategies"])


def test_several_metrics_a_clock_and_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    several = Said(
        capsys, *LINE, "--search", "accuracy", "--search", "latency", "--reference", "latency=3.5"
    )
    words = " ".join(several.out.split())
    assert "share of the table's hypervolume of test_accuracy x latency" in words
    assert "reference point test_accuracy .5000, latency 3.5" in words
    clock = ("--seeds", "2", "--clock", "55", "--limit", "latency<=2", "--json")
    timed = Said(capsys, *LINE[:2], *clock)
    found = json.loads(timed.out)
    assert (found["clock"], found["evaluations"], found["limits"]) == (55, None, ["latency<=2"])
    assert all(one["evaluations"] == 5 for one in found["strategies"])
    assert found["optimum"] == pytest.approx(0.73)


def test_failing_own_strategy_costs_only_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Said(capsys, *LINE, "--strategies", "random,mine_for_bench:Broken", "--run", "broken")
    assert said.code == 0
    assert "mine_for_bench:Broken failed and is left out: ValueError: broken by design" in said.err
    assert said.out.count("\nrandom") == 2
    alone = Said(capsys, *LINE, "--strategies", "mine_for_bench:Broken", "--run", "broken")
    assert alone.code == 2
    assert "no strategy finished" in alone.err


TWO = ("--search", "accuracy", "--search", "latency")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--strategies", "evolutoin"], "got 'evolutoin'. Did you mean 'evolution'?"),
        (["--until-found", "--repetition", "one"], "got 1 with repetition one. Leave it out."),
        (["--strategies", "random,random"], "strategies must be different ones, got 'random'."),
        (["--strategies", ","], "strategies must be at least one, got []."),
        (["--strategies", ""], "strategies must be at least one, got []."),
        (["--seeds", "99999999999999999999"], "seeds must be at most 10,000, got more."),
        (["--evaluations", "nan"], "evaluations must be above 0, got nan."),
        (["--search", "accuracy", "--search", "accuracy"], "search must be different metrics"),
        ([*TWO, "--reference", "latency=nan"], "reference of latency must be a finite number"),
        ([*TWO, "--reference", "latency=inf"], "reference of latency must be a finite number"),
        ([*TWO, "--reference", "latency=0"], "worse than some candidate of the table, got {"),
        (["--limit", "loss<=x"], "limit must be METRIC<=NUMBER or METRIC>=NUMBER, got 'loss<=x'"),
        (["--limit", "lost<=1"], "got 'lost'"),
        (
            ["--strategies", "darts"],
            "darts cannot run here: it trains networks of shared weights, and a table has none to",
        ),
        (
            ["--strategies", "asha,dehb"],
            "asha cannot run here: it tries candidates at several fidelities, and there is one "
            "with accuracy in t.csv.",
        ),
        (["--strategies", "none"], "none cannot run here: it proposes no candidates of its own."),
        (["--seeds", "0"], "seeds must be at least 1, got 0."),
        (["--evaluations", "0"], "evaluations must be above 0, got 0.0."),
        (["--workers", "-1"], "workers must be at least 0, got -1."),
        (["--search", "acuracy"], "got 'acuracy'. Did you mean 'accuracy'?"),
        (["--search", "size"], "search must be a metric of t.csv, got 'size'."),
        (["--report", "auc"], "report must be a metric of t.csv, got 'auc'."),
        (["--task", "cifar10"], "--task must be left out for this table, got 'cifar10'."),
        (["--repetition", "two"], "repetition must be mean or one, got 'two'."),
        (["--fidelity", "2"], "fidelity must be in (0, 1], got 2.0."),
        (["--reference", "latency"], "reference must be METRIC=NUMBER, got 'latency'."),
        (["--limit", "latency"], "limit must be METRIC<=NUMBER"),
        (["--limit", "latency<=0.5"], "limits must leave a candidate of the table"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    said = Said(capsys, "bench", "mine_for_bench:table", *options)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("none.parquet", "table must be a file that exists, got 'none.parquet'."),
        ("none.tfrecord", "table must be a file that exists, got 'none.tfrecord'."),
        ("digit", "Did you mean 'digits'?"),
        ("mine_for_bench:SPACE", "table must be a TableBenchmark"),
        ("mine_for_bench:nothing", "cannot be imported"),
        (
            "mine_for_bench:needs",
            "function without arguments that returns one, got mine_for_bench:needs(x).",
        ),
    ],
)
def test_a_wrong_table_is_one_sentence(
    capsys: pytest.CaptureFixture[str], table: str, sentence: str
) -> None:
    said = Said(capsys, "bench", table)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_an_unknown_task_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.parquet").touch()
    said = Said(capsys, "bench", "t.parquet", "--task", "cifar1000")
    assert said.code == 2
    assert "got 'cifar1000'. Did you mean 'cifar100'?" in said.err


def test_missing_matplotlib_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = Said(capsys, *LINE, "--run", "drawn")
    assert said.code == 0
    assert "pip install 'netwright[plots]'" in said.out.replace("\n", " ")
    assert not Path("drawn/bench.svg").exists()
    monkeypatch.undo()


def test_missing_peers_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from netwright.cli import bench

    packages = ["optuna", "smac", "nevergrad", "pymoo"]
    monkeypatch.setattr(bench, "missing_packages", lambda: packages)
    said = Said(capsys, *LINE, "--peers", "--run", "told")
    assert said.code == 0
    for package in packages:
        assert f"pip install {package}" in said.err


def test_limit_on_an_unknown_table_metric(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(Said(capsys, *LINE, "--limit", "loss>=1", "--json").out)
    assert (found["limits"], found["optimum"]) == (["loss>=1"], pytest.approx(0.73))


def test_all_strategies_of_a_folder_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    one = [*LINE, "--run", "joined", "--strategies"]
    alone = Said(capsys, *one, "evolution").out
    assert "p-value for being better than" not in alone
    assert Said(capsys, *one, "random", "--seeds", "6").code == 0
    joined = Said(capsys, *one, "tpe").out
    assert "p: one-sided Wilcoxon signed-rank test of being better than random" in joined
    for name in ("random", "evolution", "tpe"):
        assert sum(line.startswith(name) for line in joined.splitlines()) == 2
    for file in ("summary.csv", "curves.csv"):
        assert set(pd.read_csv(f"joined/{file}")["strategy"]) == {"random", "evolution", "tpe"}
    more = Said(capsys, *one, "tpe", "--seeds", "6").out  # evolution has four seeds only
    assert not any(line.startswith("evolution") for line in more.splitlines())


LONG = "a_module_with_a_long_name"


def test_long_names_stay_different(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    twins = (
        "class {0}:\n    def __new__(cls, problem):\n        return nw.RandomSearch()(problem)\n"
    )
    names = ["ClimberOfTheFirstKind", "ClimberOfTheSecondKind"]
    text = "import netwright as nw\n" + "".join(map(twins.format, names))
    (folder / f"{LONG}.py").write_text(text)
    strategies = ",".join(f"{LONG}:{name}" for name in names)
    said = Said(capsys, *LINE, "--strategies", strategies, "--run", "long")
    assert said.code == 0
    lines = [line for line in said.out.splitlines() if line.startswith("a_module")]
    assert len({line.split()[0] for line in lines[:2]}) == 2
    assert len(lines) == 4
    assert max(map(len, said.out.splitlines())) < 80
    heads = [line for line in said.out.splitlines() if line.startswith("strategy")]
    assert [head.split()[-1] for head in heads] == ["ms", "repeated"]


def test_long_names_are_shortened_in_the_middle() -> None:
    from netwright.cli.bench_terminal import shorten_middle

    assert shorten_middle("evolution", 9) == "evolution"
    assert shorten_middle("halving+evolution", 12) == "halvi..ution"
    assert {len(shorten_middle("x" * 40, width)) for width in (8, 9)} == {8, 9}


def test_rows_are_counted_where_the_space_has_others(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    rows = pd.read_csv(folder / "t.csv").query("a + b < 4")
    rows.to_csv(folder / "less.csv", index=False)
    (folder / "less_for_bench.py").write_text(MODULE.replace("t.csv", "less.csv"))
    said = Said(capsys, "bench", "less_for_bench:table", *LINE[2:], "--run", "less")
    assert "less_for_bench:table: 24 rows for at most 27 candidates" in said.out
