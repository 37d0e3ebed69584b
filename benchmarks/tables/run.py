"""netwright beside other AutoML systems on tables: same rows, same cores, same seconds.

    python benchmarks/tables/environments.py ENVIRONMENTS          # once: 11 GB
    python benchmarks/tables/run.py --data FOLDER --environments ENVIRONMENTS --work WORK
        [--seconds 60] [--systems netwright,flaml,...] [--tables development] [--seeds 1]
        [--cores 2] [--again SYSTEM,...]
    python benchmarks/tables/summarise.py WORK

FOLDER holds the tables named in `data.py` as parquet files, the target in the last column. Table by
table, one system at a time, each in its own environment and process (`worker.py`), with the split
read from the same files, the metric told, and so many cores that it cannot have more. The machine
should have nothing else to do; the load found before each start is written down.

Every run is a line of WORK/results.csv, written at once (what else it delivered: front.csv, and
what that is made of: about.jsonl): the same call goes on where it was stopped. A seed draws another
split and seeds the system. `--again` measures systems anew on what the call names; to go on after a
stop leave it out.

- score: AUC for two classes, log loss for more, RMSE for numbers, on the test rows
- fit_seconds: the call of fit, without imports; process_seconds: start to end, all that follows
- processor_seconds, memory_mb: of the process and its children
- ms_1_row (median of 30), ms_1000_rows (median of 5): predicting with all in memory
- bytes: on disk, what another process would need to predict
- status: ok; failed, with the error; killed, when a fit took 4 times its limit

A failure is a line like any other, and the next system has its turn.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data import GROUPS, TABLES, Task, prepare
from environments import ROOT, is_made, python_of
from scores import score, trivial
from systems import SYSTEMS
from watch import Watched, watch

COLUMNS = (
    "table", "kind", "rows", "columns", "classes", "system", "version", "seed", "seconds",
    "status", "metric", "score", "trivial", "fit_seconds", "process_seconds",
    "processor_seconds", "memory_mb", "ms_1_row", "ms_1000_rows", "bytes", "load", "error",
)  # fmt: skip
FRONT = (
    "table", "system", "seed", "seconds", "model", "metric", "score", "ms_1_row", "ms_1000_rows",
    "bytes",
)  # fmt: skip
KEY = ("system", "table", "seed", "seconds")
PATIENCE = 4
"""A fit is killed after so many times its limit."""
AROUND = 600
"""Seconds for starting, predicting and timing; an ensemble may need minutes for the last."""
_TOLD = 300


@dataclass(frozen=True)
class Plan:
    """What all runs of one call share."""

    source: Path
    environments: Path
    work: Path
    seconds: float
    cores: int


def main() -> None:
    told = arguments()
    plan = Plan(told.data, told.environments, told.work, told.seconds, told.cores)
    plan.work.mkdir(parents=True, exist_ok=True)
    results = plan.work / "results.csv"
    seeds = map(str, range(told.seeds))
    again = set(product(told.again, told.tables, seeds, [_text(plan.seconds)]))
    done = keep(results, again)
    if (front := plan.work / "front.csv").exists():
        keep(front, again, FRONT)
    _forget(plan.work / "about.jsonl", again)
    for seed in range(told.seeds):
        for table in told.tables:
            task = prepare(plan.source, plan.work / "data", table, seed)
            for system in told.systems:
                if (system, table, str(seed), _text(plan.seconds)) in done:
                    continue
                row = measure(plan, task, system)
                add(results, row)
                _note_front(plan, task, system)
                print(*(f"{row[name]:>18}" for name in ("table", "system", "status")), end=" ")
                print(row["metric"], row["score"], row["fit_seconds"], row["error"], flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    usual = [name for name in SYSTEMS if not name.startswith("netwright_")]
    parser.add_argument("--systems", default=",".join(usual))
    parser.add_argument("--tables", default="development", help="names, development, held-out, all")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--again", default="", help="systems whose lines are measured anew")
    told = parser.parse_args()
    told.tables = GROUPS.get(told.tables) or tuple(told.tables.split(","))
    told.systems = tuple(told.systems.split(","))
    told.again = tuple(filter(None, told.again.split(",")))
    for names, known in ((told.tables, TABLES), ((*told.systems, *told.again), SYSTEMS)):
        if unknown := set(names) - known.keys():
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    needed = {SYSTEMS[name].environment for name in told.systems}
    if missing := [name for name in needed if not is_made(told.environments, name)]:
        command = f"environments.py {told.environments} {' '.join(sorted(missing))}"
        parser.error(f"environments are missing. Make them: python benchmarks/tables/{command}")
    return told


def keep(
    results: Path, again: Collection[tuple[str, ...]], columns: Sequence[str] = COLUMNS
) -> set[tuple[str, ...]]:
    """What is measured already; lines of these keys are taken out."""
    if not results.exists():
        return set()
    with results.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if _key(row) not in again]
    new = results.with_suffix(".new")
    write(new, rows, "w", columns)
    new.replace(results)
    return {_key(row) for row in rows}


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_text(row[name]) for name in KEY)


def _forget(lines: Path, again: Collection[tuple[str, ...]]) -> None:
    """Takes the lines of these keys out."""
    if lines.exists() and again:
        said = lines.read_text().splitlines()
        kept = [line for line in said if _key(json.loads(line)) not in again]
        new = lines.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in kept))
        new.replace(lines)


def add(results: Path, row: Mapping[str, Any]) -> None:
    write(results, [row], "a")


def write(
    file: Path, rows: Sequence[Mapping[str, Any]], mode: str, columns: Sequence[str] = COLUMNS
) -> None:
    with file.open(mode, newline="") as out:
        writer = csv.DictWriter(out, columns)
        if out.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)
        out.flush()
        os.fsync(out.fileno())


def measure(plan: Plan, task: Task, system: str) -> dict[str, Any]:
    """One line: a system on a task, in a process of its own."""
    folder = place_of(plan, task, system)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told = {
        "system": system, "distribution": SYSTEMS[system].distribution, "task": asdict(task),
        "data": str(task.file(plan.work / "data", "train").parent.absolute()),
        "seconds": plan.seconds, "cores": plan.cores, "seed": task.seed,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(told))
    python = python_of(plan.environments, SYSTEMS[system].environment)
    load = os.getloadavg()[0]
    took = watch(
        [python, Path(__file__).with_name("worker.py"), folder.absolute()], folder / "log.txt",
        surroundings(plan.cores, folder), overdue(folder, plan.seconds),
    )  # fmt: skip
    found = _result(folder)
    row = {
        "table": task.table, "kind": task.kind, "rows": task.rows, "columns": task.columns,
        "classes": len(task.classes), "system": system, "seed": task.seed,
        "seconds": plan.seconds, "metric": task.metric, "load": load,
        "process_seconds": took.seconds, "processor_seconds": took.processor_seconds,
        "memory_mb": took.memory / 2**20, "version": found.get("version", ""),
        **{name: found.get(name, "") for name in ("fit_seconds", "ms_1_row", "ms_1000_rows", "bytes")},
        **judged(plan, task, folder, took, found),
    }  # fmt: skip
    if system.startswith("netwright"):
        row["version"] += f"+{_commit()}"
    for name in ("scratch", "saved"):  # models: gigabytes after a night
        shutil.rmtree(folder / name, ignore_errors=True)
    return {name: _text(row[name]) for name in COLUMNS}


def place_of(plan: Plan, task: Task, system: str) -> Path:
    return plan.work / "runs" / f"{task.table}-{task.seed}-{_text(plan.seconds)}-{system}"


def surroundings(cores: int, folder: Path) -> dict[str, str]:
    """The environment of a worker: so many threads in every library, and nothing of ours."""
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
         "VECLIB_MAXIMUM_THREADS", "LOKY_MAX_CPU_COUNT", "POLARS_MAX_THREADS"), str(cores)
    )  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    (folder / "tmp").mkdir()
    return kept | threads | {
        "OMP_WAIT_POLICY": "PASSIVE", "TMPDIR": str((folder / "tmp").absolute()),
        "MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip


def overdue(folder: Path, seconds: float) -> Any:
    """Says why a worker must end: its fit has had `PATIENCE` limits, or all of it far too long."""
    begun = time.time()

    def reason() -> str:
        found = _result(folder)
        fitting = "fit_began" in found and "fit_seconds" not in found
        if fitting and time.time() - found["fit_began"] > PATIENCE * seconds:
            return f"fit had not ended after {PATIENCE} times its limit"
        if time.time() - begun > PATIENCE * seconds + AROUND:
            return f"not over {AROUND} s after {PATIENCE} times the limit"
        return ""

    return reason


def _note_front(plan: Plan, task: Task, system: str) -> None:
    """A line of `front.csv` for each further model of the fit, and the facts in `about.json`."""
    folder = place_of(plan, task, system)
    found, truth = _result(folder), truth_of(plan, task)
    head = {"table": task.table, "system": system, "seed": task.seed, "seconds": plan.seconds}
    rows = []
    for name, told in found.get("front", {}).items():
        said = np.load(folder / f"predictions-{name}.npy")
        try:
            judged = score(task.metric, truth, said)
        except ValueError as problem:  # a model that says NaN is no reason to measure no other
            print(f"{task.table}, {system}, model {name}: {problem}", flush=True)
            continue
        rows.append(head | told | {"model": name, "metric": task.metric, "score": judged})
    if rows:
        texts = [{name: _text(row[name]) for name in FRONT} for row in rows]
        write(plan.work / "front.csv", texts, "a", FRONT)
    if about := found.get("about"):
        with (plan.work / "about.jsonl").open("a") as file:
            file.write(json.dumps(head | about) + "\n")


def truth_of(plan: Plan, task: Task) -> NDArray[Any]:
    """The test rows' values, or the numbers of their classes."""
    truth = pd.read_parquet(task.file(plan.work / "data", "test"))[task.target].to_numpy()
    return np.array([task.classes.index(label) for label in truth]) if task.classes else truth


def judged(
    plan: Plan, task: Task, folder: Path, took: Watched, found: Mapping[str, Any]
) -> dict[str, Any]:
    """status, score, trivial, error."""
    truth = truth_of(plan, task)
    row = {"score": "", "trivial": trivial(task.metric, truth, task.share or task.mean)}
    error = found.get("error", "") or took.killed
    if took.code and not error:
        error = f"ended with code {took.code}: {_last_line(folder / 'log.txt')}"
    status = "killed" if took.killed else "failed"
    if found.get("predicted"):
        try:
            row["score"] = score(task.metric, truth, np.load(folder / "predictions.npy"))
            status = "ok"
        except ValueError as problem:
            error = str(problem)
    return row | {"status": status, "error": " ".join(error.split())[:_TOLD]}


def _result(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "result.json").read_text()))
    except FileNotFoundError:
        return {}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing said")


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def _text(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
