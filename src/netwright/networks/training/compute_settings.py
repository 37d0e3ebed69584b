"""Precision and threads of a training, chosen by timing steps on this machine."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

_N_TIMED_STEPS = 2
"""The fastest of so many steps is compared: others are slowed down by what else runs."""


@dataclass(frozen=True)
class ComputeSettings:
    """Precision and threads of training steps.

    Args:
        autocast_dtype: Type in which convolutions and dense layers are computed; None for the
            weights' own, float32. Weights, normalisation statistics and losses stay float32.
        loss_scaling: Whether gradients are scaled, since float16 would lose small ones.
        n_threads: Threads of PyTorch on the CPU; 0 leaves them as they are.
    """

    autocast_dtype: torch.dtype | None = None
    loss_scaling: bool = False
    n_threads: int = 0


def default_settings(device: torch.device) -> ComputeSettings:
    """Return settings that depend on the kind of device alone: mixed precision on GPUs."""
    if device.type != "cuda":
        return ComputeSettings()
    if torch.cuda.is_bf16_supported():
        return ComputeSettings(torch.bfloat16)
    return ComputeSettings(torch.float16, loss_scaling=True)


def fastest_settings(
    module: nn.Module, inputs: Tensor, max_seconds: float = math.inf
) -> ComputeSettings:
    """Return the fastest settings of a module on the CPU, by timing steps of a copy of it.

    bfloat16 is several times slower than float32 on processors without it, and threads that share
    their cores with other processes wait for each other.

    Args:
        module: On the CPU; it is not changed.
        inputs: (n, ...) a batch of training rows: threads pay for large ones only.
        max_seconds: No step begins after so many seconds; what has not been timed is not chosen.
    """
    ends_at = time.monotonic() + max_seconds
    module = copy.deepcopy(module).train()
    n_available = torch.get_num_threads()
    # precisions on one thread, with its share of the rows: waiting threads would decide otherwise
    full = ComputeSettings(n_threads=1 if n_available > 1 else 0)
    half = replace(full, autocast_dtype=torch.bfloat16)
    share = inputs[: max(2, len(inputs) // n_available)]
    full_seconds, half_seconds = (
        step_seconds(module, share, settings, ends_at) for settings in (full, half)
    )
    alone = half if half_seconds < full_seconds else full
    if n_available == 1:
        return alone
    together = replace(alone, n_threads=0)
    together_seconds, alone_seconds = (
        step_seconds(module, inputs, settings, ends_at) for settings in (together, alone)
    )
    return alone if alone_seconds < together_seconds else together


def step_seconds(
    module: nn.Module,
    inputs: Tensor,
    settings: ComputeSettings,
    ends_at: float = math.inf,
    optimizer: torch.optim.Optimizer | None = None,
) -> float:
    """Return the seconds of a forward and a backward pass, after one that is not timed.

    Args:
        module: In training mode; its gradients and statistics change.
        inputs: (n, ...) a batch, on the module's device.
        settings: Precision and threads.
        ends_at: `time.monotonic()` from which on no pass begins.
        optimizer: Takes a step after each pass, which counts; None for passes alone. The updates of
            Muon may take longer than the passes: their time does not depend on the batch.

    Returns:
        Infinity if no pass could be timed, or a layer does not compute in this precision.
    """
    seconds, device = [], inputs.device
    with torch.random.fork_rng(devices=[]), threads(settings.n_threads):
        for _ in range(1 + _N_TIMED_STEPS):
            start_time = time.monotonic()
            if start_time >= ends_at:
                break
            try:
                with autocast(settings, device):
                    outputs = module(inputs)
                outputs.float().square().mean().backward()
                if optimizer is not None:
                    optimizer.step()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
            except RuntimeError:
                if settings.autocast_dtype is None:  # the training itself would fail
                    raise
                return math.inf
            seconds.append(time.monotonic() - start_time)
    return min(seconds[1:], default=math.inf)


def autocast(settings: ComputeSettings, device: torch.device) -> torch.autocast:
    """Return the context of a forward pass."""
    enabled = settings.autocast_dtype is not None
    return torch.autocast(device.type, dtype=settings.autocast_dtype, enabled=enabled)


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Use so many threads on the CPU within the context; 0 changes nothing."""
    before = torch.get_num_threads()
    if n_threads:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
