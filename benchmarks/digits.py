"""Makes the table of networks that is shipped: `src/netwright/evaluators/benchmarks/digits.csv.gz`.

    python benchmarks/digits.py pilot      # 30 networks: do seeds agree, do networks differ?
    python benchmarks/digits.py train      # every network, seed and fidelity: an hour of one core
    python benchmarks/digits.py latency    # their exported files, on a machine with nothing else
    python benchmarks/digits.py pack       # what the two left in runs/digits -> the table

Stopped at any moment, `train` and `latency` go on where they were. Networks that are the same but
for the order of their nodes, or for parts that reach nothing, are trained once; each training is
the whole schedule of its fidelity, on one thread of a CPU, and its last epoch is what is judged.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from netwright.deploy.export import export_onnx, make_card
from netwright.deploy.model import Model
from netwright.errors import InfeasibleCandidate
from netwright.evaluators.benchmarks.digits import (
    EPOCHS,
    FILE,
    SCORES,
    SEEDS,
    digits_space,
    digits_task,
)
from netwright.evaluators.latency import example_feeds, time_calls
from netwright.networks.costs import costs
from netwright.networks.layers.canonical import canonical
from netwright.networks.training.loop import LabelledData
from netwright.networks.training.recipe import Training
from netwright.pipelines.models import network as networks
from netwright.pipelines.pipeline import (
    FittedPipeline,
    ImagePipeline,
    cached_preprocessor,
    target_transform_of,
)
from netwright.space.candidate import Candidate
from netwright.trials.metrics import score

SPACE, TASK = digits_space(), digits_task()
PATHS = [one.path for one in SPACE.decisions]
PILOT = 30
TRAINED = ("cell", "seed", "epochs", *SCORES, "train_seconds")
TIMED = ("cell", "latency")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stage", choices=("pilot", "train", "latency", "pack"))
    parser.add_argument("--work", type=Path, default=Path("runs/digits"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU's numbers would be others
    trained, timed = options.work / "trained.csv", options.work / "latency.csv"
    if options.stage in ("pilot", "train"):
        names = distinct()
        random.Random(0).shuffle(names)  # the first ones are a fair sample, of seconds too
        names = names[: PILOT if options.stage == "pilot" else None]
        jobs = list(itertools.product(names, SEEDS, EPOCHS))
        go_on(trained, TRAINED, jobs, train_row, weigh=lambda job: job[2])
        of_these = pd.read_csv(trained)
        describe(of_these[of_these["cell"].isin(names)])
    elif options.stage == "latency":
        go_on(timed, TIMED, [(n,) for n in distinct()], latency_row)
    else:
        pack(pd.read_csv(trained), pd.read_csv(timed))


def cell_of(candidate: Candidate) -> str:
    """The canonical form of a candidate's cell; InfeasibleCandidate when nothing flows through."""
    return canonical(SPACE.fill(candidate).network[1])


def name_of(candidate: Candidate) -> str:
    return "|".join(candidate.values[path] for path in PATHS)


def named(name: str) -> Candidate:
    return Candidate(dict(zip(PATHS, name.split("|"), strict=True)))


def twins() -> dict[str, str]:
    """Name of each candidate that can be built -> name of the first one of the same cell."""
    first: dict[str, str] = {}
    found = {}
    for candidate in SPACE:
        try:
            cell = cell_of(candidate)
        except InfeasibleCandidate:
            continue
        found[name_of(candidate)] = first.setdefault(cell, name_of(candidate))
    return found


def distinct() -> list[str]:
    return list(dict.fromkeys(twins().values()))


# Training


class Fitted(NamedTuple):
    pipeline: FittedPipeline
    seconds: float
    """Of the core."""


def fit(candidate: Candidate, seed: int, epochs: int) -> Fitted:
    """Trained for `epochs` of a whole schedule; the last epoch is kept, none is picked."""
    recipe = SPACE.fill(candidate)
    preparation, target = (
        cached_preprocessor(ImagePipeline(recipe), TASK),
        target_transform_of(TASK),
    )
    learn = TASK.features.take(TASK.train)
    rows = LabelledData(
        torch.from_numpy(preparation.transform(learn)), target.to_tensor(TASK.target[TASK.train])
    )
    one_image = preparation.transform(learn.take(np.zeros(1, np.int64)))
    later = itertools.count(0, -1)  # a later epoch always counts as the better one
    start = time.process_time()
    model = networks.fit(
        recipe, preparation.input_spec(target.n_outputs), rows, one_image,
        lambda outputs: next(later), seed=seed, fidelity=epochs / EPOCHS[-1],
    )  # fmt: skip
    return Fitted(FittedPipeline(preparation, model, target), time.process_time() - start)


def evaluate(candidate: Candidate, seed: int, epochs: int) -> dict[str, float]:
    """The metrics of one training, as they are in the table."""
    fitted, seconds = fit(candidate, seed, epochs)
    judged = {
        "": (TASK.features.take(TASK.validation), TASK.target[TASK.validation]),
        "test_": (TASK.test.features, TASK.test.target),
    }
    found = {}
    for part, (features, truth) in judged.items():
        scores = score(TASK.kind, truth, fitted.predict(features))
        found |= {part + name: scores[name] for name in ("accuracy", "log_loss")}
    return found | {"train_seconds": seconds}


def train_row(name: str, seed: int, epochs: int) -> dict[str, float]:
    return evaluate(named(name), seed, epochs)


# Latency


def latency_row(name: str) -> dict[str, float]:
    """In ms: one image, one thread. The weights do not matter, so they are the first drawn."""
    recipe: Training = SPACE.fill(named(name))
    preparation, target = (
        cached_preprocessor(ImagePipeline(recipe), TASK),
        target_transform_of(TASK),
    )
    inputs = preparation.input_spec(target.n_outputs)
    network = networks.FittedNetwork(networks.build_module(recipe, inputs).eval(), inputs)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        model = export_onnx(FittedPipeline(preparation, network, target), make_card(TASK), path)
        one = {name: array[:1] for name, array in example_feeds(model, TASK).items()}
        single = Model(path, threads=1)
        timing = time_calls(lambda: single.session.run(None, one), seconds=0.3, max_calls=5000)
    return {"latency": timing.median * 1e3}


# Resuming


def go_on(
    file: Path,
    columns: Sequence[str],
    jobs: Sequence[tuple],
    run: Callable[..., dict[str, float]],
    weigh: Callable[[tuple], float] = lambda job: 1.0,
) -> None:
    """Appends a row for each job that has none yet; a row cut off by a kill is done again."""
    keys = len(jobs[0])
    done = finished(file, columns, keys)
    left = [job for job in jobs if tuple(map(str, job)) not in done]
    weight, start, said = sum(map(weigh, left)), time.monotonic(), 0.0
    share = 0.0
    with file.open("a", newline="") as out:
        writer = csv.writer(out)
        for i, job in enumerate(left):
            row = run(*job)
            writer.writerow([*job, *(f"{row[name]:.6g}" for name in columns[keys:])])
            out.flush()
            share += weigh(job) / weight
            seconds = time.monotonic() - start
            if seconds - said > 30 or i + 1 == len(left):
                said = seconds
                minutes = seconds / share * max(1 - share, 0.0) / 60
                print(f"{len(done) + i + 1}/{len(jobs)}, {minutes:.0f} min left", flush=True)


def finished(file: Path, columns: Sequence[str], keys: int) -> set[tuple[str, ...]]:
    """The jobs that have a whole row; leaves the file with those alone."""
    rows = list(csv.reader(file.open(newline=""))) if file.exists() else []
    ended = file.exists() and file.read_bytes().endswith(b"\n")
    whole = [row for row in rows[1 : None if ended else -1] if len(row) == len(columns)]
    part = file.with_suffix(".part")
    with part.open("w", newline="") as out:
        csv.writer(out).writerows([columns, *whole])
    part.replace(file)
    return {tuple(row[:keys]) for row in whole}


# Whether it is a benchmark


def describe(rows: pd.DataFrame) -> None:
    """How far seeds agree (mean Spearman), how far shorter schedules do, spread and ties."""
    means = {e: of.groupby("cell").mean(numeric_only=True) for e, of in rows.groupby("epochs")}
    full = means[EPOCHS[-1]]
    found = []
    for metric, (epochs, of) in itertools.product(SCORES, rows.groupby("epochs")):
        wide = of.pivot(index="cell", columns="seed", values=metric)
        ranks = wide.corr("spearman").to_numpy()
        found.append({
            "metric": metric, "epochs": epochs,
            "seeds agree": ranks[np.triu_indices(len(ranks), 1)].mean(),
            "with full": means[epochs][metric].corr(full[metric], "spearman"),
            "of seeds": wide.std(axis=1).mean(), "of networks": wide.mean(axis=1).std(),
            "seconds": of["train_seconds"].median(),
        })  # fmt: skip
    print(pd.DataFrame(found).round(3).to_string(index=False))
    print(full[list(SCORES)].describe(percentiles=[0.1, 0.5, 0.9]).round(3).to_string())
    print("best ten:", *full["accuracy"].nlargest(10).round(4))
    agree = full["accuracy"].corr(full["test_accuracy"], "spearman")
    print(f"validation and test agree: {agree:.3f}")


# The table


def pack(trained: pd.DataFrame, timed: pd.DataFrame) -> None:
    """One row a candidate: decisions as numbers, scores a seed and fidelity, costs."""
    describe(trained)
    wide = trained.pivot(index="cell", columns=["epochs", "seed"], values=list(SCORES))
    assert not wide.isna().any(axis=None), "train has not been run to its end"
    wide.columns = [f"{metric}_{epochs}_{seed}" for metric, epochs, seed in wide.columns]
    seconds = trained.pivot_table("train_seconds", "cell", "epochs", "median").round(3)
    wide = wide.join(seconds.add_prefix("train_seconds_"))
    wide = wide.join(timed.set_index("cell")["latency"], validate="1:1")
    rows = []
    for name, twin in sorted(twins().items(), key=lambda pair: (pair[1], pair[0])):
        found = costs(SPACE.fill(named(name)).network, (1, 8, 8), outputs=10)
        row = {path: [*one.values].index(named(name).values[path]) for path, one in
               zip(PATHS, SPACE.decisions, strict=True)}  # fmt: skip
        rows.append(row | {"parameters": found.parameters, "flops": found.flops}
                    | {k: short(k, v) for k, v in wide.loc[twin].items()})  # fmt: skip
    text = io.StringIO()
    pd.DataFrame(rows).to_csv(text, index=False)
    FILE.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    print(f"{FILE}: {len(rows)} rows, {FILE.stat().st_size / 1e3:.0f} kB")


def short(column: str, value: float) -> str:
    """Accuracies by what one image counts, losses so that few are equal, the rest as it is known."""
    if "accuracy" in column:
        return f"{value:.5f}"
    return f"{value:.5g}" if "log_loss" in column else f"{value:.3g}"


if __name__ == "__main__":
    main()
