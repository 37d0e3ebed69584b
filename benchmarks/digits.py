"""Make the shipped table of networks, `src/netwright/evaluators/benchmarks/digits.csv.gz`.

    python benchmarks/digits.py pilot      # 30 networks: do seeds agree, do networks differ?
    python benchmarks/digits.py train      # every network, seed and fidelity: an hour of one core
    python benchmarks/digits.py latency    # their exported files, on a machine with nothing else
    python benchmarks/digits.py pack       # write the table from the results in runs/digits

`train` and `latency` resume when stopped. Networks that differ only in the order of their nodes or
in dead edges are trained once. Each training runs the whole schedule of its fidelity on one CPU
thread, and its last epoch is scored.
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
from netwright.networks.training.labelled_data import LabelledData
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
PATHS = [decision.path for decision in SPACE.decisions]
N_PILOT_NETWORKS = 30
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
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU's results would differ
    trained, timed = options.work / "trained.csv", options.work / "latency.csv"
    if options.stage in ("pilot", "train"):
        names = distinct()
        random.Random(0).shuffle(names)  # so that the first ones are an unbiased sample
        names = names[: N_PILOT_NETWORKS if options.stage == "pilot" else None]
        jobs = list(itertools.product(names, SEEDS, EPOCHS))
        resume(trained, TRAINED, jobs, train_row, weight_of=lambda job: job[2])
        results = pd.read_csv(trained)
        describe(results[results["cell"].isin(names)])
    elif options.stage == "latency":
        resume(timed, TIMED, [(n,) for n in distinct()], latency_row)
    else:
        pack(pd.read_csv(trained), pd.read_csv(timed))


def cell_of(candidate: Candidate) -> str:
    """Return the canonical form of a candidate's cell.

    Raises:
        InfeasibleCandidate: No path leads from input to output.
    """
    return canonical(SPACE.fill(candidate).network[1])


def name_of(candidate: Candidate) -> str:
    return "|".join(candidate.values[path] for path in PATHS)


def candidate_of(name: str) -> Candidate:
    return Candidate(dict(zip(PATHS, name.split("|"), strict=True)))


def first_of_each_cell() -> dict[str, str]:
    """Map the name of each feasible candidate to that of the first one with the same cell."""
    first: dict[str, str] = {}
    first_of = {}
    for candidate in SPACE:
        try:
            cell = cell_of(candidate)
        except InfeasibleCandidate:
            continue
        first_of[name_of(candidate)] = first.setdefault(cell, name_of(candidate))
    return first_of


def distinct() -> list[str]:
    return list(dict.fromkeys(first_of_each_cell().values()))


# Training


class Fitted(NamedTuple):
    pipeline: FittedPipeline
    seconds: float
    """CPU time."""


def fit(candidate: Candidate, seed: int, epochs: int) -> Fitted:
    """Train for `epochs` with a full schedule and keep the weights of the last epoch."""
    recipe = SPACE.fill(candidate)
    preparation, target = (
        cached_preprocessor(ImagePipeline(recipe), TASK),
        target_transform_of(TASK),
    )
    train_features = TASK.features.take(TASK.train)
    rows = LabelledData(
        torch.from_numpy(preparation.transform(train_features)),
        target.to_tensor(TASK.target[TASK.train]),
    )
    sample_input = preparation.transform(train_features.take(np.zeros(1, np.int64)))
    decreasing_losses = itertools.count(0, -1)  # the last epoch always counts as the best
    start = time.process_time()
    model = networks.fit(
        recipe, preparation.input_spec(target.n_outputs), rows, sample_input,
        lambda outputs: next(decreasing_losses), seed=seed, fidelity=epochs / EPOCHS[-1],
    )  # fmt: skip
    return Fitted(FittedPipeline(preparation, model, target), time.process_time() - start)


def evaluate(candidate: Candidate, seed: int, epochs: int) -> dict[str, float]:
    """Return the metrics of one training under their names in the table."""
    fitted, seconds = fit(candidate, seed, epochs)
    splits = {
        "": (TASK.features.take(TASK.validation), TASK.target[TASK.validation]),
        "test_": (TASK.test.features, TASK.test.target),
    }
    metrics: dict[str, float] = {}
    for prefix, (features, truth) in splits.items():
        scores = score(TASK.kind, truth, fitted.predict(features))
        metrics |= {prefix + name: scores[name] for name in ("accuracy", "log_loss")}
    return metrics | {"train_seconds": seconds}


def train_row(name: str, seed: int, epochs: int) -> dict[str, float]:
    return evaluate(candidate_of(name), seed, epochs)


# Latency


def latency_row(name: str) -> dict[str, float]:
    """Return the latency in ms of one image on one thread, with initial weights."""
    recipe: Training = SPACE.fill(candidate_of(name))
    preparation, target = (
        cached_preprocessor(ImagePipeline(recipe), TASK),
        target_transform_of(TASK),
    )
    inputs = preparation.input_spec(target.n_outputs)
    network = networks.FittedNetwork(networks.build_module(recipe, inputs).eval(), inputs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model = export_onnx(FittedPipeline(preparation, network, target), make_card(TASK), path)
        one_row = {name: array[:1] for name, array in example_feeds(model, TASK).items()}
        single = Model(path, threads=1)
        timing = time_calls(lambda: single.session.run(None, one_row), seconds=0.3, max_calls=5000)
    return {"latency": timing.median * 1e3}


# Resuming


def resume(
    file: Path,
    columns: Sequence[str],
    jobs: Sequence[tuple],
    run: Callable[..., dict[str, float]],
    weight_of: Callable[[tuple], float] = lambda job: 1.0,
) -> None:
    """Append a row for each job that has none yet; rows truncated by a kill are made again."""
    n_keys = len(jobs[0])
    done = finished(file, columns, n_keys)
    remaining = [job for job in jobs if tuple(map(str, job)) not in done]
    total_weight, start, last_report = sum(map(weight_of, remaining)), time.monotonic(), 0.0
    share_done = 0.0
    with file.open("a", newline="") as out:
        writer = csv.writer(out)
        for i, job in enumerate(remaining):
            row = run(*job)
            writer.writerow([*job, *(f"{row[name]:.6g}" for name in columns[n_keys:])])
            out.flush()
            share_done += weight_of(job) / total_weight
            seconds = time.monotonic() - start
            if seconds - last_report > 30 or i + 1 == len(remaining):
                last_report = seconds
                minutes = seconds / share_done * max(1 - share_done, 0.0) / 60
                print(f"{len(done) + i + 1}/{len(jobs)}, {minutes:.0f} min left", flush=True)


def finished(file: Path, columns: Sequence[str], n_keys: int) -> set[tuple[str, ...]]:
    """Return the jobs with a complete row, and drop all other rows from the file."""
    rows = list(csv.reader(file.open(newline=""))) if file.exists() else []
    ends_with_newline = file.exists() and file.read_bytes().endswith(b"\n")
    complete = [
        row for row in rows[1 : None if ends_with_newline else -1] if len(row) == len(columns)
    ]
    temporary = file.with_suffix(".part")
    with temporary.open("w", newline="") as out:
        csv.writer(out).writerows([columns, *complete])
    temporary.replace(file)
    return {tuple(row[:n_keys]) for row in complete}


# Is it a useful benchmark?


def describe(rows: pd.DataFrame) -> None:
    """Print rank correlations between seeds and between fidelities, spread and ties."""
    means = {e: of.groupby("cell").mean(numeric_only=True) for e, of in rows.groupby("epochs")}
    full = means[EPOCHS[-1]]
    lines = []
    for metric, (epochs, of) in itertools.product(SCORES, rows.groupby("epochs")):
        wide = of.pivot(index="cell", columns="seed", values=metric)
        ranks = wide.corr("spearman").to_numpy()
        lines.append({
            "metric": metric, "epochs": epochs,
            "seeds agree": ranks[np.triu_indices(len(ranks), 1)].mean(),
            "with full": means[epochs][metric].corr(full[metric], "spearman"),
            "of seeds": wide.std(axis=1).mean(), "of networks": wide.mean(axis=1).std(),
            "seconds": of["train_seconds"].median(),
        })  # fmt: skip
    print(pd.DataFrame(lines).round(3).to_string(index=False))
    print(full[list(SCORES)].describe(percentiles=[0.1, 0.5, 0.9]).round(3).to_string())
    print("best ten:", *full["accuracy"].nlargest(10).round(4))
    agree = full["accuracy"].corr(full["test_accuracy"], "spearman")
    print(f"validation and test agree: {agree:.3f}")


# The table


def pack(trained: pd.DataFrame, timed: pd.DataFrame) -> None:
    """Write one row per candidate: decisions as indices, scores per seed and fidelity, costs."""
    describe(trained)
    wide = trained.pivot(index="cell", columns=["epochs", "seed"], values=list(SCORES))
    assert not wide.isna().any(axis=None), "train has not been run to its end"
    wide.columns = [f"{metric}_{epochs}_{seed}" for metric, epochs, seed in wide.columns]
    seconds = trained.pivot_table("train_seconds", "cell", "epochs", "median").round(3)
    wide = wide.join(seconds.add_prefix("train_seconds_"))
    wide = wide.join(timed.set_index("cell")["latency"], validate="1:1")
    rows = []
    for name, first in sorted(first_of_each_cell().items(), key=lambda pair: (pair[1], pair[0])):
        cost = costs(SPACE.fill(candidate_of(name)).network, (1, 8, 8), outputs=10)
        row = {path: [*decision.values].index(candidate_of(name).values[path]) for path, decision in
               zip(PATHS, SPACE.decisions, strict=True)}  # fmt: skip
        rows.append(row | {"parameters": cost.parameters, "flops": cost.flops}
                    | {k: formatted(k, v) for k, v in wide.loc[first].items()})  # fmt: skip
    text = io.StringIO()
    pd.DataFrame(rows).to_csv(text, index=False)
    FILE.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    print(f"{FILE}: {len(rows)} rows, {FILE.stat().st_size / 1e3:.0f} kB")


def formatted(column: str, number: float) -> str:
    """Format accuracies to one image, losses so that few are equal, other columns by their noise."""
    if "accuracy" in column:
        return f"{number:.5f}"
    return f"{number:.5g}" if "log_loss" in column else f"{number:.3g}"


if __name__ == "__main__":
    main()
