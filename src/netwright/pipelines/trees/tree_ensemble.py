"""Ensembles of trees in one form, whichever library grew them.

A branch sends a float32 value `x` left if ``x <= threshold``; each branch has its own side for
missing values. Thresholds of other dtypes and rules are converted without changing where any
float32 goes (docs/adr/0007). Only the order of a float sum may differ from the library's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.run_layout import TREES
from netwright.pipelines.interfaces import Arrays, InputSpec
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.serialization import read_fields

_DTYPES = {
    "feature": "int32", "threshold": "float32", "left": "int32", "right": "int32",
    "missing_left": "bool", "values": "float32", "output": "int32", "starts": "int64",
    "base": "float32", "log": "bool",
}  # fmt: skip
_PAIRS_PER_BLOCK = 32_768
"""Pairs of row and tree that are evaluated at once: more do not fit into the processor's cache."""
_MIN_PROBABILITY = np.float32(1e-30)
"""In place of a probability of 0: its logarithm, -69, survives a softmax in float32."""

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tree:
    """One binary tree. Branch 0 is the root; a tree without branches is a single leaf.

    Args:
        feature: (branches,) index of the column.
        threshold: (branches,) largest value that goes left.
        left: (branches,) left child: a branch if >= 0, else the leaf ``~child``.
        right: (branches,) right child.
        missing_left: (branches,) whether missing values go left.
        values: (branches + 1, width) of the leaves; width 1 to add to the score `output` only, or
            one value for each output.
        output: index of the score that values of width 1 are added to.
    """

    feature: Arrays
    threshold: Floats32
    left: Arrays
    right: Arrays
    missing_left: Arrays
    values: Arrays
    output: int = 0


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """Concatenated trees; the scores are `base` plus the sum of the leaf values.

    Args:
        feature: (branches,) int32.
        threshold: (branches,) float32.
        left: (branches,) int32, as in `Tree`, but numbered over all trees.
        right: (branches,) int32.
        missing_left: (branches,) bool.
        values: (branches + trees, width) float32 of the leaves, width 1 or outputs.
        output: (trees,) int32, as in `Tree`.
        starts: (trees + 1,) int64, first branch of each tree. The leaves of tree i begin at
            ``starts[i] + i``, since a tree has one leaf more than branches.
        base: (outputs,) float32 initial scores.
        log: (1,) bool; whether the sums are probabilities whose logarithm is the score.
    """

    feature: NDArray[np.int32]
    threshold: Floats32
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    values: Floats32
    output: NDArray[np.int32]
    starts: NDArray[np.int64]
    base: Floats32
    log: NDArray[np.bool_]

    @classmethod
    def from_trees(cls, trees: Sequence[Tree], base: Arrays, *, log: bool = False) -> Self:
        """Concatenate trees, at least one.

        Args:
            trees: the trees.
            base: (outputs,) initial scores.
            log: whether the sums are probabilities whose logarithm is the score.
        """
        sizes = np.array([len(tree.feature) for tree in trees])
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        start_of_branch = np.repeat(starts[:-1], sizes)
        tree_of_branch = np.repeat(np.arange(len(trees)), sizes)

        def children(name: str) -> NDArray[np.int32]:
            local = np.concatenate([getattr(tree, name) for tree in trees]).astype(np.int64)
            branch = local + start_of_branch
            leaf = local - start_of_branch - tree_of_branch  # ~(~local + start + tree)
            return np.where(local >= 0, branch, leaf).astype(np.int32)

        return cls(
            _concatenate(trees, "feature", np.int32),
            _concatenate(trees, "threshold", np.float32),
            children("left"),
            children("right"),
            _concatenate(trees, "missing_left", np.bool_),
            _concatenate(trees, "values", np.float32),
            np.array([tree.output for tree in trees], np.int32),
            starts,
            np.asarray(base, np.float32),
            np.array([log]),
        )

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.output)

    def first(self, n_trees: int) -> Self:
        """Return the ensemble of the first trees, at least one."""
        n_branches = int(self.starts[n_trees])
        branches: dict[str, Any] = {
            name: getattr(self, name)[:n_branches]
            for name in ("feature", "threshold", "left", "right", "missing_left")
        }
        return replace(
            self,
            **branches,
            values=self.values[: n_branches + n_trees],
            output=self.output[:n_trees],
            starts=self.starts[: n_trees + 1],
        )

    def outputs(self, inputs: Arrays) -> Floats32:
        """Return raw scores (rows, outputs), summed in float64."""
        return next(self.staged_outputs(inputs, [self.n_trees]))

    def staged_outputs(self, inputs: Arrays, tree_counts: Sequence[int]) -> Iterator[Floats32]:
        """Yield the scores of the first n trees for each n of the increasing `tree_counts`."""
        sums = np.repeat(self.base[None].astype(np.float64), len(inputs), axis=0)
        n_done = 0
        for n_trees in tree_counts:
            self._add_scores(sums, np.ascontiguousarray(inputs, np.float32), n_done, n_trees)
            n_done = n_trees
            scores = sums.astype(np.float32)
            yield np.log(np.maximum(scores, _MIN_PROBABILITY)) if self.log[0] else scores

    def _add_scores(
        self, sums: NDArray[np.float64], inputs: Floats32, start: int, end: int
    ) -> None:
        """Add the leaf values of the trees from `start` to `end` to `sums` (rows, outputs)."""
        for first_row in range(0, len(inputs), _PAIRS_PER_BLOCK):
            rows = slice(first_row, first_row + _PAIRS_PER_BLOCK)
            trees_per_block = max(1, _PAIRS_PER_BLOCK // len(inputs[rows]))
            for first_tree in range(start, end, trees_per_block):
                trees = slice(first_tree, min(first_tree + trees_per_block, end))
                values = self.values[self._leaves(inputs[rows], trees)]  # (trees, rows, width)
                if self.values.shape[1] == len(self.base):
                    sums[rows] += values.sum(0, dtype=np.float64)
                else:
                    is_output = self.output[trees, None] == np.arange(len(self.base))
                    sums[rows] += values[:, :, 0].T @ is_output.astype(np.float64)

    def _leaves(self, inputs: Floats32, trees: slice) -> NDArray[np.intp]:
        """Return (trees, rows) the indices into `values` of the leaves that the rows reach."""
        n_rows, n_columns = inputs.shape
        flat, has_missing = inputs.ravel(), bool(np.isnan(inputs).any())
        node = np.repeat(self._roots[trees], n_rows)
        n_trees = len(node) // n_rows
        leaf = ~node  # correct where the root is a leaf
        active = np.flatnonzero(node >= 0)  # pairs of tree and row that are still at a branch
        node = node[active]
        row_start = np.tile(np.arange(n_rows) * n_columns, n_trees)[active]
        while len(active):
            x = flat.take(row_start + self.feature.take(node))
            goes_left = x <= self.threshold.take(node)
            if has_missing:
                goes_left |= np.isnan(x) & self.missing_left.take(node)
            node = self._children.take(2 * node + goes_left)
            is_leaf = node < 0
            if is_leaf.any():
                leaf[active[is_leaf]] = ~node[is_leaf]
                is_branch = ~is_leaf
                node, row_start, active = node[is_branch], row_start[is_branch], active[is_branch]
        return leaf.reshape(n_trees, n_rows)

    @cached_property
    def _roots(self) -> NDArray[np.intp]:
        starts = self.starts[:-1]
        return np.where(np.diff(self.starts) > 0, starts, ~(starts + np.arange(self.n_trees)))

    @cached_property
    def _children(self) -> NDArray[np.intp]:
        """Right and left child of each branch, interleaved."""
        return np.stack([self.right, self.left], axis=1).ravel().astype(np.intp)

    def to_onnx(self, builder: OnnxGraphBuilder, name: str) -> str:
        """Add one TreeEnsembleRegressor for the float32 matrix `name`; return the scores' name.

        The base is added separately: onnxruntime omits the node's own base values for an output if
        none of a row's leaves has a value for it.
        """
        scores = builder.add(
            "TreeEnsembleRegressor",
            [name],
            domain="ai.onnx.ml",
            aggregate_function="SUM",
            n_targets=len(self.base),
            post_transform="NONE",
            **self._branch_attributes(),
            **self._leaf_attributes(),
        )
        scores = builder.add("Add", [scores, builder.constant(self.base)])
        if not self.log[0]:
            return scores
        floored = builder.add("Max", [scores, builder.constant(_MIN_PROBABILITY)])
        return builder.add("Log", [floored])

    def _branch_attributes(self) -> dict[str, Any]:
        """Return attributes (branches + leaves,): branches, root first, then leaves of each tree.

        Node ids count from the first node of their tree.
        """
        sizes, trees = np.diff(self.starts), np.arange(self.n_trees)
        tree = np.repeat(trees, sizes)  # (branches,)
        start = self.starts[tree]
        position = np.arange(len(tree)) + start + tree  # after the leaves of the earlier trees
        tree_of_node = np.repeat(trees, 2 * sizes + 1)
        node_id = np.arange(len(tree_of_node)) - (2 * self.starts[:-1] + trees)[tree_of_node]

        def per_node(values: Arrays, dtype: DTypeLike) -> Arrays:
            nodes = np.zeros(len(tree_of_node), dtype)
            nodes[position] = values
            return nodes

        def child_id(child: NDArray[np.int32]) -> NDArray[np.int64]:
            leaf_id = ~child.astype(np.int64) - start - tree + sizes[tree]
            return np.where(child >= 0, child - start, leaf_id)

        modes = np.full(len(tree_of_node), b"LEAF", object)
        modes[position] = b"BRANCH_LEQ"
        missing: dict[str, Any] = {}
        if self.missing_left.any():
            missing["nodes_missing_value_tracks_true"] = per_node(self.missing_left, np.int64)
        return missing | {
            "nodes_treeids": tree_of_node,
            "nodes_nodeids": node_id,
            "nodes_featureids": per_node(self.feature, np.int64),
            "nodes_modes": modes,
            "nodes_values": per_node(self.threshold, np.float32),
            "nodes_truenodeids": per_node(child_id(self.left), np.int64),
            "nodes_falsenodeids": per_node(child_id(self.right), np.int64),
        }

    def _leaf_attributes(self) -> dict[str, Any]:
        """Return the attributes of the leaf values; zeros are left out, except one per leaf."""
        sizes = np.diff(self.starts)
        tree = np.repeat(np.arange(self.n_trees), sizes + 1)  # (leaves,)
        is_written = self.values != 0
        is_written[:, 0] |= ~is_written.any(1)
        leaf, column = np.nonzero(is_written)
        tree_of_value = tree[leaf]
        has_all_outputs = self.values.shape[1] == len(self.base)
        first_leaf = self.starts[:-1] + np.arange(self.n_trees)  # (trees,)
        return {
            "target_treeids": tree_of_value,
            "target_nodeids": leaf - first_leaf[tree_of_value] + sizes[tree_of_value],
            "target_ids": column if has_all_outputs else self.output[tree_of_value],
            "target_weights": self.values[leaf, column],
        }

    def save(self, folder: Path) -> None:
        """Write all arrays as safetensors."""
        from safetensors.numpy import save_file

        arrays = {f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}
        save_file(arrays, folder / TREES)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` wrote.

        Raises:
            BrokenFile: The arrays are not trees in which every row reaches a leaf.
        """
        what = str(folder / TREES)
        loaded = cls(**read_fields(folder, TREES, _DTYPES))
        if fault := loaded._fault():
            raise BrokenFile(expected(what, "an ensemble of trees", Phrase(fault)))
        return loaded

    def _fault(self) -> str:
        """Return why a row may not reach a leaf; empty if every row reaches one.

        Branches are numbered from the root on, so that children come after their parents.
        """
        n_branches, n_trees = len(self.feature), self.n_trees
        has_valid_width = self.values.ndim == 2 and self.values.shape[1] in (1, len(self.base))
        shapes: dict[str, tuple[Arrays, tuple[int, ...]]] = {
            "starts": (self.starts, (n_trees + 1,)),
            "threshold": (self.threshold, (n_branches,)),
            "left": (self.left, (n_branches,)),
            "right": (self.right, (n_branches,)),
            "missing_left": (self.missing_left, (n_branches,)),
            "log": (self.log, (1,)),
            "output": (self.output, (n_trees,)),
            "base": (self.base, (len(self.base),)),
            "feature": (self.feature, (n_branches,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                return f"{name} of shape {array.shape} instead of {shape}"
        if not n_trees or not has_valid_width or len(self.values) != n_branches + n_trees:
            return f"values of shape {self.values.shape}"
        sizes = np.diff(self.starts)
        if self.starts[0] != 0 or self.starts[-1] != n_branches or (sizes < 0).any():
            return "branches that belong to no tree"
        if ((self.output < 0) | (self.output >= len(self.base))).any() or (self.feature < 0).any():
            return "an output or a column that does not exist"
        return self._fault_of_children(sizes)

    def _fault_of_children(self, sizes: NDArray[np.int64]) -> str:
        tree = np.repeat(np.arange(self.n_trees), sizes)  # (branches,)
        end = self.starts[1:][tree]
        first_leaf = self.starts[:-1][tree] + tree
        branch = np.arange(len(self.feature))
        for child in (self.left.astype(np.int64), self.right.astype(np.int64)):
            is_later_branch = (child > branch) & (child < end)
            is_own_leaf = (~child >= first_leaf) & (~child <= first_leaf + sizes[tree])
            if not np.where(child >= 0, is_later_branch, is_own_leaf).all():
                return "a branch that leads out of its tree, or back"
        return ""


class TreeLearner:
    """Base of the learners whose fitted model is a `TreeEnsemble`."""

    def load(self, input_spec: InputSpec, folder: Path) -> TreeEnsemble:
        """As `Learner.load`.

        Raises:
            BrokenFile: The file is damaged, or its trees do not fit the inputs.
        """
        ensemble = TreeEnsemble.load(folder)
        n_columns = ensemble.feature.max(initial=-1) + 1
        if n_columns > input_spec.shape[0] or len(ensemble.base) != input_spec.n_outputs:
            got = Phrase(f"{len(ensemble.base)} outputs and {n_columns} columns")
            rule = (
                f"trees of {input_spec.n_outputs} outputs and at most {input_spec.shape[0]} columns"
            )
            raise BrokenFile(expected(str(folder / TREES), rule, got))
        return ensemble


def round_threshold_down(threshold: Arrays) -> Floats32:
    """Return the largest float32 not above each float64 threshold.

    ``x <= t`` stays the same for every float32 x.
    """
    exact = np.asarray(threshold, np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
        lower = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > exact, lower, nearest)


def inclusive_threshold(threshold: Arrays) -> Floats32:
    """Return the t' for which ``x <= t'`` equals ``x < t``, for every float32 x."""
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(-np.inf))


def tree_from_nodes(
    is_leaf: NDArray[np.bool_],
    feature: Arrays,
    threshold: Floats32,
    left: Arrays,
    right: Arrays,
    missing_left: Arrays,
    values: Arrays,
    output: int = 0,
) -> Tree:
    """Make a tree from arrays (nodes, ...) over branches and leaves, the root first."""
    index = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    is_branch = ~is_leaf
    return Tree(
        feature[is_branch],
        threshold[is_branch],
        index[left[is_branch]],
        index[right[is_branch]],
        np.asarray(missing_left[is_branch], np.bool_),
        values[is_leaf],
        output,
    )


def _concatenate(trees: Sequence[Tree], name: str, dtype: DTypeLike) -> Arrays:
    return np.concatenate([getattr(tree, name) for tree in trees]).astype(dtype)
