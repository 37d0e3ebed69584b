"""Sampled paths: who is trained in a step and by what, and a search that goes on where it was killed."""

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
from netwright.networks.training.loop import LabelledData, training_loss
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
    distillation,
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


def search(
    settings: SampledPathTraining = FAST, seed: int = 0, network: Network = NETWORK, **more: Any
) -> SharedWeightsTrainer:
    torch.manual_seed(seed)
    shared = SharedWeights(network, (1, 6, 6), outputs=2)
    return SharedWeightsTrainer(
        Space({"network": network}), shared, stripes(), settings, seed, **more
    )


def steps(sampler: Sampler, description: Any, number: int = 40) -> list[PathBatch]:
    """Of a space whose networks nobody builds."""
    random = np.random.default_rng(0)
    source = SamplingContext(Space(description), None)  # type: ignore[arg-type]  # not asked
    return [sampler.step(source, random) for _ in range(number)]


# Samplers


def test_uniform_paths_are_uniform_by_choice_or_by_leaf() -> None:
    description = OneOf({"deep": (OneOf("a", "b", "c"), OneOf("x", "y")), "flat": "z"})
    for by, share in (("choice", 1 / 2), ("leaf", 6 / 7)):
        drawn = steps(UniformSampler(by), description, 2000)  # type: ignore[arg-type]  # one of both
        assert all(len(step.candidates) == 1 and not step.distill for step in drawn)
        deep = np.mean([step.candidates[0].values[""] == "deep" for step in drawn])
        assert deep == pytest.approx(share, abs=0.04)


def test_in_a_fair_step_every_option_is_trained_exactly_once() -> None:
    for step in steps(StrictlyFairSampler(), tuple(OneOf(*"abcd") for _ in range(3))):
        assert len(step.candidates) == 4
        for path in ("0", "1", "2"):
            assert sorted(str(one.values[path]) for one in step.candidates) == [*"abcd"]


def test_and_the_pairs_change_from_step_to_step() -> None:
    drawn = steps(StrictlyFairSampler(), (OneOf(*"abc"), OneOf(*"xyz")))
    pairs = Counter(tuple(one.values.values()) for step in drawn for one in step.candidates)
    assert len(pairs) == 9
    assert max(pairs.values()) < 3 * min(pairs.values())


def test_where_there_are_fewer_options_none_is_ahead_by_more_than_one() -> None:
    description = (
        OneOf(*"abcde"), OneOf("x", "y"), Integer(1, 3),
        OneOf({"deep": OneOf(*"pq"), "flat": 0}), SubsetOf(*"klmn", min_size=1, max_size=3),
    )  # fmt: skip
    options: dict[str, Any] = {
        "0": "abcde", "1": "xy", "2": (1, 2, 3), "3": ("deep", "flat"), "3.deep": "pq", "4": "klmn",
    }  # fmt: skip
    totals: Counter[tuple[str, object]] = Counter()
    for step in steps(StrictlyFairSampler(), description, 200):
        assert len(step.candidates) == 5
        for path in options:
            values = [one.values[path] for one in step.candidates if path in one.values]
            members = [m for v in values for m in (v if isinstance(v, tuple) else (v,))]
            counts = Counter(dict.fromkeys(options[path], 0))
            counts.update(members)
            assert max(counts.values()) - min(counts.values()) <= 1
            totals.update((path, member) for member in members)
    for path in ("1", "2", "3.deep"):  # nor is one favoured in the long run
        found = [n for (at, _), n in totals.items() if at == path]
        assert max(found) < 1.15 * min(found)


def test_long_ranges_are_dealt_in_equal_shares() -> None:
    for step in steps(StrictlyFairSampler(), (OneOf(*"abcd"), Float(0.0, 1.0), Integer(1, 400))):
        for path, width in (("1", 0.25), ("2", 100.001)):
            numbers = [float(one.values[path]) for one in step.candidates]  # type: ignore[arg-type]  # a number
            assert sorted(int(number // width) for number in numbers) == [0, 1, 2, 3]


def test_dealt_candidates_are_of_their_space() -> None:
    for network in (NETWORK, (Conv(2), Repeat(OneOf(OPTIONS), times=Integer(1, 3)), Linear())):
        space = Space({"network": network})
        for step in steps(StrictlyFairSampler(), {"network": network}, 10):
            assert all(map(space.contains, step.candidates))


def test_the_sandwich_has_the_largest_the_smallest_and_others_between() -> None:
    nest = OneOf(
        {"deep": Repeat(Conv(), times=Integer(0, 3)), "wide": Conv(kernel=5), "skip": Skip()}
    )
    network = (Conv(OneOf(2, 8, 4), stride=OneOf(2, 1)), nest, GlobalPool(), Linear())
    found = search(network=network)
    step = SandwichSampler(3).step(found._source, np.random.default_rng(0))
    largest, smallest, *others = step.candidates
    assert step.distill
    assert largest.values == {
        "network.0.channels": 8, "network.0.stride": 1, "network.1": "deep",
        "network.1.deep.times": 3,
    }  # fmt: skip
    assert smallest.values["network.0.channels"] == 2
    assert smallest.values["network.0.stride"] == 2
    assert len(others) == 3
    again = SandwichSampler(3).step(found._source, np.random.default_rng(1))
    assert again.candidates[:2] == step.candidates[:2]
    assert again.candidates[2:] != step.candidates[2:]


# Steps


def trained(step: PathBatch) -> dict[str, Tensor]:
    """What one step leaves of the weights, without momentum, decay or clipping."""
    settings = replace(FAST, momentum=0.0, decay=0.0, clip=1e9)
    found = search(settings, network=(*NETWORK[:2], *NETWORK[3:]))
    found._step(stripes(16), step)
    return {name: one.clone() for name, one in found.shared.state_dict().items()}


def by_hand(step: PathBatch) -> dict[str, Tensor]:
    network = (*NETWORK[:2], *NETWORK[3:])
    shared, rows = search(network=network).shared, stripes(16)
    first = shared(rows.inputs, step.candidates[0])
    loss = training_loss(first, rows.targets)
    for one in step.candidates[1:]:
        out = shared(rows.inputs, one)
        soft = -(first.detach().softmax(1) * out.log_softmax(1)).sum(1).mean()
        loss = loss + (soft if step.distill else training_loss(out, rows.targets))
    loss.backward()
    with torch.no_grad():
        for weight in shared.parameters():
            if weight.grad is not None:
                weight -= FAST.lr * weight.grad
    return shared.state_dict()


@pytest.mark.parametrize("taught", [False, True])
def test_gradients_of_a_step_are_added_up_and_the_taught_learn_from_the_first(taught: bool) -> None:
    space = Space({"network": NETWORK})
    paths = tuple(space.fix({"network.1": name}).default() for name in OPTIONS)
    step = PathBatch(paths, taught)
    found, wanted = trained(step), by_hand(step)
    assert all(torch.allclose(found[name], one, atol=1e-6) for name, one in wanted.items())
    other = trained(step._replace(taught=not taught))
    assert not all(torch.allclose(found[name], other[name], atol=1e-6) for name in found)


def test_distillation_of_numbers_is_the_squared_error() -> None:
    out, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.5], [2.0]])
    assert float(distillation(out, teacher, torch.zeros(2))) == pytest.approx(0.125)


def test_what_no_path_led_to_stays_as_it_is() -> None:
    space = Space({"network": NETWORK})
    skip = space.fix({"network.1": "skip"}).default()
    found = search(replace(FAST, sampler=StrategySampler(lambda rng: skip, "always")))
    conv = {n: one.clone() for n, one in found.shared.state_dict().items() if "@conv" in n}
    found.train_to(2)
    assert conv
    after = found.shared.state_dict()
    assert all(torch.equal(after[name], one) for name, one in conv.items())


def test_a_step_with_a_dead_path_is_drawn_again_and_at_last_does_without() -> None:
    op = OneOf({"none": Zero(), "conv": Conv(3)})
    network = (Conv(3), Graph({"1": Node({"in": op})}), GlobalPool(), Linear())
    found = search(network=network)
    found.train_to(1)  # half of the draws are dead
    random = np.random.default_rng(0)
    assert all(len(found._drawn(random).candidates) == 1 for _ in range(10))
    found = search(replace(FAST, sampler=StrictlyFairSampler()), network=network)
    (alive,) = found._drawn(random).candidates  # one of both is always dead
    assert [*alive.values.values()] == ["conv"]
    dead = Candidate(dict.fromkeys(alive.values, "none"))
    found = search(
        replace(FAST, sampler=StrategySampler(lambda rng: dead, "dead")), network=network
    )
    with pytest.raises(InfeasibleCandidate, match=r"got none in 20 draws of Drawn\(name='dead'\)"):
        found.train_to(1)


def test_the_rule_of_the_space_is_kept() -> None:
    space = Space({"network": NETWORK}, rule=lambda values: values["network.1"] != "pool")
    shared = search().shared
    found = SharedWeightsTrainer(
        space, shared, stripes(), replace(FAST, sampler=StrictlyFairSampler())
    )
    step = found._drawn(np.random.default_rng(0))
    assert sorted(str(one.values["network.1"]) for one in step.candidates) == ["conv", "skip"]


# The search


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_killed_between_epochs_it_goes_on_bit_for_bit(sampler: Sampler, tmp_path: Path) -> None:
    settings = replace(FAST, sampler=sampler)
    straight = search(settings)
    straight.train_to(4)
    for epoch in (1, 3, 4):  # three lives, one folder
        alive = search(settings, folder=tmp_path)
        assert len(alive.history) == {1: 0, 3: 1, 4: 3}[epoch]
        torch.manual_seed(epoch)  # nothing hangs on what others draw
        alive.train_to(epoch)
    assert alive.history == straight.history
    found, wanted = alive.shared.state_dict(), straight.shared.state_dict()
    assert all(torch.equal(found[name], one) for name, one in wanted.items())


def test_the_seed_decides_and_the_loss_falls() -> None:
    one, same, other = search(), search(), search(seed=1)
    for found in (one, same, other):
        found.train_to(4)
    assert one.history == same.history != other.history
    assert one.history[-1].loss < one.history[0].loss


def test_a_checkpoint_of_another_search_is_refused(tmp_path: Path) -> None:
    search(folder=tmp_path).train_to(1)
    deeper = (*NETWORK[:3], Conv(2), *NETWORK[3:])
    fair = replace(FAST, sampler=StrictlyFairSampler())
    for other in ({"network": deeper}, {"seed": 1}, {"settings": fair}):
        with pytest.raises(RunError, match=r"must hold a checkpoint of .* Use another folder\."):
            search(**other, folder=tmp_path)  # type: ignore[arg-type]  # any of them
    assert len(search(folder=tmp_path).history) == 1


def test_a_policy_is_known_by_its_name() -> None:
    assert repr(StrategySampler(lambda rng: Candidate({}), "ppo")) == "Drawn(name='ppo')"


def test_training_that_diverges_is_said() -> None:
    with pytest.raises(InfeasibleCandidate, match=r"diverged: the loss became .* Use a lower lr"):
        search(replace(FAST, lr=1e20, clip=1e30)).train_to(4)


def test_settings_and_epochs_are_checked() -> None:
    for settings, sentence in (
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"sampler": 3}, r"sampler must be a sampler, such as Uniform\(\), got 3"),
    ):
        wrong: Any = settings
        with pytest.raises(InputError, match=sentence):
            SampledPathTraining(**wrong)
    with pytest.raises(InputError, match="random must be at least 0, got -1"):
        SandwichSampler(-1)
    with pytest.raises(InputError, match="epoch must be from 0 to the 4 of the settings, got 5"):
        search().train_to(5)
    with pytest.raises(InputError, match="rows must be at least 1, got 0"):
        replace(search(), rows=LabelledData(torch.zeros(0, 1, 6, 6), torch.zeros(0)))
