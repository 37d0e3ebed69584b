"""How many candidates there are, exactly, and drawing one so that each is equally likely.

One pass over the decisions, forwards, with a state of what later decisions still ask about; then
backwards, counting the completions of each state. Conditions and shared names are exact in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netwright.space.candidate import Value
from netwright.space.choices import NumberChoice
from netwright.space.decision import Decision

State = frozenset[tuple[str, tuple[bool, ...]]]
"""Decided paths that are still asked about, each with the answers to the conditions on it."""


@dataclass(frozen=True)
class _Step:
    """A decision, its values grouped by what they answer, and the paths nobody asks about after."""

    decision: Decision
    groups: Mapping[tuple[bool, ...], Sequence[Value]]
    forgotten: frozenset[str]


class Counter:
    """The number of candidates of a list of decisions, and uniform draws among them."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._conditions = _conditions(decisions)
        last = _last_asked(decisions)
        self._steps = [
            _Step(one, self._groups(one), frozenset(p for p, at in last.items() if at <= i))
            for i, one in enumerate(decisions)
        ]
        self._counts = self._completions()

    @property
    def size(self) -> int:
        return self._counts[0][frozenset()] if self._steps else 1

    def draw(self, rng: np.random.Generator) -> dict[str, Value]:
        """Each candidate equally likely."""
        values: dict[str, Value] = {}
        state: State = frozenset()
        for i, step in enumerate(self._steps):
            if not self._active(step.decision, state):
                state = self._after(step, state, None)
                continue
            answers = list(step.groups)
            nexts = [self._after(step, state, answer) for answer in answers]
            after = self._counts[i + 1]
            weights = [len(step.groups[a]) * after[s] for a, s in zip(answers, nexts, strict=True)]
            total = sum(weights)  # exact: whole numbers of any size
            pick = int(rng.integers(2**62)) * total >> 62
            for answer, chosen, weight in zip(answers, nexts, weights, strict=True):
                if pick < weight:
                    group = step.groups[answer]
                    values[step.decision.path] = group[int(rng.integers(len(group)))]
                    state = chosen
                    break
                pick -= weight
        return values

    def _groups(self, decision: Decision) -> Mapping[tuple[bool, ...], Sequence[Value]]:
        asked = self._conditions.get(decision.path)
        if asked is None:  # a range of whole numbers may be too long to list
            return {(): decision.values}
        groups: dict[tuple[bool, ...], list[Value]] = {}
        for value in decision.values:
            groups.setdefault(tuple(value in values for values in asked), []).append(value)
        return groups

    def _active(self, decision: Decision, state: State) -> bool:
        if decision.conditions is None:
            return True
        known = dict(state)
        return any(
            path in known and known[path][self._conditions[path].index(values)]
            for path, values in decision.conditions
        )

    def _after(self, step: _Step, state: State, answer: tuple[bool, ...] | None) -> State:
        kept = {pair for pair in state if pair[0] not in step.forgotten}
        if answer is not None and step.decision.path not in step.forgotten and answer:
            kept.add((step.decision.path, answer))
        return frozenset(kept)

    def _completions(self) -> list[dict[State, int]]:
        layers: list[set[State]] = [{frozenset()}]
        for step in self._steps:
            layer: set[State] = set()
            for state in layers[-1]:
                active = self._active(step.decision, state)
                answers = step.groups if active else [None]
                layer |= {self._after(step, state, answer) for answer in answers}
            layers.append(layer)
        counts: list[dict[State, int]] = [dict.fromkeys(layers[-1], 1)]
        for step, layer in zip(reversed(self._steps), reversed(layers[:-1]), strict=True):
            after = counts[0]
            counts.insert(0, {state: self._count(step, state, after) for state in layer})
        return counts

    def _count(self, step: _Step, state: State, after: Mapping[State, int]) -> int:
        if not self._active(step.decision, state):
            return after[self._after(step, state, None)]
        return sum(
            len(group) * after[self._after(step, state, answer)]
            for answer, group in step.groups.items()
        )


def size(decisions: Sequence[Decision]) -> float:
    """The exact number of candidates; infinite when a real number is open."""
    if any(is_real(one) for one in decisions):
        return math.inf
    return Counter(decisions).size


def is_real(decision: Decision) -> bool:
    """Whether it decides a real number."""
    return isinstance(decision.choice, NumberChoice) and not decision.values


def _conditions(decisions: Sequence[Decision]) -> dict[str, tuple[frozenset[Value], ...]]:
    """Path -> the different sets of its values that switch something on."""
    found: dict[str, dict[frozenset[Value], None]] = {}
    for decision in decisions:
        for path, values in decision.conditions or ():
            found.setdefault(path, {})[values] = None
    return {path: tuple(sets) for path, sets in found.items()}


def _last_asked(decisions: Sequence[Decision]) -> dict[str, int]:
    """Path -> the place of the last decision that depends on it."""
    last = {one.path: -1 for one in decisions}
    for i, decision in enumerate(decisions):
        for path, _ in decision.conditions or ():
            last[path] = i
    return last
