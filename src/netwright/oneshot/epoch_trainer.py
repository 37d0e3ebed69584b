"""What trainings of shared weights have in common: rows on their way in, draws, and how far it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from netwright.errors import InputError, expected
from netwright.networks.training.augmentation import Augmentation
from netwright.networks.training.loop import LabelledData
from netwright.networks.training.training_clock import TrainingClock
from netwright.oneshot.checkpoints import Checkpoint


@dataclass(frozen=True)
class BatchTransform:
    """What happens to rows on their way in: augmentation in training, then scaling."""

    augment: tuple[Augmentation, ...] = ()
    scale: Callable[[Tensor], Tensor] = Tensor.float

    def __call__(
        self, rows: LabelledData, device: torch.device, random: torch.Generator | None = None
    ) -> LabelledData:
        """The rows on the device; augmented where there is something to draw from."""
        inputs = rows.inputs.to(device)
        if random is not None:
            for augmentation in self.augment:
                inputs = augmentation(inputs, random)
        inputs = self.scale(inputs)
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return LabelledData(inputs, rows.targets.to(device))


class EpochResult(Protocol):
    """The record of an epoch."""

    @property
    def progress(self) -> float:
        """The share in [0, 1] of the training that was over after it."""
        ...

    @property
    def is_last(self) -> bool:
        """Whether nothing was left to train after it."""
        ...


E = TypeVar("E", bound=EpochResult)


class EpochTrainer(ABC, Generic[E]):
    """A training that goes epoch by epoch, each of which is recorded and ends in a checkpoint."""

    history: list[E]

    @property
    @abstractmethod
    def epochs(self) -> int:
        """How many there are, where no clock counts."""

    @property
    @abstractmethod
    def checkpoint(self) -> Checkpoint | None:
        """Where each ends, if anywhere."""

    @abstractmethod
    def run_epoch(self, clock: TrainingClock) -> E:
        """The next epoch. Raises InfeasibleCandidate when it diverges, or nothing can be trained."""

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to train."""
        return bool(self.history) and self.history[-1].is_last

    def train_to(self, epoch: int) -> None:
        """Trains until so many epochs are over; nothing where they are."""
        if not 0 <= epoch <= self.epochs:
            raise InputError(
                expected("epoch", f"from 0 to the {self.epochs} of the settings", epoch)
            )
        while len(self.history) < epoch:
            self._train_one(TrainingClock())

    def train(
        self, deadline: float = math.inf, on_epoch_end: Callable[[E], object] = lambda one: None
    ) -> None:
        """Trains until all epochs are over, or the time is up: the schedule then runs its whole
        course in the time there is."""
        clock = TrainingClock(deadline, self.history[-1].progress if self.history else 0.0)
        while not self.is_finished:
            self._train_one(clock)
            on_epoch_end(self.history[-1])

    def _train_one(self, clock: TrainingClock) -> None:
        self.history.append(self.run_epoch(clock))
        if saved := self.checkpoint:
            saved.save(self.history)


def cosine_annealing(first: float, last: float, progress: float) -> float:
    """From `first` at 0 to `last` at 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def epoch_seed(seed: int, epoch: int) -> int:
    """Of an epoch's draws."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def shuffled_batches(
    rows: LabelledData, number: int, random: torch.Generator
) -> list[LabelledData]:
    """All rows in so many batches of nearly one size."""
    order = torch.randperm(len(rows), generator=random)
    return [rows.take(batch) for batch in order.tensor_split(number)]


def random_split(
    rows: LabelledData, fraction: float, seed: int
) -> tuple[LabelledData, LabelledData]:
    """The rows in two parts, drawn: a share of them, and the rest."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    end = int(fraction * len(rows))
    return rows.take(order[:end]), rows.take(order[end:])
