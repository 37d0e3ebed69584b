"""Forests of randomised trees, by scikit-learn; what is fitted is a `TreeEnsemble`.

A forest has a bound of its leaves, so that its file has 35 to 40 MB at most: trees of many
rows are then grown best split first, to the same number of leaves each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InfeasibleCandidate
from netwright.pipelines.interfaces import (
    Arrays,
    InputSpec,
    PreparedRows,
    ValidationLoss,
    check_classes,
)
from netwright.pipelines.trees.importers import of_scikit
from netwright.pipelines.trees.tree_ensemble import GrowsTrees, Tree, TreeEnsemble

MOST_LEAVES = 500_000
"""Of all trees together, by default: a file of 35 MB, that takes 2 seconds to write."""


class _Forest(GrowsTrees):
    """Grows trees a few at a time, so that it can end when the time is up."""

    n_estimators: int
    min_samples_leaf: int
    max_features: float | None
    entropy: bool
    max_total_leaves: int
    kind: ClassVar[str]
    """What scikit-learn's classes are called, less "Classifier" or "Regressor"."""

    def fit(
        self, inputs: InputSpec, rows: PreparedRows, held_out: PreparedRows, judge: ValidationLoss, *,
        seed: int, fidelity: float, deadline: float,
    ) -> TreeEnsemble:  # fmt: skip
        """As `Learner.fit`; `fidelity` scales the number of trees. Nothing is held out from it."""
        check_classes(rows, inputs.n_outputs)
        many = max(1, round(self.n_estimators * fidelity))
        model = self._model(inputs.n_outputs, rows, many, seed)
        began, step = time.monotonic(), 1  # the first tree alone: it says how long one takes
        done = 0
        while done < many:
            step = min(step, many - done)
            model.set_params(n_estimators=done + step)
            try:
                model.fit(rows.inputs, rows.targets, rows.weights)
            except ValueError as error:
                raise InfeasibleCandidate(
                    f"{self.kind} cannot learn these rows: {error}"
                ) from error
            done, step = done + step, max(1, many // 20)
            if math.isfinite(deadline):
                now = time.monotonic()
                if now + (step + 1) * (now - began) / done > deadline:
                    break
        trees = [tree.tree_ for tree in model.estimators_]
        if inputs.n_outputs == 1:
            return _mean(trees)
        return _vote(trees, model.classes_, rows, inputs.n_outputs)

    def for_refit(self, fitted: Sequence[TreeEnsemble]) -> Self:
        """As `Settles.settled`: their trees, which a deadline may have made fewer."""
        trees = max(1, round(float(np.mean([one.trees for one in fitted]))))
        leaves = max(
            2, self.max_total_leaves * trees // self.n_estimators
        )  # as many for each as theirs had
        return replace(self, trees=trees, leaves=leaves)  # type: ignore[type-var]

    def _model(self, outputs: int, rows: PreparedRows, many: int, seed: int) -> Any:
        from sklearn import ensemble

        share = self.max_features
        settings: dict[str, Any] = {
            "min_samples_leaf": self.min_samples_leaf, "random_state": seed, "warm_start": True,
            "n_jobs": 1, **self._rows(),
        }  # fmt: skip
        if len(rows) // self.min_samples_leaf * many > self.max_total_leaves:
            settings["max_leaf_nodes"] = max(2, self.max_total_leaves // many)
        if outputs == 1:
            settings["max_features"] = 1.0 if share is None else share
            return getattr(ensemble, f"{self.kind}Regressor")(**settings)
        settings["max_features"] = "sqrt" if share is None else share
        settings["criterion"] = "entropy" if self.entropy else "gini"
        return getattr(ensemble, f"{self.kind}Classifier")(**settings)

    def _rows(self) -> dict[str, Any]:
        return {"bootstrap": False}


@dataclass(frozen=True)
class ExtraTrees(_Forest):
    """Trees of all rows with random thresholds (Geurts et al. 2006). Any field may be open.

    `min_rows` is the fewest rows of a leaf. `feature_share` of the columns is tried for each split;
    None: the square root of their number for classes, all for numbers. `entropy` judges splits into
    classes by it, and not by Gini's impurity. `leaves` is the most that all trees have together.
    """

    n_estimators: int = 300
    min_samples_leaf: int = 1
    max_features: float | None = None
    entropy: bool = False
    max_total_leaves: int = MOST_LEAVES

    kind: ClassVar[str] = "ExtraTrees"


@dataclass(frozen=True)
class RandomForest(_Forest):
    """Trees of rows drawn with replacement (Breiman 2001): `row_share` as many as there are.

    The other fields are those of `ExtraTrees`.
    """

    n_estimators: int = 300
    min_samples_leaf: int = 1
    max_features: float | None = None
    max_samples: float = 1.0
    entropy: bool = False
    max_total_leaves: int = MOST_LEAVES

    kind: ClassVar[str] = "RandomForest"

    def _rows(self) -> dict[str, Any]:
        return {"bootstrap": True, "max_samples": self.max_samples}


def _mean(trees: list[Any]) -> TreeEnsemble:
    """The average of their values."""
    found = [of_scikit(tree, tree.value[:, :, 0] / len(trees)) for tree in trees]
    return TreeEnsemble.of(found, np.zeros(1))


def _vote(trees: list[Any], known: Arrays, rows: PreparedRows, outputs: int) -> TreeEnsemble:
    """The average of their shares of classes, and of one tree that is but a leaf.

    That leaf has the classes' shares of all rows and half a row more of each: no class is
    impossible, and a wrong guess of all trees costs a log loss that can be borne.
    """
    counts = np.bincount(rows.targets, rows.weights, minlength=outputs) + 0.5
    many = len(trees) + 1
    found: list[Tree] = []
    for tree in trees:
        values: NDArray[np.float64] = np.zeros((tree.node_count, outputs))
        values[:, known] = tree.value[:, 0] / many
        found.append(of_scikit(tree, values))
    return TreeEnsemble.of(found, counts / counts.sum() / many, log=True)
