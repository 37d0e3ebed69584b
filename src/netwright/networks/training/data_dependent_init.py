"""Data-dependent initialisation: each layer sees its own input before anything is trained.

A module with a method `init_from_data(x, targets)` is given its input for some training rows, and
those rows' targets, in the order in which modules run: the layers before it are initialised already.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.networks.training.loop import LabelledData

_MAX_INIT_ROWS = 8192
"""Rows that are used: enough to place quantiles of bins of 1 % with an error of a tenth of a bin."""


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
    sample = rows.take(torch.randperm(len(rows), generator=generator)[:_MAX_INIT_ROWS])

    def initialize(submodule: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(submodule, DataDependentInit)
        submodule.init_from_data(inputs[0], sample.targets)

    hooks = [submodule.register_forward_pre_hook(initialize) for submodule in submodules]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module.eval()(sample.inputs)
    finally:
        for hook in hooks:
            hook.remove()
