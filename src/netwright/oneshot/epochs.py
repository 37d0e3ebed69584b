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
from netwright.networks.training.clock import Clock
from netwright.networks.training.loop import Examples
from netwright.oneshot.checkpoints import Checkpoint


@dataclass(frozen=True)
class Feed:
    """What happens to rows on their way in: augmentation in training, then scaling."""

    augment: tuple[Augmentation, ...] = ()
    scale: Callable[[Tensor], Tensor] = Tensor.float

    def __call__(
        self, rows: Examples, device: torch.device, random: torch.Generator | None = None
    ) -> Examples:
        """The rows on the device; augmented where there is something to draw from."""
        inputs = rows.inputs.to(device)
        if random is not None:
            for augmentation in self.augment:
                inputs = augmentation(inputs, random)
        inputs = self.scale(inputs)
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return Examples(inputs, rows.targets.to(device))


class Ended(Protocol):
    """The record of an epoch."""

    @property
    def progress(self) -> float:
        """The share in [0, 1] of the training that was over after it."""
        ...

    @property
    def is_last(self) -> bool:
        """Whether nothing was left to train after it."""
        ...


E = TypeVar("E", bound=Ended)


class InEpochs(ABC, Generic[E]):
    """A training that goes epoch by epoch, each of which is recorded and ends in a checkpoint."""

    record: list[E]

    @property
    @abstractmethod
    def epochs(self) -> int:
        """How many there are, where no clock counts."""

    @property
    @abstractmethod
    def checkpoint(self) -> Checkpoint | None:
        """Where each ends, if anywhere."""

    @abstractmethod
    def run_one(self, clock: Clock) -> E:
        """The next epoch. Raises InfeasibleCandidate when it diverges, or nothing can be trained."""

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        return bool(self.record) and self.record[-1].is_last

    def train_to(self, epoch: int) -> None:
        """Trains until so many epochs are over; nothing where they are."""
        if not 0 <= epoch <= self.epochs:
            raise InputError(
                expected("epoch", f"from 0 to the {self.epochs} of the settings", epoch)
            )
        while len(self.record) < epoch:
            self._train_one(Clock())

    def train(
        self, deadline: float = math.inf, watch: Callable[[E], object] = lambda one: None
    ) -> None:
        """Trains until all epochs are over, or the time is up: the schedule then runs its whole
        course in the time there is."""
        clock = Clock(deadline, self.record[-1].progress if self.record else 0.0)
        while not self.over:
            self._train_one(clock)
            watch(self.record[-1])

    def _train_one(self, clock: Clock) -> None:
        self.record.append(self.run_one(clock))
        if saved := self.checkpoint:
            saved.save(self.record)


def half_cosine(first: float, last: float, progress: float) -> float:
    """From `first` at 0 to `last` at 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def seed_of(seed: int, epoch: int) -> int:
    """Of an epoch's draws."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def shuffled(rows: Examples, number: int, random: torch.Generator) -> list[Examples]:
    """All rows in so many batches of nearly one size."""
    order = torch.randperm(len(rows), generator=random)
    return [rows.take(batch) for batch in order.tensor_split(number)]


def split(rows: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """The rows in two parts, drawn: a share of them, and the rest."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    end = int(share * len(rows))
    return rows.take(order[:end]), rows.take(order[end:])
