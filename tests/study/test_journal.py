"""Whose folders stay: a function of the log, so that children find their parents after a kill too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from study_tools import Heirs

import netwright.study.loop as module
from netwright.errors import RunError
from netwright.interfaces.evaluator import Capabilities
from netwright.interfaces.strategy import RNG, Problem
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.evolution.genetic import Genetic
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.oneshot import OneShot
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Proposal, Status, Trial


class Anyone:
    """Proposes children of trials that are long over, and does not say which."""

    def __init__(self, problem: Problem) -> None:
        self.space = problem.space
        self.done: list[Trial] = []

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        if len(self.done) < 5:
            return [Proposal(self.space.sample(rng))]
        parent = self.done[int(rng.integers(len(self.done)))]
        return [Proposal(self.space.mutate(parent.candidate, rng), parents=(parent.id,))]

    def tell(self, trial: Trial) -> None:
        if trial.status is Status.DONE:
            self.done.append(trial)


LOSS = Objective("loss", "min")


def make_study(
    space: Space[Any], run: Path, keeps: int, strategy: Any, **options: Any
) -> Study[Any]:
    return Study(
        space, Heirs(keeps), strategy=strategy, objectives=[LOSS], run=run, executor=InProcess(),
        **options,
    )  # fmt: skip


def record(study: Study[Any]) -> list[Any]:
    return [(t.id, t.proposal, t.seed, t.status, t.metrics, t.error) for t in study.trials]


def kept(run: Path) -> set[int]:
    return {int(folder.name) for folder in (run / "trials").iterdir()}


class Shortlisted(Heirs):
    """Prefers some candidates by weights that it does not share in earnest."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, make_supernet_search=self._shortlist)

    def _shortlist(self, *_: Any) -> Any:
        listed = [Candidate({"x": x, "y": 0}) for x in (90, 30, 5)]
        return SimpleNamespace(
            is_over=True, trusted=True, held={"y": "it is no part"}, shortfall="",
            candidates=lambda number: listed[:number],
        )  # fmt: skip


def test_children_after_a_supernet_find_their_parents(space: Space[Any], tmp_path: Path) -> None:
    """Those who go on from the shortlist breed from trials that are neither new nor the best."""
    strategy = OneShot("any", n_candidates=3, then=RegularizedEvolution(12, 2))
    study = Study(
        space, Shortlisted(1), strategy=strategy, objectives=[LOSS], run=tmp_path,
        executor=InProcess(),
    ).run(trials=60)  # fmt: skip
    children = [trial for trial in study.trials if trial.proposal.parents]
    assert len(children) > 40
    assert all(trial.metrics["inherited"] for trial in children)


@pytest.mark.parametrize("strategy", [RegularizedEvolution(6, 2), Genetic(6)], ids=str)
def test_every_child_finds_its_parent_where_folders_are_kept(
    space: Space[Any], tmp_path: Path, strategy: Any
) -> None:
    study = make_study(space, tmp_path / "kept", 3, strategy).run(trials=60)
    children = [trial for trial in study.trials if trial.proposal.parents]
    assert len(children) > 40
    assert all(trial.metrics["inherited"] for trial in children)
    none = make_study(space, tmp_path / "not", 0, strategy).run(trials=60)
    found = [trial.metrics["inherited"] for trial in none.trials if trial.proposal.parents]
    assert 0 < np.mean(found) < 1  # those of the best are there as ever


def test_front_best_and_potential_parents_keep_their_folders(
    space: Space[Any], tmp_path: Path
) -> None:
    study = make_study(space, tmp_path, 4, RegularizedEvolution(5, 2)).run(trials=40)
    ranked = sorted(study.trials, key=lambda trial: trial.metrics["loss"])
    best, latest = {t.id for t in ranked[:4]}, {36, 37, 38, 39, 40}
    assert kept(tmp_path) == best | latest
    assert best - latest


def test_kept_trials_rank_by_fidelity_limits_and_loss(space: Space[Any], tmp_path: Path) -> None:
    class Some:
        def __init__(self, problem: Problem) -> None:
            self.count = 0

        def ask(self, n: int, rng: RNG) -> list[Proposal]:
            # all are alike but for their loss; every other is half done
            return [Proposal(space.sample(rng), 0.5 if self.count % 2 else 1.0)]

        def tell(self, trial: Trial) -> None:
            self.count += trial.status is Status.DONE

    limits = [Limit("loss", at_least=1000.0)]
    study = make_study(space, tmp_path, 3, Some, limits=limits).run(trials=30)
    able = [t for t in study.trials if t.proposal.fidelity == 1 and t.metrics["loss"] >= 1000]
    ranked = sorted(able, key=lambda trial: trial.metrics["loss"])
    assert {trial.id for trial in ranked[:3]} <= kept(tmp_path)
    leader = min(
        (t for t in study.trials if t.proposal.fidelity == 1), key=lambda t: t.metrics["loss"]
    )
    assert kept(tmp_path) == {trial.id for trial in ranked[:3]} | {leader.id}


def test_resumed_study_inherits_like_uninterrupted_study(space: Space[Any], tmp_path: Path) -> None:
    whole = make_study(space, tmp_path / "whole", 3, Anyone).run(trials=60)
    found = [trial.metrics["inherited"] for trial in whole.trials if trial.proposal.parents]
    assert 0 < np.mean(found) < 1  # some parents are gone
    for trials in (7, 8, 20, 33, 60):
        pieces = make_study(space, tmp_path / "pieces", 3, Anyone).run(trials=trials)
    assert record(pieces) == record(whole)
    assert kept(tmp_path / "pieces") == kept(tmp_path / "whole")


class Second(Anyone):
    """Proposes children of the second best, whose folder was emptied a moment ago."""

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        if len(self.done) < 5:
            return [Proposal(self.space.sample(rng))]
        parent = sorted(self.done, key=lambda trial: trial.metrics["loss"])[1]
        return [Proposal(self.space.mutate(parent.candidate, rng), parents=(parent.id,))]


def test_folders_left_by_a_kill_are_ignored(
    space: Space[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a trial was recorded, and what it made needless was not emptied yet."""
    whole = make_study(space, tmp_path / "whole", 1, Second).run(trials=20)
    empty, left = module.empty_trial_folder, 0

    def kill(folder: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise SystemExit
        empty(folder)

    for moment in range(5, 15):
        killed, left = tmp_path / f"killed {moment}", moment
        monkeypatch.setattr(module, "empty_trial_folder", kill)
        with pytest.raises(SystemExit):
            make_study(space, killed, 1, Second).run(trials=20)
        assert record(make_study(space, killed, 1, Second).run(trials=20)) == record(whole)


def test_a_folder_of_another_inheritance_is_refused(space: Space[Any], tmp_path: Path) -> None:
    evaluators = [Heirs(2, settings={"inherit": share}) for share in ("0.3", "0.5")]
    settings: dict[str, Any] = {"objectives": [LOSS], "run": tmp_path, "executor": InProcess()}
    Study(space, evaluators[0], **settings).run(trials=3)
    with pytest.raises(RunError, match=r"inherit was 0\.3, is 0\.5"):
        Study(space, evaluators[1], **settings)
    Study(space, evaluators[0], **settings).run(trials=4)
