"""Rows for trees, edge cases included, and scores by onnxruntime."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx.helper
import onnxruntime
from onnx import TensorProto

from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.pipelines.interfaces import (
    FittedModel,
    InputSpec,
    Learner,
    PreparedRows,
    ValidationLoss,
)
from netwright.pipelines.onnx.graph_builder import ML_OPSET, OPSET, OnnxGraphBuilder
from netwright.pipelines.pipeline import FittedPipeline, TablePipeline, load
from netwright.pipelines.pipeline import fit as fit_pipeline
from netwright.pipelines.trees.tree_ensemble import TreeEnsemble

COLUMNS = 5
EXTREMES = np.float32([0, -0.0, 1e30, -1e30, 3e38, 1e-35, -1e-35, 1e-40, -1e-40, np.nan])


def example_rows(
    n_outputs: int, n: int = 800, *, seed: int = 0, missing: bool = True
) -> PreparedRows:
    """Column 0 is most predictive, 4 has few values, 3 is positive and 1 has missing values."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, COLUMNS)).astype(np.float32)
    x[:, 3] = rng.lognormal(size=n)
    x[:, 4] = rng.integers(-2, 4, n)
    score = 2 * x[:, 0] + x[:, 1] * x[:, 2] + (x[:, 4] > 0) + rng.normal(size=n) * 0.3
    if missing:
        x[rng.random(n) < 0.15, 1] = np.nan
    if n_outputs == 1:
        return PreparedRows(x, ((score - score.mean()) / score.std()).astype(np.float32))
    cuts = np.quantile(score, np.linspace(0, 1, n_outputs + 1)[1:-1])
    return PreparedRows(x, np.digitize(score, cuts).astype(np.int64))


def edge_case_rows(ensemble: TreeEnsemble) -> np.ndarray:
    """Rows with the ensemble's thresholds, the floats next to them, extreme values and NaN."""
    rng = np.random.default_rng(7)
    x = example_rows(1, 2000, seed=5).inputs
    for column in range(COLUMNS):
        thresholds = ensemble.threshold[ensemble.feature == column]
        thresholds = thresholds[np.abs(thresholds) < 1e38]
        above = np.nextafter(thresholds, np.float32(np.inf))
        below = np.nextafter(thresholds, np.float32(-np.inf))
        special = np.concatenate([thresholds, above, below, EXTREMES])
        rows = rng.random(len(x)) < 0.6
        x[rows, column] = rng.choice(special, rows.sum())
    return x


def leaf_indices(ensemble: TreeEnsemble, x: np.ndarray) -> np.ndarray:
    """(rows, trees) indices of the leaves, counted from each tree's first."""
    first = ensemble.starts[:-1] + np.arange(ensemble.n_trees)
    indices: np.ndarray = ensemble._leaves(x, slice(0, None)).T - first
    return indices


def by_onnx(model: FittedModel, x: np.ndarray) -> np.ndarray:
    """(rows, outputs) scores of the model's ONNX nodes."""
    builder = OnnxGraphBuilder()
    output = model.to_onnx(builder, "x")
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        builder.nodes, "test", [info("x", TensorProto.FLOAT, ["rows", x.shape[1]])],
        [info(output, TensorProto.FLOAT, ["rows", "outputs"])], builder.initializers,
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    file = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(file)
    scores: np.ndarray = onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})[
        0
    ]
    return scores


def validation_loss_of(rows: PreparedRows) -> ValidationLoss:
    """Return the log loss or mean squared error for these rows."""

    def validation_loss(scores: np.ndarray) -> float:
        if scores.shape[1] == 1:
            return float(((scores[:, 0] - rows.targets) ** 2).mean())
        shifted = scores - scores.max(1, keepdims=True)
        chosen = shifted[np.arange(len(rows)), rows.targets]
        return float((np.log(np.exp(shifted).sum(1)) - chosen).mean())

    return validation_loss


def fit(
    learner: Learner,
    rows: PreparedRows,
    validation_rows: PreparedRows,
    n_outputs: int,
    *,
    seed: int = 0,
    fidelity: float = 1.0,
    deadline: float = math.inf,
) -> FittedModel:
    """Fit a learner as a pipeline does, with the loss as metric."""
    input_spec = InputSpec((rows.inputs.shape[1],), {"outputs": n_outputs, "cardinalities": ()})
    return learner.fit(
        input_spec,
        rows,
        validation_rows,
        validation_loss_of(validation_rows),
        seed=seed,
        fidelity=fidelity,
        deadline=deadline,
    )


def fit_save_load_export(learner: Learner, task_: Task, folder: Path) -> FittedPipeline:
    """Fit, save, load and export a pipeline; check that all predict the same on all rows."""
    pipeline = TablePipeline(learner)
    fitted = fit_pipeline(pipeline, task_, seed=0)
    model = export_onnx(fitted, make_card(task_), folder / "model.onnx")
    fitted.save(folder)
    loaded = load(pipeline, folder)
    predictions = fitted.predict(task_.features)
    assert np.array_equal(loaded.predict(task_.features), predictions)
    agreement = check_parity(model, fitted, task_.features)
    assert agreement.difference < 1e-5
    assert agreement.labels == 0
    return fitted


def sklearn_task(name: str) -> Task:
    """Return one of scikit-learn's datasets as a task."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    kind = "regression" if name == "diabetes" else "classification"
    return task(bunch.data, bunch.target, kind=kind, name=name)
