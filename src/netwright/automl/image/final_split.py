"""The rows of the final training: all but a few, which the search has held out as well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Task

_HELD_OUT_SHARE, _MAX_HELD_OUT = 0.02, 500
"""Rows that the final training holds out: the network is chosen already, and these only show that
it is no worse than the model of the search."""
_MIN_HELD_OUT = 20
"""With fewer rows not even a failed training would be noticed."""


def held_out_by_final(task: Task) -> NDArray[np.bool_]:
    """Return (validation rows,) which of them the final training holds out: an even sample.

    Where samples are grouped, all validation rows are held out.
    """
    n_validation = len(task.validation)
    if task.groups is not None:
        return np.ones(n_validation, np.bool_)
    n_rows = len(task.train) + n_validation
    n_target = min(max(round(_HELD_OUT_SHARE * n_rows), _MIN_HELD_OUT), _MAX_HELD_OUT)
    n_held_out = min(n_target, max(1, n_validation // 2))
    order = np.random.default_rng(0).permutation(n_validation)
    mask = np.zeros(n_validation, np.bool_)
    mask[order[:n_held_out]] = True
    return mask


def final_task(task: Task) -> Task:
    """Return the task with nearly all rows for training, without its test rows."""
    mask = held_out_by_final(task)
    train = np.sort(np.concatenate([task.train, task.validation[~mask]]))
    return replace(task, train=train, validation=task.validation[mask], test=None)
