"""What several tests of networks need."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape


def batch(shape: Shape, rows: int, cardinalities: tuple[int, ...] = ()) -> Tensor:
    """Rows of numbers; the last columns are category codes where there are cardinalities."""
    x = torch.randn(rows, *shape)
    for place, n in enumerate(reversed(cardinalities), start=1):
        x[:, -place] = torch.randint(n, (rows,)).float()
    return x


def measured(module: nn.Module, x: Tensor) -> tuple[Shape, int, int]:
    """Output shape, parameters and FLOPs of a module, as torch sees them, for one row.

    On the meta device: torch's counter takes the fused attention and LSTM of CPUs for free.
    """
    parameters = sum(p.numel() for p in module.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = module.eval().to("meta")(x.to("meta"))
    return tuple(out.shape[1:]), parameters, int(counter.get_total_flops())


def memory(network: Network, shape: Shape, **given: Any) -> int:
    """Peak memory of one row in numbers (not bytes)."""
    return costs(network, shape, **given).memory // 4
