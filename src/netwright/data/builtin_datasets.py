"""Data sets that come with scikit-learn: no download, and a test set that never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.data.splits import holdout

_TEST_FRACTION = 0.2
_TEST_SEED = 20_190_731
"""Arbitrary, but fixed: another seed would change every score ever reported on these data sets."""

_Loaded: TypeAlias = tuple[Any, NDArray[Any], str]
"""Features, targets, and the target's name."""


@dataclass(frozen=True, eq=False)
class BuiltInDataset:
    """A data set and its fixed split.

    Args:
        features: A frame, or (n, h, w, c) pixels.
        target: (n,) labels or values.
        target_name: "" where the target has none.
        test_rows: Row indices of the test set, sorted.
        train_rows: All other row indices, sorted.
    """

    features: Any
    target: NDArray[Any]
    target_name: str
    test_rows: NDArray[np.int64]
    train_rows: NDArray[np.int64]


def builtin_names() -> tuple[str, ...]:
    """Return the names that `task` accepts instead of a path."""
    return tuple(_LOADERS)


def load_builtin(name: str) -> BuiltInDataset:
    """Load the data set called `name`; its test set is always the same fifth of the rows."""
    features, target, target_name = _LOADERS[name]()
    strata = target if target.dtype.kind == "f" else np.unique(target, return_inverse=True)[1]
    train, test = holdout(strata, _TEST_SEED, held_out_fraction=_TEST_FRACTION)
    return BuiltInDataset(features, target, target_name, test, train)


def _digits() -> _Loaded:
    """1,797 images of 8 x 8 pixels with scikit-learn's 17 levels, 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8)[..., None], digits.target.astype(np.int64), ""


def _classification(loader_name: str, target_name: str) -> Callable[[], _Loaded]:
    def load() -> _Loaded:
        from sklearn import datasets

        bunch = getattr(datasets, loader_name)(as_frame=True)
        labels = np.asarray(bunch.target_names)[bunch.target].astype(object)
        return bunch.data, labels, target_name

    return load


def _diabetes() -> _Loaded:
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(as_frame=True, scaled=False)  # in years, kg/m^2 and so on, as measured
    return bunch.data, bunch.target.to_numpy(np.float64), "progression"


_LOADERS: Mapping[str, Callable[[], _Loaded]] = {
    "digits": _digits,
    "breast_cancer": _classification("load_breast_cancer", "diagnosis"),
    "diabetes": _diabetes,
    "iris": _classification("load_iris", "species"),
    "wine": _classification("load_wine", "cultivar"),
}
