"""Report how much better each trial of a comparison is than the trial that it has to beat."""

from __future__ import annotations

import math

from netwright.automl.finished_search import OpenedSearch
from netwright.automl.image.rungs import EDIT_OF, ORIGIN, PortfolioRungsStrategy, have_same_epochs
from netwright.automl.image.validation_scores import paired_gain
from netwright.study.progress.events import Callback, Event, TrialCompared, TrialEnded
from netwright.trials.trial import Status, Trial


class PairedGains:
    """A callback that follows the trials of a comparison with an event for each of them.

    A trial is paired with the default's trial of as many epochs, and a change of another candidate
    with that one's, by the predictions that both have kept of the validation rows.

    Args:
        opened: the search whose events come.
        notify: called with the new events.
    """

    def __init__(self, opened: OpenedSearch, notify: Callback) -> None:
        self._opened, self._notify = opened, notify
        self._waiting: list[TrialEnded] = []
        self._done = [trial for trial in opened.study.trials if trial.status is Status.DONE]
        """Finished trials: those of earlier runs, then of this one, of which the study tells late."""

    def __call__(self, event: Event) -> None:
        """Compare the trials that can be paired now."""
        if not isinstance(event, TrialEnded) or event.trial.status is not Status.DONE:
            return
        trial = event.trial
        self._done.append(trial)
        if trial.candidate != self._default and trial.proposal.origin == ORIGIN:
            self._waiting.append(event)
        for waiting in tuple(self._waiting):
            if other := self._trial_to_beat(waiting.trial):
                self._waiting.remove(waiting)
                self._compare(waiting, other)

    @property
    def _default(self) -> object:
        return next(iter(self._opened.study.baselines), None)

    def _trial_to_beat(self, trial: Trial) -> Trial | None:
        """Return the trial that the candidate has to beat; None if it has not ended yet."""
        if (original := trial.proposal.note.get(EDIT_OF)) is not None:
            return next((each for each in self._done if each.id == original), None)
        epochs = trial.metrics.get("epochs", math.nan)
        same = [
            each
            for each in self._done
            if each.candidate == self._default
            and have_same_epochs(each.metrics.get("epochs", math.nan), epochs)
        ]
        return same[-1] if same else None

    def _compare(self, event: TrialEnded, other: Trial) -> None:
        study, task, trial = self._opened.study, self._opened.task, event.trial
        folders = study.trial_files(trial.id), study.trial_files(other.id)
        gain = paired_gain(task, study.objectives[0].metric, *folders)
        if gain is None:
            return
        self._notify(
            TrialCompared(
                trial,
                event.trial_label,
                other,
                "squared error" if task.kind == "regression" else "log loss",
                gain.loss,
                gain.interval,
                gain.correct if task.classes else None,
                gain.n_rows,
            )
        )


def compares_trials(opened: OpenedSearch) -> bool:
    """Return whether the search compares a portfolio of images with the default."""
    return isinstance(opened.study.strategy, PortfolioRungsStrategy)
