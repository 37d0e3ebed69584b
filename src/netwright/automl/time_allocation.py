"""Allocation of the user's seconds to the parts of a search: every rule, with its reason.

Modules below get seconds, fractions or deadlines. How a fit keeps its deadline is decided there.

Seconds on two workers. "table" has 1,000 rows, 20 columns and 2 classes. Images are searched without
folds, and so are tables by a strategy that trains a supernet; what their search leaves is for the
final training and for delivery. "first" is the trial of the default:

    time      table                                    images                      supernet
              search  reserve  folds  trial   fold     search  first  trial        search  supernet
    10        8.0     2.0      1      3.0     3.0      7.0     3.0    3.0          7.0     3.5
    60        51.6    8.4      8      31.7    15.8     25.2    3.0    10.1         36.0    18.0
    300       282.0   18.0     8      76.6    38.3     108.0   9.0    43.2         180.0   90.0
    3600      3450.0  150.0    8      269.7   134.9    1296.0  108.0  518.4        2160.0  1080.0
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from netwright.automl.task_metadata import SMALL_TABLE_ROWS, TaskMetadata
from netwright.trials.time_budget import PhaseShares, TimeBudget

SearchKind: TypeAlias = Literal["none", "candidates", "supernet"]
"""Kind of a search by its trainings: of a default alone, of candidates, or of a supernet first."""

MIN_SECONDS = 5
"""Enough to start a worker, for one short training and for the export."""

# Search and reserve

_RESERVE_FRACTION, _RESERVE_SECONDS, _RESERVE_SLOPE = 0.2, 6.0, 0.04
"""Reserve for start-up and delivery: 6 seconds and 4 % of the time, as longer searches leave larger
models; at most a fifth, so that most of a short search is left for trials."""
_MAX_WIDE_TABLE_FRACTION = 0.3
"""Fraction of the time that the columns of a wide table may add to the reserve."""

# Images: a short search, then a final training

_IMAGE_SEARCH_SHARES = ((240.0, 0.42), (math.inf, 0.36))
"""Seconds in all, and the largest share of them for comparing candidates; a comparison ends much
earlier where the default leads. On CIFAR-10 34 % of 120 s cost .014 of accuracy, 14 % cost .005; a
fixed recipe gains .005 from 120 s to 360 s."""
SHORT_IMAGE_SECONDS = 45.0
"""Seconds in all below which the workers of the final training start beside the first trial, although
that slows it down: there is no other time to start them. Nor is there time to find out that other
programs compute on their cores: below, threads do not keep these busy while they wait."""
_PLANNED_SHARE = 0.7
"""Share of the search that a comparison may plan with; the rest is for trials that take longer."""
_IMAGE_SUPERNET_SHARE = 0.6
"""The same for a strategy that trains a supernet first."""
_FIRST_SECONDS, _MAX_FIRST_SHARE = 11.0, 0.7
"""Workers start and a first model is trained in 8 to 11 seconds; a short search has nothing else."""
_MIN_IMAGE_TRIALS = 5
"""A trial of images may take this part of the search's processor time."""
_FIRST_MODEL_SHARE = 0.03
"""Share of the time for training the first model, which is delivered if all else fails."""
MIN_FINAL_SECONDS = 3.0
"""With less time the model of the search is delivered."""
FINALS_SIDE_BY_SIDE = 2
"""At most so many networks of a final training are trained at a time."""
_MIN_SECONDS_OF_FINALS = ((1800.0, 4), (300.0, 2))
_MIN_EPOCHS_OF_TWO_FINALS = 35.0
"""Seconds in all from which on so many networks are trained, and averaged; and the passes over the rows
for which one of them would have time if it had all cores. On CIFAR-10 two networks were .011 better than
one with 40 such passes, and with 20 as good (.835, .834)."""
FINAL_JUDGING_SHARE = 0.01
"""Share of a final training for scoring its few rows and saving."""
FINAL_EXPORT_SECONDS = 1.0
"""Kept back to export the final model, beside what the first export took, which also loads libraries."""
MIN_EXPORT_SECONDS = 1.5
"""Least seconds that an export is expected to take."""

# Trials, fits of folds and supernets

_MIN_TRIALS_IN_SEARCH = 16
"""A trial without folds may take this part of the processor time: enough trials to choose among."""
_MIN_TRIAL_SECONDS = 3.0
"""Imports and compilation alone take two seconds."""
_MIN_FITS_IN_SEARCH, _MIN_FOLD_TRIALS_IN_SEARCH = 6, 3
"""A fit of one fold may take a sixth of the processor time, a trial over folds a third."""
_SHORT_SEARCH_SECONDS = 95.0
"""Processor seconds up to which that holds. Of a longer search over folds, it holds for the geometric
mean with this, so that more time also means more candidates."""
_SUPERNET_FRACTION = 0.5
"""The other half is for training the networks that the supernet prefers."""
# the defaults of `PhaseShares` and `TimeBudget` are those of a `Study` by itself
_PHASES = PhaseShares(
    judging=0.05, supernet_training=0.75, sampled_training=0.6, sampled_search=0.85
)

# Number of folds

_MIN_CANDIDATES_ON_ALL_FOLDS = 5
"""Candidates of gradient boosting for which there must be time on all folds, to have a choice."""
_BOOSTING_SECONDS, _BOOSTING_SECONDS_PER_TREE, _BOOSTING_SECONDS_PER_CELL = 0.2, 5e-4, 2.2e-8
"""Seconds on one core of a fit of gradient boosting: start-up, per tree, and per tree and cell of
the table. A fit has 500 trees, or 100 per class for more than two classes. Within a factor of 2 on
tables of 546 to 17,365 rows and up to 19 classes, or below where it stops early."""
_WORKER_START_SECONDS = 4.0
_MAX_ROWS_FOR_FOLDS = 100_000
"""Above, the score of a single split is accurate enough."""

# Refits and export

REFIT_SAFETY = 1.5
"""A refit is started only if there is time for this many times its expected seconds."""
REFIT_ON_TIME_SHARE = 0.8
"""A refit that took more of its time may have been cut short, and is discarded."""
REFIT_EXPORT_SECONDS = 0.5
"""To export, check and measure a refit."""
_EXPORT_SECONDS, _EXPORT_SECONDS_PER_COLUMN = 1.0, 1e-3
"""To write, check and measure a file, and per column of a table, since each column is an input with
its own nodes (2 s for 2,000 columns and one model)."""
_EXPORT_SECONDS_PER_BYTE = 2.5e-7
"""Per byte of the ensemble's fitted models."""
SINGLE_EXPORT_SHARE = 0.25
"""Part of the best ensemble's export time that a single model takes in place of one per fold."""


def time_budget(
    seconds: float | None,
    n_workers: int,
    metadata: TaskMetadata,
    search_kind: SearchKind = "candidates",
) -> TimeBudget:
    """Return how the seconds of a search are allocated.

    Args:
        seconds: wall time in all; None for no time limit.
        n_workers: number of parallel trials.
        metadata: of the task. Its `folds` is 0 if candidates are trained on the task's own split, 1
            or more if families of models for tables are fitted.
        search_kind: what the strategy needs time for.
    """
    export = _EXPORT_SECONDS + _EXPORT_SECONDS_PER_COLUMN * metadata.columns
    if seconds is None:
        return TimeBudget(export=export, phase_shares=_PHASES)
    if metadata.image:
        return _image_budget(seconds, n_workers, export, search_kind)
    search = search_seconds(seconds, metadata.columns)
    minimum = min(_MIN_TRIAL_SECONDS, search)
    trial, fold = max(minimum, search * n_workers / _MIN_TRIALS_IN_SEARCH), math.inf
    if metadata.folds:
        total = _processor_seconds(search, n_workers)
        shared = total
        if metadata.folds > 1:
            shared = min(total, math.sqrt(total * _SHORT_SEARCH_SECONDS))
        fold = max(minimum, shared / _MIN_FITS_IN_SEARCH)
        trial = max(minimum, shared / _MIN_FOLD_TRIALS_IN_SEARCH)
    return TimeBudget(
        search=search,
        trial=trial,
        fold=fold,
        supernet=_SUPERNET_FRACTION * search,
        export=export,
        reserve=seconds - search,
        phase_shares=_PHASES,
    )


def _image_budget(
    seconds: float, n_workers: int, export: float, search_kind: SearchKind
) -> TimeBudget:
    """Return the allocation of a search of images, which ends with a final training."""
    search = max(
        image_search_share(seconds, search_kind) * seconds,
        min(_MAX_FIRST_SHARE * seconds, _FIRST_SECONDS),
    )
    minimum = min(_MIN_TRIAL_SECONDS, search)
    return TimeBudget(
        search=search,
        trial=max(minimum, search * n_workers / _MIN_IMAGE_TRIALS),
        baseline=max(minimum, _FIRST_MODEL_SHARE * seconds),
        supernet=_SUPERNET_FRACTION * search,
        export=export,
        reserve=seconds - search,
        phase_shares=_PHASES,
    )


def image_search_share(seconds: float, search_kind: SearchKind) -> float:
    """Return the share of the time that a search of images may take before the final training."""
    if search_kind == "supernet":
        return _IMAGE_SUPERNET_SHARE
    return next(share for limit, share in _IMAGE_SEARCH_SHARES if seconds <= limit)


def comparison_seconds(time: TimeBudget) -> float:
    """Return the seconds that the comparison of image networks is planned for, of its time at most."""
    return _PLANNED_SHARE * time.search


def final_seconds(seconds: float) -> float:
    """Return the seconds of a final training of images, about."""
    return (1 - _PLANNED_SHARE * image_search_share(seconds, "candidates")) * seconds


def n_finals(seconds: float | None, n_workers: int, epochs: float) -> int:
    """Return how many networks the final training of images trains and averages.

    Args:
        seconds: wall time in all; None for no time limit.
        n_workers: number of parallel trials.
        epochs: passes over the rows for which one network has time.
    """
    if seconds is None or n_workers == 1:
        return 1
    n_in_time = epochs / _MIN_EPOCHS_OF_TWO_FINALS * 2
    options = (n for minimum, n in _MIN_SECONDS_OF_FINALS if seconds >= minimum and n <= n_in_time)
    return next(options, 1)


def search_seconds(seconds: float, n_columns: int = 0) -> float:
    """Return the seconds for trials, without the reserve for start-up, export and measurements."""
    reserve = min(_RESERVE_FRACTION * seconds, _RESERVE_SECONDS + _RESERVE_SLOPE * seconds)
    wide_table_reserve = _EXPORT_SECONDS_PER_COLUMN * n_columns
    return seconds - reserve - min(wide_table_reserve, _MAX_WIDE_TABLE_FRACTION * seconds)


def n_folds(seconds: float | None, n_workers: int, metadata: TaskMetadata) -> int:
    """Return the number of folds for a table: 8, 5 or 3, or 1 for a holdout.

    Out-of-fold predictions select an ensemble, and an ensemble of folds is better than one model,
    but each fold costs a fit. There are as many folds as leave time for some candidates to be
    fitted on all of them.

    Args:
        seconds: wall time in all; None for no time limit.
        n_workers: number of parallel trials.
        metadata: of the task.
    """
    max_folds = _max_folds(metadata.rows)
    if seconds is None:
        return max_folds
    total = _processor_seconds(search_seconds(seconds, metadata.columns), n_workers)
    n_trees = 100 * metadata.classes if metadata.classes > 2 else 500
    n_cells = metadata.rows * metadata.columns
    tree_seconds = _BOOSTING_SECONDS_PER_TREE + _BOOSTING_SECONDS_PER_CELL * n_cells
    fold_seconds = _MIN_CANDIDATES_ON_ALL_FOLDS * (_BOOSTING_SECONDS + n_trees * tree_seconds)
    options = (k for k in (8, 5, 3) if k <= max_folds and k * fold_seconds <= total)
    return next(options, 1)


def export_seconds(file_seconds: float, n_bytes: int) -> float:
    """Estimate the seconds to write, check and measure a model.

    Args:
        file_seconds: seconds of any file, `TimeBudget.export`.
        n_bytes: size of its fitted models on disk.
    """
    return file_seconds + _EXPORT_SECONDS_PER_BYTE * n_bytes


def _processor_seconds(search: float, n_workers: int) -> float:
    return max(1.0, search - _WORKER_START_SECONDS) * n_workers


def _max_folds(n_rows: int) -> int:
    """Return the maximum number of folds for a number of rows.

    Smaller tables get more: their folds are cheap and their scores noisy."""
    if n_rows > _MAX_ROWS_FOR_FOLDS:
        return 1
    return 8 if n_rows < SMALL_TABLE_ROWS else 5
