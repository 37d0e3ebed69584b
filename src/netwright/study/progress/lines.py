"""Progress as plain lines on stderr: the current stage, each new best, the time left."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from threading import Event as Flag
from threading import RLock, Thread

from netwright.errors import plural, printable
from netwright.study.progress.events import (
    Event,
    ModelDelivered,
    PreparationEnded,
    RunningTrial,
    SearchStarted,
    StageStarted,
    Tick,
    TrialCompared,
    TrialEnded,
    TrialStarted,
)
from netwright.study.progress.search_state import SearchState
from netwright.trials.formats import format_duration, format_metric
from netwright.trials.trial import Status

_CHECK_SECONDS = 0.5
"""Interval at which the thread checks for long stages and silences."""
_LONG_STAGE_SECONDS = 1.0
"""Stages that last longer get a line; shorter ones would only flicker by."""
_MAX_SILENCE_SECONDS = (10.0, 30.0)
"""Longest time without a line, early and late in a search: below a minute, so nobody wonders."""
_SILENCE_SHARE_OF_ELAPSED = 0.05
"""Between these bounds the longest silence is this share of the time elapsed."""
_MAX_LINE_LENGTH = 99
"""Characters of a line; longer ones are cut."""


def is_watched() -> bool:
    """Return whether stderr is a terminal or a notebook; False in tests and child processes."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        return False
    if multiprocessing.current_process().name != "MainProcess":
        return False  # also workers of joblib, which inherit the terminal
    return _in_notebook() or _is_terminal()


def _in_notebook() -> bool:
    """Return whether this is an IPython kernel, without importing IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


def format_running(running: Sequence[RunningTrial], max_trials: int = 3) -> str:
    """Format the running trials, longest first: ``lightgbm 4 s, tabm 2 s``."""
    longest_first = sorted(running, key=lambda trial: -trial.seconds)
    names = [f"{trial.trial_label} {trial.seconds:.0f} s" for trial in longest_first[:max_trials]]
    return ", ".join(names) + (", ..." if len(longest_first) > max_trials else "")


def format_event(event: Event) -> str:
    """Format an event as one line, for logging."""
    if isinstance(event, SearchStarted):
        return _format_search(event)
    if isinstance(event, TrialStarted):
        again = " again" if event.is_rerun else ""
        return f"trial {event.trial.id} started{again}: {event.trial_label}"
    if isinstance(event, TrialEnded):
        return _format_trial(event, list(event.trial.metrics), "new best" if event.is_best else "")
    if isinstance(event, Tick):
        return f"running: {format_running(event.running)}"
    if isinstance(event, PreparationEnded):
        return " ".join(event.report)
    if isinstance(event, ModelDelivered):
        return f"delivered {_format_trial(event, list(event.trial.metrics))}"
    return str(event)


def _format_search(event: SearchStarted) -> str:
    limits = [f"{event.seconds:.0f} s"] if event.seconds is not None else []
    limits += [plural(event.trials, "trial")] if event.trials is not None else []
    metrics = ", ".join(objective.metric for objective in event.objectives)
    resumed = f", resumed after {plural(event.n_ended, 'trial')}" if event.n_ended else ""
    return f"optimising {metrics}" + (f" for {' or '.join(limits)}" if limits else "") + resumed


def _format_trial(
    event: TrialEnded | ModelDelivered, metrics: Sequence[str], mark: str = ""
) -> str:
    """Format a trial: ``trial 7: auc .9289, new best, 3.4 s, lightgbm``, or why it failed."""
    trial = event.trial
    details = [
        f"{name} {format_metric(name, trial.metrics)}" for name in metrics if name in trial.metrics
    ]
    if trial.status is not Status.DONE:
        details = [f"{trial.status}: {trial.error}"]
    details += [mark] if mark else []
    return f"trial {trial.id}: {', '.join([*details, f'{trial.seconds:.1f} s', event.trial_label])}"


class ProgressLines:
    """Writes events as lines on stderr, and the state of the search after a long silence.

    Silences are timed by a thread, since reading a file, or a trial in this process, may block for
    long; `close` ends it.
    """

    def __init__(self) -> None:
        self._state = SearchState()
        self._started_at = self._last_line_at = time.monotonic()
        self._stage_shown = True
        self._lock = RLock()
        self._closed = Flag()
        self._thread = Thread(
            target=self._write_status_lines, name="netwright progress", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Write no more."""
        self._closed.set()
        self._thread.join()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._state(event)
            if isinstance(event, StageStarted):
                self._stage_shown = False
            for line in event.report if isinstance(event, PreparationEnded) else ():
                self._write(line, math.inf)
            if line := self._line_of(event):
                self._write(line)

    def _line_of(self, event: Event) -> str:
        """Return the line to write at once for an event, or an empty text."""
        if isinstance(event, StageStarted) and event.stage == "reading":
            self._stage_shown = True
            return str(event)
        if isinstance(event, SearchStarted):
            return _format_search(event)
        if isinstance(event, ModelDelivered):
            return f"delivered {_format_trial(event, self._first_metric())}"
        if isinstance(event, TrialCompared):
            return str(event)
        if not isinstance(event, TrialEnded):
            return ""
        if event.is_best:
            return _format_trial(event, self._first_metric(), f"new best{self._format_time_left()}")
        failed = event.trial.status is Status.FAILED
        return _format_trial(event, self._first_metric()) if failed else ""

    def _first_metric(self) -> list[str]:
        """Return the first objective's metric in a list; empty before the search starts."""
        return [objective.metric for objective in self._state.objectives[:1]]

    def _format_time_left(self) -> str:
        seconds_left = self._state.seconds_left
        return "" if seconds_left is None else f", {format_duration(seconds_left)} left"

    def _write_status_lines(self) -> None:
        """Write a line for each stage that has become long, and after each long silence."""
        while not self._closed.wait(_CHECK_SECONDS):
            with self._lock:
                now = time.monotonic()
                early, late = _MAX_SILENCE_SECONDS
                max_silence = min(
                    late, max(early, _SILENCE_SHARE_OF_ELAPSED * (now - self._started_at))
                )
                stage_seconds = now - self._state.stage_started_at
                is_new = not self._stage_shown and stage_seconds > _LONG_STAGE_SECONDS
                if self._state.stage and (is_new or now - self._last_line_at > max_silence):
                    self._stage_shown = True
                    self._write(self._format_status(self._state.stage, stage_seconds))

    def _format_status(self, stage: StageStarted, seconds: float) -> str:
        """Format a search as ``9 trials, best auc .9311, 0:35 left, now: lightgbm 4 s``."""
        state = self._state
        if stage.stage not in ("searching", "preparing"):
            return f"{stage}, {seconds:.0f} s" if seconds >= 1 else str(stage)
        details = [state.preparation_progress] if state.preparation_progress else []
        details += [plural(state.n_ended, "trial")] if state.n_ended else []
        if state.best and state.objectives:
            name = state.objectives[0].metric
            details.append(f"best {name} {format_metric(name, state.best.metrics)}")
        text = (", ".join(details) or stage.stage) + self._format_time_left()
        return text + (f", now: {format_running(state.running)}" if state.running else "")

    def _write(self, line: str, max_length: float = _MAX_LINE_LENGTH) -> None:
        """Write one line, cut to `max_length`; line breaks, such as those of errors, are escaped."""
        now = time.monotonic()
        self._last_line_at = now
        text = printable(f"netwright {format_duration(now - self._started_at)}  {line}", stays="")
        text = text if len(text) <= max_length else text[: int(max_length) - 1] + "…"
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # stderr is closed
            self._closed.set()
