"""Kill a search of images at several times, run it again, and check that nothing is lost.

    python benchmarks/exam/kills.py ARCHIVE [--seconds 40] [--kills 12] [--out CSV]

Each run is killed with all its workers (SIGKILL) at another moment, from the first trial to the last
export, and the same command is run again. It must keep every trial that had ended, deliver a model, and
take no longer in all than its time, 10 % and 5 seconds, and the start of a second process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from netwright.automl.saved_run import load_run
from netwright.errors import NetwrightError
from netwright.trials.trial import FINAL, Status, Trial

OUT = Path(__file__).parent.parent / "results" / "image-kills.csv"
START_SECONDS = 8.0
"""Imports, reading the data and starting workers, a second time."""


@dataclass(frozen=True)
class Row:
    killed_at: float
    n_ended: int
    had_checkpoint: bool
    had_model: bool
    lost: int
    changed: int
    final_epochs: float
    accuracy: float
    total_seconds: float
    error: str


def ended(run: Path) -> dict[int, Trial]:
    """Return the trials of a run folder that have ended, by id."""
    try:
        trials = load_run(run).trials
    except NetwrightError:
        return {}
    return {trial.id: trial for trial in trials if trial.status is not Status.RUNNING}


def kill_and_resume(archive: Path, seconds: float, killed_at: float, run: Path) -> Row:
    """Kill a run after so many seconds, and run the same command to its end."""
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "netwright", "fit", str(archive), "--time", str(seconds)]
    command += ["--run", str(run), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(killed_at)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = ended(run)
    has_checkpoint = any((run / "final").glob("*/checkpoint.safetensors"))
    has_model = (run / "model.onnx").exists()
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    total = killed_at + time.monotonic() - began
    error = "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1][:200]
    if not error and total > 1.1 * seconds + 5 + START_SECONDS:
        error = f"took {total:.1f} s in all"
    after = ended(run)
    changed = sum(after[i] != before[i] for i in before if i in after)
    finals = [trial for trial in after.values() if trial.proposal.origin == FINAL]
    outcome = json.loads(done.stdout) if done.returncode == 0 else {}
    metrics = outcome.get("best", {}).get("metrics", {})
    accuracy = metrics.get("test", metrics.get("validation", {})).get("accuracy", float("nan"))
    return Row(
        killed_at,
        len(before),
        has_checkpoint,
        has_model,
        len(before.keys() - after.keys()),
        changed,
        finals[-1].metrics["epochs"] if finals else 0.0,
        accuracy,
        total,
        error,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--work", type=Path, default=Path("runs") / "image-kills")
    parser.add_argument("--out", type=Path, default=OUT)
    settings = parser.parse_args()
    first, last = 5.0, settings.seconds - 2.0
    with settings.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        for i in range(settings.kills):
            killed_at = first + (last - first) * i / max(1, settings.kills - 1)
            row = kill_and_resume(settings.archive, settings.seconds, killed_at, settings.work)
            writer.writerow(asdict(row))
            file.flush()
            print(row, flush=True)


if __name__ == "__main__":
    main()
