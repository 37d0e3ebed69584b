"""The state of a search, assembled from its events for displays of progress."""

from __future__ import annotations

import time
from dataclasses import replace

from netwright.study.progress.events import (
    Event,
    ModelDelivered,
    RunningTrial,
    SearchStarted,
    StageStarted,
    Tick,
    TrialEnded,
    TrialStarted,
)
from netwright.trials.objective import Objective
from netwright.trials.trial import Trial


class SearchState:
    """The state of a search, updated by calling it with each event; times are `time.monotonic()`.

    Attributes:
        stage: the current stage, since `stage_started_at`; None before the first and after the last.
        objectives: metrics to optimise; empty before the search starts.
        best: the best trial of all runs of the folder, or None.
        n_ended: trials that have ended, of all runs.
        preparation_progress: of the strategy's preparation, in a few words.
    """

    def __init__(self) -> None:
        self.stage: StageStarted | None = None
        self.stage_started_at = self._started_at = time.monotonic()
        self.objectives: tuple[Objective, ...] = ()
        self.best: Trial | None = None
        self.n_ended = 0
        self.preparation_progress = ""
        self._ends_at: float | None = None
        self._running: dict[int, tuple[RunningTrial, float]] = {}
        """Trial id -> the running trial, and when the event with its seconds came."""

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, StageStarted):
            self.stage, self.stage_started_at = event, now
        elif isinstance(event, SearchStarted):
            self.objectives, self.best, self.n_ended = event.objectives, event.best, event.n_ended
            self._started_at = now
            self._ends_at = None if event.seconds is None else now + event.seconds
        elif isinstance(event, TrialStarted):
            self._running[event.trial.id] = RunningTrial(event.trial, event.trial_label, 0.0), now
        elif isinstance(event, Tick):
            self._started_at = now - event.seconds
            self.preparation_progress, self.n_ended = event.preparation_progress, event.n_ended
            self._running = {running.trial.id: (running, now) for running in event.running}
        elif isinstance(event, TrialEnded):
            self._running.pop(event.trial.id, None)
            self.n_ended += 1
            self.best = event.trial if event.is_best else self.best
        elif isinstance(event, ModelDelivered):
            self.stage = None
        if isinstance(event, Tick | TrialEnded):
            self._ends_at = None if event.seconds_left is None else now + event.seconds_left

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the search ends, or None if unknown."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())

    @property
    def fraction_done(self) -> float:
        """Share of the search's time that is over; 0 if its end is unknown."""
        if self._ends_at is None:
            return 0.0
        return (time.monotonic() - self._started_at) / max(self._ends_at - self._started_at, 1e-9)

    @property
    def running(self) -> list[RunningTrial]:
        """The running trials with their seconds until now, longest first."""
        now = time.monotonic()
        running = [
            replace(trial, seconds=trial.seconds + now - event_at)
            for trial, event_at in tuple(self._running.values())
        ]
        return sorted(running, key=lambda trial: -trial.seconds)
