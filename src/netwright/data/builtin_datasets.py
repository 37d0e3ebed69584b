"""Data sets that come with scikit-learn: no download, and a test part that never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.splits import holdout

_TEST_SHARE = 0.2
_TEST_SEED = 20_190_731
"""Any number would do; changing it would change every figure ever reported on these sets."""


@dataclass(frozen=True, eq=False)
class BuiltIn:
    """Features (a frame, or pixels), their targets, and the rows kept for the test."""

    features: Any
    target: NDArray[Any]
    target_name: str
    test_rows: NDArray[np.int64]
    train_rows: NDArray[np.int64]


def builtin_names() -> tuple[str, ...]:
    """The names that `task` takes in place of a path."""
    return tuple(_LOADERS)


def load_builtin(name: str) -> BuiltIn:
    """The data set called `name`; a fifth of its rows, always the same, is the test part."""
    features, target, target_name = _LOADERS[name]()
    strata = target if target.dtype.kind == "f" else np.unique(target, return_inverse=True)[1]
    train, test = holdout(strata, _TEST_SEED, held_out_fraction=_TEST_SHARE)
    return BuiltIn(features, target, target_name, test, train)


def _digits() -> tuple[Any, NDArray[Any], str]:
    """1,797 images of 8 x 8; their 17 levels stay 0 to 16, as scikit-learn has them."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images.astype(np.uint8)[..., None], found.target.astype(np.int64), ""


def _classes(loader: str, target_name: str) -> Callable[[], tuple[Any, NDArray[Any], str]]:
    def load() -> tuple[Any, NDArray[Any], str]:
        from sklearn import datasets

        found = getattr(datasets, loader)(as_frame=True)
        return found.data, np.asarray(found.target_names)[found.target].astype(object), target_name

    return load


def _diabetes() -> tuple[Any, NDArray[Any], str]:
    from sklearn.datasets import load_diabetes

    found = load_diabetes(as_frame=True, scaled=False)  # years, kg/m^2 and so on, as measured
    return found.data, found.target.to_numpy(np.float64), "progression"


_LOADERS: Mapping[str, Callable[[], tuple[Any, NDArray[Any], str]]] = {
    "digits": _digits,
    "breast_cancer": _classes("load_breast_cancer", "diagnosis"),
    "diabetes": _diabetes,
    "iris": _classes("load_iris", "species"),
    "wine": _classes("load_wine", "cultivar"),
}
