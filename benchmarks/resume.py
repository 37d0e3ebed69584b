"""A real search, killed with `kill -9` again and again, beside the same search left alone.

    python benchmarks/resume.py --kills 10 --trials 40

Both run ``netwright fit DATA --trials N --workers 1`` with accuracy and parameters as objectives.
The one is killed with its whole process group at random moments and started again by the same
line. In the end each has N trials, none twice, and they are the same: candidates, seeds, statuses
and every metric that no clock measures.
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

from netwright.study.store import Store

CLOCKS = {"train_seconds"}
Record = list[tuple[object, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="breast_cancer")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        whole, killed = Path(place) / "whole", Path(place) / "killed"
        start = time.monotonic()
        assert search(options, whole).wait() == 0
        alone = time.monotonic() - start
        print(f"left alone: {len(record(whole))} trials, {alone:.0f} s")
        kill_and_go_on(options, killed, alone)
        compare(record(whole), record(killed), options.trials)


def search(options: argparse.Namespace, run: Path) -> subprocess.Popen[bytes]:
    command = [
        str(Path(sys.executable).with_name("netwright")), "fit", options.data, "--workers", "1",
        "--trials", str(options.trials), "--run", str(run),
        "--objective", "accuracy", "--objective", "parameters",
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def kill_and_go_on(options: argparse.Namespace, run: Path, alone: float) -> None:
    """Kills at moments spread over the time that the search takes when left alone."""
    moments = random.Random(options.seed)
    for number in range(1, options.kills + 1):
        child = search(options, run)
        time.sleep(5 + moments.random() * 2 * alone / options.kills)
        ended = child.poll() is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        found = record(run) if (run / "study.sqlite").exists() else []
        running = sum(row[3] == "running" for row in found)
        when = "after its end" if ended else f"at {len(found)} trials, {running} of them running"
        print(f"kill {number}: {when}")
    assert search(options, run).wait() == 0


def record(run: Path) -> Record:
    """Everything of each trial but what a clock measured."""
    with Store.read(run) as store:
        return [
            (
                one.id, one.proposal, one.seed, str(one.status),
                {k: v for k, v in one.metrics.items() if k not in CLOCKS}, one.error,
            )
            for one in store.trials()
        ]  # fmt: skip


def compare(whole: Record, killed: Record, trials: int) -> None:
    ids = [row[0] for row in killed]
    print(f"killed: {len(ids)} trials, {len(ids) - len(set(ids))} twice")
    assert ids == list(range(1, trials + 1))
    different = [row[0] for row, other in zip(whole, killed, strict=True) if row != other]
    print(f"trials that differ from those of the search left alone: {different or 'none'}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
