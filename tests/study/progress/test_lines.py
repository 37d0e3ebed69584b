"""Progress lines: where they are printed, what they say, and that no silence is long."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from study_tools import Hill, wait_for

from netwright.errors import InfeasibleCandidate
from netwright.space.candidate import Candidate
from netwright.study.progress import lines as progress
from netwright.study.progress.events import (
    ModelDelivered,
    PreparationEnded,
    RunningTrial,
    SearchStarted,
    StageStarted,
    Tick,
    TrialEnded,
)
from netwright.study.progress.lines import ProgressLines, is_watched
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Metrics, Proposal, Status, Trial

AUC = Objective("auc", "max")
TRIAL = Trial(7, Proposal(Candidate({})), 0, Status.DONE, {"auc": 0.93241, "folds": 5.0}, 3.42)

SCRIPT = f"""
import multiprocessing, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from study_tools import Hill
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.study.workers.executors import InProcess
from netwright.study.study import Study

def search(trials):
    space = Space({{"x": Integer(0, 99), "y": Integer(0, 99)}})
    Study(space, Hill(), objectives="loss:min", executor=InProcess()).run(trials=trials)

if __name__ == "__main__":
    search(2)
    child = multiprocessing.get_context("fork").Process(target=search, args=(3,))
    child.start()
    child.join()
    assert child.exitcode == 0
"""


def lines_of(text: str) -> list[str]:
    return [re.sub(r"^netwright \d+:\d\d  ", "", line) for line in text.splitlines()]


def outside_of_tests() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def test_a_terminal_gets_lines_and_a_child_process_none(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stderr=terminal, env=outside_of_tests(), cwd=tmp_path) as script:
        os.close(terminal)
        shown = b""
        while part := _read(master):
            shown += part
    os.close(master)
    assert script.returncode == 0
    lines = lines_of(shown.decode())
    assert lines[0] == "optimising loss for 2 trials"
    assert lines[1].startswith("trial 1: loss ")
    assert ", new best, " in lines[1]
    assert "3 trials" not in shown.decode()  # the child's
    assert b"\x1b" not in shown


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # the other end is closed
        return b""


def test_nothing_is_printed_into_a_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    script = subprocess.run(
        command, env=outside_of_tests(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert script.stdout + script.stderr == ""


def test_tests_print_nothing_even_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)
    assert not is_watched()
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert is_watched()


@pytest.mark.parametrize(
    ("shell", "watched"),
    [(SimpleNamespace(kernel=object()), True), (SimpleNamespace(), False), (None, False)],
    ids=["notebook", "terminal of IPython", "no shell"],
)
def test_notebook_is_recognised_by_its_kernel(
    monkeypatch: pytest.MonkeyPatch, shell: object, watched: bool
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr(progress, "_is_terminal", lambda: False)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    assert is_watched() == watched


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_missing_stderr_is_not_watched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stderr: str | None
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    if stderr:
        with (tmp_path / "closed").open("w") as file:
            pass
        monkeypatch.setattr(sys, "stderr", file)
    else:
        monkeypatch.setattr(sys, "stderr", None)
    assert not is_watched()
    lines = ProgressLines()
    lines(SearchStarted((AUC,), None, 3))  # writes nowhere, and raises nothing
    lines.close()


def test_ipython_is_not_imported() -> None:
    code = (
        "import sys; from netwright.study.progress.lines import is_watched; is_watched(); "
        "assert 'IPython' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_verbose_prints_each_new_best_and_the_time_left(
    space: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(space, Hill(), objectives="loss:min", executor=InProcess())
    study.run(trials=12, verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    best = [line for line in lines_of(err) if ", new best, " in line]
    losses = [float(line.split()[3].rstrip(",").replace(",", "")) for line in best]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(study.best.metrics["loss"] if study.best else 0, rel=1e-3)
    assert all(re.search(r", 0:\d\d left, ", line) for line in best)
    assert max(map(len, err.splitlines())) < 100


def test_no_verbose_prints_nothing(space: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, 0, "auto"):
        study = Study(space, Hill(), objectives="loss:min", executor=InProcess())
        study.run(trials=2, verbose=verbose)
    assert capsys.readouterr() == ("", "")


def test_a_failed_trial_is_named_in_one_line(
    space: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Breaks:
        metrics = ("loss",)

        def __call__(self, job: Job) -> Metrics:
            if job.folder.name == "1":
                raise OSError("no such\nfile \x1b[2J")
            if job.folder.name == "2":
                raise InfeasibleCandidate("too large")
            return {"loss": 1.0}

    study = Study(space, Breaks(), objectives="loss:min", executor=InProcess())
    study.run(trials=3, verbose=True)
    err = capsys.readouterr().err
    assert "\x1b" not in err
    first, second, third = lines_of(err)
    assert first == "optimising loss for 3 trials"
    assert second.startswith(r"trial 1: failed: OSError: no such\nfile \x1b[2J (test_lines.py")
    assert third.startswith("trial 3: loss 1, new best")


class Fast:
    """Lines whose thread looks often, and finds every stage long."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.lines, self.capsys, self.text = ProgressLines(), capsys, ""

    def until(self, text: str) -> None:
        """Wait until it is printed."""

        def shown() -> bool:
            self.text += self.capsys.readouterr().err
            return text in self.text

        wait_for(shown)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Fast]:
    monkeypatch.setattr(progress, "_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_LONG_STAGE_SECONDS", 0.0)
    fast = Fast(capsys)
    yield fast
    fast.lines.close()


def test_a_stage_that_lasts_is_named_once(fast: Fast, capsys: pytest.CaptureFixture[str]) -> None:
    fast.lines(StageStarted("reading", "adult.csv"))
    fast.lines(SearchStarted((AUC,), 51.2, None, 3))
    fast.lines(StageStarted("starting", "2 workers"))
    fast.until("starting 2 workers\n")
    fast.lines(StageStarted("searching"))
    fast.lines(Tick(5.0, (RunningTrial(TRIAL, "lightgbm", 4.2),), n_ended=3, seconds_left=35.0))
    fast.until("now: lightgbm 4 s\n")
    fast.lines(TrialEnded(TRIAL, "lightgbm", True, True, 35.0))
    fast.lines(PreparationEnded(("The supernet is trained.",)))
    fast.lines(StageStarted("exporting", "trial 7"))
    fast.until("exporting trial 7\n")
    fast.lines(ModelDelivered(TRIAL, "lightgbm"))
    fast.lines.close()
    assert lines_of(fast.text + capsys.readouterr().err) == [
        "reading adult.csv",
        "optimising auc for 51 s, resumed after 3 trials",
        "starting 2 workers",
        "3 trials, 0:35 left, now: lightgbm 4 s",
        "trial 7: auc .9324, new best, 0:35 left, 3.4 s, lightgbm",
        "The supernet is trained.",
        "exporting trial 7",
        "delivered trial 7: auc .9324, 3.4 s, lightgbm",
    ]


def test_running_trials_are_shown_after_silence(
    fast: Fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_MAX_SILENCE_SECONDS", (0.02, 0.02))
    fast.lines(SearchStarted((AUC,), None, 9, best=TRIAL))
    fast.lines(StageStarted("searching"))
    running = (RunningTrial(TRIAL, "tabm", 2.0), RunningTrial(TRIAL, "lightgbm", 61.0))
    fast.lines(Tick(5.0, running[:1], n_ended=1))
    fast.until("1 trial, best auc .9324, now: tabm 2 s\n")
    fast.lines(Tick(5.0, (), "epoch 3 of 50", n_ended=1))
    fast.until("epoch 3 of 50, 1 trial, best auc .9324\n")
    assert progress.format_running(running * 2) == "lightgbm 61 s, lightgbm 61 s, tabm 2 s, ..."


def test_silence_stays_below_a_minute() -> None:
    assert max(progress._MAX_SILENCE_SECONDS) <= 30
