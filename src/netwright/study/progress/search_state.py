"""How a search stands, as far as its events tell: what displays of it have in common."""

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
    """Takes every event in turn; times are those of `time.monotonic()`.

    `stage`: what is done since `stage_begun`, None before and after all; `best` and `ended` (trials)
    are of all runs of the folder; `preparing`: how far the strategy's preparation is, in words.
    """

    def __init__(self) -> None:
        self.stage: StageStarted | None = None
        self.stage_started_at = self._begun = time.monotonic()
        self.objectives: tuple[Objective, ...] = ()
        self.best: Trial | None = None
        self.n_ended = 0
        self.preparation_progress = ""
        self._ends: float | None = None
        self._running: dict[int, tuple[RunningTrial, float]] = {}
        """Trials that run, and when that was heard of them."""

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, StageStarted):
            self.stage, self.stage_started_at = event, now
        elif isinstance(event, SearchStarted):
            self.objectives, self.best, self.n_ended = event.objectives, event.best, event.n_ended
            self._begun, self._ends = now, None if event.seconds is None else now + event.seconds
        elif isinstance(event, TrialStarted):
            self._running[event.trial.id] = RunningTrial(event.trial, event.trial_name, 0.0), now
        elif isinstance(event, Tick):
            self._begun, self.preparation_progress, self.n_ended = (
                now - event.seconds,
                event.preparation_progress,
                event.n_ended,
            )
            self._running = {each.trial.id: (each, now) for each in event.running}
        elif isinstance(event, TrialEnded):
            self._running.pop(event.trial.id, None)
            self.n_ended += 1
            self.best = event.trial if event.is_best else self.best
        elif isinstance(event, ModelDelivered):
            self.stage = None
        if isinstance(event, Tick | TrialEnded):
            self._ends = None if event.seconds_left is None else now + event.seconds_left

    @property
    def seconds_left(self) -> float | None:
        """Until the search ends; None where that is unknown."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    @property
    def fraction_done(self) -> float:
        """The part of the search's time that is over; 0 where its end is unknown."""
        if self._ends is None:
            return 0.0
        return (time.monotonic() - self._begun) / max(self._ends - self._begun, 1e-9)

    @property
    def running(self) -> list[RunningTrial]:
        """The trials that run, with their seconds until now, the longest first."""
        now = time.monotonic()
        running = [
            replace(each, seconds=each.seconds + now - heard)
            for each, heard in tuple(self._running.values())
        ]
        return sorted(running, key=lambda each: -each.seconds)
