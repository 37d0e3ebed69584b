"""Convert trials to database rows and back; rows may not be trusted, so every cell is checked."""

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
"""Trial ids count from 1; even a million trials would take days of nothing but recording."""
_MAX_EVENTS = 2 * MAX_TRIAL_ID
"""Each trial starts once and ends once."""
_MAX_SEED = 2**63 - 1
"""The largest value of the column, a signed 64-bit integer."""

Row = Mapping[str, Any]
"""Column name -> cell."""


def row_of(trial: Trial) -> dict[str, Any]:
    """Return a trial's row without its event numbers ``started`` and ``ended``."""
    proposal = trial.proposal
    return {
        "id": trial.id,
        "candidate": proposal.candidate.json(),
        "fidelity": proposal.fidelity,
        "origin": proposal.origin,
        "parents": json.dumps(proposal.parents),
        "note": Candidate(proposal.note).json(),  # a note has the same types as decisions
        "ensemble": None if trial.ensemble is None else trial.ensemble.json(),
        "seed": trial.seed,
        "status": str(trial.status),
        "metrics": metrics_json(trial.metrics),
        "seconds": trial.seconds,
        "error": trial.error.encode(errors="replace").decode(),  # lone surrogates are not UTF-8
    }


def metrics_json(metrics: Metrics) -> str:
    """Return metrics as JSON, which has no NaN or infinity: they become texts that `float` parses."""
    return json.dumps(
        {name: metric if math.isfinite(metric) else str(metric) for name, metric in metrics.items()}
    )


def trials_from_rows(rows: Sequence[Row], what: str) -> list[Trial]:
    """Return the trials in the order of the rows; BrokenFile if a row is damaged."""
    return [trial for _, trial in _rows_with_trials(rows, what)]


def events_from_rows(rows: Sequence[Row], what: str) -> list[Trial]:
    """Return every start (as RUNNING) and end, in the order in which they happened.

    Raises:
        BrokenFile: a row is damaged, or two events have the same number.
    """
    events: list[tuple[int, Trial]] = []
    for row, trial in _rows_with_trials(rows, what):
        start = Trial(trial.id, trial.proposal, trial.seed, ensemble=trial.ensemble)
        events.append((row["started"], start))
        if row["ended"] is not None:
            events.append((row["ended"], trial))
    _check_unique([event_number for event_number, _ in events], f"the number of an event in {what}")
    return [trial for _, trial in sorted(events, key=lambda event: event[0])]


def check_objective_values(
    trials: Iterable[Trial], objectives: Sequence[Objective], what: object
) -> None:
    """Raise BrokenFile if a finished trial lacks an objective: it could not be compared."""
    for trial in trials:
        for objective in objectives:
            metric = trial.metrics.get(objective.metric, math.nan)
            if trial.status is Status.DONE and not math.isfinite(metric):
                name = f"{objective.metric} of trial {trial.id} in {what}"
                raise BrokenFile(expected(name, "a finite number", metric))


def _rows_with_trials(rows: Sequence[Row], what: str) -> Iterator[tuple[Row, Trial]]:
    _check_unique([row["id"] for row in rows], f"the number of a trial in {what}")
    finished: set[int] = set()
    for row in rows:
        name = f"trial {row['id']} in {what}"
        trial = _parse_trial(row, name)
        _check_ensemble(trial, finished, name)
        if trial.status is Status.DONE:
            finished.add(trial.id)
        yield row, trial


def _check_ensemble(trial: Trial, finished: set[int], what: str) -> None:
    """Raise BrokenFile unless an ensemble has that origin, and finished earlier trials as parents."""
    parents = trial.proposal.parents
    if (trial.ensemble is not None) != (trial.proposal.origin == ENSEMBLE):
        rule = f"given for the origin {ENSEMBLE}, and for no other"
        raise BrokenFile(expected(f"ensemble of {what}", rule, trial.proposal.origin))
    if trial.ensemble is None:
        return
    if trial.ensemble.trials != parents:
        raise BrokenFile(expected(f"members of {what}", "its parents", trial.ensemble.trials))
    if not finished.issuperset(parents):
        raise BrokenFile(expected(f"parents of {what}", "finished before it", parents))


def _check_unique(numbers: Sequence[int], name: str) -> None:
    if len(set(numbers)) < len(numbers):
        duplicate = next(n for n in numbers if numbers.count(n) > 1)
        raise BrokenFile(expected(name, "used once", duplicate))


def _parse_trial(row: Row, what: str) -> Trial:
    _check_ranges(row, what)
    parents = parse(row["parents"], f"parents of {what}")
    if not isinstance(parents, list) or not all(map(_is_id, parents)):
        raise BrokenFile(expected(f"parents of {what}", "a list of trial ids", parents))
    proposal = Proposal(
        _parse_decisions(row["candidate"], f"candidate of {what}"),
        float(row["fidelity"]),
        row["origin"],
        tuple(parents),
        _parse_decisions(row["note"], f"note of {what}").values,  # the same types as decisions
    )
    metrics = _parse_metrics(row["metrics"], f"metrics of {what}")
    return Trial(
        row["id"],
        proposal,
        row["seed"],
        Status(row["status"]),
        metrics,
        float(row["seconds"]),
        row["error"],
        _parse_ensemble(row["ensemble"], f"ensemble of {what}"),
    )


def _parse_ensemble(text: str | None, what: str) -> EnsembleSpec | None:
    return None if text is None else EnsembleSpec.from_json(text, what)


def _check_ranges(row: Row, what: str) -> None:
    """Raise BrokenFile unless the cells that are not JSON are in their ranges."""
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
    is_running = row["status"] == Status.RUNNING
    if not 1 <= started <= _MAX_EVENTS or (ended or 1) > _MAX_EVENTS:
        rule = f"numbered from 1 to {_MAX_EVENTS:,}"
        raise BrokenFile(expected(f"start and end of {what}", rule, (started, ended)))
    if is_running != (ended is None) or (ended is not None and ended <= started):
        rule = "started before it ended, and ended unless it is running"
        raise BrokenFile(expected(what, rule, (started, ended)))


def _is_id(cell: object) -> bool:
    return isinstance(cell, int) and not isinstance(cell, bool) and 1 <= cell <= MAX_TRIAL_ID


def _parse_decisions(text: str, what: str) -> Candidate:
    try:
        return Candidate.from_json(text)
    except InvalidCandidate as error:
        raise BrokenFile(f"{what} cannot be used: {error}") from error


def _parse_metrics(text: str, what: str) -> Metrics:
    metrics = parse(text, what)
    if not isinstance(metrics, dict):
        raise BrokenFile(expected(what, "an object of numbers", Phrase(type(metrics).__name__)))
    try:
        return {name: _parse_metric(metric) for name, metric in metrics.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise BrokenFile(expected(what, "an object of numbers", text)) from error


def _parse_metric(metric: object) -> float:
    """Return a metric from its JSON; NaN and infinities are texts (see `metrics_json`)."""
    if isinstance(metric, bool) or not isinstance(metric, int | float | str):
        raise TypeError(type(metric).__name__)
    return float(metric)


def check_used_seconds(seconds: float, what: str) -> float:
    """Return the wall time of all runs of a folder; RunError if it is negative or not finite."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise RunError(expected(f"seconds of {what}", "at least 0", seconds))
    return seconds
