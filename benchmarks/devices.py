"""Latency on a device that is left out, from ten measurements: ours beside ridge, FLOPs and plain GPs.

    python benchmarks/devices.py NASBENCH201.PARQUET [FBNET_LATENCY.PARQUET] [--draws 20]
        [--measurements 10] [--out CSV]
    python benchmarks/devices.py --report CSV

For each chip model (Titan X and Xp, Xeon Gold, Xeon Silver, Pixel, Samsung) all of its settings are
left out, and predicted from random measurements of one of them and the other devices; and so are all
GPUs at once. ``plain_gp`` is a Gaussian process (RBF kernel, maximum likelihood) of the decisions,
``device_gp`` one of the latencies on known devices, ``ridge`` a regression on three principal
components of these; ``5000`` are gradient-boosted trees on 5,000 measurements of the device, of the
same inputs. Columns: Spearman correlation over all networks, median relative error, the share of
picks that keep a limit (the most accurate network whose latency is at most the limit with 90 %
probability, for five limits). Other work on the machine does not matter; each finished draw is a row
of the CSV, and the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from csv_rows import append_row, read_rows
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV

from netwright.networks.device_transfer import KnownDevices, PredictedLatency

Array = NDArray[np.float64]
PREFIX = "latency_ms_"
CHIPS: Mapping[str, tuple[str, ...]] = {
    "titan": ("titanx", "titanxp"),
    "gold": ("gold",),
    "silver": ("silver",),
    "pixel": ("pixel",),
    "samsung": ("samsung",),
    "all GPUs": ("1080ti", "2080ti", "titan"),
}
"""Chip model -> how the names of its settings begin."""
METHODS = ("ours", "plain_gp", "device_gp", "ridge", "flops", "5000")
LIMIT_QUANTILES = (0.1, 0.2, 0.3, 0.5, 0.7)
N_MANY = 5000


@dataclass(frozen=True)
class Run:
    """A row of the CSV."""

    space: str
    chip: str
    device: str
    draw: int
    method: str
    spearman: float
    error: float
    kept: float


@dataclass(frozen=True)
class Networks:
    """Networks of a benchmark, their latencies on devices, and what is known of each."""

    name: str
    frame: pd.DataFrame

    @cached_property
    def devices(self) -> list[str]:
        columns = [name for name in self.frame if name.startswith(PREFIX)]
        return [
            name.removeprefix(PREFIX)
            for name in columns
            if "pi5" not in name and "litert" not in name
        ]

    @cached_property
    def latencies(self) -> Array:
        """(n, devices) ms"""
        return self.frame[[PREFIX + name for name in self.devices]].to_numpy(float)

    @cached_property
    def decisions(self) -> Array:
        """(n, options) one-hot."""
        return pd.get_dummies(self._operations.astype(str)).to_numpy(float)

    @cached_property
    def features(self) -> Array:
        """(n, d) how often each operation occurs, and log FLOPs where they are known."""
        operations = self._operations.to_numpy()
        kinds = np.unique(operations)
        counts = np.stack([(operations == kind).sum(1) for kind in kinds], 1)
        return np.column_stack([counts, *([np.log(self.flops)] if self.flops is not None else [])])

    @cached_property
    def flops(self) -> Array | None:
        column = self.frame.get("cifar10_mflops")
        return None if column is None else column.to_numpy(float)

    @cached_property
    def accuracy(self) -> Array | None:
        column = self.frame.get("cifar100_valtest_acc_200")
        return None if column is None else column.to_numpy(float)

    @property
    def _operations(self) -> pd.DataFrame:
        return self.frame[[name for name in self.frame if name.startswith("op_")]]


def left_out(networks: Networks, chip: str) -> list[int]:
    """Indices of the devices of a chip model."""
    return [i for i, name in enumerate(networks.devices) if name.startswith(CHIPS[chip])]


def standardised(columns: Array) -> Array:
    return (columns - columns.mean(0)) / np.maximum(columns.std(0), 1e-12)


def gaussian_process(inputs: Array, rows: Array, ms: Array) -> PredictedLatency:
    """Of the logarithm of the latency."""
    kernel = ConstantKernel(1.0) * RBF(3.0, (0.3, 100)) + WhiteKernel(0.01, (1e-5, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianProcessRegressor(kernel, normalize_y=True).fit(inputs[rows], np.log(ms))
        mean, deviation = model.predict(inputs, return_std=True)
    return PredictedLatency(np.exp(mean), np.exp(mean) * deviation)


def predict(
    method: str, networks: Networks, known: list[int], rows: Array, ms: Array
) -> PredictedLatency:
    """Predict a new device from measurements `ms` of the networks `rows`."""
    logs = standardised(np.log(networks.latencies[:, known]))  # (n, known)
    if method == "ours":
        devices = KnownDevices(networks.latencies[:, known], networks.features)
        return devices.predict(rows.tolist(), ms.tolist())
    if method == "plain_gp":
        return gaussian_process(
            np.column_stack([networks.decisions, standardised(networks.features)]), rows, ms
        )
    if method == "device_gp":
        return gaussian_process(3 * logs / np.sqrt(len(known)), rows, ms)
    if method == "flops":
        assert networks.flops is not None
        slope, constant = np.polyfit(networks.flops[rows], ms, 1)
        return PredictedLatency(networks.flops * abs(slope) + constant, np.zeros(len(logs)))
    if method == "ridge":
        directions, sizes, _ = np.linalg.svd(logs - logs.mean(0), full_matrices=False)
        inputs = standardised(directions[:, :3] * sizes[:3])
        model: RidgeCV | HistGradientBoostingRegressor = RidgeCV(np.logspace(-3, 2, 12))
    else:
        inputs = np.column_stack([networks.decisions, networks.features, logs])
        model = HistGradientBoostingRegressor(max_iter=300, random_state=0)
    model.fit(inputs[rows], np.log(ms))
    return PredictedLatency(np.exp(model.predict(inputs)), np.zeros(len(logs)))


def spearman(first: Array, second: Array) -> float:
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def share_kept(networks: Networks, predicted: PredictedLatency, latency: Array) -> float:
    """Share of the limits that the most accurate network expected to keep them does keep."""
    if networks.accuracy is None:
        return float("nan")
    kept = []
    for limit in np.quantile(latency, LIMIT_QUANTILES):
        allowed = np.flatnonzero(predicted.at_most(0.9) <= limit)
        if len(allowed):
            kept.append(latency[allowed[np.argmax(networks.accuracy[allowed])]] <= limit)
    return float(np.mean(kept)) if kept else float("nan")


def runs_of(
    networks: Networks,
    n_draws: int,
    n_measurements: int,
    is_done: Callable[[tuple[object, ...]], bool],
) -> Iterable[Run]:
    """Yield the rows that are missing."""
    n = len(networks.latencies)
    for chip in CHIPS:
        out = left_out(networks, chip)
        known = [i for i in range(len(networks.devices)) if i not in out]
        for device in out:
            name, latency = networks.devices[device], networks.latencies[:, device]
            for draw in range(n_draws):
                for method in METHODS:
                    key = (networks.name, chip, name, draw, method)
                    if (
                        is_done(key)
                        or (method == "5000" and draw)
                        or (method == "flops" and networks.flops is None)
                    ):
                        continue
                    rng = np.random.default_rng([draw, device])
                    n_rows = min(N_MANY, n * 4 // 5) if method == "5000" else n_measurements
                    rows = rng.choice(n, n_rows, replace=False)
                    predicted = predict(method, networks, known, rows, latency[rows])
                    rest = np.ones(n, bool)
                    rest[rows] = False
                    errors = np.abs(predicted.mean - latency)[rest] / latency[rest]
                    yield Run(
                        networks.name, chip, name, draw, method,
                        spearman(predicted.mean[rest], latency[rest]), float(np.median(errors)),
                        share_kept(networks, predicted, latency),
                    )  # fmt: skip


def report(runs: Sequence[Run]) -> Iterable[str]:
    """Yield a line for each chip model: mean Spearman of each method, and ours in detail."""
    for space in dict.fromkeys(run.space for run in runs):
        here = [run for run in runs if run.space == space]
        methods = [name for name in METHODS if any(run.method == name for run in here)]
        yield (
            f"{space:12}"
            + "".join(f"{name:>10}" for name in methods)
            + "   error    kept   worst/5000"
        )
        means: dict[str, list[float]] = {name: [] for name in methods}
        for chip in dict.fromkeys(run.chip for run in here):
            of_chip = [run for run in here if run.chip == chip]
            cells = []
            for name in methods:
                mean = float(np.mean([run.spearman for run in of_chip if run.method == name]))
                cells.append(f"{mean:10.4f}")
                if chip != "all GPUs":
                    means[name].append(mean)
            ours = [run for run in of_chip if run.method == "ours"]
            error, kept = (
                np.mean([run.error for run in ours]),
                np.nanmean([run.kept for run in ours]),
            )
            ratios = []
            for device in dict.fromkeys(run.device for run in of_chip):
                many = [r.spearman for r in of_chip if (r.device, r.method) == (device, "5000")]
                ratios.append(np.mean([r.spearman for r in ours if r.device == device]) / many[0])
            yield f"{chip:12}" + "".join(cells) + f"{error:8.3f}{kept:8.2f}{min(ratios):13.3f}"
        yield f"{'mean of five':12}" + "".join(f"{np.mean(each):10.4f}" for each in means.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--measurements", type=int, default=10)
    default_out = Path(__file__).parent / "results/devices.csv"
    parser.add_argument("--out", type=Path, default=default_out)
    parser.add_argument("--report", type=Path)
    settings = parser.parse_args()
    if settings.report:
        print(*report(read_rows(settings.report, Run)), sep="\n")
        return
    if not settings.files:
        parser.error("files must be at least one. See the usage above.")
    done = {
        (run.space, run.chip, run.device, run.draw, run.method)
        for run in read_rows(settings.out, Run)
    }
    for file in settings.files:
        networks = Networks(file.stem, pd.read_parquet(file))
        for run in runs_of(networks, settings.draws, settings.measurements, done.__contains__):
            append_row(settings.out, run)
            print(f"{run.space} {run.chip} {run.draw}", end="\r", flush=True)
    print(*report(read_rows(settings.out, Run)), sep="\n")


if __name__ == "__main__":
    main()
