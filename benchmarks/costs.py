"""Time `costs()` against building the network and counting FLOPs while running it.

    python benchmarks/costs.py

Medians in milliseconds on one thread: `costs()` with warm caches, on a network constructed anew for
each call, as a search does; and building it on the meta device and running it there under torch's
FLOP counter. "once" is the first call, with cold caches (the very first also pays for torch's own
start). A network passes below 1 ms.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Activation, GlobalPool, Pool, Skip, Zero
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear

SHAPE = (3, 32, 32)
PASS_MS = 1.0


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'network':<16}{'once':>10}{'costs()':>11}{'counted':>10}{'faster':>9}  < {PASS_MS} ms")
    networks = {"small": small, "larger": larger, "NAS-Bench-201": cells}
    for name, network in networks.items():
        first_ms, counts = timed(by_costs, network, 1)
        warm_ms, _ = timed(by_costs, network, 300)
        counted_ms, torch_counts = timed(by_running, network, 7)
        assert counts == torch_counts, f"costs() counts {counts}, torch {torch_counts}"
        timings = f"{first_ms:>7.1f} ms{warm_ms:>8.3f} ms{counted_ms:>7.1f} ms"
        verdict = "pass" if warm_ms < PASS_MS else "FAIL"
        print(f"{name:<16}{timings}{counted_ms / warm_ms:>8.0f}x  {verdict}")


Counts = tuple[int, int]


def timed(
    count: Callable[[Network], Counts], make: Callable[[], Network], n_calls: int
) -> tuple[float, Counts]:
    """Return the median milliseconds of a count, and the counts."""
    seconds, counts = [], (0, 0)
    for _ in range(n_calls):
        network = make()
        start = time.perf_counter()
        counts = count(network)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds), counts


def by_costs(network: Network) -> Counts:
    counts = costs(network, SHAPE, outputs=10)
    return counts.parameters, counts.flops


def by_running(network: Network) -> Counts:
    """Count parameters and FLOPs by building the network and running it on the meta device."""
    with torch.device("meta"), torch.no_grad():
        module = build(network, SHAPE, outputs=10).eval()
        with FlopCounterMode(display=False) as counter:
            module(torch.empty(1, *SHAPE))
    return sum(p.numel() for p in module.parameters()), int(counter.get_total_flops())


def small() -> Network:
    body = (Conv(16), Conv(32, stride=2), MBConv(), MBConv(), Residual((Conv(), Conv())))
    return (*body, Conv(64, stride=2), MBConv(), Residual(Conv()), GlobalPool(), Linear())


def larger() -> Network:
    """Return five stages of six inverted bottlenecks with squeeze-excitation (EfficientNet)."""
    stages: list[Network] = []
    for channels, stride in ((16, 1), (24, 2), (40, 2), (80, 1), (112, 2)):
        stages.append(MBConv(channels, 6, 3, stride, squeeze=0.25, activation="silu"))
        stages += [MBConv(0, 6, 5, squeeze=0.25, activation="silu", drop=0.1)] * 5
    return (Conv(16), *stages, Conv(320, kernel=1), GlobalPool(), Linear())


def cells() -> Network:
    """Return three stages of five equal cells, whose nodes are fed by all nodes before."""

    def relu_conv(kernel: int) -> Network:
        return (Activation(), Conv(kernel=kernel, activation="none"))

    cell = Graph(
        {
            "1": Node({"in": relu_conv(3)}),
            "2": Node({"in": Skip(), "1": relu_conv(1)}),
            "3": Node({"in": Pool("avg"), "1": Zero(), "2": relu_conv(3)}),
        }
    )
    stages: list[Network] = [cell] * 5
    for wider in (32, 64):
        stages += [Residual((Conv(wider, stride=2), Conv(activation="none"))), *[cell] * 5]
    return (Conv(16, activation="none"), *stages, Activation(), GlobalPool(), Linear())


if __name__ == "__main__":
    main()
