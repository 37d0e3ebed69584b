"""Time a training step of a supernet against a plain implementation of DARTS.

    python benchmarks/supernet_step.py [--channels 8] [--cells 1] [--side 16] [--rows 64]

Both have the same operations. Times are medians of interleaved steps; memory is the peak of a process
above that of one that has only imported torch. Run it on an idle machine. A step is one of the
architecture (first order) and one of the weights. The single path is compared with a step of a plain
network with one cell.
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
from netwright.networks.training.labelled_data import LabelledData
from netwright.oneshot.epoch_trainer import BatchTransform
from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.safeguards import NO_SAFEGUARDS
from netwright.oneshot.single_path.samplers import PathBatch, SamplingContext
from netwright.oneshot.single_path.training import SampledPathTraining, SharedWeightsTrainer
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.candidate import Candidate
from netwright.space.space import Space

OUT = Path(__file__).parent / "results" / "supernet-step.csv"
Step = Callable[[], object]
N_WARM_UP_STEPS = 3
"""Steps before the timed ones: the first ones allocate memory."""


class Size(argparse.Namespace):
    channels: int
    cells: int
    side: int
    rows: int


def batches(size: Size) -> tuple[LabelledData, LabelledData]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, size.rows, 3, size.side, size.side, generator=generator)
    targets = torch.randint(10, (2, size.rows), generator=generator)
    return LabelledData(images[0], targets[0]), LabelledData(images[1], targets[1])


# The plain implementation: a module for each mixed edge, as in the code of DARTS


class ReluConv(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(torch.relu(x)))
        return normed


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul(0.0)


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda c: Zero(),
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


class SingleEdge(nn.Module):
    """An edge with a single, unweighted operation."""

    def __init__(self, c: int, name: str) -> None:
        super().__init__()
        self.operation = OPERATIONS[name](c)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        out: Tensor = self.operation(x)
        return out


class PlainCell(nn.Module):
    def __init__(self, c: int, names: tuple[str, ...]) -> None:
        super().__init__()
        edges = [SingleEdge(c, name) for name in names] or [MixedEdge(c) for _ in range(6)]
        self.edges = nn.ModuleList(edges)

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

        def conv(n_in: int, stride: int) -> nn.Sequential:
            layer = nn.Conv2d(n_in, 2 * c, 3, stride, 1, bias=False)
            return nn.Sequential(nn.ReLU(), layer, nn.BatchNorm2d(2 * c))

        self.body = nn.Sequential(conv(c, 2), conv(2 * c, 1))
        self.back = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c, 2 * c, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.back(x)
        return out


class PlainSupernet(nn.Module):
    """All operations on each edge, or the operations `names`, one per edge in order."""

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
        for module in self.body:
            x = module(x, weights) if isinstance(module, PlainCell) else module(x)
        out: Tensor = self.head(torch.relu(self.norm(x)).mean((2, 3)))
        return out


def plain_step(size: Size) -> Step:
    torch.manual_seed(0)
    net = PlainSupernet(size.channels, size.cells)
    weights = [p for p in net.parameters() if p is not net.alpha]
    optimizer = torch.optim.SGD(weights, lr=0.025, momentum=0.9, weight_decay=3e-4)
    alpha_optimizer = torch.optim.Adam([net.alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    train, valid = batches(size)

    def step() -> None:
        alpha_optimizer.zero_grad()
        F.cross_entropy(net(valid.inputs), valid.targets).backward()
        alpha_optimizer.step()
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
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        steps.architecture_step(train, valid, 0.0, generator)
        steps.weight_step(train, 0.0, generator)

    return step


# A single path through shared weights, and a plain network of the same cell

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
class FixedPathSampler:
    """A sampler that always returns the same path, so that only the step is timed."""

    candidate: Candidate

    def step(self, source: SamplingContext, generator: np.random.Generator) -> PathBatch:
        return PathBatch((self.candidate,))


def path_step(size: Size) -> Step:
    torch.manual_seed(0)
    space = Space(nas_bench_201(size.channels, size.cells))
    shared = SharedWeights(space.description, (3, size.side, size.side), "", outputs=10)
    paths = [decision.path for decision in space.decisions]
    cell = Candidate(dict(zip(paths, CELL, strict=True)))
    settings = SampledPathTraining(FixedPathSampler(cell), epochs=1_000_000, batch_size=size.rows)
    train, _ = batches(size)
    search = SharedWeightsTrainer(space, shared, train, settings, 0)
    return lambda: search.train_to(len(search.history) + 1)  # an epoch of one batch


STEPS = {
    "plain supernet": plain_step, "ours": our_step,
    "plain network": network_step, "single path": path_step,
}  # fmt: skip


def timed(size: Size, n_steps: int) -> dict[str, float]:
    """Return median milliseconds of interleaved steps."""
    steps = {name: make(size) for name, make in STEPS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step_index in range(n_steps + N_WARM_UP_STEPS):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if step_index >= N_WARM_UP_STEPS:
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}


def peak(name: str, size: Size) -> float:
    """Return the peak memory in MB of a few steps, above that of a process without steps."""
    arguments = [f"--{key}={getattr(size, key)}" for key in ("channels", "cells", "side", "rows")]
    command = [sys.executable, __file__, *arguments, "--only"]
    with_steps, without_steps = (
        float(subprocess.run([*command, what], capture_output=True, text=True, check=True).stdout)
        for what in (name, "nothing")
    )
    return with_steps - without_steps


def peak_of_this_process() -> float:
    """Return the peak in MB; rusage would include the memory of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak_line = next(line for line in lines if "VmHWM" in line)
    return float(peak_line.split()[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = Size(**vars(options))
    if options.only:
        if options.only in STEPS:
            step = STEPS[options.only](size)
            for _ in range(N_WARM_UP_STEPS + 1):
                step()
        print(peak_of_this_process())
        return
    times = timed(size, options.steps)
    rows = []
    for name in STEPS:
        memory = peak(name, size)
        rows.append([name, size.channels, size.cells, size.side, size.rows, times[name], memory])
        print(f"{name:20} {times[name]:8.1f} ms per step {memory:8.0f} MB")
    for plain, ours in ((0, 1), (2, 3)):
        names = f"{rows[ours][0]} / {rows[plain][0]}"
        time_ratio, memory_ratio = (rows[ours][i] / rows[plain][i] for i in (5, 6))
        print(f"{names:30} {time_ratio:8.2f} {memory_ratio:8.2f}")
    is_new = not OUT.exists()
    with OUT.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["what", "channels", "cells", "side", "rows", "ms", "MB"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
