"""Export of PyTorch modules to ONNX graphs."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from netwright.errors import ExportError
from netwright.pipelines.onnx.graph_builder import OPSET

if TYPE_CHECKING:
    import onnx


def onnx_graph(module: nn.Module, shape: tuple[int, ...]) -> onnx.GraphProto:
    """Export a module as an ONNX graph whose first axis (rows) is dynamic.

    Uses torch's TorchScript exporter: 8 ms for a small network once warm. The newer exporter takes
    0.8 s, too much for a search that exports every candidate (docs/adr/0003).

    Args:
        module: the module; it is set to evaluation mode.
        shape: the shape of one row of its float32 input.

    Raises:
        ExportError: The exporter fails.
    """
    import onnx

    example = torch.zeros(2, *shape)  # the exporter may treat a batch size of 1 as a constant
    buffer: Any = io.BytesIO()  # torch accepts buffers, but its annotation says paths only
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns that it is old and about traced shapes
        try:
            torch.onnx.export(
                module.eval(),
                (example,),
                buffer,
                dynamo=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "rows"}, "output": {0: "rows"}},
            )
        except Exception as error:  # the exporter raises exceptions of many types
            raise ExportError(f"the network cannot be written as ONNX: {error}") from error
    return onnx.load_from_string(buffer.getvalue()).graph
