"""The training loop keeps its promises: seeds, the best epoch, deadlines, and each option's effect."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.layers.basic import Dropout, Flatten, GlobalPool, Norm
from netwright.networks.layers.blocks import Recurrent
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Periodic
from netwright.networks.training.augmentation import Crop, Flip
from netwright.networks.training.loop import (
    CurvePoint,
    LabelledData,
    LearningCurve,
    predict,
    train,
    training_loss,
)
from netwright.networks.training.optimizers import SGD, AdamW, Optimizer
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Constant, Cosine, OneCycle, Schedule

NET = (Linear(16, activation="relu"), Dropout(0.1), Linear(2))
RECIPE = Training(NET, lr=1e-2, batch_size=16, epochs=4)


def blobs(n: int = 200) -> LabelledData:
    """Two classes, 4 deviations apart."""
    draws = torch.Generator().manual_seed(3)
    classes = torch.arange(n) % 2
    numbers = torch.randn(n, 3, generator=draws) + 4.0 * classes[:, None]
    return LabelledData(numbers, classes)


def line(n: int = 128) -> LabelledData:
    x = torch.linspace(-1, 1, n)[:, None]
    return LabelledData(x, 2 * x[:, 0] - 1)


def fresh(recipe: Training, shape: tuple[int, ...] = (3,)) -> nn.Module:
    torch.manual_seed(11)
    return build(recipe.network, shape)


def vector(module: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def cross_entropy(rows: LabelledData) -> Callable[[Tensor], float]:
    return lambda out: nn.functional.cross_entropy(out, rows.targets).item()


def trained(
    recipe: Training, rows: LabelledData | None = None, *, seed: int = 0, **options: Any
) -> tuple[nn.Module, LearningCurve]:
    rows = rows or blobs()
    module = fresh(recipe, tuple(rows.inputs.shape[1:]))
    options = {"score": cross_entropy(rows), **options}
    return module, train(recipe, module, rows, rows.inputs, seed=seed, **options)


def scripted(scores: Iterable[float]) -> Callable[[Tensor], float]:
    """Says these scores, whatever the outputs."""
    said = iter(scores)
    return lambda out: next(said)


def test_a_seed_repeats_a_training_bit_by_bit() -> None:
    first, curve = trained(RECIPE, seed=1)
    torch.rand(5)  # what else was drawn does not matter
    again, same = trained(RECIPE, seed=1)
    other, _ = trained(RECIPE, seed=2)
    assert torch.equal(vector(first), vector(again))
    assert (curve.points, curve.best_index) == (same.points, same.best_index)
    assert not torch.equal(vector(first), vector(other))


def test_a_seed_draws_the_dropout_too() -> None:
    rows = LabelledData(
        torch.ones(32, 3), torch.zeros(32, dtype=torch.int64)
    )  # any order is the same
    first, again, other = (vector(trained(RECIPE, rows, seed=seed)[0]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_seed_repeats_a_training_with_augmentation() -> None:
    rows = LabelledData(torch.randn(32, 2, 6, 6), torch.arange(32) % 2)
    net = (Conv(4), GlobalPool(), Linear(2))
    recipe = Training(net, batch_size=8, epochs=2, augment=(Flip(), Crop(1)))
    (first, _), (again, _), (plain, _) = (
        trained(r, rows) for r in (recipe, recipe, replace(recipe, augment=()))
    )
    assert torch.equal(vector(first), vector(again))
    assert not torch.equal(vector(first), vector(plain))


def test_weights_lie_in_memory_as_they_were_built() -> None:
    rows = LabelledData(torch.randn(8, 2, 6, 6), torch.arange(8) % 2)
    recipe = Training((Conv(4), GlobalPool(), Linear(2)), epochs=1)
    module, _ = trained(recipe, rows)
    assert all(value.is_contiguous() for value in module.state_dict().values())


def test_training_leaves_the_global_generator_alone() -> None:
    rows, module = blobs(), fresh(RECIPE)
    before = torch.get_rng_state()
    train(RECIPE, module, rows, rows.inputs, cross_entropy(rows), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("best", [0, 2, 3])
def test_the_weights_of_the_best_epoch_are_kept(best: int) -> None:
    scores = [5.0, 5.0, 5.0, 5.0]
    scores[best] = 1.0
    rows, module, seen = blobs(), fresh(RECIPE), []
    said = scripted(scores)

    def score(out: Tensor) -> float:
        seen.append({name: value.clone() for name, value in module.state_dict().items()})
        return said(out)

    curve = train(RECIPE, module, rows, rows.inputs, score, seed=0)
    assert curve.best_index == best
    assert [epoch.validation_loss for epoch in curve.points] == scores
    kept = module.state_dict()
    assert [all(torch.equal(kept[k], v) for k, v in one.items()) for one in seen] == [
        epoch == best for epoch in range(4)
    ]
    assert not module.training


def test_the_score_sees_outputs_in_evaluation_mode_on_the_held_out_rows() -> None:
    rows, held_out = blobs(), torch.randn(700, 3)
    seen: list[Tensor] = []

    def score(out: Tensor) -> float:
        seen.append(out)
        return 0.0 if len(seen) == 4 else 1.0

    module, _ = trained(RECIPE, rows)
    train(RECIPE, module, rows, held_out, score, seed=0)
    assert torch.equal(seen[-1], predict(module, held_out, batch_size=512))
    assert torch.allclose(seen[-1], module(held_out), atol=1e-6)


def test_patience_ends_a_training_that_gets_no_better() -> None:
    recipe = replace(RECIPE, epochs=50, patience=3)
    _, curve = trained(recipe, score=scripted([5, 4, 3, 3, 3, 3, 3, 3]))
    assert (len(curve.points), curve.best_index) == (6, 2)
    _, patient = trained(replace(RECIPE, epochs=7), score=scripted([1.0] * 7))
    assert (len(patient.points), patient.best_index) == (7, 0)


def test_fidelity_scales_the_epochs_and_each_is_watched() -> None:
    seen: list[CurvePoint] = []
    _, curve = trained(replace(RECIPE, epochs=10), fidelity=0.3, watch=seen.append)
    assert len(curve.points) == 3
    assert tuple(seen) == curve.points
    assert len(trained(RECIPE, fidelity=1e-3)[1].points) == 1


@dataclass(frozen=True)
class Noted:
    """A constant schedule that notes where in the training it was asked."""

    seen: list[float] = field(default_factory=list, hash=False)

    def factor(self, progress: float) -> float:
        self.seen.append(progress)
        return 1.0


@dataclass(frozen=True)
class Off:
    """No learning at all."""

    def factor(self, progress: float) -> float:
        return 0.0


def test_the_schedule_scales_the_learning_rate() -> None:
    off, _ = trained(replace(RECIPE, schedule=Off()))
    assert torch.equal(vector(off), vector(fresh(RECIPE)))


def test_without_a_deadline_the_schedule_follows_the_steps() -> None:
    schedule = Noted()
    trained(replace(RECIPE, epochs=2, batch_size=60, schedule=schedule))  # 200 rows: 3 steps each
    assert schedule.seen == pytest.approx([step / 6 for step in range(6)])


def test_a_deadline_cuts_the_training_short_and_the_schedule_runs_its_whole_course() -> None:
    schedule = Noted()
    start = time.monotonic()
    recipe = replace(RECIPE, epochs=10**6, schedule=schedule)
    _, curve = trained(recipe, deadline=start + 0.6)
    assert 0.3 < time.monotonic() - start < 3
    assert schedule.seen == sorted(schedule.seen)
    assert 0.8 < schedule.seen[-1] <= 1
    assert len(curve.points) > 1


def test_a_deadline_that_has_passed_still_yields_a_model() -> None:
    start = time.monotonic()
    module, curve = trained(replace(RECIPE, epochs=10**6), deadline=start - 1)
    assert time.monotonic() - start < 2
    assert len(curve.points) == 1
    assert torch.isfinite(vector(module)).all()
    assert not module.training


@pytest.mark.parametrize("optimizer", [AdamW(weight_decay=0.5), SGD(weight_decay=0.5)])
def test_weight_decay_spares_biases_and_normalisation(optimizer: Optimizer) -> None:
    nets = [((Conv(3, normalisation="none"), Norm(), Flatten(), Linear(2)), (2, 4, 4))]
    nets += [((Periodic(3), Norm("layer")), (4,)), ((Recurrent(3), Flatten()), (4, 2))]
    for net, shape in nets:
        module = build(net, shape)
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        step = optimizer.make(module, lr=0.1)
        for p in module.parameters():
            p.grad = torch.zeros_like(p)
        step.step()
        kept = {name for name, p in module.named_parameters() if torch.equal(p, before[name])}
        norms = {n for n, p in before.items() if n.endswith("weight") and p.dim() == 1}
        assert kept == {name for name in before if "bias" in name} | norms
        for name, p in module.named_parameters():
            if name not in kept:
                assert (p.abs() <= before[name].abs()).all()


def test_negative_weight_decay_is_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match="weight_decay must be at least 0, got -1"):
        AdamW(weight_decay=-1).make(build(NET, (3,)), lr=0.1)


class _Watching(torch.optim.SGD):
    """Notes the norm of the gradient of each step."""

    norms: list[float]

    def step(self, *_: Any) -> None:  # type: ignore[override]
        grads = [p.grad.norm() for group in self.param_groups for p in group["params"]]
        self.norms.append(torch.stack(grads).norm().item())
        super().step()


@dataclass(frozen=True)
class Watched:
    norms: list[float] = field(default_factory=list, hash=False)

    def make(self, module: nn.Module, lr: float) -> torch.optim.Optimizer:
        optimizer = _Watching(module.parameters(), lr=lr)
        optimizer.norms = self.norms
        return optimizer


def gradient_norms(clip: float) -> list[float]:
    watched = Watched()
    trained(replace(RECIPE, clip=clip, optimizer=watched, lr=1e-4))
    return watched.norms


def test_clip_bounds_the_norm_of_the_gradient() -> None:
    free, clipped = gradient_norms(0.0), gradient_norms(0.05)
    assert max(free) > 0.5
    assert max(clipped) == pytest.approx(0.05, rel=1e-3)
    assert len(free) == len(clipped) == 4 * (200 // 16)


def test_l1_shrinks_the_weights_and_is_part_of_the_loss() -> None:
    recipe = replace(RECIPE, epochs=10, optimizer=AdamW(weight_decay=0.0))
    last = scripted(range(0, -10, -1))
    plain, _ = trained(recipe, score=last)
    sparse, curve = trained(replace(recipe, l1=0.05), score=scripted(range(0, -10, -1)))

    def size(module: nn.Module) -> float:
        return sum(p.abs().sum().item() for p in module.parameters() if p.dim() > 1)

    assert size(sparse) < 0.7 * size(plain)
    assert curve.points[-1].loss > 0.05 * size(sparse) * 0.5


def test_l1_adds_the_absolute_weights_without_the_biases() -> None:
    recipe = Training(Linear(2), lr=0.0, batch_size=200, epochs=1)
    plain, sparse = (trained(replace(recipe, l1=l1))[1].points[0].loss for l1 in (0.0, 0.1))
    weights = fresh(recipe).linear.weight.abs().sum().item()
    assert sparse - plain == pytest.approx(0.1 * weights, rel=1e-3)


def test_a_row_of_weight_2_counts_as_two_and_one_of_weight_0_not_at_all() -> None:
    out, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0])
    twice = torch.tensor([0, 0, 2, 3])
    wanted = training_loss(out[twice], targets[twice])
    torch.testing.assert_close(training_loss(out, targets, weights=weights), wanted)
    numbers = targets.float()
    wanted = training_loss(out[twice, :1], numbers[twice])
    torch.testing.assert_close(training_loss(out[:, :1], numbers, weights=weights), wanted)
    smoothed = (
        training_loss(out, targets, 0.1, weights),
        training_loss(out[twice], targets[twice], 0.1),
    )
    torch.testing.assert_close(*smoothed)


def test_weights_decide_what_is_learnt_and_their_unit_does_not() -> None:
    """Two lines in one cloud of rows: the weights say which is meant."""
    x = torch.linspace(-1, 1, 200)[:, None]
    first = torch.arange(200) % 2 == 0
    targets = torch.where(first, 2 * x[:, 0], -2 * x[:, 0])
    recipe = Training(Linear(1), lr=0.05, batch_size=20, epochs=30)

    def slope(weights: Tensor) -> float:
        rows = LabelledData(x, targets, weights)
        last = scripted(range(0, -30, -1))
        return trained(recipe, rows, score=last)[0].linear.weight.item()

    assert slope(first.float()) == pytest.approx(2, abs=0.1)
    assert slope(1 - first.float()) == pytest.approx(-2, abs=0.1)
    assert slope(0.5 + first.float()) == pytest.approx(1, abs=0.3)
    assert slope(1000 * first.float()) == pytest.approx(slope(first.float()), abs=1e-4)


def test_equal_weights_are_no_weights() -> None:
    rows = blobs()
    weighed = replace(rows, weights=torch.full((200,), 3.0))
    plain, equal = trained(RECIPE, rows)[0], trained(RECIPE, weighed)[0]
    torch.testing.assert_close(vector(plain), vector(equal))


def test_rows_are_taken_with_their_weights() -> None:
    rows = replace(blobs(6), weights=torch.arange(6.0))
    assert rows.take(torch.tensor([4, 1])).weights is not None
    assert torch.equal(rows.take(torch.tensor([4, 1])).weights, torch.tensor([4.0, 1.0]))
    assert blobs(6).take(slice(2)).weights is None


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_weights_that_are_none_are_refused(wrong: float) -> None:
    weights = torch.ones(200)
    weights[3] = wrong
    with pytest.raises(InfeasibleCandidate, match="weights must be finite"):
        trained(RECIPE, replace(blobs(), weights=weights))
    with pytest.raises(InfeasibleCandidate, match="not all 0"):
        trained(RECIPE, replace(blobs(), weights=torch.zeros(200)))


@dataclass(frozen=True)
class Falling:
    """From 1 to 0."""

    def factor(self, progress: float) -> float:
        return 1 - progress


def test_easing_is_a_factor_of_dropout_and_weight_decay() -> None:
    seen: list[tuple[float, float]] = []

    class Sees(torch.optim.SGD):
        def step(self, *_: Any) -> None:  # type: ignore[override]
            seen.append((self.param_groups[0]["weight_decay"], dropout.p))
            super().step()

    @dataclass(frozen=True)
    class Seen:
        def make(self, module: nn.Module, lr: float) -> torch.optim.Optimizer:
            return Sees(module.parameters(), lr=lr, weight_decay=0.5)

    recipe = replace(RECIPE, epochs=2, batch_size=100, optimizer=Seen(), easing=Falling())
    module = fresh(recipe)
    dropout = module[1]
    rows = blobs()
    train(recipe, module, rows, rows.inputs, cross_entropy(rows), seed=0)
    shares = torch.tensor([1, 0.75, 0.5, 0.25])[:, None]
    torch.testing.assert_close(torch.tensor(seen), shares * torch.tensor([0.5, 0.1]))
    assert dropout.p == 0.1  # as it was built


def test_long_trainings_are_judged_fifty_times_and_say_how_many_passes_were_made() -> None:
    recipe = replace(RECIPE, epochs=200, batch_size=200)
    _, curve = trained(recipe, score=scripted(range(0, -200, -1)))
    assert [epoch.epochs for epoch in curve.points] == list(range(4, 201, 4))
    _, short = trained(replace(recipe, epochs=40))
    assert [epoch.epochs for epoch in short.points] == list(range(1, 41))


def test_patience_is_in_epochs_however_many_are_judged() -> None:
    recipe = replace(RECIPE, epochs=200, batch_size=200, patience=10)
    _, curve = trained(recipe, score=scripted([3, 2, 5, 5, 5, 5, 5]))
    assert curve.best_index == 1
    assert [epoch.epochs for epoch in curve.points] == [4, 8, 12, 16, 20]


def test_subnormal_numbers_count_again_after_a_training() -> None:
    def counts() -> bool:
        return torch.tensor([1e-40]).mul(0.5).item() != 0

    seen: list[bool] = []
    trained(RECIPE, score=lambda out: seen.append(counts()) or 0.0)
    assert counts()
    assert all(seen)


def test_dropout_drops_as_many_as_told_and_keeps_the_mean() -> None:
    for p in (0.0, 0.1, 0.37, 0.9):
        layer, x = build(Dropout(p), (1000,)), torch.ones(1001, 1000)
        out = layer.train()(x)
        assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.003)
        assert out.mean().item() == pytest.approx(1, abs=0.02)
        assert len(out.unique()) == (2 if p else 1)
        rows = (out == 0).float()
        if p:  # places are dropped one by one
            assert rows.mean(0).std().item() == pytest.approx((p * (1 - p) / 1001) ** 0.5, rel=0.2)
            beside = ((rows[:, 1:] - p) * (rows[:, :-1] - p)).mean().item()
            assert abs(beside) < 0.003
        assert torch.equal(layer.eval()(x), x)


def test_dropout_passes_the_gradient_of_what_is_kept() -> None:
    layer, x = build(Dropout(0.4), (50,)), torch.randn(20, 50, requires_grad=True)
    out = layer.train()(x)
    out.sum().backward()
    kept = (out != 0).float() / 0.6
    torch.testing.assert_close(x.grad, kept, rtol=1e-4, atol=0)


def test_label_smoothing_is_that_of_the_loss() -> None:
    # one step at learning rate 0: the loss of the weights as they were drawn
    recipe = Training(Linear(2), lr=0.0, batch_size=200, epochs=1)
    rows = blobs()
    losses = [trained(replace(recipe, label_smoothing=s), rows)[1].points[0].loss for s in (0, 0.2)]
    out = fresh(recipe)(rows.inputs)
    wanted = [
        nn.functional.cross_entropy(out, rows.targets, label_smoothing=s).item() for s in (0, 0.2)
    ]
    assert losses == pytest.approx(wanted, rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(
    ("schedule", "start", "peak", "top", "end"),
    [
        (Constant(), 1.0, 0.5, 1.0, 1.0),
        (Cosine(), 0.01, 0.05, 1.0, 0.0),
        (Cosine(warmup=0.0), 1.0, 0.0, 1.0, 0.0),
        (Cosine(warmup=0.5), 0.01, 0.5, 1.0, 0.0),
        (OneCycle(), 0.04, 0.3, 1.0, 1e-4),
        (OneCycle(peak=0.6), 0.04, 0.6, 1.0, 1e-4),
    ],
)
def test_schedules(schedule: Schedule, start: float, peak: float, top: float, end: float) -> None:
    found = [schedule.factor(at) for at in (0.0, peak, 1.0)]
    assert found == pytest.approx([start, top, end], abs=1e-9)
    every = [schedule.factor(i / 200) for i in range(201)]
    at = every.index(max(every))
    assert every[: at + 1] == sorted(every[: at + 1])
    assert every[at:] == sorted(every[at:], reverse=True)
    assert max(every) <= 1 + 1e-12


def test_a_cosine_is_half_way_down_in_the_middle_of_its_fall() -> None:
    assert Cosine(warmup=0.2).factor(0.6) == pytest.approx(0.5)
    assert Cosine(warmup=0.2).factor(0.1) == pytest.approx(0.5)
    assert OneCycle(peak=0.2).factor(0.1) == pytest.approx(0.04 + 0.96 / 2)


@pytest.mark.parametrize("lr", [math.inf, math.nan, 1e30])
def test_a_diverging_training_is_infeasible(lr: float) -> None:
    with pytest.raises(InfeasibleCandidate, match=r"diverged.*Use a lower learning rate"):
        trained(replace(RECIPE, lr=lr, schedule=Constant(), optimizer=SGD(), clip=0.0))


def test_inputs_that_are_not_numbers_are_infeasible() -> None:
    rows = blobs()
    rows.inputs[7, 1] = math.nan
    with pytest.raises(InfeasibleCandidate, match="the loss became nan within 12 steps"):
        trained(RECIPE, rows)


def test_a_network_without_weights_is_infeasible() -> None:
    with pytest.raises(InfeasibleCandidate, match="must have weights to be trained"):
        trained(replace(RECIPE, network=Dropout()))


@pytest.mark.parametrize(("optimizer", "lr"), [(AdamW(), 1e-2), (SGD(), 0.1)])
def test_a_classifier_learns_what_can_be_told_apart(optimizer: Optimizer, lr: float) -> None:
    recipe = replace(RECIPE, epochs=15, optimizer=optimizer, lr=lr)
    module, curve = trained(recipe)
    rows = blobs(300)
    right = predict(module, rows.inputs).argmax(1) == rows.targets
    assert right.float().mean() > 0.95
    assert curve.points[-1].loss < curve.points[0].loss
    assert curve.seconds > 0


def test_a_regressor_learns_a_line() -> None:
    rows = line()
    recipe = Training(Linear(1), lr=0.05, batch_size=16, epochs=40)
    module, _ = trained(
        recipe, rows, score=lambda out: nn.functional.mse_loss(out[:, 0], rows.targets).item()
    )
    assert module.linear.weight.item() == pytest.approx(2, abs=0.05)
    assert module.linear.bias.item() == pytest.approx(-1, abs=0.05)


def test_a_batch_larger_than_the_rows_is_all_of_them() -> None:
    _, curve = trained(replace(RECIPE, batch_size=10_000, epochs=3))
    assert len(curve.points) == 3


@pytest.mark.parametrize(("n", "size"), [(127, 64), (255, 128), (500, 256), (95, 64), (10, 64)])
def test_every_row_is_seen_once_an_epoch_in_batches_of_nearly_one_size(n: int, size: int) -> None:
    seen: list[Tensor] = []

    class Sees(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x[:, 0])
            out: Tensor = self.linear(x)
            return out

    rows = LabelledData(torch.arange(float(n))[:, None], torch.arange(n) % 2)
    recipe = Training((), batch_size=size, epochs=1)
    train(recipe, Sees(), rows, rows.inputs, lambda out: 0.0, seed=0)
    assert sorted(torch.cat(seen).tolist()) == list(range(n))
    sizes = [len(batch) for batch in seen]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 1.5 * size


def test_a_batch_of_one_row_cannot_be_normalised() -> None:
    rows = LabelledData(torch.randn(5, 3), torch.arange(5) % 2)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(InfeasibleCandidate, match="batches of at least 2 rows, got 1"):
        train(Training((), batch_size=1), module, rows, rows.inputs, lambda out: 0.0, seed=0)
