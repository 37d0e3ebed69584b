"""The exceptions that netwright raises on purpose, and the sentences of their messages.

::

    NetwrightError
    ├── InputError (ValueError)        data or an option given by the user is wrong
    ├── SpaceError (ValueError)        a description cannot be searched
    │   └── InvalidCandidate           a candidate does not fit its space
    ├── InfeasibleCandidate            a candidate cannot be built, trained or afforded
    ├── RunError                       a run folder cannot be used for this study
    │   └── BrokenFile                 a file in it is missing, damaged or not a regular file
    ├── ExportError                    a model cannot be written as one exact ONNX file
    └── MissingExtra (ImportError)     an optional dependency is not installed

Each message says what was expected, what came, and how to fix it.
"""

from __future__ import annotations

import difflib
import numbers
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

MAX_SENTENCE = 1_000
"""Characters of a message: some quote a cell, a header or a library, which may be huge."""
MAX_QUOTED = 120
"""Characters of one quoted value."""

_surface: Literal["python", "shell"] = "python"


class NetwrightError(Exception):
    """The base class of all exceptions that netwright raises on purpose.

    Messages are safe to print: control characters are escaped, and the length is limited.
    """

    def __init__(self, message: object = "", *details: object) -> None:
        super().__init__(printable(shortened(str(message), MAX_SENTENCE), stays=""), *details)


class InputError(NetwrightError, ValueError):
    """Data or an option given by the user is wrong."""


class SpaceError(NetwrightError, ValueError):
    """A description cannot be searched; the message names the path."""


class InvalidCandidate(SpaceError):
    """A candidate does not fit its space.

    Attributes:
        path: of the decision.
        value: of the decision; None if it is missing.
    """

    def __init__(self, message: str, path: str = "", value: object = None) -> None:
        super().__init__(message)
        self.path = path
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (str(self), self.path, self.value))


class InfeasibleCandidate(NetwrightError):
    """A candidate cannot be built, trained or afforded: the candidate is at fault, not the code."""


class OutOfTime(InfeasibleCandidate):
    """An evaluation cannot finish before its deadline, and has no metrics.

    If the deadline is the end of the search, the trial stays unfinished: a resumed search repeats it.
    """


class RunError(NetwrightError):
    """A run folder cannot be used: other data, another version, or not writable."""


class BrokenFile(RunError):
    """A file of a run folder is missing, damaged, or not a regular file; the message names it."""


class ExportError(NetwrightError):
    """A model cannot be written as one ONNX file that predicts exactly like the trained one."""


class MissingExtra(NetwrightError, ImportError):
    """An optional dependency is not installed; the message has the command that installs it."""


class Phrase(str):
    """A description of a value rather than the value: `expected` shows it without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def expected(what: str, rule: str, got: object, fix: str = "") -> str:
    """Build an error message: ``kernel must be odd, got 4. Use 3 or 5.``"""
    return f"{what} must be {rule}, got {quoted(got)}." + (f" {fix}" if fix else "")


def check_among(what: str, value: object, allowed: Sequence[str]) -> None:
    """Raise InputError if a string is not among `allowed`; other types may be open choices."""
    if isinstance(value, str) and value not in allowed:
        raise InputError(
            expected(what, f"one of {', '.join(allowed)}", value, closest(value, allowed))
        )


def quoted(value: object) -> str:
    """Return the ``repr`` of a value from outside, shortened to `MAX_QUOTED` characters."""
    if isinstance(value, str) and not isinstance(value, Phrase):
        return repr(shortened(value, MAX_QUOTED))
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"a {type(value).__name__} of too many digits"
    return shortened(text, MAX_QUOTED)


def shortened(text: str, length: int) -> str:
    """Shorten a text to at most `length` characters by leaving out its middle."""
    if len(text) <= length:
        return text
    half = (length - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def printable(text: str, stays: str = "\n\t") -> str:
    """Escape control characters: file names may contain terminal commands.

    Characters in `stays`, and all visible ones, are kept.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character in stays or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
        else character.encode("unicode_escape").decode()
        for character in text
    )


def wording(*, python: str, shell: str) -> str:
    """Choose the wording for the reader: parameters in Python, flags on the command line."""
    return shell if _surface == "shell" else python


def speak_to(surface: Literal["python", "shell"]) -> None:
    """Set who reads messages from now on; the command line calls it once."""
    global _surface  # a process talks to one reader
    _surface = surface


def plural(n: float, noun: str, several: str = "") -> str:
    """Format a count with its noun: ``1 trial``, ``1,200 trials``.

    `several` is the plural if it is not the noun with an s.
    """
    return f"{n:,.10g} {noun if n == 1 else several or noun + 's'}"


def closest(name: str, options: Iterable[object]) -> str:
    """Suggest the option most similar to `name`: ``Did you mean 'income'?``, or nothing.

    Numbers are never corrected: whoever asks for 99 does not mean 9.
    """
    if str(name).lstrip("+-").replace(".", "", 1).isdigit():
        return ""
    matches = difflib.get_close_matches(str(name), [str(option) for option in options], n=1)
    return f"Did you mean {matches[0]!r}?" if matches else ""


def check_whole(what: str, given: object, minimum: int, fix: str = "") -> None:
    """Raise InputError unless `given` is an integer of at least `minimum`; 10.0 and True are not."""
    if not isinstance(given, numbers.Integral) or isinstance(given, bool):
        rule = f"a whole number of at least {minimum}"
        raise InputError(expected(what, rule, given, fix))
    if int(given) < minimum:
        raise InputError(expected(what, f"at least {minimum}", given, fix))
