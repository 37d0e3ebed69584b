"""Errors of the option parser, in the form of all other errors: expected, got, and the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable

import typer

from netwright.errors import Phrase, closest, expected

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Base class of the option parser's errors, which typer has in a private module only."""

_SEE_HELP = "Add --help to see how the command is used."
_SECONDS_PER_UNIT = {
    "s": 1, "sec": 1, "seconds": 1, "m": 60, "min": 60, "minutes": 60, "h": 3600, "hours": 3600,
}  # fmt: skip


def usage_sentence(error: Exception) -> str:
    """Return a `UsageError` as one sentence, or the help if that is the message of the error."""
    message = str(getattr(error, "message", "")) or str(error)
    if "\n" in message:  # a command that was called without arguments
        return message
    if option := str(getattr(error, "option_name", "")):
        return _option_error(option, message, getattr(error, "possibilities", None) or ())
    if match := re.match(r"No such command '(.*?)'", message):
        command = getattr(getattr(error, "ctx", None), "command", None)
        names = list(getattr(command, "commands", {}))
        fix = closest(match.group(1), names)
        return expected("command", f"one of {', '.join(names)}", match.group(1), fix)
    parameter: object = getattr(error, "param", None)
    if parameter is None:
        return f"{message.rstrip('.')}. {_SEE_HELP}"
    if type(error).__name__ == "MissingParameter":
        return expected(_display_name(parameter), "given", Phrase("nothing"), _SEE_HELP)
    return _value_error(error, parameter, message)


def _option_error(option: str, message: str, similar: Iterable[str]) -> str:
    """Describe an unknown option, or one without its value."""
    if "requires an argument" in message:
        return expected(option, "given a value", Phrase("none"), _SEE_HELP)
    if message.startswith("No such option"):
        fix = closest(option, similar) or _SEE_HELP
        return expected("option", "a known one", option, fix)
    return f"{message.rstrip('.')}. {_SEE_HELP}"


def _value_error(error: Exception, parameter: object, message: str) -> str:
    """Describe a value of the wrong type, such as ``--time 15s``."""
    name, text = _display_name(parameter), _given_text(error, message)
    is_integer = "integer" in message
    if text is None or not (is_integer or "number" in message or "float" in message):
        return f"{name} is invalid: {message.rstrip('.')}. {_SEE_HELP}"
    if getattr(parameter, "metavar", None) != "SECONDS":
        rule = "a whole number" if is_integer else "a number"
        return expected(name, rule, text, _SEE_HELP)
    fix = _SEE_HELP
    duration = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if duration and duration.group(2) in _SECONDS_PER_UNIT:
        seconds = float(duration.group(1)) * _SECONDS_PER_UNIT[duration.group(2)]
        fix = f"Write {name} {seconds:g}."
    return expected(name, "a number of seconds", text, fix)


def _given_text(error: Exception, message: str) -> str | None:
    """Return what the user wrote: from pydantic's error, or for an older typer from the message."""
    details = getattr(error.__cause__, "errors", None)
    if callable(details):
        return str(details()[0]["input"])
    match = re.match(r"'(.*)' is not a valid", message)
    return match.group(1) if match else None


def _display_name(parameter: object) -> str:
    """Return ``--time`` for an option, ``DATA`` for an argument."""
    options = [name for name in getattr(parameter, "opts", ()) if name.startswith("--")]
    metavar = getattr(parameter, "metavar", None) or getattr(parameter, "name", "") or "argument"
    return options[0] if options else str(metavar).upper()
