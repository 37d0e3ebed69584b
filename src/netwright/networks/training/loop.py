"""The training loop: data in memory, epochs, the learning curve, the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.adaptive_threads import AdaptiveThreads
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.augmentation.mixing import Mixture
from netwright.networks.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from netwright.networks.training.compute_settings import (
    ComputeSettings,
    default_settings,
    fastest_settings,
    threads,
)
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.recipe import Training
from netwright.networks.training.train_step import TrainStep
from netwright.networks.training.training_clock import TrainingClock


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
    epochs: float = 0


@dataclass(frozen=True)
class LearningCurve:
    """The learning curve of a training.

    Args:
        points: In order.
        best_index: Index of the point whose weights were kept.
        seconds: Duration of the training.
        rows_per_second: Training rows that were learnt from in a second of training steps; without
            the first step, which sets up memory.
        precision: "float32", "bfloat16" or "float16": of the forward passes.
        n_threads: Threads on the CPU.
    """

    points: tuple[CurvePoint, ...]
    best_index: int
    seconds: float
    rows_per_second: float = 0.0
    precision: str = "float32"
    n_threads: int = 1


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
    checkpoint_folder: Path | None = None,
) -> LearningCurve:
    """Train a module in place and leave it in evaluation mode on the CPU.

    It keeps the weights with the smallest validation loss, or with `recipe.select` "last" those of
    the end. The loss is computed after every epoch, or after every 2 % of the training if there are
    more than 50 epochs; under a deadline also less often, where it would take a larger share of the
    time. Without a deadline the result depends on the seed alone (CPU); under one, precision and
    threads for images are chosen by timing steps.

    Args:
        recipe: The filled training recipe.
        module: The module to train.
        train_set: The training rows.
        validation_inputs: (n, ...) inputs of the validation rows.
        validation_loss: Loss of the outputs for them.
        seed: Of the order of rows, augmentation and dropout.
        fidelity: Factor of the epochs, in (0, 1].
        deadline: In seconds of `time.monotonic()`. The training ends early enough to predict the
            validation rows once more.
        callback: Called with each point of the learning curve.
        checkpoint_folder: Under a deadline the training is saved there every minute, and goes on
            from what is there already; None for no checkpoints.

    Returns:
        The learning curve.

    Raises:
        InfeasibleCandidate: The loss is not finite, or there is nothing to train.
    """
    start_time = time.monotonic()
    _check_trainable(recipe, module, train_set)
    if recipe.class_weight == "balanced":
        train_set = train_set.with_balanced_classes()
    settings = _prepare(module, train_set.inputs[: recipe.batch_size], deadline)
    best = _BestWeights(recipe, module)
    adaptive_threads = _adaptive_threads(module, train_set.inputs, settings, deadline)
    # dropout draws from the global generator
    with torch.random.fork_rng(devices=[]), threads(settings.n_threads):
        torch.manual_seed(seed)
        seconds = _validation_seconds(module, validation_inputs, deadline)
        loop = _TrainingLoop(
            recipe,
            module,
            train_set,
            seed,
            deadline - seconds,
            fidelity,
            settings,
            _validation_interval(recipe, seconds, deadline),
            checkpoint_folder if math.isfinite(deadline) else None,
            adaptive_threads,
        )
        for loss, epochs in loop:
            outputs = _check_finite(predict(module, validation_inputs))
            best.add(CurvePoint(loss, validation_loss(outputs), epochs))
            callback(best.points[-1])
            if best.is_out_of_patience:
                break
        n_threads = torch.get_num_threads()
    best.restore()
    module.eval().cpu()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs lack it
    seconds = time.monotonic() - start_time
    precision = str(settings.autocast_dtype or torch.float32).removeprefix("torch.")
    return LearningCurve(
        tuple(best.points), best.index, seconds, loop.rows_per_second, precision, n_threads
    )


def _prepare(module: nn.Module, batch: Tensor, deadline: float) -> ComputeSettings:
    """Move the module to its device and memory format, and return how its steps are computed.

    Under a deadline, precision and threads for images (batch, c, h, w) on the CPU are the fastest of
    some timed steps.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    if batch.dim() != 4:
        return default_settings(device)
    # convolutions run 5-12 % faster so, on CPU and GPU alike
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    if math.isinf(deadline) or device.type != "cpu":
        return default_settings(device)
    return fastest_settings(module, batch, _MAX_TIMING_SHARE * (deadline - time.monotonic()))


def _adaptive_threads(
    module: nn.Module, inputs: Tensor, settings: ComputeSettings, deadline: float
) -> AdaptiveThreads | None:
    """Return what chooses the threads while images are trained on the CPU until a deadline."""
    n_available, device = torch.get_num_threads(), next(module.parameters()).device
    if math.isinf(deadline) or device.type != "cpu" or inputs.dim() != 4 or n_available == 1:
        return None
    return AdaptiveThreads(n_available, settings.n_threads or n_available)


class _BestWeights:
    """The learning curve, and the weights of its best point, or of the last with `select` "last".

    Attributes:
        points: of the curve so far.
        index: of the point whose weights are kept.
    """

    def __init__(self, recipe: Training, module: nn.Module) -> None:
        self._recipe, self._module = recipe, module
        self.points: list[CurvePoint] = []
        self.index = 0
        self._state: dict[str, Tensor] = {}

    def add(self, point: CurvePoint) -> None:
        """Add a point for the module's present weights."""
        self.points.append(point)
        is_first = len(self.points) == 1
        if self._recipe.select == "last":
            self.index = len(self.points) - 1
        elif is_first or point.validation_loss < self.points[self.index].validation_loss:
            self.index = len(self.points) - 1
            state = self._module.state_dict()
            self._state = {name: tensor.detach().clone() for name, tensor in state.items()}

    @property
    def is_out_of_patience(self) -> bool:
        """Whether there has been no better point for so many epochs as the recipe allows."""
        waited = self.points[-1].epochs - self.points[self.index].epochs
        return bool(self._recipe.patience) and waited >= self._recipe.patience

    def restore(self) -> None:
        """Set the module to the weights that are kept."""
        if self._state:
            self._module.load_state_dict(self._state)


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


_MAX_TIMING_SHARE = 0.1
"""Share of the time after which no further step is timed to choose precision and threads."""
_TIMED_ROWS = 128
"""Validation rows that are predicted to estimate the time for all."""
_MAX_PREDICTION_SHARE = 0.3
"""Share of the time that is kept back for that at most: a training without steps is worth nothing."""


def _validation_seconds(module: nn.Module, validation_inputs: Tensor, deadline: float) -> float:
    """Estimate how long predicting the validation rows takes; 0 if there is no deadline."""
    if math.isinf(deadline) or not len(validation_inputs):
        return 0.0
    sample = validation_inputs[:_TIMED_ROWS]
    predict(module, sample)  # the first call allocates
    timings = []
    for _ in range(2):
        start_time = time.monotonic()
        predict(module, sample)
        timings.append(time.monotonic() - start_time)
    seconds_left = max(0.0, deadline - time.monotonic())
    seconds = min(timings) * len(validation_inputs) / len(sample)
    return min(seconds, _MAX_PREDICTION_SHARE * seconds_left)


@torch.no_grad()
def predict(module: nn.Module, inputs: Tensor, batch_size: int = 512) -> Tensor:
    """Return raw outputs (n, outputs) in evaluation mode, batch by batch, on the CPU as float32."""
    module.eval()
    device = next(module.parameters()).device
    batches = (module(batch.to(device)).float().cpu() for batch in inputs.split(batch_size))
    return torch.cat(list(batches))


_VALIDATION_INTERVAL = 0.02
"""Share of the training between two validations: each takes time, and a 50th is fine enough."""
_MAX_VALIDATION_SHARE = {"best": 0.05, "last": 0.01}
"""Share of the time for validations; those of the end are only shown."""
_ROUNDING = 1e-9
"""Tolerance of sums of such shares."""
_CHECKPOINT_SECONDS = 60.0


def _validation_interval(recipe: Training, seconds: float, deadline: float) -> float:
    """Return the share of the training between validations that take so many seconds each."""
    if math.isinf(deadline):
        return _VALIDATION_INTERVAL
    seconds_left = max(deadline - time.monotonic(), seconds, 1e-9)
    share = seconds / seconds_left / _MAX_VALIDATION_SHARE[recipe.select]
    return min(1.0, max(_VALIDATION_INTERVAL, share))


class _TrainingLoop:
    """Iterating trains; yields mean training loss and epochs so far when validation is due.

    Args:
        recipe: How the module is trained.
        module: On the device.
        train_set: The training rows.
        seed: Of the order of rows and of augmentation.
        deadline: In seconds of `time.monotonic()`, by which the training ends.
        fidelity: Factor of the epochs.
        settings: Precision of the steps.
        validation_interval: Share of the training between validations.
        checkpoint_folder: Takes the state every minute; None for no checkpoints.
        adaptive_threads: Chooses the number of threads of each step; None to leave it.
    """

    def __init__(
        self,
        recipe: Training,
        module: nn.Module,
        train_set: LabelledData,
        seed: int,
        deadline: float,
        fidelity: float,
        settings: ComputeSettings,
        validation_interval: float,
        checkpoint_folder: Path | None,
        adaptive_threads: AdaptiveThreads | None = None,
    ) -> None:
        self.recipe, self.module, self.seed = recipe, module, seed
        self.train_set = train_set.with_normalized_weights()
        self.device = next(module.parameters()).device
        self.optimizer = recipe.optimizer.make(module, recipe.lr)
        self.train_step = TrainStep(recipe, module, self.optimizer, self.device, settings)
        # every row in every epoch, in batches of nearly equal size: no tiny last batch
        self.steps_per_epoch = max(1, round(len(train_set) / recipe.batch_size))
        self.n_steps = max(1, round(recipe.epochs * fidelity)) * self.steps_per_epoch
        self.validation_interval = validation_interval
        self.checkpoint_folder = checkpoint_folder
        self.adaptive_threads = adaptive_threads
        self.saved_at = time.monotonic()
        self.state = TrainingState(0.0, 0)
        restored = checkpoint_folder and load_checkpoint(checkpoint_folder, module, self.optimizer)
        if restored:  # at least one step is left, after which the weights are validated
            self.state = replace(restored, step=min(restored.step, self.n_steps - 1))
        self.clock = TrainingClock(deadline, self.state.progress, self.saved_at)
        self.n_rows = 0
        self._seconds_per_row: list[float] = []

    def __iter__(self) -> Iterator[tuple[float, float]]:
        generator = torch.Generator().manual_seed(self.seed + self.state.step)
        step, progress, validated_at = self.state.step, self.state.progress, self.state.progress
        losses: list[Tensor] = []
        while step < self.n_steps and progress < 1:
            self.module.train()
            epoch = step // self.steps_per_epoch
            order = torch.randperm(len(self.train_set), generator=generator)
            for indices in order.tensor_split(self.steps_per_epoch):
                step_start_time = time.monotonic()
                progress = self.clock.progress(step / self.n_steps)
                if progress >= 1 and self.n_rows > 0:
                    break
                with _without_subnormals():
                    batch, mixture = _make_batch(
                        self.train_set, indices, self.device, self.recipe, generator, epoch
                    )
                    losses.append(self.train_step(batch, mixture, progress))
                if self.n_rows:
                    self._add_step(time.monotonic() - step_start_time, len(indices))
                step, self.n_rows = step + 1, self.n_rows + len(indices)
                self._save_if_due(progress, step)
            epochs = step / self.steps_per_epoch
            reached = max(progress, step / self.n_steps)
            next_due = validated_at + self.validation_interval
            if losses and (reached >= 1 or reached >= next_due - _ROUNDING):
                yield _mean_loss(losses, step), epochs
                losses, validated_at = [], reached

    def _add_step(self, seconds: float, n_rows: int) -> None:
        """Take note of a step's time, and set the number of threads of the next one."""
        self._seconds_per_row.append(seconds / n_rows)
        if self.adaptive_threads is not None:
            before = self.adaptive_threads.n_threads
            self.adaptive_threads.add(seconds)
            if self.adaptive_threads.n_threads != before:
                torch.set_num_threads(self.adaptive_threads.n_threads)

    @property
    def rows_per_second(self) -> float:
        """Rows of a second of training steps, by the quarter of steps that were not disturbed.

        0 if there was a single step.
        """
        if not self._seconds_per_row:
            return 0.0
        ordered = sorted(self._seconds_per_row)
        return 1 / ordered[len(ordered) // 4]

    def _save_if_due(self, progress: float, step: int) -> None:
        if self.checkpoint_folder is None or progress >= 1:
            return
        now = time.monotonic()
        if now - self.saved_at >= _CHECKPOINT_SECONDS:
            state = TrainingState(progress, step)
            with suppress(OSError):  # a full disk costs the checkpoint, not the training
                save_checkpoint(self.checkpoint_folder, self.module, self.optimizer, state)
            self.saved_at = time.monotonic()


@contextmanager
def _without_subnormals() -> Iterator[None]:
    """Flush numbers below 1e-38 to 0: gradients of a fitted network are, and slow a CPU down."""
    was_flushing = torch.tensor([1e-40]).mul(0.5).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushing)


def _make_batch(
    rows: LabelledData,
    indices: Tensor,
    device: torch.device,
    recipe: Training,
    generator: torch.Generator,
    epoch: int,
) -> tuple[LabelledData, Mixture | None]:
    """Return rows on the device, augmented, and how they are mixed, if they are.

    Images keep their order of axes in memory.
    """
    if rows.inputs.dim() == 4:  # select by pixel, as they lie in memory: six times as fast
        inputs = rows.inputs.permute(0, 2, 3, 1).index_select(0, indices).permute(0, 3, 1, 2)
    else:
        inputs = rows.inputs.index_select(0, indices)  # a third of the time of indexing
    inputs = inputs.to(device)
    context = BatchContext(generator, indices, epoch)
    for augmentation in recipe.augment:
        inputs = augmentation(inputs, context)
    mixture = None
    if recipe.mix is not None:
        inputs, mixture = recipe.mix(inputs, context)
    weights = None if rows.weights is None else rows.weights[indices].to(device)
    return LabelledData(inputs, rows.targets[indices].to(device), weights), mixture


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
