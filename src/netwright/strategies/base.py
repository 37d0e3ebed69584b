"""The doors for search algorithms: settings that make a strategy, and a strategy of two functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from netwright.errors import InputError, Phrase, expected
from netwright.space.space import Space
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Proposal, Trial

RNG: TypeAlias = np.random.Generator


class Strategy(Protocol):
    """Proposes candidates. Never evaluates, never stores, never sees networks or data.

    A strategy's whole state is what it has been told: a study is resumed by telling a new strategy
    the log. So `ask` must be pure: it depends on what was told, on `n` and on `rng` alone.
    """

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        """At most `n` proposals; never changes the strategy.

        None while trials run: wait until one ends. None while none run: the search is over.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Hears that a trial started (its status is RUNNING) or ended. The only way to learn."""
        ...


class Algorithm(Protocol):
    """A search algorithm with its settings: called with a space and goals, it makes a strategy.

    What ships is a frozen dataclass of settings, ``RegularizedEvolution(population=50)``, whose
    repr tells a run folder which search it holds. A class that takes these three and has `ask` and
    `tell` is one, too.
    """

    def __call__(
        self, space: Space[Any], objectives: Sequence[Objective], limits: Sequence[Limit], /
    ) -> Strategy: ...


def as_algorithm(given: object) -> Algorithm:
    """What may be passed for an algorithm: one, or the class of its settings for their defaults.

    Raises InputError for anything else.
    """
    if isinstance(given, type) and any("__call__" in one.__dict__ for one in given.__mro__):
        given = given()  # a class of settings: their defaults
    if not callable(given):
        rule = "an object with ask and tell, or what makes one of (space, objectives, limits)"
        raise InputError(expected("strategy", rule, Phrase(type(given).__name__)))
    return cast("Algorithm", given)


def name_of(algorithm: object) -> str:
    """What the log says of it: a class by its name, an object by its repr, settings included."""
    if isinstance(algorithm, partial):
        settings = ", ".join(f"{name}={value!r}" for name, value in algorithm.keywords.items())
        return f"{name_of(algorithm.func)}({settings})"
    if name := getattr(algorithm, "__qualname__", ""):
        return str(name)
    plain = type(algorithm).__repr__ is object.__repr__  # with an address in it
    return type(algorithm).__qualname__ if plain else repr(algorithm)
