"""Send a search's events to logging, progress lines and callbacks; their errors cannot stop it."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import numpy as np

from netwright.errors import InputError, expected, printable, shortened
from netwright.study.progress.events import Callback, Event, Tick
from netwright.study.progress.lines import ProgressLines, format_event, is_watched

Verbose: TypeAlias = bool | int | Literal["auto"]

LOGGER = logging.getLogger("netwright")
"""Logs stages and trials at level INFO; silent until the application adds a handler."""
LOGGER.addHandler(logging.NullHandler())

_MAX_ERROR_LENGTH = 300
"""Characters of a callback's error that a warning quotes."""


class CallbackList:
    """Calls each callback with each event; one that raises is switched off with a warning.

    KeyboardInterrupt and SystemExit pass through, so that a callback can stop the search.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._active = list(callbacks)

    def __call__(self, event: Event) -> None:
        for callback in tuple(self._active):
            try:
                callback(event)
            except Exception as error:
                self._active = [other for other in self._active if other is not callback]
                _warn_about_callback(callback, error)


@contextmanager
def open_callbacks(
    callbacks: Callback | Sequence[Callback] | None, verbose: Verbose
) -> Iterator[CallbackList]:
    """Combine the callbacks with logging and, depending on `verbose`, lines on stderr.

    Args:
        callbacks: one function or several. A `CallbackList` is yielded as it is, and its progress
            lines are closed by the call that made it.
        verbose: True, False, or "auto": lines if stderr is watched (see `is_watched`).

    Yields:
        One callback for all of them.

    Raises:
        InputError: a callback is not callable, or `verbose` is something else.
    """
    shows_lines = _wants_lines(verbose)
    if isinstance(callbacks, CallbackList):
        yield callbacks
        return
    functions = _as_callbacks(callbacks)
    lines = ProgressLines() if shows_lines else None
    try:
        yield CallbackList([_log_event, *([lines] if lines else []), *functions])
    finally:
        if lines:
            lines.close()


def _wants_lines(verbose: object) -> bool:
    if isinstance(verbose, str) and verbose == "auto":
        return is_watched()
    if not isinstance(verbose, bool | int | np.bool_ | np.integer):
        raise InputError(expected("verbose", '"auto", True or False', verbose))
    return bool(verbose)


def _as_callbacks(callbacks: object) -> tuple[Callback, ...]:
    """Return one callback or several as a tuple; InputError for anything else."""
    if callable(callbacks):
        return (callbacks,)
    functions = () if callbacks is None else callbacks
    if not isinstance(functions, Sequence) or not all(map(callable, functions)):
        rule = "a function of one event, or a list of such functions"
        raise InputError(expected("callbacks", rule, callbacks, "For example [print]."))
    return tuple(functions)


def _log_event(event: Event) -> None:
    """Log an event at level INFO; all but ticks, which come several times a second."""
    if not isinstance(event, Tick) and LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info("%s", format_event(event))


def _warn_about_callback(callback: Callback, error: Exception) -> None:
    """Warn at the line that raised; if warnings are errors, log instead, so the search continues."""
    name = getattr(callback, "__qualname__", None) or type(callback).__name__
    reason = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    message = printable(
        f"callback {name} is switched off because it raised "
        f"{shortened(reason, _MAX_ERROR_LENGTH)}. The search continues without it."
    )
    frame = traceback.extract_tb(error.__traceback__)[-1]
    try:
        warnings.warn_explicit(message, UserWarning, frame.filename, frame.lineno or 0)
    except UserWarning:
        LOGGER.warning("%s", message)
