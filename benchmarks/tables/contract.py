"""What a system is given and gives back: the same few fields for all.

A system is a file `systems/NAME.py` with `fit(train, job) -> Fitted`. It imports its package at the
top, before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd


@dataclass(frozen=True)
class Job:
    """The task and the means: `seconds` of wall time for the fit, `cores`, a `folder` to write in."""

    table: str
    target: str
    kind: Literal["binary", "multiclass", "regression"]
    metric: Literal["auc", "log_loss", "rmse"]
    classes: tuple[str, ...]
    seconds: float
    cores: int
    seed: int
    folder: Path

    @property
    def regression(self) -> bool:
        return self.kind == "regression"


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves: `predict` gives (n, classes) probabilities in the order of `classes`, or
    (n,) values; `save` writes what another process would need to predict, and no more. `front` has
    the other models that the same fit delivers, by their names; `about` facts on the first one."""

    predict: Callable[[pd.DataFrame], Any]
    save: Callable[[Path], object]
    classes: Sequence[Any] = ()
    front: Mapping[str, Fitted] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def features(train: pd.DataFrame, job: Job) -> tuple[pd.DataFrame, pd.Series]:
    """Columns to learn from, and the target."""
    return train.drop(columns=job.target), train[job.target]


def pickled(model: object) -> Callable[[Path], object]:
    """A `save` for systems whose documentation says to pickle."""
    import pickle

    return lambda folder: (folder / "model.pickle").write_bytes(pickle.dumps(model))
