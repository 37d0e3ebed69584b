"""Progress of `fit`: trials as they end, above a status line of what is running."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from textwrap import wrap
from typing import Any

from rich.text import Text

from netwright.automl.search_budget import SearchBudget
from netwright.cli.terminal import (
    MAX_WIDTH,
    live_status,
    metric_columns,
    print_line,
    print_wrapped,
    progress_bar,
    table_lines,
)
from netwright.errors import plural, shortened
from netwright.report.tables import row
from netwright.study.progress.events import Event, PreparationEnded, TrialCompared, TrialEnded
from netwright.study.progress.search_state import SearchState
from netwright.study.study import Study
from netwright.trials.formats import format_duration, format_metric
from netwright.trials.trial import BASELINE, Status, Trial

_MIN_BAR_WIDTH, _MAX_BAR_WIDTH = 4, 24
_MAX_NAME_WIDTH = 40
"""Columns of a running trial's name, so that several fit below the bar."""


class FitProgress:
    """Callback that prints trials of interest, above a bar with the best score and the time left.

    Args:
        budget: of the search.
    """

    def __init__(self, budget: SearchBudget) -> None:
        self._is_estimate = budget.seconds is None
        """Whether the time left is only estimated."""
        self._study: Study[Any] | None = None
        self._state = SearchState()
        self._has_heading = False

    def with_study(self, study: Study[Any]) -> FitProgress:
        """Set the study whose trials are printed, and return the callback itself."""
        self._study = study
        return self

    def shown(self, *, quiet: bool = False) -> AbstractContextManager[None]:
        """Show the status below the output, if that is a terminal."""
        return nullcontext() if quiet else live_status(self._status)

    def __call__(self, event: Event) -> None:
        """Update the status, and print what the event reports."""
        self._state(event)
        if isinstance(event, PreparationEnded):
            for sentence in event.report:
                for line in wrap(sentence, 77, initial_indent="  ", subsequent_indent="    "):
                    print_line(line)
        elif isinstance(event, TrialCompared):
            print_wrapped(f"  {event}", hanging_indent="    ")
        elif isinstance(event, TrialEnded):
            trial = event.trial
            is_baseline = trial.proposal.origin == BASELINE
            if event.on_front or event.is_best or is_baseline or trial.status is Status.FAILED:
                self._print_trial(trial, on_front=event.on_front)

    def _print_trial(self, trial: Trial, *, on_front: bool) -> None:
        """Print a row of the table of trials, with its heading before the first one."""
        assert self._study is not None  # its trial has ended
        objectives = self._study.objectives
        rows = [row(trial, self._study.space.fill, on_front=on_front)]
        lines = table_lines(rows, metric_columns(objectives, {}), objectives)
        for line in lines[1:] if self._has_heading else lines:
            print_line(line)
        self._has_heading = True

    def _status(self) -> Text:
        """Return the stage and its seconds; of a search the part that is done, and what runs."""
        state, stage, best = self._state, self._state.stage, self._best_so_far()
        if state.preparation_progress:
            return Text(shortened(f" supernet   {state.preparation_progress}{best}", MAX_WIDTH))
        if stage is None:
            return Text()
        if stage.stage != "searching" or self._study is None:
            line = f" {stage.stage:<11}{stage.detail}"
            seconds = f"  {time.monotonic() - state.stage_started_at:.0f} s"
            if stage.stage == "training":
                seconds += self._time_left()
            return Text(shortened(line, MAX_WIDTH - len(seconds)) + seconds)
        start = " searching  "
        end = f"  {plural(state.n_ended, 'trial')}{best}{self._time_left()}"
        width = MAX_WIDTH - len(start) - len(end)
        width = max(_MIN_BAR_WIDTH, min(_MAX_BAR_WIDTH, width))
        bar = progress_bar(state.fraction_done, width)
        return Text("\n".join([f"{start}{bar}{end}", *self._running_trials()]))

    def _best_so_far(self) -> str:
        if self._state.best is None or self._study is None:
            return ""
        name = self._study.objectives[0].metric
        return f", best {name} {format_metric(name, self._state.best.metrics)}"

    def _time_left(self) -> str:
        seconds = self._state.seconds_left
        if seconds is None:
            return ""
        return f", {'about ' if self._is_estimate else ''}{format_duration(seconds)} left"

    def _running_trials(self) -> list[str]:
        """Return ``running: trial 7 lightgbm 4 s``, with as many trials as fit into a line."""
        line = ""
        for running in self._state.running:
            name = shortened(running.trial_label, _MAX_NAME_WIDTH)
            text = f"trial {running.trial.id} {name} {running.seconds:.0f} s"
            if line and len(line) + len(text) > MAX_WIDTH - 2:
                break
            line += f", {text}" if line else f" running    {text}"
        return [line] if line else []
