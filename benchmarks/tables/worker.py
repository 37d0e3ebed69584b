"""Run one system on one task in the system's environment: fit, predict, time, measure bytes.

    PYTHON-OF-THE-ENVIRONMENT benchmarks/tables/worker.py FOLDER

`FOLDER/job.json` is the job (written by `run.py`). Every fact is written to `FOLDER/result.json` as
soon as it is known, so that a fit whose timing fails still has its score.
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

N_ONE_ROW_CALLS, N_THOUSAND_ROW_CALLS = 30, 5


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    settings = json.loads((folder / "job.json").read_text())
    _bind_to_cores(settings["cores"])
    result: dict[str, Any] = {}
    try:
        for fact in run(settings, folder):
            result |= fact
            _write(folder / "result.json", result)
    except Exception as error:
        traceback.print_exc()
        result["error"] = f"{type(error).__name__}: {error}"
        _write(folder / "result.json", result)
        sys.exit(1)


def run(settings: dict[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield facts as they become known."""
    task, data = settings["task"], Path(settings["data"])
    scratch, saved = folder / "scratch", folder / "saved"
    for subfolder in (scratch, saved):
        subfolder.mkdir()
    job = Job(
        task["table"], task["target"], task["kind"], task["metric"], tuple(task["classes"]),
        settings["seconds"], settings["cores"], settings["seed"], scratch,
    )  # fmt: skip
    train = pd.read_parquet(data / "train.parquet")
    system = importlib.import_module(f"systems.{settings['system']}")
    front: dict[str, Any] = {}
    yield {"version": version(settings["distribution"])}
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
    for name, model in fitted.front.items():
        model_folder = saved / f"front-{name}"
        model_folder.mkdir()
        model.save(model_folder)
        np.save(folder / f"predictions-{name}.npy", ordered(model, job, test))
        front = front | {name: latency(model.predict, test) | {"bytes": size(model_folder)}}
        yield {"front": front}


def ordered(fitted: Fitted, job: Job, test: pd.DataFrame) -> np.ndarray:
    """Return predictions (n, classes) in the order of the task's classes, or (n,).

    Classes that a system does not know get probability 0.
    """
    predictions = np.asarray(fitted.predict(test), np.float64)
    if job.regression:
        return predictions.reshape(len(test))
    names = [str(name) for name in fitted.classes]
    if predictions.shape != (len(test), len(names)) or not set(names) <= set(job.classes):
        raise ValueError(
            f"probabilities of shape {predictions.shape} for {len(test)} rows of {names}"
        )
    in_order = np.zeros((len(test), len(job.classes)))
    in_order[:, [job.classes.index(name) for name in names]] = predictions
    return in_order


def latency(predict: Callable[[pd.DataFrame], Any], test: pd.DataFrame) -> dict[str, float]:
    """Return median milliseconds for one row and for a thousand, with the model in memory."""
    thousand = test.iloc[np.arange(1000) % len(test)].reset_index(drop=True)
    single_rows = [
        test.iloc[[i % len(test)]].reset_index(drop=True) for i in range(N_ONE_ROW_CALLS)
    ]
    return {
        "ms_1_row": statistics.median(_milliseconds(predict, row) for row in single_rows),
        "ms_1000_rows": statistics.median(
            _milliseconds(predict, thousand) for _ in range(N_THOUSAND_ROW_CALLS)
        ),
    }


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _milliseconds(predict: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> float:
    start = time.perf_counter()
    predict(frame)
    return 1000 * (time.perf_counter() - start)


def _bind_to_cores(cores: int) -> None:
    """Bind the process to cores, if the system allows it: libraries may ignore thread counts."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _write(file: Path, result: dict[str, Any]) -> None:
    """Replace the file atomically, since `run.py` reads it at any time."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(result))
    new.replace(file)


if __name__ == "__main__":
    main()
