"""How a table is searched: folds or a holdout, how long a fit may take, in which order.

Folds make estimates that an average of models can be chosen by, and an average that is better than
one model; they cost as many fits. So there are as many as the time allows for some families to be
fitted on all of them: a candidate begins on one fold, and the better half goes on to the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from netwright.automl.task_metadata import FEW_ROWS, Brief
from netwright.interfaces.strategy import Algorithm
from netwright.space.candidate import Candidate
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.rungs import MultiFidelity
from netwright.strategies.seeded import Seeded

_BAGS = 5
"""So many candidates, with boosting's cost, have to fit on all folds."""
_START, _A_TREE, _A_CELL = 0.2, 5e-4, 2.2e-8
"""Seconds of one core that a fit of boosting takes: to start, for a tree, for a tree and a cell of
the table; some 500 trees, or 100 for each of more than two classes. Within a factor of 2 on tables
of 546 to 17,365 rows and up to 19 classes, or less where it ends early."""
_WORKERS = 4.0
"""Seconds until workers have started."""
_SHARE_OF_FIT, _SHARE_OF_TRIAL = 6, 3
"""A fit may take the sixth part of the processors' time, a trial the third: there is more to try."""
_SHORT = 95.0
"""Seconds of processors up to which that is so; of a longer search over folds these are parts of the
geometric mean with it, so that more time is for more candidates, too."""
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
    total = max(1.0, seconds - _WORKERS) * workers
    folds = folds or next(
        (k for k in (8, 5, 3) if k <= _by_rows(brief) and _fits(brief, k, total)), 1
    )
    least = min(3.0, seconds)
    of = total if folds == 1 else min(total, math.sqrt(total * _SHORT))
    return Pace(folds, max(least, of / _SHARE_OF_FIT), max(least, of / _SHARE_OF_TRIAL))


def _by_rows(brief: Brief) -> int:
    """More for fewer rows, whose folds are cheap and whose estimates are poor."""
    if brief.rows > _MANY_ROWS:
        return 1
    return 8 if brief.rows < FEW_ROWS else 5


def _fits(brief: Brief, folds: int, total: float) -> bool:
    trees = 100 * brief.classes if brief.classes > 2 else 500
    cost = _START + trees * (_A_TREE + _A_CELL * brief.rows * brief.columns)
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
