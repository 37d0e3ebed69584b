"""What a mixture costs: a table of its parts, and the mean by weight, which has a gradient.

FBNet (Wu et al. 2019, 1812.03443): the latency of a network is taken to be the sum of those of its
operations, measured once each; under weights it is their mean, and so can be in the loss.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from netwright.errors import InputError, check_whole, expected
from netwright.networks.build import CompositeModule
from netwright.oneshot.gradient.mixed_ops import Current, Depth, Gate, Mixed
from netwright.oneshot.gradient.supernet import Supernet

_REPEATS = 9


@dataclass(frozen=True)
class CostTerm:
    """FBNet's loss: the loss of the task, times `factor` log(1 + cost) to the power of `power`.

    `metric` "latency" is measured on this machine, in microseconds a batch of `rows`: two runs then
    differ a little. "flops" is counted (in thousands a row), and is the same everywhere.
    """

    metric: Literal["latency", "flops"] = "latency"
    factor: float = 0.2
    exponent: float = 0.6
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.metric not in ("latency", "flops"):
            raise InputError(expected("metric", "latency or flops", self.metric))
        check_whole("rows", self.batch_size, 1)

    def __call__(self, loss: Tensor, cost: Tensor) -> Tensor:
        return loss * self.factor * torch.log(1 + cost) ** self.exponent


Table = dict[nn.Module, float]
"""What each module of a supernet that holds no choice costs by itself."""


def table(supernet: Supernet, example: Tensor, metric: str) -> Table:
    """Of each part that holds no choice, for `example` (rows, ...), all options running."""
    costs: Table = {}
    hooks = [part.register_forward_hook(_note(costs, metric)) for part in _parts(supernet.module)]
    training = supernet.training
    supernet.eval()
    try:
        with torch.no_grad(), supernet.with_weights(supernet.uniform_weights()) as current:
            current.sharing = False  # each part is called as a whole
            supernet.module(example)
    finally:
        current.sharing = True
        supernet.train(training)
        for hook in hooks:
            hook.remove()
    return costs


def expected_cost(supernet: Supernet, weights: Mapping[str, Tensor], costs: Table) -> Tensor:
    """The mean of the costs of what the weights choose: a scalar with a gradient."""
    with supernet.with_weights(weights) as current:
        return _expected(supernet.module, costs, current)


def _expected(module: nn.Module, costs: Table, current: Current) -> Tensor:
    if module in costs:
        return torch.tensor(costs[module])
    layer = module.layer if isinstance(module, CompositeModule) else None

    def of(name: str) -> Tensor:
        assert isinstance(module, CompositeModule)
        return _expected(module.parts[name], costs, current)

    total = torch.zeros(())
    if isinstance(layer, Mixed):
        for i, pick in enumerate(layer.picks):
            if current.is_on(pick):
                total = total + current.of(pick) * of(str(i))
    elif isinstance(layer, Gate):
        if current.is_on(layer.pick):
            total = total + current.of(layer.pick) * of("body")
    elif isinstance(layer, Depth):
        for place, count in enumerate(layer.counts):
            pick = ((layer.path, place),)
            if current.is_on(pick):
                row = [of(str(i)) for i in range(count)]
                total = total + current.of(pick) * sum(row, torch.zeros(()))
    else:
        children = (
            module.parts.children() if isinstance(module, CompositeModule) else module.children()
        )
        for child in children:
            total = total + _expected(child, costs, current)
    return total


def _parts(module: nn.Module) -> list[nn.Module]:
    """The outermost modules in which there is no choice."""
    if not any(_is_choice(one) for one in module.modules()):
        return [module]
    children = module.parts.children() if isinstance(module, CompositeModule) else module.children()
    return [part for child in children for part in _parts(child)]


def _is_choice(module: nn.Module) -> bool:
    return isinstance(module, CompositeModule) and isinstance(module.layer, Mixed | Gate | Depth)


def _note(costs: Table, metric: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(part: nn.Module, inputs: tuple[Tensor, ...], out: Any) -> None:
        if part in costs:  # shared by several places: each calls it, all cost the same
            return
        costs[part] = 0.0  # the calls below come back here
        costs[part] = _flops(part, inputs[0]) if metric == "flops" else _latency(part, inputs[0])

    return hook


def _latency(part: nn.Module, x: Tensor) -> float:
    """Microseconds: the median of some runs after one that counts for nothing."""
    times = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        part(x)
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1e6


def _flops(part: nn.Module, x: Tensor) -> float:
    """Thousands of operations for one row."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        part(x)
    return float(counter.get_total_flops() / len(x) / 1e3)
