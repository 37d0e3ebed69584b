"""The contract of strategies, and of the algorithms (their settings) that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """Proposes candidates; does not evaluate, store, or see networks and data.

    A strategy's whole state is what it has been told: a study is resumed by telling a new strategy
    the log. So `ask` must be pure: it depends only on what was told, on `n` and on `rng`.

    It may be a `StrategyWithParents`, a `PreparedStrategy` or a `StrategyWithPrior`, too; what wraps
    another hands all of these on.
    """

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        """Propose candidates to evaluate, without changing the strategy.

        Args:
            n: the largest number of proposals.
            rng: the source of all random draws.

        Returns:
            At most `n` proposals. None while trials run: wait until one ends. None while no trial
            runs: the search is over.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Record a trial that started or ended.

        Args:
            trial: the trial; its status is RUNNING if it started.
        """
        ...


class StrategyWithParents(Strategy, Protocol):
    """A strategy that declares which trials its next children may come from."""

    @property
    def potential_parents(self) -> Iterable[int]:
        """Ids of the trials that the next proposals may have as parents."""
        ...


class PreparedStrategy(Strategy, Protocol):
    """A strategy that declares long work which has to finish before it proposes."""

    @property
    def preparation(self) -> Preparation | None:
        """The preparation to run before the first proposal, or None."""
        ...


class StrategyWithPrior(Strategy, Protocol):
    """A strategy that weighs what is believed of candidates before any is evaluated."""

    @property
    def prior_weights(self) -> Mapping[str, Mapping[str, float]]:
        """Objective -> source of belief -> how far the trials let it be trusted, from 0 to 1."""
        ...


def prior_weights(strategy: Strategy) -> Mapping[str, Mapping[str, float]]:
    """Return how far a strategy trusts each source of prior belief; empty if it declares none."""
    declared: Mapping[str, Mapping[str, float]] = getattr(strategy, "prior_weights", {})
    return declared


def potential_parents(strategy: Strategy) -> Iterable[int]:
    """Return the ids of trials that a strategy may still choose as parents, if it declares them."""
    ids: Iterable[int] = getattr(
        strategy, "potential_parents", ()
    )  # isinstance would ask for it twice
    return ids


def preparation(strategy: Strategy) -> Preparation | None:
    """Return the work that a strategy needs done before it proposes, or None."""
    declared: Preparation | None = getattr(strategy, "preparation", None)
    return declared


MakeStrategy: TypeAlias = "Callable[[Space[Any], Sequence[Objective], Sequence[Limit]], Strategy]"
"""Makes a strategy over a narrowed space, for these objectives and limits."""
MakeShortlist: TypeAlias = Callable[[Any, MakeStrategy], Shortlist]
"""Makes a shortlist from the settings of a supernet, and from what makes the strategy on it."""


@dataclass(frozen=True)
class Problem:
    """A search problem: all that an algorithm is given.

    Args:
        space: of candidates.
        objectives: to optimise, the first being the primary one.
        limits: bounds on metrics.
        knowledge: of candidates before they are evaluated.
        fidelities: the only ones that can be evaluated, ascending to 1; empty for any in (0, 1].
        supernet: makes a shortlist by shared weights; None if the evaluator trains no networks.
        earlier_trials: finished trials of another search of the same space, perhaps on other data.
    """

    space: Space[Any]
    objectives: Sequence[Objective]
    limits: Sequence[Limit] = ()
    knowledge: Knowledge = DefaultKnowledge()  # noqa: RUF009  # it has no state
    fidelities: Sequence[float] = ()
    supernet: MakeShortlist | None = None
    earlier_trials: Sequence[Trial] = ()


class Algorithm(Protocol):
    """A search algorithm with its settings: called with a problem, it makes a strategy.

    netwright's are frozen dataclasses of settings, ``RegularizedEvolution(population=50)``, whose
    repr identifies the search of a run folder. A class that takes a problem and has `ask` and `tell`
    is an algorithm, too.

    An algorithm that proposes at most candidates that it was given declares ``searches = False``. Its
    strategies answer `ask` at once, so that a finished run can be recognised.
    """

    def __call__(self, problem: Problem, /) -> Strategy: ...


def searches(algorithm: object) -> bool:
    """Return whether an algorithm proposes candidates of its own: all do, unless they declare not to."""
    return getattr(algorithm, "searches", True) is not False
