"""What `fit` shows while it works: trials as they come, above a bar that says what is being done."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from textwrap import wrap
from typing import Any

from rich.text import Text

from netwright.automl.search_budget import SearchBudget
from netwright.cli import terminal
from netwright.cli.terminal import print_line
from netwright.errors import plural, shortened
from netwright.report.tables import row
from netwright.study.progress.events import Event, PreparationEnded, TrialEnded
from netwright.study.progress.search_state import SearchState
from netwright.study.study import Study
from netwright.trials.formats import format_duration, format_metric
from netwright.trials.trial import BASELINE, Status, Trial

_WIDTH = 79
_BAR_WIDTHS = 4, 24
_NAME_WIDTH = 40
"""A trial's name in the bar: more than one has room below the bar."""


class FitProgress:
    """Prints trials that advance the front, above a bar with the best so far and the time left."""

    def __init__(self, effort: SearchBudget) -> None:
        self._estimated = effort.seconds is None
        """Whether the time left is no more than an estimate."""
        self._study: Study[Any] | None = None
        self._state = SearchState()
        self._headed = False

    def with_study(self, study: Study[Any]) -> FitProgress:
        """Itself, once there is a study whose trials it can describe."""
        self._study = study
        return self

    def shown(self, quiet: bool = False) -> AbstractContextManager[None]:
        """While this lasts, the bar stands below what is printed, if that is a terminal."""
        return nullcontext() if quiet else terminal.live_status(self._bar)

    def __call__(self, event: Event) -> None:
        self._state(event)
        if isinstance(event, PreparationEnded):
            for sentence in event.report:
                for line in wrap(sentence, 77, initial_indent="  ", subsequent_indent="    "):
                    print_line(line)
        elif isinstance(event, TrialEnded):
            trial = event.trial
            is_baseline = trial.proposal.origin == BASELINE
            if event.on_front or event.is_best or is_baseline or trial.status is Status.FAILED:
                self._print(trial, event.on_front)

    def _print(self, trial: Trial, on_front: bool) -> None:
        assert self._study is not None  # its trial has ended
        objectives = self._study.objectives
        shown = row(trial, self._study.space.fill, on_front)
        lines = terminal.table_lines([shown], terminal.metric_columns(objectives, {}), objectives)
        for line in lines if not self._headed else lines[1:]:
            print_line(line)
        self._headed = True

    def _bar(self) -> Text:
        """The stage and for how long; of a search the share that is done, and what runs now."""
        state, stage, best = self._state, self._state.stage, self._best_so_far()
        if state.preparation_progress:
            return Text(shortened(f" supernet   {state.preparation_progress}{best}", _WIDTH))
        if stage is None:
            return Text()
        if stage.stage != "searching" or self._study is None:
            line = f" {stage.stage:<11}{stage.detail}"
            seconds = f"  {time.monotonic() - state.stage_started_at:.0f} s"
            return Text(shortened(line, _WIDTH - len(seconds)) + seconds)
        begin, end = " searching  ", f"  {plural(state.n_ended, 'trial')}{best}{self._left()}"
        width = max(_BAR_WIDTHS[0], min(_BAR_WIDTHS[1], _WIDTH - len(begin) - len(end)))
        return Text(
            "\n".join(
                [f"{begin}{terminal.progress_bar(state.fraction_done, width)}{end}", *self._now()]
            )
        )

    def _best_so_far(self) -> str:
        if self._state.best is None or self._study is None:
            return ""
        name = self._study.objectives[0].metric
        return f", best {name} {format_metric(name, self._state.best.metrics)}"

    def _left(self) -> str:
        left = self._state.seconds_left
        if left is None:
            return ""
        return f", {'about ' if self._estimated else ''}{format_duration(left)} left"

    def _now(self) -> list[str]:
        """``now: trial 7 lightgbm 4 s``: as many trials as a line has room for."""
        line = ""
        for each in self._state.running:
            name = shortened(each.trial_name, _NAME_WIDTH)
            part = f"trial {each.trial.id} {name} {each.seconds:.0f} s"
            if line and len(line) + len(part) > _WIDTH - 2:
                break
            line += (", " if line else " now        ") + part
        return [line] if line else []
