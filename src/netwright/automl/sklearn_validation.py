"""Validation of X and y as scikit-learn does, with the messages that its estimator checks expect."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, expected, plural


def feature_names(x: object) -> NDArray[np.object_] | None:
    """Return the names of the columns of X, if it has any and all are strings."""
    names = list(getattr(x, "columns", ()))
    if names and all(isinstance(name, str) for name in names):
        return np.array(names, object)
    return None


def check_fit_data(estimator: str, x: object, y: object, *, classifies: bool) -> object:
    """Validate X and y as scikit-learn does, and ravel a column vector y.

    Paths, names of columns and images are left to `netwright.task`.

    Args:
        estimator: name of the estimator, for messages.
        x: as for `fit`.
        y: as for `fit`.
        classifies: whether y has to hold classes.

    Returns:
        y, raveled if it was a column vector.
    """
    _check_array(x)
    if isinstance(x, str | Path):
        return y
    shape = _shape(x)
    if len(shape) == 2 and y is None:
        raise InputError(f"{estimator} requires y to be passed, but the target y is None.")
    if len(shape) == 2 and shape[1] == 0:
        raise InputError(f"0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    if len(shape) == 2 and shape[0] == 1:
        raise InputError(expected("X", "of at least 2 rows", "1 sample (n_samples=1)"))
    if y is None or isinstance(y, str):
        return y
    target = np.asarray(y)
    if target.ndim == 2 and target.shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning

        message = "A column-vector y was passed when a 1d array was expected."
        warnings.warn(message, DataConversionWarning, stacklevel=3)
        y = target[:, 0]
    is_missing = _is_missing(y)
    if n_missing := int(is_missing.sum()):
        verbs = "has no target and is" if n_missing == 1 else "have no target and are"
        sentence = f"{n_missing:,} of {plural(len(is_missing), 'row')} {verbs} left out."
        warnings.warn(sentence, UserWarning, stacklevel=3)
    if classifies and _is_continuous(target):
        raise InputError(
            "Unknown label type: continuous. Classes must be few or whole numbers; "
            "use AutoRegressor for numbers."
        )
    return y


def check_predict_data(estimator: str, x: object, width: int, n_used: int = 0) -> None:
    """Raise InputError for an X that is not a table, or that has another width than in `fit`.

    Args:
        estimator: name of the estimator, for messages.
        x: as for `predict`.
        width: number of columns in `fit`; 0 for images.
        n_used: number of columns that the model uses, which are accepted alone.
    """
    _check_array(x)
    if isinstance(x, str | Path | dict) or hasattr(x, "columns") or _is_records_or_series(x):
        return
    shape = _shape(x)
    if len(shape) == 1 and width:
        raise InputError(
            f"rows must be a table of {plural(width, 'column')}, got an array of shape {shape}. "
            "Reshape your data: X.reshape(1, -1) is a single row."
        )
    if len(shape) == 2 and width and shape[1] not in (width, n_used):
        raise InputError(
            f"X has {shape[1]} features, but {estimator} is expecting {width} features as input."
        )


def _is_records_or_series(x: object) -> bool:
    """Return whether X is a list of records, or a Series: one row by column name, or one column."""
    is_series = hasattr(x, "to_frame") and getattr(x, "ndim", 0) == 1
    return is_series or (isinstance(x, list | tuple) and bool(x) and isinstance(x[0], dict))


def _check_array(x: object) -> None:
    if hasattr(x, "tocsr") or type(x).__module__.startswith("scipy.sparse"):
        got = f"a sparse one ({type(x).__name__})"
        raise InputError(expected("X", "a dense array", got, "Use X.toarray()."))
    if isinstance(x, np.ndarray) and np.iscomplexobj(x):
        raise InputError("Complex data not supported: X must hold real numbers.")


def _shape(x: object) -> tuple[int, ...]:
    """Return the shape of X, without converting an object that has one."""
    return tuple(x.shape) if hasattr(x, "shape") else np.asarray(x).shape


def _is_missing(y: object) -> NDArray[np.bool_]:
    import pandas as pd

    return np.asarray(pd.isna(np.asarray(y, object)))


def _is_continuous(target: NDArray[Any]) -> bool:
    """Return whether a target holds fractions, with different values in most of its rows."""
    if target.dtype.kind != "f" or not len(target):
        return False
    finite = target[np.isfinite(target)]
    return bool((finite != np.floor(finite)).any()) and len(np.unique(finite)) > len(finite) / 2
