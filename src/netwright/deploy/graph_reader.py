"""Check a model file before onnxruntime opens it: only what our exporter writes is let through.

A file may come from an untrusted source. `read_graph` reads the bytes once (onnx.proto, IR version
9) and refuses control flow, functions, other domains, external data, tensors whose bytes do not
match their shape, and constants from which a small file would make gigabytes. What remains
terminates; how much memory its arithmetic takes is limited when it runs
(`netwright.deploy.sessions`).
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
"""Fields of a file that are read one by one, in about two seconds: 50 times those of a large model."""
MAX_ELEMENTS = 2**28
"""Elements of a tensor for one row: 1 GB of float32, 1,000 times those of a large model."""
_MAX_RANK = 8
_MAX_SHAPE_ELEMENTS = 64
"""A constant with more elements cannot be the shape of a tensor."""
_MAX_ATTRIBUTE_SIZE = 2**21
"""Bound of `SIZE_ATTRIBUTES`, and the largest integer that `protobuf.after_short_varints` skips."""

DTYPE_NAMES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 8: "str", 9: "bool", 11: "float64",
    13: "uint64",
}  # fmt: skip
"""TensorProto.DataType -> numpy's name, for the types that our exporter writes."""

_RAW_DTYPES = {code: np.dtype(name) for code, name in DTYPE_NAMES.items() if name != "str"}
_STRING = 8
_SHAPE_DTYPES = (6, 7)
"""int32 and int64: the types that shapes can have."""
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 0x0A, 0x12, 0x22, 0x2A, 0x3A
_DESCRIPTIONS = (0x1A, 0x32)
"""Tags of NodeProto: number << 3 | 2, for bytes."""
_FIELDS_PER_NODE = 5
"""Fields of a node besides its inputs and attributes, about."""
_CONCATENATING = (b"Concat", b"StringConcat")
_FILLING = (b"ConstantOfShape", b"Expand")
_SHAPE_PRESERVING = (
    b"Cast", b"Gather", b"Identity", b"Reshape", b"Slice", b"Squeeze", b"Unsqueeze",
)  # fmt: skip
"""Operators that do not make a shape passing through them larger."""

Span = tuple[int, int]
"""Start and end in the file."""
_NOT_WRITTEN = "it has {}, which netwright does not write"


@dataclass(frozen=True)
class TensorType:
    """An input or output of the file.

    Args:
        dtype: numpy's name of the element type.
        shape: the axes; a free axis is None.
    """

    dtype: str
    shape: tuple[int | None, ...]


@dataclass
class ModelGraph:
    """The signature and metadata of a model file.

    Args:
        inputs: name -> type.
        outputs: name -> type.
        metadata: key -> where the file has the text.
    """

    inputs: dict[str, TensorType] = field(default_factory=dict)
    outputs: dict[str, TensorType] = field(default_factory=dict)
    metadata: dict[str, Span] = field(default_factory=dict)


def read_graph(content: bytes, key: str) -> ModelGraph:
    """Return the inputs, outputs and metadata of a model file that is safe to run.

    Args:
        content: the bytes of the file.
        key: the metadata entry that netwright's files have.

    Raises:
        InvalidModelFile: the file has anything that netwright does not write.
    """
    try:
        return _GraphReader(content).read_model(key)
    except (IndexError, UnicodeDecodeError) as error:
        raise InvalidModelFile("it ends within a field, or has a name that is not text") from error


@dataclass
class _GraphReader:
    """One pass over a file; each method reads the message of onnx.proto that it names.

    Args:
        content: the bytes of the file.
        graph: read so far.
        n_fields: read so far.
        elements: tensor -> number of elements for one row, about.
        products: tensor -> product of its values, if it may be a shape; see `_size`.
    """

    content: bytes
    graph: ModelGraph = field(default_factory=ModelGraph)
    n_fields: int = 0
    elements: dict[bytes, int] = field(default_factory=dict)
    products: dict[bytes, int] = field(default_factory=dict)

    def read_model(self, key: str) -> ModelGraph:
        """ModelProto."""
        graphs: list[Span] = []
        opsets: dict[str, int] = {}
        try:
            fields = self._fields(0, len(self.content))
        except (InvalidModelFile, IndexError) as error:
            raise InvalidModelFile("it is not an ONNX file, or only a part of one") from error
        for field_number, wire_type, payload, end in fields:
            if field_number == 7 and wire_type == BYTES:
                graphs.append((payload, end))
            elif field_number == 8 and wire_type == BYTES:
                self._read_opset(payload, end, opsets)
            elif field_number == 14 and wire_type == BYTES:
                self._read_metadata(payload, end)
            elif field_number not in (1, 2, 3, 4, 5, 6):  # versions, names, a description
                raise InvalidModelFile(_NOT_WRITTEN.format("functions, or other fields"))
        if key not in self.graph.metadata:
            raise InvalidModelFile("it is not an ONNX file, or was not written by netwright")
        if len(graphs) != 1 or ONNX not in opsets:
            raise InvalidModelFile("it has not exactly one graph, or no operator set")
        self._read_graph(*graphs[0])
        return self.graph

    def _read_opset(self, position: int, end: int, opsets: dict[str, int]) -> None:
        """Read an OperatorSetIdProto: a domain and its version."""
        domain, version = "", 0
        for field_number, wire_type, payload, last in self._fields(position, end):
            if field_number == 1 and wire_type == BYTES:
                domain = self.content[payload:last].decode()
            elif field_number == 2 and wire_type == VARINT:
                version = payload
        if domain not in MAX_OPSET or not 1 <= version <= MAX_OPSET[domain] or domain in opsets:
            opset = f"operators of {domain[:40] or 'ai.onnx'} {version}"
            raise InvalidModelFile(_NOT_WRITTEN.format(opset))
        opsets[domain] = version

    def _read_metadata(self, position: int, end: int) -> None:
        """StringStringEntryProto."""
        key, span = "", (position, position)
        for field_number, wire_type, payload, last in self._fields(position, end):
            if field_number == 1 and wire_type == BYTES:
                key = self.content[payload:last].decode()
            elif field_number == 2 and wire_type == BYTES:
                span = (payload, last)
        if key in self.graph.metadata:
            raise InvalidModelFile("it has a metadata entry twice")
        self.graph.metadata[key] = span

    def _read_graph(self, position: int, end: int) -> None:
        """GraphProto: constants first, since they determine the sizes of nodes."""
        nodes = []
        for field_number, wire_type, payload, last in self._fields(position, end):
            if wire_type != BYTES:
                raise InvalidModelFile("its graph has a number in place of a message")
            if field_number == 1:
                nodes.append((payload, last))
            elif field_number == 5:
                name, elements, product = self._read_tensor(payload, last)
                self._register(name, elements, product)
            elif field_number == 11:
                self._read_interface(payload, last, self.graph.inputs)
            elif field_number == 12:
                self._read_interface(payload, last, self.graph.outputs)
            elif field_number not in (2, 10, 13):  # name, description, shapes within
                raise InvalidModelFile(_NOT_WRITTEN.format("sparse or quantised tensors"))
        for node in nodes:
            self._read_node(*node)

    def _read_node(self, position: int, end: int) -> None:
        """NodeProto."""
        content, inputs, outputs = self.content, list[bytes](), list[bytes]()
        operator = domain = b""
        constant: tuple[int, int] | None = None
        while position < end:
            tag, size = content[position], content[position + 1]
            if size < 128:
                start, position = position + 2, position + 2 + size
            else:
                field_number, wire_type, start, position = protobuf.field(content, position, end)
                tag = field_number << 3 | wire_type
            if tag == _INPUT:
                inputs.append(content[start:position])
            elif tag == _OUTPUT:
                outputs.append(content[start:position])
            elif tag == _OPERATOR:
                operator = content[start:position]
            elif tag == _ATTRIBUTE:
                constant = self._read_attribute(start, position) or constant
            elif tag == _DOMAIN:
                domain = content[start:position]
            elif tag not in _DESCRIPTIONS:
                raise InvalidModelFile(_NOT_WRITTEN.format("nodes with other fields"))
        if position > end:
            raise InvalidModelFile("it has a node that is longer than its message")
        if (domain, operator) not in OPERATOR_NAMES:
            name = f"{domain.decode()[:40] or 'ai.onnx'}.{operator.decode()[:60]}"
            raise InvalidModelFile(_NOT_WRITTEN.format(f"the operator {name}"))
        self._count(_FIELDS_PER_NODE + len(inputs))
        elements, product = constant or self._size(operator, inputs)
        for output in outputs:
            self._register(output, elements, product)

    def _size(self, operator: bytes, inputs: list[bytes]) -> tuple[int, int]:
        """Return about how many elements a node writes for one row, and the product of their values.

        The product matters if the tensor is a shape: that of ``Shape`` is the number of elements of
        its input, and what `_FILLING` operators write has as many. Broadcasting is counted as the
        larger input.
        """
        elements_of = self.elements
        if operator == b"Shape":
            return _MAX_RANK, elements_of.get(inputs[0], 1) if inputs else 1
        product = 1
        if not self.products.keys().isdisjoint(inputs):
            products = [self.products.get(name, 1) for name in inputs]
            if operator in _FILLING:
                filled = elements_of.get(inputs[0], 1) if len(inputs) > 1 else 1
                return max(filled, products[-1]), 1
            is_same = operator in _SHAPE_PRESERVING
            product = products[0] if is_same else _bounded(math.prod(products))
        if operator in _CONCATENATING:
            return sum(elements_of.get(name, 1) for name in inputs), product
        largest = 1
        for name in inputs:
            if elements_of.get(name, 1) > largest:
                largest = elements_of[name]
        return largest, product

    def _register(self, tensor: bytes, elements: int, product: int) -> None:
        if elements > MAX_ELEMENTS:
            raise InvalidModelFile(
                f"it has a tensor of {elements:,} elements for one row, beyond the "
                f"{MAX_ELEMENTS:,} that are plausible"
            )
        self.elements[tensor] = elements
        if product > 1:
            self.products[tensor] = product

    def _read_attribute(self, position: int, end: int) -> tuple[int, int] | None:
        """AttributeProto; returns the elements and product of its tensor, if it is one."""
        content, name, n_fields = self.content, b"", 0
        tensor = None
        while position < end:
            n_fields += 1
            is_type = position == end - 3 and content[position] == 0xA0
            if is_type and content[position + 1] == 1:  # the type is last in what onnx writes
                break
            field_number, wire_type, payload, position = protobuf.field(content, position, end)
            if field_number == 1 and wire_type == BYTES:
                name = content[payload:position]
            elif field_number in (3, 8) and wire_type == VARINT:
                is_size = name in SIZE_ATTRIBUTES
                if is_size and payload >= _MAX_ATTRIBUTE_SIZE:
                    raise InvalidModelFile(
                        f"it has an operator with the size {name.decode()} {payload:,}"
                    )
                skip = protobuf.after_short_varints if is_size else protobuf.after_varints
                position = skip(content, position, end) if field_number == 8 else position
            elif field_number == 7 and wire_type == FIXED32:
                position = protobuf.after_floats(content, position, end)
            elif field_number == 9 and wire_type == BYTES:
                if name == b"nodes_modes":
                    position = protobuf.after_tree_modes(content, position, end)
            elif field_number == 5 and wire_type == BYTES:
                tensor = self._read_tensor(payload, position)[1:]
            elif field_number not in (2, 4, 20):  # a float, a text, the type
                attributes = "operators with a graph or a type of their own"
                raise InvalidModelFile(_NOT_WRITTEN.format(attributes))
        self._count(n_fields)
        return tensor

    def _read_tensor(self, position: int, end: int) -> tuple[bytes, int, int]:
        """TensorProto; returns its name, its elements, and the product of its values."""
        dims, dtype, n_strings = list[int](), 0, 0
        name, raw = b"", (position, position)
        for field_number, wire_type, payload, last in self._fields(position, end):
            if field_number == 1 and wire_type == VARINT:
                dims.append(payload)
            elif field_number == 2 and wire_type == VARINT:
                dtype = payload
            elif field_number == 6 and wire_type == BYTES:
                n_strings += 1
            elif field_number == 8 and wire_type == BYTES:
                name = self.content[payload:last]
            elif field_number == 9 and wire_type == BYTES:
                raw = (payload, last)
            elif field_number in (13, 14):
                raise InvalidModelFile("it has a tensor in another file")
            elif field_number != 12:  # a description
                raise InvalidModelFile(_NOT_WRITTEN.format("tensors of another form"))
        elements = math.prod(dims)
        if len(dims) > _MAX_RANK or dtype not in DTYPE_NAMES:
            raise InvalidModelFile(_NOT_WRITTEN.format("tensors of another rank or type"))
        size = 0 if dtype == _STRING else elements * _RAW_DTYPES[dtype].itemsize
        if size != raw[1] - raw[0] or n_strings != (elements if dtype == _STRING else 0):
            raise InvalidModelFile("it has a tensor whose bytes do not match its shape")
        return name, elements, self._product(raw, dtype, elements)

    def _product(self, raw: Span, dtype: int, elements: int) -> int:
        """Return the product of a constant's values, if it may be a shape; else 1."""
        if dtype not in _SHAPE_DTYPES:
            return 1
        if elements > _MAX_SHAPE_ELEMENTS:
            return MAX_ELEMENTS + 1
        sizes = np.frombuffer(self.content, _RAW_DTYPES[dtype], elements, raw[0])
        return _bounded(math.prod(max(1, abs(size)) for size in sizes.tolist()))

    def _read_interface(self, position: int, end: int, interface: dict[str, TensorType]) -> None:
        """ValueInfoProto of a tensor: name, and TypeProto with the element type and shape."""
        name, dtype, shape = "", 0, list[int | None]()
        for field_number, wire_type, payload, last in self._fields(position, end):
            if field_number == 1 and wire_type == BYTES:
                name = self.content[payload:last].decode()
            elif field_number == 2 and wire_type == BYTES:
                for type_field, _, type_start, type_end in self._fields(payload, last):
                    if type_field != 1:  # sequences, maps, optionals
                        raise InvalidModelFile(_NOT_WRITTEN.format("inputs that are not tensors"))
                    for tensor_field, _, low, high in self._fields(type_start, type_end):
                        if tensor_field == 1:
                            dtype = low
                        else:
                            shape = self._read_shape(low, high)
        if dtype not in DTYPE_NAMES or name in interface:
            raise InvalidModelFile("it has an input or output without a type, or twice")
        interface[name] = TensorType(DTYPE_NAMES[dtype], tuple(shape))

    def _read_shape(self, position: int, end: int) -> list[int | None]:
        """Read a TensorShapeProto: the size of each axis, None for dynamic axes."""
        shape = list[int | None]()
        for _, wire_type, payload, last in self._fields(position, end):
            if wire_type != BYTES:
                raise InvalidModelFile("it has an input or output with an axis of the wrong type")
            sizes = [
                size
                for field_number, dim_type, size, _ in self._fields(payload, last)
                if field_number == 1 and dim_type == VARINT
            ]
            shape.append(sizes[0] if sizes else None)
        return shape

    def _fields(self, position: int, end: int) -> list[protobuf.Field]:
        fields = protobuf.fields(self.content, position, end)
        self._count(len(fields))
        return fields

    def _count(self, n_fields: int) -> None:
        self.n_fields += n_fields
        if self.n_fields > MAX_FIELDS:
            raise InvalidModelFile(f"it has more than {MAX_FIELDS:,} fields")


def _bounded(product: int) -> int:
    return min(product, MAX_ELEMENTS + 1)
