"""Linear models: ridge regression and multinomial logistic regression, by scikit-learn."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import BrokenFile, InfeasibleCandidate, Phrase, expected
from netwright.files.run_layout import LINEAR
from netwright.pipelines.interfaces import (
    Arrays,
    InputSpec,
    PreparedRows,
    ValidationLoss,
    check_classes,
)
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.serialization import read_fields

_DTYPES = {"weights": "float32", "bias": "float32", "table": "float32", "starts": "int64"}
_PATH = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Strengths that are tried where none is given, the simplest model first."""
_ITERATIONS, _AT_ONCE = 500, 50


@dataclass(frozen=True, eq=False)
class FittedLinear:
    """`weights` (numbers, outputs), `bias` (outputs,), float32; the columns after the numbers are
    codes, each of which has a row in `table` (codes of all columns, outputs); a column's rows begin
    at its place in `starts` (coded columns,) int64."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    category_weights: NDArray[np.float32]
    category_offsets: NDArray[np.int64]

    def outputs(self, inputs: Arrays) -> NDArray[np.float32]:
        """(rows, outputs) scores."""
        numbers = len(self.weights)
        scores: NDArray[np.float32] = inputs[:, :numbers] @ self.weights + self.bias
        if len(self.category_offsets):
            places = inputs[:, numbers:].astype(np.int64) + self.category_offsets  # (rows, coded)
            scores = scores + self.category_weights[places].sum(1)
        return scores

    def to_onnx(self, nodes: OnnxGraphBuilder, name: str) -> str:
        """MatMul and Add; a Gather for the codes."""
        if not len(self.category_offsets):
            product = nodes.add("MatMul", [name, nodes.constant(self.weights)])
            return nodes.add("Add", [product, nodes.constant(self.bias)])
        numbers, axis = len(self.weights), nodes.constant(np.array([1], np.int64))

        def columns(start: int, end: int) -> str:
            ends = [nodes.constant(np.array([at], np.int64)) for at in (start, end)]
            return nodes.add("Slice", [name, *ends, axis])

        codes = nodes.cast(columns(numbers, numbers + len(self.category_offsets)), np.int64)
        places = nodes.add("Add", [codes, nodes.constant(self.category_offsets)])
        said = nodes.add("Gather", [nodes.constant(self.category_weights), places], axis=0)
        scores = nodes.add("ReduceSum", [said, axis], keepdims=0)
        if numbers:
            product = nodes.add("MatMul", [columns(0, numbers), nodes.constant(self.weights)])
            scores = nodes.add("Add", [scores, product])
        return nodes.add("Add", [scores, nodes.constant(self.bias)])

    def save(self, folder: Path) -> None:
        """All arrays, as safetensors."""
        from safetensors.numpy import save_file

        save_file({f.name: getattr(self, f.name) for f in fields(self)}, folder / LINEAR)


@dataclass(frozen=True)
class LinearModel:
    """A weight for each number and for each known value of a category.

    `l2`: half of it times the squared weights is added to the mean loss of a row (numbers should be
    scaled); None: the strength of 1, 0.1 ... 0.00001 that is judged best on the held-out rows.
    """

    l2: float | None = None

    def fit(
        self, inputs: InputSpec, rows: PreparedRows, held_out: PreparedRows, judge: ValidationLoss, *,
        seed: int, fidelity: float, deadline: float,
    ) -> FittedLinear:  # fmt: skip
        """As `Learner.fit`; `fidelity` scales the most iterations of a logistic regression.

        The path of strengths ends after two that were no better, or with the time.
        """
        check_classes(rows, inputs.n_outputs)
        if np.isnan(rows.inputs).any() or np.isnan(held_out.inputs).any():
            rule = "without missing values"
            raise InfeasibleCandidate(expected("inputs of a linear model", rule, Phrase("some")))
        path = _PATH if self.l2 is None else (self.l2,)
        found = _path(inputs, rows, path, max(1, round(_ITERATIONS * fidelity)), deadline)
        kept, least, worse = next(found), math.inf, 0
        if self.l2 is None:
            least = judge(kept.outputs(held_out.inputs))
        for model in found:
            loss = judge(model.outputs(held_out.inputs))
            if loss < least:
                kept, least, worse = model, loss, 0
            else:
                worse += 1
            if worse == 2:
                break
        return kept

    def load(self, inputs: InputSpec, folder: Path) -> FittedLinear:
        """As `Learner.load`."""
        fitted = FittedLinear(**read_fields(folder, LINEAR, _DTYPES))
        cardinalities, outputs = inputs.given.get("cardinalities", ()), inputs.n_outputs
        shapes = {
            "weights": (inputs.shape[0] - len(cardinalities), outputs), "bias": (outputs,),
            "table": (sum(cardinalities), outputs), "starts": (len(cardinalities),),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(fitted, name).shape != shape:
                what, got = f"{name} in {folder / LINEAR}", getattr(fitted, name).shape
                raise BrokenFile(expected(what, f"of shape {shape}", got))
        if not np.array_equal(fitted.category_offsets, _starts(cardinalities)):
            raise BrokenFile(
                expected(f"starts in {folder / LINEAR}", "sums", fitted.category_offsets)
            )
        return fitted


def _path(
    inputs: InputSpec, rows: PreparedRows, path: tuple[float, ...], iterations: int, deadline: float
) -> Iterator[FittedLinear]:
    """A model for each strength, each beginning where the one before ended; at least one."""
    from threadpoolctl import threadpool_limits

    cardinalities = tuple(inputs.given.get("cardinalities", ()))
    design = _design(rows.inputs, cardinalities)
    model = _estimator(inputs.n_outputs)
    for l2 in path:
        began = time.monotonic()
        with threadpool_limits(1):
            if inputs.n_outputs == 1:
                model.set_params(alpha=max(l2, 1e-12) * _total(rows))
                model.fit(design, rows.targets.astype(np.float64), rows.weights)
            else:
                model.set_params(C=1 / (max(l2, 1e-12) * _total(rows)))
                _descend(model, design, rows, iterations, deadline)
        yield _fitted(model, inputs.n_outputs, cardinalities)
        now = time.monotonic()
        if math.isfinite(deadline) and now + 2 * (now - began) > deadline:
            return


def _estimator(outputs: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if outputs == 1:
        return Ridge()
    return LogisticRegression(warm_start=True)


def _descend(model: Any, design: Any, rows: PreparedRows, iterations: int, deadline: float) -> None:
    """Some iterations at a time, until nothing moves or the time is up."""
    from sklearn.exceptions import ConvergenceWarning

    for done in range(0, iterations, _AT_ONCE):
        began, some = time.monotonic(), min(_AT_ONCE, iterations - done)
        model.set_params(max_iter=some)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is what the next ones are for
            model.fit(design, rows.targets, rows.weights)
        now = time.monotonic()
        late = math.isfinite(deadline) and now + (now - began) > deadline
        if late or max(model.n_iter_) < some:
            return


def _design(inputs: Arrays, cardinalities: tuple[int, ...]) -> Any:
    """(rows, numbers + known codes): codes as ones in a sparse matrix, where there are any."""
    if not cardinalities:
        return inputs.astype(np.float64)
    from scipy import sparse

    numbers = inputs.shape[1] - len(cardinalities)
    places = inputs[:, numbers:].astype(np.int64) + _starts(cardinalities)
    rows = np.repeat(np.arange(len(inputs)), len(cardinalities))
    ones = np.ones(places.size)
    codes = sparse.csr_matrix(
        (ones, (rows, places.ravel())), shape=(len(inputs), sum(cardinalities))
    )
    return sparse.hstack([inputs[:, :numbers].astype(np.float64), codes], format="csr")


def _starts(cardinalities: tuple[int, ...]) -> NDArray[np.int64]:
    return np.cumsum((0, *cardinalities[:-1])) if cardinalities else np.zeros(0, np.int64)


def _fitted(model: Any, outputs: int, cardinalities: tuple[int, ...]) -> FittedLinear:
    """With scores (0, score) of two classes; a class without rows is out of reach."""
    coef, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if outputs > 1:
        known = model.classes_
        if len(known) == 2:
            coef, bias = np.stack([0 * coef[0], coef[0]]), np.array([0, bias[0]])
        all_coef, all_bias = np.zeros((outputs, coef.shape[1])), np.full(outputs, -1e3)
        all_coef[known], all_bias[known] = coef, bias
        coef, bias = all_coef, all_bias
    weights = np.ascontiguousarray(coef.T, np.float32)  # (numbers + codes, outputs)
    numbers = len(weights) - sum(cardinalities)
    return FittedLinear(
        weights[:numbers], bias.astype(np.float32), weights[numbers:], _starts(cardinalities)
    )


def _total(rows: PreparedRows) -> float:
    return float(len(rows) if rows.weights is None else rows.weights.sum())
