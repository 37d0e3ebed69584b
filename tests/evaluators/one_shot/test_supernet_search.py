"""A supernet trained on a task: what it leaves, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import math
import pickle
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from netwright.data.task import Task
from netwright.errors import InputError, SpaceError
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.one_shot.single_path_search import SinglePathSearch, SubnetSearch
from netwright.evaluators.one_shot.supernet_search import SupernetSearch
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.evaluators.wrappers import cached, combine
from netwright.interfaces.evaluator import capabilities_of
from netwright.interfaces.preparation import Preparation, Shortlist
from netwright.interfaces.strategy import Problem
from netwright.networks.layers.basic import Dropout, GlobalPool, Pool, Skip
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.augmentation.geometry import Flip
from netwright.networks.training.recipe import Training
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.settings import (
    ArchitectureTraining,
    DifferentiableNAS,
    WeightTraining,
)
from netwright.oneshot.safeguards import NO_SAFEGUARDS, SupernetSafeguards
from netwright.oneshot.single_path.samplers import PolicySampler, SandwichSampler
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.oneshot.single_path.training import SampledPathTraining
from netwright.pipelines.pipeline import TablePipeline
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, OneOf
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.strategies.reinforcement.policy_gradient import Reinforce
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Proposal

NET = (
    Conv(6),
    OneOf({"conv": Conv(), "pool": Pool(), "skip": Skip()}),
    GlobalPool("max"),
    Linear(),
)
SPACE = Space(Training(NET, lr=Float(1e-3, 1e-1), batch_size=OneOf(8, 16), augment=(Flip(),)))
METHOD = DifferentiableNAS(
    DARTS(), 6, 16, weight_training=WeightTraining(lr=0.1),
    architecture_training=ArchitectureTraining(lr=0.05),
    safeguards=NO_SAFEGUARDS,
)  # fmt: skip


def search(task: Task, folder: Path, space: Space[Any] = SPACE, **more: Any) -> SupernetSearch:
    return SupernetSearch(space, task, more.pop("method", METHOD), folder, **more)


def job(folder: Path, **more: Any) -> Job:
    return Job(Proposal(Candidate({})), 0, folder, **more)


def test_gradient_search_reports_candidates_and_held_decisions(
    image_task: Task, tmp_path: Path
) -> None:
    found: Shortlist = search(image_task, tmp_path)
    assert set(found.held) == {"lr", "batch_size"}
    assert not found.is_over
    metrics = found(job(tmp_path))
    assert set(metrics) == set(found.metrics)
    assert metrics["supernet_epochs"] == 6
    assert metrics["supernet_loss"] < 1.0  # three classes: 1.1 by chance
    assert found.is_over
    candidates = found.candidates(3)
    assert len(candidates) == 3 == len({*candidates})
    assert all(SPACE.contains(one) for one in candidates)
    assert any("held at their defaults, and searched from here on: lr" in s for s in found.report())
    assert found.shortfall == ""
    assert "loss" in found.progress() or "discretizing" in found.progress()
    assert [*search(image_task, tmp_path).candidates(3)] == candidates  # another process reads it
    kept = json.loads((tmp_path / "shortlist.json").read_text())
    assert len(kept["record"]) == 6


def test_killed_gradient_search_resumes_to_the_same_candidates(
    image_task: Task, tmp_path: Path
) -> None:
    straight = search(image_task, tmp_path / "a")
    straight(job(tmp_path / "a"))
    for epoch in (1, 3, 4):  # killed three times, between epochs and in the middle of one
        search(image_task, tmp_path / "b")._make_gradient_search(METHOD).train_to(epoch)
    last = search(image_task, tmp_path / "b")
    last(job(tmp_path / "b"))
    one, other = (json.loads((tmp_path / x / "shortlist.json").read_text()) for x in "ab")
    assert one == other
    other_seed = search(image_task, tmp_path / "c", seed=1)
    other_seed(job(tmp_path / "c"))
    assert json.loads((tmp_path / "c" / "shortlist.json").read_text())["record"] != one["record"]


def test_supernet_search_ends_before_its_deadline(image_task: Task, tmp_path: Path) -> None:
    slow = search(image_task, tmp_path, method=replace(METHOD, epochs=1_000_000))
    begun = time.monotonic()
    slow(job(tmp_path, deadline=begun + 3))
    assert time.monotonic() - begun < 3.5
    assert slow.is_over
    assert slow.candidates(1)
    assert re.fullmatch(r"the supernet was trained for \d+ of 1000000 epochs: .*", slow.shortfall)


def test_search_given_up_early_reports_the_reason(image_task: Task, tmp_path: Path) -> None:
    found = search(image_task, tmp_path)
    found.give_up("took more memory than 2 MB")
    assert found.is_over
    assert found.candidates(3) == []
    assert not found.trusted
    assert found.report() == ["the supernet came to nothing: took more memory than 2 MB"]
    assert found.shortfall == found.report()[0]


def test_search_given_up_after_epochs_keeps_its_candidates(
    image_task: Task, tmp_path: Path
) -> None:
    found = search(image_task, tmp_path)
    found._make_gradient_search(METHOD).train_to(2)
    found.give_up("took longer than 9 s")
    sentence = "the supernet did not finish, and ended after 2 epochs: took longer than 9 s"
    assert found.report()[0] == found.shortfall == sentence
    assert len(found.candidates(9)) == 3
    assert not found.trusted


def test_wrapped_evaluators_pass_knowledge_on(image_task: Task, tmp_path: Path) -> None:
    training = TrainAndValidate(SPACE, image_task)
    wrapped = combine(NetworkCosts(SPACE, image_task), training)
    make: Any = capabilities_of(wrapped).make_supernet_search
    found = make(METHOD, tmp_path, 3, lambda *_: None, (), ())
    assert isinstance(found, SupernetSearch)
    assert found.seed == 3
    assert wrapped.metrics  # still an evaluator
    assert capabilities_of(cached(NetworkCosts(SPACE, image_task))).make_supernet_search is None
    prepared: Preparation = pickle.loads(cloudpickle.dumps(found))
    assert prepared.metrics == found.metrics


def test_numbers_and_tables_are_searched_as_well(number_task: Task, tmp_path: Path) -> None:
    network = (
        OneOf({"none": (), "wide": Linear(16, activation="relu")}),
        Dropout(Float(0.0, 0.2)), Linear(),
    )  # fmt: skip
    from netwright.networks.tabular.columns import Columns, OneHot

    space = Space(TablePipeline(Training((Columns(Skip(), OneHot()), *network))))
    with pytest.raises(SpaceError, match="open in a choice that can be mixed"):
        search(number_task, tmp_path, space)  # one of the options changes the shape
    layer = OneOf({"relu": Linear(16, activation="relu"), "tanh": Linear(16, activation="tanh")})
    space = Space(TablePipeline(Training((Columns(Skip(), OneHot()), layer, Linear()))))
    found = search(number_task, tmp_path, space)
    found(job(tmp_path))
    assert len(found.candidates(9)) == 2


def test_unsearchable_space_or_method_is_refused(image_task: Task, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"description must be a Training, or a pipeline around one"
    ):
        search(image_task, tmp_path, Space({"network": NET}))
    assert search(image_task, tmp_path, method=DARTS()).settings == DifferentiableNAS(DARTS())
    with pytest.raises(
        InputError, match=r"method must be the settings of a one-shot search, .* got 3"
    ):
        search(image_task, tmp_path, method=3)
    only_numbers = Space(Training((Conv(4), GlobalPool(), Linear()), lr=Float(0.1, 1)))
    with pytest.raises(SpaceError, match="open in a choice that can be mixed"):
        search(image_task, tmp_path, only_numbers)


PATHS = SinglePathNAS(
    SampledPathTraining(epochs=6, batch_size=16, lr=0.1),
    evaluations=12,
    safeguards=SupernetSafeguards(n_ranking_networks=4, ranking_epochs=1),
)
WIDE = Space(
    Training(
        (Conv(OneOf(4, 8)), OneOf({"conv": Conv(), "pool": Pool()}), GlobalPool("max"), Linear()),
        lr=Float(1e-3, 1e-1),
    )
)


def by_paths(task: Task, folder: Path, method: Any = PATHS, **more: Any) -> SupernetSearch:
    def make(space: Space[Any], objectives: Any, limits: Any) -> Any:
        algorithm = more.pop("algorithm", RandomSearch())
        return algorithm(Problem(space, objectives, limits))

    wanted = more.pop("objectives", (Objective("accuracy", "max"), Objective("latency", "min")))
    return SupernetSearch(WIDE, task, method, folder, subnet_search=SubnetSearch(make, wanted))


BY_POLICY = replace(PATHS, training=replace(PATHS.training, sampler=PolicySampler()))


@pytest.mark.parametrize("method", [PATHS, BY_POLICY])
def test_sampled_paths_train_weights_for_a_strategy(
    image_task: Task, tmp_path: Path, method: SinglePathNAS
) -> None:
    found: Shortlist = by_paths(image_task, tmp_path, method, algorithm=Reinforce())
    assert {*found.held} == {"lr"}  # widths are searched as well
    metrics = found(job(tmp_path))
    assert metrics["supernet_epochs"] == 6
    assert metrics["supernet_loss"] > 0
    candidates = found.candidates(20)
    assert 2 <= len(candidates) <= 4  # of 2 widths and 2 layers
    assert all(WIDE.contains(one) for one in candidates)
    assert {one.values["lr"] for one in candidates} == {1e-3}
    assert "sub-networks scored" in found.report()[0]
    assert any("rank correlation" in one for one in found.report())


@pytest.mark.parametrize("method", [PATHS, BY_POLICY])
def test_killed_single_path_search_resumes(
    image_task: Task, tmp_path: Path, method: SinglePathNAS
) -> None:

    def killed_in(epoch: int) -> None:
        search = by_paths(image_task, tmp_path / "b", method, algorithm=Reinforce())
        work = SinglePathSearch(search._setup, method, search.subnet_search)  # type: ignore[arg-type]

        def stop(_: object) -> None:
            if len(work.trainer.history) == epoch:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            work.run(20, math.inf, stop)

    by_paths(image_task, tmp_path / "a", method, algorithm=Reinforce())(job(tmp_path / "a"))
    for epoch in (1, 3, 4):
        killed_in(epoch)
    by_paths(image_task, tmp_path / "b", method, algorithm=Reinforce())(job(tmp_path / "b"))
    one, other = (json.loads((tmp_path / x / "shortlist.json").read_text()) for x in "ab")
    assert one == other


def test_single_path_search_needs_a_strategy(image_task: Task, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a search must be given a strategy among sub-networks"):
        SupernetSearch(WIDE, image_task, PATHS, tmp_path)
    assert by_paths(image_task, tmp_path, SandwichSampler()).settings == SinglePathNAS(
        SampledPathTraining(SandwichSampler())
    )
    assert by_paths(image_task, tmp_path, SampledPathTraining(lr=0.3)).settings == SinglePathNAS(
        SampledPathTraining(lr=0.3)
    )
