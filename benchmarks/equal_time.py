"""Four families on one space that is nobody's benchmark, for the same time: what each delivers.

    python benchmarks/equal_time.py IMAGES.npz [--name mnist] [--seconds 600] [--rows 12000]
        [--strategies drnas,spos,evolution,bayesian] [--side 0]

The space has open widths, depths, layers and a learning rate. One run after the other, with nothing
else on the machine; a run that was killed goes on. Printed and kept in ``results/equal-time.csv``:
test accuracy, parameters, latency of one row and size of the file that is delivered.

IMAGES.npz as in supernets.py, with a test part; `--side`: images are shrunk to so many pixels.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import netwright as nw
from netwright.automl import name_resolution
from netwright.automl.export.delivery import deliver
from netwright.automl.finished_search import OpenedSearch
from netwright.study.workers.executors import Supervised
from netwright.trials.time_budget import TimeBudget

OUT = Path(__file__).parent / "results" / "equal-time.csv"
COLUMNS = (
    "data", "strategy", "seconds", "trials", "accuracy", "validation", "parameters", "latency",
    "size", "best",
)  # fmt: skip


def network() -> Any:
    def stage(*widths: int) -> Any:
        block = nw.OneOf(
            {
                "conv": nw.Conv(kernel=nw.OneOf(3, 5)),
                "residual": nw.Residual((nw.Conv(), nw.Conv(activation="none"))),
                "mbconv": nw.MBConv(expand=nw.OneOf(2, 4), kernel=nw.OneOf(3, 5)),
                "skip": nw.Skip(),
            }
        )
        down = nw.Conv(nw.OneOf(*widths), stride=2)
        return (down, nw.Repeat(block, times=nw.Integer(1, 3)))

    stem = nw.Conv(nw.OneOf(8, 16, 24))
    return (stem, *stage(16, 24, 32), *stage(32, 48, 64), nw.GlobalPool(), nw.Linear())


def space() -> nw.Space[Any]:
    recipe = nw.Training(
        network(), lr=nw.Float(1e-3, 2e-2, log=True), epochs=12, batch_size=128, patience=12
    )
    return nw.Space(recipe)


def arrays(file: Any, part: str, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if f"jpeg_{part}" in file:
        offsets, data = file[f"offset_{part}"], file[f"jpeg_{part}"].tobytes()
        parts = [data[a:b] for a, b in itertools.pairwise(offsets)]
        pictures = [Image.open(io.BytesIO(one)) for one in parts]
    else:
        pictures = [Image.fromarray(one) for one in file[f"x_{part}"]]
    if side:
        pictures = [one.resize((side, side), Image.Resampling.BOX) for one in pictures]
    x = np.stack([np.asarray(one) for one in pictures])
    return x, file[f"y_{part}"].astype(np.int64).ravel()


def run(data: Any, name: str, strategy: str, seconds: float) -> dict[str, Any]:
    study = nw.Study(
        space(), task=data, strategy=name_resolution.strategy_by_name(strategy), objectives=["accuracy"],
        run=Path("runs") / f"equal-{name}-{strategy}", executor=Supervised(1),
        time=TimeBudget(trial=seconds / 6),
    )  # fmt: skip
    study.run(seconds=seconds)
    found = deliver(OpenedSearch(study, data))
    row = found.front[0].record()
    return {
        "data": name, "strategy": strategy, "seconds": round(study.seconds, 1),
        "trials": len(study.trials), "accuracy": found.test["accuracy"],
        "validation": found.best.metrics["accuracy"],
        "parameters": found.best.metrics["parameters"], "best": found.best.id,
        "latency": row["latency"], "size": row["size"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--name", default="mnist")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--strategies", default="drnas,spos,evolution,bayesian")
    told = parser.parse_args()
    with np.load(told.images) as file:
        x, y = arrays(file, "train", told.side)
        order = np.random.default_rng(0).permutation(len(x))[: told.rows]
        data = nw.task(x[order], y[order], test=arrays(file, "test", told.side), name=told.name)
    for strategy in told.strategies.split(","):
        row = run(data, told.name, strategy, told.seconds)
        print(row, flush=True)
        keep(row)


def keep(row: dict[str, Any]) -> None:
    before = [*csv.DictReader(OUT.open(newline=""))] if OUT.exists() else []
    key = (row["data"], row["strategy"])
    rows = [one for one in before if (one["data"], one["strategy"]) != key]
    with OUT.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([*rows, row])


if __name__ == "__main__":
    main()
