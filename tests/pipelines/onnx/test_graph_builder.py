"""The ONNX graph builder writes equal nodes once."""

from __future__ import annotations

import numpy as np

from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder


def test_equal_nodes_and_constants_are_written_once() -> None:
    builder = OnnxGraphBuilder()
    first, repeated, different = (builder.constant(np.float32(number)) for number in (1, 1, 2))
    assert first == repeated != different
    assert builder.constant(np.float64(1)) != first  # another type
    assert builder.constant([1.0, 0.0]) != builder.constant([1.0, -0.0])
    assert (
        builder.constant(["a", "b"]) == builder.constant(["a", "b"]) != builder.constant(["ab", ""])
    )
    total = builder.add("Add", ["x", first])
    assert builder.add("Add", ["x", first]) == total
    assert builder.add("Add", [first, "x"]) != total
    assert builder.add("Concat", ["x", "y"], axis=1) != builder.add("Concat", ["x", "y"], axis=0)
    assert builder.string_split("x") == builder.string_split("x") != builder.string_split("x", "a")
    assert len(builder.nodes) == 6


def test_named_outputs_and_array_attributes() -> None:
    builder = OnnxGraphBuilder()
    generated = builder.add("Identity", ["x"])
    for _ in range(2):  # once
        assert builder.add("Identity", ["x"], output="label") == "label" != generated
    assert len(builder.nodes) == 2
    trees = np.arange(5)
    output, another = (builder.add("Trees", ["x"], domain="d", nodes_treeids=trees) for _ in "ab")
    assert output != another
    attribute = builder.nodes[-1].attribute[0]
    assert (attribute.name, list(attribute.ints)) == ("nodes_treeids", [0, 1, 2, 3, 4])
    builder2 = OnnxGraphBuilder()
    builder2.add("Trees", ["x"], values=np.float32([0.5]), modes=np.array([b"LEAF"], object))
    modes, values = builder2.nodes[0].attribute
    assert (list(modes.strings), list(values.floats)) == ([b"LEAF"], [0.5])
