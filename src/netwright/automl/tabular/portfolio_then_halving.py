"""The order in which a table's candidates are evaluated: the portfolio, then the algorithm's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netwright.interfaces.strategy import Algorithm
from netwright.space.candidate import Candidate
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.rungs import MultiFidelity


def portfolio_then_halving(
    algorithm: Algorithm, portfolio: Sequence[Candidate], folds: int
) -> Algorithm:
    """The portfolio first, then the algorithm; with folds a candidate begins on one of them, and the
    better half goes on to the others.

    An algorithm that has its own way with fidelities keeps it.
    """
    if isinstance(algorithm, MultiFidelity):
        return replace(
            algorithm, algorithm=InitialCandidates(algorithm.algorithm, tuple(portfolio))
        )
    seeded = InitialCandidates(algorithm, tuple(portfolio))
    if folds < 2:
        return seeded
    return ASHA(
        seeded, eta=folds, min_fidelity=0.99 / folds, random_fraction=0.0, promotion_rate=0.5
    )
