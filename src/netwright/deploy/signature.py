"""The inputs and outputs of a model file, against what its card says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netwright.data.columns import columns_from_card
from netwright.deploy.graph_reader import ModelGraph, TensorType
from netwright.deploy.protobuf import InvalidModelFile

_DTYPES = {"category": "str", "boolean": "str", "date": "int64", "text": "str"}
_VALUES = ("float64", "float32")
"""Types of predicted numbers: the first now, the second in format 1."""


def check_interface(graph: ModelGraph, card: Mapping[str, Any]) -> None:
    """Damaged unless the file takes the card's columns or image, and gives its outputs."""
    if graph.inputs != expected_inputs(card):
        raise InvalidModelFile("its inputs are not what its card says")
    names, outputs = card["outputs"], graph.outputs
    if not card["classes"]:
        value = outputs.get(names["value"])
        if value is None or value.dtype not in _VALUES or len(value.shape) != 1:
            raise InvalidModelFile("its outputs are not what its card says")
        return
    probabilities, label = (outputs.get(names[name]) for name in ("probabilities", "label"))
    if probabilities != TensorType("float32", (None, len(card["classes"]))) or label is None:
        raise InvalidModelFile("its outputs are not what its card says")


def expected_inputs(card: Mapping[str, Any]) -> dict[str, TensorType]:
    """One input a column (rows,), or "image" (rows, h, w, c) of uint8."""
    if "image" in card:
        size = [int(card["image"][name]) for name in ("height", "width", "channels")]
        return {"image": TensorType("uint8", (None, *size))}
    return {
        column.name: TensorType(_DTYPES.get(column.kind, column.dtype), (None,))
        for column in columns_from_card(card)
    }
