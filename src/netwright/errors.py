"""Every exception netwright raises on purpose.

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

The sentence of each says what was expected, what came and what to do about it.
"""

from __future__ import annotations

import difflib
import numbers
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

MAX_SENTENCE = 1_000
"""Characters of a whole message: some quote a cell, a header or a library, which may be huge."""
MAX_QUOTED = 120
"""Characters of one quoted value."""

_surface: Literal["python", "shell"] = "python"


class NetwrightError(Exception):
    """The root: catch it to catch everything netwright raises on purpose.

    The message is made safe to print: control characters are shown, and it has an end.
    """

    def __init__(self, message: object = "", *details: object) -> None:
        super().__init__(printable(shortened(str(message), MAX_SENTENCE), stays=""), *details)


class InputError(NetwrightError, ValueError):
    """Data or an option given by the user is wrong."""


class SpaceError(NetwrightError, ValueError):
    """A description cannot be searched; the sentence names the path."""


class InvalidCandidate(SpaceError):
    """A candidate does not fit its space.

    `path` names the decision, `value` is what came (None when the decision is missing).
    """

    def __init__(self, message: str, path: str = "", value: object = None) -> None:
        super().__init__(message)
        self.path = path
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self), self.path, self.value))


class InfeasibleCandidate(NetwrightError):
    """A candidate cannot be built, trained or afforded: the candidate is at fault, not the code."""


class OutOfTime(InfeasibleCandidate):
    """An evaluation sees that it cannot end before its deadline, and has nothing to show.

    Where the deadline is the end of the search, the trial stays unfinished: more time runs it again.
    """


class RunError(NetwrightError):
    """A run folder cannot be used: other data, another version, or not writable."""


class BrokenFile(RunError):
    """A file of a run folder is missing, damaged, or no regular file; the sentence names it."""


class ExportError(NetwrightError):
    """A model cannot be written as one ONNX file that predicts exactly like the trained one."""


class MissingExtra(NetwrightError, ImportError):
    """An optional dependency is not installed; the sentence has the install line."""


class Phrase(str):
    """Words about what came, not what came itself: `expected` shows them without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def expected(what: str, rule: str, got: object, fix: str = "") -> str:
    """The one sentence shape: ``kernel must be odd, got 4. Use 3 or 5.``"""
    return f"{what} must be {rule}, got {quoted(got)}." + (f" {fix}" if fix else "")


def check_among(what: str, value: object, allowed: Sequence[str]) -> None:
    """InputError unless a text is one of these; what is no text may be an open choice."""
    if isinstance(value, str) and value not in allowed:
        raise InputError(
            expected(what, f"one of {', '.join(allowed)}", value, closest(value, allowed))
        )


def quoted(value: object) -> str:
    """``repr`` of a value that came from outside, at most `MAX_QUOTED` characters."""
    if isinstance(value, str) and not isinstance(value, Phrase):
        return repr(shortened(value, MAX_QUOTED))
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"a {type(value).__name__} of too many digits"
    return shortened(text, MAX_QUOTED)


def shortened(text: str, length: int) -> str:
    """The text, its middle left out where it is longer than `length` characters."""
    if len(text) <= length:
        return text
    half = (length - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def printable(text: str, stays: str = "\n\t") -> str:
    """The text with control characters written out: names of files may hold terminal commands.

    Those in `stays` are left as they are, and so is everything that is only seen.
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
    """The advice in the words of who reads it: a parameter in Python, a flag on the command line."""
    return shell if _surface == "shell" else python


def speak_to(surface: Literal["python", "shell"]) -> None:
    """Say who reads messages from now on; the command line calls it once."""
    global _surface  # a process talks to one reader
    _surface = surface


def plural(number: float, noun: str, several: str = "") -> str:
    """``1 trial``, ``1,200 trials``; `several` is the plural where it is not the noun with an s."""
    return f"{number:,.10g} {noun if number == 1 else several or noun + 's'}"


def closest(name: str, options: Iterable[object]) -> str:
    """``Did you mean 'income'?`` for the option nearest to `name`, or nothing.

    Numbers have no misspellings: 9 is not what somebody means who asks for 99.
    """
    if str(name).lstrip("+-").replace(".", "", 1).isdigit():
        return ""
    matches = difflib.get_close_matches(str(name), [str(option) for option in options], n=1)
    return f"Did you mean {matches[0]!r}?" if matches else ""


def check_whole(what: str, number: object, least: int, fix: str = "") -> None:
    """InputError unless it is a whole number, and not below `least`: 10.0 and True are none."""
    if not isinstance(number, numbers.Integral) or isinstance(number, bool):
        rule = f"a whole number of at least {least}"
        raise InputError(expected(what, rule, number, fix))
    if int(number) < least:
        raise InputError(expected(what, f"at least {least}", number, fix))
