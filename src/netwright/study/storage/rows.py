"""Trials as rows of the database, and back: whatever a row holds is checked before it is believed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from netwright.errors import BrokenFile, InvalidCandidate, Phrase, RunError, expected
from netwright.files.json_files import parse
from netwright.space.candidate import Candidate
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Objective
from netwright.trials.trial import ENSEMBLE, Metrics, Proposal, Status, Trial

MAX_TRIAL_ID = 10_000_000
"""Trials are numbered from 1, and a million take days of doing nothing else."""
_MAX_EVENTS = 2 * MAX_TRIAL_ID
"""Each trial starts once and ends once."""
_MAX_SEED = 2**63 - 1
"""What the column holds."""

Row = Mapping[str, Any]


def row_of(trial: Trial) -> dict[str, Any]:
    """The cells of a trial, without its place among the events."""
    proposal = trial.proposal
    return {
        "id": trial.id,
        "candidate": proposal.candidate.json(),
        "fidelity": proposal.fidelity,
        "origin": proposal.origin,
        "parents": json.dumps(proposal.parents),
        "note": Candidate(proposal.note).json(),  # the same values as a candidate's
        "ensemble": None if trial.ensemble is None else trial.ensemble.json(),
        "seed": trial.seed,
        "status": str(trial.status),
        "metrics": metrics_json(trial.metrics),
        "seconds": trial.seconds,
        "error": trial.error.encode(errors="replace").decode(),  # half a character is no text
    }


def metrics_json(metrics: Metrics) -> str:
    """JSON has no NaN or infinity: they are written as words, which `float` reads."""
    return json.dumps(
        {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
    )


def trials_of(rows: Sequence[Row], what: str) -> list[Trial]:
    """The trials as they stand, in the order of the rows. Raises RunError for a broken row."""
    return [trial for _, trial in _pairs(rows, what)]


def events_of(rows: Sequence[Row], what: str) -> list[Trial]:
    """Every start (as RUNNING) and end, in the order in which they happened.

    Raises RunError for a broken row, and where two events have one number.
    """
    events: list[tuple[int, Trial]] = []
    for row, trial in _pairs(rows, what):
        start = Trial(trial.id, trial.proposal, trial.seed, ensemble=trial.ensemble)
        events.append((row["started"], start))
        if row["ended"] is not None:
            events.append((row["ended"], trial))
    numbers = [number for number, _ in events]
    _refuse_double(numbers, f"the number of an event in {what}")
    return [trial for _, trial in sorted(events, key=lambda event: event[0])]


def check_objective_values(
    trials: Iterable[Trial], objectives: Sequence[Objective], what: object
) -> None:
    """Raise RunError for a finished trial without an objective: it could not be compared."""
    for trial in trials:
        for objective in objectives:
            value = trial.metrics.get(objective.metric, math.nan)
            if trial.status is Status.DONE and not math.isfinite(value):
                name = f"{objective.metric} of trial {trial.id} in {what}"
                raise BrokenFile(expected(name, "a number", value))


def _pairs(rows: Sequence[Row], what: str) -> Iterator[tuple[Row, Trial]]:
    _refuse_double([row["id"] for row in rows], f"the number of a trial in {what}")
    finished: set[int] = set()
    for row in rows:
        name = f"trial {row['id']} in {what}"
        trial = _trial(row, name)
        _check_ensemble(trial, finished, name)
        if trial.status is Status.DONE:
            finished.add(trial.id)
        yield row, trial


def _check_ensemble(trial: Trial, finished: set[int], what: str) -> None:
    """BrokenFile where a trial of the origin `ensemble` is none, or not of earlier trials."""
    parents = trial.proposal.parents
    if (trial.ensemble is not None) != (trial.proposal.origin == ENSEMBLE):
        rule = f"given where its origin is {ENSEMBLE}, and nowhere else"
        raise BrokenFile(expected(f"ensemble of {what}", rule, trial.proposal.origin))
    if trial.ensemble is None:
        return
    if trial.ensemble.trials != parents:
        raise BrokenFile(expected(f"members of {what}", "its parents", trial.ensemble.trials))
    if not finished.issuperset(parents):
        raise BrokenFile(expected(f"parents of {what}", "finished before it", parents))


def _refuse_double(numbers: Sequence[int], name: str) -> None:
    if len(set(numbers)) < len(numbers):
        double = next(number for number in numbers if numbers.count(number) > 1)
        raise BrokenFile(expected(name, "used once", double))


def _trial(row: Row, what: str) -> Trial:
    _check_numbers(row, what)
    parents = parse(row["parents"], f"parents of {what}")
    if not isinstance(parents, list) or not all(map(_is_id, parents)):
        raise BrokenFile(expected(f"parents of {what}", "a list of trials", parents))
    proposal = Proposal(
        _decisions(row["candidate"], f"candidate of {what}"),
        float(row["fidelity"]),
        row["origin"],
        tuple(parents),
        _decisions(row["note"], f"note of {what}").values,  # the same values
    )
    metrics = _metrics(row["metrics"], f"metrics of {what}")
    return Trial(
        row["id"], proposal, row["seed"], Status(row["status"]), metrics, float(row["seconds"]),
        row["error"], _ensemble(row["ensemble"], f"ensemble of {what}"),
    )  # fmt: skip


def _ensemble(text: str | None, what: str) -> EnsembleSpec | None:
    return None if text is None else EnsembleSpec.from_json(text, what)


def _check_numbers(row: Row, what: str) -> None:
    """The ranges of all that is no JSON."""
    if not _is_id(row["id"]):
        rule = f"from 1 to {MAX_TRIAL_ID:,}"
        raise BrokenFile(expected(f"the number of {what}", rule, row["id"]))
    if not 0 < row["fidelity"] <= 1:
        raise BrokenFile(expected(f"fidelity of {what}", "in (0, 1]", row["fidelity"]))
    if not 0 <= row["seed"] <= _MAX_SEED:
        raise BrokenFile(expected(f"seed of {what}", "at least 0", row["seed"]))
    if not (math.isfinite(row["seconds"]) and row["seconds"] >= 0):
        raise BrokenFile(expected(f"seconds of {what}", "at least 0", row["seconds"]))
    if row["status"] not in [str(status) for status in Status]:
        rule = f"one of {', '.join(Status)}"
        raise BrokenFile(expected(f"status of {what}", rule, row["status"]))
    started, ended = row["started"], row["ended"]
    runs = row["status"] == Status.RUNNING
    if not 1 <= started <= _MAX_EVENTS or (ended or 1) > _MAX_EVENTS:
        rule = f"numbered from 1 to {_MAX_EVENTS:,}"
        raise BrokenFile(expected(f"start and end of {what}", rule, (started, ended)))
    if runs != (ended is None) or (ended is not None and ended <= started):
        rule = "started before it ended, and ended unless it is running"
        raise BrokenFile(expected(what, rule, (started, ended)))


def _is_id(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= MAX_TRIAL_ID


def _decisions(text: str, what: str) -> Candidate:
    try:
        return Candidate.from_json(text)
    except InvalidCandidate as error:
        raise BrokenFile(f"{what} cannot be used: {error}") from error


def _metrics(text: str, what: str) -> Metrics:
    values = parse(text, what)
    if not isinstance(values, dict):
        raise BrokenFile(expected(what, "an object of numbers", Phrase(type(values).__name__)))
    try:
        return {name: _number(value) for name, value in values.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise BrokenFile(expected(what, "an object of numbers", text)) from error


def _number(value: object) -> float:
    """A number, or one of the words that stand for those that JSON has not."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(type(value).__name__)
    return float(value)


def check_used(seconds: float, what: str) -> float:
    """The wall time of all runs of a folder. Raises RunError where it is none."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise RunError(expected(f"seconds of {what}", "at least 0", seconds))
    return seconds
