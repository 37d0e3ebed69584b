"""What proposes candidates, and the settings that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from netwright.interfaces.knowledge import DefaultKnowledge, Knowledge
from netwright.interfaces.preparation import Preparation, Shortlist
from netwright.space.space import Space
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Proposal, Trial

RNG: TypeAlias = np.random.Generator


class Strategy(Protocol):
    """Proposes candidates. Never evaluates, never stores, never sees networks or data.

    A strategy's whole state is what it has been told: a study is resumed by telling a new strategy
    the log. So `ask` must be pure: it depends on what was told, on `n` and on `rng` alone.

    It may be a `Breeder` or a `PreparedStrategy`, too; what wraps another hands both on.
    """

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        """At most `n` proposals; never changes the strategy.

        None while trials run: wait until one ends. None while none run: the search is over.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Hears that a trial started (its status is RUNNING) or ended. The only way to learn."""
        ...


class StrategyWithParents(Strategy, Protocol):
    """An optional part of a strategy: which trials its children may start from."""

    @property
    def potential_parents(self) -> Iterable[int]:
        """The ids of the trials that the next proposals may have as parents."""
        ...


class PreparedStrategy(Strategy, Protocol):
    """An optional part of a strategy: long work that has to be over before it proposes."""

    @property
    def preparation(self) -> Preparation | None:
        """The work; None where there is none."""
        ...


def potential_parents(strategy: Strategy) -> Iterable[int]:
    """Return the ids of trials that a strategy may still choose as parents, if it declares them."""
    ids: Iterable[int] = getattr(strategy, "breeders", ())  # isinstance would ask for it twice
    return ids


def preparation(strategy: Strategy) -> Preparation | None:
    """Return the work that a strategy needs done before it proposes, or None."""
    declared: Preparation | None = getattr(strategy, "preparation", None)
    return declared


MakeStrategy: TypeAlias = "Callable[[Space[Any], Sequence[Objective], Sequence[Limit]], Strategy]"
"""Makes a strategy over a part of the space, for these objectives and limits."""
MakeShortlist: TypeAlias = Callable[[Any, MakeStrategy], Shortlist]
"""From a method of shared weights, and who searches where the method leaves that open."""


@dataclass(frozen=True)
class Problem:
    """What is searched and for what: all that an algorithm is given.

    `fidelities`: the only ones that can be evaluated, rising to 1; empty when any in (0, 1] can.
    `supernet`: makes a shortlist by a method of shared weights, where the evaluator trains networks.
    """

    space: Space[Any]
    objectives: Sequence[Objective]
    limits: Sequence[Limit] = ()
    knowledge: Knowledge = DefaultKnowledge()  # noqa: RUF009  # it has no state
    fidelities: Sequence[float] = ()
    supernet: MakeShortlist | None = None


class Algorithm(Protocol):
    """A search algorithm with its settings: called with a problem, it makes a strategy.

    What ships is a frozen dataclass of settings, ``RegularizedEvolution(population=50)``, whose
    repr tells a run folder which search it holds. A class that takes a problem and has `ask` and
    `tell` is one, too.
    """

    def __call__(self, problem: Problem, /) -> Strategy: ...
