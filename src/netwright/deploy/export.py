"""Export a fitted pipeline to one ONNX file: raw columns or pixels in, labels and scores out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

TOLERANCE = 1e-4
"""The largest difference in a probability, or in a value as a share of the target's deviation.

Of a target that was learnt as logarithms, both are those of the logarithms.
"""
_IR_VERSION = 9
"""The version of the file format that onnxruntime 1.17 and later read."""
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Parity:
    """Agreement of a file with the pipeline it was exported from, on the same rows.

    Args:
        rows: number of rows.
        difference: the largest in a probability, or in a value; see `TOLERANCE`.
        labels: number of rows labelled differently although the two best classes are further apart
            than rounding can explain.
    """

    rows: int
    difference: float
    labels: int


def export_onnx(pipeline: Predictor, card: Mapping[str, Any], path: Path) -> Model:
    """Write a pipeline as an ONNX file, and return it loaded.

    The file is written whole or not at all: it has another name until it is complete.

    Args:
        pipeline: a fitted pipeline.
        card: the file's metadata, from `make_card`.
        path: of the file.

    Raises:
        ExportError: a layer needs an operator that files may not have
            (`netwright.deploy.operators`).
    """
    import onnx
    import onnx.helper

    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    card = dict(card)
    if pipeline.threshold != _DEFAULT_THRESHOLD:
        card["threshold"] = pipeline.threshold
    graph = _graph(pipeline, card)
    model = onnx.helper.make_model(graph, opset_imports=opsets, producer_name="netwright")
    model.ir_version = _IR_VERSION
    onnx.helper.set_model_props(model, {KEY: card_text(card)})
    content = model.SerializeToString()
    try:
        written = read_graph(content, KEY)
    except InvalidModelFile as error:
        raise ExportError(f"the model could not be loaded where it is used: {error}.") from error
    content = with_checksum(content, written.metadata[KEY])
    Folder(path.parent).write(path.name, content, sync=True)
    return Model(path)


def make_card(task: Task) -> dict[str, Any]:
    """Return what a user of a model file needs to know of its inputs and outputs, as plain JSON."""
    card: dict[str, Any] = {
        "format": FORMAT,
        "task": task.name,
        "kind": task.kind,
        "target": task.target_name,
        "classes": list(task.classes),
        "outputs": _output_names(task.features),
    }
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
    """Compare a file with its pipeline on some rows; raise ExportError if they disagree."""
    expected, exported = pipeline.predict(features), model.predict_scores(features)
    difference = pipeline.target.max_difference(expected, exported)
    n_other_labels = 0
    if pipeline.target.n_classes:
        ranked = np.sort(expected, axis=1)
        is_clear = ranked[:, -1] - ranked[:, -2] > 2 * difference
        n_other_labels = int((is_clear & (expected.argmax(1) != exported.argmax(1))).sum())
    if not difference <= TOLERANCE or n_other_labels:
        raise ExportError(
            f"the exported file must agree with the trained model to {TOLERANCE:g}, got a "
            f"difference of {difference:.2g} over {len(expected)} rows. Choose another trial of the "
            "leaderboard to export."
        )
    return Parity(len(expected), difference, n_other_labels)


def _output_names(features: Features) -> dict[str, str]:
    """Return output -> its name in the file, which no column has."""
    taken = {column.name for column in features.columns} if isinstance(features, Table) else set()
    names = {}
    for output in ("label", "probabilities", "value"):
        name = output
        while name in taken:
            name += "_"
        names[output] = name
    return names


def _graph(pipeline: Predictor, card: Mapping[str, Any]) -> GraphProto:
    import onnx.helper

    builder = OnnxGraphBuilder()
    outputs = _outputs(builder, pipeline.to_onnx(builder), card, pipeline.threshold)
    return onnx.helper.make_graph(
        builder.nodes, "netwright", _inputs(card), outputs, builder.initializers
    )


def _inputs(card: Mapping[str, Any]) -> list[ValueInfoProto]:
    """Return one input (rows,) for each column, or "image" (rows, h, w, c) of uint8."""
    from onnx.helper import make_tensor_value_info

    return [
        make_tensor_value_info(name, _element_type(tensor.dtype), ["rows", *tensor.shape[1:]])
        for name, tensor in expected_inputs(card).items()
    ]


def _element_type(dtype: str) -> int:
    """Return TensorProto.DataType of a dtype, or of "str"."""
    from onnx import TensorProto
    from onnx.helper import np_dtype_to_tensor_dtype

    if dtype == "str":
        return int(TensorProto.STRING)
    return int(np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _outputs(
    builder: OnnxGraphBuilder, predictions: str, card: Mapping[str, Any], threshold: float
) -> list[ValueInfoProto]:
    """Add "label" (rows,) and "probabilities" (rows, classes), or "value" (rows,)."""
    from onnx import TensorProto
    from onnx.helper import make_tensor_value_info as info

    names = card["outputs"]
    if not card["classes"]:
        prediction = builder.add("Identity", [predictions], output=names["value"])
        return [info(prediction, TensorProto.DOUBLE, ["rows"])]
    probabilities = builder.add("Identity", [predictions], output=names["probabilities"])
    index = builder.add("ArgMax", [probabilities], axis=1, keepdims=0)
    if threshold != _DEFAULT_THRESHOLD:
        second_class = builder.constant(np.int64(1))
        positive = builder.add("Gather", [probabilities, second_class], axis=1)  # (rows, 1)
        positive = builder.add("Squeeze", [positive, builder.constant(np.array([1], np.int64))])
        bound = builder.constant(np.float32(threshold))
        index = builder.cast(builder.add("GreaterOrEqual", [positive, bound]), np.int64)
    classes = onnx_labels(card["classes"])
    label_type = _element_type("str" if classes.dtype == object else classes.dtype.name)
    label = builder.add("Gather", [builder.constant(classes), index], output=names["label"], axis=0)
    shape = ["rows", len(card["classes"])]
    return [info(label, label_type, ["rows"]), info(probabilities, TensorProto.FLOAT, shape)]
