"""Forests of randomized trees by scikit-learn, converted to a `TreeEnsemble`.

The total number of leaves is limited, so that a file has 35 to 40 MB at most: on many rows the
trees grow best-first, each to an equal number of leaves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

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
from netwright.pipelines.trees.importers import SklearnTree, from_sklearn
from netwright.pipelines.trees.tree_ensemble import Tree, TreeEnsemble, TreeLearner

if TYPE_CHECKING:
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    SklearnForest: TypeAlias = (
        ExtraTreesClassifier | ExtraTreesRegressor | RandomForestClassifier | RandomForestRegressor
    )

MAX_TOTAL_LEAVES = 500_000
"""Default limit for all trees together: a file of 35 MB, which takes 2 seconds to write."""
_N_GROWTH_STEPS = 20
"""Steps in which a forest grows, between which the clock is read."""


class _Forest(TreeLearner):
    """Grows trees a few at a time, so that it can end when the time is up."""

    n_estimators: int
    min_samples_leaf: int
    max_features: float | None
    entropy: bool
    max_total_leaves: int
    kind: ClassVar[str]
    """Name of scikit-learn's classes without "Classifier" or "Regressor"."""

    def fit(
        self,
        input_spec: InputSpec,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        validation_loss: ValidationLoss,
        *,
        seed: int,
        fidelity: float,
        deadline: float,
    ) -> TreeEnsemble:
        """As `Learner.fit`; `fidelity` scales the number of trees. No early stopping."""
        check_classes(rows, input_spec.n_outputs)
        n_trees = max(1, round(self.n_estimators * fidelity))
        model = self._sklearn_forest(input_spec.n_outputs, rows, n_trees, seed)
        start, step = time.monotonic(), 1  # the first tree alone, to learn how long one takes
        n_done = 0
        while n_done < n_trees:
            step = min(step, n_trees - n_done)
            model.set_params(n_estimators=n_done + step)
            try:
                model.fit(rows.inputs, rows.targets, rows.weights)
            except ValueError as error:
                message = f"{self.kind} cannot learn these rows: {error}"
                raise InfeasibleCandidate(message) from error
            n_done, step = n_done + step, max(1, n_trees // _N_GROWTH_STEPS)
            if math.isfinite(deadline):
                now = time.monotonic()
                if now + (step + 1) * (now - start) / n_done > deadline:
                    break
        trees = [tree.tree_ for tree in model.estimators_]
        if input_spec.n_outputs == 1:
            return _mean_of_trees(trees)
        return _mean_of_probabilities(trees, model.classes_, rows, input_spec.n_outputs)

    def for_refit(self, fold_models: Sequence[TreeEnsemble]) -> Self:
        """As `RefittableLearner.for_refit`: fewer trees if a deadline cut the folds' forests."""
        mean_trees = float(np.mean([model.n_trees for model in fold_models]))
        n_estimators = max(1, round(mean_trees))
        # as many leaves for each tree as the folds' trees had
        leaves = max(2, self.max_total_leaves * n_estimators // self.n_estimators)
        return replace(  # type: ignore[type-var]
            self, n_estimators=n_estimators, max_total_leaves=leaves
        )

    def _sklearn_forest(
        self, n_outputs: int, rows: PreparedRows, n_trees: int, seed: int
    ) -> SklearnForest:
        from sklearn import ensemble

        settings: dict[str, object] = {
            "min_samples_leaf": self.min_samples_leaf, "random_state": seed, "warm_start": True,
            "n_jobs": 1, **self._sampling(),
        }  # fmt: skip
        if len(rows) // self.min_samples_leaf * n_trees > self.max_total_leaves:
            settings["max_leaf_nodes"] = max(2, self.max_total_leaves // n_trees)
        if n_outputs == 1:
            settings["max_features"] = 1.0 if self.max_features is None else self.max_features
            return getattr(ensemble, f"{self.kind}Regressor")(**settings)
        settings["max_features"] = "sqrt" if self.max_features is None else self.max_features
        settings["criterion"] = "entropy" if self.entropy else "gini"
        return getattr(ensemble, f"{self.kind}Classifier")(**settings)

    def _sampling(self) -> dict[str, object]:
        return {"bootstrap": False}


@dataclass(frozen=True)
class ExtraTrees(_Forest):
    """Extremely randomized trees (Geurts et al. 2006), by scikit-learn.

    Any field may hold an open choice.

    Args:
        n_estimators: number of trees.
        min_samples_leaf: minimum number of rows of a leaf.
        max_features: share of the columns tried for each split, in (0, 1]; None for the square root
            of their number in classification and for all in regression.
        entropy: split by entropy instead of Gini impurity in classification.
        max_total_leaves: maximum number of leaves of all trees together; 500,000 make a file of
            35 MB.

    Example:
        >>> pipeline = TablePipeline(ExtraTrees(min_samples_leaf=OneOf(1, 2, 5)))
    """

    n_estimators: int = 300
    min_samples_leaf: int = 1
    max_features: float | None = None
    entropy: bool = False
    max_total_leaves: int = MAX_TOTAL_LEAVES

    kind: ClassVar[str] = "ExtraTrees"


@dataclass(frozen=True)
class RandomForest(_Forest):
    """Random forest (Breiman 2001), by scikit-learn.

    Any field may hold an open choice.

    Args:
        n_estimators: number of trees.
        min_samples_leaf: minimum number of rows of a leaf.
        max_features: share of the columns tried for each split, in (0, 1]; None for the square root
            of their number in classification and for all in regression.
        max_samples: size of each tree's bootstrap sample, as a share of the rows, in (0, 1].
        entropy: split by entropy instead of Gini impurity in classification.
        max_total_leaves: maximum number of leaves of all trees together; 500,000 make a file of
            35 MB.

    Example:
        >>> pipeline = TablePipeline(RandomForest(max_features=Float(0.3, 1.0)))
    """

    n_estimators: int = 300
    min_samples_leaf: int = 1
    max_features: float | None = None
    max_samples: float = 1.0
    entropy: bool = False
    max_total_leaves: int = MAX_TOTAL_LEAVES

    kind: ClassVar[str] = "RandomForest"

    def _sampling(self) -> dict[str, object]:
        return {"bootstrap": True, "max_samples": self.max_samples}


def _mean_of_trees(trees: list[SklearnTree]) -> TreeEnsemble:
    """Return the mean of the trees' values."""
    converted = [from_sklearn(tree, tree.value[:, :, 0] / len(trees)) for tree in trees]
    return TreeEnsemble.from_trees(converted, np.zeros(1))


def _mean_of_probabilities(
    trees: list[SklearnTree], classes: Arrays, rows: PreparedRows, n_outputs: int
) -> TreeEnsemble:
    """Return the mean of the trees' probabilities and of those of one more tree, a single leaf.

    That leaf has the class frequencies of all rows, with half a row added to each class: no class
    gets probability 0, which would make the log loss infinite.
    """
    counts = np.bincount(rows.targets, rows.weights, minlength=n_outputs) + 0.5
    n_members = len(trees) + 1
    converted: list[Tree] = []
    for tree in trees:
        values: NDArray[np.float64] = np.zeros((tree.node_count, n_outputs))
        values[:, classes] = tree.value[:, 0] / n_members
        converted.append(from_sklearn(tree, values))
    return TreeEnsemble.from_trees(converted, counts / counts.sum() / n_members, log=True)
