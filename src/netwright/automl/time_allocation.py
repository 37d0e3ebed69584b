"""How the seconds that a user gives are shared out: every rule, with its reason.

What lies below is handed seconds, shares or deadlines. How a fit keeps a deadline that it was given
is its own affair, and stands beside it.

On two workers, in seconds; "table" has 1,000 rows, 20 columns and 2 classes, "images" are searched
without folds, and so is a table by a strategy that trains a supernet:

    time      search  reserve  folds  trial   fold    trial    supernet
                               table  table   table   images   images
    10        8.0     2.0      1      3.0     3.0     3.0      4.0
    60        51.6    8.4      8      31.7    15.8    6.5      25.8
    300       282.0   18.0     8      76.6    38.3    35.2     141.0
    3600      3450.0  150.0    8      269.7   134.9   431.2    1725.0
"""

from __future__ import annotations

import math

from netwright.automl.task_metadata import SMALL_TABLE_ROWS, TaskMetadata
from netwright.trials.time_budget import PhaseShares, TimeBudget

MIN_SECONDS = 5
"""Start-up of a worker, one short training and the export."""

# The whole: search and reserve

_RESERVE_SHARE, _RESERVE_SECONDS, _RESERVE_SLOPE = 0.2, 6.0, 0.04
"""Starting and delivering take some 6 seconds, and more where longer searches leave larger models;
of short ones a fifth, so that most of the time is for trials."""
_MAX_WIDE_SHARE = 0.3
"""Of the whole, at most, for what a wide table takes to be exported beyond the usual."""

# Trials, fits of folds and supernets

_TRIALS = 16
"""A trial without folds may take this part of the processors' time: enough trials to choose among."""
_MIN_TRIAL_SECONDS = 3.0
"""Less is no training: importing and compiling alone take two."""
_FITS_IN_SEARCH, _TRIALS_IN_SEARCH = 6, 3
"""A fit may take the sixth part of the processors' time, a trial of several the third: there is more
to try."""
_SHORT_SEARCH = 95.0
"""Seconds of processors up to which that is so; of a longer search over folds these are parts of the
geometric mean with it, so that more time is for more candidates, too."""
_SUPERNET_SHARE = 0.5
"""As much is left for training the networks that it proposes."""
# the defaults of `PhaseShares` and `TimeBudget` are those of a `Study` by itself
_PHASES = PhaseShares(
    judging=0.05, supernet_training=0.75, sampled_training=0.6, sampled_search=0.85
)

# How many folds there is time for

_CANDIDATES_ON_ALL_FOLDS = 5
"""So many, with boosting's cost, have to fit: fewer are no choice."""
_BOOSTING_SECONDS, _BOOSTING_SECONDS_PER_TREE, _BOOSTING_SECONDS_PER_CELL = 0.2, 5e-4, 2.2e-8
"""Seconds of one core that a fit of boosting takes: to start, for a tree, for a tree and a cell of
the table; some 500 trees, or 100 for each of more than two classes. Within a factor of 2 on tables
of 546 to 17,365 rows and up to 19 classes, or less where it ends early."""
_WORKER_START_SECONDS = 4.0
_MAX_ROWS_FOR_FOLDS = 100_000

# Refits and export

REFIT_SAFETY = 1.5
"""Times as long as expected: what a refit may take before there is no use in beginning it."""
REFIT_ON_TIME_SHARE = 0.8
"""A refit that takes more of what it is given may have been cut short."""
REFIT_EXPORT_SECONDS = 0.5
"""Until a refit is exported, checked and measured."""
_EXPORT_SECONDS, _EXPORT_SECONDS_PER_COLUMN = 1.0, 1e-3
"""To write, check and measure a file, and for each column of a table, which is an input with nodes
of its own (2 s for 2,000 columns and one model)."""
_EXPORT_SECONDS_PER_BYTE = 2.5e-7
"""For each byte of what an average has fitted."""
SINGLE_EXPORT_SHARE = 0.25
"""The part of the best's export that one model takes in place of one for each fold."""


def time_budget(seconds: float | None, workers: int, brief: TaskMetadata) -> TimeBudget:
    """The seconds shared out for a task that is searched on `brief.folds` folds.

    Args:
        seconds: wall time in all; None: no clock is looked at.
        workers: how many trials run side by side.
        brief: its folds are 0 where a trial is trained on the task's own split, 1 or more where
            families of models for tables are fitted.
    """
    export = _EXPORT_SECONDS + _EXPORT_SECONDS_PER_COLUMN * brief.columns
    if seconds is None:
        return TimeBudget(export=export, phases=_PHASES)
    search = search_seconds(seconds, brief.columns)
    least = min(_MIN_TRIAL_SECONDS, search)
    trial, fold = max(least, search * workers / _TRIALS), math.inf
    if brief.folds:
        total = _processor_seconds(search, workers)
        shared = total if brief.folds == 1 else min(total, math.sqrt(total * _SHORT_SEARCH))
        fold, trial = max(least, shared / _FITS_IN_SEARCH), max(least, shared / _TRIALS_IN_SEARCH)
    return TimeBudget(
        search, trial, fold, _SUPERNET_SHARE * search, export, seconds - search, _PHASES
    )


def search_seconds(seconds: float, columns: int = 0) -> float:
    """The time for trials: what starting, exporting and measuring will need is kept back."""
    usual = min(_RESERVE_SHARE * seconds, _RESERVE_SECONDS + _RESERVE_SLOPE * seconds)
    wide = _EXPORT_SECONDS_PER_COLUMN * columns
    return seconds - usual - min(wide, _MAX_WIDE_SHARE * seconds)


def n_folds(seconds: float | None, workers: int, brief: TaskMetadata) -> int:
    """How many folds a table is searched on; 1 is a holdout.

    Folds make estimates that an average of models can be chosen by, and an average that is better
    than one model; they cost as many fits. So there are as many as the time allows for some families
    to be fitted on all of them.
    """
    many = _by_rows(brief.rows)
    if seconds is None:
        return many
    total = _processor_seconds(search_seconds(seconds, brief.columns), workers)
    trees = 100 * brief.classes if brief.classes > 2 else 500
    cells = brief.rows * brief.columns
    tree_seconds = _BOOSTING_SECONDS_PER_TREE + _BOOSTING_SECONDS_PER_CELL * cells
    cost = _CANDIDATES_ON_ALL_FOLDS * (_BOOSTING_SECONDS + trees * tree_seconds)
    return next((k for k in (8, 5, 3) if k <= many and k * cost <= total), 1)


def export_seconds(export: float, n_bytes: int) -> float:
    """About what it takes to write, check and measure a model that has fitted so many bytes;
    `export`: see `TimeBudget`."""
    return export + _EXPORT_SECONDS_PER_BYTE * n_bytes


def _processor_seconds(search: float, workers: int) -> float:
    return max(1.0, search - _WORKER_START_SECONDS) * workers


def _by_rows(rows: int) -> int:
    """More for fewer rows, whose folds are cheap and whose estimates are poor."""
    if rows > _MAX_ROWS_FOR_FOLDS:
        return 1
    return 8 if rows < SMALL_TABLE_ROWS else 5
