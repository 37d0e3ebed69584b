"""Strong default candidates that are evaluated before the search begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netwright import catalog
from netwright.automl.image.default_configs import image_configs
from netwright.automl.tabular.default_configs import PartialCandidate, table_configs
from netwright.automl.task_metadata import TaskMetadata
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space
from netwright.trials.trial import FAMILY

_FASTEST_FIRST = [row.name for row in sorted(catalog.FAMILIES, key=lambda row: row.speed_rank)]
"""Families by how soon they deliver a first model on most tables."""


def portfolio(
    space: Space[Any], metadata: TaskMetadata, leave_out_dataset: str = "", metric: str = ""
) -> list[Candidate]:
    """Return the candidates to evaluate first: one of the fastest family, then the most promising.

    Args:
        space: the space of `space_for`.
        metadata: of the task. For a user's own space, only the default candidate is returned.
        leave_out_dataset: see `table_configs`.
        metric: see `image_configs`.
    """
    if metadata.space:
        return [space.default()]
    configs: Sequence[PartialCandidate] = (
        image_configs(metadata, metric)
        if metadata.image
        else table_configs(metadata, leave_out_dataset)
    )
    candidates = dict.fromkeys(complete_candidate(space, config) for config in configs)
    return _fastest_first(list(candidates))


def _fastest_first(candidates: list[Candidate]) -> list[Candidate]:
    """Move one of the fastest family to the front, so that even a short search has a model."""
    families = {candidate.values.get(FAMILY) for candidate in candidates}
    fastest = next((family for family in _FASTEST_FIRST if family in families), None)
    first = next(
        (candidate for candidate in candidates if candidate.values.get(FAMILY) == fastest),
        candidates[0],
    )
    return [first, *(candidate for candidate in candidates if candidate is not first)]


def complete_candidate(space: Space[Any], config: PartialCandidate) -> Candidate:
    """Return the default candidate with the decisions of `config` that are active and legal."""
    values: dict[str, Value] = {}
    for decision in space.decisions:
        if decision.path in config and decision.contains(config[decision.path]):
            values[decision.path] = config[decision.path]
    return space.fix(values).default()
