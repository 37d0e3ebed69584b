"""Each peer that is installed, over spaces of every kind of decision."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netwright.bench.peers import PEERS, missing_packages, peer
from netwright.bench.runner import Comparison, compare
from netwright.bench.settings import ComparisonSettings
from netwright.errors import InputError, MissingExtra
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.interfaces.strategy import Problem
from netwright.space.choices import Float, Integer, OneOf, Repeat, SubsetOf
from netwright.space.space import Space
from netwright.study.workers.executors import InProcess
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Status, Trial

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
LOSS, COST = Objective("loss", "min"), Objective("cost", "min")
FLAT = Space({
    "kind": OneOf("a", "b", "c"), "n": Integer(1, 4), "rate": Float(0.001, 1.0, log=True),
    "x": Float(-1.0, 1.0), "some": SubsetOf("p", "q"), "one": OneOf("only"), "fixed": Integer(3, 3),
})  # fmt: skip
NESTED = Space({
    "kind": OneOf({"small": (Integer(1, 4),), "large": (Float(0.1, 10.0, log=True), OneOf(1, 2))}),
    "layers": Repeat(OneOf("a", "b", "c"), times=Integer(0, 3)),
})  # fmt: skip


@pytest.fixture(params=[*PEERS])
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(PEERS[request.param].package)
    return str(request.param)


def search(name: str, problem: Problem, trials: int, seed: int = 0) -> list[Trial]:
    strategy = peer(name, trials)(problem)
    done = []
    for trial_id in range(1, trials + 1):
        (proposal,) = strategy.ask(1, np.random.default_rng([seed, trial_id]))
        problem.space.check(proposal.candidate)
        strategy.tell(Trial(trial_id, proposal, 0))
        status = Status.INFEASIBLE if trial_id in (1, 7) else Status.DONE
        values = proposal.candidate.values
        metrics = {"loss": len(values) + values.get("x", 0.0), "cost": -float(values.get("n", 1))}
        done.append(Trial(trial_id, proposal, 0, status, metrics if status is Status.DONE else {}))
        strategy.tell(done[-1])
    return done


@pytest.mark.parametrize("objectives", [(LOSS,), (LOSS, COST)])
def test_peers_propose_legal_candidates_reproducibly(
    name: str, objectives: tuple[Objective, ...]
) -> None:
    problem = Problem(FLAT, objectives)
    first, second = search(name, problem, 16), search(name, problem, 16)
    assert [t.candidate for t in first] == [t.candidate for t in second]
    assert [t.candidate for t in first] != [t.candidate for t in search(name, problem, 16, seed=1)]


def test_conditional_decisions_are_expressed_or_refused(name: str) -> None:
    if PEERS[name].conditional:
        sizes = {len(t.candidate.values) for t in search(name, Problem(NESTED, (LOSS,)), 16)}
        assert len(sizes) > 1
    else:
        with pytest.raises(InputError, match=f"the space of {name} must be without conditional"):
            peer(name, 10)(Problem(NESTED, (LOSS,)))


def test_limits_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"must be without limits, got 'cost<=1'"):
        peer(name, 10)(Problem(FLAT, (LOSS,), (Limit("cost", at_most=1),)))


def test_peers_run_in_a_comparison(name: str, table: TableBenchmark, tmp_path: Path) -> None:
    accuracy = Objective("accuracy", "max")
    terms = ComparisonSettings((accuracy,), (accuracy,), evaluations=12)
    algorithm = peer(name, 12)
    runs = compare(
        Comparison(table, {name: algorithm}, terms, range(2)), tmp_path, executor=InProcess()
    )
    assert runs.failures == {}
    assert len(pd.read_csv(runs.file)) == 24


@pytest.mark.parametrize("name", [name for name in PEERS if name != "optuna-random"], indirect=True)
def test_peers_learn_from_losses(name: str) -> None:
    """Candidates get nearer to the best than random draws, whose mean distance is .34 +- .03.

    Numbers, not categories: SMAC's proposals among categories depend on the hash of texts, which
    changes with every process.
    """
    space = Space(tuple(Float(0.0, 1.0) for _ in range(4)))
    trials = {"pymoo-ga": 400, "optuna-nsga2": 200, "nevergrad-1plus1": 150}.get(name, 50)
    strategy = peer(name, trials)(Problem(space, (LOSS,)))
    distances: list[float] = []
    for trial_id in range(1, trials + 1):
        (proposal,) = strategy.ask(1, np.random.default_rng(trial_id))
        values = proposal.candidate.values.values()
        distances.append(float(np.mean([abs(float(x) - 0.8) for x in values])))
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, {"loss": distances[-1]}))
    assert np.mean(distances[-15:]) < 0.26


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "smac", None)
    with pytest.raises(MissingExtra, match=r"pip install 'netwright\[peers\]'"):
        peer("smac", 10)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pymoo" else name)
    assert missing_packages() == ["pymoo"]
