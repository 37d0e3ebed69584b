"""Path samplers, and training of shared weights by sampled paths."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oneshot_tools import stripes
from torch import Tensor

from netwright.errors import InfeasibleCandidate, InputError, RunError
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Dropout, GlobalPool, Pool, Skip, Zero
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.train_step import training_loss
from netwright.oneshot.single_path.samplers import (
    PathBatch,
    Sampler,
    SamplingContext,
    SandwichSampler,
    StrategySampler,
    StrictlyFairSampler,
    UniformSampler,
)
from netwright.oneshot.single_path.training import (
    SampledPathTraining,
    SharedWeightsTrainer,
    distillation_loss,
)
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf, Repeat, SubsetOf
from netwright.space.space import Space

OPTIONS = {"pool": Pool("avg"), "conv": Conv(), "skip": Skip()}
NETWORK: Network = (
    Conv(OneOf(2, 4, 6), kernel=1), OneOf(OPTIONS), Dropout(0.1), GlobalPool("max"), Linear(),
)  # fmt: skip
FAST = SampledPathTraining(epochs=4, batch_size=16)
SAMPLERS: list[Sampler] = [
    UniformSampler(),
    UniformSampler("leaf"),
    StrictlyFairSampler(),
    SandwichSampler(1),
]


def make_trainer(
    settings: SampledPathTraining = FAST, seed: int = 0, network: Network = NETWORK, **options: Any
) -> SharedWeightsTrainer:
    torch.manual_seed(seed)
    shared = SharedWeights(network, (1, 6, 6), outputs=2)
    return SharedWeightsTrainer(
        Space({"network": network}), shared, stripes(), settings, seed, **options
    )


def draw_batches(sampler: Sampler, description: Any, n_batches: int = 40) -> list[PathBatch]:
    """Draw batches of paths in a space whose networks are never built."""
    rng = np.random.default_rng(0)
    context = SamplingContext(Space(description), None)  # type: ignore[arg-type]  # not asked
    return [sampler.step(context, rng) for _ in range(n_batches)]


# Samplers


def test_uniform_sampler_is_uniform_by_choice_or_by_leaf() -> None:
    description = OneOf({"deep": (OneOf("a", "b", "c"), OneOf("x", "y")), "flat": "z"})
    for by, share in (("choice", 1 / 2), ("leaf", 6 / 7)):
        drawn = draw_batches(UniformSampler(by), description, 2000)  # type: ignore[arg-type]  # one of both
        assert all(len(step.candidates) == 1 and not step.distill for step in drawn)
        deep = np.mean([step.candidates[0].values[""] == "deep" for step in drawn])
        assert deep == pytest.approx(share, abs=0.04)


def test_fair_step_trains_every_option_exactly_once() -> None:
    for step in draw_batches(StrictlyFairSampler(), tuple(OneOf(*"abcd") for _ in range(3))):
        assert len(step.candidates) == 4
        for path in ("0", "1", "2"):
            assert sorted(str(candidate.values[path]) for candidate in step.candidates) == [*"abcd"]


def test_fair_sampler_pairs_options_differently_in_each_step() -> None:
    drawn = draw_batches(StrictlyFairSampler(), (OneOf(*"abc"), OneOf(*"xyz")))
    pairs = Counter(
        tuple(candidate.values.values()) for step in drawn for candidate in step.candidates
    )
    assert len(pairs) == 9
    assert max(pairs.values()) < 3 * min(pairs.values())


def test_fair_sampler_counts_of_options_differ_by_at_most_one() -> None:
    description = (
        OneOf(*"abcde"), OneOf("x", "y"), Integer(1, 3),
        OneOf({"deep": OneOf(*"pq"), "flat": 0}), SubsetOf(*"klmn", min_size=1, max_size=3),
    )  # fmt: skip
    options: dict[str, Any] = {
        "0": "abcde", "1": "xy", "2": (1, 2, 3), "3": ("deep", "flat"), "3.deep": "pq", "4": "klmn",
    }  # fmt: skip
    totals: Counter[tuple[str, object]] = Counter()
    for step in draw_batches(StrictlyFairSampler(), description, 200):
        assert len(step.candidates) == 5
        for path in options:
            values = [
                candidate.values[path] for candidate in step.candidates if path in candidate.values
            ]
            members = [m for v in values for m in (v if isinstance(v, tuple) else (v,))]
            counts = Counter(dict.fromkeys(options[path], 0))
            counts.update(members)
            assert max(counts.values()) - min(counts.values()) <= 1
            totals.update((path, member) for member in members)
    for path in ("1", "2", "3.deep"):  # nor is one favoured in the long run
        counts_of_path = [n for (at, _), n in totals.items() if at == path]
        assert max(counts_of_path) < 1.15 * min(counts_of_path)


def test_fair_sampler_deals_long_ranges_in_equal_intervals() -> None:
    for step in draw_batches(
        StrictlyFairSampler(), (OneOf(*"abcd"), Float(0.0, 1.0), Integer(1, 400))
    ):
        for path, width in (("1", 0.25), ("2", 100.001)):
            numbers = [float(candidate.values[path]) for candidate in step.candidates]  # type: ignore[arg-type]  # a drawn
            assert sorted(int(n_batches // width) for n_batches in numbers) == [0, 1, 2, 3]


def test_fair_sampler_draws_candidates_of_the_space() -> None:
    for network in (NETWORK, (Conv(2), Repeat(OneOf(OPTIONS), times=Integer(1, 3)), Linear())):
        space = Space({"network": network})
        for step in draw_batches(StrictlyFairSampler(), {"network": network}, 10):
            assert all(map(space.contains, step.candidates))


def test_sandwich_has_largest_smallest_and_random_candidates() -> None:
    nest = OneOf(
        {"deep": Repeat(Conv(), times=Integer(0, 3)), "wide": Conv(kernel=5), "skip": Skip()}
    )
    network = (Conv(OneOf(2, 8, 4), stride=OneOf(2, 1)), nest, GlobalPool(), Linear())
    trainer = make_trainer(network=network)
    step = SandwichSampler(3).step(trainer._context, np.random.default_rng(0))
    largest, smallest, *others = step.candidates
    assert step.distill
    assert largest.values == {
        "network.0.channels": 8, "network.0.stride": 1, "network.1": "deep",
        "network.1.deep.times": 3,
    }  # fmt: skip
    assert smallest.values["network.0.channels"] == 2
    assert smallest.values["network.0.stride"] == 2
    assert len(others) == 3
    again = SandwichSampler(3).step(trainer._context, np.random.default_rng(1))
    assert again.candidates[:2] == step.candidates[:2]
    assert again.candidates[2:] != step.candidates[2:]


# Steps


def trained(step: PathBatch) -> dict[str, Tensor]:
    """Return the weights after one step without momentum, decay or clipping."""
    settings = replace(FAST, momentum=0.0, weight_decay=0.0, max_grad_norm=1e9)
    trainer = make_trainer(settings, network=(*NETWORK[:2], *NETWORK[3:]))
    trainer._step(stripes(16), step)
    return {name: tensor.clone() for name, tensor in trainer.shared.state_dict().items()}


def by_hand(step: PathBatch) -> dict[str, Tensor]:
    network = (*NETWORK[:2], *NETWORK[3:])
    shared, rows = make_trainer(network=network).shared, stripes(16)
    first = shared(rows.inputs, step.candidates[0])
    loss = training_loss(first, rows.targets)
    for candidate in step.candidates[1:]:
        out = shared(rows.inputs, candidate)
        soft = -(first.detach().softmax(1) * out.log_softmax(1)).sum(1).mean()
        loss = loss + (soft if step.distill else training_loss(out, rows.targets))
    loss.backward()
    with torch.no_grad():
        for weight in shared.parameters():
            if weight.grad is not None:
                weight -= FAST.lr * weight.grad
    return shared.state_dict()


@pytest.mark.parametrize("distill", [False, True])
def test_step_sums_gradients_and_distills_from_the_first_path(
    distill: bool,
) -> None:
    space = Space({"network": NETWORK})
    paths = tuple(space.fix({"network.1": name}).default() for name in OPTIONS)
    step = PathBatch(paths, distill=distill)
    weights, expected = trained(step), by_hand(step)
    assert all(
        torch.allclose(weights[name], tensor, atol=1e-6) for name, tensor in expected.items()
    )
    other = trained(step._replace(distill=not distill))
    assert not all(torch.allclose(weights[name], other[name], atol=1e-6) for name in weights)


def test_distillation_loss_for_regression_is_squared_error() -> None:
    out, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.5], [2.0]])
    assert float(distillation_loss(out, teacher, torch.zeros(2))) == pytest.approx(0.125)


def test_weights_off_the_path_do_not_change() -> None:
    space = Space({"network": NETWORK})
    skip = space.fix({"network.1": "skip"}).default()
    trainer = make_trainer(replace(FAST, sampler=StrategySampler(lambda rng: skip, "always")))
    conv = {n: tensor.clone() for n, tensor in trainer.shared.state_dict().items() if "@conv" in n}
    trainer.train_to(2)
    assert conv
    after = trainer.shared.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in conv.items())


def test_infeasible_paths_are_redrawn_then_left_out() -> None:
    op = OneOf({"none": Zero(), "conv": Conv(3)})
    network = (Conv(3), Graph({"1": Node({"in": op})}), GlobalPool(), Linear())
    trainer = make_trainer(network=network)
    trainer.train_to(1)  # half of the draws are dead
    random = np.random.default_rng(0)
    assert all(len(trainer._sample_paths(random).candidates) == 1 for _ in range(10))
    trainer = make_trainer(replace(FAST, sampler=StrictlyFairSampler()), network=network)
    (alive,) = trainer._sample_paths(random).candidates  # one of both is always dead
    assert [*alive.values.values()] == ["conv"]
    dead = Candidate(dict.fromkeys(alive.values, "none"))
    trainer = make_trainer(
        replace(FAST, sampler=StrategySampler(lambda rng: dead, "dead")), network=network
    )
    with pytest.raises(
        InfeasibleCandidate, match=r"got none in 20 draws of StrategySampler\(name='dead'\)"
    ):
        trainer.train_to(1)


def test_sampled_paths_keep_the_rule_of_the_space() -> None:
    space = Space({"network": NETWORK}, rule=lambda values: values["network.1"] != "pool")
    shared = make_trainer().shared
    trainer = SharedWeightsTrainer(
        space, shared, stripes(), replace(FAST, sampler=StrictlyFairSampler())
    )
    step = trainer._sample_paths(np.random.default_rng(0))
    assert sorted(str(candidate.values["network.1"]) for candidate in step.candidates) == [
        "conv",
        "skip",
    ]


# The search


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_resume_between_epochs_is_bit_identical(sampler: Sampler, tmp_path: Path) -> None:
    settings = replace(FAST, sampler=sampler)
    straight = make_trainer(settings)
    straight.train_to(4)
    for epoch in (1, 3, 4):  # three lives, one folder
        alive = make_trainer(settings, folder=tmp_path)
        assert len(alive.history) == {1: 0, 3: 1, 4: 3}[epoch]
        torch.manual_seed(epoch)  # nothing hangs on what others draw
        alive.train_to(epoch)
    assert alive.history == straight.history
    resumed, expected = alive.shared.state_dict(), straight.shared.state_dict()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in expected.items())


def test_seed_determines_training_and_the_loss_falls() -> None:
    first, same, other = make_trainer(), make_trainer(), make_trainer(seed=1)
    for trainer in (first, same, other):
        trainer.train_to(4)
    assert first.history == same.history != other.history
    assert first.history[-1].loss < first.history[0].loss


def test_checkpoint_of_another_search_is_refused(tmp_path: Path) -> None:
    make_trainer(folder=tmp_path).train_to(1)
    deeper = (*NETWORK[:3], Conv(2), *NETWORK[3:])
    fair = replace(FAST, sampler=StrictlyFairSampler())
    for other in ({"network": deeper}, {"seed": 1}, {"settings": fair}):
        with pytest.raises(RunError, match=r"must hold a checkpoint of .* Use another folder\."):
            make_trainer(**other, folder=tmp_path)  # type: ignore[arg-type]  # any of them
    assert len(make_trainer(folder=tmp_path).history) == 1


def test_strategy_sampler_repr_shows_only_its_name() -> None:
    assert repr(StrategySampler(lambda rng: Candidate({}), "ppo")) == "StrategySampler(name='ppo')"


def test_diverging_training_raises_infeasible() -> None:
    with pytest.raises(InfeasibleCandidate, match=r"diverged: the loss became .* Use a lower lr"):
        make_trainer(replace(FAST, lr=1e20, max_grad_norm=1e30)).train_to(4)


def test_settings_and_epochs_are_validated() -> None:
    for settings, sentence in (
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"sampler": 3}, r"sampler must be a sampler, such as UniformSampler\(\), got 3"),
    ):
        wrong: Any = settings
        with pytest.raises(InputError, match=sentence):
            SampledPathTraining(**wrong)
    with pytest.raises(InputError, match="n_random must be at least 0, got -1"):
        SandwichSampler(-1)
    with pytest.raises(InputError, match="epoch must be from 0 to the 4 of the settings, got 5"):
        make_trainer().train_to(5)
    with pytest.raises(InputError, match="rows must be at least 1, got 0"):
        replace(make_trainer(), rows=LabelledData(torch.zeros(0, 1, 6, 6), torch.zeros(0)))
