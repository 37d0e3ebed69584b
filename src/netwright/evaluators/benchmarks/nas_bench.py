"""NAS-Bench-201 as an evaluator, and a reader of NAS-Bench-101's own files.

The tables are not shipped; each function takes the path of a file that the user has.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netwright.errors import InputError, closest, expected
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import (
    DecisionColumn,
    MetricColumns,
    column_names,
)
from netwright.networks.costs import costs as costs_of_network
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.cells import nas_bench_201 as nas_bench_201_network
from netwright.space.space import Space
from netwright.trials.trial import Metrics

_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_SEEDS = (777, 888, 999)
_LATENCY_PREFIX = "latency_ms_"
_DATASETS = ("cifar10", "cifar100", "imagenet16")
_NAS_BENCH_360_SCALES = {"ninapro": 0.01, "darcy": 1.0}
"""Data sets of NAS-Bench-360 (Tu et al., 2022, 2110.05668) -> factor from its column to a score."""


def nas_bench_201_table(
    file: str | Path,
    dataset: str = "cifar10",
    repetition: Literal["mean", "one"] = "mean",
    device: str = "",
) -> TableBenchmark:
    """Return NAS-Bench-201 (Dong and Yang, 2020, 2001.00326) as an evaluator.

    Metrics: "accuracy" (validation), "test_accuracy" (mean of the seeds), "parameters", "flops" (2
    a multiply-add), "train_seconds", and with a `device` "latency" (ms). Fidelities: 200 epochs (1)
    and the separate schedule of 12 epochs (0.06). The data sets of NAS-Bench-360, "ninapro" and
    "darcy", have only "accuracy" (for darcy a score of at most 1, which may be negative) and
    fidelity 1.

    Args:
        file: the table as parquet.
        dataset: "cifar10", "cifar100", "imagenet16", "ninapro" or "darcy".
        repetition: "mean" or "one": the accuracy of the single training that the trial's seed
            selects, which for CIFAR-100 and ImageNet16-120 is on validation and test images
            together.
        device: on which latency was measured; empty for no latency.

    Returns:
        An evaluator with its `space`.

    Raises:
        InputError: the data set, repetition or device is not in the table.

    Example:
        >>> table = nas_bench_201_table("nas-bench-201.parquet", "cifar100")
        >>> Study(table.space, table, objectives="accuracy").run(trials=100)
    """
    datasets = (*_DATASETS, *_NAS_BENCH_360_SCALES)
    if dataset not in datasets:
        fix = closest(dataset, datasets)
        raise InputError(expected("dataset", " or ".join(datasets), dataset, fix))
    if device:
        _check_device(device, Path(file))
    if dataset in _NAS_BENCH_360_SCALES and repetition == "one":
        rule = f'"mean" for {dataset}'
        raise InputError(
            expected("repetition", rule, repetition, "The table has one score a cell.")
        )
    if dataset in _NAS_BENCH_360_SCALES:
        scale = _NAS_BENCH_360_SCALES[dataset]
        metrics = {"accuracy": MetricColumns.of(f"{dataset}_acc_nb360", scale=scale)}
        metrics |= _latency(device)
        fidelities = {1.0: metrics}
    else:
        metrics = _metrics(dataset, 200) | _latency(device)
        fidelities = {12 / 200: _metrics(dataset, 12) | _latency(device), 1.0: metrics}
    if repetition == "one":
        split = "valid" if dataset == "cifar10" else "valtest"
        names = [f"{dataset}_{split}_acc_200_seed{seed}" for seed in _SEEDS]
        metrics["accuracy"] = MetricColumns.of(*names, scale=0.01)
    decisions = {
        f"cell.{j}.{i}": DecisionColumn(f"op_{i}_{j}", _OPERATIONS)
        for j in (1, 2, 3)
        for i in range(j)
    }
    space = Space(nas_bench_201_network())
    costs = tuple(name for name in ("parameters", "flops", "latency") if name in metrics)
    return TableBenchmark(
        space,
        Path(file),
        decisions,
        fidelities,
        repetition,
        costs=costs,
        compute_prior_scores=live_sizes,
    )


def live_sizes(network: Network) -> Metrics:
    """Return parameters and FLOPs of our network of a cell, which a benchmark may count otherwise.

    NAS-Bench-201 counts the parameters of dead edges, too; NAS-Bench-101 divides the channels of a
    cell among the nodes that its output joins.
    """
    network_costs = costs_of_network(network, (3, 32, 32), outputs=10)
    return {"parameters": float(network_costs.parameters), "flops": float(network_costs.flops)}


def _metrics(dataset: str, epochs: int) -> dict[str, MetricColumns]:
    return {
        "accuracy": MetricColumns.of(f"{dataset}_valid_acc_{epochs}", scale=0.01),
        "test_accuracy": MetricColumns.of(f"{dataset}_test_acc_{epochs}", scale=0.01),
        "parameters": MetricColumns.of(f"{dataset}_params"),
        "flops": MetricColumns.of(f"{dataset}_mflops", scale=2e6),
        "train_seconds": MetricColumns.of(f"{dataset}_train_seconds_{epochs}"),
    }


def _check_device(device: str, file: Path) -> None:
    """Raise InputError if the file has no latency of the device; a missing file fails later."""
    if not file.is_file():
        return
    devices = [
        name.removeprefix(_LATENCY_PREFIX)
        for name in column_names(file)
        if name.startswith(_LATENCY_PREFIX)
    ]
    if device not in devices:
        rule = f"one that {file.name} has: {', '.join(devices) or 'none'}"
        raise InputError(expected("device", rule, device, closest(device, devices)))


def _latency(device: str) -> dict[str, MetricColumns]:
    """Return the latency of the network for CIFAR-10, whatever the data set."""
    return {"latency": MetricColumns.of(f"{_LATENCY_PREFIX}{device}")} if device else {}


@dataclass(frozen=True)
class NASBench101Run:
    """One training of a cell in NAS-Bench-101, with its final metrics.

    Args:
        adjacency: upper triangular matrix of 0 and 1: row i, column j is the edge from i to j.
        operations: of the vertices, input and output included.
        epochs: of its schedule.
        parameters: trainable parameters.
        seconds: of the training.
        train_accuracy: at the end, as the others, in [0, 1].
        validation_accuracy: of the validation images.
        test_accuracy: of the test images.
        energy: in kWh (EC-NAS); 0 if the file does not have it.
        carbon: in g (EC-NAS); 0 if the file does not have it.
    """

    adjacency: tuple[tuple[int, ...], ...]
    operations: tuple[str, ...]
    epochs: int
    parameters: int
    seconds: float
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float
    energy: float = 0.0
    carbon: float = 0.0


def read_nas_bench_101(file: str | Path) -> Iterator[NASBench101Run]:
    """Read every training in a file of NAS-Bench-101 (Ying et al., 2019, 1902.09635).

    The file is a TFRecord of JSON lists whose last item is a protobuf message. Both are parsed
    here, so TensorFlow is not needed.

    Args:
        file: such as ``nasbench_only108.tfrecord``, or one of EC-NAS, which has the same format.

    Yields:
        The trainings in the file's order.

    Raises:
        InputError: the file is something else, or cut off.

    Example:
        >>> best = max(read_nas_bench_101(file), key=lambda run: run.validation_accuracy)
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(expected("file", "one that exists", str(path)))
    for record in _tfrecords(path):
        try:
            _, epochs, matrix, operations, message = json.loads(record)
            n_vertices = operations.count(",") + 1
            adjacency = tuple(
                tuple(int(bit) for bit in matrix[i * n_vertices : (i + 1) * n_vertices])
                for i in range(n_vertices)
            )
            yield _parse_run(adjacency, tuple(operations.split(",")), int(epochs), message)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
            raise _not_a_tfrecord(path) from error


def _tfrecords(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a TFRecord: length u64, its checksum u32, payload, its checksum u32."""
    with path.open("rb") as file:
        while header := file.read(12):
            if len(header) < 12:
                raise _not_a_tfrecord(path)
            (length,) = struct.unpack("<Q", header[:8])
            payload = file.read(length) if length < 1 << 24 else b""
            if len(payload) < length or len(file.read(4)) < 4:
                raise _not_a_tfrecord(path)
            yield payload


def _not_a_tfrecord(path: Path) -> InputError:
    return InputError(
        f"{path} must be a whole TFRecord of NAS-Bench-101, got another file or one cut off. "
        "Fetch it again."
    )


def _parse_run(
    adjacency: tuple[tuple[int, ...], ...], operations: tuple[str, ...], epochs: int, message: str
) -> NASBench101Run:
    """Parse ModelMetrics: 1 evaluation_data (repeated), 2 trainable_parameters, 4 energy, 5 carbon."""
    model = _parse_message(base64.b64decode(message))
    final = _parse_message(model[1][-1])  # evaluations at 0, half of, and all epochs
    return NASBench101Run(
        adjacency,
        operations,
        epochs,
        parameters=round(_last_double(model, 2)),
        seconds=_last_double(final, 2),
        train_accuracy=_last_double(final, 3),
        validation_accuracy=_last_double(final, 4),
        test_accuracy=_last_double(final, 5),
        energy=_last_double_or_zero(model, 4),
        carbon=_last_double_or_zero(model, 5),
    )


Fields = Mapping[int, list[bytes]]
"""Field number of a protobuf message -> raw values in their order, numbers as doubles."""


def _parse_message(message: bytes) -> dict[int, list[bytes]]:
    """Parse a protobuf message into its `Fields`."""
    fields: dict[int, list[bytes]] = {}
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        field_number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            integer, position = _read_varint(message, position)
            raw = struct.pack("<d", float(integer))
        elif wire_type == 1:
            raw, position = message[position : position + 8], position + 8
        elif wire_type == 2:
            length, position = _read_varint(message, position)
            raw, position = message[position : position + length], position + length
        elif wire_type == 5:
            (single,) = struct.unpack_from("<f", message, position)
            raw, position = struct.pack("<d", single), position + 4
        else:
            raise ValueError(f"wire type {wire_type}")
        fields.setdefault(field_number, []).append(raw)
    return fields


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """Return an integer of seven bits a byte, and the position after it."""
    integer, shift = 0, 0
    while True:
        byte = message[position]
        integer |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return integer, position
        shift += 7


def _last_double(fields: Fields, field_number: int) -> float:
    (number_as_double,) = struct.unpack("<d", fields[field_number][-1])
    return float(number_as_double)


def _last_double_or_zero(fields: Fields, field_number: int) -> float:
    """Return the last value of a field; 0 if it is missing or no number."""
    if field_number in fields and len(fields[field_number][-1]) == 8:
        return _last_double(fields, field_number)
    return 0.0
