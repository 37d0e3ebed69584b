"""Division of a limit on wall time among the phases of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SUPERNET_SHARE = 0.5
"""Default share of a search for its supernet; the networks that it proposes get as much."""


@dataclass(frozen=True)
class PhaseShares:
    """When the phases of one trial, or of one supernet, end: shares of its time.

    Args:
        judging: of a trial, kept back for scoring the validation rows and saving.
        supernet_training: of a gradient-based search; what follows is ranking and discretization.
        sampled_training: of a search over sampled sub-networks.
        sampled_search: the same, until sub-networks have been searched as well; the rest checks how
            well shared weights rank networks.
    """

    judging: float = 0.05
    supernet_training: float = 0.75
    sampled_training: float = 0.6
    sampled_search: float = 0.85


@dataclass(frozen=True)
class TimeBudget:
    """Seconds of wall time for each phase of a search; infinite if time is not limited.

    Args:
        search: for trials, and for the supernet before them.
        trial: limit of one trial.
        baseline: limit of a trial that the study was given.
        fold: limit of one fit of a fold.
        supernet: of `search`, the limit of training a supernet, or of other work before the strategy
            proposes.
        export: about what writing, checking and measuring one model takes, besides the time that
            grows with its size.
        reserve: besides `search`, for starting and for delivering.
        phase_shares: how a trial or a supernet divides its own time.
    """

    search: float = math.inf
    trial: float = math.inf
    baseline: float = math.inf
    fold: float = math.inf
    supernet: float = math.inf
    export: float = 0.0
    reserve: float = 0.0
    phase_shares: PhaseShares = PhaseShares()

    def supernet_within(self, seconds_left: float) -> float:
        """Return how much of the time left a supernet may take.

        Args:
            seconds_left: seconds of the search that are left.

        Returns:
            Seconds: the share that `supernet` has of `search`; half if `search` is infinite.
        """
        share = _SUPERNET_SHARE if math.isinf(self.search) else self.supernet / self.search
        return share * seconds_left
