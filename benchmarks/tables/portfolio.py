"""Makes the portfolio: configurations that are strong together on the development tables.

    python benchmarks/tables/portfolio.py measure --data TABLES --work WORK [--minutes 150]
    python benchmarks/tables/portfolio.py choose --data TABLES --work WORK

`measure` fits hand-made and random configurations of every family on one fold of every table, and
keeps score, seconds and predictions of the held-out rows: killed, it goes on. `choose` adds, one by
one, the configuration that makes the averages best: on each table those count that a search of so
much time would come to fit on all folds, and what counts is the loss of their greedy average, scaled
to 0 at the best that they reach together and 1 at the middle one of all alone. It writes
``src/netwright/automl/tabular/portfolio.json``, for installations with the extra `boost` and
without: the list from all tables, and for each table the list made without it, which the harness uses
so that no table is judged by itself.
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
from data import DEVELOPMENT, METRIC, MOST_ROWS, NOT_FEATURES, Kind
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
SECONDS = 30.0
"""The most that one fit may take."""
FOLDS = 5
RANDOM: Mapping[str, int] = {
    "lightgbm": 6, "catboost": 3, "xgboost": 3, "extra_trees": 3, "forest": 1, "linear": 1,
    "realmlp": 5, "tabm": 5, "network": 3, "histogram": 0,
}  # fmt: skip
"""Random configurations of each family, beside the hand-made ones."""
SEARCHES = (25.0, 50.0, 95.0)
"""Seconds of processor time of searches, on average of which a list is good: on two cores a quarter
of a minute to a minute, less start and end."""
LENGTH = 14
SAFE = (("lightgbm", 0), ("extra_trees", 0), ("catboost", 0))
"""Families and places in `HAND_MADE` that every list begins with: quick, and good on tables of kinds
that the development tables have few of."""
ROWS = 1500
"""Of a fold, for choosing: hundreds of thousands of averages are looked at."""


@dataclass(frozen=True)
class Config:
    """A family, and decisions by their paths inside of it."""

    family: str
    wishes: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> str:
        return json.dumps([self.family, sorted(self.wishes, key=str)])

    @property
    def file(self) -> str:
        """Its predictions, wherever it stands in the list."""
        return f"{hashlib.sha256(self.key.encode()).hexdigest()[:16]}.npy"


def configs() -> list[Config]:
    """The hand-made ones, then random ones: the same for every table."""
    found = [
        Config(family, tuple(sorted(wishes.items())))
        for family, recipes in DEFAULT_CONFIGS.items()
        for wishes in recipes
        if family in installed_families()
    ]
    for family, many in RANDOM.items():
        if family not in installed_families():
            continue
        brief = TaskMetadata(
            "binary", 3000, columns=10, categorical=4, classes=2, folds=FOLDS, families=(family,)
        )
        space, rng = space_for(brief), np.random.default_rng(7)
        for _ in range(many):
            values = space.sample(rng).values
            found.append(Config(family, tuple(sorted(values.items()))))
    return found


@lru_cache(maxsize=2)
def task_of(data: Path, table: str) -> Any:
    frame = pd.read_parquet(data / f"{table}.parquet")
    frame = frame.drop(columns=list(NOT_FEATURES.get(table, ())))
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0)
    kind = DEVELOPMENT[table]
    target = frame.columns[-1]
    return nw.task(frame, target, kind="regression" if kind == "regression" else "classification")


def measure_one(data: Path, work: Path, table: str, number: int) -> dict[str, Any]:
    """One fit on one fold; predictions beside it."""
    import torch

    torch.set_num_threads(1)
    config, task = configs()[number], task_of(data, table)
    brief = replace(TaskMetadata.from_task(task), folds=FOLDS, families=(config.family,))
    space = space_for(brief)
    candidate = complete_candidate(space, dict(config.wishes))
    metric = METRIC[DEVELOPMENT[table]]
    evaluator = CrossValidate(space, task, FOLDS, metric)
    folder = work / "fits" / table / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    row: dict[str, Any] = {"table": table, "config": config.key}
    begun = time.monotonic()
    try:
        job = Job(Proposal(candidate, 1 / FOLDS), 0, folder, begun + SECONDS)
        found = evaluator(job)
        held_out = np.load(folder / HELD_OUT)
        seen = predicted(held_out)
        np.save(work / "fits" / table / config.file, held_out[seen].astype(np.float32))
        np.save(work / "fits" / table / "target.npy", task.target[evaluator.rows][seen])
        row |= {"score": found[metric], "seconds": time.monotonic() - begun}
    except nw.NetwrightError as error:
        row |= {"error": str(error), "seconds": time.monotonic() - begun}
    shutil.rmtree(folder, ignore_errors=True)
    return row | {"number": number}


def measure(data: Path, work: Path, minutes: float, workers: int) -> None:
    path = work / "portfolio.csv"
    work.mkdir(parents=True, exist_ok=True)
    known = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["table", "config"])
    done = set(zip(known["table"], known["config"], strict=True))
    jobs = [
        (table, number)
        for number, config in enumerate(configs())
        for table in DEVELOPMENT
        if (table, config.key) not in done
    ]
    rows, end = known.to_dict("records"), time.monotonic() + 60 * minutes
    print(f"{len(jobs)} fits to do, {len(rows)} done", flush=True)
    left = iter(jobs)
    with ProcessPoolExecutor(workers) as pool:
        waiting: set[Future[dict[str, Any]]] = set()
        while True:
            for one in islice(left, 2 * workers - len(waiting) if time.monotonic() < end else 0):
                waiting.add(pool.submit(measure_one, data, work, *one))
            if not waiting:
                break
            ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            rows += [future.result() for future in ended]
            pd.DataFrame(rows).to_csv(path, index=False)
            last = rows[-1]
            print(
                f"{len(rows)}: {last['table']} {last['config'][:60]} {last.get('score')}",
                flush=True,
            )


@dataclass(frozen=True)
class Measured:
    """One table: for each configuration the held-out predictions (None: failed) and seconds."""

    folds: int
    kind: Kind
    target: np.ndarray
    said: list[np.ndarray | None]
    seconds: list[float]

    def loss(self, said: np.ndarray, target: np.ndarray) -> float:
        return loss_of(self.kind, METRIC[self.kind])(said, target)

    def of(self, chosen: Sequence[int], scale: tuple[float, float]) -> float:
        """The scaled loss of the average of those for which there is time, in bounds: no table
        decides alone."""
        best, worst = scale
        found = []
        for search in SEARCHES:
            loss = self._loss(self._in_time(chosen, search))
            found.append(np.clip((loss - best) / (worst - best), -0.2, 3.0))
        return float(np.mean(found))

    def scale(self) -> tuple[float, float]:
        """The loss of the average of the best, and the middle one of all by themselves.

        Not that of the best one: on easy tables the two are alike, and their distance is chance.
        """
        known = [i for i, one in enumerate(self.said) if one is not None]
        alone = {i: self.alone[i] for i in known}
        together = self._loss(sorted(known, key=lambda i: alone[i])[:12])
        best = min(together, *alone.values())
        return best, max(float(np.median([*alone.values()])), best + 1e-6)

    @cached_property
    def alone(self) -> list[float]:
        """The loss of each configuration by itself; infinite where it failed."""
        losses = (math.inf if p is None else self.loss(p, self.target) for p in self.said)
        return [*losses]

    def _in_time(self, chosen: Sequence[int], search: float) -> list[int]:
        """Those that a search comes to fit on all folds: the first at once; of the others one fold,
        and whoever is among the better half of what was seen goes on to the others."""
        whole, seen, used = [], [], 0.0
        for i in chosen:
            used += self.seconds[i] * (1 if seen else self.folds)
            if used > search:
                break
            whole += [] if seen else [i]
            seen.append(i)
            better = sorted(seen, key=lambda one: self.alone[one])[: len(seen) // 2]
            for one in (one for one in better if one not in whole):
                used += self.seconds[one] * (self.folds - 1)
                if used <= search:
                    whole.append(one)
        return [i for i in whole if self.said[i] is not None]

    def _loss(self, chosen: Sequence[int]) -> float:
        if not chosen:
            return 10 * self.loss(np.full_like(self.said[0], self.said[0].mean()), self.target)
        library = [self.said[i].astype(np.float64) for i in chosen]
        weights = greedy_selection(library, lambda p: self.loss(p, self.target), 15)
        mixed = np.sum([w * one for w, one in zip(weights, library, strict=True)], axis=0)
        return float(self.loss(mixed, self.target))


def read(data: Path, work: Path) -> dict[str, Measured]:
    rows, known = pd.read_csv(work / "portfolio.csv"), configs()
    found = {}
    for table, kind in DEVELOPMENT.items():
        mine = rows[rows["table"] == table].set_index("config")
        target = np.load(work / "fits" / table / "target.npy")
        some = np.random.default_rng(0).permutation(len(target))[:ROWS]
        said: list[np.ndarray | None] = []
        for config in known:
            path = work / "fits" / table / config.file
            known_here = config.key in mine.index and path.exists()
            said.append(np.load(path)[some] if known_here else None)
        seconds = [float(mine["seconds"].get(config.key, 1e9)) for config in known]
        classes = said[0].shape[1] if said[0] is not None and said[0].ndim > 1 else 0
        columns = len(task_of(data, table).features.columns)
        brief = TaskMetadata(kind, 5 * len(target), columns=columns, classes=classes)
        folds = n_folds(60, 2, brief)
        found[table] = Measured(folds, kind, target[some], said, seconds)
    return found


def safe() -> list[int]:
    """The places of `SAFE` among the configurations."""
    wanted = [Config(name, tuple(sorted(DEFAULT_CONFIGS[name][i].items()))) for name, i in SAFE]
    return [configs().index(one) for one in wanted]


def cover(tables: Sequence[Measured], allowed: Sequence[int]) -> list[int]:
    """What is safe, then the greedy list."""
    pairs = [(one, one.scale()) for one in tables]
    chosen = [i for i in safe() if i in allowed]
    while len(chosen) < LENGTH:
        options = [i for i in allowed if i not in chosen]
        losses = [np.mean([one.of([*chosen, i], scale) for one, scale in pairs]) for i in options]
        best = int(np.argmin(losses))
        chosen.append(options[best])
    return chosen


def choose(data: Path, work: Path) -> None:
    tables, known = read(data, work), configs()
    allowed = {
        WITH_EXTRAS: [*range(len(known))],
        WITHOUT_EXTRAS: [i for i, one in enumerate(known) if one.family not in REQUIRED_MODULES],
    }
    jobs = [(without, extras) for extras in allowed for without in ("", *tables)]
    lists: dict[str, dict[str, list[int]]] = {}
    with ProcessPoolExecutor(2) as pool:
        rest = [[one for name, one in tables.items() if name != without] for without, _ in jobs]
        found = pool.map(cover, rest, [allowed[extras] for _, extras in jobs])
        for (without, extras), chosen in zip(jobs, found, strict=True):
            lists.setdefault(without, {})[extras] = chosen
            print(without or "no table", extras, *(known[i].family for i in chosen), flush=True)
    used = sorted({i for one in lists.values() for chosen in one.values() for i in chosen})
    place = {number: i for i, number in enumerate(used)}
    state = {
        "configs": [[known[i].family, dict(known[i].wishes)] for i in used],
        "lists": {
            table: {name: [place[i] for i in chosen] for name, chosen in one.items()}
            for table, one in lists.items()
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
    told = parser.parse_args()
    if told.what == "measure":
        measure(told.data, told.work, told.minutes, told.workers)
    else:
        choose(told.data, told.work)


if __name__ == "__main__":
    main()
