"""Each trial of a comparison is followed by its paired gain over the default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from netwright.automl.finished_search import OpenedSearch
from netwright.automl.image.paired_gains import PairedGains
from netwright.automl.image.rungs import EDIT_OF, ORIGIN
from netwright.data.task import Task
from netwright.files.folder import Folder
from netwright.files.run_layout import VALIDATION
from netwright.space.candidate import Candidate, Value
from netwright.study.progress.events import Event, TrialCompared, TrialEnded
from netwright.trials.objective import Objective
from netwright.trials.trial import Proposal, Status, Trial

DEFAULT, OTHER = Candidate({"x": 0}), Candidate({"x": 1})


class Search:
    """Events of ended trials, whose predictions give the true class these probabilities."""

    def __init__(self, task: Task, run: Path) -> None:
        self._task, self._run = task, run
        self.trials: list[Trial] = []
        self.objective = Objective("accuracy", "max")
        study = SimpleNamespace(
            baselines=[DEFAULT],
            trials=[],  # as of a study that runs: those of this run come at its end
            objectives=[self.objective],
            trial_files=lambda trial_id: Folder(run / str(trial_id)),
        )
        opened = cast("OpenedSearch", SimpleNamespace(study=study, task=task))
        self.events: list[Event] = []
        self.gains = PairedGains(opened, self.events.append)

    def end(
        self,
        candidate: Candidate,
        p: Any,
        epochs: float,
        note: Mapping[str, Value] | None = None,
        origin: str = ORIGIN,
        **metrics: float,
    ) -> None:
        folder = self._run / str(len(self.trials) + 1)
        folder.mkdir()
        truth = self._task.target[self._task.validation]
        probabilities = np.repeat(((1 - p * np.ones(len(truth))) / 2)[:, None], 3, axis=1)
        probabilities[np.arange(len(truth)), truth] = p
        np.save(folder / VALIDATION, probabilities)
        metrics = {"epochs": epochs} | metrics
        proposal = Proposal(candidate, origin=origin, note=note or {})
        trial = Trial(len(self.trials) + 1, proposal, 0, Status.DONE, metrics)
        self.trials.append(trial)
        self.gains(TrialEnded(trial, f"x {candidate.values['x']}", on_front=False))

    @property
    def compared(self) -> list[TrialCompared]:
        return [event for event in self.events if isinstance(event, TrialCompared)]


@pytest.fixture
def search(image_task: Task, tmp_path: Path) -> Search:
    return Search(image_task, tmp_path)


def test_gain_is_the_mean_decrease_of_the_loss_with_its_interval(search: Search) -> None:
    n = len(search._task.validation)
    p = np.linspace(0.2, 0.8, n)
    search.end(DEFAULT, 0.3, 2.0)
    assert search.compared == []
    search.end(OTHER, p, 2.0, rows_per_second=1234.5)
    (event,) = search.compared
    gains, n_correct = np.log(p) - np.log(0.3), int((p > 1 / 3).sum())
    assert (event.trial.id, event.other.id, event.n_rows) == (2, 1, n)
    assert event.gain == pytest.approx(gains.mean())
    assert event.interval == pytest.approx(1.96 * gains.std(ddof=1) / np.sqrt(n))
    assert event.correct == n_correct
    assert str(event).startswith("trial 2 against 1: log loss .")
    assert str(event).endswith(f"lower, {n_correct} more of {n} rows correct, 1,234 images/s, x 1")


def test_worse_trial_has_a_higher_loss(search: Search) -> None:
    search.end(DEFAULT, 0.8, 2.0)
    search.end(OTHER, 0.3, 2.0)
    assert search.compared[0].gain == pytest.approx(np.log(0.3) - np.log(0.8))
    n = len(search._task.validation)
    assert f"log loss .981 ± .000 higher, {n} fewer of {n} rows" in str(search.compared[0])


def test_trial_waits_for_the_default_of_as_many_epochs(search: Search) -> None:
    search.end(DEFAULT, 0.4, 1.0)
    search.end(OTHER, 0.5, 2.0)
    search.end(OTHER, 0.5, 4.0)
    assert search.compared == []
    search.end(DEFAULT, 0.4, 2.0)
    assert [(event.trial.id, event.other.id) for event in search.compared] == [(2, 4)]
    search.end(DEFAULT, 0.4, 3.5)  # cut off
    assert len(search.compared) == 1
    search.end(DEFAULT, 0.4, 4.0)
    assert [(event.trial.id, event.other.id) for event in search.compared[1:]] == [(3, 6)]


def test_edit_is_compared_with_its_original(search: Search) -> None:
    search.end(DEFAULT, 0.4, 2.0)
    search.end(OTHER, 0.5, 2.0)
    search.end(Candidate({"x": 2}), 0.6, 2.0, {EDIT_OF: 2})
    assert [(event.trial.id, event.other.id) for event in search.compared] == [(2, 1), (3, 2)]


def test_trials_of_an_earlier_run_are_compared_with(search: Search, image_task: Task) -> None:
    search.end(DEFAULT, 0.4, 2.0)
    study = search.gains._opened.study
    study.trials = search.trials
    resumed = cast("OpenedSearch", SimpleNamespace(study=study, task=image_task))
    search.gains = PairedGains(resumed, search.events.append)
    search.end(OTHER, 0.5, 2.0)
    assert len(search.compared) == 1


def test_trial_without_predictions_or_of_a_strategy_is_not_compared(
    search: Search, tmp_path: Path
) -> None:
    search.end(DEFAULT, 0.4, 2.0)
    search.end(OTHER, 0.5, 2.0, origin="random")
    (tmp_path / "1" / VALIDATION).unlink()
    search.end(OTHER, 0.5, 2.0)
    assert search.compared == []
