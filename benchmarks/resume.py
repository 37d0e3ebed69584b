"""Compare searches that are killed repeatedly with `kill -9` with undisturbed ones.

    python benchmarks/resume.py --strategies bayesian,evolution,ppo,asha,drnas --kills 6 --trials 24

Each runs ``netwright fit DATA --trials N --workers 1`` with accuracy and parameters as objectives.
One of them is killed and restarted with the same command; each kill comes after at least one more
trial has finished. The last kill but one hits the worker alone, the last one the delivery (after the
last trial has ended), all others the whole process group. In the end both have N trials, none
twice, and they are equal: candidates, seeds, statuses and every metric that no clock measures. A
trial whose worker was killed has failed; it and all later trials are left out of the comparison.
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
    """Return the number of trials that differ."""
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, killed = Path(folder) / "whole", Path(folder) / "killed"
        start = time.monotonic()
        assert search(options, strategy, undisturbed).wait() == 0
        seconds = time.monotonic() - start
        print(
            f"{strategy} left alone: {len(record(undisturbed))} trials, {seconds:.0f} s", flush=True
        )
        delays = random.Random(options.seed)
        for kind in [*["group"] * (options.kills - 2), "worker", "delivery"]:
            kill(options, strategy, killed, kind, delays)
        assert search(options, strategy, killed).wait() == 0
        return compare(record(undisturbed), record(killed), options.trials)


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
    options: argparse.Namespace, strategy: str, run: Path, kind: str, delays: random.Random
) -> None:
    """Start the search, kill it at a random moment, and print its state."""
    before = ended(run)
    child = search(options, strategy, run)
    kill_after = options.trials if kind == "delivery" else before + 1
    while child.poll() is None and ended(run) < kill_after:
        time.sleep(0.05)
    time.sleep(delays.random() * (1.0 if kind == "delivery" else 2.0))
    has_ended = child.poll() is not None
    if kind == "worker" and not has_ended:
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            psutil.Process(child.pid).children(recursive=True)[-1].kill()
        child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    rows = record(run)
    running = sum(row[3] == "running" for row in rows)
    when = "after its end" if has_ended else f"at {len(rows)} trials, {running} of them running"
    print(f"{strategy}: {kind} killed {when}", flush=True)


def ended(run: Path) -> int:
    """Return the number of ended trials of the search."""
    return sum(row[3] != "running" for row in record(run))


def record(run: Path) -> Record:
    """Return the trials of the search without metrics that a clock measures."""
    try:
        with Store.open_read_only(run) as store:
            trials = store.trials()
    except RunError:  # not started yet
        return []
    return [
        (
            trial.id, trial.proposal, trial.seed, str(trial.status),
            {k: v for k, v in trial.metrics.items() if k not in CLOCKS}, trial.error,
        )
        for trial in trials
        if trial.proposal.origin not in MADE
    ]  # fmt: skip


def compare(undisturbed: Record, killed: Record, trials: int) -> int:
    """Return the number of trials that differ, up to the first whose worker was killed."""
    ids = [row[0] for row in killed]
    assert len(ids) == trials, f"{len(ids)} trials in place of {trials}"
    assert len(set(ids)) == trials, "a trial is there twice"
    failed = [i for i, row in enumerate(killed) if row[3] == "failed"]
    n_compared = failed[0] if failed else trials
    pairs = list(zip(undisturbed, killed, strict=True))[:n_compared]
    different = [row[0] for row, other in pairs if row != other]
    print(
        f"killed: {trials} trials, none twice; of the first {n_compared}, before a killed worker, "
        f"{different or 'none'} differ from the search left alone",
        flush=True,
    )
    return len(different)


if __name__ == "__main__":
    main()
