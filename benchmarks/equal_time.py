"""Compare what strategies of four kinds deliver in equal time on a space outside any benchmark.

    python benchmarks/equal_time.py IMAGES.npz [--name mnist] [--seconds 600] [--rows 12000]
        [--strategies drnas,spos,evolution,bayesian] [--side 0]

The space has open widths, depths, layers and a learning rate. Runs are sequential and need an idle
machine; a killed run resumes. Printed and kept in ``results/equal-time.csv``: test accuracy,
parameters, latency of one row, and size of the delivered file.

IMAGES.npz as in supernets.py, with a test part; `--side`: side length in pixels that images are
shrunk to.
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


def arrays(file: Any, split: str, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (n, h, w, 3) and labels (n,) of a split, "train" or "test"."""
    if f"jpeg_{split}" in file:
        offsets, content = file[f"offset_{split}"], file[f"jpeg_{split}"].tobytes()
        jpegs = [content[start:end] for start, end in itertools.pairwise(offsets)]
        images = [Image.open(io.BytesIO(jpeg)) for jpeg in jpegs]
    else:
        images = [Image.fromarray(pixels) for pixels in file[f"x_{split}"]]
    if side:
        images = [image.resize((side, side), Image.Resampling.BOX) for image in images]
    x = np.stack([np.asarray(image) for image in images])
    return x, file[f"y_{split}"].astype(np.int64).ravel()


def run(task: Any, name: str, strategy: str, seconds: float) -> dict[str, Any]:
    study = nw.Study(
        space(), task=task, strategy=name_resolution.strategy_by_name(strategy), objectives=["accuracy"],
        run=Path("runs") / f"equal-{name}-{strategy}", executor=Supervised(1),
        time=TimeBudget(trial=seconds / 6),
    )  # fmt: skip
    study.run(seconds=seconds)
    delivered = deliver(OpenedSearch(study, task))
    row = delivered.front[0].record()
    return {
        "data": name, "strategy": strategy, "seconds": round(study.seconds, 1),
        "trials": len(study.trials), "accuracy": delivered.test["accuracy"],
        "validation": delivered.best.metrics["accuracy"],
        "parameters": delivered.best.metrics["parameters"], "best": delivered.best.id,
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
    options = parser.parse_args()
    with np.load(options.images) as file:
        x, y = arrays(file, "train", options.side)
        order = np.random.default_rng(0).permutation(len(x))[: options.rows]
        task = nw.task(
            x[order], y[order], test=arrays(file, "test", options.side), name=options.name
        )
    for strategy in options.strategies.split(","):
        row = run(task, options.name, strategy, options.seconds)
        print(row, flush=True)
        save(row)


def save(row: dict[str, Any]) -> None:
    before = [*csv.DictReader(OUT.open(newline=""))] if OUT.exists() else []
    key = (row["data"], row["strategy"])
    other_rows = [other for other in before if (other["data"], other["strategy"]) != key]
    with OUT.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([*other_rows, row])


if __name__ == "__main__":
    main()
