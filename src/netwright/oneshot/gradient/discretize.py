"""Discretization: from scores of options to the best candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from netwright.space.candidate import Candidate, Value
from netwright.space.choices import SubsetOfChoice
from netwright.space.decision import Decision
from netwright.space.space import Space

_MIN_SCORE = 1e-9
"""Floor of scores before the logarithm."""
_MIN_BEAM_WIDTH, _BEAM_WIDTH_PER_CANDIDATE = 64, 4
"""Partial candidates in the beam; more than are returned, since the space's rule may forbid some."""

OptionScores: TypeAlias = Mapping[str, Sequence[float]]
"""Decision path -> a score above 0 for each option; a decision without scores takes its default."""


def discretize(space: Space[Any], scores: OptionScores, n_candidates: int) -> list[Candidate]:
    """Return the candidates with the smallest loss by the scores, best first.

    A candidate's loss is the sum over its decisions of log(best score / its option's score), so
    that a deeper candidate loses nothing by having more decisions. Beam search through the
    decisions in order: exact for the first candidate where no rule of the space forbids it.
    """
    beam: list[tuple[float, dict[str, Value]]] = [(0.0, {})]
    for decision in space.decisions:
        extended = []
        for loss, values in beam:
            if not decision.is_active(values):
                extended.append((loss, values))
                continue
            for value, value_loss in _losses(decision, scores.get(decision.path)):
                extended.append((loss + value_loss, {**values, decision.path: value}))
        extended.sort(key=lambda partial: partial[0])  # stable: ties keep the order of the options
        beam = extended[: max(_MIN_BEAM_WIDTH, _BEAM_WIDTH_PER_CANDIDATE * n_candidates)]
    candidates = (Candidate(values) for _, values in beam)
    return [candidate for candidate in candidates if space.contains(candidate)][:n_candidates]


def _losses(decision: Decision, scores: Sequence[float] | None) -> list[tuple[Value, float]]:
    """Return each legal value of the decision with its loss."""
    if scores is None or len(decision.values) < 2:
        return [(decision.from_unit(0.0), 0.0)]
    logs = [math.log(max(float(score), _MIN_SCORE)) for score in scores]
    choice = decision.choice
    if isinstance(choice, SubsetOfChoice):
        index_of = {label: i for i, label in enumerate(choice.labels)}
        # an option that is left out counts by the logarithm of 1 minus its score
        logs_without = [math.log(max(1 - min(float(s), 1.0), _MIN_SCORE)) for s in scores]
        totals: list[tuple[Value, float]] = [
            (
                subset,
                sum(
                    logs[i] if label in subset else logs_without[i] for label, i in index_of.items()
                ),
            )
            for subset in decision.values
            if isinstance(subset, tuple)
        ]
    else:
        totals = [(value, logs[decision.index(value)]) for value in decision.values]
    best = max(total for _, total in totals)
    return [(value, best - total) for value, total in totals]
