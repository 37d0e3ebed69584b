"""Weight sharing as an evaluator: who inherits good weights scores well, and any strategy may ask."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.one_shot.inherited_weights import InheritAndValidate
from netwright.interfaces.strategy import Problem
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.labelled_data import LabelledData
from netwright.oneshot.single_path.samplers import SandwichSampler, StrategySampler
from netwright.oneshot.single_path.training import SampledPathTraining, SharedWeightsTrainer
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer, OneOf, Repeat
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.reinforcement.policy_gradient import Reinforce
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Proposal, Status, Trial

OPERATION: Network = OneOf({"crippled": Conv(1, kernel=1), "good": Conv(12)})
NETWORK: Network = (
    Conv(OneOf(6, 12), stride=2), OPERATION,
    Repeat(Residual(Conv(kernel=OneOf(1, 3))), times=Integer(0, 2)), GlobalPool(), Linear(),
)  # fmt: skip
SPACE = Space({"network": NETWORK})
GOAL = (Objective("accuracy", "max"),)


def digits(first: int, last: int) -> LabelledData:
    found = load_digits()
    images = torch.tensor(found.images[first:last], dtype=torch.float32)[:, None] / 16
    return LabelledData(images, torch.tensor(found.target[first:last]))


def job(candidate: Candidate) -> Job:
    return Job(Proposal(candidate), seed=0, folder=Path())


def search(seed: int = 0, **settings: object) -> SharedWeightsTrainer:
    torch.manual_seed(seed)
    shared = SharedWeights(NETWORK, (1, 8, 8), outputs=10)
    chosen = SampledPathTraining(SandwichSampler(1), epochs=6, **settings)  # type: ignore[arg-type]  # numbers
    return SharedWeightsTrainer(SPACE, shared, digits(0, 900), chosen, seed)


@pytest.fixture(scope="module")
def evaluator() -> InheritAndValidate:
    found = search()
    found.train_to(6)
    return InheritAndValidate(found.shared, "multiclass", digits(0, 900), digits(900, 1500), 10)


def test_a_crippled_option_ranks_below_a_good_one(evaluator: InheritAndValidate) -> None:
    accuracy = {candidate: evaluator(job(candidate))["accuracy"] for candidate in SPACE}
    good, crippled = (
        [value for candidate, value in accuracy.items() if candidate.values["network.1"] == option]
        for option in ("good", "crippled")
    )
    assert min(good) > max(crippled) + 0.1
    assert np.mean(good) > 0.5


def test_metrics_follow_the_kind_of_task(evaluator: InheritAndValidate) -> None:
    found = evaluator(job(SPACE.default()))
    assert set(found) == set(evaluator.metrics)
    assert evaluator.metrics == ("accuracy", "balanced_accuracy", "f1", "log_loss", "auc")
    assert evaluator.capabilities.fidelities == (1.0,)
    assert evaluator(job(SPACE.default())) == found  # nothing was changed by judging
    torch.manual_seed(0)
    number = SharedWeights((Conv(OneOf(2, 4)), GlobalPool(), Linear()), (1, 8, 8), outputs=1)
    rows = digits(0, 100)
    rows = LabelledData(rows.inputs, rows.targets.float())
    numbers = InheritAndValidate(number, "regression", rows, rows)
    found = numbers(job(Candidate({"network.0.channels": 4})))
    assert set(found) == set(numbers.metrics) == {"rmse", "mae", "r2"}


def test_running_statistics_are_recalibrated(evaluator: InheritAndValidate) -> None:
    """Spoilt ones in the shared weights change nothing; other rows to find them from do."""
    good = SPACE.fix({"network.1": "good"}).default()
    before = evaluator(job(good))
    spoilt: InheritAndValidate = pickle.loads(pickle.dumps(evaluator))
    for name, buffer in spoilt.shared.named_buffers():
        if "running" in name:
            buffer.fill_(7.0)
    assert spoilt(job(good)) == before
    module = spoilt.shared.build_standalone(good).eval()
    with torch.no_grad():
        predicted = module(spoilt.validation.inputs).argmax(1)
    assert float((predicted == spoilt.validation.targets).float().mean()) < before["accuracy"] - 0.2
    dark = replace(
        evaluator, train=LabelledData(evaluator.train.inputs * 0.1, evaluator.train.targets)
    )
    assert dark(job(good))["accuracy"] < before["accuracy"]


def test_inherit_and_validate_pickles_with_its_weights(evaluator: InheritAndValidate) -> None:
    good = SPACE.fix({"network.1": "good"}).default()
    copy: InheritAndValidate = pickle.loads(pickle.dumps(evaluator))
    assert copy(job(good)) == evaluator(job(good))
    with torch.no_grad():
        for candidate in copy.shared.parameters():
            candidate.zero_()
    assert copy(job(good)) != evaluator(job(good))


def test_single_path_search_is_evolution_over_it(evaluator: InheritAndValidate) -> None:
    strategy = RegularizedEvolution(population=6)(Problem(SPACE, GOAL))
    log = simulate(strategy, lambda candidate: evaluator(job(candidate)), 16)
    best = max(log, key=lambda candidate: candidate.metrics.get("accuracy", 0.0))
    assert best.candidate.values["network.1"] == "good"


def test_enas_policy_trains_its_samples_and_learns() -> None:
    strategy = Reinforce(batch_size=4, lr=0.3)(Problem(SPACE, GOAL))
    drawn: list[Candidate] = []

    def draw(rng: np.random.Generator) -> Candidate:
        drawn.append(strategy.policy.sample(rng)[0])  # type: ignore[attr-defined]  # Reinforce has one
        return drawn[-1]

    found = search()
    found.settings = replace(found.settings, sampler=StrategySampler(draw, "reinforce"))
    evaluator = InheritAndValidate(found.shared, "multiclass", digits(0, 900), digits(900, 1300), 5)
    rng, shares, ended = np.random.default_rng(0), [], 0
    for epoch in range(1, 7):
        found.train_to(epoch)
        shares.append(
            np.mean([candidate.values["network.1"] == "good" for candidate in drawn[-14:]])
        )
        for _ in range(4):
            (proposal,) = strategy.ask(1, rng)
            metrics = evaluator(Job(proposal, 0, Path()))
            strategy.tell(Trial(ended, proposal, 0, Status.DONE, metrics))
            ended += 1
    assert np.mean(shares[-2:]) > np.mean(shares[:2]) + 0.1  # it trains what scored well


def test_wrong_arguments_are_refused(evaluator: InheritAndValidate) -> None:
    with pytest.raises(InputError, match="recalibration_batches must be at least 1, got 0"):
        replace(evaluator, recalibration_batches=0)
    with pytest.raises(InputError, match="rows of validation must be at least 1, got 0"):
        replace(evaluator, validation=digits(0, 0))
    broken: InheritAndValidate = pickle.loads(pickle.dumps(evaluator))
    with torch.no_grad():
        for candidate in broken.shared.parameters():
            candidate.fill_(math.nan)
    with pytest.raises(InfeasibleCandidate, match="outputs with shared weights are not finite"):
        broken(job(SPACE.default()))
