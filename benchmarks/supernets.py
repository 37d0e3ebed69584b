"""Run supernet searches on NAS-Bench-201's cells with real images, and look up what they find.

    python benchmarks/supernets.py NASBENCH201.PARQUET IMAGES.npz [--methods darts,gdas,...]
        [--seeds 3] [--epochs 10] [--rows 16000] [--channels 8] [--side 16] [--workers 2] [--watched]

A narrow supernet (one cell per stage) is trained on images shrunk to `side`, cropped and flipped. The
learning rate of the architecture is ten times that of the papers, whose searches have fifteen times
as many steps (`--alpha-lr`). The cells found are looked up in the table, which has the test accuracy
of the full network after 200 epochs. `--watched` adds the safeguards, and trains five candidates from
scratch, of which the best by validation is reported; ten random cells picked in the same way are the
baseline. One row per run in ``results/``; the same command resumes. Seconds are meaningful on an idle
machine only.

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
from netwright.networks.training.augmentation.geometry import Crop, Flip
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import train
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
TRANSFORM = BatchTransform((Crop(2), Flip()))
N_EPOCHS_FROM_SCRATCH = 4
"""Epochs for which candidates are trained from scratch to pick the best."""
N_PICKED = 5
N_RANDOM = 10


@dataclass(frozen=True)
class Setting:
    """The settings that all rows of a file share."""

    table: str
    images: str
    epochs: int
    rows: int
    channels: int
    side: int
    watched: bool
    alpha_lr: float


def method_by_name(name: str) -> DifferentiableNAS:
    strategy = strategy_by_name(name)
    assert isinstance(strategy, OneShot)
    assert isinstance(strategy.method, DifferentiableNAS)
    return strategy.method


@lru_cache(maxsize=1)
def images(setting: Setting) -> tuple[LabelledData, LabelledData]:
    """Return images to search with, and as many to validate cells trained from scratch."""
    with np.load(setting.images) as file:
        n_images = 2 * setting.rows
        if "jpeg_train" in file:
            from PIL import Image

            offsets, content = file["offset_train"], file["jpeg_train"].tobytes()
            order = np.random.default_rng(0).permutation(len(offsets) - 1)[:n_images]
            x = np.stack(
                [
                    np.asarray(Image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]])))
                    for i in order
                ]
            )
        else:
            order = np.random.default_rng(0).permutation(len(file["x_train"]))[:n_images]
            x = file["x_train"][order]
        y = torch.from_numpy(file["y_train"][order].astype(np.int64).ravel())
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2).float()  # (n, c, h, w)
    small = torch.nn.functional.adaptive_avg_pool2d(pixels, setting.side)
    small = (small - small.mean((0, 2, 3), keepdim=True)) / small.std((0, 2, 3), keepdim=True)
    half = setting.rows
    return LabelledData(small[:half], y[:half]), LabelledData(small[half:], y[half:])


@lru_cache(maxsize=1)
def lookup(table: str) -> Callable[[Candidate], float]:
    """Return a function: candidate -> test accuracy in percent, mean of the trainings."""
    benchmark = nas_bench_201_table(table, "cifar10")

    def accuracy_of(candidate: Candidate) -> float:
        return 100 * benchmark(Job(Proposal(candidate), 0, Path()))["test_accuracy"]

    return accuracy_of


def accuracy_from_scratch(setting: Setting, candidate: Candidate, seed: int) -> float:
    """Return the validation accuracy of the small network after a short training from scratch."""
    rows, valid = images(setting)
    space = Space(nas_bench_201(setting.channels, 1))
    torch.manual_seed(seed)
    module = build(space.fill(candidate), (3, setting.side, setting.side), outputs=10)
    recipe = Training(
        (),
        lr=0.1,
        batch_size=64,
        epochs=N_EPOCHS_FROM_SCRATCH,
        optimizer=SGD(),
        augment=TRANSFORM.augment,
    )
    inputs, targets = valid.inputs[:4000], valid.targets[:4000]
    curve = train(
        recipe,
        module,
        rows,
        inputs,
        lambda out: -validation_score(out, targets),
        seed=seed,
    )
    return -curve.points[-1].validation_loss


def pick(setting: Setting, candidates: Sequence[Candidate], seed: int) -> Candidate:
    return max(candidates, key=lambda candidate: accuracy_from_scratch(setting, candidate, seed))


def run(setting: Setting, name: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    start, cpu = time.monotonic(), time.process_time()
    accuracy_of = lookup(setting.table)
    space = Space(nas_bench_201(setting.channels, 1))
    if name == "random":
        rng = np.random.default_rng(1000 + seed)
        drawn = [space.sample(rng) for _ in range(N_RANDOM)]
        feasible = [candidate for candidate in drawn if is_feasible(setting, space, candidate)]
        best = pick(setting, feasible, seed)
        row: dict[str, Any] = {
            "first": np.mean([accuracy_of(candidate) for candidate in drawn]),
            "picked": accuracy_of(best),
        }
    elif name == "spos":
        row = run_single_path_search(setting, seed, space)
    else:
        row = run_gradient_search(setting, name, seed, space)
    head = {"method": name, "seed": seed, "watched": setting.watched}
    times = {"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu}
    return head | row | times


def is_feasible(setting: Setting, space: Space[Any], candidate: Candidate) -> bool:
    supernet = Supernet(space.description, (3, setting.side, setting.side), "", outputs=10)
    return supernet.is_feasible(candidate)


def run_gradient_search(
    setting: Setting, name: str, seed: int, space: Space[Any]
) -> dict[str, Any]:
    settings = replace(method_by_name(name), epochs=setting.epochs)
    steps = replace(settings.architecture_training, lr=setting.alpha_lr)
    settings = replace(settings, architecture_training=steps)
    if not setting.watched:
        settings = replace(settings, safeguards=replace(NO_SAFEGUARDS, eigenvalue_interval=1))
    torch.manual_seed(seed)
    shape = (3, setting.side, setting.side)
    supernet = Supernet(
        space.description, shape, "", channel_divisor=settings.channel_divisor,
        affine=settings.weight_training.affine, outputs=10,
    )  # fmt: skip
    rows, _ = images(setting)
    search = GradientSearch(
        space, supernet, split_in_halves(rows, seed), settings, seed, transform=TRANSFORM
    )
    search.train()
    result = finalize_search(search, N_PICKED)
    accuracy_of = lookup(setting.table)
    first = result.candidates[0]
    by_epoch = best_by_epoch(search)
    row: dict[str, Any] = {
        "first": accuracy_of(first),
        "cell": " ".join(map(str, first.values.values())),
        "skips": skips_of(first), "by": result.selected_by, "epochs": len(search.history),
        "says": "; ".join(finding.message for finding in result.findings if finding.alarm),
        "skips_by_epoch": " ".join(str(skips_of(candidate)) for candidate in by_epoch),
        "accuracy_by_epoch": " ".join(f"{accuracy_of(candidate):.2f}" for candidate in by_epoch),
        "eigenvalues": " ".join(f"{epoch.eigenvalue or 0:.3g}" for epoch in search.history),
        "loss": search.history[-1].train_loss,
    }  # fmt: skip
    if setting.watched:
        row["picked"] = accuracy_of(pick(setting, result.candidates, seed))
    return row


def run_single_path_search(setting: Setting, seed: int, space: Space[Any]) -> dict[str, Any]:
    """Train with uniform single paths, then evolve candidates by their inherited accuracy."""
    rows, _ = images(setting)
    shape = (3, setting.side, setting.side)
    torch.manual_seed(seed)
    shared = SharedWeights(space.description, shape, "", outputs=10)
    train_rows, validation_rows = random_split(rows, 0.5, seed)
    search = SharedWeightsTrainer(
        space,
        shared,
        train_rows,
        SampledPathTraining(epochs=setting.epochs),
        seed,
        transform=TRANSFORM,
    )
    search.train()
    evaluator = InheritAndValidate(
        shared, "multiclass", train_rows, validation_rows, recalibration_batches=20
    )
    problem = Problem(space, (Objective("accuracy", "max"),))
    strategy = RegularizedEvolution(population=20, tournament_size=5)(problem)

    def measure(candidate: Candidate) -> Metrics:
        try:
            return evaluator(Job(Proposal(candidate), 0, Path()))
        except InfeasibleCandidate:  # nothing leads through
            return {"accuracy": 0.0}

    log = simulate(strategy, measure, 100, seed=seed)
    done = sorted(
        (trial for trial in log if trial.metrics), key=lambda trial: -trial.metrics["accuracy"]
    )
    accuracy_of = lookup(setting.table)
    best = [trial.candidate for trial in done[:N_PICKED]]
    row = {
        "first": accuracy_of(best[0]), "cell": " ".join(map(str, best[0].values.values())),
        "skips": skips_of(best[0]), "by": "inherited accuracy", "epochs": setting.epochs,
        "loss": search.history[-1].loss,
    }  # fmt: skip
    return row | ({"picked": accuracy_of(pick(setting, best, seed))} if setting.watched else {})


def best_by_epoch(search: GradientSearch) -> list[Candidate]:
    """Return the best candidate after each epoch."""
    return [search.top_candidates(epoch.scores, 1)[0] for epoch in search.history]


def skips_of(candidate: Candidate) -> int:
    return sum(operation == "skip_connect" for operation in candidate.values.values())


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
    options = parser.parse_args()
    setting = Setting(
        options.table,
        options.images,
        options.epochs,
        options.rows,
        options.channels,
        options.side,
        options.watched,
        options.alpha_lr,
    )
    done = {(r["method"], r["seed"], r["watched"]) for r in read(options.out)}
    todo = [
        (name, seed) for seed in range(options.seeds) for name in options.methods.split(",")
        if (name, str(seed), str(options.watched)) not in done
    ]  # fmt: skip
    with ProcessPoolExecutor(options.workers) as pool:
        running = [pool.submit(run, setting, name, seed) for name, seed in todo]
        for future in as_completed(running):
            row = future.result()
            write(options.out, row)
            print({key: row.get(key) for key in COLUMNS[:10]}, flush=True)


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def write(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(dict(row))


if __name__ == "__main__":
    main()
