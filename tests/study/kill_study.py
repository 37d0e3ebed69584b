"""Kill a study at random moments, go on, and compare with a study that was left alone.

``python tests/study/kill_study.py 10`` kills ten times; the test does so a few times. The study
runs in a child (``kill_study.py study KIND FOLDER TRIALS``), with its whole process group killed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netwright.files.run_layout import DATABASE
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.study.storage.store import Store
from netwright.study.study import Study
from netwright.trials.objective import Objective

sys.path.insert(0, str(Path(__file__).parent))
from study_tools import Heirs, Hill

PACE = 0.04
"""Seconds a trial."""


def study(folder: Path, kind: str) -> Study[dict[str, int]]:
    """`kind` "heirs": a search whose children need what their parents have left."""
    space = Space({"x": Integer(0, 99), "y": Integer(0, 99)})
    loss, cost = Objective("loss", "min"), Objective("cost", "min")
    if kind == "heirs":
        strategy = RegularizedEvolution(population=6)
        heirs = Heirs(parents_kept=2, seconds=PACE)
        return Study(space, heirs, strategy=strategy, objectives=[loss], run=folder, seed=7)
    return Study(space, Hill(PACE), objectives=[loss, cost], run=folder, seed=7)


def record(folder: Path) -> list[tuple[object, ...]]:
    """All that must be bit-equal: everything but the seconds."""
    with Store.open_read_only(folder) as store:
        return [
            (trial.id, trial.proposal, trial.seed, trial.status, dict(trial.metrics), trial.error)
            for trial in store.trials()
        ]


def kill_and_go_on(folder: Path, kind: str, trials: int, kills: int, seed: int) -> int:
    """Starts the study and kills it at a random moment, `kills` times; then lets it finish."""
    moments = random.Random(seed)
    done = 0
    for _ in range(kills):
        child = _start(folder, kind, trials)
        time.sleep(0.3 + moments.random() * 0.6)
        done += child.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert _start(folder, kind, trials).wait() == 0
    return done


def _start(folder: Path, kind: str, trials: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "study", kind, str(folder), str(trials)]
    return subprocess.Popen(command, start_new_session=True)


def compare(kills: int, seed: int = 0, kind: str = "plain") -> tuple[int, int]:
    """(times killed before the end, trials); AssertionError when the killed study differs."""
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        trials = 10 + 12 * kills
        study(whole, kind).run(trials=trials)
        done = kill_and_go_on(killed, kind, trials, kills, seed)
        assert record(killed) == record(whole)
        assert (killed / DATABASE).exists()
        return done, len(record(whole))


if __name__ == "__main__":
    if sys.argv[1] == "study":
        study(Path(sys.argv[3]), sys.argv[2]).run(trials=int(sys.argv[4]))
    else:
        killed, trials = compare(int(sys.argv[1]), int(time.time()), *sys.argv[2:])
        print(f"killed {killed} times before the end: the same {trials} trials as left alone")
