"""From scores of options to candidates: the best ones, not the best alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from netwright.space.candidate import Candidate, Value
from netwright.space.choices import SubsetOfChoice
from netwright.space.decision import Decision
from netwright.space.space import Space

_LEAST = 1e-9
_WIDTH = 4
"""Partial candidates that are kept, for each that is wanted; at least 64."""

OptionScores = Mapping[str, Sequence[float]]
"""Path -> a score above 0 for each option; of a decision without scores the default is taken."""


def discretize(space: Space[Any], scores: OptionScores, n_candidates: int) -> list[Candidate]:
    """The candidates of the space that lose least against the best option of each decision.

    A candidate loses the logarithm of how much better the best option is than its own, summed over
    its decisions; a deeper candidate so loses nothing by having more of them. Found by a beam
    through the decisions in their order: exact for the first where no rule of the space forbids it.
    """
    beam: list[tuple[float, dict[str, Value]]] = [(0.0, {})]
    for one in space.decisions:
        grown = []
        for loss, values in beam:
            if not one.is_active(values):
                grown.append((loss, values))
                continue
            for value, lost in _losses(one, scores.get(one.path)):
                grown.append((loss + lost, {**values, one.path: value}))
        grown.sort(key=lambda part: part[0])  # stable: ties keep the order of the options
        beam = grown[: max(64, _WIDTH * n_candidates)]
    candidates = (Candidate(values) for _, values in beam)
    return [one for one in candidates if space.contains(one)][:n_candidates]


def _losses(decision: Decision, scores: Sequence[float] | None) -> list[tuple[Value, float]]:
    if scores is None or len(decision.values) < 2:
        return [(decision.from_unit(0.0), 0.0)]
    logs = [math.log(max(float(score), _LEAST)) for score in scores]
    choice = decision.choice
    if isinstance(choice, SubsetOfChoice):
        place = {label: i for i, label in enumerate(choice.labels)}
        # which to leave out is decided as well: by the logarithm of what is left of 1
        rest = [math.log(max(1 - min(float(s), 1.0), _LEAST)) for s in scores]
        totals: list[tuple[Value, float]] = [
            (subset, sum(logs[i] if name in subset else rest[i] for name, i in place.items()))
            for subset in decision.values
            if isinstance(subset, tuple)
        ]
    else:
        totals = [(value, logs[decision.index(value)]) for value in decision.values]
    best = max(total for _, total in totals)
    return [(value, best - total) for value, total in totals]
