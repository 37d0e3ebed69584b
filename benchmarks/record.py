"""Record bit by bit what searches propose, measure and deliver, to compare before and after a change.

    python benchmarks/record.py before.jsonl [--nas-bench-201 TABLE.PARQUET] [--only PART]
    python benchmarks/record.py after.jsonl [--nas-bench-201 TABLE.PARQUET] [--only PART]
    python benchmarks/record.py before.jsonl --compare after.jsonl

Each line of the file is a study with a trial budget and one worker; studies already in the file are
not run again. Candidates are written as pairs of the decision's index in the space and its value's
index among the legal ones, so that renamed paths compare equal; scores and predictions bit by bit.
Latencies and other times are left out. Records of different machines, or of different numbers of
cores, cannot be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import netwright as nw
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.name_resolution import BLACK_BOX_NAMES, SUPERNET_NAMES, strategy_by_name
from netwright.automl.search_budget import SearchBudget
from netwright.bench.oracle import TableOracle
from netwright.bench.settings import ComparisonSettings, parse_objective
from netwright.bench.single_run import run_strategy
from netwright.data.builtin_datasets import load_builtin
from netwright.data.task import Task
from netwright.evaluators.benchmarks.digits import digits_table
from netwright.evaluators.benchmarks.nas_bench import nas_bench_201_table
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.pipelines.pipeline import ImagePipeline
from netwright.space.choices import OneOf, Repeat
from netwright.space.space import Space
from netwright.strategies.oneshot import OneShot
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import MADE, Trial

CLOCKS = ("latency", "seconds", "size")
"""Words in the names of metrics that are not reproducible: measured by a clock, or file sizes."""
Line = dict[str, Any]


def bits(value: object) -> object:
    """Return a number as an exact hexadecimal text; other values unchanged."""
    return float(value).hex() if isinstance(value, int | float) else value


def digest(array: Any) -> str:
    """Return a hash (16 hex digits) of an array's values, dtype and shape."""
    array = np.ascontiguousarray(array)
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()[:16]


def positions(space: Space[Any], trial: Trial) -> list[list[object]]:
    """Return a pair [decision index, value index or number] for each decision of the candidate."""
    index_of = {decision.path: i for i, decision in enumerate(space.decisions)}
    pairs: list[list[object]] = []
    for path, value in trial.candidate.values.items():
        if path not in index_of:  # a baseline from outside of the space
            pairs.append([-1, str(value)])
            continue
        decision = space.decisions[index_of[path]]
        pairs.append([index_of[path], decision.index(value) if decision.values else bits(value)])
    return sorted(pairs, key=str)


def ensemble_of(trial: Trial) -> list[object]:
    """Return an ensemble's members, weights and settings; the parents of other trials."""
    spec = trial.ensemble
    if spec is None:
        return [list(trial.proposal.parents)]
    flags = [bits(True) for is_set in (spec.first_fold, spec.refit) if is_set]
    if spec.n_members > 0:
        flags.append(bits(spec.n_members))
    numbers = [bits(weight) for _, weight in spec.weights]
    return [list(spec.trials), *numbers, bits(spec.temperature), bits(spec.threshold), *flags]


def line_of(space: Space[Any], trial: Trial) -> list[object]:
    """Return a trial as a list: status, origin, fidelity, seed, candidate, parents, metrics."""
    is_made = trial.proposal.origin in MADE
    metrics = sorted(trial.metrics.items())
    measured = {name: bits(v) for name, v in metrics if not any(word in name for word in CLOCKS)}
    return [
        trial.id, str(trial.status), trial.proposal.origin, bits(trial.proposal.fidelity),
        0 if is_made else trial.seed, ensemble_of(trial) if is_made else positions(space, trial),
        list(trial.proposal.parents), measured, bool(trial.error),
    ]  # fmt: skip


def black_box() -> Iterator[tuple[str, Callable[[Path], Line]]]:
    """Yield a study of 20 trials on the shipped table for each strategy."""

    def table_search(name: str, run: Path) -> Line:
        table = digits_table()
        study = Study(
            table.space, table, strategy=strategy_by_name(name), objectives="accuracy", run=run,
            executor=InProcess(),
        )  # fmt: skip
        study.run(trials=20, verbose=False)
        return {"trials": [line_of(table.space, trial) for trial in study.trials]}

    for name in BLACK_BOX_NAMES:
        yield f"digits-table-{name}", lambda run, name=name: table_search(name, run)


def small_table() -> tuple[pd.DataFrame, str]:
    """Return 240 rows of mixed columns with missing values, and the name of the target."""
    rng = np.random.default_rng(5)
    numbers = rng.normal(size=(240, 3))
    colour = rng.choice(["red", "green", "blue"], 240)
    score = numbers[:, 0] + numbers[:, 1] * (colour == "red") + 0.3 * rng.normal(size=240)
    frame = pd.DataFrame(numbers, columns=["a", "b", "c"]).assign(colour=colour)
    frame.loc[rng.random(240) < 0.1, "b"] = np.nan
    frame["y"] = np.where(score > 0, "yes", "no")
    return frame, "y"


def digits_images(n: int) -> tuple[Any, Any]:
    source = load_builtin("digits")
    return source.features[:n], source.target[:n]


def task_of(data: str) -> Task:
    if data == "csv":
        frame, target = small_table()
        return nw.task(frame, target)
    if data == "numbers":
        frame, _ = small_table()
        return nw.task(frame.drop(columns="y").dropna(), "a")
    if data == "texts":
        rng = np.random.default_rng(6)
        words = ["good", "bad", "fine", "poor", "great", "awful", "film", "plot", "actor", "scene"]
        texts = [" ".join(rng.choice(words, 9)) for _ in range(300)]
        good = [sum(word in ("good", "fine", "great") for word in text.split()) for text in texts]
        length = rng.normal(size=300)
        labels = np.where(np.array(good) + length > 3, "up", "down")
        return nw.task(pd.DataFrame({"review": texts, "length": length, "y": labels}), "y")
    if data == "classes":
        rng = np.random.default_rng(7)
        x = rng.normal(size=(360, 4))
        y = np.digitize(x[:, 0] + 0.5 * x[:, 1], [-1, 0, 1])
        frame = pd.DataFrame(x, columns=list("abcd")).assign(y=y, stamp=range(20_000, 20_360))
        return nw.task(frame, "y")
    images, labels = digits_images(400)
    return nw.task(images, labels)


def searches() -> Iterator[tuple[str, Callable[[Path], Line]]]:
    """Yield searches by four strategies on a small table and on images, with predictions."""
    short_families = (
        "linear",
        "extra_trees",
    )  # few default configurations, so that the strategy proposes candidates, too
    front = Goal(("accuracy", "parameters"))
    for data, trials, families, goal in (
        ("csv", 36, short_families, Goal()), ("images", 5, (), front),
    ):  # fmt: skip
        for name in ("bayesian", "evolution", "tpe", "asha"):
            yield (
                f"{data}-{name}",
                lambda run, data=data, name=name, trials=trials, families=families, goal=goal: (
                    search_and_deliver(task_of(data), run, trials, name, goal, families)
                ),
            )


def deliveries() -> Iterator[tuple[str, Callable[[Path], Line]]]:
    """Yield searches with other deliveries: regression, texts, classes, limits, labels."""
    goal = Goal(("log_loss", "parameters"), "parameters<=20000")
    cases = {
        "numbers": ("numbers", 8, Goal(), ()),
        "texts": ("texts", 6, Goal(), ("lightgbm", "linear", "network")),
        "classes": ("classes", 12, Goal(), ()),
        "networks": ("classes", 5, goal, ("realmlp", "tabm", "network")),
        "labels": ("csv", 8, Goal("f1"), ("lightgbm", "extra_trees", "tabm")),
    }
    for name, (data, trials, search_goal, families) in cases.items():
        yield (
            f"delivery-{name}",
            lambda run, data=data, trials=trials, search_goal=search_goal, families=families: (
                search_and_deliver(task_of(data), run, trials, "random", search_goal, families)
            ),
        )


def search_and_deliver(
    task: Task, run: Path, trials: int, name: str, goal: Goal | None = None, families: Any = ()
) -> Line:
    """Run a search and return the line of its trials and its delivery."""
    outcome = fit(
        task, goal or Goal(), SearchBudget(trials=trials, workers=1), Method(name, families), run=run,
        verbose=False,
    )  # fmt: skip
    space = outcome.study.space
    rows = task.features.take(task.validation)
    scores, threshold = outcome.model.predict_scores(rows), outcome.model.card.get("threshold")
    return {
        "trials": [line_of(space, trial) for trial in outcome.study.trials],
        "best": outcome.best.id,
        "front": sorted({row.trial for row in outcome.front} - {outcome.best.id}),
        "predictions": digest(scores),
        "some": [bits(float(score)) for score in np.ravel(scores)[:6]],
        "threshold": bits(threshold),
        "left out": len(outcome.left_out),
        "doubts": list(outcome.warnings),
    }


def supernets() -> Iterator[tuple[str, Callable[[Path], Line]]]:
    """Yield a study for each supernet method: two epochs, two candidates."""
    conv = OneOf({"conv3": Conv(8, 3), "conv5": Conv(8, 5)})
    network = (Conv(8, stride=2), Repeat(conv, times=OneOf(1, 2)), GlobalPool(), Linear())
    space = Space(ImagePipeline(Training(network, lr=OneOf(0.003, 0.01), epochs=2, batch_size=50)))

    def search(name: str, run: Path) -> Line:
        strategy = strategy_by_name(name)
        assert isinstance(strategy, OneShot)
        strategy = replace(strategy, n_candidates=2, method=shortened(strategy.method))
        study = Study(
            space, task=task_of("images"), strategy=strategy, objectives=("log_loss", "parameters"),
            run=run,
        )  # fmt: skip
        study.run(trials=4, verbose=False)
        return {"trials": [line_of(space, trial) for trial in study.trials]}

    for name in SUPERNET_NAMES:
        yield f"supernet-{name}", lambda run, name=name: search(name, run)


def shortened(method: DifferentiableNAS | SinglePathNAS) -> DifferentiableNAS | SinglePathNAS:
    """Shorten a method to two epochs and few checks, without measured latencies."""
    safeguards = replace(method.safeguards, n_ranking_networks=2, ranking_epochs=1)
    if isinstance(method, SinglePathNAS):
        training = replace(method.training, epochs=2)
        return replace(method, training=training, evaluations=8, safeguards=safeguards)
    steps = method.architecture_training
    if steps.cost is not None:
        steps = replace(steps, cost=replace(steps.cost, metric="flops"))
    return replace(method, epochs=2, safeguards=safeguards, architecture_training=steps)


def oracles(table: Path) -> Iterator[tuple[str, Callable[[Path], Line]]]:
    """Yield searches for the optimum of NAS-Bench-201 on CIFAR-10, ten seeds each."""

    def search(name: str) -> Line:
        search_goal = (parse_objective("test_accuracy"),)
        settings = ComparisonSettings(search_goal, search_goal, evaluations=200, until_found=True)
        oracle = TableOracle(nas_bench_201_table(table, "cifar10"), settings)
        runs = []
        for seed in range(10):
            evaluations = list(run_strategy(strategy_by_name(name), oracle, seed))
            runs.append(
                [
                    len(evaluations),
                    bits(sum(evaluation.metrics["accuracy"] for evaluation in evaluations)),
                ]
            )
        return {"runs": runs}

    for name in ("random", "evolution", "bayesian"):
        yield f"oracle-{name}", lambda run, name=name: search(name)


def read(file: Path) -> dict[str, Line]:
    if not file.exists():
        return {}
    lines = map(json.loads, file.read_text().splitlines())
    return {line["study"]: line for line in lines}


def differences(before: Line, after: Line) -> Iterator[str]:
    """Yield descriptions of the differences; of several trials, the first that differs."""
    for name in (before.keys() | after.keys()) - {"trials", "seconds", "front"}:
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name)} -> {after.get(name)}"
    old, new = before.get("trials", []), after.get("trials", [])
    if len(old) != len(new):
        yield f"{len(old)} trials -> {len(new)}"
    for old_trial, new_trial in zip(old, new, strict=False):
        if old_trial != new_trial:
            pairs = zip(old_trial, new_trial, strict=True)
            changes = [f"{a} -> {b}" for a, b in pairs if a != b]
            yield f"trial {old_trial[0]}: {'; '.join(changes)}"
            return


def compare(before: dict[str, Line], after: dict[str, Line]) -> int:
    """Print the differences and return the number of studies that differ."""
    different = 0
    for name in before:
        if name not in after:
            print(f"{name}: not there")
            different += 1
            continue
        texts = list(differences(before[name], after[name]))
        if texts:
            different += 1
        for text in texts:
            print(f"{name}: {text[:400]}")
    print(f"{len(before) - different} of {len(before)} studies are the same")
    return different


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--nas-bench-201", type=Path, help="the table as parquet")
    parser.add_argument("--only", default="", help="studies with this in their names")
    parser.add_argument("--compare", type=Path, help="another record; nothing is run")
    options = parser.parse_args()
    if options.compare:
        sys.exit(compare(read(options.file), read(options.compare)) > 0)
    groups: Iterable[Iterator[tuple[str, Callable[[Path], Line]]]] = [
        black_box(), searches(), deliveries(), supernets(),
        *([oracles(options.nas_bench_201)] if options.nas_bench_201 else []),
    ]  # fmt: skip
    done = read(options.file)
    for group in groups:
        for name, make in group:
            if name in done or options.only not in name:
                continue
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                line = {"study": name} | make(Path(folder) / "run")
            line["seconds"] = round(time.monotonic() - start, 1)
            with options.file.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{name}: {line['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
