"""What is known of a candidate's network before it is paid for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InfeasibleCandidate
from netwright.networks.architecture_features import (
    FeatureCounts,
    NetworkFeatures,
    canonical_text,
    find_networks,
    network_features,
)
from netwright.networks.interfaces.layer import Layer
from netwright.networks.layers.graph import Graph
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.space.visitor import children
from netwright.trials.trial import Metrics

_REMEMBERED = 50_000
INFEASIBLE = "infeasible"
"""The canonical form of all that cannot be built: who has seen one need not pay for another."""
_EMPTY = NetworkFeatures({}, {}, {})


@dataclass(frozen=True)
class Known:
    """All that is known of one candidate; each bag as hashed texts (rising) and their counts."""

    canonical: str
    groups: tuple[tuple[NDArray[np.uint64], NDArray[np.float64]], ...]
    metrics: Metrics
    scores: Metrics


@dataclass(frozen=True, eq=False)
class NetworkKnowledge:
    """Knowledge of the candidates of `space`, whose description has networks in it.

    Features: counts of paths, of subtrees (each row of length 1, so that distances are those of
    the cosine), and of operations, with the logarithms of the sizes. `costs`: the metrics known of
    a candidate and its filled description; `sizes`: hints from the description, the number of
    parameters among the costs where there are none. Either may raise InfeasibleCandidate. A space
    without a network has no features. Answers are remembered.
    """

    space: Space[Any]
    costs: Callable[[Candidate, Any], Metrics]
    prior_scores: Callable[[Any], Metrics] | None = None
    _known: dict[Candidate, Known] = field(default_factory=dict, init=False, repr=False)

    def canonical(self, candidate: Candidate) -> str:
        return self.about(candidate).canonical

    def metrics(self, candidate: Candidate) -> Metrics:
        return self.about(candidate).metrics

    def scores(self, candidate: Candidate) -> Metrics:
        return self.about(candidate).scores

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        found = [self.about(one).groups for one in candidates]
        groups = [_matrix([one[group] for one in found]) for group in range(3)]
        lengths = np.sqrt((groups[1] ** 2).sum(1, keepdims=True))  # (n, 1)
        groups[1] = groups[1] / np.maximum(lengths, 1e-12)
        return [
            group for group, always in zip(groups, self._always, strict=True)
            if always or group.shape[1]
        ]  # fmt: skip

    @cached_property
    def _always(self) -> tuple[bool, bool, bool]:
        """Which groups there are even where no candidate asked about has anything in them."""
        layers = _holds(self.space.description, Layer)
        return _holds(self.space.description, Graph), layers, layers

    def about(self, candidate: Candidate) -> Known:
        """All that is known of the candidate."""
        known = self._known.get(candidate)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[candidate] = self._look(candidate)
        return known

    def _look(self, candidate: Candidate) -> Known:
        description = self.space.fill(candidate)
        try:
            canonical, views = canonical_text(description), _views(description)
        except InfeasibleCandidate:
            canonical, views = INFEASIBLE, _EMPTY
        metrics: Metrics = {}
        scores: Metrics = {}
        try:
            metrics = dict(self.costs(candidate, description))
            scores = self.prior_scores(description) if self.prior_scores else _parameters(metrics)
        except InfeasibleCandidate:
            canonical = INFEASIBLE
        sizes = {  # hints other than sizes may lie below 0
            f"log {name}": math.copysign(math.log2(1 + abs(value)), value)
            for name, value in scores.items()
        }
        views = views._replace(counts={**views.counts, **sizes})
        return Known(canonical, tuple(map(_hashed, views)), metrics, scores)


def _holds(part: Any, kind: type) -> bool:
    """Whether there is one of the kind anywhere in an open description."""
    return isinstance(part, kind) or any(_holds(child, kind) for _, child in children(part))


def _parameters(metrics: Metrics) -> Metrics:
    return {"parameters": metrics["parameters"]} if "parameters" in metrics else {}


def _views(description: Any) -> NetworkFeatures:
    """The bags of every network in the description, put together."""
    found = _EMPTY
    for place, network in enumerate(find_networks(description)):
        for_one = network_features(network)
        found = NetworkFeatures(*(
            {**before, **{f"{place}/{text}": n for text, n in new.items()}}
            for before, new in zip(found, for_one, strict=True)
        ))  # fmt: skip
    return found


def _hashed(bag: FeatureCounts) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Eight bytes a text: stable over processes, unlike `hash`."""
    texts = [int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) for text in bag]
    identities = np.array(texts, np.uint64)
    order = np.argsort(identities)
    return identities[order], np.array([*bag.values()], np.float64)[order]


def _matrix(
    rows: Sequence[tuple[NDArray[np.uint64], NDArray[np.float64]]],
) -> NDArray[np.float64]:
    """(n, d) counts, a column for each text that any row has."""
    if not rows:
        return np.zeros((0, 0))
    columns, place = np.unique(np.concatenate([one[0] for one in rows]), return_inverse=True)
    found = np.zeros((len(rows), len(columns)))
    row = np.repeat(np.arange(len(rows)), [len(one[0]) for one in rows])
    found[row, place] = np.concatenate([one[1] for one in rows])
    return found
