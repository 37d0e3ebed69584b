"""Measure what weight inheritance saves: regularised evolution on MNIST, with and without it.

    python benchmarks/inheritance.py pilot --data mnist.npz    # one seed, few trials: how long?
    python benchmarks/inheritance.py run --data mnist.npz      # all seeds: half an hour of one core
    python benchmarks/inheritance.py show                      # print the results

Each run is a study of small convolutional networks, on 2,000 training and 2,000 validation images.
Without inheritance every trial trains all of its epochs from scratch; with it a child starts from
its parent's weights and trains a share of the epochs (`TrainAndValidate(inherit=)`). All arms have
the same seeds, so their first random trials are the same. Shown are the evaluations, epochs and
seconds of training until the best validation accuracy reached a level. Inherited weights have been
trained for longer than one trial's epochs, so the best network of each run is also trained from
scratch, and both are scored on the test images.

`run` resumes where it was stopped, also within a study. Seconds are meaningful on an idle machine
only; evaluations and epochs are everywhere.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from netwright.data.make_task import task
from netwright.data.task import Task, fingerprint
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.files.run_layout import ABOUT
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import FittedPipeline, as_pipeline, fit, load
from netwright.space.choices import Integer, OneOf, Repeat
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.study.run_record import RunRecord
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.metrics import score
from netwright.trials.trial import Trial

RESULTS = Path(__file__).parent / "results"
ARMS = (0.0, 0.25, 0.5, 1.0)
"""Smallest share of the epochs that a child trains; 0: no inheritance."""
SEEDS, TRIALS, EPOCHS = 5, 40, 8
N_TRAIN, N_VALIDATION = 2000, 2000
LEVELS = (0.96, 0.965, 0.97, 0.975, 0.98)

BLOCK = OneOf(
    {
        "residual": Residual((Conv(kernel=OneOf(3, 5)), Conv(activation="none"))),
        "mbconv": MBConv(expand=OneOf(2, 4), kernel=OneOf(3, 5), squeeze=OneOf(0.0, 0.25)),
        "separable": Residual(Conv(kernel=OneOf(3, 5), separable=True)),
        "conv": Conv(),
    }
)
SPACE = Space(
    Training(
        (
            Conv(OneOf(6, 8, 12, 16), OneOf(3, 5), stride=2), Repeat(BLOCK, Integer(0, 2)),
            Conv(OneOf(8, 12, 16, 24, 32), stride=2), Repeat(BLOCK, Integer(0, 3)),
            GlobalPool(), Linear(),
        ),
        lr=5e-3, batch_size=64, epochs=EPOCHS,
    )
)  # fmt: skip
KEYS = ["seed", "inherit"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stage", choices=("pilot", "run", "show"))
    parser.add_argument("--data", type=Path, help="an .npz of x_train, y_train, x_test, y_test")
    parser.add_argument("--work", type=Path, default=Path("runs/inheritance"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    files = [options.results / f"inheritance-{name}.csv" for name in ("trials", "best")]
    if options.stage == "show":
        show(*map(pd.read_csv, files))
        return
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU's results would differ
    data = mnist(options.data)
    if options.stage == "pilot":
        files = [options.work / f"pilot-{file.name}" for file in files]
    seeds, trials = (range(1), 15) if options.stage == "pilot" else (range(SEEDS), TRIALS)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    for seed, inherit in itertools.product(seeds, ARMS):
        if (seed, inherit) in finished(files):
            continue
        start = time.process_time()
        study = search(data, seed, inherit, options.work / options.stage, trials)
        append(files[0], [row(study, trial, seed, inherit) for trial in study.trials])
        append(files[1], [{"seed": seed, "inherit": inherit, **best_scores(study, data, seed)}])
        seconds = time.process_time() - start
        print(f"seed {seed}, inherit {inherit}: {seconds:.0f} s of a core", flush=True)
    show(*map(pd.read_csv, files))


def mnist(path: Path) -> Task:
    """Return a task of the first images; only `best_scores` uses the test images."""
    with np.load(path) as file:
        x, y = file["x_train"][: N_TRAIN + N_VALIDATION], file["y_train"][: N_TRAIN + N_VALIDATION]
        mnist_task = task(x, y, test=(file["x_test"], file["y_test"]), name="mnist")
    rows = np.arange(N_TRAIN + N_VALIDATION)
    mnist_task = replace(mnist_task, train=rows[:N_TRAIN], validation=rows[N_TRAIN:])
    return replace(mnist_task, fingerprint=fingerprint(mnist_task))


def search(data: Task, seed: int, inherit: float, work: Path, trials: int) -> Study[Any]:
    """Run the search of one arm and seed, or resume it."""
    study = Study(
        SPACE, TrainAndValidate(SPACE, replace(data, test=None), inherit=inherit),
        strategy=RegularizedEvolution(population=10, tournament_size=3), objectives=["accuracy"],
        run=work / f"{seed}-{inherit}", seed=seed, executor=InProcess(),
        record=RunRecord({"data": data.fingerprint}),
    )  # fmt: skip
    return study.run(trials=trials)


def row(study: Study[Any], trial: Trial, seed: int, inherit: float) -> dict[str, Any]:
    """Return the row of one trial; infeasible ones cost nothing."""
    about = study.trial_folder(trial.id) / ABOUT
    record = json.loads(about.read_text())["inherited"] if about.is_file() else {}
    head = {"seed": seed, "inherit": inherit, "trial": trial.id, "origin": trial.proposal.origin}
    metrics = {
        name: trial.metrics.get(name, 0.0)
        for name in ("accuracy", "epochs", "train_seconds", "inherited")
    }
    losses = "; ".join(record.get("losses", ()))
    return head | metrics | {"preserved": record.get("preserved", False), "losses": losses}


def best_scores(study: Study[Any], data: Task, seed: int) -> dict[str, float]:
    """Score the best trial on the test images, with its weights and trained from scratch."""
    best = study.best
    assert best is not None
    pipeline = as_pipeline(SPACE.fill(best.candidate), data)
    inherited = load(pipeline, study.trial_folder(best.id))
    from_scratch = fit(pipeline, data, seed=1000 + seed)
    return {
        "accuracy": best.metrics["accuracy"], "test": test_accuracy(inherited, data),
        "anew": test_accuracy(from_scratch, data),
        "parameters": sum(parameter.numel() for parameter in inherited.model.module.parameters()),
    }  # fmt: skip


def test_accuracy(fitted: FittedPipeline, data: Task) -> float:
    assert data.test is not None
    return score(data.kind, data.test.target, fitted.predict(data.test.features))["accuracy"]


# Resuming


def finished(files: Sequence[Path]) -> set[tuple[int, float]]:
    """Return the runs that are in both files, and drop the rows of all others."""
    if not all(file.exists() for file in files):
        for file in files:
            file.unlink(missing_ok=True)
        return set()
    frames = [pd.read_csv(file, on_bad_lines="skip") for file in files]
    done = {(int(seed), float(inherit)) for seed, inherit in frames[1][KEYS].to_numpy()}
    for file, frame in zip(files, frames, strict=True):
        temporary = file.with_suffix(".part")
        is_done = [key in done for key in zip(frame["seed"], frame["inherit"], strict=True)]
        frame[is_done].to_csv(temporary, index=False)
        temporary.replace(file)
    return done


def append(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    frame = pd.DataFrame(rows).round(5)
    frame.to_csv(file, mode="a", header=not file.exists(), index=False)


# Results


def show(trials: pd.DataFrame, best: pd.DataFrame) -> None:
    """Print medians over seeds until a level was reached, and how many seeds reached it."""
    trials = trials.sort_values([*KEYS, "trial"])
    runs = trials.groupby(KEYS)
    trials["evaluations"] = runs.cumcount() + 1
    trials["so far"] = runs["accuracy"].cummax()
    for name in ("epochs", "train_seconds"):
        trials[f"all {name}"] = runs[name].cumsum()
    columns = ["evaluations", "all epochs", "all train_seconds"]
    costs = []
    for (seed, inherit), run in trials.groupby(KEYS):
        for level in LEVELS:
            reached = run[run["so far"] >= level]
            cost = reached.iloc[0][columns] if len(reached) else dict.fromkeys(columns, np.inf)
            costs.append({"seed": seed, "inherit": inherit, "level": level} | dict(cost))
    medians = pd.DataFrame(costs).groupby(["level", "inherit"])
    summary = medians[columns].median().round(1)
    summary["reached"] = medians["evaluations"].apply(lambda counts: int(np.isfinite(counts).sum()))
    print(f"until the best validation accuracy reached a level, median of {best['seed'].nunique()}")
    print(summary.to_string(), end="\n\n")
    children = trials[(trials["inherit"] > 0) & (trials["origin"] == "mutation")]
    print("children, mean", children.groupby("inherit")[["inherited", "preserved", "epochs"]].mean()
          .round(3).to_string(), sep="\n", end="\n\n")  # fmt: skip
    print("the best of each run on the test images: with its weights, and trained from scratch")
    print(best.groupby("inherit")[["accuracy", "test", "anew", "parameters"]].mean().round(4))


if __name__ == "__main__":
    main()
