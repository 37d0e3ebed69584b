"""Torch modules as ONNX graphs."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from torch import nn

from netwright.errors import ExportError
from netwright.pipelines.onnx.graph_builder import OPSET


def onnx_graph(module: nn.Module, shape: tuple[int, ...]) -> Any:
    """The module as an ONNX graph with a free first axis.

    By torch's TorchScript exporter: 8 ms for a small network once warm, where the newer one takes
    0.8 s, which a search that exports every candidate cannot afford (docs/adr/0003).
    """
    import onnx

    example = torch.zeros(2, *shape)  # a batch of 1 may be taken for a constant
    buffer: Any = io.BytesIO()  # torch takes it, and says only paths
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own age and of traced shapes
        try:
            torch.onnx.export(
                module.eval(), (example,), buffer, dynamo=False, opset_version=OPSET,
                input_names=["input"], output_names=["output"],
                dynamic_axes={"input": {0: "rows"}, "output": {0: "rows"}},
            )  # fmt: skip
        except Exception as error:  # the exporter raises what it likes
            raise ExportError(f"the network cannot be written as ONNX: {error}") from error
    return onnx.load_from_string(buffer.getvalue()).graph
