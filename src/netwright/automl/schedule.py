"""How a table is searched: folds or a holdout, how long a fit may take, in which order.

Folds make estimates that an average of models can be chosen by, and an average that is better than
one model; they cost as many fits. So there are as many as the time allows for some families to be
fitted on all of them: a candidate begins on one fold, and the better half goes on to the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from netwright.automl.brief import Brief
from netwright.space.candidate import Candidate
from netwright.strategies.asha import ASHA
from netwright.strategies.base import Algorithm
from netwright.strategies.fidelity import MultiFidelity
from netwright.strategies.seeded import Seeded

_BAGS = 5
"""So many candidates, with boosting's cost, have to fit on all folds."""
_SECONDS = 0.25, 1.2e-6
"""One fit of boosting takes on one core about so long, and so long more for a cell and a tree of a
round (a class each, above two): from 442 to 40,000 rows and 2 to 26 classes, within a factor of 2."""
_FEW_ROWS = 3_000
_MANY_ROWS = 100_000


@dataclass(frozen=True)
class Pace:
    """`folds` 1 is a holdout; the seconds are the most that a fit and a trial may take."""

    folds: int
    fold_seconds: float
    trial_seconds: float | None


def pace(brief: Brief, seconds: float | None, workers: int, folds: int = 0) -> Pace:
    """For so many seconds of search on so many workers; None: no clock is looked at.

    `folds` above 0 are those of a run that is gone on with.
    """
    if seconds is None:
        return Pace(folds or _by_rows(brief), math.inf, None)
    total = seconds * workers
    folds = folds or next(
        (k for k in (8, 5, 3) if k <= _by_rows(brief) and _fits(brief, k, total)), 1
    )
    return Pace(folds, total / (4 * folds), max(min(3.0, seconds), total / 3))


def _by_rows(brief: Brief) -> int:
    """More for fewer rows, whose folds are cheap and whose estimates are poor."""
    if brief.rows > _MANY_ROWS:
        return 1
    return 8 if brief.rows < _FEW_ROWS else 5


def _fits(brief: Brief, folds: int, total: float) -> bool:
    start, each = _SECONDS
    trees = brief.classes if brief.classes > 2 else 1
    cost = start + each * brief.rows * brief.columns * trees * 20
    return _BAGS * folds * cost <= total


def schedule(algorithm: Algorithm, portfolio: Sequence[Candidate], folds: int) -> Algorithm:
    """The portfolio first, then the algorithm; with folds the better half goes on to all of them.

    An algorithm that has its own way with fidelities keeps it.
    """
    if isinstance(algorithm, MultiFidelity):
        return replace(algorithm, algorithm=Seeded(algorithm.algorithm, tuple(portfolio)))
    seeded = Seeded(algorithm, tuple(portfolio))
    if folds < 2:
        return seeded
    return ASHA(seeded, eta=folds, least=0.99 / folds, random=0.0, promote=0.5)
