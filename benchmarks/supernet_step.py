"""What a step of a supernet costs, beside a plain implementation of DARTS with the same operations.

    python benchmarks/supernet_step.py [--channels 8] [--cells 1] [--side 16] [--rows 64]

Times are medians of interleaved steps, memory is the peak of a process of its own above that of one
that has only loaded torch: run it alone on the machine. A step is one of the architecture (first
order) and one of the weights. The single path is beside a step of a plain network of one cell.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.networks.layers.cells import nas_bench_201
from netwright.networks.training.loop import LabelledData
from netwright.oneshot.epoch_trainer import BatchTransform
from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.safeguards import NO_SAFEGUARDS
from netwright.oneshot.single_path.samplers import PathBatch as Draw
from netwright.oneshot.single_path.samplers import SamplingContext
from netwright.oneshot.single_path.training import SampledPathTraining, SharedWeightsTrainer
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.candidate import Candidate
from netwright.space.space import Space

OUT = Path(__file__).parent / "results" / "supernet-step.csv"
Step = Callable[[], object]


class Size(argparse.Namespace):
    channels: int
    cells: int
    side: int
    rows: int


def batches(size: Size) -> tuple[LabelledData, LabelledData]:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, size.rows, 3, size.side, size.side, generator=random)
    targets = torch.randint(10, (2, size.rows), generator=random)
    return LabelledData(images[0], targets[0]), LabelledData(images[1], targets[1])


# The plain implementation: a module for each mixed edge, as in the code that came with DARTS


class ReluConv(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(torch.relu(x)))
        return normed


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul(0.0)


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda c: Nothing(),
    "skip_connect": lambda c: nn.Identity(),
    "nor_conv_1x1": lambda c: ReluConv(c, 1),
    "nor_conv_3x3": lambda c: ReluConv(c, 3),
    "avg_pool_3x3": lambda c: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


class MixedEdge(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList([make(c) for make in OPERATIONS.values()])

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return sum(
            (w * op(x) for w, op in zip(weights, self.operations, strict=True)), torch.zeros(())
        )


class OneEdge(nn.Module):
    """One operation, which no weight multiplies."""

    def __init__(self, c: int, name: str) -> None:
        super().__init__()
        self.operation = OPERATIONS[name](c)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        out: Tensor = self.operation(x)
        return out


class PlainCell(nn.Module):
    def __init__(self, c: int, names: tuple[str, ...]) -> None:
        super().__init__()
        made = [OneEdge(c, name) for name in names] or [MixedEdge(c) for _ in range(6)]
        self.edges = nn.ModuleList(made)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        nodes, edge = [x], 0
        for j in (1, 2, 3):
            flows = [self.edges[edge + i](nodes[i], weights[edge + i]) for i in range(j)]
            nodes.append(sum(flows[1:], flows[0]))
            edge += j
        return nodes[-1]


class Reduction(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()

        def conv(into: int, stride: int) -> nn.Sequential:
            layer = nn.Conv2d(into, 2 * c, 3, stride, 1, bias=False)
            return nn.Sequential(nn.ReLU(), layer, nn.BatchNorm2d(2 * c))

        self.body = nn.Sequential(conv(c, 2), conv(2 * c, 1))
        self.back = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c, 2 * c, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.back(x)
        return out


class PlainSupernet(nn.Module):
    """All operations on each edge; or those of `names`, one an edge, in the order of the edges."""

    def __init__(self, channels: int, cells: int, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.body = nn.ModuleList()
        for stage in range(3):
            if stage:
                self.body.append(Reduction(channels * 2 ** (stage - 1)))
            self.body.extend(PlainCell(channels * 2**stage, names) for _ in range(cells))
        self.norm = nn.BatchNorm2d(4 * channels)
        self.head = nn.Linear(4 * channels, 10)
        self.alpha = nn.Parameter(1e-3 * torch.randn(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.alpha.softmax(1)
        x = self.stem(x)
        for part in self.body:
            x = part(x, weights) if isinstance(part, PlainCell) else part(x)
        out: Tensor = self.head(torch.relu(self.norm(x)).mean((2, 3)))
        return out


def plain_step(size: Size) -> Step:
    torch.manual_seed(0)
    net = PlainSupernet(size.channels, size.cells)
    weights = [p for p in net.parameters() if p is not net.alpha]
    optimizer = torch.optim.SGD(weights, lr=0.025, momentum=0.9, weight_decay=3e-4)
    for_alpha = torch.optim.Adam([net.alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    train, valid = batches(size)

    def step() -> None:
        for_alpha.zero_grad()
        F.cross_entropy(net(valid.inputs), valid.targets).backward()
        for_alpha.step()
        optimizer.zero_grad()
        F.cross_entropy(net(train.inputs), train.targets).backward()
        nn.utils.clip_grad_norm_(weights, 5)
        optimizer.step()

    return step


def our_step(size: Size) -> Step:
    torch.manual_seed(0)
    network = nas_bench_201(size.channels, size.cells)
    shape = (3, size.side, size.side)
    supernet = Supernet(network, shape, "", affine=False, outputs=10)
    steps = AlternatingOptimizer(supernet, DifferentiableNAS(DARTS(), safeguards=NO_SAFEGUARDS), 0)
    train, valid = (BatchTransform()(rows, steps.device) for rows in batches(size))
    random = torch.Generator().manual_seed(0)

    def step() -> None:
        steps.architecture_step(train, valid, 0.0, random)
        steps.weight_step(train, 0.0, random)

    return step


# A single path through shared weights, and the same cell as a network of its own

CELL = (
    "nor_conv_3x3", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "skip_connect", "avg_pool_3x3",
)  # fmt: skip


def network_step(size: Size) -> Step:
    torch.manual_seed(0)
    net = PlainSupernet(size.channels, size.cells, CELL)
    weights = [p for p in net.parameters() if p is not net.alpha]
    optimizer = torch.optim.SGD(weights, lr=0.025, momentum=0.9, weight_decay=3e-4, nesterov=True)
    train, _ = batches(size)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(train.inputs), train.targets).backward()
        nn.utils.clip_grad_norm_(weights, 5)
        optimizer.step()

    return step


@dataclass(frozen=True)
class Always:
    """A sampler with one path: what is timed is the step, not the luck of the draw."""

    candidate: Candidate

    def step(self, source: SamplingContext, random: np.random.Generator) -> Draw:
        return Draw((self.candidate,))


def path_step(size: Size) -> Step:
    torch.manual_seed(0)
    space = Space(nas_bench_201(size.channels, size.cells))
    shared = SharedWeights(space.description, (3, size.side, size.side), "", outputs=10)
    paths = [decision.path for decision in space.decisions]
    cell = Candidate(dict(zip(paths, CELL, strict=True)))
    settings = SampledPathTraining(Always(cell), epochs=1_000_000, batch_size=size.rows)
    train, _ = batches(size)
    search = SharedWeightsTrainer(space, shared, train, settings, 0)
    return lambda: search.train_to(len(search.history) + 1)  # an epoch of one batch


STEPS = {
    "plain supernet": plain_step, "ours": our_step,
    "plain network": network_step, "single path": path_step,
}  # fmt: skip


def timed(size: Size, number: int) -> dict[str, float]:
    """Milliseconds, medians of interleaved steps."""
    steps = {name: make(size) for name, make in STEPS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for place in range(number + 3):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if place >= 3:  # the first ones allocate
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(one) * 1e3 for name, one in times.items()}


def peak(name: str, size: Size) -> float:
    """MB that a process needs for some steps, above one that takes none."""
    told = [f"--{key}={getattr(size, key)}" for key in ("channels", "cells", "side", "rows")]
    command = [sys.executable, __file__, *told, "--only"]
    found = [
        float(subprocess.run([*command, what], capture_output=True, text=True, check=True).stdout)
        for what in (name, "nothing")
    ]
    return found[0] - found[1]


def peak_of_this_process() -> float:
    """MB; rusage would count what the process that started this one had."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in one)
    return float(line.split()[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    told = parser.parse_args()
    size = Size(**vars(told))
    if told.only:
        if told.only in STEPS:
            step = STEPS[told.only](size)
            for _ in range(4):
                step()
        print(peak_of_this_process())
        return
    times = timed(size, told.steps)
    rows = []
    for name in STEPS:
        memory = peak(name, size)
        rows.append([name, size.channels, size.cells, size.side, size.rows, times[name], memory])
        print(f"{name:20} {times[name]:8.1f} ms a step {memory:8.0f} MB")
    for a, b in ((0, 1), (2, 3)):
        what = f"{rows[b][0]} / {rows[a][0]}"
        print(f"{what:30} {rows[b][5] / rows[a][5]:8.2f} {rows[b][6] / rows[a][6]:8.2f}")
    new = not OUT.exists()
    with OUT.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["what", "channels", "cells", "side", "rows", "ms", "MB"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
