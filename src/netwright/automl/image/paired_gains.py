"""Report how much better each trial of a comparison is than the default, on the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netwright.automl.finished_search import OpenedSearch
from netwright.automl.image.validation_scores import validation_scores
from netwright.study.progress.events import Callback, Event, TrialCompared, TrialEnded
from netwright.trials.trial import Status, Trial

_Z_OF_INTERVAL = 1.96
"""Standard errors on each side of a mean in its 95 % interval."""


class PairedGains:
    """A callback that follows the trials of a comparison with an event for each of them.

    A trial is paired with the default's trial of as many epochs, by the predictions that both have
    kept of the validation rows.

    Args:
        opened: the search whose events come.
        notify: called with the new events.
    """

    def __init__(self, opened: OpenedSearch, notify: Callback) -> None:
        self._opened, self._notify = opened, notify
        self._default_trials: list[Trial] = []
        self._waiting: list[Trial] = []

    def __call__(self, event: Event) -> None:
        """Compare the trials that can be paired now."""
        if not isinstance(event, TrialEnded) or event.trial.status is not Status.DONE:
            return
        trial, baselines = event.trial, self._opened.study.baselines
        if baselines and trial.candidate == baselines[0]:
            self._default_trials.append(trial)
        else:
            self._waiting.append(trial)
        for other in tuple(self._waiting):
            if default := self._default_trial_of(other):
                self._waiting.remove(other)
                self._compare(other, default)

    def _default_trial_of(self, trial: Trial) -> Trial | None:
        """Return the default's last trial of as many epochs, under a deadline or not."""
        epochs = trial.metrics.get("epochs")
        same = [t for t in self._default_trials if t.metrics.get("epochs") == epochs]
        return same[-1] if same else None

    def _compare(self, trial: Trial, default: Trial) -> None:
        losses, of_default = self._losses(trial), self._losses(default)
        if losses is None or of_default is None or len(losses) < 2:
            return
        gains = of_default - losses
        interval = _Z_OF_INTERVAL * gains.std(ddof=1) / np.sqrt(len(gains))
        loss_name = "squared error" if self._opened.task.kind == "regression" else "log loss"
        rate = trial.metrics.get("rows_per_second", 0.0)
        self._notify(
            TrialCompared(
                trial, default, loss_name, float(gains.mean()), float(interval), len(gains), rate
            )
        )

    def _losses(self, trial: Trial) -> NDArray[np.float64] | None:
        task = self._opened.task
        folder = self._opened.study.trial_files(trial.id)
        scores = validation_scores(folder, task, task.validation)
        return None if scores is None else scores.losses
