"""The field's tables, ready-made: NAS-Bench-201, and NAS-Bench-101 from its own files.

None of them is shipped; each function takes the path of a file that the user has.
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
from netwright.evaluators.benchmarks.table import (
    DecisionColumn,
    MetricColumns,
    TableBenchmark,
    columns_of,
)
from netwright.networks.costs import costs as costs_of_network
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.cells import nas_bench_201 as nas_bench_201_network
from netwright.space.space import Space
from netwright.trials.trial import Metrics

_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_SEEDS = (777, 888, 999)
_LATENCY = "latency_ms_"
_DATASETS = ("cifar10", "cifar100", "imagenet16")
_NAS_BENCH_360 = {"ninapro": 0.01, "darcy": 1.0}
"""The same cells on other data (Tu et al. 2022, 2110.05668): what turns the column into a score."""


def nas_bench_201_table(
    file: str | Path,
    dataset: str = "cifar10",
    repetition: Literal["mean", "one"] = "mean",
    device: str = "",
) -> TableBenchmark:
    """NAS-Bench-201 (Dong & Yang 2020, 2001.00326) as an evaluator, from its table as parquet.

    Metrics: "accuracy" (validation; with `repetition` "one" that of a single training where the
    table has it, which for CIFAR-100 and ImageNet16-120 is of validation and test images together),
    "test_accuracy" (mean of the seeds), "parameters", "flops" (2 a multiply-add), "train_seconds",
    and with a `device` "latency" in ms on it. Fidelities: 200 epochs (1) and the separate schedule
    of 12 epochs (.06).

    "ninapro" and "darcy" are those of NAS-Bench-360: one score for each cell, "accuracy" (of darcy
    at most 1, and maybe negative), neither a test part nor another fidelity.
    """
    datasets = (*_DATASETS, *_NAS_BENCH_360)
    if dataset not in datasets:
        fix = closest(dataset, datasets)
        raise InputError(expected("dataset", " or ".join(datasets), dataset, fix))
    if device:
        _check_device(device, Path(file))
    if dataset in _NAS_BENCH_360 and repetition == "one":
        rule = f'"mean" for {dataset}'
        raise InputError(
            expected("repetition", rule, repetition, "The table has one score a cell.")
        )
    if dataset in _NAS_BENCH_360:
        column = f"{dataset}_acc_nb360"
        full = {"accuracy": MetricColumns.of(column, scale=_NAS_BENCH_360[dataset])} | _latency(
            device
        )
        fidelities = {1.0: full}
    else:
        full = _metrics(dataset, 200) | _latency(device)
        fidelities = {12 / 200: _metrics(dataset, 12) | _latency(device), 1.0: full}
    if repetition == "one":
        part = "valid" if dataset == "cifar10" else "valtest"
        names = [f"{dataset}_{part}_acc_200_seed{seed}" for seed in _SEEDS]
        full["accuracy"] = MetricColumns.of(*names, scale=0.01)
    decisions = {
        f"cell.{j}.{i}": DecisionColumn(f"op_{i}_{j}", _OPERATIONS)
        for j in (1, 2, 3)
        for i in range(j)
    }
    space = Space(nas_bench_201_network())
    costs = tuple(name for name in ("parameters", "flops", "latency") if name in full)
    return TableBenchmark(
        space,
        Path(file),
        decisions,
        fidelities,
        repetition,
        costs=costs,
        prior_scores=_live_parameters,
    )


def _live_parameters(network: Network) -> Metrics:
    """Without those of dead edges, which the benchmark counts as well."""
    return {"parameters": float(costs_of_network(network, (3, 32, 32), outputs=10).parameters)}


def _metrics(dataset: str, epochs: int) -> dict[str, MetricColumns]:
    return {
        "accuracy": MetricColumns.of(f"{dataset}_valid_acc_{epochs}", scale=0.01),
        "test_accuracy": MetricColumns.of(f"{dataset}_test_acc_{epochs}", scale=0.01),
        "parameters": MetricColumns.of(f"{dataset}_params"),
        "flops": MetricColumns.of(f"{dataset}_mflops", scale=2e6),
        "train_seconds": MetricColumns.of(f"{dataset}_train_seconds_{epochs}"),
    }


def _check_device(device: str, file: Path) -> None:
    """InputError where the file has no latency on it; one that is not there is missed later."""
    if not file.is_file():
        return
    known = [one.removeprefix(_LATENCY) for one in columns_of(file) if one.startswith(_LATENCY)]
    if device not in known:
        rule = f"one that {file.name} has: {', '.join(known) or 'none'}"
        raise InputError(expected("device", rule, device, closest(device, known)))


def _latency(device: str) -> dict[str, MetricColumns]:
    """Of the network for CIFAR-10, whatever the data set."""
    return {"latency": MetricColumns.of(f"{_LATENCY}{device}")} if device else {}


@dataclass(frozen=True)
class Evaluation:
    """One training of a cell, as NAS-Bench-101's files hold it: half-way and final metrics.

    `energy` in kWh and `carbon` in g are 0 where the file does not have them (the original does
    not).
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


def read_nas_bench_101(file: str | Path) -> Iterator[Evaluation]:
    """Every training in a file of NAS-Bench-101 (Ying et al. 2019, 1902.09635) or in its format.

    A TFRecord of JSON lists whose last item is a protobuf message; both are read here, so that
    TensorFlow is not needed. Raises InputError when the file is not such a file, or cut off.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(expected("file", "one that exists", str(path)))
    for record in _records(path):
        try:
            _, epochs, matrix, operations, packed = json.loads(record)
            size = operations.count(",") + 1
            rows = tuple(
                tuple(int(bit) for bit in matrix[i * size : (i + 1) * size]) for i in range(size)
            )
            yield _evaluation(rows, tuple(operations.split(",")), int(epochs), packed)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
            raise _no_record(path) from error


def _records(path: Path) -> Iterator[bytes]:
    """The payloads of a TFRecord: length u64, its checksum u32, payload, its checksum u32."""
    with path.open("rb") as file:
        while head := file.read(12):
            if len(head) < 12:
                raise _no_record(path)
            (length,) = struct.unpack("<Q", head[:8])
            payload = file.read(length) if length < 1 << 24 else b""
            if len(payload) < length or len(file.read(4)) < 4:
                raise _no_record(path)
            yield payload


def _no_record(path: Path) -> InputError:
    return InputError(
        f"{path} must be a whole TFRecord of NAS-Bench-101, got another file or one cut off. "
        "Fetch it again."
    )


def _evaluation(
    adjacency: tuple[tuple[int, ...], ...], operations: tuple[str, ...], epochs: int, packed: str
) -> Evaluation:
    """ModelMetrics: 1 evaluation_data (repeated), 2 trainable_parameters, 4 energy, 5 carbon."""
    model = _message(base64.b64decode(packed))
    final = _message(model[1][-1])  # at 0, half of, and all epochs
    return Evaluation(
        adjacency, operations, epochs,
        parameters=round(_number(model, 2)), seconds=_number(final, 2),
        train_accuracy=_number(final, 3), validation_accuracy=_number(final, 4),
        test_accuracy=_number(final, 5), energy=_last(model, 4), carbon=_last(model, 5),
    )  # fmt: skip


Fields = Mapping[int, list[bytes]]


def _message(data: bytes) -> dict[int, list[bytes]]:
    """A protobuf message as field number -> raw values in their order."""
    found: dict[int, list[bytes]] = {}
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            raw = struct.pack("<d", float(value))
        elif wire == 1:
            raw, place = data[place : place + 8], place + 8
        elif wire == 2:
            length, place = _varint(data, place)
            raw, place = data[place : place + length], place + length
        elif wire == 5:
            (single,) = struct.unpack_from("<f", data, place)
            raw, place = struct.pack("<d", single), place + 4
        else:
            raise ValueError(f"wire type {wire}")
        found.setdefault(number, []).append(raw)
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, and the place after it."""
    value, shift = 0, 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7


def _number(fields: Fields, number: int) -> float:
    (value,) = struct.unpack("<d", fields[number][-1])
    return float(value)


def _last(fields: Fields, number: int) -> float:
    return _number(fields, number) if number in fields and len(fields[number][-1]) == 8 else 0.0
