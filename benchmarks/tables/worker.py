"""Runs one system on one task in the system's own environment: fit, predict, timing, bytes.

    PYTHON-OF-THE-ENVIRONMENT benchmarks/tables/worker.py FOLDER

`FOLDER/job.json` says what to do (`run.py` writes it). What is known is written to
`FOLDER/result.json` as soon as it is known, so that a fit whose timing fails still has its score.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contract import Fitted, Job

ONE_ROW_TIMES, THOUSAND_TIMES = 30, 5


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    told = json.loads((folder / "job.json").read_text())
    _keep_to(told["cores"])
    found: dict[str, Any] = {}
    try:
        for fact in run(told, folder):
            found |= fact
            _write(folder / "result.json", found)
    except Exception as error:
        traceback.print_exc()
        found["error"] = f"{type(error).__name__}: {error}"
        _write(folder / "result.json", found)
        sys.exit(1)


def run(told: dict[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """Facts, in the order in which they become known."""
    task, data = told["task"], Path(told["data"])
    scratch, saved = folder / "scratch", folder / "saved"
    for place in (scratch, saved):
        place.mkdir()
    job = Job(
        task["table"], task["target"], task["kind"], task["metric"], tuple(task["classes"]),
        told["seconds"], told["cores"], told["seed"], scratch,
    )  # fmt: skip
    train = pd.read_parquet(data / "train.parquet")
    system = importlib.import_module(f"systems.{told['system']}")
    front: dict[str, Any] = {}
    yield {"version": version(told["distribution"])}
    yield {"fit_began": time.time()}
    start = time.perf_counter()
    fitted: Fitted = system.fit(train, job)
    yield {"fit_seconds": time.perf_counter() - start}
    test = pd.read_parquet(data / "test.parquet").drop(columns=job.target)
    np.save(folder / "predictions.npy", ordered(fitted, job, test))
    yield {"predicted": True}
    fitted.save(saved)
    yield {"bytes": size(saved)}
    yield latency(fitted.predict, test)
    yield {"about": dict(fitted.about)}
    for name, one in fitted.front.items():
        place = saved / f"front-{name}"
        place.mkdir()
        one.save(place)
        np.save(folder / f"predictions-{name}.npy", ordered(one, job, test))
        front = front | {name: latency(one.predict, test) | {"bytes": size(place)}}
        yield {"front": front}


def ordered(fitted: Fitted, job: Job, test: pd.DataFrame) -> np.ndarray:
    """(n, classes) in the order of the task's classes, 0 where a system forgot one; or (n,)."""
    said = np.asarray(fitted.predict(test), np.float64)
    if job.regression:
        return said.reshape(len(test))
    names = [str(name) for name in fitted.classes]
    if said.shape != (len(test), len(names)) or not set(names) <= set(job.classes):
        raise ValueError(f"probabilities of shape {said.shape} for {len(test)} rows of {names}")
    found = np.zeros((len(test), len(job.classes)))
    found[:, [job.classes.index(name) for name in names]] = said
    return found


def latency(predict: Callable[[pd.DataFrame], Any], test: pd.DataFrame) -> dict[str, float]:
    """Median milliseconds for one row and for a thousand, with everything already loaded."""
    thousand = test.iloc[np.arange(1000) % len(test)].reset_index(drop=True)
    single = [test.iloc[[i % len(test)]].reset_index(drop=True) for i in range(ONE_ROW_TIMES)]
    return {
        "ms_1_row": statistics.median(_milliseconds(predict, one) for one in single),
        "ms_1000_rows": statistics.median(
            _milliseconds(predict, thousand) for _ in range(THOUSAND_TIMES)
        ),
    }


def size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _milliseconds(predict: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> float:
    start = time.perf_counter()
    predict(frame)
    return 1000 * (time.perf_counter() - start)


def _keep_to(cores: int) -> None:
    """Real cores, where the system has a way to say it: thread counts alone can be overlooked."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _write(file: Path, found: dict[str, Any]) -> None:
    """Whole or not at all: the reader may look at any moment."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(found))
    new.replace(file)


if __name__ == "__main__":
    main()
