"""Rows for trees, the nastiest included, and their scores by onnxruntime."""

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


def examples(outputs: int, n: int = 800, *, seed: int = 0, holes: bool = True) -> PreparedRows:
    """Column 0 says most, 4 has few values, 3 has none below 0; column 1 has holes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, COLUMNS)).astype(np.float32)
    x[:, 3] = rng.lognormal(size=n)
    x[:, 4] = rng.integers(-2, 4, n)
    score = 2 * x[:, 0] + x[:, 1] * x[:, 2] + (x[:, 4] > 0) + rng.normal(size=n) * 0.3
    if holes:
        x[rng.random(n) < 0.15, 1] = np.nan
    if outputs == 1:
        return PreparedRows(x, ((score - score.mean()) / score.std()).astype(np.float32))
    cuts = np.quantile(score, np.linspace(0, 1, outputs + 1)[1:-1])
    return PreparedRows(x, np.digitize(score, cuts).astype(np.int64))


def nasty(ensemble: TreeEnsemble) -> np.ndarray:
    """Held-out rows in whose columns stand thresholds, their neighbours, huge values, NaN."""
    rng = np.random.default_rng(7)
    x = examples(1, 2000, seed=5).inputs
    for column in range(COLUMNS):
        at = ensemble.threshold[ensemble.feature == column]
        at = at[np.abs(at) < 1e38]
        up, down = np.nextafter(at, np.float32(np.inf)), np.nextafter(at, np.float32(-np.inf))
        special = np.concatenate([at, up, down, EXTREMES])
        rows = rng.random(len(x)) < 0.6
        x[rows, column] = rng.choice(special, rows.sum())
    return x


def leaves(ensemble: TreeEnsemble, x: np.ndarray) -> np.ndarray:
    """(rows, trees) numbers of the leaves, each tree's from 0."""
    first = ensemble.starts[:-1] + np.arange(ensemble.trees)
    found: np.ndarray = ensemble._leaves(x, slice(0, None)).T - first
    return found


def by_onnx(model: FittedModel, x: np.ndarray) -> np.ndarray:
    """(rows, outputs) scores of the model's nodes."""
    nodes = OnnxGraphBuilder()
    output = model.to_onnx(nodes, "x")
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes.nodes, "test", [info("x", TensorProto.FLOAT, ["rows", x.shape[1]])],
        [info(output, TensorProto.FLOAT, ["rows", "outputs"])], nodes.initializers,
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    file = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(file)
    scores: np.ndarray = onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})[
        0
    ]
    return scores


def judge_of(rows: PreparedRows) -> ValidationLoss:
    """Log loss or mean squared error for these rows."""

    def judge(scores: np.ndarray) -> float:
        if scores.shape[1] == 1:
            return float(((scores[:, 0] - rows.targets) ** 2).mean())
        shifted = scores - scores.max(1, keepdims=True)
        chosen = shifted[np.arange(len(rows)), rows.targets]
        return float((np.log(np.exp(shifted).sum(1)) - chosen).mean())

    return judge


def fit(
    learner: Learner, rows: PreparedRows, held_out: PreparedRows, outputs: int, *, seed: int = 0,
    fidelity: float = 1.0, deadline: float = math.inf,
) -> FittedModel:  # fmt: skip
    """As a pipeline fits, judged by the loss."""
    given = InputSpec((rows.inputs.shape[1],), {"outputs": outputs, "cardinalities": ()})
    return learner.fit(
        given, rows, held_out, judge_of(held_out), seed=seed, fidelity=fidelity, deadline=deadline
    )


def whole_way(learner: Learner, found: Task, folder: Path) -> FittedPipeline:
    """A pipeline of this learner, fitted, kept, loaded and exported: all agree on all rows."""
    pipeline = TablePipeline(learner)
    fitted = fit_pipeline(pipeline, found, seed=0)
    model = export_onnx(fitted, make_card(found), folder / "model.onnx")
    fitted.save(folder)
    again = load(pipeline, folder).predict(found.features)
    assert np.array_equal(again, fitted.predict(found.features))
    agreed = check_parity(model, fitted, found.features)
    assert agreed.difference < 1e-5
    assert agreed.labels == 0
    return fitted


def bundled(name: str) -> Task:
    """One of scikit-learn's own tables."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")(as_frame=True)
    kind = "regression" if name == "diabetes" else "classification"
    return task(data.data, data.target, kind=kind, name=name)
