"""What trainings of shared weights have in common: rows on their way in, draws, and how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from netwright.networks.augment import Augmentation
from netwright.networks.training import Examples


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


@dataclass(frozen=True)
class Clock:
    """How much of a search is over: by steps, or by time where there is a deadline.

    `before` was over when the clock started.
    """

    deadline: float = math.inf
    before: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    def progress(self, by_steps: float) -> float:
        if math.isinf(self.deadline):  # no decision looks at a clock when trials are counted
            return by_steps
        length = max(self.deadline - self.begun, 1e-9)
        share = (time.monotonic() - self.begun) / length
        return max(by_steps, self.before + (1 - self.before) * share)


def half_cosine(first: float, last: float, progress: float) -> float:
    """From `first` at 0 to `last` at 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def seed_of(seed: int, epoch: int) -> int:
    """Of an epoch's draws."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def shuffled(rows: Examples, number: int, random: torch.Generator) -> list[Examples]:
    """All rows in so many batches of nearly one size."""
    order = torch.randperm(len(rows), generator=random)
    return [Examples(rows.inputs[b], rows.targets[b]) for b in order.tensor_split(number)]


def split(rows: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """The rows in two parts, drawn: a share of them, and the rest."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    first, second = order[: int(share * len(rows))], order[int(share * len(rows)) :]
    one, other = (Examples(rows.inputs[part], rows.targets[part]) for part in (first, second))
    return one, other
