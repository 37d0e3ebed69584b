"""No search: evaluate only the candidates that a study is given, such as the default configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.trials.trial import Proposal, Trial


@dataclass(frozen=True)
class NoSearch:
    """Propose nothing: only a study's baselines, or the portfolio of `fit`, are evaluated.

    The study ends as soon as these are evaluated, whatever is left of its budget.

    Example:
        >>> model = nw.AutoClassifier(strategy=nw.NoSearch()).fit(X, y)
        >>> halving = nw.ASHA(nw.InitialCandidates(nw.NoSearch(), candidates))
    """

    searches: ClassVar[bool] = False

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return NoSearchStrategy()


class NoSearchStrategy:
    """The strategy made by `NoSearch`."""

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        return []

    def tell(self, trial: Trial) -> None:
        """Record nothing."""
