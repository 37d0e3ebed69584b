"""Linear models by scikit-learn: ridge regression and multinomial logistic regression."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

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

if TYPE_CHECKING:
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression, Ridge

    SklearnModel: TypeAlias = LogisticRegression | Ridge
    DesignMatrix: TypeAlias = NDArray[np.float64] | sparse.csr_matrix

_DTYPES = {
    "weights": "float32", "bias": "float32", "category_weights": "float32",
    "category_offsets": "int64",
}  # fmt: skip
_L2_PATH = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Regularization strengths tried when `l2` is None, the simplest model first."""
_MAX_ITERATIONS = 500
"""L-BFGS iterations of a logistic regression at full fidelity."""
_ITERATIONS_PER_CALL = 50
"""Iterations between two looks at the clock."""
_PATIENCE = 2
"""Strengths without a better validation loss after which the path ends."""
_UNSEEN_CLASS_SCORE = -1e3
"""Score of a class without training rows: its probability is 0 in float32."""


@dataclass(frozen=True, eq=False)
class FittedLinear:
    """A fitted linear model; the last columns of its inputs are codes of categories.

    Args:
        weights: (numeric columns, outputs) float32.
        bias: (outputs,) float32.
        category_weights: (codes of all category columns, outputs) float32, a row for each code.
        category_offsets: (category columns,) int64, a column's first row in `category_weights`.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    category_weights: NDArray[np.float32]
    category_offsets: NDArray[np.int64]

    def outputs(self, inputs: Arrays) -> NDArray[np.float32]:
        """Return raw scores (rows, outputs)."""
        n_numeric = len(self.weights)
        scores: NDArray[np.float32] = inputs[:, :n_numeric] @ self.weights + self.bias
        if len(self.category_offsets):
            # (rows, category columns)
            indices = inputs[:, n_numeric:].astype(np.int64) + self.category_offsets
            scores = scores + self.category_weights[indices].sum(1)
        return scores

    def to_onnx(self, builder: OnnxGraphBuilder, name: str) -> str:
        """Add MatMul and Add, and a Gather for the codes; return the scores' name."""
        if not len(self.category_offsets):
            product = builder.add("MatMul", [name, builder.constant(self.weights)])
            return builder.add("Add", [product, builder.constant(self.bias)])
        n_numeric, axis = len(self.weights), builder.constant(np.array([1], np.int64))

        def columns(start: int, end: int) -> str:
            bounds = [builder.constant(np.array([bound], np.int64)) for bound in (start, end)]
            return builder.add("Slice", [name, *bounds, axis])

        codes = columns(n_numeric, n_numeric + len(self.category_offsets))
        codes = builder.cast(codes, np.int64)
        indices = builder.add("Add", [codes, builder.constant(self.category_offsets)])
        weights = builder.add("Gather", [builder.constant(self.category_weights), indices], axis=0)
        scores = builder.add("ReduceSum", [weights, axis], keepdims=0)
        if n_numeric:
            numeric = [columns(0, n_numeric), builder.constant(self.weights)]
            scores = builder.add("Add", [scores, builder.add("MatMul", numeric)])
        return builder.add("Add", [scores, builder.constant(self.bias)])

    def save(self, folder: Path) -> None:
        """Write all arrays as safetensors."""
        from safetensors.numpy import save_file

        save_file({f.name: getattr(self, f.name) for f in fields(self)}, folder / LINEAR)


@dataclass(frozen=True)
class LinearModel:
    """Ridge regression, or multinomial logistic regression for classes (scikit-learn).

    Each known value of a category has a weight of its own. Numbers should be scaled and have no
    missing values.

    Args:
        l2: regularization strength: ``l2 / 2`` times the squared weights is added to the mean loss
            per row. None to choose the best of 1, 0.1, ..., 0.00001 on the validation rows.

    Example:
        >>> pipeline = TablePipeline(LinearModel(l2=0.01))
    """

    l2: float | None = None

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
    ) -> FittedLinear:
        """As `Learner.fit`; `fidelity` scales the iterations of a logistic regression."""
        check_classes(rows, input_spec.n_outputs)
        if np.isnan(rows.inputs).any() or np.isnan(validation_rows.inputs).any():
            rule, got = "without missing values", Phrase("missing values")
            raise InfeasibleCandidate(expected("inputs of a linear model", rule, got))
        strengths = _L2_PATH if self.l2 is None else (self.l2,)
        iterations = max(1, round(_MAX_ITERATIONS * fidelity))
        models = _regularization_path(input_spec, rows, strengths, iterations, deadline)
        best, best_loss, n_worse = next(models), math.inf, 0
        if self.l2 is None:
            best_loss = validation_loss(best.outputs(validation_rows.inputs))
        for model in models:
            loss = validation_loss(model.outputs(validation_rows.inputs))
            if loss < best_loss:
                best, best_loss, n_worse = model, loss, 0
            else:
                n_worse += 1
            if n_worse == _PATIENCE:
                break
        return best

    def load(self, input_spec: InputSpec, folder: Path) -> FittedLinear:
        """As `Learner.load`.

        Raises:
            BrokenFile: The arrays do not fit the inputs.
        """
        fitted = FittedLinear(**read_fields(folder, LINEAR, _DTYPES))
        cardinalities, n_outputs = input_spec.given.get("cardinalities", ()), input_spec.n_outputs
        shapes = {
            "weights": (input_spec.shape[0] - len(cardinalities), n_outputs),
            "bias": (n_outputs,),
            "category_weights": (sum(cardinalities), n_outputs),
            "category_offsets": (len(cardinalities),),
        }
        for name, shape in shapes.items():
            if getattr(fitted, name).shape != shape:
                what, got = f"{name} in {folder / LINEAR}", getattr(fitted, name).shape
                raise BrokenFile(expected(what, f"of shape {shape}", got))
        offsets = _category_offsets(cardinalities)
        if not np.array_equal(fitted.category_offsets, offsets):
            what = f"category_offsets in {folder / LINEAR}"
            raise BrokenFile(expected(what, offsets.tolist(), fitted.category_offsets))
        return fitted


def _regularization_path(
    input_spec: InputSpec,
    rows: PreparedRows,
    strengths: tuple[float, ...],
    iterations: int,
    deadline: float,
) -> Iterator[FittedLinear]:
    """Yield a model for each strength, warm-started from the last, until the time is up."""
    from threadpoolctl import threadpool_limits

    cardinalities = tuple(input_spec.given.get("cardinalities", ()))
    design = _design_matrix(rows.inputs, cardinalities)
    model = _sklearn_model(input_spec.n_outputs)
    for l2 in strengths:
        start = time.monotonic()
        with threadpool_limits(1):
            if input_spec.n_outputs == 1:
                model.set_params(alpha=max(l2, 1e-12) * _total_weight(rows))
                model.fit(design, rows.targets.astype(np.float64), rows.weights)
            else:
                model.set_params(C=1 / (max(l2, 1e-12) * _total_weight(rows)))
                _fit_in_steps(model, design, rows, iterations, deadline)
        yield _fitted_linear(model, input_spec.n_outputs, cardinalities)
        now = time.monotonic()
        if math.isfinite(deadline) and now + 2 * (now - start) > deadline:
            return


def _sklearn_model(n_outputs: int) -> SklearnModel:
    from sklearn.linear_model import LogisticRegression, Ridge

    if n_outputs == 1:
        return Ridge()
    return LogisticRegression(warm_start=True)


def _fit_in_steps(
    model: SklearnModel, design: DesignMatrix, rows: PreparedRows, iterations: int, deadline: float
) -> None:
    """Continue the fit a few iterations at a time until it converges or the time is up."""
    from sklearn.exceptions import ConvergenceWarning

    for done in range(0, iterations, _ITERATIONS_PER_CALL):
        start, max_iter = time.monotonic(), min(_ITERATIONS_PER_CALL, iterations - done)
        model.set_params(max_iter=max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the next call continues
            model.fit(design, rows.targets, rows.weights)
        now = time.monotonic()
        is_late = math.isfinite(deadline) and now + (now - start) > deadline
        if is_late or max(model.n_iter_) < max_iter:
            return


def _design_matrix(inputs: Arrays, cardinalities: tuple[int, ...]) -> DesignMatrix:
    """Return (rows, numeric columns + codes), sparse with one-hot codes if there are any."""
    if not cardinalities:
        return inputs.astype(np.float64)
    from scipy import sparse

    n_numeric = inputs.shape[1] - len(cardinalities)
    columns = inputs[:, n_numeric:].astype(np.int64) + _category_offsets(cardinalities)
    rows = np.repeat(np.arange(len(inputs)), len(cardinalities))
    one_hot = sparse.csr_matrix(
        (np.ones(columns.size), (rows, columns.ravel())), shape=(len(inputs), sum(cardinalities))
    )
    return sparse.hstack([inputs[:, :n_numeric].astype(np.float64), one_hot], format="csr")


def _category_offsets(cardinalities: tuple[int, ...]) -> NDArray[np.int64]:
    return np.cumsum((0, *cardinalities[:-1])) if cardinalities else np.zeros(0, np.int64)


def _fitted_linear(
    model: SklearnModel, n_outputs: int, cardinalities: tuple[int, ...]
) -> FittedLinear:
    """Take over the coefficients; a binary model's score becomes the scores (0, score)."""
    coef, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if n_outputs > 1:
        classes = model.classes_
        if len(classes) == 2:
            coef, bias = np.stack([0 * coef[0], coef[0]]), np.array([0, bias[0]])
        all_coef = np.zeros((n_outputs, coef.shape[1]))
        all_bias = np.full(n_outputs, _UNSEEN_CLASS_SCORE)
        all_coef[classes], all_bias[classes] = coef, bias
        coef, bias = all_coef, all_bias
    weights = np.ascontiguousarray(coef.T, np.float32)  # (numeric columns + codes, outputs)
    n_numeric = len(weights) - sum(cardinalities)
    return FittedLinear(
        weights[:n_numeric],
        bias.astype(np.float32),
        weights[n_numeric:],
        _category_offsets(cardinalities),
    )


def _total_weight(rows: PreparedRows) -> float:
    return float(len(rows) if rows.weights is None else rows.weights.sum())
