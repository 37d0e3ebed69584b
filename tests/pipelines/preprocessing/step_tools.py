"""Tables in one line, and a step's ONNX nodes run by onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx.helper
import onnxruntime
from onnx import TensorProto

from netwright.data.columns import normalize_text
from netwright.data.task import Column, Table
from netwright.deploy.operators import OPERATORS
from netwright.pipelines.onnx.graph_builder import ML_OPSET, OPSET, OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import FittedStep

TYPES = {"numeric": TensorProto.FLOAT, "date": TensorProto.INT64}


def run_onnx(builder: OnnxGraphBuilder, output: str, table: Table) -> np.ndarray:
    """Run the nodes on the table's rows."""
    assert {(node.domain, node.op_type) for node in builder.nodes} <= OPERATORS
    info = onnx.helper.make_tensor_value_info
    inputs = [info(c.name, TYPES.get(c.kind, TensorProto.STRING), ["rows"]) for c in table.columns]
    outputs = [info(output, TensorProto.FLOAT, None)]
    graph = onnx.helper.make_graph(builder.nodes, "test", inputs, outputs, builder.initializers)
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, dict(table.arrays))[0]


def run_step_onnx(step: FittedStep, table: Table) -> np.ndarray:
    """Return what the step's nodes compute for the table."""
    builder = OnnxGraphBuilder()
    return run_onnx(builder, step.to_onnx(builder), table)


def agrees_with_onnx(step: FittedStep, *tables: Table) -> bool:
    """Check that a step and its nodes agree bit by bit on each table and on its first row alone."""
    for table in tables:
        expected = step.transform(table)
        assert expected.dtype == np.float32
        assert expected.shape == (len(table), step.n_columns)
        np.testing.assert_array_equal(run_step_onnx(step, table), expected)
        np.testing.assert_array_equal(run_step_onnx(step, table.take(np.array([0]))), expected[:1])
    return True


def numbers(**columns: object) -> Table:
    arrays = {name: np.asarray(values, np.float32) for name, values in columns.items()}
    return Table(tuple(Column(name, "numeric") for name in arrays), arrays)


def dates(**columns: object) -> Table:
    arrays = {name: np.asarray(values, np.int64) for name, values in columns.items()}
    return Table(tuple(Column(name, "date") for name in arrays), arrays)


def categories(**columns: list[str]) -> Table:
    arrays = {name: np.array(values, object) for name, values in columns.items()}
    return Table(tuple(Column(name, "category") for name in arrays), arrays)


def texts(**columns: list[str]) -> Table:
    arrays = {name: normalize_text(values) for name, values in columns.items()}
    return Table(tuple(Column(name, "text") for name in arrays), arrays)


def side_by_side(*tables: Table) -> Table:
    """Return the columns of several tables as one table."""
    columns = tuple(column for table in tables for column in table.columns)
    return Table(columns, {c.name: t.arrays[c.name] for t in tables for c in t.columns})
