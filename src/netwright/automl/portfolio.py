"""Strong candidates that are tried before anything is searched: there is always an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netwright import catalog
from netwright.automl.image.default_configs import image_configs
from netwright.automl.tabular.default_configs import table_configs
from netwright.automl.task_metadata import TaskMetadata
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space
from netwright.trials.trial import FAMILY


def portfolio(
    space: Space[Any], brief: TaskMetadata, leave_out_dataset: str = ""
) -> list[Candidate]:
    """Complete candidates of `space_for(brief)`: the cheapest, then by what they promise.

    Of a space of the user's own its default. `without`: as `table_wishes`.
    """
    if brief.space:
        return [space.default()]
    wishes = (
        image_configs(min(brief.image[:2]))
        if brief.image
        else table_configs(brief, leave_out_dataset)
    )
    return _cheapest_first(list(dict.fromkeys(complete_candidate(space, wish) for wish in wishes)))


_CHEAPEST = [row.name for row in sorted(catalog.FAMILIES, key=lambda row: row.speed_rank)]
"""Families by how soon a first model is there, on most tables."""


def _cheapest_first(candidates: list[Candidate]) -> list[Candidate]:
    """With one of the cheapest family in front: however little time there is, there is an answer."""
    families = {candidate.values.get(FAMILY) for candidate in candidates}
    cheapest = next((family for family in _CHEAPEST if family in families), None)
    first = next((c for c in candidates if c.values.get(FAMILY) == cheapest), candidates[0])
    return [first, *(candidate for candidate in candidates if candidate is not first)]


def complete_candidate(space: Space[Any], config: Mapping[str, Value]) -> Candidate:
    """The default candidate with these decisions, where they are active and legal."""
    values: dict[str, Value] = {}
    for decision in space.decisions:
        if decision.path in config and decision.contains(config[decision.path]):
            values[decision.path] = config[decision.path]
    return space.fix(values).default()
