"""The interface of a system: what it gets, and what it returns.

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
    """A task and its budget: `seconds` of wall time for the fit, `cores`, a scratch `folder`."""

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
    """The result of a fit.

    `predict` returns probabilities (n, classes) in the order of `classes`, or values (n,); `save`
    writes exactly what another process needs to predict. `front`: the other models that the same
    fit delivers, by name; `about`: facts about the first one.
    """

    predict: Callable[[pd.DataFrame], Any]
    save: Callable[[Path], object]
    classes: Sequence[Any] = ()
    front: Mapping[str, Fitted] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def features(train: pd.DataFrame, job: Job) -> tuple[pd.DataFrame, pd.Series]:
    """Return the feature columns, and the target."""
    return train.drop(columns=job.target), train[job.target]


def pickled(model: object) -> Callable[[Path], object]:
    """Return a `save` for systems whose documentation recommends pickle."""
    import pickle

    return lambda folder: (folder / "model.pickle").write_bytes(pickle.dumps(model))
