"""What a step of a supernet takes, found before it is trained."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.networks.training.loop import LabelledData
from netwright.oneshot.gradient.search import GradientSearch, paired_batches
from netwright.oneshot.gradient.supernet_scoring import batch_statistics


@dataclass(frozen=True)
class StepCost:
    """Weights in all; bytes for weights, gradients, moments and what a step keeps; seconds a step;
    and steps in the whole search."""

    parameters: int
    memory: int
    seconds: float
    steps: int

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds * self.steps), 60)
        return (
            f"supernet of {self.parameters:,} weights, {self.memory / 1e6:,.0f} MB and "
            f"{self.seconds * 1e3:.0f} ms a step, {minutes}:{seconds:02d} for {self.steps:,} steps"
        )


def measure_step_cost(search: GradientSearch) -> StepCost:
    """By running a loss of a step twice; nothing is changed. Seconds are the second time's."""
    random = torch.Generator().manual_seed(search.seed)
    steps, s = search.optimizer, search.settings
    train, _ = next(paired_batches(search.split, s.batch_size, random))
    rows = search.transform(train, steps.device)
    with batch_statistics(search.supernet):
        kept = _kept(search, rows, random)
        start = time.perf_counter()
        _run(search, rows, random)
        if steps.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    passes = 2 if s.architecture.order == 1 else 5  # each of about this size
    weights = sum(one.numel() for one in search.supernet.parameters())
    in_all = s.epochs * max(1, round(len(search.split.train) / s.batch_size))
    return StepCost(weights, 3 * 4 * weights + kept, seconds * passes, in_all)


def _run(search: GradientSearch, rows: LabelledData, random: torch.Generator) -> None:
    steps = search.optimizer
    loss = steps.loss(rows, 0.0, random)
    torch.autograd.grad(loss, [*steps.trained, *steps.alpha.values()], allow_unused=True)


def _kept(search: GradientSearch, rows: LabelledData, random: torch.Generator) -> int:
    """Bytes of all that is kept for the way back, each storage once."""
    sizes: dict[int, int] = {}

    def pack(one: Tensor) -> Tensor:
        storage = one.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return one

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
        _run(search, rows, random)
    own = {one.untyped_storage().data_ptr() for one in search.supernet.parameters()}
    return sum(size for place, size in sizes.items() if place not in own)
