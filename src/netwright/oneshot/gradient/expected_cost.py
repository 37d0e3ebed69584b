"""Expected cost of a supernet under its weights, for the loss of FBNet.

FBNet (Wu et al., 2019, 1812.03443): the latency of a network is approximated by the sum over its
operations, each measured once; the expectation under the weights of the options has a gradient.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from netwright.errors import InputError, check_whole, expected
from netwright.networks.build import CompositeModule
from netwright.oneshot.gradient.mixed_ops import ActiveWeights, EdgeGate, MixedDepth, MixedOp
from netwright.oneshot.gradient.supernet import Supernet

_TIMED_RUNS = 9
"""Runs of a module whose median is its latency, after one warm-up run."""


@dataclass(frozen=True)
class CostTerm:
    """FBNet's loss: ``loss * factor * log(1 + cost) ** exponent`` (1812.03443, equation 2).

    Args:
        metric: "latency" is measured on this machine, in microseconds a batch, so that two runs
            differ a little; "flops" is counted, in thousands a row, and is the same everywhere.
        factor: Alpha of the paper.
        exponent: Beta of the paper.
        batch_size: Rows in the batch whose latency is measured, at least 1.

    Raises:
        InputError: `metric` is unknown, or `batch_size` below 1.
    """

    metric: Literal["latency", "flops"] = "latency"
    factor: float = 0.2
    exponent: float = 0.6
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.metric not in ("latency", "flops"):
            raise InputError(expected("metric", "latency or flops", self.metric))
        check_whole("batch_size", self.batch_size, 1)

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        """Return the loss, scaled by the cost; both are scalars."""
        return loss * self.factor * torch.log(1 + cost) ** self.exponent


CostTable: TypeAlias = dict[nn.Module, float]
"""Module of a supernet without choices inside -> its cost."""


def cost_table(supernet: Supernet, example: Tensor, metric: str) -> CostTable:
    """Measure the outermost modules that contain no choices while all options run on `example`.

    `example`: a batch (rows, ...).
    """
    costs: CostTable = {}
    hooks = [
        module.register_forward_hook(_cost_hook(costs, metric, len(example)))
        for module in _choice_free_modules(supernet.module)
    ]
    training = supernet.training
    supernet.eval()
    try:
        with torch.no_grad(), supernet.with_weights(supernet.uniform_weights()) as active:
            active.share_outputs = False  # every module is called as a whole
            supernet.module(example)
    finally:
        active.share_outputs = True
        supernet.train(training)
        for hook in hooks:
            hook.remove()
    return costs


def expected_cost(supernet: Supernet, weights: Mapping[str, Tensor], costs: CostTable) -> Tensor:
    """Return the expected cost under the weights: a scalar with a gradient."""
    with supernet.with_weights(weights) as active:
        return _expected_cost(supernet.module, costs, active)


def _expected_cost(module: nn.Module, costs: CostTable, active: ActiveWeights) -> Tensor:
    if module in costs:
        return torch.tensor(costs[module])
    layer = module.layer if isinstance(module, CompositeModule) else None

    def cost_of(name: str) -> Tensor:
        assert isinstance(module, CompositeModule)
        return _expected_cost(module.parts[name], costs, active)

    total = torch.zeros(())
    if isinstance(layer, MixedOp):
        for i, selection in enumerate(layer.selections):
            if active.is_active(selection):
                total = total + active.weight_of(selection) * cost_of(str(i))
    elif isinstance(layer, EdgeGate):
        if active.is_active(layer.selection):
            total = total + active.weight_of(layer.selection) * cost_of("body")
    elif isinstance(layer, MixedDepth):
        for i, depth in enumerate(layer.depths):
            selection = ((layer.path, i),)
            if active.is_active(selection):
                copies = [cost_of(str(copy)) for copy in range(depth)]
                total = total + active.weight_of(selection) * sum(copies, torch.zeros(()))
    else:
        children = (
            module.parts.children() if isinstance(module, CompositeModule) else module.children()
        )
        for child in children:
            total = total + _expected_cost(child, costs, active)
    return total


def _choice_free_modules(module: nn.Module) -> list[nn.Module]:
    """Return the outermost modules without choices inside."""
    if not any(_is_choice(submodule) for submodule in module.modules()):
        return [module]
    children = module.parts.children() if isinstance(module, CompositeModule) else module.children()
    return [submodule for child in children for submodule in _choice_free_modules(child)]


def _is_choice(module: nn.Module) -> bool:
    return isinstance(module, CompositeModule) and isinstance(
        module.layer, MixedOp | EdgeGate | MixedDepth
    )


def _cost_hook(
    costs: CostTable, metric: str, n_rows: int
) -> Callable[[nn.Module, tuple[Tensor, ...], object], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if module in costs:  # shared between positions: all calls cost the same
            return
        costs[module] = 0.0  # the calls below run this hook again
        # in a `ChannelTower` x has several rows for each of the batch's: count all of them
        costs[module] = (
            _kiloflops(module, inputs[0]) / n_rows
            if metric == "flops"
            else _latency_us(module, inputs[0])
        )

    return hook


def _latency_us(module: nn.Module, x: Tensor) -> float:
    """Return the median latency in microseconds, the first run left out."""
    seconds = []
    for _ in range(_TIMED_RUNS + 1):
        start = time.perf_counter()
        module(x)
        if x.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]) * 1e6


def _kiloflops(module: nn.Module, x: Tensor) -> float:
    """Return thousands of operations for the whole batch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(x)
    return float(counter.get_total_flops() / 1e3)
