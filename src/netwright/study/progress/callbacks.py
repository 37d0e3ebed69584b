"""Who hears of a search's events: logging, lines on stderr, callbacks. None of them can stop it."""

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
from netwright.study.progress.lines import ProgressLines, is_watched, sentence

Verbose: TypeAlias = bool | int | Literal["auto"]

LOGGER = logging.getLogger("netwright")
"""INFO for stages and trials; silent until the application adds a handler."""
LOGGER.addHandler(logging.NullHandler())

_MAX_ERROR = 300
"""Characters of what a callback raised that are quoted."""


class CallbackList:
    """Hands each event to each callback; one that raises is switched off with a warning.

    KeyboardInterrupt and SystemExit pass: they are how a callback stops the search.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._active = list(callbacks)

    def __call__(self, event: Event) -> None:
        for callback in tuple(self._active):
            try:
                callback(event)
            except Exception as error:
                self._active = [other for other in self._active if other is not callback]
                _warn_of(callback, error)


@contextmanager
def open_callbacks(
    callbacks: Callback | Sequence[Callback] | None, verbose: Verbose
) -> Iterator[CallbackList]:
    """Join the callbacks with logging and, as `verbose` says, lines on stderr.

    Callbacks that are joined already stay as they are: their lines end with whoever joined them.

    Args:
        verbose: True, False, or "auto": lines where somebody watches (see `is_watched`).

    Raises:
        InputError: a callback is no function, or `verbose` none of these.
    """
    shows = _shows(verbose)
    if isinstance(callbacks, CallbackList):
        yield callbacks
        return
    functions = _as_functions(callbacks)
    lines = ProgressLines() if shows else None
    try:
        yield CallbackList([_log, *([lines] if lines else []), *functions])
    finally:
        if lines:
            lines.close()


def _shows(verbose: object) -> bool:
    if isinstance(verbose, str) and verbose == "auto":
        return is_watched()
    if not isinstance(verbose, bool | int | np.bool_ | np.integer):
        raise InputError(expected("verbose", '"auto", True or False', verbose))
    return bool(verbose)


def _as_functions(callbacks: object) -> tuple[Callback, ...]:
    """The functions of one or several; InputError for anything else."""
    if callable(callbacks):
        return (callbacks,)
    given = () if callbacks is None else callbacks
    if not isinstance(given, Sequence) or not all(callable(callback) for callback in given):
        rule = "a function that takes an event, or a list of such"
        raise InputError(expected("callbacks", rule, callbacks, "For example [print]."))
    return tuple(given)


def _log(event: Event) -> None:
    """Events as records of the level INFO; what comes several times a second is left out."""
    if not isinstance(event, Tick) and LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info("%s", sentence(event))


def _warn_of(callback: Callback, error: Exception) -> None:
    """Warn, at the line that raised; where warnings are errors, log: the search goes on."""
    name = getattr(callback, "__qualname__", None) or type(callback).__name__
    reason = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    message = printable(
        f"callback {name} is switched off because it raised "
        f"{shortened(reason, _MAX_ERROR)}. The search goes on without it."
    )
    frame = traceback.extract_tb(error.__traceback__)[-1]
    try:
        warnings.warn_explicit(message, UserWarning, frame.filename, frame.lineno or 0)
    except UserWarning:
        LOGGER.warning("%s", message)
