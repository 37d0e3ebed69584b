"""The training loop: seeds, the best epoch, deadlines, and the effect of each option."""

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
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.augmentation.geometry import Crop, Flip
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import CurvePoint, LearningCurve, predict, train
from netwright.networks.training.optimizers import SGD, AdamW, Optimizer
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Constant, Cosine, OneCycle, Schedule
from netwright.networks.training.train_step import training_loss

NET = (Linear(16, activation="relu"), Dropout(0.1), Linear(2))
RECIPE = Training(NET, lr=1e-2, batch_size=16, epochs=4)


def blobs(n: int = 200) -> LabelledData:
    """Two classes, 4 standard deviations apart."""
    generator = torch.Generator().manual_seed(3)
    classes = torch.arange(n) % 2
    numbers = torch.randn(n, 3, generator=generator) + 4.0 * classes[:, None]
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
    options = {"validation_loss": cross_entropy(rows), **options}
    return module, train(recipe, module, rows, rows.inputs, seed=seed, **options)


def scripted(losses: Iterable[float]) -> Callable[[Tensor], float]:
    """Return these losses, whatever the outputs."""
    remaining = iter(losses)
    return lambda out: next(remaining)


def test_training_is_reproducible_bit_by_bit() -> None:
    first, curve = trained(RECIPE, seed=1)
    torch.rand(5)  # other draws do not matter
    again, same = trained(RECIPE, seed=1)
    other, _ = trained(RECIPE, seed=2)
    assert torch.equal(vector(first), vector(again))
    assert (curve.points, curve.best_index) == (same.points, same.best_index)
    assert not torch.equal(vector(first), vector(other))


def test_dropout_depends_on_the_seed() -> None:
    rows = LabelledData(
        torch.ones(32, 3), torch.zeros(32, dtype=torch.int64)
    )  # the order of rows does not matter
    first, again, other = (vector(trained(RECIPE, rows, seed=seed)[0]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_with_augmentation_is_reproducible() -> None:
    rows = LabelledData(torch.randn(32, 2, 6, 6), torch.arange(32) % 2)
    net = (Conv(4), GlobalPool(), Linear(2))
    recipe = Training(net, batch_size=8, epochs=2, augment=(Flip(), Crop(1)))
    (first, _), (again, _), (plain, _) = (
        trained(r, rows) for r in (recipe, recipe, replace(recipe, augment=()))
    )
    assert torch.equal(vector(first), vector(again))
    assert not torch.equal(vector(first), vector(plain))


@dataclass(frozen=True)
class RecordingAugmentation:
    seen: list[tuple[Tensor, BatchContext]]

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        self.seen.append((images.clone(), batch))
        return images


def test_augmentations_are_told_rows_and_epoch() -> None:
    rows = LabelledData(torch.randn(33, 2, 6, 6), torch.arange(33) % 2)
    augmentation = RecordingAugmentation([])
    recipe = Training(
        (Conv(4), GlobalPool(), Linear(2)), batch_size=8, epochs=3, augment=(augmentation,)
    )
    trained(recipe, rows)
    for images, batch in augmentation.seen:
        assert torch.equal(images, rows.inputs[batch.rows])
    for epoch in range(3):
        batches = [batch.rows for _, batch in augmentation.seen if batch.epoch == epoch]
        assert sorted(torch.cat(batches).tolist()) == list(range(33))
    assert len(augmentation.seen) == 12


def test_weights_are_contiguous_after_training() -> None:
    rows = LabelledData(torch.randn(8, 2, 6, 6), torch.arange(8) % 2)
    recipe = Training((Conv(4), GlobalPool(), Linear(2)), epochs=1)
    module, _ = trained(recipe, rows)
    assert all(tensor.is_contiguous() for tensor in module.state_dict().values())


def test_training_leaves_the_global_generator_alone() -> None:
    rows, module = blobs(), fresh(RECIPE)
    before = torch.get_rng_state()
    train(RECIPE, module, rows, rows.inputs, cross_entropy(rows), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("best", [0, 2, 3])
def test_weights_of_the_best_epoch_are_kept(best: int) -> None:
    losses = [5.0, 5.0, 5.0, 5.0]
    losses[best] = 1.0
    rows, module, states = blobs(), fresh(RECIPE), []
    scripted_loss = scripted(losses)

    def validation_loss(out: Tensor) -> float:
        states.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return scripted_loss(out)

    curve = train(RECIPE, module, rows, rows.inputs, validation_loss, seed=0)
    assert curve.best_index == best
    assert [point.validation_loss for point in curve.points] == losses
    final = module.state_dict()
    assert [all(torch.equal(final[k], v) for k, v in state.items()) for state in states] == [
        epoch == best for epoch in range(4)
    ]
    assert not module.training


def test_validation_loss_gets_outputs_in_evaluation_mode() -> None:
    rows, validation_inputs = blobs(), torch.randn(700, 3)
    seen: list[Tensor] = []

    def validation_loss(out: Tensor) -> float:
        seen.append(out)
        return 0.0 if len(seen) == 4 else 1.0

    module, _ = trained(RECIPE, rows)
    train(RECIPE, module, rows, validation_inputs, validation_loss, seed=0)
    assert torch.equal(seen[-1], predict(module, validation_inputs, batch_size=512))
    assert torch.allclose(seen[-1], module(validation_inputs), atol=1e-6)


def test_patience_ends_training_without_improvement() -> None:
    recipe = replace(RECIPE, epochs=50, patience=3)
    _, curve = trained(recipe, validation_loss=scripted([5, 4, 3, 3, 3, 3, 3, 3]))
    assert (len(curve.points), curve.best_index) == (6, 2)
    _, patient = trained(replace(RECIPE, epochs=7), validation_loss=scripted([1.0] * 7))
    assert (len(patient.points), patient.best_index) == (7, 0)


def test_fidelity_scales_the_epochs() -> None:
    seen: list[CurvePoint] = []
    _, curve = trained(replace(RECIPE, epochs=10), fidelity=0.3, callback=seen.append)
    assert len(curve.points) == 3
    assert tuple(seen) == curve.points
    assert len(trained(RECIPE, fidelity=1e-3)[1].points) == 1


@dataclass(frozen=True)
class RecordingSchedule:
    """A constant schedule that records the progress it is called with."""

    seen: list[float] = field(default_factory=list, hash=False)

    def factor(self, progress: float) -> float:
        self.seen.append(progress)
        return 1.0


@dataclass(frozen=True)
class ZeroSchedule:
    """No learning at all."""

    def factor(self, progress: float) -> float:
        return 0.0


def test_schedule_scales_the_learning_rate() -> None:
    untrained, _ = trained(replace(RECIPE, schedule=ZeroSchedule()))
    assert torch.equal(vector(untrained), vector(fresh(RECIPE)))


def test_schedule_without_deadline_follows_the_steps() -> None:
    schedule = RecordingSchedule()
    trained(replace(RECIPE, epochs=2, batch_size=60, schedule=schedule))  # 200 rows: 3 steps each
    assert schedule.seen == pytest.approx([step / 6 for step in range(6)])


def test_deadline_shortens_training_and_completes_the_schedule() -> None:
    schedule = RecordingSchedule()
    start = time.monotonic()
    recipe = replace(RECIPE, epochs=10**6, schedule=schedule)
    _, curve = trained(recipe, deadline=start + 0.6)
    assert 0.3 < time.monotonic() - start < 3
    assert schedule.seen == sorted(schedule.seen)
    assert 0.8 < schedule.seen[-1] <= 1
    assert len(curve.points) > 1


def test_passed_deadline_still_yields_a_model() -> None:
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
        spared = {name for name, p in module.named_parameters() if torch.equal(p, before[name])}
        norms = {n for n, p in before.items() if n.endswith("weight") and p.dim() == 1}
        assert spared == {name for name in before if "bias" in name} | norms
        for name, p in module.named_parameters():
            if name not in spared:
                assert (p.abs() <= before[name].abs()).all()


def test_negative_weight_decay_is_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match="weight_decay must be at least 0, got -1"):
        AdamW(weight_decay=-1).make(build(NET, (3,)), lr=0.1)


class _RecordingSGD(torch.optim.SGD):
    """Records the norm of the gradient of each step."""

    norms: list[float]

    def step(self, *_: Any) -> None:  # type: ignore[override]
        grads = [p.grad.norm() for group in self.param_groups for p in group["params"]]
        self.norms.append(torch.stack(grads).norm().item())
        super().step()


@dataclass(frozen=True)
class RecordingOptimizer:
    norms: list[float] = field(default_factory=list, hash=False)

    def make(self, module: nn.Module, lr: float) -> torch.optim.Optimizer:
        optimizer = _RecordingSGD(module.parameters(), lr=lr)
        optimizer.norms = self.norms
        return optimizer


def gradient_norms(max_grad_norm: float) -> list[float]:
    optimizer = RecordingOptimizer()
    trained(replace(RECIPE, max_grad_norm=max_grad_norm, optimizer=optimizer, lr=1e-4))
    return optimizer.norms


def test_max_grad_norm_bounds_the_gradient() -> None:
    free, clipped = gradient_norms(0.0), gradient_norms(0.05)
    assert max(free) > 0.5
    assert max(clipped) == pytest.approx(0.05, rel=1e-3)
    assert len(free) == len(clipped) == 4 * (200 // 16)


def test_l1_shrinks_weights_and_is_part_of_the_loss() -> None:
    recipe = replace(RECIPE, epochs=10, optimizer=AdamW(weight_decay=0.0))
    falling = scripted(range(0, -10, -1))
    plain, _ = trained(recipe, validation_loss=falling)
    sparse, curve = trained(replace(recipe, l1=0.05), validation_loss=scripted(range(0, -10, -1)))

    def size(module: nn.Module) -> float:
        return sum(p.abs().sum().item() for p in module.parameters() if p.dim() > 1)

    assert size(sparse) < 0.7 * size(plain)
    assert curve.points[-1].loss > 0.05 * size(sparse) * 0.5


def test_l1_spares_biases() -> None:
    recipe = Training(Linear(2), lr=0.0, batch_size=200, epochs=1)
    plain, sparse = (trained(replace(recipe, l1=l1))[1].points[0].loss for l1 in (0.0, 0.1))
    weights = fresh(recipe).linear.weight.abs().sum().item()
    assert sparse - plain == pytest.approx(0.1 * weights, rel=1e-3)


def test_row_of_weight_2_counts_twice() -> None:
    out, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0])
    twice = torch.tensor([0, 0, 2, 3])
    expected = training_loss(out[twice], targets[twice])
    torch.testing.assert_close(training_loss(out, targets, weights=weights), expected)
    numbers = targets.float()
    expected = training_loss(out[twice, :1], numbers[twice])
    torch.testing.assert_close(training_loss(out[:, :1], numbers, weights=weights), expected)
    smoothed = (
        training_loss(out, targets, 0.1, weights),
        training_loss(out[twice], targets[twice], 0.1),
    )
    torch.testing.assert_close(*smoothed)


def test_relative_row_weights_decide_what_is_learnt() -> None:
    """Two lines in one cloud of rows: the weights choose between them."""
    x = torch.linspace(-1, 1, 200)[:, None]
    first = torch.arange(200) % 2 == 0
    targets = torch.where(first, 2 * x[:, 0], -2 * x[:, 0])
    recipe = Training(Linear(1), lr=0.05, batch_size=20, epochs=30)

    def slope(weights: Tensor) -> float:
        rows = LabelledData(x, targets, weights)
        falling = scripted(range(0, -30, -1))
        return trained(recipe, rows, validation_loss=falling)[0].linear.weight.item()

    assert slope(first.float()) == pytest.approx(2, abs=0.1)
    assert slope(1 - first.float()) == pytest.approx(-2, abs=0.1)
    assert slope(0.5 + first.float()) == pytest.approx(1, abs=0.3)
    assert slope(1000 * first.float()) == pytest.approx(slope(first.float()), abs=1e-4)


def test_equal_row_weights_change_nothing() -> None:
    rows = blobs()
    weighed = replace(rows, weights=torch.full((200,), 3.0))
    plain, equal = trained(RECIPE, rows)[0], trained(RECIPE, weighed)[0]
    torch.testing.assert_close(vector(plain), vector(equal))


def test_take_selects_weights_too() -> None:
    rows = replace(blobs(6), weights=torch.arange(6.0))
    assert rows.take(torch.tensor([4, 1])).weights is not None
    assert torch.equal(rows.take(torch.tensor([4, 1])).weights, torch.tensor([4.0, 1.0]))
    assert blobs(6).take(slice(2)).weights is None


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_invalid_row_weights_are_refused(wrong: float) -> None:
    weights = torch.ones(200)
    weights[3] = wrong
    with pytest.raises(InfeasibleCandidate, match="weights must be finite"):
        trained(RECIPE, replace(blobs(), weights=weights))
    with pytest.raises(InfeasibleCandidate, match="not all 0"):
        trained(RECIPE, replace(blobs(), weights=torch.zeros(200)))


@dataclass(frozen=True)
class LinearDecay:
    """From 1 to 0."""

    def factor(self, progress: float) -> float:
        return 1 - progress


def test_regularization_schedule_scales_dropout_and_weight_decay() -> None:
    seen: list[tuple[float, float]] = []

    class RecordingSGD(torch.optim.SGD):
        def step(self, *_: Any) -> None:  # type: ignore[override]
            seen.append((self.param_groups[0]["weight_decay"], dropout.p))
            super().step()

    @dataclass(frozen=True)
    class RecordingOptimizer:
        def make(self, module: nn.Module, lr: float) -> torch.optim.Optimizer:
            return RecordingSGD(module.parameters(), lr=lr, weight_decay=0.5)

    recipe = replace(
        RECIPE,
        epochs=2,
        batch_size=100,
        optimizer=RecordingOptimizer(),
        regularization_schedule=LinearDecay(),
    )
    module = fresh(recipe)
    dropout = module[1]
    rows = blobs()
    train(recipe, module, rows, rows.inputs, cross_entropy(rows), seed=0)
    factors = torch.tensor([1, 0.75, 0.5, 0.25])[:, None]
    torch.testing.assert_close(torch.tensor(seen), factors * torch.tensor([0.5, 0.1]))
    assert dropout.p == 0.1  # as it was built


def test_long_training_is_validated_fifty_times() -> None:
    recipe = replace(RECIPE, epochs=200, batch_size=200)
    _, curve = trained(recipe, validation_loss=scripted(range(0, -200, -1)))
    assert [point.epochs for point in curve.points] == list(range(4, 201, 4))
    _, short = trained(replace(recipe, epochs=40))
    assert [point.epochs for point in short.points] == list(range(1, 41))


def test_patience_counts_epochs_not_validations() -> None:
    recipe = replace(RECIPE, epochs=200, batch_size=200, patience=10)
    _, curve = trained(recipe, validation_loss=scripted([3, 2, 5, 5, 5, 5, 5]))
    assert curve.best_index == 1
    assert [point.epochs for point in curve.points] == [4, 8, 12, 16, 20]


def test_flushing_of_subnormals_ends_with_training() -> None:
    def keeps_subnormals() -> bool:
        return torch.tensor([1e-40]).mul(0.5).item() != 0

    seen: list[bool] = []
    trained(RECIPE, validation_loss=lambda out: seen.append(keeps_subnormals()) or 0.0)
    assert keeps_subnormals()
    assert all(seen)


def test_dropout_drops_a_share_of_p_and_preserves_the_mean() -> None:
    for p in (0.0, 0.1, 0.37, 0.9):
        layer, x = build(Dropout(p), (1000,)), torch.ones(1001, 1000)
        out = layer.train()(x)
        assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.003)
        assert out.mean().item() == pytest.approx(1, abs=0.02)
        assert len(out.unique()) == (2 if p else 1)
        dropped = (out == 0).float()
        if p:  # elements are dropped independently
            assert dropped.mean(0).std().item() == pytest.approx(
                (p * (1 - p) / 1001) ** 0.5, rel=0.2
            )
            covariance = ((dropped[:, 1:] - p) * (dropped[:, :-1] - p)).mean().item()
            assert abs(covariance) < 0.003
        assert torch.equal(layer.eval()(x), x)


def test_dropout_passes_gradients_of_kept_elements() -> None:
    layer, x = build(Dropout(0.4), (50,)), torch.randn(20, 50, requires_grad=True)
    out = layer.train()(x)
    out.sum().backward()
    scale = (out != 0).float() / 0.6
    torch.testing.assert_close(x.grad, scale, rtol=1e-4, atol=0)


def test_label_smoothing_reaches_the_loss() -> None:
    # one step at learning rate 0: the loss of the initial weights
    recipe = Training(Linear(2), lr=0.0, batch_size=200, epochs=1)
    rows = blobs()
    losses = [trained(replace(recipe, label_smoothing=s), rows)[1].points[0].loss for s in (0, 0.2)]
    out = fresh(recipe)(rows.inputs)
    expected = [
        nn.functional.cross_entropy(out, rows.targets, label_smoothing=s).item() for s in (0, 0.2)
    ]
    assert losses == pytest.approx(expected, rel=1e-5)
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
def test_schedules_rise_to_the_peak_and_fall(
    schedule: Schedule, start: float, peak: float, top: float, end: float
) -> None:
    key_factors = [schedule.factor(progress) for progress in (0.0, peak, 1.0)]
    assert key_factors == pytest.approx([start, top, end], abs=1e-9)
    factors = [schedule.factor(i / 200) for i in range(201)]
    i_max = factors.index(max(factors))
    assert factors[: i_max + 1] == sorted(factors[: i_max + 1])
    assert factors[i_max:] == sorted(factors[i_max:], reverse=True)
    assert max(factors) <= 1 + 1e-12


def test_cosine_is_one_half_in_the_middle() -> None:
    assert Cosine(warmup=0.2).factor(0.6) == pytest.approx(0.5)
    assert Cosine(warmup=0.2).factor(0.1) == pytest.approx(0.5)
    assert OneCycle(peak=0.2).factor(0.1) == pytest.approx(0.04 + 0.96 / 2)


@pytest.mark.parametrize("lr", [math.inf, math.nan, 1e30])
def test_diverging_training_is_infeasible(lr: float) -> None:
    with pytest.raises(InfeasibleCandidate, match=r"diverged.*Use a lower learning rate"):
        trained(replace(RECIPE, lr=lr, schedule=Constant(), optimizer=SGD(), max_grad_norm=0.0))


def test_nan_inputs_are_infeasible() -> None:
    rows = blobs()
    rows.inputs[7, 1] = math.nan
    with pytest.raises(InfeasibleCandidate, match="the loss became nan within 12 steps"):
        trained(RECIPE, rows)


def test_network_without_weights_is_infeasible() -> None:
    with pytest.raises(InfeasibleCandidate, match="must have weights to be trained"):
        trained(replace(RECIPE, network=Dropout()))


@pytest.mark.parametrize(("optimizer", "lr"), [(AdamW(), 1e-2), (SGD(), 0.1)])
def test_classifier_learns_separable_classes(optimizer: Optimizer, lr: float) -> None:
    recipe = replace(RECIPE, epochs=15, optimizer=optimizer, lr=lr)
    module, curve = trained(recipe)
    rows = blobs(300)
    is_correct = predict(module, rows.inputs).argmax(1) == rows.targets
    assert is_correct.float().mean() > 0.95
    assert curve.points[-1].loss < curve.points[0].loss
    assert curve.seconds > 0


def test_regressor_learns_a_line() -> None:
    rows = line()
    recipe = Training(Linear(1), lr=0.05, batch_size=16, epochs=40)
    module, _ = trained(
        recipe,
        rows,
        validation_loss=lambda out: nn.functional.mse_loss(out[:, 0], rows.targets).item(),
    )
    assert module.linear.weight.item() == pytest.approx(2, abs=0.05)
    assert module.linear.bias.item() == pytest.approx(-1, abs=0.05)


def test_batch_size_above_the_rows_takes_all_rows() -> None:
    _, curve = trained(replace(RECIPE, batch_size=10_000, epochs=3))
    assert len(curve.points) == 3


@pytest.mark.parametrize(("n", "size"), [(127, 64), (255, 128), (500, 256), (95, 64), (10, 64)])
def test_epoch_has_every_row_once_in_equal_batches(n: int, size: int) -> None:
    seen: list[Tensor] = []

    class RecordingModule(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x[:, 0])
            output: Tensor = self.linear(x)
            return output

    rows = LabelledData(torch.arange(float(n))[:, None], torch.arange(n) % 2)
    recipe = Training((), batch_size=size, epochs=1)
    train(recipe, RecordingModule(), rows, rows.inputs, lambda out: 0.0, seed=0)
    assert sorted(torch.cat(seen).tolist()) == list(range(n))
    sizes = [len(batch) for batch in seen]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 1.5 * size


def test_batch_norm_refuses_batches_of_one_row() -> None:
    rows = LabelledData(torch.randn(5, 3), torch.arange(5) % 2)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(InfeasibleCandidate, match="batches of at least 2 rows, got 1"):
        train(Training((), batch_size=1), module, rows, rows.inputs, lambda out: 0.0, seed=0)


def test_balanced_classes_move_the_boundary_towards_the_frequent_class() -> None:
    """Overlapping classes, one of them rare: without weights it is hardly ever predicted."""
    generator = torch.Generator().manual_seed(3)
    classes = (torch.arange(400) % 20 == 0).long()
    numbers = torch.randn(400, 3, generator=generator) + 0.7 * classes[:, None]
    rows = LabelledData(numbers, classes)
    shares = []
    for recipe in (RECIPE, replace(RECIPE, class_weight="balanced")):
        module, _ = trained(recipe, rows)
        shares.append(float((predict(module, rows.inputs).argmax(1) == 1).float().mean()))
    assert shares[0] < 0.05
    assert 0.2 < shares[1] < 0.8
