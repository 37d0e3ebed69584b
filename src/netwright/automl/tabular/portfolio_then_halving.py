"""Evaluate the portfolio first, then the algorithm's candidates, with successive halving over folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netwright.interfaces.strategy import Algorithm
from netwright.space.candidate import Candidate
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.rungs import MultiFidelity


def portfolio_then_halving(
    algorithm: Algorithm, portfolio: Sequence[Candidate], n_folds: int
) -> Algorithm:
    """Return an algorithm that evaluates the portfolio first, then what `algorithm` proposes.

    With several folds, each candidate starts on one fold, and the better half is evaluated on all.
    A multi-fidelity algorithm keeps its own way to allocate fidelities.

    Args:
        algorithm: proposes candidates after the portfolio.
        portfolio: candidates to start with.
        n_folds: number of folds; 0 or 1 for a single split.
    """
    if isinstance(algorithm, MultiFidelity):
        return replace(
            algorithm, algorithm=InitialCandidates(algorithm.algorithm, tuple(portfolio))
        )
    portfolio_first = InitialCandidates(algorithm, tuple(portfolio))
    if n_folds < 2:
        return portfolio_first
    return ASHA(
        portfolio_first,
        eta=n_folds,
        min_fidelity=0.99 / n_folds,
        random_fraction=0.0,
        promotion_rate=0.5,
    )
