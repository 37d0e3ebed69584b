"""The shipped tabular benchmark: every network of a small space of cells, trained on the digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from netwright.data.builtin_datasets import load_builtin
from netwright.data.make_task import task
from netwright.data.splits import holdout
from netwright.data.task import Images, Task, TestSet, fingerprint
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import DecisionColumn, MetricColumns
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Activation, GlobalPool, Skip, Zero
from netwright.networks.layers.cells import relu_conv_bn
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.space.choices import OneOf, Shared
from netwright.space.space import Space

FILE = Path(__file__).with_name("digits.csv.gz")
SEEDS = (0, 1, 2)
EPOCHS = (2, 6, 18)
"""Epochs of the schedules, each trained separately; the last is fidelity 1."""
SCORES = ("accuracy", "log_loss", "test_accuracy", "test_log_loss")

_TRAIN_ROWS, _VALIDATION_ROWS = 300, 900
"""Few rows to train on, so that networks differ; many to score, so that ranks are stable."""
_SPLIT_SEED = 20_190_731


def digits_space() -> Space[Training]:
    """Return a space of 1,728 candidates: one cell of four nodes after a convolution.

    The convolution has 12 channels and stride 2. As in NAS-Bench-201 every node is fed by all
    before it; ``cell.2.1`` is the operation on the edge from node 1 to node 2. Edges into nodes 1
    and 2 are "none", "conv1x1" or "conv3x3"; edges into the output node 3 may also be "skip".
    """
    convolutions: dict[str, Network] = {"conv1x1": relu_conv_bn(1), "conv3x3": relu_conv_bn(3)}
    inner_edge: Network = OneOf({"none": Zero(), **convolutions})
    output_edge: Network = OneOf({"none": Zero(), "skip": Skip(), **convolutions})
    nodes = {str(j): Node({str(i): inner_edge for i in range(j)}) for j in (1, 2)}
    nodes["3"] = Node({str(i): output_edge for i in range(3)})
    cell = Shared(Graph(nodes, inputs=("0",)), "cell")
    stem = Conv(12, stride=2, activation="none")
    network = (stem, cell, Activation(), GlobalPool(), Linear())
    return Space(Training(network, lr=0.01, batch_size=50, epochs=EPOCHS[-1]))


def digits_task() -> Task:
    """Return the digits with the table's split: few images for training, many for scoring."""
    source = load_builtin("digits")
    labels = source.target
    others, train = holdout(labels, _SPLIT_SEED, held_out_fraction=_TRAIN_ROWS / len(labels))
    test, validation = holdout(
        labels[others], _SPLIT_SEED, held_out_fraction=_VALIDATION_ROWS / len(others)
    )
    split_task = replace(
        task(source.features, labels, name="digits"),
        train=np.asarray(train, np.int64),
        validation=np.asarray(others[validation], np.int64),
        test=TestSet(Images(source.features[others[test]]), labels[others[test]]),
    )
    return replace(split_task, fingerprint=fingerprint(split_task))


def digits_table(repetition: Literal["mean", "one"] = "mean") -> TableBenchmark:
    """Return the shipped table as an evaluator: 687 different networks, each trained with 3 seeds.

    Metrics: "accuracy" and "log_loss" (validation), "test_accuracy", "test_log_loss",
    "parameters", "flops" (2 a multiply-add), "latency" (ms of the exported file under onnxruntime,
    one image, one thread) and "train_seconds" (of one CPU core). Fidelities 1/9, 1/3 and 1 are
    separate schedules of 2, 6 and 18 epochs. Candidates whose cell passes nothing on are
    infeasible. `benchmarks/digits.py` made the table.

    Args:
        repetition: "mean" averages the three seeds, "one" takes the one that the trial's seed
            selects.

    Returns:
        An evaluator whose `space` has 1,728 candidates.

    Example:
        >>> table = digits_table()
        >>> Study(table.space, table, objectives="accuracy").run(trials=50)
    """
    space = digits_space()
    decisions = {
        decision.path: DecisionColumn(decision.path, tuple(decision.values))
        for decision in space.decisions
    }
    fidelities = {epochs / EPOCHS[-1]: _metrics(epochs) for epochs in EPOCHS}
    costs = ("parameters", "flops", "latency")
    return TableBenchmark(space, FILE, decisions, fidelities, repetition, costs=costs)


def _metrics(epochs: int) -> dict[str, MetricColumns]:
    scores = {
        name: MetricColumns(tuple(f"{name}_{epochs}_{seed}" for seed in SEEDS)) for name in SCORES
    }
    costs = {name: MetricColumns.of(name) for name in ("parameters", "flops", "latency")}
    return scores | costs | {"train_seconds": MetricColumns.of(f"train_seconds_{epochs}")}
