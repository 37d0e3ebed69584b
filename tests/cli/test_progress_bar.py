"""The bar of `fit`: what is being done, what runs now, within 80 columns."""

from __future__ import annotations

import time
from typing import Any

import pytest

from netwright.automl.search_budget import SearchBudget
from netwright.cli.progress import FitProgress
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.study.progress.events import (
    RunningTrial,
    SearchStarted,
    StageStarted,
    Tick,
    TrialEnded,
    TrialStarted,
)
from netwright.study.study import Study
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Metrics, Proposal, Status, Trial


class Evaluator:
    metrics = ("balanced_accuracy",)

    def __call__(self, job: Job) -> Metrics:
        return {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the bar sees it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def trial(number: int, **metrics: float) -> Trial:
    return Trial(number, Proposal(Candidate({"x": number})), 0, Status.DONE, metrics, 3.0)


def study() -> Study[Any]:
    return Study(Space({"x": Integer(0, 99)}), Evaluator(), objectives="balanced_accuracy")


def bar(progress: FitProgress) -> list[str]:
    return progress._status().plain.split("\n")


def test_status_shows_the_stage_with_its_seconds(clock: list[float]) -> None:
    shown = FitProgress(SearchBudget(60))
    shown(StageStarted("reading", "adult.csv"))
    clock[0] += 3
    assert bar(shown) == [" reading    adult.csv  3 s"]
    shown.with_study(study())(StageStarted("starting", "2 workers"))
    assert bar(shown) == [" starting   2 workers  0 s"]
    shown(StageStarted("reading", "a/long/path/" * 20))
    assert len(bar(shown)[0]) < 80
    assert bar(shown)[0].endswith("  0 s")


def test_status_shows_the_time_left_of_the_final_training(clock: list[float]) -> None:
    shown = FitProgress(SearchBudget(60)).with_study(study())
    shown(StageStarted("training", "the final model: 3 conv 16"))
    clock[0] += 2
    running = (RunningTrial(trial(2), "3 conv 16", 2.0),)
    shown(Tick(2.0, running, "", 1, seconds_left=31.0))
    assert bar(shown) == [" training   the final model: 3 conv 16  2 s, 0:31 left"]
    shown(Tick(2.0, running, "", 1, seconds_left=None))
    assert bar(shown) == [" training   the final model: 3 conv 16  2 s"]


def test_status_shows_running_trials_before_the_first_ends(clock: list[float]) -> None:
    shown = FitProgress(SearchBudget(60)).with_study(study())
    shown(SearchStarted((Objective("balanced_accuracy", "max"),), 51.6, None))
    shown(StageStarted("searching"))
    shown(TrialStarted(trial(1), "lightgbm"))
    clock[0] += 4
    assert bar(shown) == [
        " searching  ━━╸─────────────────────  0 trials, 0:48 left", " running    trial 1 lightgbm 4 s",
    ]  # fmt: skip


def test_longest_running_trial_comes_first_within_80_columns(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = FitProgress(SearchBudget(60)).with_study(study())
    running = tuple(RunningTrial(trial(n), "conv 16, 2 residual", float(n)) for n in (8, 9, 7))
    shown(Tick(30.0, running, n_ended=6, seconds_left=20.0))
    shown(StageStarted("searching"))
    shown(TrialEnded(trial(6, balanced_accuracy=0.93241), "conv 8", True, True, 20.0))
    assert "*     6" in capsys.readouterr().out
    first, second = bar(shown)
    assert first.endswith("  7 trials, best balanced_accuracy .9324, 0:20 left")
    assert second == " running    trial 9 conv 16, 2 residual 9 s, trial 8 conv 16, 2 residual 8 s"
    assert max(map(len, (first, second))) < 80


def test_best_partial_trial_is_printed(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = FitProgress(SearchBudget(60)).with_study(study())
    partial = Trial(
        1, Proposal(Candidate({"x": 1}), 0.2), 0, Status.DONE, {"balanced_accuracy": 0.9}, 3.0
    )
    shown(TrialEnded(partial, "x 1 at 20 %", on_front=False, is_best=True))
    assert "at 20 %" in capsys.readouterr().out
    shown(TrialEnded(trial(2, balanced_accuracy=0.8), "x 2", on_front=False))
    assert capsys.readouterr().out == ""
