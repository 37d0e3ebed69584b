"""Starting weights that look at data: each layer sees what reaches it before anything is trained.

A module that has `start_from(x, targets)` is given its own input for some training rows, and those
rows' targets, in the order in which modules run: what comes before it has started already.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.networks.training.loop import LabelledData

_SEEN = 8192
"""Rows that are looked at: quantiles of a bin's hundredth are sure to a tenth of it."""


@runtime_checkable
class Starts(Protocol):
    """A module whose weights or bins start from data."""

    def start_from(self, x: Tensor, targets: Tensor) -> None: ...


def initialize_from_data(module: nn.Module, rows: LabelledData, seed: int) -> None:
    """Lets every module of `module` that `Starts` see some rows, drawn by the seed (CPU).

    Where none does nothing is run. What they draw comes from the seed alone.
    """
    starting = [one for one in module.modules() if isinstance(one, Starts)]
    if not starting or not len(rows):
        return
    generator = torch.Generator().manual_seed(seed)
    some = rows.take(torch.randperm(len(rows), generator=generator)[:_SEEN])

    def before(one: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(one, Starts)
        one.start_from(inputs[0], some.targets)

    hooks = [one.register_forward_pre_hook(before) for one in starting]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module.eval()(some.inputs)
    finally:
        for hook in hooks:
            hook.remove()
