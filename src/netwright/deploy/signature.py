"""The signature of a model file: its inputs and outputs, checked against its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netwright.data.columns import columns_from_card
from netwright.deploy.graph_reader import ModelGraph, TensorType
from netwright.deploy.protobuf import InvalidModelFile

_DTYPE_OF_KIND = {"category": "str", "boolean": "str", "date": "int64", "text": "str"}
_PREDICTION_DTYPES = ("float64", "float32")
"""Dtypes of regression outputs: the first in current files, the second in format 1."""


def check_signature(graph: ModelGraph, card: Mapping[str, Any]) -> None:
    """Raise InvalidModelFile unless the file has the inputs and outputs that its card describes."""
    if graph.inputs != expected_inputs(card):
        raise InvalidModelFile("its inputs do not match its card")
    names, outputs = card["outputs"], graph.outputs
    if not card["classes"]:
        prediction = outputs.get(names["value"])
        if (
            prediction is None
            or prediction.dtype not in _PREDICTION_DTYPES
            or len(prediction.shape) != 1
        ):
            raise InvalidModelFile("its outputs do not match its card")
        return
    probabilities, label = (outputs.get(names[name]) for name in ("probabilities", "label"))
    if probabilities != TensorType("float32", (None, len(card["classes"]))) or label is None:
        raise InvalidModelFile("its outputs do not match its card")


def expected_inputs(card: Mapping[str, Any]) -> dict[str, TensorType]:
    """Return the inputs: one (rows,) for each column, or "image" (rows, h, w, c) of uint8."""
    if "image" in card:
        size = [int(card["image"][name]) for name in ("height", "width", "channels")]
        return {"image": TensorType("uint8", (None, *size))}
    return {
        column.name: TensorType(_DTYPE_OF_KIND.get(column.kind, column.dtype), (None,))
        for column in columns_from_card(card)
    }
