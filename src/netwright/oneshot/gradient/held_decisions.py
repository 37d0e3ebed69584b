"""Values for the decisions that a supernet holds: of every one, active in a candidate or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netwright.oneshot.gradient.supernet import Supernet
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import OneOfChoice, RepeatChoice, SharedChoice, SubsetOfChoice
from netwright.space.space import Space
from netwright.space.visitor import children, join_path


def all_decision_values(
    space: Space[Any], candidate: Candidate, *, same_in_copies: bool = False
) -> dict[str, Value]:
    """Return a value for each decision of the space, the candidate's where it decides.

    A copy of a `Repeat` that the candidate does not have takes the values of the copy before it,
    `alike`: every copy does, so that layers of all depths have one width. Every other inactive
    decision has its default.
    """
    values: dict[str, Value] = {}
    copies = dict(_copies(space.description))
    for decision in space.decisions:  # parents first, and a copy after the one before it
        path = decision.path
        twins = [values[twin] for twin in _twins(path, copies) if twin in values]
        if path in candidate.values and not (same_in_copies and twins):
            values[path] = candidate.values[path]
            continue
        legal = (value for value in twins if decision.contains(value))
        values[path] = next(legal, decision.from_unit(0.0))
    return values


def fixed_to_held(space: Space[Any], supernet: Supernet) -> Space[Any]:
    """Return the space with every decision fixed that the supernet does not mix.

    Those inside options and copies that the default does not have are fixed, too: a candidate that
    has them must be one of the supernet's.
    """
    return space.fix(
        {
            one.path: supernet.held_value(one.path)
            if supernet.decides(one.path)
            else one.from_unit(0.0)
            for one in space.decisions
            if one.path not in supernet.options
        }
    )


def _twins(path: str, copies: Mapping[str, str]) -> Iterator[str]:
    """The decision's path in the copy before, of the outermost `Repeat` first."""
    steps = path.split(".")
    for end in range(1, len(steps) + 1):
        copy = ".".join(steps[:end])
        if copy in copies:
            yield join_path(copies[copy], ".".join(steps[end:]))


def _copies(description: Any) -> Iterator[tuple[str, str]]:
    """Path of each copy in a `Repeat` but the first -> path of the copy before it."""
    for path, part in walk_description(description, ""):
        if isinstance(part, RepeatChoice) and not part.same:
            yield from (
                (join_path(path, i), join_path(path, i - 1)) for i in range(1, part.max_times)
            )


def walk_description(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every part of an open description, options and copies included, with its path."""
    if isinstance(part, SharedChoice):
        yield from walk_description(part.description, part.name)
        return
    path = (part.name or path) if isinstance(part, _CHOICES) else path
    yield path, part
    if isinstance(part, OneOfChoice | SubsetOfChoice):
        for label, option in zip(part.labels, part.options, strict=True):
            yield from walk_description(option, join_path(path, label))
    elif isinstance(part, RepeatChoice):
        for copy in ["each"] if part.same else range(part.max_times):
            yield from walk_description(part.block, join_path(path, copy))
    else:
        for step, child in children(part):
            yield from walk_description(child, join_path(path, step))


_CHOICES = (OneOfChoice, SubsetOfChoice, RepeatChoice)
