"""A look into a model file before onnxruntime opens it: only what our exporter writes is let through.

A file may come from a stranger. `read_graph` walks the bytes once (onnx.proto, IR version 9),
refuses control flow, functions, other domains, external data, tensors whose bytes are not their
shape, and constants of which a small file would make gigabytes. What remains ends; how much memory
its arithmetic takes is bounded when it runs (`netwright.deploy.sessions`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from netwright.deploy import protobuf
from netwright.deploy.operators import (
    MAX_OPSET,
    ONNX,
    OPERATOR_NAMES,
    SIZE_ATTRIBUTES,
)
from netwright.deploy.protobuf import BYTES, FIXED32, VARINT, InvalidModelFile

MAX_FIELDS = 2_000_000
"""Of a file that are looked at one by one, in some two seconds: 50 times what a large model has."""
MAX_ELEMENTS = 2**28
"""Of one tensor for a single row: 1 GB of float32, 1,000 times what a large model has."""
_MAX_RANK = 8
_MAX_SHAPE_VALUES = 64
"""Elements of a constant up to which they may be the sizes of a tensor."""

DTYPE_NAMES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 8: "str", 9: "bool", 11: "float64",
    13: "uint64",
}  # fmt: skip
"""TensorProto.DataType -> numpy's name, for the types that our exporter writes."""

_RAW_TYPES = {number: np.dtype(name) for number, name in DTYPE_NAMES.items() if name != "str"}
_STRING = 8
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 0x0A, 0x12, 0x22, 0x2A, 0x3A
_DESCRIPTIONS = (0x1A, 0x32)
"""Tags of NodeProto: number << 3 | 2, for bytes."""
_NODE_PARTS = 5
"""Of a node beside its inputs and attributes, about."""
_SUMMED = (b"Concat", b"StringConcat")
_FILLED = (b"ConstantOfShape", b"Expand")
_SHAPE_KEEPERS = (b"Cast", b"Gather", b"Identity", b"Reshape", b"Slice", b"Squeeze", b"Unsqueeze")
"""Of sizes that go through them none becomes larger."""


@dataclass(frozen=True)
class TensorType:
    """An input or output of the file: its numpy type and axes; a free axis is None."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass
class ModelGraph:
    """What a model file holds, without its weights.

    `metadata`: key -> start and end of the value in the file.
    """

    inputs: dict[str, TensorType] = field(default_factory=dict)
    outputs: dict[str, TensorType] = field(default_factory=dict)
    metadata: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_graph(data: bytes, key: str) -> ModelGraph:
    """The inputs, outputs and metadata of a model file; Damaged unless all of it may be run.

    `key`: of the metadata without which a file is none of ours.
    """
    try:
        return _Walk(data).model(key)
    except (IndexError, UnicodeDecodeError) as error:
        raise InvalidModelFile("it ends within a field, or has a name that is no text") from error


@dataclass
class _Walk:
    """One walk over a file. `elements`, `products`: see `_size`."""

    data: bytes
    graph: ModelGraph = field(default_factory=ModelGraph)
    fields: int = 0
    elements: dict[bytes, int] = field(default_factory=dict)
    products: dict[bytes, int] = field(default_factory=dict)

    def model(self, key: str) -> ModelGraph:
        """ModelProto."""
        graphs: list[tuple[int, int]] = []
        opsets: dict[str, int] = {}
        try:
            fields = self._fields(0, len(self.data))
        except (InvalidModelFile, IndexError) as error:
            raise InvalidModelFile("it is no ONNX file, or only a part of one") from error
        for number, kind, value, end in fields:
            if number == 7 and kind == BYTES:
                graphs.append((value, end))
            elif number == 8 and kind == BYTES:
                self._opset(value, end, opsets)
            elif number == 14 and kind == BYTES:
                self._metadata(value, end)
            elif number not in (1, 2, 3, 4, 5, 6):  # versions, names, a description
                raise InvalidModelFile(_NOT_WRITTEN.format("functions, or other parts"))
        if key not in self.graph.metadata:
            raise InvalidModelFile("it is no ONNX file, or another one")
        if len(graphs) != 1 or ONNX not in opsets:
            raise InvalidModelFile("it has no graph or several, or names no set of operators")
        self._graph(*graphs[0])
        return self.graph

    def _opset(self, at: int, end: int, opsets: dict[str, int]) -> None:
        """OperatorSetIdProto."""
        domain, version = "", 0
        for number, kind, value, last in self._fields(at, end):
            if number == 1 and kind == BYTES:
                domain = self.data[value:last].decode()
            elif number == 2 and kind == VARINT:
                version = value
        if domain not in MAX_OPSET or not 1 <= version <= MAX_OPSET[domain] or domain in opsets:
            raise InvalidModelFile(
                _NOT_WRITTEN.format(f"operators of {domain[:40] or 'ai.onnx'} {version}")
            )
        opsets[domain] = version

    def _metadata(self, at: int, end: int) -> None:
        """StringStringEntryProto."""
        key, span = "", (at, at)
        for number, kind, value, last in self._fields(at, end):
            if number == 1 and kind == BYTES:
                key = self.data[value:last].decode()
            elif number == 2 and kind == BYTES:
                span = (value, last)
        if key in self.graph.metadata:
            raise InvalidModelFile("an entry of its metadata stands there twice")
        self.graph.metadata[key] = span

    def _graph(self, at: int, end: int) -> None:
        """GraphProto: constants first, since nodes are sized by them."""
        nodes = []
        for number, kind, value, last in self._fields(at, end):
            if kind != BYTES:
                raise InvalidModelFile("its graph has a number where a message belongs")
            if number == 1:
                nodes.append((value, last))
            elif number == 5:
                name, elements, product = self._tensor(value, last)
                self._enter(name, elements, product)
            elif number in (11, 12):
                self._interface(value, last, number == 11)
            elif number not in (2, 10, 13):  # name, description, shapes within
                raise InvalidModelFile(_NOT_WRITTEN.format("sparse or quantised tensors"))
        for node in nodes:
            self._node(*node)

    def _node(self, at: int, end: int) -> None:
        """NodeProto."""
        data, inputs, outputs = self.data, list[bytes](), list[bytes]()
        operator = domain = b""
        constant: tuple[int, int] | None = None
        while at < end:
            tag, size = data[at], data[at + 1]
            if size < 128:
                start, at = at + 2, at + 2 + size
            else:
                number, kind, start, at = protobuf.field(data, at, end)
                tag = number << 3 | kind
            if tag == _INPUT:
                inputs.append(data[start:at])
            elif tag == _OUTPUT:
                outputs.append(data[start:at])
            elif tag == _OPERATOR:
                operator = data[start:at]
            elif tag == _ATTRIBUTE:
                constant = self._attribute(start, at) or constant
            elif tag == _DOMAIN:
                domain = data[start:at]
            elif tag not in _DESCRIPTIONS:
                raise InvalidModelFile(_NOT_WRITTEN.format("nodes with other parts"))
        if at > end:
            raise InvalidModelFile("a node of it is longer than what holds it")
        if (domain, operator) not in OPERATOR_NAMES:
            name = f"{domain.decode()[:40] or 'ai.onnx'}.{operator.decode()[:60]}"
            raise InvalidModelFile(_NOT_WRITTEN.format(f"the operator {name}"))
        self._count(_NODE_PARTS + len(inputs))
        elements, product = constant or self._size(operator, inputs)
        for output in outputs:
            self._enter(output, elements, product)

    def _size(self, operator: bytes, inputs: list[bytes]) -> tuple[int, int]:
        """About how many elements a node writes for one row, and the product of their values.

        The product counts where a tensor holds sizes: that of ``Shape`` is the elements of what is
        measured, and what `_FILLED` write has as many. Broadcasts are counted as the larger side.
        """
        sizes = self.elements
        if operator == b"Shape":
            return _MAX_RANK, sizes.get(inputs[0], 1) if inputs else 1
        product = 1
        if not self.products.keys().isdisjoint(inputs):
            products = [self.products.get(name, 1) for name in inputs]
            if operator in _FILLED:
                return max(sizes.get(inputs[0], 1) if len(inputs) > 1 else 1, products[-1]), 1
            product = products[0] if operator in _SHAPE_KEEPERS else _bounded(math.prod(products))
        if operator in _SUMMED:
            return sum(sizes.get(name, 1) for name in inputs), product
        largest = 1
        for name in inputs:
            if sizes.get(name, 1) > largest:
                largest = sizes[name]
        return largest, product

    def _enter(self, name: bytes, elements: int, product: int) -> None:
        if elements > MAX_ELEMENTS:
            raise InvalidModelFile(
                f"a tensor of it would have {elements:,} elements for one row, beyond the "
                f"{MAX_ELEMENTS:,} that are plausible"
            )
        self.elements[name] = elements
        if product > 1:
            self.products[name] = product

    def _attribute(self, at: int, end: int) -> tuple[int, int] | None:
        """AttributeProto; the size of its tensor, where it is one."""
        data, name, parts = self.data, b"", 0
        tensor = None
        while at < end:
            parts += 1
            if at == end - 3 and data[at] == 0xA0 and data[at + 1] == 1:  # the type, as onnx ends
                break
            number, kind, value, at = protobuf.field(data, at, end)
            if number == 1 and kind == BYTES:
                name = data[value:at]
            elif number in (3, 8) and kind == VARINT:
                sized = name in SIZE_ATTRIBUTES
                if sized and value >= 2**21:
                    raise InvalidModelFile(
                        f"an operator of it has the size {name.decode()} {value:,}"
                    )
                run = protobuf.after_short_varints if sized else protobuf.after_varints
                at = run(data, at, end) if number == 8 else at
            elif number == 7 and kind == FIXED32:
                at = protobuf.after_floats(data, at, end)
            elif number == 9 and kind == BYTES:
                at = protobuf.after_tree_modes(data, at, end) if name == b"nodes_modes" else at
            elif number == 5 and kind == BYTES:
                tensor = self._tensor(value, at)[1:]
            elif number not in (2, 4, 20):  # a float, a text, the type
                raise InvalidModelFile(
                    _NOT_WRITTEN.format("operators with a graph or a type of their own")
                )
        self._count(parts)
        return tensor

    def _tensor(self, at: int, end: int) -> tuple[bytes, int, int]:
        """TensorProto: its name, its elements, and the product of their values (see `_size`)."""
        dims, kind_of_data, texts = list[int](), 0, 0
        name, raw = b"", (at, at)
        for number, kind, value, last in self._fields(at, end):
            if number == 1 and kind == VARINT:
                dims.append(value)
            elif number == 2 and kind == VARINT:
                kind_of_data = value
            elif number == 6 and kind == BYTES:
                texts += 1
            elif number == 8 and kind == BYTES:
                name = self.data[value:last]
            elif number == 9 and kind == BYTES:
                raw = (value, last)
            elif number in (13, 14):
                raise InvalidModelFile("a tensor of it lies in another file")
            elif number != 12:  # a description
                raise InvalidModelFile(_NOT_WRITTEN.format("tensors of another form"))
        elements = math.prod(dims)
        if len(dims) > _MAX_RANK or kind_of_data not in DTYPE_NAMES:
            raise InvalidModelFile(_NOT_WRITTEN.format("tensors of another rank or type"))
        size = 0 if kind_of_data == _STRING else elements * _RAW_TYPES[kind_of_data].itemsize
        if size != raw[1] - raw[0] or texts != (elements if kind_of_data == _STRING else 0):
            raise InvalidModelFile("the bytes of a tensor are not what its shape needs")
        return name, elements, self._product(raw, kind_of_data, elements)

    def _product(self, raw: tuple[int, int], kind_of_data: int, elements: int) -> int:
        """The product of a constant's values, where these may be sizes."""
        if kind_of_data not in (6, 7):
            return 1
        if elements > _MAX_SHAPE_VALUES:
            return MAX_ELEMENTS + 1
        values = np.frombuffer(self.data, _RAW_TYPES[kind_of_data], elements, raw[0])
        return _bounded(math.prod(max(1, abs(value)) for value in values.tolist()))

    def _interface(self, at: int, end: int, is_input: bool) -> None:
        """ValueInfoProto of a tensor: name, and TypeProto with the element type and shape."""
        name, dtype, shape = "", 0, list[int | None]()
        for number, kind, value, last in self._fields(at, end):
            if number == 1 and kind == BYTES:
                name = self.data[value:last].decode()
            elif number == 2 and kind == BYTES:
                for part, _, start, stop in self._fields(value, last):
                    if part != 1:  # sequences, maps, optionals
                        raise InvalidModelFile(_NOT_WRITTEN.format("inputs that are no tensors"))
                    for part_of_type, _, low, high in self._fields(start, stop):
                        if part_of_type == 1:
                            dtype = low
                        else:
                            shape = self._shape(low, high)
        interface = self.graph.inputs if is_input else self.graph.outputs
        if dtype not in DTYPE_NAMES or name in interface:
            raise InvalidModelFile("an input or output has no type, or stands there twice")
        interface[name] = TensorType(DTYPE_NAMES[dtype], tuple(shape))

    def _shape(self, at: int, end: int) -> list[int | None]:
        """TensorShapeProto: axes of a fixed size, and free ones as None."""
        shape = list[int | None]()
        for _, kind, value, last in self._fields(at, end):
            if kind != BYTES:
                raise InvalidModelFile("an axis of an input or output is no message")
            sizes = [v for n, k, v, _ in self._fields(value, last) if n == 1 and k == VARINT]
            shape.append(sizes[0] if sizes else None)
        return shape

    def _fields(self, at: int, end: int) -> list[tuple[int, int, int, int]]:
        """The fields of a message, as `wire.field` gives them."""
        fields = protobuf.fields(self.data, at, end)
        self._count(len(fields))
        return fields

    def _count(self, parts: int) -> None:
        self.fields += parts
        if self.fields > MAX_FIELDS:
            raise InvalidModelFile(f"it has more than {MAX_FIELDS:,} parts")


_NOT_WRITTEN = "it has {}, which netwright does not write"


def _bounded(product: int) -> int:
    return min(product, MAX_ELEMENTS + 1)
