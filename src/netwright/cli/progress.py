"""What `fit` shows while it works: trials as they come, above a bar that says what is being done."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from textwrap import wrap
from typing import Any

from rich.text import Text

from netwright.automl.plan import Effort
from netwright.cli import screen
from netwright.cli.screen import say
from netwright.errors import plural, shortened
from netwright.report.tables import row
from netwright.study.events import (
    Event,
    Prepared,
    RunningTrial,
    SearchStarted,
    StageStarted,
    Tick,
    TrialEnded,
    TrialStarted,
)
from netwright.study.study import Study
from netwright.trials.formats import clock, value
from netwright.trials.trial import BASELINE, Status, Trial

_WIDTH = 79
_BAR_WIDTHS = 4, 24
_NAME_WIDTH = 40
"""A trial's name in the bar: more than one has room below the bar."""


class Progress:
    """Prints trials that advance the front, above a bar with the best so far and the time left."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._study: Study[Any] | None = None
        self._stage, self._stage_begun = StageStarted("reading"), time.monotonic()
        self._ended = 0
        self._best: Trial | None = None
        self._start = time.monotonic()
        """When the search would have begun, had all of its runs been one."""
        self._preparing = ""
        self._running: dict[int, tuple[RunningTrial, float]] = {}
        """Trials that run, and when that was heard of them."""
        self._headed = False

    def of(self, study: Study[Any]) -> Progress:
        """Itself, once there is a study whose trials it can describe."""
        self._study = study
        return self

    def shown(self, quiet: bool = False) -> AbstractContextManager[None]:
        """While this lasts, the bar stands below what is printed, if that is a terminal."""
        return nullcontext() if quiet else screen.status(self._bar)

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, StageStarted):
            self._stage, self._stage_begun = event, now
        elif isinstance(event, SearchStarted):
            self._ended, self._best = event.ended, event.best
        elif isinstance(event, TrialStarted):
            self._running[event.trial.id] = RunningTrial(event.trial, event.what, 0.0), now
        elif isinstance(event, Tick):
            self._start = now - event.seconds
            self._preparing, self._ended = event.preparing, event.ended
            self._running = {each.trial.id: (each, now) for each in event.running}
        elif isinstance(event, Prepared):
            for sentence in event.says:
                for line in wrap(sentence, 77, initial_indent="  ", subsequent_indent="    "):
                    say(line)
        elif isinstance(event, TrialEnded):
            self._end(event)

    def _end(self, event: TrialEnded) -> None:
        self._ended += 1
        trial = event.trial
        self._running.pop(trial.id, None)
        self._best = trial if event.is_best else self._best
        is_baseline = trial.proposal.origin == BASELINE
        if event.on_front or event.is_best or is_baseline or trial.status is Status.FAILED:
            self._print(trial, event.on_front)

    def _print(self, trial: Trial, on_front: bool) -> None:
        assert self._study is not None  # its trial has ended
        objectives = self._study.objectives
        shown = row(trial, self._study.space.fill, on_front)
        lines = screen.lines([shown], screen.columns(objectives, {}), objectives)
        for line in lines if not self._headed else lines[1:]:
            say(line)
        self._headed = True

    def _bar(self) -> Text:
        """The stage and for how long; of a search the share that is done, and what runs now."""
        now = time.monotonic()
        stage, best = self._stage, self._best_so_far()
        if self._preparing:
            return Text(shortened(f" supernet   {self._preparing}{best}", _WIDTH))
        if stage.stage != "searching" or self._study is None:
            line = f" {stage.stage:<11}{stage.detail}"
            seconds = f"  {now - self._stage_begun:.0f} s"
            return Text(shortened(line, _WIDTH - len(seconds)) + seconds)
        share, left = self._share(now)
        begin, end = " searching  ", f"  {plural(self._ended, 'trial')}{best}{left}"
        width = max(_BAR_WIDTHS[0], min(_BAR_WIDTHS[1], _WIDTH - len(begin) - len(end)))
        return Text("\n".join([f"{begin}{screen.bar(share, width)}{end}", *self._now(now)]))

    def _best_so_far(self) -> str:
        if self._best is None or self._study is None:
            return ""
        name = self._study.objectives[0].metric
        return f", best {name} {value(name, self._best.metrics)}"

    def _share(self, now: float) -> tuple[float, str]:
        """What is done of the search, and the time left in words."""
        used, share, left = now - self._start, 0.0, ""
        if self._effort.search_seconds:
            share = used / self._effort.search_seconds
            left = f", {clock(self._effort.search_seconds - used)} left"
        if self._effort.trials:
            share = max(share, self._ended / self._effort.trials)
            if not left and self._ended:
                to_go = used / self._ended * (self._effort.trials - self._ended)
                left = f", about {clock(to_go)} left"
        return share, left

    def _now(self, now: float) -> list[str]:
        """``now: trial 7 lightgbm 4 s``: as many trials as a line has room for."""
        line = ""
        running = [(heard - each.seconds, each) for each, heard in tuple(self._running.values())]
        for begun, each in sorted(running, key=lambda pair: pair[0]):
            name = shortened(each.what, _NAME_WIDTH)
            part = f"trial {each.trial.id} {name} {now - begun:.0f} s"
            if line and len(line) + len(part) > _WIDTH - 2:
                break
            line += (", " if line else " now        ") + part
        return [line] if line else []
