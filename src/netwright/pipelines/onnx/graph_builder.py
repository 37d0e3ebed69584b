"""A small writer of ONNX nodes: steps say in it what they do to their columns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 20
ML_OPSET = 3
"""The operator sets of the delivered file: `ai.onnx` and `ai.onnx.ml`."""


@dataclass
class OnnxGraphBuilder:
    """Nodes and constants in the order they were added; each `add` returns its output's name.

    Equal ones are written once: models that are averaged and prepare their inputs alike share what
    they have in common. Made names begin with ``nw/``, so that no column's name can meet them.
    """

    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    _known: dict[Hashable, Any] = field(default_factory=dict)

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        *,
        domain: str = "",
        output: str = "",
        **attributes: Any,
    ) -> str:
        """One node with one output."""
        import onnx.helper

        key = _key(op, tuple(inputs), domain, attributes, output)
        if key in self._known:
            return str(self._known[key])
        name = output or f"nw/{len(self.nodes)}"
        node = onnx.helper.make_node(op, list(inputs), [name], domain=domain)
        node.attribute.extend(_attribute(*one) for one in sorted(attributes.items()))
        self.nodes.append(node)
        if key is not None:
            self._known[key] = name
        return name

    def constant(self, value: NDArray[Any] | np.generic | Sequence[Any] | float) -> str:
        """A constant tensor of the value's own type; strings become a tensor of strings."""
        import onnx.helper
        import onnx.numpy_helper

        array = np.asarray(value)
        texts = [str(item).encode() for item in array.ravel()] if array.dtype.kind in "OU" else []
        said = tuple(texts) if texts else array.tobytes()
        key = ("constant", array.dtype.str, array.shape, said)
        if key in self._known:
            return str(self._known[key])
        name = f"nw/constant/{len(self.initializers)}"
        if array.dtype.kind in "OU":
            kind = onnx.TensorProto.STRING
            tensor = onnx.helper.make_tensor(name, kind, array.shape, texts)
        else:
            tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.initializers.append(tensor)
        self._known[key] = name
        return name

    def string_split(self, name: str, at: str | None = None) -> tuple[str, str]:
        """Texts (rows,) cut at each `at`, else at blanks: the pieces (rows, most), and how many."""
        import onnx.helper

        key = ("split", name, at)
        if key not in self._known:
            pieces, many = (f"nw/{len(self.nodes)}/{part}" for part in ("pieces", "many"))
            how = {} if at is None else {"delimiter": at}
            self.nodes.append(onnx.helper.make_node("StringSplit", [name], [pieces, many], **how))
            self._known[key] = pieces, many
        pieces, many = self._known[key]
        return pieces, many

    def stack_columns(self, names: Sequence[str]) -> str:
        """Columns (rows,) side by side as one matrix (rows, columns)."""
        axis = self.constant(np.array([1], np.int64))
        wide = [self.add("Unsqueeze", [name, axis]) for name in names]
        return self.add("Concat", wide, axis=1) if len(wide) > 1 else wide[0]

    def cast(self, name: str, to: type[np.generic]) -> str:
        """The tensor as another number type."""
        import onnx.helper

        return self.add("Cast", [name], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to)))

    def inline(self, graph: Any, inputs: Mapping[str, str]) -> list[str]:
        """Another graph's nodes, its inputs fed from tensors here; returns its outputs' names."""
        renamed, prefix = dict(inputs), f"nw/graph/{len(self.nodes)}/"

        def local(name: str) -> str:
            return renamed.setdefault(name, f"{prefix}{name}") if name else ""

        for tensor in graph.initializer:
            copy = type(tensor)()
            copy.CopyFrom(tensor)
            copy.name = local(tensor.name)
            self.initializers.append(copy)
        for node in graph.node:
            copy = type(node)()
            copy.CopyFrom(node)
            copy.name = ""
            copy.input[:] = [local(name) for name in node.input]
            copy.output[:] = [local(name) for name in node.output]
            self.nodes.append(copy)
        return [local(output.name) for output in graph.output]


def _key(
    op: str, inputs: tuple[str, ...], domain: str, attributes: Mapping[str, Any], output: str
) -> Hashable:
    """The same for equal nodes; None where that is not looked for: arrays are of one model alone."""
    said = []
    for name, value in sorted(attributes.items()):
        if isinstance(value, np.ndarray):
            return None
        said.append((name, tuple(value) if isinstance(value, list) else value))
    return op, inputs, domain, tuple(said), output


def _attribute(name: str, value: Any) -> Any:
    """An attribute; arrays (n,) of numbers or of bytes, of any length, without a look at each."""
    import onnx.helper

    if not isinstance(value, np.ndarray):
        return onnx.helper.make_attribute(name, value)
    made = onnx.AttributeProto()
    made.name = name
    kinds = {"f": ("floats", "FLOATS"), "i": ("ints", "INTS"), "O": ("strings", "STRINGS")}
    where, kind = kinds[value.dtype.kind]
    made.type = getattr(onnx.AttributeProto, kind)
    getattr(made, where).extend(value.tolist())
    return made
