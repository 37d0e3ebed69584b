"""On the real files, where they are: their published optima and figures."""

import base64
import json
import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netwright.errors import InputError
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table, read_nas_bench_101

PLACE = (
    Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[4] / "shared" / "data")) / "nas"
)
real = pytest.mark.skipif(not PLACE.is_dir(), reason="the NAS tables are not on this machine")


@real
@pytest.mark.parametrize(
    ("dataset", "valid", "test"),
    [
        ("cifar10", 91.607, 94.373), ("cifar100", 73.493, 73.513), ("imagenet16", 46.733, 47.311),
    ],
)  # fmt: skip
def test_nas_bench_201_has_the_published_optima(dataset: str, valid: float, test: float) -> None:
    table = nas_bench_201_table(PLACE / "nasbench201.parquet", dataset)
    assert table.space.size == len(table.metric_means("accuracy")) == 15_625
    assert table.metric_means("accuracy").max() * 100 == pytest.approx(valid, abs=1e-3)
    assert table.metric_means("test_accuracy").max() * 100 == pytest.approx(test, abs=1e-3)


@real
@pytest.mark.parametrize(("dataset", "best"), [("ninapro", 0.94385), ("darcy", 0.98481)])
def test_the_cells_have_scores_on_other_data(dataset: str, best: float) -> None:
    table = nas_bench_201_table(PLACE / "nasbench201.parquet", dataset)
    assert (table.metrics, [*table.fidelities]) == (("accuracy",), [1.0])
    assert table.metric_means("accuracy").max() == pytest.approx(best, abs=1e-5)
    with pytest.raises(InputError, match=f'repetition must be "mean" for {dataset}, got .one'):
        nas_bench_201_table(PLACE / "nasbench201.parquet", dataset, "one")


@real
def test_every_cell_of_the_space_is_in_nas_bench_201() -> None:
    table = nas_bench_201_table(PLACE / "nasbench201.parquet", device="pixel3")
    rng = np.random.default_rng(0)
    accuracy = [table.look_up(table.space.sample(rng))["accuracy"] for _ in range(300)]
    assert min(accuracy) > 0.09
    assert np.mean(accuracy) == pytest.approx(table.metric_means("accuracy").mean(), abs=0.03)
    best = {f"cell.{j}.{i}": "nor_conv_3x3" for j in (1, 2, 3) for i in range(j)}
    all_convolutions = table.look_up(table.space.fix(best).default())
    assert all_convolutions["parameters"] == table.metric_means("parameters").max()
    assert all_convolutions["latency"] > 0
    short = table.look_up(table.space.fix(best).default(), 12 / 200)
    assert short["train_seconds"] == pytest.approx(all_convolutions["train_seconds"] * 12 / 200)


@real
def test_nas_bench_201_repetitions_are_noisy_but_the_mean_is_not() -> None:
    path = PLACE / "nasbench201.parquet"
    mean, one = nas_bench_201_table(path), nas_bench_201_table(path, repetition="one")
    candidate = mean.space.sample(np.random.default_rng(4))
    assert len({one.look_up(candidate, seed=seed)["accuracy"] for seed in range(20)}) in (2, 3)
    assert len({mean.look_up(candidate, seed=seed)["accuracy"] for seed in range(20)}) == 1


@real
@pytest.mark.parametrize(
    ("name", "cells", "epochs"),
    [("ecnas_4v", 91, [4, 12, 36, 108]), ("ecnas_5v_4epochs", 2532, [4])],
)
def test_files_in_the_format_of_nas_bench_101_are_read(
    name: str, cells: int, epochs: list[int]
) -> None:
    runs = list(read_nas_bench_101(PLACE / f"{name}.tfrecord"))
    assert len({(one.adjacency, one.operations) for one in runs}) == cells
    assert sorted({one.epochs for one in runs}) == epochs
    assert all(one.operations[0] == "input" and one.operations[-1] == "output" for one in runs)
    assert all(np.triu(np.array(one.adjacency), 1).sum() == np.sum(one.adjacency) for one in runs)
    last = [one for one in runs if one.epochs == 108]
    if last:
        assert np.mean([one.validation_accuracy for one in last]) == pytest.approx(0.8995, abs=1e-4)
        assert max(one.validation_accuracy for one in last) == pytest.approx(0.9433, abs=1e-4)
        assert np.mean([one.energy for one in last]) == pytest.approx(0.412, abs=1e-3)


def field(number: int, value: bytes | float) -> bytes:
    if isinstance(value, bytes):
        return bytes([number << 3 | 2, len(value)]) + value
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def record(payload: bytes) -> bytes:
    return struct.pack("<Q", len(payload)) + b"\0" * 4 + payload + b"\0" * 4


def written(path: Path) -> bytes:
    """A file of one training, as the original NAS-Bench-101 has them: no energy."""
    final = b"".join(field(i, value) for i, value in enumerate((108.0, 900.0, 1.0, 0.94, 0.93), 1))
    model = field(1, field(1, 0.0)) + field(1, final) + bytes([2 << 3]) + b"\xac\x02"
    packed = base64.b64encode(model).decode()
    data = record(json.dumps(["hash", 108, "011001000", "input,conv3x3,output", packed]).encode())
    path.write_bytes(data)
    return data


def test_a_record_without_energy_is_read(tmp_path: Path) -> None:
    written(tmp_path / "one.tfrecord")
    (one,) = read_nas_bench_101(tmp_path / "one.tfrecord")
    assert one.adjacency == ((0, 1, 1), (0, 0, 1), (0, 0, 0))
    assert one.operations == ("input", "conv3x3", "output")
    assert (one.epochs, one.parameters, one.seconds) == (108, 300, 900.0)
    assert (one.validation_accuracy, one.test_accuracy, one.energy) == (0.94, 0.93, 0.0)


def test_a_cut_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.tfrecord"
    data = written(path)
    others = (record(text) for text in (b"[1, 2]", b"5", b"[1, 2, 3, 4, 5]", b"null", b"{}"))
    for content in (data[:-3], data[:40], data[:5], b"PAR1" * 50, *others):
        path.write_bytes(content)
        with pytest.raises(InputError, match="must be a whole TFRecord of NAS-Bench-101"):
            list(read_nas_bench_101(path))
    with pytest.raises(InputError, match="file must be one that exists"):
        list(read_nas_bench_101(tmp_path / "none"))


def test_an_unknown_device_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    names = ["latency_ms_pixel3", "latency_ms_raspi4"]
    pd.DataFrame(1.0, index=[0], columns=names).to_parquet(tmp_path / "a.parquet")
    rule = r"device must be one that a\.parquet has: pixel3, raspi4, got 'nexus'\."
    with pytest.raises(InputError, match=rule):
        nas_bench_201_table(tmp_path / "a.parquet", device="nexus")
    assert "latency" in nas_bench_201_table(tmp_path / "a.parquet", device="raspi4").metrics


def test_another_data_set_is_refused() -> None:
    with pytest.raises(InputError, match=r"dataset must be cifar10 or .* or ninapro or darcy"):
        nas_bench_201_table("any.parquet", "svhn")
