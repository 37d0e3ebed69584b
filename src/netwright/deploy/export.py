"""From a fitted pipeline to one ONNX file: raw columns or pixels in, labels and scores out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netwright.data.drift import reference_distribution
from netwright.data.labels import onnx_labels
from netwright.data.na_values import DEFAULT_NA_VALUES
from netwright.data.task import Features, Table, Task
from netwright.deploy.card import FORMAT, KEY, card_text, with_checksum
from netwright.deploy.graph_reader import read_graph
from netwright.deploy.model import Model
from netwright.deploy.protobuf import InvalidModelFile
from netwright.deploy.signature import expected_inputs
from netwright.errors import ExportError
from netwright.files.folder import Folder
from netwright.pipelines.onnx.graph_builder import ML_OPSET, OPSET, OnnxGraphBuilder
from netwright.pipelines.weighted_ensemble import Predictor

TOLERANCE = 1e-4
"""The largest difference in a probability, or in a value as a share of the target's deviation;

of a target that was learnt as logarithms, the difference and the deviation of these."""


@dataclass(frozen=True)
class Parity:
    """How the file agrees with the pipeline on the same rows.

    `difference` is the largest in a probability or value, `labels` counts rows labelled
    differently although the two best classes are further apart than that difference.
    """

    rows: int
    difference: float
    labels: int


def export_onnx(pipeline: Predictor, card: Mapping[str, Any], path: Path) -> Model:
    """Writes the pipeline to `path`, with `card` as its metadata, and returns it loaded.

    The write is whole or not at all: a file in the making has another name. Raises ExportError
    where a layer needs an operator that files may not have (`netwright.deploy.operators`).
    """
    import onnx
    import onnx.helper

    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    card = dict(card) | ({} if pipeline.threshold == 0.5 else {"threshold": pipeline.threshold})
    graph = _graph(pipeline, card)
    model = onnx.helper.make_model(graph, opset_imports=opsets, producer_name="netwright")
    model.ir_version = 9  # what onnxruntime 1.17 and later read
    onnx.helper.set_model_props(model, {KEY: card_text(card)})
    data = model.SerializeToString()
    try:
        written = read_graph(data, KEY)
    except InvalidModelFile as error:
        raise ExportError(f"the model cannot be read back where it is used: {error}.") from error
    whole = with_checksum(data, written.metadata[KEY])
    Folder(path.parent).write(path.name, whole, sync=True)
    return Model(path)


def make_card(task: Task) -> dict[str, Any]:
    """What a user of a model file needs to know of its inputs and outputs; plain JSON."""
    card: dict[str, Any] = {
        "format": FORMAT, "task": task.name, "kind": task.kind, "target": task.target_name,
        "classes": list(task.classes), "outputs": _output_names(task.features),
    }  # fmt: skip
    if task.classes:
        card["label_dtype"] = task.label_dtype
    if isinstance(task.features, Table):
        card["columns"] = [column.to_card() for column in task.features.columns]
        card["missing"] = DEFAULT_NA_VALUES.to_card()
        card["width"] = task.features.n_source_columns or len(task.features.columns)
        card["seen"] = reference_distribution(task.features.take(task.train))
        card["dates"] = "int64 nanoseconds since 1970-01-01"
        card["texts"] = (
            "categories without blanks around them, whole numbers as 3; true or false; "
            "empty where missing"
        )
        if any(column.kind == "text" for column in task.features.columns):
            card["words"] = "text in lower case, one blank between words and marks: don ' t panic !"
    else:
        card["image"] = task.features.schema.to_card()
    return card


def check_parity(model: Model, pipeline: Predictor, features: Features) -> Parity:
    """The file against the pipeline on these rows; ExportError when they do not agree."""
    here, there = pipeline.predict(features), model.predict_scores(features)
    difference = pipeline.target.max_difference(here, there)
    labels = 0
    if pipeline.target.n_classes:
        best = np.sort(here, axis=1)
        sure = best[:, -1] - best[:, -2] > 2 * difference
        labels = int((sure & (here.argmax(1) != there.argmax(1))).sum())
    if not difference <= TOLERANCE or labels:
        raise ExportError(
            f"the exported file must agree with the trained model to {TOLERANCE:g}, got a "
            f"difference of {difference:.2g} over {len(here)} rows. Choose another trial of the "
            "leaderboard to export."
        )
    return Parity(len(here), difference, labels)


def _output_names(features: Features) -> dict[str, str]:
    """Output -> its name in the file, out of the way of a column that is called the same."""
    taken = {column.name for column in features.columns} if isinstance(features, Table) else set()
    names = {}
    for name in ("label", "probabilities", "value"):
        free = name
        while free in taken:
            free += "_"
        names[name] = free
    return names


def _graph(pipeline: Predictor, card: Mapping[str, Any]) -> Any:
    import onnx.helper

    nodes = OnnxGraphBuilder()
    outputs = _heads(nodes, pipeline.to_onnx(nodes), card, pipeline.threshold)
    return onnx.helper.make_graph(
        nodes.nodes, "netwright", _inputs(card), outputs, nodes.initializers
    )


def _inputs(card: Mapping[str, Any]) -> list[Any]:
    """One input a column (rows,), or "image" (rows, h, w, c) of uint8."""
    from onnx import TensorProto
    from onnx.helper import make_tensor_value_info, np_dtype_to_tensor_dtype

    return [
        make_tensor_value_info(
            name,
            TensorProto.STRING if tensor.dtype == "str"
            else np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)),
            ["rows", *tensor.shape[1:]],
        )
        for name, tensor in expected_inputs(card).items()
    ]  # fmt: skip


def _heads(
    nodes: OnnxGraphBuilder, predictions: str, card: Mapping[str, Any], threshold: float
) -> list[Any]:
    """Outputs: "label" (rows,) and "probabilities" (rows, classes), or "value" (rows,)."""
    from onnx import TensorProto
    from onnx.helper import make_tensor_value_info as info
    from onnx.helper import np_dtype_to_tensor_dtype

    names = card["outputs"]
    if not card["classes"]:
        value = nodes.add("Identity", [predictions], output=names["value"])
        return [info(value, TensorProto.DOUBLE, ["rows"])]
    chances = nodes.add("Identity", [predictions], output=names["probabilities"])
    best = nodes.add("ArgMax", [chances], axis=1, keepdims=0)
    if threshold != 0.5:
        second = nodes.add("Gather", [chances, nodes.constant(np.int64(1))], axis=1)  # (rows, 1)
        second = nodes.add("Squeeze", [second, nodes.constant(np.array([1], np.int64))])
        bound = nodes.constant(np.float32(threshold))
        best = nodes.cast(nodes.add("GreaterOrEqual", [second, bound]), np.int64)
    labels = onnx_labels(card["classes"])
    kind = TensorProto.STRING if labels.dtype == object else np_dtype_to_tensor_dtype(labels.dtype)
    label = nodes.add("Gather", [nodes.constant(labels), best], output=names["label"], axis=0)
    shape = ["rows", len(card["classes"])]
    return [info(label, kind, ["rows"]), info(chances, TensorProto.FLOAT, shape)]
