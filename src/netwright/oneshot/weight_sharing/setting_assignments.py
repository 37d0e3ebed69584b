"""Assignments of a layer's open settings: those that its largest weights may depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TypeAlias

from netwright.errors import Phrase, SpaceError, expected
from netwright.space.candidate import Value
from netwright.space.choices import NumberChoice, OneOfChoice
from netwright.space.decision import Decision

Values: TypeAlias = Mapping[str, Value]
"""Decision path -> value."""

_MAX_VARIANTS = 256
"""Variants of one layer that are compared to find the largest weights."""
_MAX_NUMBER_COMBINATIONS = 27
"""Combinations of a layer's numbers up to which all are compared: 3 values of each of 3 numbers."""
_MAX_COMPARED_NUMBERS = 8
"""Values of a number up to which all are compared."""


def is_number(decision: Decision) -> bool:
    """Return whether it chooses a number: one's weights may be slices of another's."""
    choice = decision.choice
    if isinstance(choice, NumberChoice):
        return True
    return isinstance(choice, OneOfChoice) and all(
        isinstance(option, int | float) and not isinstance(option, bool)
        for option in choice.options
    )


def setting_assignments(decisions: Sequence[Decision], path: str) -> Iterator[Values]:
    """Yield settings of one layer: every combination of names, with some of numbers."""
    numbers = {
        decision.path: _compared_numbers(decision) for decision in decisions if is_number(decision)
    }
    names = {decision.path: decision.values for decision in decisions if not is_number(decision)}
    number_combinations = [*_compared_combinations(numbers)]
    if len(number_combinations) * math.prod(map(len, names.values())) > _MAX_VARIANTS:
        rule, got = f"of at most {_MAX_VARIANTS} variants by its own settings", Phrase("more")
        raise SpaceError(expected(f"the layer at {path}", rule, got, "Leave some of them closed."))
    assignments: dict[tuple[tuple[str, Value], ...], Values] = {}
    for named in product(*names.values()):
        for numbered in number_combinations:
            values = {**dict(zip(names, named, strict=True)), **numbered}
            active: dict[str, Value] = {}
            for decision in decisions:
                if decision.is_active(active):
                    active[decision.path] = values[decision.path]
            assignments[tuple(active.items())] = active
    yield from assignments.values()


def _compared_combinations(numbers: Mapping[str, Sequence[Value]]) -> Iterator[Values]:
    """Yield all combinations if they are few, else those that differ from a corner in one number.

    The corners are all smallest numbers, and all largest.
    """
    if math.prod(map(len, numbers.values())) <= _MAX_NUMBER_COMBINATIONS:
        for combination in product(*numbers.values()):
            yield dict(zip(numbers, combination, strict=True))
        return
    for end in (0, -1):
        corner = {path: values[end] for path, values in numbers.items()}
        for path, values in numbers.items():
            yield from ({**corner, path: value} for value in values)


def _compared_numbers(decision: Decision) -> Sequence[Value]:
    """Return the values of a number to compare, smallest first.

    All of a few; of many the two smallest (0 and 1 often mean "without") and the largest; of real
    numbers both ends.
    """
    choice = decision.choice
    if isinstance(choice, NumberChoice) and not choice.integer:
        return (choice.low, choice.high)
    values: Sequence[Value] = decision.values
    if isinstance(choice, OneOfChoice):
        number_of = dict(zip(choice.labels, choice.options, strict=True))
        values = sorted(values, key=lambda label: number_of[label])
    return values if len(values) <= _MAX_COMPARED_NUMBERS else [*values[:2], values[-1]]
