"""Real searches, killed with `kill -9` again and again, beside the same searches left alone.

    python benchmarks/resume.py --strategies bayesian,evolution,ppo,asha,drnas --kills 6 --trials 24

Each runs ``netwright fit DATA --trials N --workers 1`` with accuracy and parameters as objectives.
The one is killed and started again by the same line; each kill comes after at least one more trial
has finished. The last but one is of the worker alone, the last during the delivery (after the last
trial has ended), the others are of the whole process group. In the end each has N trials, none
twice, and they are the same: candidates, seeds, statuses and every metric that no clock measures. A
trial whose worker was killed has failed, and is left out of the comparison with all that follows it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from netwright.errors import RunError
from netwright.study.storage.store import Store
from netwright.trials.trial import MADE

CLOCKS = {"train_seconds"}
Record = list[tuple[object, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="breast_cancer")
    parser.add_argument("--strategies", default="bayesian")
    parser.add_argument("--kills", type=int, default=6, help="of each strategy")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    different = sum(run_both(options, name) for name in options.strategies.split(","))
    sys.exit(bool(different))


def run_both(options: argparse.Namespace, strategy: str) -> int:
    """How many trials differ."""
    with tempfile.TemporaryDirectory() as place:
        whole, killed = Path(place) / "whole", Path(place) / "killed"
        begun = time.monotonic()
        assert search(options, strategy, whole).wait() == 0
        seconds = time.monotonic() - begun
        print(f"{strategy} left alone: {len(record(whole))} trials, {seconds:.0f} s", flush=True)
        moments = random.Random(options.seed)
        for kind in [*["group"] * (options.kills - 2), "worker", "delivery"]:
            kill(options, strategy, killed, kind, moments)
        assert search(options, strategy, killed).wait() == 0
        return compare(record(whole), record(killed), options.trials)


def search(options: argparse.Namespace, strategy: str, run: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "netwright", "fit", options.data, "--workers", "1",
        "--strategy", strategy, "--trials", str(options.trials), "--run", str(run),
        "--objective", "accuracy", "--objective", "parameters",
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(
    options: argparse.Namespace, strategy: str, run: Path, kind: str, moments: random.Random
) -> None:
    """Starts the search, waits for its moment, kills, and prints what stands then."""
    before = ended(run)
    child = search(options, strategy, run)
    due = options.trials if kind == "delivery" else before + 1
    while child.poll() is None and ended(run) < due:
        time.sleep(0.05)
    time.sleep(moments.random() * (1.0 if kind == "delivery" else 2.0))
    over = child.poll() is not None
    if kind == "worker" and not over:
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            psutil.Process(child.pid).children(recursive=True)[-1].kill()
        child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    rows = record(run)
    running = sum(row[3] == "running" for row in rows)
    when = "after its end" if over else f"at {len(rows)} trials, {running} of them running"
    print(f"{strategy}: {kind} killed {when}", flush=True)


def ended(run: Path) -> int:
    """Trials of the search that have ended."""
    return sum(row[3] != "running" for row in record(run))


def record(run: Path) -> Record:
    """Everything of each trial of the search but what a clock measured."""
    try:
        with Store.open_read_only(run) as store:
            trials = store.trials()
    except RunError:  # not begun yet
        return []
    return [
        (
            trial.id, trial.proposal, trial.seed, str(trial.status),
            {k: v for k, v in trial.metrics.items() if k not in CLOCKS}, trial.error,
        )
        for trial in trials
        if trial.proposal.origin not in MADE
    ]  # fmt: skip


def compare(whole: Record, killed: Record, trials: int) -> int:
    """How many trials differ, up to the first whose worker was killed."""
    ids = [row[0] for row in killed]
    assert len(ids) == trials, f"{len(ids)} trials in place of {trials}"
    assert len(set(ids)) == trials, "a trial is there twice"
    struck = [i for i, row in enumerate(killed) if row[3] == "failed"]
    same = struck[0] if struck else trials
    pairs = list(zip(whole, killed, strict=True))[:same]
    different = [row[0] for row, other in pairs if row != other]
    print(
        f"killed: {trials} trials, none twice; of the first {same}, before a killed worker, "
        f"{different or 'none'} differ from the search left alone",
        flush=True,
    )
    return len(different)


if __name__ == "__main__":
    main()
