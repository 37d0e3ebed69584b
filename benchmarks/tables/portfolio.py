"""Make the portfolio: configurations that are strong together on the development tables.

    python benchmarks/tables/portfolio.py measure --data TABLES --work WORK [--minutes 150]
    python benchmarks/tables/portfolio.py choose --data TABLES --work WORK

`measure` fits default and random configurations of every family on one fold of every table, and saves
score, seconds and predictions of the held-out rows; the same command resumes. `choose` adds greedily
the configuration that improves the ensembles most: on each table, those of the configurations that a
search of limited time would fit on all folds. Their loss is that of the greedily selected ensemble,
scaled to 0 at the best ensemble of all configurations and 1 at the median single configuration. It
writes ``src/netwright/automl/tabular/portfolio.json``, for installations with and without the extra
`boost`: the list from all tables, and for each table the list made without it, which the harness uses
so that no table is evaluated with a portfolio made from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netwright.automl.task_metadata import TaskMetadata
from netwright.files.run_layout import HELD_OUT

sys.path.insert(0, str(Path(__file__).parent))
import netwright as nw
from data import DEVELOPMENT, MAX_TRAIN_ROWS, METRIC, NOT_FEATURES, Kind
from netwright.automl.portfolio import complete_candidate
from netwright.automl.spaces import space_for
from netwright.automl.tabular.default_configs import DEFAULT_CONFIGS, WITH_EXTRAS, WITHOUT_EXTRAS
from netwright.automl.tabular.families import REQUIRED_MODULES, installed_families
from netwright.automl.time_allocation import n_folds
from netwright.evaluators.training.cross_validation import CrossValidate
from netwright.pipelines.ensemble_selection import greedy_selection
from netwright.trials.losses import loss_of, predicted
from netwright.trials.trial import Job, Proposal

OUT = Path(__file__).parents[2] / "src" / "netwright" / "automl" / "tabular" / "portfolio.json"
MAX_FIT_SECONDS = 30.0
FOLDS = 5
N_RANDOM_CONFIGS: Mapping[str, int] = {
    "lightgbm": 6, "catboost": 3, "xgboost": 3, "extra_trees": 3, "forest": 1, "linear": 1,
    "realmlp": 5, "tabm": 5, "network": 3, "histogram": 0,
}  # fmt: skip
"""Random configurations of each family, besides the default ones."""
SEARCHES = (25.0, 50.0, 95.0)
"""CPU seconds of the searches over which a list's losses are averaged: a quarter of a minute to a
minute on two cores, without start and end."""
LIST_LENGTH = 14
SAFE = (("lightgbm", 0), ("extra_trees", 0), ("catboost", 0))
"""Families and indices in `DEFAULT_CONFIGS` that every list starts with: fast, and good on kinds of
tables that are rare among the development tables."""
ROWS_PER_TABLE = 1500
"""Held-out rows used by `choose`, which evaluates hundreds of thousands of ensembles."""


@dataclass(frozen=True)
class Config:
    """A model family, and decisions by their paths in its pipeline."""

    family: str
    decisions: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> str:
        return json.dumps([self.family, sorted(self.decisions, key=str)])

    @property
    def file(self) -> str:
        """The name of its file of predictions, independent of its index in the list."""
        return f"{hashlib.sha256(self.key.encode()).hexdigest()[:16]}.npy"


def configs() -> list[Config]:
    """Return the default configurations, then random ones: the same for every table."""
    all_configs = [
        Config(family, tuple(sorted(decisions.items())))
        for family, recipes in DEFAULT_CONFIGS.items()
        for decisions in recipes
        if family in installed_families()
    ]
    for family, n_random in N_RANDOM_CONFIGS.items():
        if family not in installed_families():
            continue
        metadata = TaskMetadata(
            "binary", 3000, columns=10, categorical=4, classes=2, folds=FOLDS, families=(family,)
        )
        space, rng = space_for(metadata), np.random.default_rng(7)
        for _ in range(n_random):
            values = space.sample(rng).values
            all_configs.append(Config(family, tuple(sorted(values.items()))))
    return all_configs


@lru_cache(maxsize=2)
def task_of(data: Path, table: str) -> Any:
    frame = pd.read_parquet(data / f"{table}.parquet")
    frame = frame.drop(columns=list(NOT_FEATURES.get(table, ())))
    if len(frame) > MAX_TRAIN_ROWS:
        frame = frame.sample(MAX_TRAIN_ROWS, random_state=0)
    kind = DEVELOPMENT[table]
    target = frame.columns[-1]
    return nw.task(frame, target, kind="regression" if kind == "regression" else "classification")


def measure_one(data: Path, work: Path, table: str, config_index: int) -> dict[str, Any]:
    """Fit one configuration on one fold, save its predictions, and return its row."""
    import torch

    torch.set_num_threads(1)
    config, task = configs()[config_index], task_of(data, table)
    metadata = replace(TaskMetadata.from_task(task), folds=FOLDS, families=(config.family,))
    space = space_for(metadata)
    candidate = complete_candidate(space, dict(config.decisions))
    metric = METRIC[DEVELOPMENT[table]]
    evaluator = CrossValidate(space, task, FOLDS, metric)
    folder = work / "fits" / table / str(config_index)
    folder.mkdir(parents=True, exist_ok=True)
    row: dict[str, Any] = {"table": table, "config": config.key}
    start = time.monotonic()
    try:
        job = Job(Proposal(candidate, 1 / FOLDS), 0, folder, start + MAX_FIT_SECONDS)
        metrics = evaluator(job)
        held_out = np.load(folder / HELD_OUT)
        is_predicted = predicted(held_out)
        np.save(work / "fits" / table / config.file, held_out[is_predicted].astype(np.float32))
        np.save(work / "fits" / table / "target.npy", task.target[evaluator.rows][is_predicted])
        row |= {"score": metrics[metric], "seconds": time.monotonic() - start}
    except nw.NetwrightError as error:
        row |= {"error": str(error), "seconds": time.monotonic() - start}
    shutil.rmtree(folder, ignore_errors=True)
    return row | {"number": config_index}


def measure(data: Path, work: Path, minutes: float, workers: int) -> None:
    path = work / "portfolio.csv"
    work.mkdir(parents=True, exist_ok=True)
    saved = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["table", "config"])
    done = set(zip(saved["table"], saved["config"], strict=True))
    jobs = [
        (table, config_index)
        for config_index, config in enumerate(configs())
        for table in DEVELOPMENT
        if (table, config.key) not in done
    ]
    rows, end = saved.to_dict("records"), time.monotonic() + 60 * minutes
    print(f"{len(jobs)} fits to do, {len(rows)} done", flush=True)
    left = iter(jobs)
    with ProcessPoolExecutor(workers) as pool:
        waiting: set[Future[dict[str, Any]]] = set()
        while True:
            n_free = 2 * workers - len(waiting) if time.monotonic() < end else 0
            for table, config_index in islice(left, n_free):
                waiting.add(pool.submit(measure_one, data, work, table, config_index))
            if not waiting:
                break
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            rows += [future.result() for future in finished]
            pd.DataFrame(rows).to_csv(path, index=False)
            last = rows[-1]
            print(
                f"{len(rows)}: {last['table']} {last['config'][:60]} {last.get('score')}",
                flush=True,
            )


@dataclass(frozen=True)
class Measured:
    """Held-out predictions (None: failed) and seconds of each configuration on one table."""

    folds: int
    kind: Kind
    target: np.ndarray
    predictions: list[np.ndarray | None]
    seconds: list[float]

    def loss(self, predictions: np.ndarray, target: np.ndarray) -> float:
        return loss_of(self.kind, METRIC[self.kind])(predictions, target)

    def of(self, chosen: Sequence[int], scale: tuple[float, float]) -> float:
        """Return the scaled loss of the ensembles that a search reaches, clipped.

        Clipping keeps a single table from deciding alone.
        """
        best, worst = scale
        scaled = []
        for search in SEARCHES:
            loss = self._loss(self._in_time(chosen, search))
            scaled.append(np.clip((loss - best) / (worst - best), -0.2, 3.0))
        return float(np.mean(scaled))

    def scale(self) -> tuple[float, float]:
        """Return the loss of an ensemble of the best, and the median loss of single configurations.

        Not the best single loss: on easy tables it is close to the ensemble's, and their distance is
        noise.
        """
        fitted = [i for i, p in enumerate(self.predictions) if p is not None]
        alone = {i: self.alone[i] for i in fitted}
        together = self._loss(sorted(fitted, key=lambda i: alone[i])[:12])
        best = min(together, *alone.values())
        return best, max(float(np.median([*alone.values()])), best + 1e-6)

    @cached_property
    def alone(self) -> list[float]:
        """The loss of each single configuration; infinite if it failed."""
        losses = (math.inf if p is None else self.loss(p, self.target) for p in self.predictions)
        return [*losses]

    def _in_time(self, chosen: Sequence[int], search: float) -> list[int]:
        """Return the configurations that a search of that time fits on all folds.

        The first is fitted on all folds at once, each other one on one fold; those in the better
        half so far are promoted to all folds.
        """
        fully_fitted, seen, used = [], [], 0.0
        for i in chosen:
            used += self.seconds[i] * (1 if seen else self.folds)
            if used > search:
                break
            fully_fitted += [] if seen else [i]
            seen.append(i)
            better = sorted(seen, key=lambda j: self.alone[j])[: len(seen) // 2]
            for j in (j for j in better if j not in fully_fitted):
                used += self.seconds[j] * (self.folds - 1)
                if used <= search:
                    fully_fitted.append(j)
        return [i for i in fully_fitted if self.predictions[i] is not None]

    def _loss(self, chosen: Sequence[int]) -> float:
        if not chosen:
            return 10 * self.loss(
                np.full_like(self.predictions[0], self.predictions[0].mean()), self.target
            )
        library = [self.predictions[i].astype(np.float64) for i in chosen]
        weights = greedy_selection(library, lambda p: self.loss(p, self.target), 15)
        averaged = np.sum([w * p for w, p in zip(weights, library, strict=True)], axis=0)
        return float(self.loss(averaged, self.target))


def read(data: Path, work: Path) -> dict[str, Measured]:
    rows, all_configs = pd.read_csv(work / "portfolio.csv"), configs()
    measured = {}
    for table, kind in DEVELOPMENT.items():
        table_rows = rows[rows["table"] == table].set_index("config")
        target = np.load(work / "fits" / table / "target.npy")
        chosen_rows = np.random.default_rng(0).permutation(len(target))[:ROWS_PER_TABLE]
        predictions: list[np.ndarray | None] = []
        for config in all_configs:
            path = work / "fits" / table / config.file
            is_measured = config.key in table_rows.index and path.exists()
            predictions.append(np.load(path)[chosen_rows] if is_measured else None)
        seconds = [float(table_rows["seconds"].get(config.key, 1e9)) for config in all_configs]
        classes = (
            predictions[0].shape[1] if predictions[0] is not None and predictions[0].ndim > 1 else 0
        )
        columns = len(task_of(data, table).features.columns)
        metadata = TaskMetadata(kind, 5 * len(target), columns=columns, classes=classes)
        folds = n_folds(60, 2, metadata)
        measured[table] = Measured(folds, kind, target[chosen_rows], predictions, seconds)
    return measured


def safe() -> list[int]:
    """Return the indices of `SAFE` among the configurations."""
    safe_configs = [
        Config(name, tuple(sorted(DEFAULT_CONFIGS[name][i].items()))) for name, i in SAFE
    ]
    return [configs().index(config) for config in safe_configs]


def cover(tables: Sequence[Measured], allowed: Sequence[int]) -> list[int]:
    """Return the safe configurations, then greedily chosen ones."""
    pairs = [(table, table.scale()) for table in tables]
    chosen = [i for i in safe() if i in allowed]
    while len(chosen) < LIST_LENGTH:
        options = [i for i in allowed if i not in chosen]
        losses = [
            np.mean([table.of([*chosen, i], scale) for table, scale in pairs]) for i in options
        ]
        best = int(np.argmin(losses))
        chosen.append(options[best])
    return chosen


def choose(data: Path, work: Path) -> None:
    tables, all_configs = read(data, work), configs()
    allowed = {
        WITH_EXTRAS: [*range(len(all_configs))],
        WITHOUT_EXTRAS: [
            i for i, config in enumerate(all_configs) if config.family not in REQUIRED_MODULES
        ],
    }
    jobs = [(without, extras) for extras in allowed for without in ("", *tables)]
    lists: dict[str, dict[str, list[int]]] = {}
    with ProcessPoolExecutor(2) as pool:
        other_tables = [
            [table for name, table in tables.items() if name != without] for without, _ in jobs
        ]
        chosen_lists = pool.map(cover, other_tables, [allowed[extras] for _, extras in jobs])
        for (without, extras), chosen in zip(jobs, chosen_lists, strict=True):
            lists.setdefault(without, {})[extras] = chosen
            print(
                without or "no table", extras, *(all_configs[i].family for i in chosen), flush=True
            )
    used = sorted(
        {i for by_extras in lists.values() for chosen in by_extras.values() for i in chosen}
    )
    new_index = {old: new for new, old in enumerate(used)}
    state = {
        "configs": [[all_configs[i].family, dict(all_configs[i].decisions)] for i in used],
        "lists": {
            table: {name: [new_index[i] for i in chosen] for name, chosen in by_extras.items()}
            for table, by_extras in lists.items()
        },
    }
    OUT.write_text(json.dumps(state, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=["measure", "choose"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=150)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.what == "measure":
        measure(options.data, options.work, options.minutes, options.workers)
    else:
        choose(options.data, options.work)


if __name__ == "__main__":
    main()
