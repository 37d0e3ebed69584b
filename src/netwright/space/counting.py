"""Count the candidates of a space exactly, and draw from them uniformly.

A dynamic programme over the decisions in order: its state is what later conditions still depend
on, and backwards it counts the completions of each state. Conditions and shared names are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netwright.space.candidate import Value
from netwright.space.choices import NumberChoice
from netwright.space.decision import Decision

Outcome = tuple[bool, ...]
"""Whether a decided value meets each condition on its path."""
State = frozenset[tuple[str, Outcome]]
"""Decided paths that later conditions depend on, each with its outcome."""


@dataclass(frozen=True)
class _Step:
    """A decision with its values grouped by outcome, and the paths that no later one depends on."""

    decision: Decision
    values_by_outcome: Mapping[Outcome, Sequence[Value]]
    forgotten: frozenset[str]


class CandidateCounter:
    """The number of candidates of a list of decisions, and uniform draws among them."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._conditions = _conditions_by_path(decisions)
        last_use = _last_use(decisions)
        self._steps = [
            _Step(
                decision,
                self._values_by_outcome(decision),
                frozenset(path for path, last in last_use.items() if last <= i),
            )
            for i, decision in enumerate(decisions)
        ]
        self._counts = self._count_completions()

    @property
    def n_candidates(self) -> int:
        """The exact number of candidates."""
        return self._counts[0][frozenset()] if self._steps else 1

    def draw(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw a candidate's values, each candidate equally likely."""
        values: dict[str, Value] = {}
        state: State = frozenset()
        for i, step in enumerate(self._steps):
            if not self._is_active(step.decision, state):
                state = self._next_state(step, state, None)
                continue
            outcomes = list(step.values_by_outcome)
            next_states = [self._next_state(step, state, outcome) for outcome in outcomes]
            completions = self._counts[i + 1]
            weights = [
                len(step.values_by_outcome[outcome]) * completions[next_state]
                for outcome, next_state in zip(outcomes, next_states, strict=True)
            ]
            total = sum(weights)  # exact: Python's integers are unbounded
            pick = int(rng.integers(2**62)) * total >> 62
            for outcome, next_state, weight in zip(outcomes, next_states, weights, strict=True):
                if pick < weight:
                    group = step.values_by_outcome[outcome]
                    values[step.decision.path] = group[int(rng.integers(len(group)))]
                    state = next_state
                    break
                pick -= weight
        return values

    def _values_by_outcome(self, decision: Decision) -> Mapping[Outcome, Sequence[Value]]:
        conditions = self._conditions.get(decision.path)
        if conditions is None:  # a range of integers may be too long to list
            return {(): decision.values}
        groups: dict[Outcome, list[Value]] = {}
        for value in decision.values:
            outcome = tuple(value in activating for activating in conditions)
            groups.setdefault(outcome, []).append(value)
        return groups

    def _is_active(self, decision: Decision, state: State) -> bool:
        if decision.conditions is None:
            return True
        outcome_of = dict(state)
        return any(
            path in outcome_of and outcome_of[path][self._conditions[path].index(activating)]
            for path, activating in decision.conditions
        )

    def _next_state(self, step: _Step, state: State, outcome: Outcome | None) -> State:
        remembered = {pair for pair in state if pair[0] not in step.forgotten}
        if outcome is not None and step.decision.path not in step.forgotten and outcome:
            remembered.add((step.decision.path, outcome))
        return frozenset(remembered)

    def _count_completions(self) -> list[dict[State, int]]:
        """Return, before each step and at the end, the number of completions of each state."""
        layers: list[set[State]] = [{frozenset()}]
        for step in self._steps:
            layer: set[State] = set()
            for state in layers[-1]:
                is_active = self._is_active(step.decision, state)
                outcomes = step.values_by_outcome if is_active else [None]
                layer |= {self._next_state(step, state, outcome) for outcome in outcomes}
            layers.append(layer)
        counts: list[dict[State, int]] = [dict.fromkeys(layers[-1], 1)]
        for step, layer in zip(reversed(self._steps), reversed(layers[:-1]), strict=True):
            completions = counts[0]
            counts.insert(0, {state: self._count(step, state, completions) for state in layer})
        return counts

    def _count(self, step: _Step, state: State, completions: Mapping[State, int]) -> int:
        if not self._is_active(step.decision, state):
            return completions[self._next_state(step, state, None)]
        return sum(
            len(group) * completions[self._next_state(step, state, outcome)]
            for outcome, group in step.values_by_outcome.items()
        )


def n_candidates(decisions: Sequence[Decision]) -> float:
    """Return the exact number of candidates; infinity if a real number is open."""
    if any(is_real(decision) for decision in decisions):
        return math.inf
    return CandidateCounter(decisions).n_candidates


def is_real(decision: Decision) -> bool:
    """Return whether an open real number is decided."""
    return isinstance(decision.choice, NumberChoice) and not decision.values


def _conditions_by_path(decisions: Sequence[Decision]) -> dict[str, tuple[frozenset[Value], ...]]:
    """Return path -> the distinct sets of its values that activate other decisions."""
    conditions: dict[str, dict[frozenset[Value], None]] = {}
    for decision in decisions:
        for path, activating in decision.conditions or ():
            conditions.setdefault(path, {})[activating] = None
    return {path: tuple(sets) for path, sets in conditions.items()}


def _last_use(decisions: Sequence[Decision]) -> dict[str, int]:
    """Return path -> index of the last decision that depends on it; -1 if none does."""
    last_use = {decision.path: -1 for decision in decisions}
    for i, decision in enumerate(decisions):
        for path, _ in decision.conditions or ():
            last_use[path] = i
    return last_use
