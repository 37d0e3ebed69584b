"""What is checked of averages in a log that may come from a stranger, before they are followed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from netwright.errors import BrokenFile, Phrase, expected
from netwright.pipelines.weighted_ensemble import MAX_FOLDS
from netwright.trials.trial import ENSEMBLE, LIGHT, MEMBERS, REFIT, Status, Trial

MEMBER = "trial "
"""An average's candidate has ``trial 7`` for the share of trial 7."""
TEMPERATURE, THRESHOLD = "temperature", "threshold"
_NO_SHARES = (LIGHT, REFIT, MEMBERS, TEMPERATURE, THRESHOLD)
"""What else its candidate has."""


def check_averages(trials: Iterable[Trial], folder: Path) -> None:
    """Raise RunError for an average that is not of earlier trials, by shares, and for a number of
    folds that none has."""
    seen: set[int] = set()
    for trial in trials:
        what = f"trial {trial.id} of {folder}"
        folds = trial.metrics.get("folds", 1.0)
        if not 0 <= folds <= MAX_FOLDS:  # NaN is none of them
            raise BrokenFile(expected(f"folds of {what}", f"from 0 to {MAX_FOLDS}", folds))
        if trial.proposal.origin == ENSEMBLE:
            _check(trial, seen, what)
        if trial.status is Status.DONE:
            seen.add(trial.id)


def _check(trial: Trial, seen: set[int], what: str) -> None:
    values = trial.candidate.values
    shares = {name: value for name, value in values.items() if name not in _NO_SHARES}
    parents = [f"{MEMBER}{number}" for number in trial.proposal.parents]
    if not shares or sorted(shares) != sorted(parents):
        got = Phrase(", ".join(shares) or "none")
        raise BrokenFile(expected(f"members of {what}", "its parents", got))
    if not seen.issuperset(trial.proposal.parents):
        got = Phrase(", ".join(map(str, trial.proposal.parents)))
        raise BrokenFile(expected(f"parents of {what}", "finished before it", got))
    for name in (*shares, TEMPERATURE, THRESHOLD):
        if not _is_number(values.get(name)):
            raise BrokenFile(expected(f"{name} in {what}", "a number", values.get(name)))
    if not values[TEMPERATURE] > 0:  # type: ignore[operator]  # a number
        raise BrokenFile(expected(f"temperature of {what}", "above 0", values[TEMPERATURE]))
    if MEMBERS in values and (type(values[MEMBERS]) is not int or values[MEMBERS] < 1):  # type: ignore[operator]  # a number
        raise BrokenFile(expected(f"members of {what}", "a whole number from 1", values[MEMBERS]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
