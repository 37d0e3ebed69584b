"""Runs go on where they were stopped, and end the same."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench_table import frame

from netwright.bench.comparison_folder import default_folder
from netwright.bench.oracle import TableOracle
from netwright.bench.runner import Comparison, compare
from netwright.bench.settings import ComparisonSettings
from netwright.bench.summary import Summary, completed_strategies, curve_grid, summarise
from netwright.errors import InputError, RunError
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.interfaces.strategy import Algorithm, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.random import RandomSearch
from netwright.study.workers.executors import InProcess
from netwright.trials.objective import Objective

ACCURACY, TEST = Objective("accuracy", "max"), Objective("test_accuracy", "max")
SETTINGS = ComparisonSettings((ACCURACY,), (TEST,), evaluations=15)
ALGORITHMS: Mapping[str, Algorithm] = {
    "random": RandomSearch(),
    "evolution": RegularizedEvolution(population=4, tournament_size=2),
}


class Stop(Exception):
    pass


def comparison(table: TableBenchmark, seeds: int = 5) -> Comparison:
    return Comparison(table, ALGORITHMS, SETTINGS, range(seeds))


def read(file: Path) -> pd.DataFrame:
    return pd.read_csv(file).drop(columns="overhead_ms")


def test_runs_file_has_a_row_for_each_evaluation(table: TableBenchmark, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    runs = compare(
        comparison(table), tmp_path / "new", executor=InProcess(),
        on_progress=lambda done, of: heard.append((done, of)),
    )  # fmt: skip
    rows = pd.read_csv(runs.file)
    assert len(rows) == 2 * 5 * 15
    assert (rows.groupby(["strategy", "seed"])["evaluation"].max() == 15).all()
    assert (rows["overhead_ms"] > 0).all()
    assert heard[0] == (0, 10)
    assert heard[-1] == (10, 10)
    assert set(rows["search_accuracy"].round(6)) <= set(table.metric_means("accuracy").round(6))
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"runs.csv", "protocol.json"}
    for candidate, accuracy in zip(rows["candidate"], rows["search_accuracy"], strict=True):
        metrics = table.look_up(Candidate(json.loads(candidate)))
        assert metrics["accuracy"] == pytest.approx(accuracy)


def test_resume_after_any_run_gives_the_same_runs(table: TableBenchmark, tmp_path: Path) -> None:
    whole = read(compare(comparison(table), tmp_path / "whole", executor=InProcess()).file)
    for cut in (1, 4, 9):

        def stop(done: int, of: int, at: int = cut) -> None:
            if done == at:
                raise Stop

        folder = tmp_path / f"cut-{cut}"
        with pytest.raises(Stop):
            compare(comparison(table), folder, executor=InProcess(), on_progress=stop)
        assert len(read(folder / "runs.csv")) == cut * 15
        runs = compare(comparison(table), folder, executor=InProcess())
        pd.testing.assert_frame_equal(read(runs.file), whole)


def test_resume_after_kill_takes_in_finished_runs(table: TableBenchmark, tmp_path: Path) -> None:
    whole = compare(comparison(table), tmp_path, executor=InProcess()).file
    text = whole.read_text()
    head, *lines = text.splitlines(keepends=True)
    (tmp_path / "parts").mkdir()
    # as if killed: some runs only as parts, one of them also taken in already, one torn
    (tmp_path / "parts" / "aa-0.csv").write_text("".join(lines[:15]))
    (tmp_path / "parts" / "aa-1.csv").write_text("".join(lines[15:30]))
    (tmp_path / "parts" / "aa-2.writing").write_text(lines[30][:20])
    whole.write_text(head + "".join(lines[15:30] + lines[45:]))
    heard: list[int] = []
    compare(
        comparison(table), tmp_path, executor=InProcess(), on_progress=lambda d, of: heard.append(d)
    )
    assert heard[0] == 9
    assert read(whole).equals(read_text(tmp_path, text))


def read_text(folder: Path, text: str) -> pd.DataFrame:
    (folder / "before.txt").write_text(text)
    return read(folder / "before.txt")


def test_worker_processes_make_the_same_runs(table: TableBenchmark, tmp_path: Path) -> None:
    here = read(compare(comparison(table, 2), tmp_path / "here", executor=InProcess()).file)
    there = read(compare(comparison(table, 2), tmp_path / "there", workers=2).file)
    pd.testing.assert_frame_equal(here, there)


def test_seeds_and_strategies_may_be_added_later(table: TableBenchmark, tmp_path: Path) -> None:
    compare(comparison(table, 2), tmp_path, executor=InProcess())
    heard: list[int] = []

    def watch(done: int, of: int) -> None:
        heard.append(done)

    compare(comparison(table, 4), tmp_path, executor=InProcess(), on_progress=watch)
    assert heard[0] == 4
    only = Comparison(table, {"random": RandomSearch()}, SETTINGS, range(3))
    heard.clear()
    file = compare(only, tmp_path, executor=InProcess(), on_progress=watch, fresh=True).file
    assert heard[0] == 0
    assert pd.read_csv(file).groupby("strategy")["seed"].nunique().to_dict() == {
        "evolution": 4,
        "random": 3,
    }


def test_other_settings_need_another_folder(table: TableBenchmark, tmp_path: Path) -> None:
    compare(comparison(table, 1), tmp_path, executor=InProcess())
    longer = replace(SETTINGS, evaluations=20)
    with pytest.raises(RunError, match=r"belongs to another comparison: evaluations was 15, is 20"):
        compare(Comparison(table, ALGORITHMS, longer, range(1)), tmp_path, executor=InProcess())
    assert default_folder("t", table, SETTINGS) != default_folder("t", table, longer)
    assert default_folder("t", table, SETTINGS) == default_folder("t", replace(table), SETTINGS)
    other = {**ALGORITHMS, "evolution": RegularizedEvolution(population=3)}
    with pytest.raises(RunError, match="evolution has changed since its runs"):
        compare(Comparison(table, other, SETTINGS, range(1)), tmp_path, executor=InProcess())
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    with pytest.raises(RunError, match="must be a new folder or one of a comparison"):
        compare(comparison(table, 1), foreign, executor=InProcess())


class Fails:
    def __call__(self, problem: Problem) -> Strategy:
        raise ValueError("no such luck")


def test_failing_strategy_does_not_stop_others(table: TableBenchmark, tmp_path: Path) -> None:
    algorithms = {"fails": Fails(), "random": RandomSearch()}
    runs = compare(
        Comparison(table, algorithms, SETTINGS, range(3)), tmp_path, executor=InProcess()
    )
    assert set(runs.failures) == {"fails"}
    assert "no such luck" in runs.failures["fails"]
    assert set(pd.read_csv(runs.file)["strategy"]) == {"random"}


def test_comparison_needs_strategies_and_seeds(table: TableBenchmark) -> None:
    with pytest.raises(InputError, match="seeds must be at least 1, got 0"):
        comparison(table, 0)
    with pytest.raises(InputError, match="strategies must be at least one"):
        Comparison(table, {}, SETTINGS, range(2))


class First:
    """Proposes the candidates in order, from one that its seed decides."""

    def __init__(self, problem: Problem) -> None:
        self.candidates, self.told = list(Space.__iter__(problem.space)), 0

    def ask(self, n: int, rng: np.random.Generator) -> list[object]:
        from netwright.trials.trial import Proposal

        return [Proposal(self.candidates[-1 - self.told // 2 % 27])]

    def tell(self, trial: object) -> None:
        self.told += 1


def summary(table: TableBenchmark, folder: Path, **algorithms: Algorithm) -> Summary:
    whole = Comparison(table, {**ALGORITHMS, **algorithms}, SETTINGS, range(8))
    runs = compare(whole, folder, executor=InProcess())
    return summarise(runs.file, TableOracle(table, SETTINGS), [*whole.algorithms], range(8))


def test_strategies_are_tested_against_the_default_too(
    table: TableBenchmark, tmp_path: Path
) -> None:
    by_name = {
        each.strategy: each
        for each in summary(table, tmp_path, bayesian=First).strategies  # type: ignore[arg-type]
    }
    assert by_name["bayesian"].p_default is None
    p, p_default = by_name["bayesian"].p, by_name["random"].p_default
    assert p is not None
    assert p_default is not None
    assert p + p_default > 0.9  # it cannot be both better and worse
    assert by_name["evolution"].p_default is not None


def test_summary_covers_every_strategy(table: TableBenchmark, tmp_path: Path) -> None:
    summarised = summary(table, tmp_path, first=First)  # type: ignore[arg-type]  # it proposes a list
    assert summarised.reference == "random"
    assert summarised.optimum == pytest.approx(frame()["test"].max())
    by_name = {each.strategy: each for each in summarised.strategies}
    assert by_name["random"].p is None
    assert all(each.p_default is None for each in summarised.strategies)  # it has not run
    first = by_name["first"]
    assert (first.optimum.share, first.optimum.expected, first.optimum.p90) == (1, 1, 1)
    assert first.mean == pytest.approx(0.6)  # the first is best there, whatever comes after
    assert first.regret == pytest.approx(summarised.optimum - 0.6)
    assert (first.low, first.high) == pytest.approx((0.6, 0.6))
    assert [each.regret for each in summarised.strategies] == sorted(
        each.regret for each in summarised.strategies
    )
    random = by_name["random"]
    assert random.low <= random.mean <= random.high
    assert random.matches <= 15
    assert summarised.curves["random"].mean[-1] == pytest.approx(random.mean)
    assert summarised.curves["random"].grid.tolist() == list(range(1, 16))
    assert first.record()["optimum_median"] == 1


def test_run_without_incumbent_gets_the_worst_score(table: TableBenchmark, tmp_path: Path) -> None:
    from netwright.trials.objective import Limit

    settings = replace(SETTINGS, evaluations=3, limits=(Limit("latency", at_most=1.0),))
    whole = Comparison(table, {"random": RandomSearch()}, settings, range(6))
    runs = compare(whole, tmp_path, executor=InProcess())
    summarised = summarise(runs.file, TableOracle(table, settings), ["random"], range(6))
    last = pd.read_csv(runs.file).query("evaluation == 3")["reported"]
    assert last.isna().any()
    assert summarised.strategies[0].mean == pytest.approx(last.fillna(frame()["test"].min()).mean())


def test_clock_grid_is_evenly_spaced() -> None:
    grid = curve_grid(ComparisonSettings((ACCURACY,), (TEST,), clock=1000))
    assert grid[-1] == 1000
    assert np.allclose(np.diff(grid), 5)
    assert curve_grid(replace(SETTINGS, evaluations=2.5)).tolist() == [1, 2, 2.5]


def test_grid_length_follows_spent_evaluations(table: TableBenchmark, tmp_path: Path) -> None:
    long = replace(SETTINGS, evaluations=1e9)  # the table has 27
    runs = compare(Comparison(table, {"random": RandomSearch()}, long, [3]), tmp_path / "a")
    summarised = summarise(runs.file, TableOracle(table, long), ["random"], [3])
    assert summarised.curves["random"].grid.tolist() == [*range(1, 28), 1e9]
    assert curve_grid(long, 2.25).tolist() == [1, 2, 3, 1e9]
    assert curve_grid(SETTINGS, 15).tolist() == curve_grid(SETTINGS).tolist()


def test_changed_source_of_inner_algorithm_is_noticed(
    table: TableBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "inner_of_bench.py"
    base = tmp_path / "base_of_bench.py"
    base.write_text("from netwright import RandomSearch\nclass Plain(RandomSearch):\n    pass\n")
    module.write_text("from base_of_bench import Plain\nclass Mine(Plain):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("inner_of_bench").Mine
    makes = (lambda: ASHA(mine()), lambda: partial(Held, inner=[mine()]), mine)
    for i, make in enumerate(makes):
        for file in (module, base):
            folder = tmp_path / f"{i}-{file.stem}"
            algorithms = {"outer": make(), "random": RandomSearch()}
            settings = Comparison(table, algorithms, SETTINGS, [0])
            compare(settings, folder, executor=InProcess())
            compare(settings, folder, executor=InProcess())
            file.write_text(file.read_text() + "# changed\n")
            with pytest.raises(RunError, match="outer has changed since its runs"):
                compare(settings, folder, executor=InProcess())


class Held:
    """Made with others inside."""

    def __new__(cls, problem: Problem, inner: list[Algorithm]) -> Strategy:  # type: ignore[misc]
        return inner[0](problem)


def test_invalid_comparisons_are_refused(table: TableBenchmark, tmp_path: Path) -> None:
    random: Mapping[str, Any] = {"random": RandomSearch()}
    for algorithms, seeds, sentence in (
        ({"a": "evolution"}, [0], "strategy must be an object with ask and tell, .* got str"),
        (["evolution"], [0], "strategies must be a mapping of names to algorithms, got list"),
        ({"a,b": RandomSearch()}, [0], "a strategy's name must be a text without commas"),
        ({3: RandomSearch()}, [0], "a strategy's name must be a text without commas"),
        (random, [0, 1, 0], "seeds must be different ones, got 0"),
        (random, [-1], "seeds must be whole numbers of at least 0, got -1"),
        (random, range(10**20), "seeds must be at most 10,000, got more"),
        (random, 5, "seeds must be a list or range of whole numbers, got 5"),
    ):
        with pytest.raises(InputError, match=sentence):
            Comparison(table, algorithms, SETTINGS, seeds)  # type: ignore[arg-type]
    a_class = Comparison(table, {"evolution": RegularizedEvolution}, SETTINGS, np.arange(2))  # type: ignore[dict-item,arg-type]
    runs = compare(a_class, str(tmp_path / "a"), executor=InProcess())
    assert not runs.failures
    oracle = TableOracle(table, SETTINGS)
    assert summarise(str(runs.file), oracle, ["evolution"], [0, 1]).strategies[0].seeds == 2
    for names, seeds, sentence in (
        (["evolution"], [0, 7], "got none of evolution with seed 7"),
        (["other"], [0], "got none of other with seed 0"),
        ([], [0], "a summary must be of at least one strategy and seed"),
    ):
        with pytest.raises(InputError, match=sentence):
            summarise(runs.file, oracle, names, seeds)
    with pytest.raises(InputError, match=r"file must be the runs\.csv of a comparison"):
        summarise(tmp_path / "none.csv", oracle, ["evolution"], [0])


def test_multi_fidelity_strategy_needs_several_fidelities(
    table: TableBenchmark, tmp_path: Path
) -> None:
    algorithms = {"asha": ASHA(), "random": RandomSearch()}
    for settings, reason in (
        (replace(SETTINGS, search=(TEST,)), "there is one with test_accuracy in table.csv"),
        (replace(SETTINGS, fidelity=1.0), "all evaluations are made at one"),
    ):
        folder = tmp_path / str(settings.fidelity)
        runs = compare(Comparison(table, algorithms, settings, [0]), folder, executor=InProcess())
        assert runs.failures == {"asha": f"it tries candidates at several fidelities, and {reason}"}
        assert completed_strategies(runs.file, [0]) == ["random"]


def test_completed_strategies_have_every_seed(table: TableBenchmark, tmp_path: Path) -> None:
    compare(comparison(table, 2), tmp_path, executor=InProcess())
    third = Comparison(table, {"third": RandomSearch()}, SETTINGS, range(3))
    file = compare(third, tmp_path, executor=InProcess()).file
    assert completed_strategies(file, range(2)) == ["evolution", "random", "third"]
    assert completed_strategies(file, range(3)) == ["third"]


@pytest.mark.parametrize("name", ["runs.csv", "protocol.json"])
@pytest.mark.parametrize("text", ["", "[]", "random,1", "\xff", '{"table": 3}'])
def test_damaged_comparison_is_refused(
    name: str, text: str, table: TableBenchmark, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    compare(comparison(table, 1), run, executor=InProcess())
    head = "strategy,seed\n" if name == "runs.csv" and text else ""
    (run / name).write_bytes(head.encode() + text.encode("latin-1"))
    with pytest.raises(RunError, match=rf"run/{name} must be"):
        compare(comparison(table, 1), run, executor=InProcess())


@pytest.mark.parametrize("name", ["runs.csv", "protocol.json", "parts"])
def test_links_in_a_comparison_folder_are_not_followed(
    name: str, table: TableBenchmark, tmp_path: Path
) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text("kept")
    (outside / "b.writing").write_text("kept")
    compare(comparison(table, 1), run, executor=InProcess())
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside if name == "parts" else outside / "a.csv")
    with pytest.raises(RunError, match=rf"run/{name} must be a (file|folder), got a link"):
        compare(comparison(table, 1), run, executor=InProcess())
    assert [path.read_text() for path in outside.iterdir()] == ["kept", "kept"]


def test_damaged_run_is_repeated(table: TableBenchmark, tmp_path: Path) -> None:
    compare(comparison(table, 2), tmp_path / "whole", executor=InProcess())
    compare(comparison(table, 1), tmp_path / "run", executor=InProcess())
    parts = tmp_path / "run" / "parts"
    parts.mkdir()
    (parts / "a.csv").write_text("random,1,x\n")
    (parts / "b.csv").symlink_to(tmp_path / "whole" / "runs.csv")
    runs = compare(comparison(table, 2), tmp_path / "run", executor=InProcess())
    assert read(runs.file).equals(read(tmp_path / "whole" / "runs.csv"))
