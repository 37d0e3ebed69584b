"""Values of the decisions that a supernet holds, active in a candidate or not."""

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
    """Return a value for each decision of the space: the candidate's where it decides.

    A copy of a `Repeat` that the candidate does not have takes the values of the copy before it;
    with `same_in_copies` every copy does, so that layers of all depths have one width. Every other
    inactive decision has its default.
    """
    values: dict[str, Value] = {}
    previous_copies = dict(_previous_copies(space.description))
    for decision in space.decisions:  # parents first, and a copy after the one before it
        path = decision.path
        earlier_values = [
            values[earlier]
            for earlier in _earlier_paths(path, previous_copies)
            if earlier in values
        ]
        if path in candidate.values and not (same_in_copies and earlier_values):
            values[path] = candidate.values[path]
            continue
        legal = (value for value in earlier_values if decision.contains(value))
        values[path] = next(legal, decision.from_unit(0.0))
    return values


def fix_unmixed_decisions(space: Space[Any], supernet: Supernet) -> Space[Any]:
    """Return the space with every decision fixed that the supernet does not mix.

    Decisions inside options and copies that the default does not have are fixed, too: a candidate
    that has them must be one of the supernet's.
    """
    return space.fix(
        {
            decision.path: supernet.held_value(decision.path)
            if supernet.has_decision(decision.path)
            else decision.from_unit(0.0)
            for decision in space.decisions
            if decision.path not in supernet.options
        }
    )


def _earlier_paths(path: str, previous_copies: Mapping[str, str]) -> Iterator[str]:
    """Yield the decision's path in the copy before, of the outermost `Repeat` first."""
    steps = path.split(".")
    for end in range(1, len(steps) + 1):
        copy = ".".join(steps[:end])
        if copy in previous_copies:
            yield join_path(previous_copies[copy], ".".join(steps[end:]))


def _previous_copies(description: object) -> Iterator[tuple[str, str]]:
    """Yield the path of each copy in a `Repeat` but the first, and the path of the copy before."""
    for path, choice in walk_description(description, ""):
        if isinstance(choice, RepeatChoice) and not choice.same:
            yield from (
                (join_path(path, i), join_path(path, i - 1)) for i in range(1, choice.max_times)
            )


def walk_description(description: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield the path of every part of an open description and the part, all options included."""
    if isinstance(description, SharedChoice):
        yield from walk_description(description.description, description.name)
        return
    if isinstance(description, OneOfChoice | SubsetOfChoice | RepeatChoice):
        path = description.name or path
    yield path, description
    if isinstance(description, OneOfChoice | SubsetOfChoice):
        for label, option in zip(description.labels, description.options, strict=True):
            yield from walk_description(option, join_path(path, label))
    elif isinstance(description, RepeatChoice):
        for copy in ["each"] if description.same else range(description.max_times):
            yield from walk_description(description.block, join_path(path, copy))
    else:
        for step, child in children(description):
            yield from walk_description(child, join_path(path, step))
