"""Cost of a step of supernet training, measured before the training starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.networks.training.labelled_data import LabelledData
from netwright.oneshot.gradient.search import GradientSearch, paired_batches
from netwright.oneshot.gradient.supernet_scoring import use_batch_statistics


@dataclass(frozen=True)
class StepCost:
    """Size of a supernet, and memory and time of its training steps.

    `parameters`: weights of the supernet; `memory`: bytes for weights, gradients, moments and saved
    activations; `seconds`: of one step; `steps`: in the whole search.
    """

    parameters: int
    memory: int
    seconds: float
    steps: int

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds * self.steps), 60)
        return (
            f"supernet of {self.parameters:,} weights, {self.memory / 1e6:,.0f} MB and "
            f"{self.seconds * 1e3:.0f} ms per step, {minutes}:{seconds:02d} for {self.steps:,} steps"
        )


def measure_step_cost(search: GradientSearch) -> StepCost:
    """Run a step's loss and gradients twice, changing nothing, and time the second run."""
    generator = torch.Generator().manual_seed(search.seed)
    optimizer, s = search.optimizer, search.settings
    train, _ = next(paired_batches(search.split, s.batch_size, generator))
    rows = search.transform(train.labelled, optimizer.device)
    with use_batch_statistics(search.supernet):
        activation_bytes = _saved_bytes(search, rows, generator)
        start = time.perf_counter()
        _run(search, rows, generator)
        if optimizer.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    n_passes = 2 if s.architecture_training.order == 1 else 5  # each of about this size
    parameters = sum(parameter.numel() for parameter in search.supernet.parameters())
    steps = s.epochs * max(1, round(len(search.split.train) / s.batch_size))
    memory = 3 * 4 * parameters + activation_bytes  # float32 weights, gradients, momentum
    return StepCost(parameters, memory, seconds * n_passes, steps)


def _run(search: GradientSearch, rows: LabelledData, generator: torch.Generator) -> None:
    optimizer = search.optimizer
    loss = optimizer.loss(rows, 0.0, generator)
    torch.autograd.grad(loss, [*optimizer.trainable, *optimizer.alpha.values()], allow_unused=True)


def _saved_bytes(search: GradientSearch, rows: LabelledData, generator: torch.Generator) -> int:
    """Return the bytes of all tensors saved for the backward pass, each storage counted once."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _run(search, rows, generator)
    parameters = {p.untyped_storage().data_ptr() for p in search.supernet.parameters()}
    return sum(size for pointer, size in sizes.items() if pointer not in parameters)
