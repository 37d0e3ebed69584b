"""The training loop: rows in memory, epochs, the learning curve, the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.param_groups import scale_rates, weights_of
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Constant
from netwright.networks.training.training_clock import TrainingClock


@dataclass(frozen=True)
class LabelledData:
    """Rows in memory: inputs (n, ...) uint8 or float32; targets (n,) int64 classes or float32.

    `weights` (n,) float32 say how much each counts in the loss; None where all count alike.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Tensor | slice) -> LabelledData:
        """Some of the rows, by their places."""
        weights = None if self.weights is None else self.weights[rows]
        return LabelledData(self.inputs[rows], self.targets[rows], weights)


@dataclass(frozen=True)
class CurvePoint:
    """One line of the learning curve: mean training loss, and the validation score (less is better).

    `passes`: over the training rows, so far. Long trainings have several of them in one line.
    """

    loss: float
    validation_loss: float
    epochs: int = 0


@dataclass(frozen=True)
class LearningCurve:
    """What a training left behind beside the weights; `best` is the line that was kept."""

    points: tuple[CurvePoint, ...]
    best_index: int
    seconds: float


ValidationLoss = Callable[[Tensor], float]
"""Outputs for the held-out rows (n, outputs), on the CPU -> a score of which less is better."""


def train(
    recipe: Training,
    module: nn.Module,
    train_set: LabelledData,
    validation_inputs: Tensor,
    validation_loss: ValidationLoss,
    *,
    seed: int,
    fidelity: float = 1.0,
    deadline: float = math.inf,
    callback: Callable[[CurvePoint], None] = lambda epoch: None,
) -> LearningCurve:
    """Trains `module` in place and leaves it with its best weights, in evaluation mode.

    The best epoch is the one with the least `score` of the outputs for `held_out`; of more than 50
    epochs those are judged that end another fiftieth of the training. `fidelity` scales the epochs;
    `deadline` is in seconds of `time.monotonic()`: the training ends so much before it that
    `held_out` can be judged, and judged once more by the caller. Without one, the seed gives the
    same on every call (CPU). Raises InfeasibleCandidate when the loss stops being a number, or when
    there is nothing to train.
    """
    start = time.monotonic()
    _refuse_untrainable(recipe, module, train_set)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    if train_set.inputs.dim() == 4:  # convolutions run 5-12 % faster so, on CPU and GPU alike
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        torch.manual_seed(seed)
        end = deadline - 2 * _judging_seconds(module, validation_inputs, deadline)
        loop = _Loop(
            recipe, module, train_set, seed, TrainingClock(end, start_time=start), fidelity
        )
        curve: list[CurvePoint] = []
        best, best_state = 0, {}
        for loss, passes in loop:
            curve.append(
                CurvePoint(
                    loss, validation_loss(_finite(predict(module, validation_inputs))), passes
                )
            )
            callback(curve[-1])
            if len(curve) == 1 or curve[-1].validation_loss < curve[best].validation_loss:
                best = len(curve) - 1
                best_state = {k: v.detach().clone() for k, v in module.state_dict().items()}
            if recipe.patience and passes - curve[best].epochs >= recipe.patience:
                break
    module.load_state_dict(best_state)
    module.eval().cpu()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as above
    return LearningCurve(tuple(curve), best, time.monotonic() - start)


def _refuse_untrainable(recipe: Training, module: nn.Module, rows: LabelledData) -> None:
    if not any(True for _ in module.parameters()):
        raise InfeasibleCandidate("a network must have weights to be trained, got none.")
    if recipe.batch_size < 1:
        raise InfeasibleCandidate(expected("batch_size", "at least 1", recipe.batch_size))
    smallest = len(rows) // max(1, round(len(rows) / recipe.batch_size))
    normed = any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in module.modules())
    if smallest < 2 and normed:
        raise InfeasibleCandidate(
            f"batch normalisation needs batches of at least 2 rows, got {smallest}. "
            "Use layer normalisation, a larger batch_size or more rows."
        )


def _judging_seconds(module: nn.Module, held_out: Tensor, deadline: float) -> float:
    """How long the outputs for `held_out` take, by some of them; 0 where no clock counts."""
    if math.isinf(deadline) or not len(held_out):
        return 0.0
    some = held_out[:256]
    predict(module, some)  # the first call allocates
    start = time.monotonic()
    predict(module, some)
    return (time.monotonic() - start) * len(held_out) / len(some)


@torch.no_grad()
def predict(module: nn.Module, inputs: Tensor, batch_size: int = 512) -> Tensor:
    """(n, outputs) of the module in evaluation mode, batch by batch, on the CPU as float32."""
    module.eval()
    device = next(module.parameters()).device
    batches = (module(batch.to(device)).float().cpu() for batch in inputs.split(batch_size))
    return torch.cat(list(batches))


_JUDGED = 0.02
"""Of the training, between two looks at the held-out rows: each costs, and says little more."""


@dataclass(frozen=True)
class _Loop:
    """Iterating runs epochs; yields the mean training loss and the passes that were made, where the
    held-out rows are to be judged."""

    recipe: Training
    module: nn.Module
    rows: LabelledData
    seed: int
    clock: TrainingClock
    fidelity: float

    def __iter__(self) -> Iterator[tuple[float, int]]:
        recipe, rows = self.recipe, _weighed(self.rows)
        device = next(self.module.parameters()).device
        generator = torch.Generator().manual_seed(self.seed)
        optimizer = recipe.optimizer.make(self.module, recipe.lr)
        step_of = _Step(recipe, self.module, optimizer, device)
        # every row in every epoch, in batches of nearly one size: no tiny last one
        epoch_steps = max(1, round(len(rows) / recipe.batch_size))
        steps = max(1, round(recipe.epochs * self.fidelity)) * epoch_steps
        step, passes, progress, judged = 0, 0, 0.0, 0.0
        losses: list[Tensor] = []
        while step < steps and progress < 1:
            self.module.train()
            order = torch.randperm(len(rows), generator=generator)
            for batch in order.tensor_split(epoch_steps):
                progress = self.clock.progress(step / steps)
                if progress >= 1 and step > 0:
                    break
                with _without_subnormals():
                    losses.append(step_of(_batch(rows, batch, device, recipe, generator), progress))
                step += 1
            passes = -(-step // epoch_steps)
            reached = max(progress, step / steps)
            if losses and (reached >= 1 or reached - judged >= _JUDGED - 1e-9):
                yield _mean(losses, step), passes
                losses, judged = [], reached


@contextmanager
def _without_subnormals() -> Iterator[None]:
    """Numbers below 1e-38 count as 0: a fitted network's gradients are, and take a CPU many times
    as long."""
    before = torch.tensor([1e-40]).mul(0.5).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _weighed(rows: LabelledData) -> LabelledData:
    """The rows with weights of mean 1: a loss does not depend on their unit."""
    if rows.weights is None:
        return rows
    weights = rows.weights.float()
    if not (torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InfeasibleCandidate(
            "weights must be finite, at least 0 and not all 0. Drop the rows."
        )
    return replace(rows, weights=weights / weights.mean())


def _batch(
    rows: LabelledData,
    at: Tensor,
    device: torch.device,
    recipe: Training,
    generator: torch.Generator,
) -> LabelledData:
    """Some rows on the device, augmented."""
    inputs = rows.inputs.index_select(0, at).to(device)  # a third of the time of indexing
    for augmentation in recipe.augment:
        inputs = augmentation(inputs, generator)
    weights = None if rows.weights is None else rows.weights[at].to(device)
    return LabelledData(inputs, rows.targets[at].to(device), weights)


class _Step:
    """One step of gradient descent; mixed precision on a GPU."""

    def __init__(
        self,
        recipe: Training,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        self.recipe, self.module, self.optimizer, self.device = recipe, module, optimizer, device
        self.mixed = device.type == "cuda"
        half = torch.bfloat16 if self.mixed and torch.cuda.is_bf16_supported() else torch.float16
        self.half = half
        self.scaler = torch.amp.GradScaler(enabled=self.mixed and half is torch.float16)
        self.weights = weights_of(module) if recipe.l1 else []
        self.decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]
        dropouts = [one for one in module.modules() if isinstance(one, nn.Dropout)]
        self.dropouts = [(one, one.p) for one in dropouts]

    def __call__(self, rows: LabelledData, progress: float) -> Tensor:
        recipe, progress = self.recipe, min(progress, 1.0)
        scale_rates(self.optimizer.param_groups, recipe.lr * recipe.schedule.factor(progress))
        self._ease(recipe.regularization_schedule.factor(progress))
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.mixed):
            output = self.module(rows.inputs)
            loss = training_loss(output, rows.targets, recipe.label_smoothing, rows.weights)
        if recipe.l1:
            loss = loss + recipe.l1 * sum((w.abs().sum() for w in self.weights), torch.zeros(()))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if recipe.max_grad_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), recipe.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._ease(1.0)  # whoever looks at the module finds it as it was
        return loss.detach()

    def _ease(self, factor: float) -> None:
        """Weight decay and dropout at a factor of what the recipe says."""
        if isinstance(self.recipe.regularization_schedule, Constant):
            return
        for group, decay in zip(self.optimizer.param_groups, self.decays, strict=True):
            group["weight_decay"] = decay * factor
        for dropout, p in self.dropouts:
            dropout.p = p * factor


def training_loss(
    output: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of (batch, classes) with whole-number targets, squared error otherwise.

    Of (batch, members, outputs) the mean of the members' losses, not the loss of their mean: each
    learns by itself (2410.24210, sec. 3.3). `weights` (batch,) are factors of the rows' losses.
    """
    output = output.float()
    if output.dim() == 3:
        members = output.shape[1]
        output, targets = output.flatten(0, 1), targets.repeat_interleave(members)
        weights = None if weights is None else weights.repeat_interleave(members)
    reduction = "mean" if weights is None else "none"
    if targets.is_floating_point():
        loss = nn.functional.mse_loss(output.squeeze(1), targets, reduction=reduction)
    else:
        loss = nn.functional.cross_entropy(
            output, targets, label_smoothing=label_smoothing, reduction=reduction
        )
    return loss if weights is None else (loss * weights).mean()


def _mean(losses: list[Tensor], step: int) -> float:
    """The mean loss of an epoch; looked at once an epoch, since each look waits for the GPU."""
    loss = torch.stack(losses).mean().item()
    if not math.isfinite(loss):
        raise InfeasibleCandidate(
            f"training diverged: the loss became {loss} within {step} steps. "
            "Use a lower learning rate or clip the gradient."
        )
    return loss


def _finite(output: Tensor) -> Tensor:
    """The outputs, refused when any is not a number."""
    if not torch.isfinite(output).all():
        raise InfeasibleCandidate(
            "training diverged: the outputs for held-out rows are not finite. "
            "Use a lower learning rate or clip the gradient."
        )
    return output
