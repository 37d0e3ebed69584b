"""Rank NAS-Bench-201's cells by zero-cost scores, and compare with published correlations.

    python benchmarks/zerocost.py nasbench201.parquet cifar10_jpeg.npz   # half an hour of one core
    python benchmarks/zerocost.py nasbench201.parquet cifar10_jpeg.npz --networks 10 --out pilot.csv

Cells are drawn uniformly from the 15,625, and built as in the benchmark: 16 channels, five cells per
stage, torch's default initialisation. All see one batch of real CIFAR-10 images; the seed decides
the weights and the batch. `cifar10_jpeg.npz` holds the images as JPEG files in one array of bytes
with offsets, `nasbench201.parquet` the accuracies.

`results/zerocost.csv` has a row for each network and seed, written as it is measured; the same
command resumes. Other settings need another `--out`.
`results/zerocost-summary.csv` has a row for each score:

- `spearman`: with the validation accuracy after 200 epochs; `low` and `high` are the ends of its 95 %
  bootstrap interval over networks, `published` is the value in papers, and `live` is without the
  cells that have no path from input to output;
- `kendall`, `kendall_low`, `kendall_high`, `kendall_published`: Kendall's tau with the test
  accuracy of the training on all images, as reported in the paper of AZ-NAS;
- `ms`: median CPU time per network on one thread. It needs an idle machine.

Cells without a path from input to output are refused by `build`. They get the lowest rank in every
score, all tied; papers include them, too. Other dead edges are not built either: `parameters` and
`flops` are those of the live part, and so are the units and norms that `nwot`, `swap`, `meco` and
`zen` use, where papers have the whole cell. Parameters of the live part have .773 and .657 over all
15,625 cells, those of the table .711 and .577.
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
COLUMNS = (
    "cell",
    "seed",
    "accuracy",
    "test_accuracy",
    *SCORES,
    *(f"ms_{name}" for name in ZERO_COST_SCORES),
)
N_RESAMPLES = 1000


class Published(NamedTuple):
    """Spearman with validation accuracy, and Kendall's tau with test accuracy; NaN: not known.

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
    """Append a row for each network and seed that has none yet."""
    space = Space(nas_bench_201(options.channels, options.cells))
    table = nas_bench_201_table(options.table)
    done = finished(options.out)
    with options.out.open("a", newline="") as file:
        writer = csv.writer(file)
        for seed in range(options.seeds):
            probe = batch(options.images, options.rows, seed)
            for i, candidate in enumerate(sample_cells(space, options.networks)):
                cell = "|".join(map(str, candidate.values.values()))
                if (cell, str(seed)) in done:
                    continue
                metrics = table.look_up(candidate)
                row = {"cell": cell, "seed": seed} | {
                    name: metrics[name] for name in ("accuracy", "test_accuracy")
                }
                row |= scores(space.fill(candidate), probe, seed)
                writer.writerow([formatted(row.get(name, "")) for name in COLUMNS])
                file.flush()
                if (i + 1) % 20 == 0:
                    print(f"seed {seed}, network {i + 1} of {options.networks}", flush=True)


def sample_cells(space: Space[object], n: int) -> list[Candidate]:
    """Return distinct random cells; a larger sample starts with the smaller one."""
    rng = np.random.default_rng(0)
    distinct: dict[Candidate, None] = {}
    while len(distinct) < n:
        distinct[space.sample(rng)] = None
    return list(distinct)


def scores(network: object, probe: ProbeBatch, seed: int) -> dict[str, float]:
    """Return every score and its milliseconds; empty if no path leads from input to output."""
    torch.manual_seed(seed)
    try:
        module = build(network, SHAPE, outputs=CLASSES)
    except InfeasibleCandidate:
        return {}
    cost = costs(network, SHAPE, outputs=CLASSES)
    row = {"parameters": float(cost.parameters), "flops": float(cost.flops)}
    for name in ZERO_COST_SCORES:
        row[name], row[f"ms_{name}"] = timed(name, module, probe)
    return row


def timed(name: str, module: nn.Module, probe: ProbeBatch) -> tuple[float, float]:
    start = time.process_time()
    score = ZERO_COST_SCORES[name](module, probe)
    return score, 1000 * (time.process_time() - start)


def batch(file: Path, rows: int, seed: int) -> ProbeBatch:
    """Return training images (rows, 3, 32, 32), standardised per channel."""
    stored = np.load(file)
    offsets, packed = stored["offset_train"], stored["jpeg_train"]
    indices = np.random.default_rng(seed).choice(len(offsets) - 1, max(rows, 1000), replace=False)
    files = [packed[offsets[i] : offsets[i + 1]].tobytes() for i in indices]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpeg)), np.float32) for jpeg in files])
    scaled = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))  # (n, 32, 32, 3)
    x = torch.from_numpy(scaled[:rows].transpose(0, 3, 1, 2).copy())
    return ProbeBatch(x, torch.from_numpy(stored["y_train"][indices[:rows]].astype(np.int64)), seed)


def formatted(entry: object) -> str:
    return f"{entry:.8g}" if isinstance(entry, float) else str(entry)


def finished(file: Path) -> set[tuple[str, ...]]:
    """Return the cells and seeds with a complete row, and drop all other rows from the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = list(csv.reader(file.open(newline=""))) if file.exists() else []
    ends_with_newline = file.exists() and file.read_bytes().endswith(b"\n")
    complete = [
        row for row in rows[1 : None if ends_with_newline else -1] if len(row) == len(COLUMNS)
    ]
    temporary = file.with_suffix(".part")
    with temporary.open("w", newline="") as out:
        csv.writer(out).writerows([COLUMNS, *complete])
    temporary.replace(file)
    return {tuple(row[:2]) for row in complete}


# Summary


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each score; networks measured with several seeds count by their mean."""
    means = rows.groupby("cell", sort=False).mean(numeric_only=True)
    live = means["flops"].notna()
    ranks = means[[*SCORES]].rank(na_option="top")  # dead cells: the lowest rank
    ranks["az_nas"] = sum(np.log(ranks[name] / len(ranks)) for name in AZ_NAS)
    rng = np.random.default_rng(0)
    draws = rng.integers(len(means), size=(N_RESAMPLES, len(means)))
    truth = {name: means[name].to_numpy() for name in ("accuracy", "test_accuracy")}
    lines = []
    for name in (*ZERO_COST_SCORES, "az_nas", *COSTS):
        score, published = ranks[name].to_numpy(), PUBLISHED[name]
        spearman = correlation_with_interval("spearman", score, truth["accuracy"], draws)
        kendall = correlation_with_interval("kendall", score, truth["test_accuracy"], draws)
        lines.append({
            "score": name, "networks": len(means),
            "spearman": spearman[0], "low": spearman[1], "high": spearman[2],
            "published": published.spearman,
            "live": correlation("spearman", score[live], truth["accuracy"][live]),
            "kendall": kendall[0], "kendall_low": kendall[1], "kendall_high": kendall[2],
            "kendall_published": published.kendall, "ms": milliseconds(rows, name),
        })  # fmt: skip
    return pd.DataFrame(lines).round(3)


def correlation_with_interval(
    kind: str, score: np.ndarray, truth: np.ndarray, draws: np.ndarray
) -> tuple[float, float, float]:
    """Return the rank correlation and the ends of its bootstrap interval over networks."""
    resampled = [correlation(kind, score[i], truth[i]) for i in draws]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return correlation(kind, score, truth), float(low), float(high)


def correlation(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    from scipy import stats

    test = stats.spearmanr(a, b) if kind == "spearman" else stats.kendalltau(a, b)
    return float(test.statistic)


def milliseconds(rows: pd.DataFrame, name: str) -> float:
    """Return the median milliseconds of a score; AZ-NAS needs its parts, costs take none."""
    scores: Sequence[str] = AZ_NAS if name == "az_nas" else (name,)
    return float(sum(rows[f"ms_{score}"].median() for score in scores if score in ZERO_COST_SCORES))


if __name__ == "__main__":
    main()
