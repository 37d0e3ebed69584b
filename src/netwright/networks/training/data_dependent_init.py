"""Data-dependent initialisation: each layer sees its own input before anything is trained.

A module with a method `init_from_data(x, targets)` is given its input for some training rows, and
those rows' targets, in the order in which modules run: the layers before it are initialised already.
A module that sees several rows for each of the network's, as in a `ChannelTower`, is given each
target as often.
"""

from __future__ import annotations

import contextlib
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.networks.training.labelled_data import LabelledData

_MAX_INIT_ROWS = 8192
"""Rows that are used: enough to place quantiles of bins of 1 % with an error of a tenth of a bin."""

_MAX_INIT_PIXELS = 2**20
"""Pixels of each channel that are used of images: their distinct values are sorted in 0.1 s."""
_MIN_INIT_IMAGES = 256
"""Images that are used whatever their size, so that rare values are among them."""


@runtime_checkable
class DataDependentInit(Protocol):
    """A module whose weights or bins are initialised from data."""

    def init_from_data(self, x: Tensor, targets: Tensor) -> None:
        """Set initial weights in place from the module's input (rows, ...) and targets (rows,)."""
        ...


def initialize_from_data(module: nn.Module, rows: LabelledData, seed: int) -> None:
    """Initialise every submodule that has `init_from_data`, in place (CPU).

    Nothing is run if there is none. Rows and random draws depend on the seed alone.
    """
    submodules = [
        submodule for submodule in module.modules() if isinstance(submodule, DataDependentInit)
    ]
    if not submodules or not len(rows):
        return
    generator = torch.Generator().manual_seed(seed)
    n_rows = _max_init_rows(rows.inputs)
    sample = rows.take(torch.randperm(len(rows), generator=generator)[:n_rows])
    pending = set(submodules)

    def initialize(submodule: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(submodule, DataDependentInit)
        repeats = len(inputs[0]) // len(sample)
        submodule.init_from_data(inputs[0], sample.targets.repeat_interleave(repeats, 0))
        pending.discard(submodule)
        if not pending:
            raise _AllInitialized

    hooks = [submodule.register_forward_pre_hook(initialize) for submodule in submodules]
    try:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            contextlib.suppress(_AllInitialized),
        ):
            torch.manual_seed(seed)
            module.eval()(sample.inputs)
    finally:
        for hook in hooks:
            hook.remove()


class _AllInitialized(Exception):
    """Ends the forward pass: what follows the last initialised module need not run."""


def _max_init_rows(inputs: Tensor) -> int:
    """Return how many rows are used: fewer if they are images (rows, c, h, w)."""
    if inputs.dim() != 4:
        return _MAX_INIT_ROWS
    images = _MAX_INIT_PIXELS // max(1, inputs.shape[2] * inputs.shape[3])
    return min(_MAX_INIT_ROWS, max(_MIN_INIT_IMAGES, images))
