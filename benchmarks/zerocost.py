"""How zero-cost scores rank the cells of NAS-Bench-201, with what was published beside.

    python benchmarks/zerocost.py nasbench201.parquet cifar10_jpeg.npz   # half an hour of one core
    python benchmarks/zerocost.py nasbench201.parquet cifar10_jpeg.npz --networks 10 --out pilot.csv

Cells are drawn evenly from the 15,625, and built as the benchmark built them: 16 channels, five
cells a stage, torch's own initial weights. One batch of real CIFAR-10 images is shown to all; a
seed draws the weights and the batch. `cifar10_jpeg.npz` holds the images as JPEG files in one row
of bytes with offsets, `nasbench201.parquet` the accuracies.

`results/zerocost.csv` has a row for each network and seed, written as it is measured; stopped at
any moment, the same line goes on. Other settings need another `--out`.
`results/zerocost-summary.csv` has a row for each score:

- `spearman`: with the validation accuracy after 200 epochs, `low` and `high` the ends of its 95 %
  bootstrap interval over networks, `published` what papers have, and `live` without the cells that
  let nothing through;
- `kendall`, `kendall_low`, `kendall_high`, `kendall_published`: Kendall's tau with the test
  accuracy of the training on all images, which is what the paper of AZ-NAS reports;
- `ms`: a network, the median of this process's CPU time on one thread. It needs an idle machine.

Cells without a route from input to output are refused by `build`. They count as the worst of all
in every score, equal among themselves; papers have them in too. Other dead edges are not built
either: `parameters` and `flops` are those of the live part, and so are the units and norms that
`nwot`, `swap`, `meco` and `zen` look at, where papers have the whole cell. Parameters of the live
part have .773 and .657 over all 15,625 cells, those of the table .711 and .577.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.layers.cells import nas_bench_201
from netwright.networks.zero_cost.probes import ProbeBatch
from netwright.networks.zero_cost.scores import ZERO_COST_SCORES
from netwright.space.candidate import Candidate
from netwright.space.space import Space

SHAPE, CLASSES = (3, 32, 32), 10
COSTS = ("parameters", "flops")
SCORES = (*ZERO_COST_SCORES, *COSTS)
AZ_NAS = ("az_expressivity", "az_progressivity", "az_trainability", "flops")
HEAD = (
    "cell",
    "seed",
    "accuracy",
    "test_accuracy",
    *SCORES,
    *(f"ms_{name}" for name in ZERO_COST_SCORES),
)
RESAMPLES = 1000


class Published(NamedTuple):
    """Spearman with validation accuracy, or Kendall's tau with test accuracy; NaN: not known.

    Spearman: six from 2101.08134 (table 1); `nwot` and `plain` of 725 cells whose scores are in
    NASLib (2210.03230); `swap` from 2403.04161, where it is regularised by size, with CIFAR-100;
    `meco` from its paper. Kendall: tables 1 and 4 of 2403.19232. Costs: of the whole table.
    """

    spearman: float = np.nan
    kendall: float = np.nan


PUBLISHED: Mapping[str, Published] = {
    "grad_norm": Published(0.58, 0.357),
    "snip": Published(0.58, 0.454),
    "grasp": Published(0.48, 0.318),
    "fisher": Published(0.36),
    "synflow": Published(0.74, 0.571),
    "jacov": Published(0.73),
    "nwot": Published(0.786, 0.557),
    "plain": Published(-0.27),
    "zico": Published(kendall=0.589),
    "zen": Published(kendall=0.296),
    "swap": Published(0.90),
    "meco": Published(0.89),
    "az_expressivity": Published(kendall=0.569),
    "az_progressivity": Published(kendall=0.521),
    "az_trainability": Published(kendall=0.349),
    "az_nas": Published(kendall=0.741),
    "parameters": Published(0.711, 0.577),
    "flops": Published(0.711, 0.577),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("table", type=Path, help="NAS-Bench-201, as parquet")
    parser.add_argument("images", type=Path, help="CIFAR-10, as npz of JPEG files")
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=64, help="images in the batch")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5, help="a stage")
    here = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=here / "zerocost.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    measure(options)
    summary = summarise(pd.read_csv(options.out))
    summary.to_csv(options.out.with_name(f"{options.out.stem}-summary.csv"), index=False)
    print(summary.to_string(index=False))


# Measuring


def measure(options: argparse.Namespace) -> None:
    """Appends a row for each network and seed that has none yet."""
    space = Space(nas_bench_201(options.channels, options.cells))
    table = nas_bench_201_table(options.table)
    done = finished(options.out)
    with options.out.open("a", newline="") as file:
        writer = csv.writer(file)
        for seed in range(options.seeds):
            probe = batch(options.images, options.rows, seed)
            for i, candidate in enumerate(drawn(space, options.networks)):
                cell = "|".join(map(str, candidate.values.values()))
                if (cell, str(seed)) in done:
                    continue
                known = table.look_up(candidate)
                row = {"cell": cell, "seed": seed} | {
                    name: known[name] for name in ("accuracy", "test_accuracy")
                }
                row |= scores(space.fill(candidate), probe, seed)
                writer.writerow([short(row.get(name, "")) for name in HEAD])
                file.flush()
                if (i + 1) % 20 == 0:
                    print(f"seed {seed}, network {i + 1} of {options.networks}", flush=True)


def drawn(space: Space[object], number: int) -> list[Candidate]:
    """Different cells; more of them begin with the same ones."""
    rng = np.random.default_rng(0)
    found: dict[Candidate, None] = {}
    while len(found) < number:
        found[space.sample(rng)] = None
    return list(found)


def scores(network: object, probe: ProbeBatch, seed: int) -> dict[str, float]:
    """Every score, and the milliseconds of each; none where nothing gets through."""
    torch.manual_seed(seed)
    try:
        module = build(network, SHAPE, outputs=CLASSES)
    except InfeasibleCandidate:
        return {}
    known = costs(network, SHAPE, outputs=CLASSES)
    found = {"parameters": float(known.parameters), "flops": float(known.flops)}
    for name in ZERO_COST_SCORES:
        found[name], found[f"ms_{name}"] = timed(name, module, probe)
    return found


def timed(name: str, module: nn.Module, probe: ProbeBatch) -> tuple[float, float]:
    start = time.process_time()
    value = ZERO_COST_SCORES[name](module, probe)
    return value, 1000 * (time.process_time() - start)


def batch(file: Path, rows: int, seed: int) -> ProbeBatch:
    """Training images (rows, 3, 32, 32), scaled by the mean and deviation of each channel."""
    stored = np.load(file)
    offsets, packed = stored["offset_train"], stored["jpeg_train"]
    places = np.random.default_rng(seed).choice(len(offsets) - 1, max(rows, 1000), replace=False)
    files = [packed[offsets[i] : offsets[i + 1]].tobytes() for i in places]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one)), np.float32) for one in files])
    scaled = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))  # (n, 32, 32, 3)
    x = torch.from_numpy(scaled[:rows].transpose(0, 3, 1, 2).copy())
    return ProbeBatch(x, torch.from_numpy(stored["y_train"][places[:rows]].astype(np.int64)), seed)


def short(value: object) -> str:
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def finished(file: Path) -> set[tuple[str, ...]]:
    """The cells and seeds that have a whole row; leaves the file with those alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = list(csv.reader(file.open(newline=""))) if file.exists() else []
    ended = file.exists() and file.read_bytes().endswith(b"\n")
    whole = [row for row in rows[1 : None if ended else -1] if len(row) == len(HEAD)]
    part = file.with_suffix(".part")
    with part.open("w", newline="") as out:
        csv.writer(out).writerows([HEAD, *whole])
    part.replace(file)
    return {tuple(row[:2]) for row in whole}


# Summary


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each score; a network measured with several seeds counts once, by its mean."""
    means = rows.groupby("cell", sort=False).mean(numeric_only=True)
    live = means["flops"].notna()
    ranks = means[[*SCORES]].rank(na_option="top")  # dead cells: the least rank
    ranks["az_nas"] = sum(np.log(ranks[name] / len(ranks)) for name in AZ_NAS)
    rng = np.random.default_rng(0)
    draws = rng.integers(len(means), size=(RESAMPLES, len(means)))
    truth = {name: means[name].to_numpy() for name in ("accuracy", "test_accuracy")}
    found = []
    for name in (*ZERO_COST_SCORES, "az_nas", *COSTS):
        score, known = ranks[name].to_numpy(), PUBLISHED[name]
        spearman = agreement("spearman", score, truth["accuracy"], draws)
        kendall = agreement("kendall", score, truth["test_accuracy"], draws)
        found.append({
            "score": name, "networks": len(means),
            "spearman": spearman[0], "low": spearman[1], "high": spearman[2],
            "published": known.spearman,
            "live": correlation("spearman", score[live], truth["accuracy"][live]),
            "kendall": kendall[0], "kendall_low": kendall[1], "kendall_high": kendall[2],
            "kendall_published": known.kendall, "ms": milliseconds(rows, name),
        })  # fmt: skip
    return pd.DataFrame(found).round(3)


def agreement(
    kind: str, score: np.ndarray, truth: np.ndarray, draws: np.ndarray
) -> tuple[float, float, float]:
    """The rank correlation, and both ends of its percentile bootstrap interval over networks."""
    resampled = [correlation(kind, score[i], truth[i]) for i in draws]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return correlation(kind, score, truth), float(low), float(high)


def correlation(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    from scipy import stats

    found = stats.spearmanr(a, b) if kind == "spearman" else stats.kendalltau(a, b)
    return float(found.statistic)


def milliseconds(rows: pd.DataFrame, name: str) -> float:
    """The merge of AZ-NAS needs its parts; costs are known in less than one."""
    parts: Sequence[str] = AZ_NAS if name == "az_nas" else (name,)
    return float(sum(rows[f"ms_{part}"].median() for part in parts if part in ZERO_COST_SCORES))


if __name__ == "__main__":
    main()
