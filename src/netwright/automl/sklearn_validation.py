"""What scikit-learn's estimators refuse, in the words that its tools look for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, expected, plural


def feature_names(x: Any) -> NDArray[np.object_] | None:
    """The columns' names, where X has such and all are texts."""
    names = list(getattr(x, "columns", ()))
    return np.array(names, object) if names and all(isinstance(n, str) for n in names) else None


def check_fit(who: str, x: Any, y: Any, *, classifies: bool) -> Any:
    """Refuses what no table of rows is; returns `y`, of a column vector its values.

    Paths, names of columns and images are for `netwright.task` to judge.
    """
    _check_array(x)
    if isinstance(x, str | Path):
        return y
    shape = _shape(x)
    if len(shape) == 2 and y is None:
        raise InputError(f"{who} requires y to be passed, but the target y is None.")
    if len(shape) == 2 and shape[1] == 0:
        raise InputError(f"0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    if len(shape) == 2 and shape[0] == 1:
        raise InputError(expected("X", "of at least 2 rows", "1 sample (n_samples=1)"))
    if y is None or isinstance(y, str):
        return y
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning

        said = "A column-vector y was passed when a 1d array was expected."
        warnings.warn(said, DataConversionWarning, stacklevel=3)
        y = values[:, 0]
    if missing := int(_missing(y).sum()):
        verbs = "has no target and is" if missing == 1 else "have no target and are"
        sentence = f"{missing:,} of {plural(len(y), 'row')} {verbs} left out."
        warnings.warn(sentence, UserWarning, stacklevel=3)
    if classifies and _continuous(values):
        raise InputError(
            "Unknown label type: continuous. Classes must be few or whole numbers; "
            "use AutoRegressor for numbers."
        )
    return y


def check_predict(who: str, x: Any, width: int, used: int = 0) -> None:
    """Refuses rows that are of no table, or of another width than that of the fit; `used`: without
    columns that were left out."""
    _check_array(x)
    if isinstance(x, str | Path | dict) or hasattr(x, "columns") or _names_columns(x):
        return
    shape = _shape(x)
    if len(shape) == 1 and width:
        raise InputError(
            f"rows must be a table of {plural(width, 'column')}, got an array of shape {shape}. "
            "Reshape your data: X.reshape(1, -1) is a single row."
        )
    if len(shape) == 2 and width and shape[1] not in (width, used):
        raise InputError(
            f"X has {shape[1]} features, but {who} is expecting {width} features as input."
        )


def _names_columns(x: Any) -> bool:
    """Whether X is a list of records, or a Series: a row by its columns, or a single column."""
    series = hasattr(x, "to_frame") and getattr(x, "ndim", 0) == 1
    return series or (isinstance(x, list | tuple) and bool(x) and isinstance(x[0], dict))


def _check_array(x: Any) -> None:
    if hasattr(x, "tocsr") or type(x).__module__.startswith("scipy.sparse"):
        got = f"a sparse one ({type(x).__name__})"
        raise InputError(expected("X", "a dense array", got, "Use X.toarray()."))
    if isinstance(x, np.ndarray) and np.iscomplexobj(x):
        raise InputError("Complex data not supported: X must hold real numbers.")


def _shape(x: Any) -> tuple[int, ...]:
    """Without a copy where the object says it itself."""
    return tuple(x.shape) if hasattr(x, "shape") else np.asarray(x).shape


def _missing(y: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    import pandas as pd

    return np.asarray(pd.isna(np.asarray(y, object)))


def _continuous(values: Any) -> bool:
    """Numbers with fractions, of which most rows have their own."""
    if values.dtype.kind != "f" or not len(values):
        return False
    known = values[np.isfinite(values)]
    return bool((known != np.floor(known)).any()) and len(np.unique(known)) > len(known) / 2
