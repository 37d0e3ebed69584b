"""Helpers for tests of networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape


def batch(shape: Shape, rows: int, cardinalities: tuple[int, ...] = ()) -> Tensor:
    """Random rows; the last columns are category codes of these cardinalities."""
    x = torch.randn(rows, *shape)
    for i, n in enumerate(reversed(cardinalities), start=1):
        x[:, -i] = torch.randint(n, (rows,)).float()
    return x


def measured_costs(module: nn.Module, x: Tensor) -> tuple[Shape, int, int]:
    """Output shape, trained parameters and FLOPs of a module for one row, by PyTorch.

    On the meta device: PyTorch's counter ignores the fused attention and LSTM of CPUs.
    """
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = module.eval().to("meta")(x.to("meta"))
    return tuple(out.shape[1:]), parameters, int(counter.get_total_flops())


def memory(network: Network, shape: Shape, **given: object) -> int:
    """Peak memory of one row in elements, not bytes."""
    return costs(network, shape, **given).memory // 4
