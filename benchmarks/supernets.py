"""What searches over shared weights find in the cells of NAS-Bench-201, with real images.

    python benchmarks/supernets.py NASBENCH201.PARQUET IMAGES.npz [--methods darts,gdas,...]
        [--seeds 3] [--epochs 10] [--rows 16000] [--channels 8] [--side 16] [--workers 2] [--watched]

A narrow supernet (one cell a stage) on images shrunk to `side`, cropped and flipped; the parameters
of the architecture move ten times as far a step as in the papers, whose searches have fifteen times
as many steps (`--alpha-lr`). The cells found are looked up in the
table, whose test accuracy is of the full network after 200 epochs. `--watched`: with the monitor and
its remedies, and five candidates trained by themselves, of which the best by validation is reported;
beside them ten random cells picked in the same way. One row for each run in ``results/``: killed,
the same line goes on. Accuracies and counts; seconds mean something alone on the machine only.

IMAGES.npz: `x_train` (n, h, w, 3) uint8 and `y_train`; or JPEG bytes, `jpeg_train`, with offsets.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netwright.automl.name_resolution import strategy_by_name
from netwright.errors import InfeasibleCandidate
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.evaluators.one_shot.inherited_weights import InheritAndValidate
from netwright.interfaces.strategy import Problem
from netwright.networks.build import build
from netwright.networks.layers.cells import nas_bench_201
from netwright.networks.training.augmentation import Crop, Flip
from netwright.networks.training.loop import LabelledData, train
from netwright.networks.training.optimizers import SGD
from netwright.networks.training.recipe import Training
from netwright.oneshot.epoch_trainer import BatchTransform, random_split
from netwright.oneshot.gradient.finalize import finalize_search
from netwright.oneshot.gradient.search import GradientSearch, split_in_halves
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.ranking import validation_score
from netwright.oneshot.safeguards import NO_SAFEGUARDS
from netwright.oneshot.single_path.training import SampledPathTraining, SharedWeightsTrainer
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.oneshot import OneShot
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Metrics, Proposal

RESULTS = Path(__file__).parent / "results"
FEED = BatchTransform((Crop(2), Flip()))
ALONE = 4
"""Epochs of training a cell by itself, to pick among candidates."""
PICKED = 5
RANDOM = 10


@dataclass(frozen=True)
class Setting:
    """Everything that the rows of one file share."""

    table: str
    images: str
    epochs: int
    rows: int
    channels: int
    side: int
    watched: bool
    alpha_lr: float


def named(name: str) -> DifferentiableNAS:
    found = strategy_by_name(name)
    assert isinstance(found, OneShot)
    assert isinstance(found.method, DifferentiableNAS)
    return found.method


@lru_cache(maxsize=1)
def images(setting: Setting) -> tuple[LabelledData, LabelledData]:
    """Rows to search with, and as many more to judge cells that were trained by themselves."""
    with np.load(setting.images) as file:
        number = 2 * setting.rows
        if "jpeg_train" in file:
            from PIL import Image

            offsets, data = file["offset_train"], file["jpeg_train"].tobytes()
            order = np.random.default_rng(0).permutation(len(offsets) - 1)[:number]
            x = np.stack(
                [
                    np.asarray(Image.open(io.BytesIO(data[offsets[i] : offsets[i + 1]])))
                    for i in order
                ]
            )
        else:
            order = np.random.default_rng(0).permutation(len(file["x_train"]))[:number]
            x = file["x_train"][order]
        y = torch.from_numpy(file["y_train"][order].astype(np.int64).ravel())
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2).float()  # (n, c, h, w)
    small = torch.nn.functional.adaptive_avg_pool2d(pixels, setting.side)
    small = (small - small.mean((0, 2, 3), keepdim=True)) / small.std((0, 2, 3), keepdim=True)
    half = setting.rows
    return LabelledData(small[:half], y[:half]), LabelledData(small[half:], y[half:])


@lru_cache(maxsize=1)
def lookup(table: str) -> Callable[[Candidate], float]:
    """Test accuracy in percent, mean of the trainings of 200 epochs."""
    benchmark = nas_bench_201_table(table, "cifar10")

    def of(candidate: Candidate) -> float:
        return 100 * benchmark(Job(Proposal(candidate), 0, Path()))["test_accuracy"]

    return of


def alone(setting: Setting, candidate: Candidate, seed: int) -> float:
    """Validation accuracy after a short training of the small network by itself."""
    rows, valid = images(setting)
    space = Space(nas_bench_201(setting.channels, 1))
    torch.manual_seed(seed)
    module = build(space.fill(candidate), (3, setting.side, setting.side), outputs=10)
    recipe = Training(
        (), lr=0.1, batch_size=64, epochs=ALONE, optimizer=SGD(), augment=FEED.augment
    )
    judge = valid.inputs[:4000], valid.targets[:4000]
    curve = train(
        recipe, module, rows, judge[0], lambda out: -validation_score(out, judge[1]), seed=seed
    )
    return -curve.points[-1].validation_loss


def pick(setting: Setting, candidates: Sequence[Candidate], seed: int) -> Candidate:
    return max(candidates, key=lambda one: alone(setting, one, seed))


def run(setting: Setting, name: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    begun, cpu = time.monotonic(), time.process_time()
    of = lookup(setting.table)
    space = Space(nas_bench_201(setting.channels, 1))
    if name == "random":
        rng = np.random.default_rng(1000 + seed)
        drawn = [space.sample(rng) for _ in range(RANDOM)]
        live = [one for one in drawn if leads(setting, space, one)]
        best = pick(setting, live, seed)
        found: dict[str, Any] = {"first": np.mean([of(one) for one in drawn]), "picked": of(best)}
    elif name == "spos":
        found = by_paths(setting, seed, space)
    else:
        found = searched(setting, name, seed, space)
    usual = {"method": name, "seed": seed, "watched": setting.watched}
    times = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu}
    return usual | found | times


def leads(setting: Setting, space: Space[Any], candidate: Candidate) -> bool:
    supernet = Supernet(space.description, (3, setting.side, setting.side), "", outputs=10)
    return supernet.is_feasible(candidate)


def searched(setting: Setting, name: str, seed: int, space: Space[Any]) -> dict[str, Any]:
    settings = replace(named(name), epochs=setting.epochs)
    steps = replace(settings.architecture, lr=setting.alpha_lr)
    settings = replace(settings, architecture=steps)
    if not setting.watched:
        settings = replace(settings, safeguards=replace(NO_SAFEGUARDS, eigenvalue_interval=1))
    torch.manual_seed(seed)
    shape = (3, setting.side, setting.side)
    supernet = Supernet(
        space.description, shape, "", channel_divisor=settings.channel_divisor,
        affine=settings.weights.affine, outputs=10,
    )  # fmt: skip
    rows, _ = images(setting)
    search = GradientSearch(
        space, supernet, split_in_halves(rows, seed), settings, seed, transform=FEED
    )
    search.train()
    came_to = finalize_search(search, PICKED)
    of = lookup(setting.table)
    first = came_to.candidates[0]
    found: dict[str, Any] = {
        "first": of(first),
        "cell": " ".join(str(value) for value in first.values.values()),
        "skips": skips_of(first), "by": came_to.selected_by, "epochs": len(search.history),
        "says": "; ".join(one.message for one in came_to.findings if one.alarm),
        "skips_by_epoch": " ".join(str(skips_of(one)) for one in firsts(search)),
        "accuracy_by_epoch": " ".join(f"{of(one):.2f}" for one in firsts(search)),
        "eigenvalues": " ".join(f"{one.eigenvalue or 0:.3g}" for one in search.history),
        "loss": search.history[-1].train_loss,
    }  # fmt: skip
    if setting.watched:
        found["picked"] = of(pick(setting, came_to.candidates, seed))
    return found


def by_paths(setting: Setting, seed: int, space: Space[Any]) -> dict[str, Any]:
    """Uniform single paths, then evolution by inherited weights."""
    rows, _ = images(setting)
    shape = (3, setting.side, setting.side)
    torch.manual_seed(seed)
    shared = SharedWeights(space.description, shape, "", outputs=10)
    train_rows, judges = random_split(rows, 0.5, seed)
    search = SharedWeightsTrainer(
        space, shared, train_rows, SampledPathTraining(epochs=setting.epochs), seed, transform=FEED
    )
    search.train()
    judge = InheritAndValidate(shared, "multiclass", train_rows, judges, recalibration_batches=20)
    problem = Problem(space, (Objective("accuracy", "max"),))
    strategy = RegularizedEvolution(population=20, tournament_size=5)(problem)

    def measure(candidate: Candidate) -> Metrics:
        try:
            return judge(Job(Proposal(candidate), 0, Path()))
        except InfeasibleCandidate:  # nothing leads through
            return {"accuracy": 0.0}

    log = simulate(strategy, measure, 100, seed=seed)
    done = sorted((one for one in log if one.metrics), key=lambda one: -one.metrics["accuracy"])
    of = lookup(setting.table)
    best = [one.candidate for one in done[:PICKED]]
    found = {
        "first": of(best[0]), "cell": " ".join(map(str, best[0].values.values())),
        "skips": skips_of(best[0]), "by": "inherited accuracy", "epochs": setting.epochs,
        "loss": search.history[-1].loss,
    }  # fmt: skip
    return found | ({"picked": of(pick(setting, best, seed))} if setting.watched else {})


def firsts(search: GradientSearch) -> list[Candidate]:
    """What was preferred after each epoch."""
    return [search.top_candidates(one.scores, 1)[0] for one in search.history]


def skips_of(candidate: Candidate) -> int:
    return sum(value == "skip_connect" for value in candidate.values.values())


COLUMNS = (
    "method", "seed", "watched", "first", "picked", "skips", "by", "epochs", "seconds", "cpu",
    "loss", "cell", "says", "skips_by_epoch", "accuracy_by_epoch", "eigenvalues",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("table")
    parser.add_argument("images")
    parser.add_argument(
        "--methods", default="darts,pcdarts,gdas,drnas,betadarts,spos,darts2,random"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--alpha-lr", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--watched", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "supernets.csv")
    told = parser.parse_args()
    setting = Setting(
        told.table,
        told.images,
        told.epochs,
        told.rows,
        told.channels,
        told.side,
        told.watched,
        told.alpha_lr,
    )
    done = {(r["method"], r["seed"], r["watched"]) for r in read(told.out)}
    todo = [
        (name, seed) for seed in range(told.seeds) for name in told.methods.split(",")
        if (name, str(seed), str(told.watched)) not in done
    ]  # fmt: skip
    with ProcessPoolExecutor(told.workers) as pool:
        running = [pool.submit(run, setting, *one) for one in todo]
        for one in as_completed(running):
            row = one.result()
            write(told.out, row)
            print({key: row.get(key) for key in COLUMNS[:10]}, flush=True)


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def write(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(dict(row))


if __name__ == "__main__":
    main()
