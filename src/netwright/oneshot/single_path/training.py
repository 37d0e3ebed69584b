"""Training of shared weights by sampled paths: a sampler draws the candidates of each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, check_whole, expected
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.train_step import training_loss
from netwright.networks.training.training_clock import TrainingClock
from netwright.oneshot.checkpoints import Checkpoint
from netwright.oneshot.epoch_trainer import (
    BatchTransform,
    EpochTrainer,
    cosine_annealing,
    epoch_seed,
    shuffled_batches,
)
from netwright.oneshot.single_path.samplers import (
    PathBatch,
    Sampler,
    SamplingContext,
    UniformSampler,
)
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.space import RNG, Space

_MAX_BATCH_DRAWS = 20
"""Draws of a step's paths until none is infeasible."""


class SampledEpoch(NamedTuple):
    """Record of an epoch: the mean loss against labels, and the share of the training over."""

    loss: float
    progress: float

    @property
    def is_last(self) -> bool:
        """Whether the training ends with this epoch."""
        return self.progress >= 1


@dataclass(frozen=True)
class SampledPathTraining:
    """Settings for training shared weights by sampled paths, with SGD and Nesterov momentum.

    Args:
        sampler: Draws the candidates of each step: `UniformSampler`, `StrictlyFairSampler`,
            `SandwichSampler` or `PolicySampler`.
        epochs: Passes over the rows.
        batch_size: Rows in a step.
        lr: Learning rate at the start; it falls to 0 by half a cosine.
        momentum: Nesterov momentum; 0 for plain SGD.
        weight_decay: L2 penalty of SGD.
        max_grad_norm: Largest norm of the gradient.

    Raises:
        InputError: A setting is out of its range, or `sampler` has no `step`.
    """

    sampler: Sampler = UniformSampler()  # noqa: RUF009  # frozen
    epochs: int = 50
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 4e-5
    max_grad_norm: float = 5.0

    def __post_init__(self) -> None:
        if isinstance(self.sampler, type) or not hasattr(self.sampler, "step"):
            raise InputError(
                expected("sampler", "a sampler, such as UniformSampler()", self.sampler)
            )
        for name in ("epochs", "batch_size"):
            check_whole(name, getattr(self, name), 1)
        for name in ("lr", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise InputError(expected(name, "above 0", getattr(self, name)))


@dataclass
class SharedWeightsTrainer(EpochTrainer[SampledEpoch]):
    """Trainer of shared weights by sampled paths.

    The weights after `train_to(epoch)` are a function of the arguments and the epoch (with
    `StrategySampler`, of the strategy as well). With a `folder` every epoch ends in a checkpoint,
    from which a killed training resumes bit for bit (on a CPU). `history`: the mean loss of each
    epoch against labels. Raises RunError when the folder is of another search.
    """

    space: Space[Any]
    shared: SharedWeights
    rows: LabelledData
    settings: SampledPathTraining
    seed: int = 0
    folder: Path | None = None
    transform: BatchTransform = BatchTransform()  # noqa: RUF009  # frozen
    history: list[SampledEpoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise InputError(expected("rows", "at least 1", 0))
        s = self.settings
        self._context = SamplingContext(self.space, self.shared)
        self._weights = [*self.shared.parameters()]
        self._optimizer = torch.optim.SGD(
            self._weights,
            lr=s.lr,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            nesterov=s.momentum > 0,
        )
        if (checkpoint := self.checkpoint) and checkpoint.exists:
            self.history = checkpoint.load(SampledEpoch)

    @property
    def epochs(self) -> int:
        """Number of epochs when there is no deadline."""
        return self.settings.epochs

    def run_epoch(self, clock: TrainingClock) -> SampledEpoch:
        """Train for one epoch. Raises InfeasibleCandidate if it diverges or nothing can be trained."""
        return self._run_epoch(len(self.history), clock)

    def _run_epoch(self, epoch: int, clock: TrainingClock) -> SampledEpoch:
        """Make one pass over the rows; the seed and the epoch determine all draws."""
        s, seed = self.settings, epoch_seed(self.seed, epoch)
        rng = np.random.default_rng(seed)
        n_batches = max(1, round(len(self.rows) / s.batch_size))
        losses: list[Tensor] = []
        self.shared.train()
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            for i, batch in enumerate(shuffled_batches(self.rows, n_batches, generator)):
                progress = clock.progress((epoch + i / n_batches) / s.epochs)
                if progress >= 1 and losses:
                    break
                self._optimizer.param_groups[0]["lr"] = cosine_annealing(
                    s.lr, 0.0, min(progress, 1.0)
                )
                context = BatchContext(generator, batch.rows, epoch)
                rows = self.transform(batch.labelled, self.shared.device, context)
                losses.append(self._step(rows, self._sample_paths(rng)))
        mean_loss = float(torch.stack(losses).mean())
        if not math.isfinite(mean_loss):
            raise InfeasibleCandidate(
                f"the training of shared weights diverged: the loss became {mean_loss} in epoch "
                f"{epoch + 1}. Use a lower lr."
            )
        return SampledEpoch(mean_loss, min(clock.progress((epoch + 1) / s.epochs), 1.0))

    def _sample_paths(self, rng: RNG) -> PathBatch:
        """Draw the paths of a step until all are feasible; of the last draw, keep those that are."""
        for _ in range(_MAX_BATCH_DRAWS):
            paths = self.settings.sampler.step(self._context, rng)
            feasible = tuple(filter(self._context.is_feasible, paths.candidates))
            if len(feasible) == len(paths.candidates):
                break
        if not feasible:
            raise InfeasibleCandidate(
                f"at least one drawn candidate must be feasible, got none in {_MAX_BATCH_DRAWS} "
                f"draws of {self.settings.sampler}."
            )
        return paths._replace(candidates=feasible)

    def _step(self, rows: LabelledData, paths: PathBatch) -> Tensor:
        """Update the weights once; return the mean loss against labels."""
        losses: list[Tensor] = []
        teacher: Tensor | None = None
        for candidate in paths.candidates:
            out = self.shared(rows.inputs, candidate)
            if teacher is not None:
                distillation_loss(out, teacher, rows.targets).backward()
                continue
            loss = training_loss(out, rows.targets)
            loss.backward()
            losses.append(loss.detach())
            teacher = out.detach() if paths.distill else None
        # weights on no path have no gradient: neither decay nor momentum moves them
        nn.utils.clip_grad_norm_(self._weights, self.settings.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return torch.stack(losses).mean()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Checkpoint in the folder; None without a folder."""
        if self.folder is None:
            return None
        # only a training of this identity can resume; the caller must pass the same rows
        identity = f"{self.settings}, seed {self.seed}, space {self.space.fingerprint[:12]}"
        optimizers: Mapping[str, torch.optim.Optimizer] = {"weights_optimizer": self._optimizer}
        return Checkpoint(self.folder, identity, self.shared, optimizers)


def distillation_loss(output: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of an output (batch, outputs) against the teacher's.

    It is the cross-entropy with the teacher's probabilities for classes, else the squared error.
    """
    if targets.is_floating_point():
        return nn.functional.mse_loss(output, teacher)
    return nn.functional.cross_entropy(output, teacher.softmax(1))
