"""Compare netwright with other AutoML systems on tables: same rows, same cores, same seconds.

    python benchmarks/tables/environments.py ENVIRONMENTS          # once: 11 GB
    python benchmarks/tables/run.py --data FOLDER --environments ENVIRONMENTS --work WORK
        [--seconds 60] [--systems netwright,flaml,...] [--tables development] [--seeds 1]
        [--cores 2] [--again SYSTEM,...]
    python benchmarks/tables/summarise.py WORK

FOLDER holds the tables named in `data.py` as parquet files, with the target in the last column.
Systems run one at a time, each in its own environment and process (`worker.py`); they read the split
from the same files, are told the metric, and are bound to the same number of cores. The machine
should be idle; the load before each start is recorded.

Every run is a row of WORK/results.csv, written at once (its other models: front.csv, their
composition: about.jsonl); the same command resumes. A seed draws another split and seeds the system.
`--again` repeats systems on the named tables; leave it out to resume.

- score: AUC for two classes, log loss for more, RMSE for numbers, on the test rows
- fit_seconds: the call of fit, without imports; process_seconds: from start to end
- processor_seconds, memory_mb: of the process and its children
- ms_1_row (median of 30), ms_1000_rows (median of 5): prediction, with the model in memory
- bytes: on disk, what another process needs to predict
- status: ok; failed, with the error; killed, if a fit took 4 times its limit

A failure is a row like any other.
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
MAX_LIMIT_FACTOR = 4
"""A fit is killed after this multiple of its time limit."""
OVERHEAD_SECONDS = 600
"""For starting, predicting and timing; timing an ensemble may take minutes."""
_MAX_ERROR_LENGTH = 300


@dataclass(frozen=True)
class Plan:
    """Settings that all runs of a command share."""

    source: Path
    environments: Path
    work: Path
    seconds: float
    cores: int


def main() -> None:
    options = arguments()
    plan = Plan(options.data, options.environments, options.work, options.seconds, options.cores)
    plan.work.mkdir(parents=True, exist_ok=True)
    results = plan.work / "results.csv"
    seeds = map(str, range(options.seeds))
    again = set(product(options.again, options.tables, seeds, [_text(plan.seconds)]))
    done = drop_rows(results, again)
    if (front := plan.work / "front.csv").exists():
        drop_rows(front, again, FRONT)
    _forget(plan.work / "about.jsonl", again)
    for seed in range(options.seeds):
        for table in options.tables:
            task = prepare(plan.source, plan.work / "data", table, seed)
            for system in options.systems:
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
    default_systems = [name for name in SYSTEMS if not name.startswith("netwright_")]
    parser.add_argument("--systems", default=",".join(default_systems))
    parser.add_argument("--tables", default="development", help="names, development, held-out, all")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--again", default="", help="systems whose rows are measured again")
    options = parser.parse_args()
    options.tables = GROUPS.get(options.tables) or tuple(options.tables.split(","))
    options.systems = tuple(options.systems.split(","))
    options.again = tuple(filter(None, options.again.split(",")))
    for names, available in (
        (options.tables, TABLES),
        ((*options.systems, *options.again), SYSTEMS),
    ):
        if unknown := set(names) - available.keys():
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(available)}")
    needed = {SYSTEMS[name].environment for name in options.systems}
    if missing := [name for name in needed if not is_made(options.environments, name)]:
        command = f"environments.py {options.environments} {' '.join(sorted(missing))}"
        parser.error(f"environments are missing. Make them: python benchmarks/tables/{command}")
    return options


def drop_rows(
    results: Path, again: Collection[tuple[str, ...]], columns: Sequence[str] = COLUMNS
) -> set[tuple[str, ...]]:
    """Return the keys of the rows, and drop the rows to measure again."""
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
    """Drop the lines with these keys."""
    if lines.exists() and again:
        all_lines = lines.read_text().splitlines()
        remaining = [line for line in all_lines if _key(json.loads(line)) not in again]
        new = lines.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in remaining))
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
    """Run a system on a task in its own process, and return its row."""
    folder = folder_of(plan, task, system)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job = {
        "system": system, "distribution": SYSTEMS[system].distribution, "task": asdict(task),
        "data": str(task.file(plan.work / "data", "train").parent.absolute()),
        "seconds": plan.seconds, "cores": plan.cores, "seed": task.seed,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    python = python_of(plan.environments, SYSTEMS[system].environment)
    load = os.getloadavg()[0]
    resources = watch(
        [python, Path(__file__).with_name("worker.py"), folder.absolute()], folder / "log.txt",
        worker_environment(plan.cores, folder), overdue(folder, plan.seconds),
    )  # fmt: skip
    result = _result(folder)
    row = {
        "table": task.table, "kind": task.kind, "rows": task.rows, "columns": task.columns,
        "classes": len(task.classes), "system": system, "seed": task.seed,
        "seconds": plan.seconds, "metric": task.metric, "load": load,
        "process_seconds": resources.seconds, "processor_seconds": resources.processor_seconds,
        "memory_mb": resources.memory / 2**20, "version": result.get("version", ""),
        **{name: result.get(name, "") for name in ("fit_seconds", "ms_1_row", "ms_1000_rows", "bytes")},
        **outcome(plan, task, folder, resources, result),
    }  # fmt: skip
    if system.startswith("netwright"):
        row["version"] += f"+{_commit()}"
    for name in ("scratch", "saved"):  # models: gigabytes after many runs
        shutil.rmtree(folder / name, ignore_errors=True)
    return {name: _text(row[name]) for name in COLUMNS}


def folder_of(plan: Plan, task: Task, system: str) -> Path:
    return plan.work / "runs" / f"{task.table}-{task.seed}-{_text(plan.seconds)}-{system}"


def worker_environment(cores: int, folder: Path) -> dict[str, str]:
    """Return a worker's environment variables: limited threads, no Python settings of ours."""
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
         "VECLIB_MAXIMUM_THREADS", "LOKY_MAX_CPU_COUNT", "POLARS_MAX_THREADS"), str(cores)
    )  # fmt: skip
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    (folder / "tmp").mkdir()
    return inherited | threads | {
        "OMP_WAIT_POLICY": "PASSIVE", "TMPDIR": str((folder / "tmp").absolute()),
        "MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip


def overdue(folder: Path, seconds: float) -> Any:
    """Return a function that returns why a worker must be killed, or an empty text."""
    start = time.time()

    def reason() -> str:
        result = _result(folder)
        is_fitting = "fit_began" in result and "fit_seconds" not in result
        if is_fitting and time.time() - result["fit_began"] > MAX_LIMIT_FACTOR * seconds:
            return f"fit had not ended after {MAX_LIMIT_FACTOR} times its limit"
        if time.time() - start > MAX_LIMIT_FACTOR * seconds + OVERHEAD_SECONDS:
            return f"not over {OVERHEAD_SECONDS} s after {MAX_LIMIT_FACTOR} times the limit"
        return ""

    return reason


def _note_front(plan: Plan, task: Task, system: str) -> None:
    """Append the other models of the fit to `front.csv`, and its facts to `about.jsonl`."""
    folder = folder_of(plan, task, system)
    result, truth = _result(folder), truth_of(plan, task)
    head = {"table": task.table, "system": system, "seed": task.seed, "seconds": plan.seconds}
    rows = []
    for name, figures in result.get("front", {}).items():
        predictions = np.load(folder / f"predictions-{name}.npy")
        try:
            test_score = score(task.metric, truth, predictions)
        except ValueError as problem:  # one model that predicts NaN must not stop the others
            print(f"{task.table}, {system}, model {name}: {problem}", flush=True)
            continue
        rows.append(head | figures | {"model": name, "metric": task.metric, "score": test_score})
    if rows:
        texts = [{name: _text(row[name]) for name in FRONT} for row in rows]
        write(plan.work / "front.csv", texts, "a", FRONT)
    if about := result.get("about"):
        with (plan.work / "about.jsonl").open("a") as file:
            file.write(json.dumps(head | about) + "\n")


def truth_of(plan: Plan, task: Task) -> NDArray[Any]:
    """Return the targets of the test rows, or the indices of their classes."""
    truth = pd.read_parquet(task.file(plan.work / "data", "test"))[task.target].to_numpy()
    return np.array([task.classes.index(label) for label in truth]) if task.classes else truth


def outcome(
    plan: Plan, task: Task, folder: Path, resources: Watched, result: Mapping[str, Any]
) -> dict[str, Any]:
    """Return status, score, trivial and error of a run."""
    truth = truth_of(plan, task)
    row = {"score": "", "trivial": trivial(task.metric, truth, task.share or task.mean)}
    error = result.get("error", "") or resources.killed
    if resources.code and not error:
        error = f"ended with code {resources.code}: {_last_line(folder / 'log.txt')}"
    status = "killed" if resources.killed else "failed"
    if result.get("predicted"):
        try:
            row["score"] = score(task.metric, truth, np.load(folder / "predictions.npy"))
            status = "ok"
        except ValueError as problem:
            error = str(problem)
    return row | {"status": status, "error": " ".join(error.split())[:_MAX_ERROR_LENGTH]}


def _result(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "result.json").read_text()))
    except FileNotFoundError:
        return {}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def _text(entry: Any) -> str:
    return f"{entry:.9g}" if isinstance(entry, float) else str(entry)


if __name__ == "__main__":
    main()
