"""Builder of ONNX graphs: pipeline steps and models add their nodes to it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET = 20
"""Version of the `ai.onnx` operator set in exported files."""
ML_OPSET = 3
"""Version of the `ai.onnx.ml` operator set in exported files."""


@dataclass
class OnnxGraphBuilder:
    """Nodes and initializers in the order of their creation.

    Equal nodes and equal constants are written once, so that the members of an ensemble share the
    preprocessing they have in common. Generated tensor names begin with ``nw/``, so that they
    cannot collide with column names.

    Args:
        nodes: the nodes, in topological order.
        initializers: the constant tensors.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    _cache: dict[Hashable, Any] = field(default_factory=dict)
    """Node or constant -> the name of its output."""

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        *,
        domain: str = "",
        output: str = "",
        **attributes: object,
    ) -> str:
        """Add a node with one output and return the name of that output.

        Args:
            op: the operator, such as ``"Add"``.
            inputs: the names of the input tensors.
            domain: the operator set; empty for ``ai.onnx``.
            output: the name of the output; generated if empty.
            **attributes: the node's attributes. Arrays (n,) are written without a check of each
                element; nodes that have them are never merged with equal ones.

        Returns:
            The name of the output, of an earlier node if that is equal.
        """
        import onnx.helper

        key = _node_key(op, tuple(inputs), domain, attributes, output)
        if key in self._cache:
            return str(self._cache[key])
        name = output or f"nw/{len(self.nodes)}"
        node = onnx.helper.make_node(op, list(inputs), [name], domain=domain)
        node.attribute.extend(_attribute(*attribute) for attribute in sorted(attributes.items()))
        self.nodes.append(node)
        if key is not None:
            self._cache[key] = name
        return name

    def constant(self, values: NDArray[Any] | np.generic | Sequence[object] | float) -> str:
        """Add a constant tensor and return its name.

        Args:
            values: a scalar, a sequence or an array; the tensor has its dtype. Strings become a
                tensor of strings.
        """
        import onnx.helper
        import onnx.numpy_helper

        array = np.asarray(values)
        is_text = array.dtype.kind in "OU"
        texts = [str(text).encode() for text in array.ravel()] if is_text else []
        content = tuple(texts) if texts else array.tobytes()
        key = ("constant", array.dtype.str, array.shape, content)
        if key in self._cache:
            return str(self._cache[key])
        name = f"nw/constant/{len(self.initializers)}"
        if is_text:
            string_type = onnx.TensorProto.STRING
            tensor = onnx.helper.make_tensor(name, string_type, array.shape, texts)
        else:
            tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.initializers.append(tensor)
        self._cache[key] = name
        return name

    def string_split(self, name: str, delimiter: str | None = None) -> tuple[str, str]:
        """Add a StringSplit node for the texts (rows,) in tensor `name`.

        Args:
            name: the tensor of texts.
            delimiter: where to split; None for runs of whitespace.

        Returns:
            The names of the pieces (rows, largest count) and of their counts (rows,) in int64.
        """
        import onnx.helper

        key = ("split", name, delimiter)
        if key not in self._cache:
            node_name = f"nw/{len(self.nodes)}"
            pieces, counts = f"{node_name}/pieces", f"{node_name}/many"
            attributes = {} if delimiter is None else {"delimiter": delimiter}
            self.nodes.append(
                onnx.helper.make_node("StringSplit", [name], [pieces, counts], **attributes)
            )
            self._cache[key] = pieces, counts
        pieces, counts = self._cache[key]
        return pieces, counts

    def stack_columns(self, names: Sequence[str]) -> str:
        """Stack columns (rows,) as one matrix (rows, columns)."""
        axis = self.constant(np.array([1], np.int64))
        columns = [self.add("Unsqueeze", [name, axis]) for name in names]
        return self.add("Concat", columns, axis=1) if len(columns) > 1 else columns[0]

    def cast(self, name: str, to: type[np.generic]) -> str:
        """Cast the tensor `name` to another number type."""
        import onnx.helper

        return self.add("Cast", [name], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to)))

    def inline(self, graph: onnx.GraphProto, inputs: Mapping[str, str]) -> list[str]:
        """Copy the nodes of another graph into this one.

        Args:
            graph: the other graph; its tensors get new names.
            inputs: name of an input of `graph` -> name of the tensor here that feeds it.

        Returns:
            The names of the graph's outputs.
        """
        new_names, prefix = dict(inputs), f"nw/graph/{len(self.nodes)}/"

        def renamed(name: str) -> str:
            return new_names.setdefault(name, f"{prefix}{name}") if name else ""

        for tensor in graph.initializer:
            copy = type(tensor)()
            copy.CopyFrom(tensor)
            copy.name = renamed(tensor.name)
            self.initializers.append(copy)
        for node in graph.node:
            copy = type(node)()
            copy.CopyFrom(node)
            copy.name = ""
            copy.input[:] = [renamed(name) for name in node.input]
            copy.output[:] = [renamed(name) for name in node.output]
            self.nodes.append(copy)
        return [renamed(output.name) for output in graph.output]


def _node_key(
    op: str, inputs: tuple[str, ...], domain: str, attributes: Mapping[str, object], output: str
) -> Hashable:
    """Return a key that is the same for equal nodes; None for nodes with array attributes.

    Those are trees, which no two models have in common.
    """
    hashable = []
    for name, setting in sorted(attributes.items()):
        if isinstance(setting, np.ndarray):
            return None
        hashable.append((name, tuple(setting) if isinstance(setting, list) else setting))
    return op, inputs, domain, tuple(hashable), output


def _attribute(name: str, setting: object) -> onnx.AttributeProto:
    """Make an attribute; arrays (n,) of numbers or bytes skip onnx's slow check of each element."""
    import onnx.helper

    if not isinstance(setting, np.ndarray):
        return onnx.helper.make_attribute(name, setting)
    attribute = onnx.AttributeProto()
    attribute.name = name
    fields = {"f": ("floats", "FLOATS"), "i": ("ints", "INTS"), "O": ("strings", "STRINGS")}
    field_name, type_name = fields[setting.dtype.kind]
    attribute.type = getattr(onnx.AttributeProto, type_name)
    getattr(attribute, field_name).extend(setting.tolist())
    return attribute
