"""The look into a model file that is taken before onnxruntime opens it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import pytest
from onnx import TensorProto

from netwright.deploy import protobuf
from netwright.deploy.graph_reader import TensorType, read_graph
from netwright.deploy.model import KEY
from netwright.deploy.protobuf import InvalidModelFile

EDGES = [0, 1, -1, 63, 64, 127, 128, 8191, 8192, 8255, 2**14, 2**21 - 1, 2**31, 2**63 - 1, -(2**63)]
"""Numbers of one to ten bytes; 8192 ends with the byte that is also the tag."""


def attribute(**values: Any) -> bytes:
    ((name, value),) = values.items()
    return bytes(onnx.helper.make_attribute(name, value).SerializeToString())


def model(*nodes: Any) -> bytes:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes or [onnx.helper.make_node("Identity", ["x"], ["y"])], "test",
        [info("x", TensorProto.FLOAT, ["rows", 3])], [info("y", TensorProto.FLOAT, ["rows", 3])],
    )  # fmt: skip
    file = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    onnx.helper.set_model_props(file, {KEY: "{}"})
    return bytes(file.SerializeToString())


def test_inputs_outputs_and_metadata_are_read() -> None:
    content = model()
    graph = read_graph(content, KEY)
    assert graph.inputs == {"x": TensorType("float32", (None, 3))}
    assert graph.outputs == {"y": TensorType("float32", (None, 3))}
    assert content[slice(*graph.metadata[KEY])] == b"{}"


@pytest.mark.parametrize("repeats", [1, 7, 500])
def test_runs_of_varints_end_with_their_attribute(repeats: int) -> None:
    rng = np.random.default_rng(repeats)
    numbers = [int(x) for x in rng.permutation(EDGES * repeats)]
    content = attribute(ints=numbers)
    start = content.index(b"@")
    field_number, kind, _, after_first = protobuf.field(content, start, len(content))
    assert (field_number, kind) == (8, protobuf.VARINT)
    type_field = b"\xa0\x01\x07"  # what onnx writes last: the attribute's type
    assert protobuf.after_varints(content, after_first, len(content)) == len(content) - len(
        type_field
    )


def test_runs_of_floats_end_with_their_attribute() -> None:
    content = attribute(floats=[1.5, float.fromhex("0x1.7a7a7ap+3")] * 300)
    start = content.index(b"=")
    assert protobuf.after_floats(content, start, len(content)) == len(content) - 3


def test_tree_modes_are_skipped_until_another_text() -> None:
    modes = ["LEAF", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF"] * 50
    content = attribute(nodes_modes=modes)
    start = content.index(b"J")
    assert protobuf.after_tree_modes(content, start, len(content)) == len(content) - 3
    other = attribute(nodes_modes=[*modes, "BRANCH_GT", *modes])
    assert protobuf.after_tree_modes(other, start, len(other)) == start  # then one by one
    assert read_graph(model(with_attribute(other)), KEY).outputs


def with_attribute(content: bytes) -> Any:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    node.attribute.append(onnx.AttributeProto.FromString(content))
    return node


def test_graph_hidden_behind_integers_is_refused() -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    hidden = onnx.helper.make_attribute("ints", [8192] * 400)
    hidden.g.CopyFrom(inner)
    with pytest.raises(InvalidModelFile, match="a graph or a type of their own"):
        read_graph(model(with_attribute(hidden.SerializeToString())), KEY)


def test_two_byte_tags_end_a_run_of_varints() -> None:
    numbers = attribute(ints=[1] * 400)[:-3]
    content = numbers + b"\xb2\x40\x05" + b"@\x01@\x01@"  # the field 1030, of five bytes
    start = content.index(b"@")
    assert protobuf.after_varints(content, start, len(content)) == len(numbers)


def test_bytes_beyond_the_end_of_a_message_are_refused() -> None:
    for content in (
        b"\x0a\x05ab",
        b"\x08\xff",
        b"\x0d\x01",
        b"\x0b",
        b"\x02\x00",
        b"\x08" + b"\xff" * 11,
    ):
        with pytest.raises((InvalidModelFile, IndexError)):
            protobuf.field(content, 0, len(content))


def test_shapes_computed_from_shapes_are_accepted() -> None:
    """A recurrent layer's first state: as many zeros as there are rows."""
    node = onnx.helper.make_node
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("Add", ["x", "zeros"], ["y"]),
    ]
    assert read_graph(model(*nodes), KEY).outputs


def test_operator_sizes_are_bounded() -> None:
    for name in ("n_targets", "hidden_size"):
        node = onnx.helper.make_node("Identity", ["x"], ["y"], **{name: 2**40})
        with pytest.raises(InvalidModelFile, match=f"the size {name}"):
            read_graph(model(node), KEY)
    node = onnx.helper.make_node("Identity", ["x"], ["y"], ngram_indexes=[1, 2, 2**40, 3])
    with pytest.raises(InvalidModelFile, match="the size ngram_indexes"):
        read_graph(model(node), KEY)


def test_export_refuses_operators_outside_the_table(tmp_path: Path) -> None:
    from torch import nn

    from netwright.data.make_task import task
    from netwright.deploy.export import export_onnx, make_card
    from netwright.errors import ExportError
    from netwright.networks.interfaces.layer import Leaf
    from netwright.networks.interfaces.shapes import Shape
    from netwright.networks.layers.linear import Linear
    from netwright.networks.training.recipe import Training
    from netwright.pipelines.pipeline import TablePipeline, fit

    class Determinant(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * (x[:, :1, None] @ x[:, None, :1]).det()[:, None]

    @dataclass(frozen=True)
    class Volume(Leaf):
        def build(self, shape: Shape) -> nn.Module:
            return Determinant()

    x = np.random.default_rng(0).normal(size=(40, 3))
    toy_task = task(x, np.arange(40) % 2, kind="classification")
    pipeline = fit(TablePipeline(Training((Volume(), Linear()), epochs=1)), toy_task, seed=0)
    with pytest.raises(ExportError, match=r"the operator ai\.onnx\.Det, which netwright does not"):
        export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]
