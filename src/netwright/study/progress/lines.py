"""Progress as plain lines on stderr: what is being done, each new best, the time left."""

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
    TrialEnded,
    TrialStarted,
)
from netwright.study.progress.search_state import SearchState
from netwright.trials.formats import format_duration, format_metric
from netwright.trials.trial import Status

_LOOK_SECONDS = 0.5
"""Between two looks at whether a stage has become long enough to be named."""
_LONG_STAGE_SECONDS = 1.0
"""A stage that lasts as long is named; shorter ones would be a flicker."""
_SILENCE_SECONDS = (10.0, 30.0)
"""The longest silence, early and late in a search: nobody should have to wonder for a minute."""
_SILENCE_SHARE = 0.05
"""Between these the longest silence is this share of the time that has passed."""
_MAX_LINE = 99


def is_watched() -> bool:
    """Whether somebody watches stderr: a terminal or a notebook; not in tests and child processes."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        return False
    if multiprocessing.current_process().name != "MainProcess":
        return False  # also workers of joblib, which inherit the terminal
    return _in_notebook() or _is_terminal()


def _in_notebook() -> bool:
    """Whether IPython runs as a kernel; it is not imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


def named(running: Sequence[RunningTrial], most: int = 3) -> str:
    """``lightgbm 4 s, tabm 2 s``: the trials that run, the longest first."""
    longest = sorted(running, key=lambda each: -each.seconds)
    names = [f"{each.trial_name} {each.seconds:.0f} s" for each in longest[:most]]
    return ", ".join(names) + (", ..." if len(longest) > most else "")


def sentence(event: Event) -> str:
    """An event in one line, for logging."""
    if isinstance(event, SearchStarted):
        return _search_line(event)
    if isinstance(event, TrialStarted):
        again = " again" if event.is_rerun else ""
        return f"trial {event.trial.id} started{again}: {event.trial_name}"
    if isinstance(event, TrialEnded):
        return _trial_line(event, list(event.trial.metrics), "new best" if event.is_best else "")
    if isinstance(event, Tick):
        return f"running: {named(event.running)}"
    if isinstance(event, PreparationEnded):
        return " ".join(event.report)
    if isinstance(event, ModelDelivered):
        return f"delivered {_trial_line(event, list(event.trial.metrics))}"
    return str(event)


def _search_line(event: SearchStarted) -> str:
    limits = [f"{event.seconds:.0f} s"] if event.seconds is not None else []
    limits += [plural(event.trials, "trial")] if event.trials is not None else []
    by = ", ".join(objective.metric for objective in event.objectives)
    resumed = f", resumed after {plural(event.n_ended, 'trial')}" if event.n_ended else ""
    return f"searching by {by}" + (f" for {' or '.join(limits)}" if limits else "") + resumed


def _trial_line(event: TrialEnded | ModelDelivered, metrics: Sequence[str], mark: str = "") -> str:
    """``trial 7: auc .9289, new best, 3.4 s, lightgbm``, or why it did not finish."""
    trial = event.trial
    words = [
        f"{name} {format_metric(name, trial.metrics)}" for name in metrics if name in trial.metrics
    ]
    if trial.status is not Status.DONE:
        words = [f"{trial.status}: {trial.error}"]
    words += [mark] if mark else []
    return f"trial {trial.id}: {', '.join([*words, f'{trial.seconds:.1f} s', event.trial_name])}"


class ProgressLines:
    """Writes lines on stderr as events come, and after a while of silence what is being done.

    A thread of its own keeps the time, since reading a file or a trial in this process may take
    long; `close` ends it.
    """

    def __init__(self) -> None:
        self._state = SearchState()
        self._begun = self._written = time.monotonic()
        self._stage_named = True
        self._lock = RLock()
        self._over = Flag()
        self._thread = Thread(target=self._keep_time, name="netwright progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write no more."""
        self._over.set()
        self._thread.join()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._state(event)
            if isinstance(event, StageStarted):
                self._stage_named = False
            for line in event.report if isinstance(event, PreparationEnded) else ():
                self._write(line, math.inf)
            if line := self._line_of(event):
                self._write(line)

    def _line_of(self, event: Event) -> str:
        """What is said at once; empty where that is nothing."""
        if isinstance(event, StageStarted) and event.stage == "reading":
            self._stage_named = True
            return str(event)
        if isinstance(event, SearchStarted):
            return _search_line(event)
        if isinstance(event, ModelDelivered):
            return f"delivered {_trial_line(event, self._first())}"
        if not isinstance(event, TrialEnded):
            return ""
        if event.is_best:
            return _trial_line(event, self._first(), f"new best{self._left()}")
        failed = event.trial.status is Status.FAILED
        return _trial_line(event, self._first()) if failed else ""

    def _first(self) -> list[str]:
        """The first objective's metric, where that is known."""
        return [objective.metric for objective in self._state.objectives[:1]]

    def _left(self) -> str:
        left = self._state.seconds_left
        return "" if left is None else f", {format_duration(left)} left"

    def _keep_time(self) -> None:
        """Name stages that have become long, and break silences."""
        while not self._over.wait(_LOOK_SECONDS):
            with self._lock:
                now = time.monotonic()
                shortest, longest = _SILENCE_SECONDS
                silence = min(longest, max(shortest, _SILENCE_SHARE * (now - self._begun)))
                lasts = now - self._state.stage_started_at
                is_new = not self._stage_named and lasts > _LONG_STAGE_SECONDS
                if self._state.stage and (is_new or now - self._written > silence):
                    self._stage_named = True
                    self._write(self._status(self._state.stage, lasts))

    def _status(self, stage: StageStarted, seconds: float) -> str:
        """``9 trials, best auc .9311, 0:35 left, now: lightgbm 4 s``; other stages by their name."""
        state = self._state
        if stage.stage not in ("searching", "preparing"):
            return f"{stage}, {seconds:.0f} s" if seconds >= 1 else str(stage)
        words = [state.preparation_progress] if state.preparation_progress else []
        words += [plural(state.n_ended, "trial")] if state.n_ended else []
        if state.best and state.objectives:
            name = state.objectives[0].metric
            words.append(f"best {name} {format_metric(name, state.best.metrics)}")
        text = (", ".join(words) or stage.stage) + self._left()
        return text + (f", now: {named(state.running)}" if state.running else "")

    def _write(self, line: str, length: float = _MAX_LINE) -> None:
        """A single line, at most so long, also where an error has line breaks."""
        now = time.monotonic()
        self._written = now
        text = printable(f"netwright {format_duration(now - self._begun)}  {line}", stays="")
        text = text if len(text) <= length else text[: int(length) - 1] + "…"
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # nobody reads any more
            self._over.set()
