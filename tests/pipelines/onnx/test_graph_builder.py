"""The writer of nodes: what is equal is written once, and nothing else is."""

from __future__ import annotations

import numpy as np

from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder


def test_equal_nodes_and_constants_are_written_once() -> None:
    nodes = OnnxGraphBuilder()
    one, same, other = (nodes.constant(np.float32(value)) for value in (1, 1, 2))
    assert one == same != other
    assert nodes.constant(np.float64(1)) != one  # another type
    assert nodes.constant([1.0, 0.0]) != nodes.constant([1.0, -0.0])
    assert nodes.constant(["a", "b"]) == nodes.constant(["a", "b"]) != nodes.constant(["ab", ""])
    first = nodes.add("Add", ["x", one])
    assert nodes.add("Add", ["x", one]) == first
    assert nodes.add("Add", [one, "x"]) != first
    assert nodes.add("Concat", ["x", "y"], axis=1) != nodes.add("Concat", ["x", "y"], axis=0)
    assert nodes.string_split("x") == nodes.string_split("x") != nodes.string_split("x", "a")
    assert len(nodes.nodes) == 6


def test_a_named_output_and_a_long_attribute_are_written() -> None:
    nodes = OnnxGraphBuilder()
    made = nodes.add("Identity", ["x"])
    for _ in range(2):  # once
        assert nodes.add("Identity", ["x"], output="label") == "label" != made
    assert len(nodes.nodes) == 2
    trees = np.arange(5)
    first, second = (nodes.add("Trees", ["x"], domain="d", nodes_treeids=trees) for _ in "ab")
    assert first != second
    found = nodes.nodes[-1].attribute[0]
    assert (found.name, list(found.ints)) == ("nodes_treeids", [0, 1, 2, 3, 4])
    floats = OnnxGraphBuilder()
    floats.add("Trees", ["x"], values=np.float32([0.5]), modes=np.array([b"LEAF"], object))
    modes, values = floats.nodes[0].attribute
    assert (list(modes.strings), list(values.floats)) == ([b"LEAF"], [0.5])
