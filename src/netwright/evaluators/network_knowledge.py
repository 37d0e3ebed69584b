"""Knowledge of a candidate's network before it is evaluated: features, costs, prior scores."""

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
    network_depth,
    network_features,
)
from netwright.networks.interfaces.layer import Layer
from netwright.networks.layers.graph import Graph
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.space.visitor import children
from netwright.trials.trial import Metrics

_MAX_CACHED_CANDIDATES = 50_000
"""The cache is emptied when it is larger: a candidate's features take a few kilobytes."""
INFEASIBLE_FORM = "infeasible"
"""The canonical form of every network that cannot be built, so that strategies try only one."""
_NO_FEATURES = NetworkFeatures({}, {}, {})
_HashedCounts = tuple[NDArray[np.uint64], NDArray[np.float64]]
"""Hashed texts in rising order, and the count of each."""


@dataclass(frozen=True)
class CandidateKnowledge:
    """Knowledge about one candidate before its evaluation; see `Knowledge`."""

    canonical: str
    feature_groups: tuple[_HashedCounts, ...]
    metrics: Metrics
    scores: Metrics


@dataclass(frozen=True, eq=False)
class NetworkKnowledge:
    """Knowledge of candidates whose descriptions have networks in them; cached by candidate.

    Feature groups: counts of paths; counts of subtrees, each row scaled to length 1, so that
    distances are those of the cosine; counts of operations, with the logarithms of the scores. A
    space without a network has no features.

    Args:
        space: of the candidates.
        compute_costs: metrics of a candidate and its filled description that need no evaluation.
            May raise InfeasibleCandidate.
        compute_prior_scores: scores of a filled description, higher for better candidates. By
            default parameters and FLOPs, if they are among the costs. May raise
            InfeasibleCandidate. The depth is added, if the space has a network.
        form_of: canonical form of a candidate, where a benchmark decides which are the same; None
            for that of its networks and settings.
    """

    space: Space[Any]
    compute_costs: Callable[[Candidate, Any], Metrics]
    compute_prior_scores: Callable[[Any], Metrics] | None = None
    form_of: Callable[[Candidate], str] | None = None
    _cache: dict[Candidate, CandidateKnowledge] = field(
        default_factory=dict, init=False, repr=False
    )

    def canonical(self, candidate: Candidate) -> str:
        return self.look_up(candidate).canonical

    def metrics(self, candidate: Candidate) -> Metrics:
        return self.look_up(candidate).metrics

    def scores(self, candidate: Candidate) -> Metrics:
        return self.look_up(candidate).scores

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        by_candidate = [self.look_up(candidate).feature_groups for candidate in candidates]
        groups = [_count_matrix([groups[i] for groups in by_candidate]) for i in range(3)]
        norms = np.sqrt((groups[1] ** 2).sum(1, keepdims=True))  # (n, 1)
        groups[1] = groups[1] / np.maximum(norms, 1e-12)
        return [
            group
            for group, is_always_present in zip(groups, self._always_present, strict=True)
            if is_always_present or group.shape[1]
        ]

    @cached_property
    def _always_present(self) -> tuple[bool, bool, bool]:
        """Which feature groups are returned even if they are empty for the candidates at hand."""
        has_layers = _contains(self.space.description, Layer)
        return _contains(self.space.description, Graph), has_layers, has_layers

    def look_up(self, candidate: Candidate) -> CandidateKnowledge:
        """Return what is known of a candidate, from the cache if it is there."""
        knowledge = self._cache.get(candidate)
        if knowledge is None:
            if len(self._cache) >= _MAX_CACHED_CANDIDATES:
                self._cache.clear()
            knowledge = self._cache[candidate] = self._compute(candidate)
        return knowledge

    def _compute(self, candidate: Candidate) -> CandidateKnowledge:
        description = self.space.fill(candidate)
        try:
            canonical, features = canonical_text(description), _features_of(description)
        except InfeasibleCandidate:
            canonical, features = INFEASIBLE_FORM, _NO_FEATURES
        metrics: Metrics = {}
        scores: Metrics = {}
        try:
            metrics = dict(self.compute_costs(candidate, description))
            scores = (
                self.compute_prior_scores(description)
                if self.compute_prior_scores
                else _sizes(metrics)
            )
            networks = list(find_networks(description))
            if networks:
                scores = {**scores, "depth": float(sum(map(network_depth, networks)))}
        except InfeasibleCandidate:
            canonical = INFEASIBLE_FORM
        log_scores = {  # scores other than sizes may be negative
            f"log {name}": math.copysign(math.log2(1 + abs(score)), score)
            for name, score in scores.items()
        }
        features = features._replace(counts={**features.counts, **log_scores})
        if self.form_of is not None and canonical != INFEASIBLE_FORM:
            canonical = self.form_of(candidate)
        return CandidateKnowledge(canonical, tuple(map(_hash_counts, features)), metrics, scores)


def _contains(description: object, kind: type) -> bool:
    """Return whether an open description has an instance of `kind` anywhere in it."""
    if isinstance(description, kind):
        return True
    return any(_contains(child, kind) for _, child in children(description))


def _sizes(metrics: Metrics) -> Metrics:
    return {name: metrics[name] for name in ("parameters", "flops") if name in metrics}


def _features_of(description: object) -> NetworkFeatures:
    """Return the features of all networks in a description, their texts prefixed by the network."""
    merged = _NO_FEATURES
    for i, network in enumerate(find_networks(description)):
        groups = zip(merged, network_features(network), strict=True)
        merged = NetworkFeatures(
            *(
                {**before, **{f"{i}/{text}": count for text, count in added.items()}}
                for before, added in groups
            )
        )
    return merged


def _hash_counts(counts: FeatureCounts) -> _HashedCounts:
    """Hash texts to eight bytes each: stable over processes, unlike `hash`."""
    hashes = [int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) for text in counts]
    hash_array = np.array(hashes, np.uint64)
    order = np.argsort(hash_array)
    return hash_array[order], np.array([*counts.values()], np.float64)[order]


def _count_matrix(rows: Sequence[_HashedCounts]) -> NDArray[np.float64]:
    """Return the counts as a matrix (n, d), with a column for each text that any row has."""
    if not rows:
        return np.zeros((0, 0))
    hashes, column = np.unique(np.concatenate([row[0] for row in rows]), return_inverse=True)
    matrix = np.zeros((len(rows), len(hashes)))
    row_index = np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows])
    matrix[row_index, column] = np.concatenate([row[1] for row in rows])
    return matrix
