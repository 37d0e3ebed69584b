"""Method of a search: strategy, families or space, and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from netwright.automl.name_resolution import strategy_by_name
from netwright.automl.tabular.families import family_names
from netwright.catalog import DEFAULT_STRATEGY, WITHOUT_SEARCH
from netwright.errors import InputError, check_whole, expected
from netwright.interfaces.strategy import Algorithm, Strategy


@dataclass(frozen=True)
class Method:
    """Method of a search.

    Args:
        strategy: a name of the catalog, ``module:Object``, or an algorithm with its settings; None
            for ``"none"``: only the default configurations are trained.
        families: families of models for tables, one or several; empty for all.
        space: replaces the default space of the task: a Space, a description with open choices,
            ``module:Object`` for either, or for images a name of the catalog.
        seed: seed of all random draws.
    """

    strategy: str | Strategy | Algorithm | None = DEFAULT_STRATEGY
    families: str | Sequence[str] = ()
    space: object = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy is None:
            object.__setattr__(self, "strategy", WITHOUT_SEARCH[0].name)
        check_whole("seed", self.seed, 0)
        if self.space is not None and self.family_names:
            rule = "left out where the space is given"
            raise InputError(expected("families", rule, ", ".join(self.family_names)))

    @cached_property
    def algorithm(self) -> Strategy | Algorithm:
        """The strategy, or the algorithm that makes one; InputError if the name is unknown."""
        strategy = self.strategy
        assert strategy is not None  # its name stands for it
        return strategy_by_name(strategy) if isinstance(strategy, str) else strategy

    @cached_property
    def family_names(self) -> tuple[str, ...]:
        """The families as a tuple; InputError unless they are names."""
        return family_names(self.families)
