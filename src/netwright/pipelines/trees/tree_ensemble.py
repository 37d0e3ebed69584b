"""Ensembles of trees in one neutral form, whichever library grew them.

A branch sends a float32 value `x` left when ``x <= threshold``, and a missing one where it was
told to. Thresholds of other types and rules are brought to this form without changing where any
float32 goes (docs/adr/0007). What is left to differ is the order of a float sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

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
_BLOCK = 32_768
"""Pairs of row and tree that are followed at once: more falls out of the processor's cache."""
_TINY = np.float32(1e-30)
"""In place of a probability of 0: its logarithm, -69, survives a softmax in float32."""

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tree:
    """One binary tree. Branch 0 is the root; a tree without branches is its one leaf.

    `feature`, `threshold`, `left`, `right`, `missing_left` (branches,). A child from 0 is a branch,
    a negative one is the leaf ``~child``. `values` (branches + 1, width) of the leaves: width 1,
    added to the score number `output`, or one value for every output.
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
    """Trees one behind the other; scores are `base` plus the sum of what their leaves say.

    Of n branches and t trees: `feature` (n,) int32, `threshold` (n,) float32, `left` and `right`
    (n,) int32, `missing_left` (n,) bool, children as those of `Tree` but counted over all trees;
    `values` (n + t, width) float32, width 1 or outputs; `output` (t,) int32; `starts` (t + 1,)
    int64, the first branch of each tree (tree i's leaves begin at starts[i] + i, for it has one
    more of them than branches); `base` (outputs,) float32. `log` (0 or 1): the sums are
    probabilities, and their logarithm is the output.
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
    def of(cls, trees: Sequence[Tree], base: Arrays, *, log: bool = False) -> Self:
        """At least one tree, and the value each output begins with."""
        sizes = np.array([len(tree.feature) for tree in trees])
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        shift = np.repeat(starts[:-1], sizes), np.repeat(np.arange(len(trees)), sizes)

        def children(name: str) -> NDArray[np.int32]:
            local = np.concatenate([getattr(tree, name) for tree in trees]).astype(np.int64)
            over = local + shift[0], local - shift[0] - shift[1]  # ~(leaf + start + tree)
            return np.where(local >= 0, *over).astype(np.int32)

        return cls(
            _joined(trees, "feature", np.int32), _joined(trees, "threshold", np.float32),
            children("left"), children("right"), _joined(trees, "missing_left", np.bool_),
            _joined(trees, "values", np.float32), np.array([t.output for t in trees], np.int32),
            starts, np.asarray(base, np.float32), np.array([log]),
        )  # fmt: skip

    @property
    def trees(self) -> int:
        """How many there are."""
        return len(self.output)

    def first(self, trees: int) -> Self:
        """The ensemble of the first `trees` trees, at least 1."""
        n = int(self.starts[trees])
        cut: dict[str, Any] = {
            name: getattr(self, name)[:n]
            for name in ("feature", "threshold", "left", "right", "missing_left")
        }
        leaves, output = self.values[: n + trees], self.output[:trees]
        return replace(self, **cut, values=leaves, output=output, starts=self.starts[: trees + 1])

    def outputs(self, inputs: Arrays) -> Floats32:
        """(rows, outputs) scores, summed in float64."""
        return next(self.stages(inputs, [self.trees]))

    def stages(self, inputs: Arrays, counts: Sequence[int]) -> Iterator[Floats32]:
        """The outputs of the first so many trees, for rising `counts`."""
        sums = np.repeat(self.base[None].astype(np.float64), len(inputs), axis=0)
        done = 0
        for count in counts:
            self._add(sums, np.ascontiguousarray(inputs, np.float32), done, count)
            done = count
            scores = sums.astype(np.float32)
            yield np.log(np.maximum(scores, _TINY)) if self.log[0] else scores

    def _add(self, sums: NDArray[np.float64], inputs: Floats32, start: int, end: int) -> None:
        """Adds to `sums` (rows, outputs) what the trees from `start` to `end` say of the rows."""
        for row in range(0, len(inputs), _BLOCK):
            rows = slice(row, row + _BLOCK)
            many = max(1, _BLOCK // len(inputs[rows]))
            for tree in range(start, end, many):
                trees = slice(tree, min(tree + many, end))
                found = self.values[self._leaves(inputs[rows], trees)]  # (trees, rows, width)
                if self.values.shape[1] == len(self.base):
                    sums[rows] += found.sum(0, dtype=np.float64)
                else:
                    into = self.output[trees, None] == np.arange(len(self.base))
                    sums[rows] += found[:, :, 0].T @ into.astype(np.float64)

    def _leaves(self, inputs: Floats32, trees: slice) -> NDArray[np.intp]:
        """(trees, rows) places of the leaves in `values`."""
        n, columns = inputs.shape
        flat, missing = inputs.ravel(), bool(np.isnan(inputs).any())
        node = np.repeat(self._roots[trees], n)
        many = len(node) // n
        leaf = ~node  # right where the root is a leaf
        place = np.flatnonzero(node >= 0)
        node, start = node[place], np.tile(np.arange(n) * columns, many)[place]
        while len(place):
            x = flat.take(start + self.feature.take(node))
            left = x <= self.threshold.take(node)
            if missing:
                left |= np.isnan(x) & self.missing_left.take(node)
            node = self._children.take(2 * node + left)
            over = node < 0
            if over.any():
                leaf[place[over]] = ~node[over]
                on = ~over
                node, start, place = node[on], start[on], place[on]
        return leaf.reshape(many, n)

    @cached_property
    def _roots(self) -> NDArray[np.intp]:
        starts = self.starts[:-1]
        return np.where(np.diff(self.starts) > 0, starts, ~(starts + np.arange(self.trees)))

    @cached_property
    def _children(self) -> NDArray[np.intp]:
        """Right and left child of each branch in turn."""
        return np.stack([self.right, self.left], axis=1).ravel().astype(np.intp)

    def to_onnx(self, nodes: OnnxGraphBuilder, name: str) -> str:
        """One TreeEnsembleRegressor, in float32; `name` is the float32 matrix.

        The base is added by itself: onnxruntime leaves out the node's own where no leaf of a row
        says anything of an output.
        """
        scores = nodes.add(
            "TreeEnsembleRegressor", [name], domain="ai.onnx.ml", aggregate_function="SUM",
            n_targets=len(self.base), post_transform="NONE", **self._branches(), **self._targets(),
        )  # fmt: skip
        scores = nodes.add("Add", [scores, nodes.constant(self.base)])
        if not self.log[0]:
            return scores
        return nodes.add("Log", [nodes.add("Max", [scores, nodes.constant(_TINY)])])

    def _branches(self) -> dict[str, Any]:
        """Attributes (branches + leaves,): of each tree the branches, the root first, then leaves.

        A node's number counts from its tree's first.
        """
        sizes, trees = np.diff(self.starts), np.arange(self.trees)
        tree = np.repeat(trees, sizes)  # (branches,)
        start = self.starts[tree]
        at = np.arange(len(tree)) + start + tree  # behind the leaves of the trees before
        owner = np.repeat(trees, 2 * sizes + 1)
        number = np.arange(len(owner)) - (2 * self.starts[:-1] + trees)[owner]

        def spread(values: Arrays, dtype: Any) -> Any:
            out = np.zeros(len(owner), dtype)
            out[at] = values
            return out

        def child(nodes: NDArray[np.int32]) -> NDArray[np.int64]:
            leaf = ~nodes.astype(np.int64) - start - tree + sizes[tree]
            return np.where(nodes >= 0, nodes - start, leaf)

        modes = np.full(len(owner), b"LEAF", object)
        modes[at] = b"BRANCH_LEQ"
        missing: dict[str, Any] = {}
        if self.missing_left.any():
            missing["nodes_missing_value_tracks_true"] = spread(self.missing_left, np.int64)
        return missing | {
            "nodes_treeids": owner, "nodes_nodeids": number,
            "nodes_featureids": spread(self.feature, np.int64), "nodes_modes": modes,
            "nodes_values": spread(self.threshold, np.float32),
            "nodes_truenodeids": spread(child(self.left), np.int64),
            "nodes_falsenodeids": spread(child(self.right), np.int64),
        }  # fmt: skip

    def _targets(self) -> dict[str, Any]:
        """Attributes of what the leaves say; zeros are left out, but for one a leaf."""
        sizes = np.diff(self.starts)
        tree = np.repeat(np.arange(self.trees), sizes + 1)  # (leaves,)
        said = self.values != 0
        said[:, 0] |= ~said.any(1)
        leaf, column = np.nonzero(said)
        owner = tree[leaf]
        wide = self.values.shape[1] == len(self.base)
        first = self.starts[:-1] + np.arange(self.trees)  # (trees,) first leaf
        return {
            "target_treeids": owner,
            "target_nodeids": leaf - first[owner] + sizes[owner],
            "target_ids": column if wide else self.output[owner],
            "target_weights": self.values[leaf, column],
        }

    def save(self, folder: Path) -> None:
        """All arrays, as safetensors."""
        from safetensors.numpy import save_file

        arrays = {f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}
        save_file(arrays, folder / TREES)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` left in `folder`. Raises BrokenFile where a row would find no leaf."""
        what = str(folder / TREES)
        loaded = cls(**read_fields(folder, TREES, _DTYPES))
        if reason := loaded._fault():
            raise BrokenFile(expected(what, "whole trees", Phrase(reason)))
        return loaded

    def _fault(self) -> str:
        """Why a row might find no leaf, or never end; empty where every row finds one.

        Branches are numbered from the root on, so that children come after their parents.
        """
        branches, trees = len(self.feature), self.trees
        wide = self.values.ndim == 2 and self.values.shape[1] in (1, len(self.base))
        lengths: dict[str, tuple[Arrays, tuple[int, ...]]] = {
            "starts": (self.starts, (trees + 1,)), "threshold": (self.threshold, (branches,)),
            "left": (self.left, (branches,)), "right": (self.right, (branches,)),
            "missing_left": (self.missing_left, (branches,)), "log": (self.log, (1,)),
            "output": (self.output, (trees,)), "base": (self.base, (len(self.base),)),
            "feature": (self.feature, (branches,)),
        }  # fmt: skip
        for name, (array, shape) in lengths.items():
            if array.shape != shape:
                return f"{name} of shape {array.shape} in place of {shape}"
        if not trees or not wide or len(self.values) != branches + trees:
            return f"values of shape {self.values.shape}"
        sizes = np.diff(self.starts)
        if self.starts[0] != 0 or self.starts[-1] != branches or (sizes < 0).any():
            return "branches that belong to no tree"
        if ((self.output < 0) | (self.output >= len(self.base))).any() or (self.feature < 0).any():
            return "an output or a column that there is not"
        return self._fault_of_children(sizes)

    def _fault_of_children(self, sizes: NDArray[np.int64]) -> str:
        tree = np.repeat(np.arange(self.trees), sizes)  # (branches,)
        last = self.starts[1:][tree]
        first_leaf = self.starts[:-1][tree] + tree
        number = np.arange(len(self.feature))
        for child in (self.left.astype(np.int64), self.right.astype(np.int64)):
            inside = np.where(
                child >= 0, (child > number) & (child < last),
                (~child >= first_leaf) & (~child <= first_leaf + sizes[tree]),
            )  # fmt: skip
            if not inside.all():
                return "a branch that leads out of its tree, or back"
        return ""


class GrowsTrees:
    """A learner whose fitted model is a `TreeEnsemble`."""

    def load(self, inputs: InputSpec, folder: Path) -> TreeEnsemble:
        """As `Learner.load`."""
        ensemble = TreeEnsemble.load(folder)
        columns = ensemble.feature.max(initial=-1) + 1
        if columns > inputs.shape[0] or len(ensemble.base) != inputs.n_outputs:
            got = Phrase(f"{len(ensemble.base)} of {columns} columns")
            rule = f"trees of {inputs.n_outputs} outputs and at most {inputs.shape[0]} columns"
            raise BrokenFile(expected(str(folder / TREES), rule, got))
        return ensemble


def at_most(threshold: Arrays) -> Floats32:
    """The largest float32 not above each float64: ``x <= t`` stays the same for every float32."""
    exact = np.asarray(threshold, np.float64)
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
        lower = np.nextafter(near, np.float32(-np.inf))
    return np.where(near > exact, lower, near)


def below(threshold: Arrays) -> Floats32:
    """The t' of ``x <= t'`` that does what ``x < t`` does, for every float32."""
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(-np.inf))


def from_nodes(
    leaf: NDArray[np.bool_], feature: Arrays, threshold: Floats32, left: Arrays, right: Arrays,
    missing_left: Arrays, values: Arrays, output: int = 0,
) -> Tree:  # fmt: skip
    """A tree whose branches and leaves share one numbering, the root first; all (nodes, ...)."""
    number = np.where(leaf, ~(np.cumsum(leaf) - 1), np.cumsum(~leaf) - 1)
    on = ~leaf
    return Tree(
        feature[on], threshold[on], number[left[on]], number[right[on]],
        np.asarray(missing_left[on], np.bool_), values[leaf], output,
    )  # fmt: skip


def _joined(trees: Sequence[Tree], name: str, dtype: Any) -> Arrays:
    return np.concatenate([getattr(tree, name) for tree in trees]).astype(dtype)
