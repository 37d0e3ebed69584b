"""What `benchmarks/tables/` takes out of netwright, to see what it adds, is out, and the rest works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_scripts import script

from netwright.automl import open_search
from netwright.automl.export import delivery
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.search_budget import SearchBudget
from netwright.automl.tabular import families
from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import ENSEMBLE

without = script("systems/_without")


@pytest.fixture
def apply(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Switches a part off until the test is over."""

    def switch(name: str) -> None:
        for module, names in (
            (delivery, ("next_step",)),
            (families, ("_for_trees", "_for_forests", "_arithmetic_features")),
            (families.realmlp_and_tabm, ("realmlp", "tabm")),
            (open_search, ("portfolio",)),
        ):
            for one in names:
                monkeypatch.setattr(module, one, getattr(module, one))
        getattr(without, name)()

    return switch


@pytest.fixture(scope="module")
def mixed() -> Task:
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=200), "b": rng.normal(size=200), "c": rng.choice(list("xyz"), 200)}
    return task(x, x["a"] + (x["c"] == "x") + 0.3 * rng.normal(size=200), kind="regression")


def search(found: Task, run: Path, *only: str) -> Any:
    method = Method(families=only or ("lightgbm", "linear"))
    return fit(found, Goal(), SearchBudget(trials=3), method, run=run, executor=InProcess())


def origins(outcome: Any) -> set[str]:
    return {one.proposal.origin for one in outcome.study.trials}


def test_without_averages_the_best_candidate_is_delivered(
    mixed: Task, apply: Callable[[str], None], tmp_path: Path
) -> None:
    apply("no_averages")
    outcome = search(mixed, tmp_path / "run")
    assert outcome.best.proposal.origin != ENSEMBLE
    assert ENSEMBLE not in origins(outcome)


def test_without_a_portfolio_the_strategy_has_the_first_word(
    mixed: Task, apply: Callable[[str], None], tmp_path: Path
) -> None:
    assert "portfolio" in origins(search(mixed, tmp_path / "with"))
    apply("no_portfolio")
    assert "portfolio" not in origins(search(mixed, tmp_path / "without"))


def test_without_features_columns_stay_as_they_are(
    mixed: Task, apply: Callable[[str], None], tmp_path: Path
) -> None:
    def made(run: str) -> set[str]:
        paths = [one.path for one in search(mixed, tmp_path / run).study.space.decisions]
        return {path for path in paths if path.endswith(("crosses", "encode", "pairs"))}

    assert made("with")
    apply("no_features")
    assert not made("without")


def test_with_fixed_networks_nothing_of_them_is_open(
    mixed: Task, apply: Callable[[str], None], tmp_path: Path
) -> None:
    def opened(run: str) -> list[str]:
        space = search(mixed, tmp_path / run, "lightgbm", "realmlp").study.space
        return [one.path for one in space.decisions if "network" in one.path]

    assert opened("with")
    apply("fixed_networks")
    assert not opened("without")
