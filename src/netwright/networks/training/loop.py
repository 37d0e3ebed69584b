"""The training loop: data in memory, epochs, the learning curve, the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.augmentation.mixing import Mixture
from netwright.networks.training.param_groups import decayed_parameters, set_learning_rate
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Constant
from netwright.networks.training.training_clock import TrainingClock


@dataclass(frozen=True)
class LabelledData:
    """Labelled rows in memory.

    Args:
        inputs: (n, ...) uint8 or float32.
        targets: (n,) int64 classes or float32 numbers.
        weights: (n,) float32 factors of the rows' losses; None for equal weights.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Tensor | slice) -> LabelledData:
        """Return the rows of these indices."""
        weights = None if self.weights is None else self.weights[rows]
        return LabelledData(self.inputs[rows], self.targets[rows], weights)


@dataclass(frozen=True)
class CurvePoint:
    """A point of the learning curve; long trainings have several epochs to a point.

    Args:
        loss: Mean training loss since the point before.
        validation_loss: Smaller is better.
        epochs: Passes over the training rows so far.
    """

    loss: float
    validation_loss: float
    epochs: int = 0


@dataclass(frozen=True)
class LearningCurve:
    """The learning curve of a training.

    Args:
        points: In order.
        best_index: Index of the point whose weights were kept.
        seconds: Duration of the training.
    """

    points: tuple[CurvePoint, ...]
    best_index: int
    seconds: float


ValidationLoss = Callable[[Tensor], float]
"""Outputs for the validation rows (n, outputs), on the CPU -> a loss; smaller is better."""


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
    callback: Callable[[CurvePoint], None] = lambda point: None,
) -> LearningCurve:
    """Train a module in place and leave it with its best weights, in evaluation mode on the CPU.

    The best weights are those with the smallest validation loss. It is computed after every epoch,
    or after every 2 % of the training if there are more than 50 epochs. Without a deadline the
    result depends on the seed alone (CPU).

    Args:
        recipe: The filled training recipe.
        module: The module to train.
        train_set: The training rows.
        validation_inputs: (n, ...) inputs of the validation rows.
        validation_loss: Loss of the outputs for them.
        seed: Of the order of rows, augmentation and dropout.
        fidelity: Factor of the epochs, in (0, 1].
        deadline: In seconds of `time.monotonic()`. The training ends early enough to predict the
            validation rows once more, and once again by the caller.
        callback: Called with each point of the learning curve.

    Returns:
        The learning curve.

    Raises:
        InfeasibleCandidate: The loss is not finite, or there is nothing to train.
    """
    start_time = time.monotonic()
    _check_trainable(recipe, module, train_set)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    if train_set.inputs.dim() == 4:  # convolutions run 5-12 % faster so, on CPU and GPU alike
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        torch.manual_seed(seed)
        end = deadline - 2 * _validation_seconds(module, validation_inputs, deadline)
        clock = TrainingClock(end, start_time=start_time)
        points: list[CurvePoint] = []
        best_index, best_state = 0, {}
        for loss, epochs in _TrainingLoop(recipe, module, train_set, seed, clock, fidelity):
            outputs = _check_finite(predict(module, validation_inputs))
            points.append(CurvePoint(loss, validation_loss(outputs), epochs))
            callback(points[-1])
            is_best = points[-1].validation_loss < points[best_index].validation_loss
            if len(points) == 1 or is_best:
                best_index = len(points) - 1
                best_state = {k: v.detach().clone() for k, v in module.state_dict().items()}
            if recipe.patience and epochs - points[best_index].epochs >= recipe.patience:
                break
    module.load_state_dict(best_state)
    module.eval().cpu()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as above
    return LearningCurve(tuple(points), best_index, time.monotonic() - start_time)


def _check_trainable(recipe: Training, module: nn.Module, train_set: LabelledData) -> None:
    if not any(True for _ in module.parameters()):
        raise InfeasibleCandidate("a network must have weights to be trained, got none.")
    if recipe.batch_size < 1:
        raise InfeasibleCandidate(expected("batch_size", "at least 1", recipe.batch_size))
    smallest_batch = len(train_set) // max(1, round(len(train_set) / recipe.batch_size))
    has_batch_norm = any(
        isinstance(submodule, nn.modules.batchnorm._BatchNorm) for submodule in module.modules()
    )
    if smallest_batch < 2 and has_batch_norm:
        raise InfeasibleCandidate(
            f"batch normalisation needs batches of at least 2 rows, got {smallest_batch}. "
            "Use layer normalisation, a larger batch_size or more rows."
        )


_TIMED_ROWS = 256
"""Validation rows that are predicted to estimate the time for all."""


def _validation_seconds(module: nn.Module, validation_inputs: Tensor, deadline: float) -> float:
    """Estimate how long predicting the validation rows takes; 0 if there is no deadline."""
    if math.isinf(deadline) or not len(validation_inputs):
        return 0.0
    sample = validation_inputs[:_TIMED_ROWS]
    predict(module, sample)  # the first call allocates
    start_time = time.monotonic()
    predict(module, sample)
    return (time.monotonic() - start_time) * len(validation_inputs) / len(sample)


@torch.no_grad()
def predict(module: nn.Module, inputs: Tensor, batch_size: int = 512) -> Tensor:
    """Return raw outputs (n, outputs) in evaluation mode, batch by batch, on the CPU as float32."""
    module.eval()
    device = next(module.parameters()).device
    batches = (module(batch.to(device)).float().cpu() for batch in inputs.split(batch_size))
    return torch.cat(list(batches))


_VALIDATION_INTERVAL = 0.02
"""Share of the training between two validations: each takes time, and a 50th is fine enough."""
_ROUNDING = 1e-9
"""Tolerance of sums of such shares."""


@dataclass(frozen=True)
class _TrainingLoop:
    """Iterating trains; yields mean training loss and epochs so far when validation is due."""

    recipe: Training
    module: nn.Module
    train_set: LabelledData
    seed: int
    clock: TrainingClock
    fidelity: float

    def __iter__(self) -> Iterator[tuple[float, int]]:
        recipe, train_set = self.recipe, _normalise_weights(self.train_set)
        device = next(self.module.parameters()).device
        generator = torch.Generator().manual_seed(self.seed)
        optimizer = recipe.optimizer.make(self.module, recipe.lr)
        train_step = _TrainStep(recipe, self.module, optimizer, device)
        # every row in every epoch, in batches of nearly equal size: no tiny last batch
        steps_per_epoch = max(1, round(len(train_set) / recipe.batch_size))
        n_steps = max(1, round(recipe.epochs * self.fidelity)) * steps_per_epoch
        step, epochs, progress, validated_at = 0, 0, 0.0, 0.0
        losses: list[Tensor] = []
        while step < n_steps and progress < 1:
            self.module.train()
            order = torch.randperm(len(train_set), generator=generator)
            for indices in order.tensor_split(steps_per_epoch):
                progress = self.clock.progress(step / n_steps)
                if progress >= 1 and step > 0:
                    break
                with _without_subnormals():
                    batch, mixture = _make_batch(
                        train_set, indices, device, recipe, generator, epochs
                    )
                    losses.append(train_step(batch, mixture, progress))
                step += 1
            epochs = -(-step // steps_per_epoch)
            reached = max(progress, step / n_steps)
            is_due = reached >= 1 or reached - validated_at >= _VALIDATION_INTERVAL - _ROUNDING
            if losses and is_due:
                yield _mean_loss(losses, step), epochs
                losses, validated_at = [], reached


@contextmanager
def _without_subnormals() -> Iterator[None]:
    """Flush numbers below 1e-38 to 0: gradients of a fitted network are, and slow a CPU down."""
    was_flushing = torch.tensor([1e-40]).mul(0.5).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushing)


def _normalise_weights(rows: LabelledData) -> LabelledData:
    """Divide the weights by their mean, so that the loss does not depend on their unit."""
    if rows.weights is None:
        return rows
    weights = rows.weights.float()
    if not (torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InfeasibleCandidate(
            "weights must be finite, at least 0 and not all 0. Drop the rows."
        )
    return replace(rows, weights=weights / weights.mean())


def _make_batch(
    rows: LabelledData,
    indices: Tensor,
    device: torch.device,
    recipe: Training,
    generator: torch.Generator,
    epoch: int,
) -> tuple[LabelledData, Mixture | None]:
    """Return rows on the device, augmented, and how they are mixed, if they are."""
    inputs = rows.inputs.index_select(0, indices).to(device)  # a third of the time of indexing
    context = BatchContext(generator, indices, epoch)
    for augmentation in recipe.augment:
        inputs = augmentation(inputs, context)
    mixture = None
    if recipe.mix is not None:
        inputs, mixture = recipe.mix(inputs, context)
    weights = None if rows.weights is None else rows.weights[indices].to(device)
    return LabelledData(inputs, rows.targets[indices].to(device), weights), mixture


class _TrainStep:
    """One optimisation step; in mixed precision on a GPU."""

    def __init__(
        self,
        recipe: Training,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        self.recipe, self.module, self.optimizer, self.device = recipe, module, optimizer, device
        self.mixed_precision = device.type == "cuda"
        has_bfloat16 = self.mixed_precision and torch.cuda.is_bf16_supported()
        self.autocast_dtype = torch.bfloat16 if has_bfloat16 else torch.float16
        self.scaler = torch.amp.GradScaler(
            enabled=self.mixed_precision and self.autocast_dtype is torch.float16
        )
        self.l1_parameters = decayed_parameters(module) if recipe.l1 else []
        self.weight_decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]
        dropouts = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
        self.dropouts = [(dropout, dropout.p) for dropout in dropouts]

    def __call__(self, batch: LabelledData, mixture: Mixture | None, progress: float) -> Tensor:
        recipe, progress = self.recipe, min(progress, 1.0)
        lr = recipe.lr * recipe.schedule.factor(progress)
        set_learning_rate(self.optimizer.param_groups, lr)
        self._scale_regularization(recipe.regularization_schedule.factor(progress))
        with torch.autocast(
            self.device.type, dtype=self.autocast_dtype, enabled=self.mixed_precision
        ):
            outputs = self.module(batch.inputs)
            loss = _mixed_loss(outputs, batch, mixture, recipe.label_smoothing)
        if recipe.l1:
            l1_norm = sum((w.abs().sum() for w in self.l1_parameters), torch.zeros(()))
            loss = loss + recipe.l1 * l1_norm
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if recipe.max_grad_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), recipe.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._scale_regularization(1.0)  # outside of steps the module has its own dropout
        return loss.detach()

    def _scale_regularization(self, factor: float) -> None:
        """Set weight decay and dropout to a multiple of the recipe's."""
        if isinstance(self.recipe.regularization_schedule, Constant):
            return
        for group, weight_decay in zip(
            self.optimizer.param_groups, self.weight_decays, strict=True
        ):
            group["weight_decay"] = weight_decay * factor
        for dropout, p in self.dropouts:
            dropout.p = p * factor


def _mixed_loss(
    outputs: Tensor, batch: LabelledData, mixture: Mixture | None, label_smoothing: float
) -> Tensor:
    """Return the loss for the targets of the rows and, as they were mixed, of their partners."""
    loss = training_loss(outputs, batch.targets, label_smoothing, batch.weights)
    if mixture is None:
        return loss
    partners = batch.take(mixture.partners)
    partners_loss = training_loss(outputs, partners.targets, label_smoothing, partners.weights)
    return mixture.share * loss + (1 - mixture.share) * partners_loss


def training_loss(
    outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Return the mean cross-entropy for integer targets, the mean squared error for others.

    Args:
        outputs: (batch, outputs). For (batch, members, outputs) it is the mean of the members'
            losses, not the loss of their mean: each learns by itself (2410.24210, sec. 3.3).
        targets: (batch,) int64 classes or float32 numbers.
        label_smoothing: Of the cross-entropy.
        weights: (batch,) factors of the rows' losses.
    """
    outputs = outputs.float()
    if outputs.dim() == 3:
        n_members = outputs.shape[1]
        outputs, targets = outputs.flatten(0, 1), targets.repeat_interleave(n_members)
        weights = None if weights is None else weights.repeat_interleave(n_members)
    reduction = "mean" if weights is None else "none"
    if targets.is_floating_point():
        loss = nn.functional.mse_loss(outputs.squeeze(1), targets, reduction=reduction)
    else:
        loss = nn.functional.cross_entropy(
            outputs, targets, label_smoothing=label_smoothing, reduction=reduction
        )
    return loss if weights is None else (loss * weights).mean()


def _mean_loss(losses: list[Tensor], step: int) -> float:
    """Return the mean loss; read once an epoch, since each read waits for the GPU."""
    loss = torch.stack(losses).mean().item()
    if not math.isfinite(loss):
        raise InfeasibleCandidate(
            f"training diverged: the loss became {loss} within {step} steps. "
            "Use a lower learning rate or clip the gradient."
        )
    return loss


def _check_finite(outputs: Tensor) -> Tensor:
    """Return the outputs; refuse those with NaN or infinity."""
    if not torch.isfinite(outputs).all():
        raise InfeasibleCandidate(
            "training diverged: the outputs for validation rows are not finite. "
            "Use a lower learning rate or clip the gradient."
        )
    return outputs
