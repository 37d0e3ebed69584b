"""The door for search algorithms: a strategy is two functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from netwright.trials.trial import Proposal, Trial


class Strategy(Protocol):
    """Proposes candidates. Never evaluates, never stores, never sees networks or data.

    A strategy's whole state is what it has been told: a study is resumed by telling a new strategy
    the log. So `ask` must be pure: it depends on what was told, on `n` and on `rng` alone.
    """

    def ask(self, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
        """At most `n` proposals; never changes the strategy.

        None while trials run: wait until one ends. None while none run: the search is over.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Hears that a trial started (its status is RUNNING) or ended. The only way to learn."""
        ...
