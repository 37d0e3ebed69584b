"""How a task is searched: the strategy, over which space, from which seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from netwright.automl import name_resolution
from netwright.automl.tabular.families import family_names
from netwright.catalog import DEFAULT_STRATEGY
from netwright.errors import InputError, check_whole, expected


@dataclass(frozen=True)
class Method:
    """How to search.

    Args:
        strategy: a name of the catalog, ``module:Object``, or an algorithm with its settings.
        families: of models for tables, one or several; all when empty.
        space: in place of the one that suits the task: a Space, a description with open choices,
            ``module:Object`` for either, or for images a name of the catalog.
        seed: of what is drawn.
    """

    strategy: str | Any = DEFAULT_STRATEGY
    families: str | Sequence[str] = ()
    space: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, 0)
        if self.space is not None and self.family_names:
            rule = "left out where the space is given"
            raise InputError(expected("families", rule, ", ".join(self.family_names)))

    @cached_property
    def algorithm(self) -> Any:
        """The strategy's settings, or the strategy itself. InputError where there is none."""
        return (
            name_resolution.strategy_by_name(self.strategy)
            if isinstance(self.strategy, str)
            else self.strategy
        )

    @cached_property
    def family_names(self) -> tuple[str, ...]:
        """The families as a tuple. InputError for anything but names."""
        return family_names(self.families)
