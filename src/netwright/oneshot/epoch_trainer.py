"""Epoch-by-epoch training of shared weights: batch transforms, checkpoints, schedules, draws."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from netwright.errors import InputError, expected
from netwright.networks.training.augmentation.batch_context import Augmentation, BatchContext
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.training_clock import TrainingClock
from netwright.oneshot.checkpoints import Checkpoint


@dataclass(frozen=True)
class BatchTransform:
    """Transform of a batch before the network: augmentation in training, then scaling."""

    augment: tuple[Augmentation, ...] = ()
    scale: Callable[[Tensor], Tensor] = Tensor.float

    def __call__(
        self, rows: LabelledData, device: torch.device, context: BatchContext | None = None
    ) -> LabelledData:
        """Return the rows, scaled, on the device; augmented if there is a context."""
        inputs = rows.inputs.to(device)
        if context is not None:
            for augmentation in self.augment:
                inputs = augmentation(inputs, context)
        inputs = self.scale(inputs)
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return LabelledData(inputs, rows.targets.to(device))


class EpochResult(Protocol):
    """Record of one epoch."""

    @property
    def progress(self) -> float:
        """Share in [0, 1] of the training that is over after this epoch."""
        ...

    @property
    def is_last(self) -> bool:
        """Whether the training ends with this epoch."""
        ...


E = TypeVar("E", bound=EpochResult)


class EpochTrainer(ABC, Generic[E]):
    """Training in epochs, each of which is recorded in `history` and ends in a checkpoint."""

    history: list[E]

    @property
    @abstractmethod
    def epochs(self) -> int:
        """Number of epochs when there is no deadline."""

    @property
    @abstractmethod
    def checkpoint(self) -> Checkpoint | None:
        """Checkpoint that is saved after each epoch, if any."""

    @abstractmethod
    def run_epoch(self, clock: TrainingClock) -> E:
        """Train for one epoch. Raises InfeasibleCandidate if it diverges or nothing can be trained."""

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch has been trained."""
        return bool(self.history) and self.history[-1].is_last

    def train_to(self, epoch: int) -> None:
        """Train until `epoch` epochs are over; do nothing if they are."""
        if not 0 <= epoch <= self.epochs:
            raise InputError(
                expected("epoch", f"from 0 to the {self.epochs} of the settings", epoch)
            )
        while len(self.history) < epoch:
            self._train_epoch(TrainingClock())

    def train(
        self, deadline: float = math.inf, on_epoch_end: Callable[[E], object] = lambda epoch: None
    ) -> None:
        """Train all epochs, or until `deadline` (seconds of `time.monotonic()`).

        With a deadline the schedules run their whole course in the time there is.
        """
        clock = TrainingClock(deadline, self.history[-1].progress if self.history else 0.0)
        while not self.is_finished:
            self._train_epoch(clock)
            on_epoch_end(self.history[-1])

    def _train_epoch(self, clock: TrainingClock) -> None:
        self.history.append(self.run_epoch(clock))
        if checkpoint := self.checkpoint:
            checkpoint.save(self.history)


def cosine_annealing(first: float, last: float, progress: float) -> float:
    """Return the value at `progress` in [0, 1] of half a cosine from `first` to `last`."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch's draws."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


class ShuffledBatch(NamedTuple):
    """Labelled rows, and their (batch,) indices in the set that they were taken from."""

    labelled: LabelledData
    rows: Tensor


def shuffled_batches(
    rows: LabelledData, n_batches: int, generator: torch.Generator
) -> list[ShuffledBatch]:
    """Split all rows, shuffled, into batches of nearly equal size."""
    order = torch.randperm(len(rows), generator=generator)
    return [ShuffledBatch(rows.take(indices), indices) for indices in order.tensor_split(n_batches)]


def random_split(
    rows: LabelledData, fraction: float, seed: int
) -> tuple[LabelledData, LabelledData]:
    """Split the rows at random in two: `fraction` of them, and the rest."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    end = int(fraction * len(rows))
    return rows.take(order[:end]), rows.take(order[end:])
