"""Hostile models: damaged bytes, cards of the wrong types, graphs that never end or take gigabytes.

Edits of a card and of a graph are those of a stranger who writes a right checksum; the others are
damage, and must be refused or change no prediction.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hostile.case import Case
from netwright.deploy.card import KEY, card_text, with_checksum
from netwright.deploy.graph_reader import read_graph

PREDICT = ("predict", "model.onnx", "table.csv")
_CARD_BYTES = 3_000
"""About the end of a file, where its card stands."""

Change = Callable[[Any, random.Random], Any]


def _bytes(change: Callable[[bytearray, random.Random], bytes], name: str) -> Case:
    """A case whose model has other bytes."""

    def make(folder: Path, rng: random.Random) -> None:
        path = folder / "model.onnx"
        path.write_bytes(change(bytearray(path.read_bytes()), rng))

    return Case(f"model: {name}", make, PREDICT)


def _flip(data: bytearray, rng: random.Random, *, last: int = 0, bits: int = 1) -> bytes:
    for _ in range(bits):
        first = len(data) - last if last else 0
        data[rng.randrange(first, len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _truncate(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _splice(data: bytearray, rng: random.Random) -> bytes:
    """A slice left out, doubled, or moved."""
    first = rng.randrange(len(data) - 200)
    last = first + rng.randrange(1, 200)
    piece, at = data[first:last], rng.randrange(len(data))
    how = rng.randrange(3)
    if how == 0:
        return bytes(data[:first] + data[last:])
    if how == 1:
        return bytes(data[:at] + piece + data[at:])
    rest = data[:first] + data[last:]
    return bytes(rest[:at] + piece + rest[at:])


def _zeros(data: bytearray, rng: random.Random) -> bytes:
    """A page of zeros, as a broken disk gives."""
    first = rng.randrange(max(1, len(data) - 4096))
    data[first : first + 4096] = bytes(len(data[first : first + 4096]))
    return bytes(data)


def _noise(data: bytearray, rng: random.Random) -> bytes:
    first = rng.randrange(len(data) - 64)
    data[first : first + 64] = rng.randbytes(64)
    return bytes(data)


def _weight(data: bytearray, rng: random.Random) -> bytes:
    """One digit of a number somewhere in the middle: what loads best of all damage."""
    data[rng.randrange(len(data) // 4, 3 * len(data) // 4)] = rng.randrange(256)
    return bytes(data)


def _text(old: bytes, new: bytes) -> Callable[[bytearray, random.Random], bytes]:
    return lambda data, rng: bytes(data.replace(old, new))


def _damages() -> Iterator[Case]:
    for i in range(10):
        yield _bytes(_flip, f"one bit, {i}")
    for i in range(6):
        yield _bytes(partial(_flip, last=_CARD_BYTES), f"one bit of the card, {i}")
    for i in range(4):
        yield _bytes(partial(_flip, bits=40), f"forty bits, {i}")
    for i in range(6):
        yield _bytes(_truncate, f"cut off, {i}")
    for i in range(6):
        yield _bytes(_splice, f"spliced, {i}")
    for i in range(3):
        yield _bytes(_zeros, f"a page of zeros, {i}")
        yield _bytes(_noise, f"noise, {i}")
        yield _bytes(_weight, f"one byte of the weights, {i}")
    yield _bytes(_text(b'"format": 3', b'"format": 2'), "an older format, its checksum left")
    yield _bytes(_text(b'"crc32"', b'"crc31"'), "the checksum called otherwise")
    yield _bytes(lambda data, rng: b"", "empty")
    yield _bytes(lambda data, rng: rng.randbytes(5_000), "random bytes")
    yield _bytes(lambda data, rng: b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" * 9, "a length bomb")
    yield _bytes(lambda data, rng: bytes(data) + b"\x80" * 400, "a number without an end")
    yield _bytes(lambda data, rng: b"\x3a\x7e" * 20_000, "messages within messages")
    yield _bytes(lambda data, rng: bytes(data) * 2, "two files in one")


def damages() -> tuple[Case, ...]:
    """Cases of which a checksum tells: refused, or nothing has changed."""
    return tuple(_damages())


def _signed(model: Any, text: str | None) -> bytes:
    """The model with this card, and a right checksum where the card has room for one."""
    import onnx.helper

    del model.metadata_props[:]
    if text is not None:
        onnx.helper.set_model_props(model, {KEY: text})
    data = bytes(model.SerializeToString())
    if text is None or not text.startswith('{"crc32"'):
        return data
    start = data.rindex(text.encode())
    return with_checksum(data, (start, start + len(text)))


def _card(change: Callable[[dict[str, Any], random.Random], str | None], name: str) -> Case:
    """A case whose model has another card, signed as a stranger would."""

    def make(folder: Path, rng: random.Random) -> None:
        import onnx

        path = folder / "model.onnx"
        data = path.read_bytes()
        card = json.loads(data[slice(*read_graph(data, KEY).metadata[KEY])])
        del card["crc32"]
        path.write_bytes(_signed(onnx.load_from_string(data), change(card, rng)))

    return Case(f"card: {name}", make, PREDICT)


def _set(**entries: Any) -> Callable[[dict[str, Any], random.Random], str]:
    return lambda card, rng: card_text(card | entries)


def _without(name: str) -> Callable[[dict[str, Any], random.Random], str]:
    return lambda card, rng: card_text({key: card[key] for key in card if key != name})


def _column(**entries: Any) -> Callable[[dict[str, Any], random.Random], str]:
    def change(card: dict[str, Any], rng: random.Random) -> str:
        card["columns"][rng.randrange(len(card["columns"]))] |= entries
        return card_text(card)

    return change


def _cards() -> Iterator[Case]:
    for name in ("kind", "classes", "outputs", "columns", "format"):
        yield _card(_without(name), f"no {name}")
    yield _card(_set(kind=["binary"]), "kind a list")
    yield _card(_set(classes=[1] * 2), "one class twice")
    yield _card(_set(classes=[[0], {}]), "classes of containers")
    yield _card(_set(classes=[0, 10**4000]), "a class of thousands of digits")
    yield _card(_set(classes=[f"class {i}" for i in range(10_000)], kind="multiclass"), "classes")
    yield _card(_set(label_dtype="<U900000000"), "labels of gigabytes")
    yield _card(_set(label_dtype="O,O"), "labels of a strange type")
    yield _card(_set(outputs={"label": 7}), "outputs of numbers")
    yield _card(_set(outputs={"label": "none", "probabilities": "none"}), "no such outputs")
    yield _card(_set(columns={"a": 1}), "columns an object")
    yield _card(_set(columns=[]), "no columns at all")
    yield _card(_set(image={"height": 10**9, "width": 10**9, "channels": 3}), "an image, too")
    yield _card(_set(width="many"), "width a text")
    yield _card(_set(threshold="0.5"), "threshold a text")
    yield _card(_set(missing={"texts": 3}), "missing marks a number")
    yield _card(_set(seen={"a": {"parts": [0.5], "shares": []}}), "shares too few")
    yield _card(_set(format="3"), "format a text")
    yield _card(_set(format=10**300), "format a huge number")
    yield _card(_column(kind="cookie"), "a column of another kind")
    yield _card(_column(decimal="xx"), "a column with another decimal mark")
    yield _card(_column(pickle="x"), "a column with an entry more")
    yield _card(_column(name=None), "a column without a name")
    yield _card(lambda card, rng: None, "none")
    yield _card(lambda card, rng: "not JSON", "not JSON")
    yield _card(lambda card, rng: "[" * 100_000, "deeply nested")
    yield _card(lambda card, rng: "9" * 10_000, "a number of many digits")
    yield _card(lambda card, rng: card_text(card)[:-1] + ', "kind": "regression"}', "a name twice")
    yield _card(lambda card, rng: json.dumps(card), "of this format without a checksum")


def _graph(change: Change, name: str) -> Case:
    """A case whose model has another graph, signed as a stranger would."""

    def make(folder: Path, rng: random.Random) -> None:
        import onnx

        path = folder / "model.onnx"
        data = path.read_bytes()
        card = json.loads(data[slice(*read_graph(data, KEY).metadata[KEY])])
        del card["crc32"]
        model = onnx.load_from_string(data)
        path.write_bytes(_signed(change(model, rng) or model, card_text(card)))

    return Case(f"graph: {name}", make, PREDICT)


def _before_output(model: Any, nodes: list[Any], constants: dict[str, Any], last: str) -> None:
    """Put nodes in front of the probabilities, which are multiplied by their last (all ones)."""
    import onnx.helper
    import onnx.numpy_helper

    graph = model.graph
    output = next(node for node in graph.node if node.output[0] == "probabilities")
    scaled = onnx.helper.make_node("Mul", [output.input[0], last], ["hostile/out"])
    output.input[0] = "hostile/out"
    at = list(graph.node).index(output)
    new = [*list(graph.node)[:at], *nodes, scaled, *list(graph.node)[at:]]
    del graph.node[:]
    graph.node.extend(new)
    for name, array in constants.items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))


def _loop(model: Any, rng: random.Random) -> None:
    """A loop without an end."""
    import onnx.helper as h
    from onnx import TensorProto as T

    body = h.make_graph(
        [h.make_node("Identity", ["go"], ["on"]), h.make_node("Identity", ["x"], ["y"])], "body",
        [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("go", T.BOOL, []),
         h.make_tensor_value_info("x", T.FLOAT, [1])],
        [h.make_tensor_value_info("on", T.BOOL, []), h.make_tensor_value_info("y", T.FLOAT, [1])],
    )  # fmt: skip
    loop = h.make_node("Loop", ["", "hostile/true", "hostile/one"], ["hostile/last"], body=body)
    constants = {"hostile/true": np.array(True), "hostile/one": np.ones(1, np.float32)}
    _before_output(model, [loop], constants, "hostile/last")


def _branch(model: Any, rng: random.Random) -> None:
    import onnx.helper as h
    from onnx import TensorProto as T

    same = h.make_graph([h.make_node("Identity", ["hostile/one"], ["same"])], "same", [],
                        [h.make_tensor_value_info("same", T.FLOAT, [1])])  # fmt: skip
    branch = h.make_node(
        "If", ["hostile/true"], ["hostile/last"], then_branch=same, else_branch=same
    )
    constants = {"hostile/true": np.array(True), "hostile/one": np.ones(1, np.float32)}
    _before_output(model, [branch], constants, "hostile/last")


def _filled(model: Any, rng: random.Random) -> None:
    """A constant of terabytes, of a few bytes."""
    import onnx.helper as h

    nodes = [
        h.make_node("ConstantOfShape", ["hostile/shape"], ["hostile/big"]),
        h.make_node("ReduceSum", ["hostile/big"], ["hostile/last"], keepdims=0),
    ]
    _before_output(model, nodes, {"hostile/shape": np.array([10**6] * 2)}, "hostile/last")


def _multiplied_shape(model: Any, rng: random.Random) -> None:
    """The same, its sizes made by arithmetic."""
    import onnx.helper as h

    nodes = [h.make_node("Mul", ["hostile/shape", "hostile/shape"], ["hostile/square"]),
             h.make_node("ConstantOfShape", ["hostile/square"], ["hostile/big"]),
             h.make_node("ReduceSum", ["hostile/big"], ["hostile/last"], keepdims=0)]  # fmt: skip
    _before_output(model, nodes, {"hostile/shape": np.array([1000] * 3)}, "hostile/last")


def _doubled(model: Any, rng: random.Random, operator: str = "Concat") -> None:
    """Forty doublings: a tensor, or a text, of terabytes."""
    import onnx.helper as h

    start = np.ones(1, np.float32) if operator == "Concat" else np.array(["aaaa"], object)
    axis = {"axis": 0} if operator == "Concat" else {}
    nodes, last = [], "hostile/start"
    for i in range(40):
        nodes.append(h.make_node(operator, [last, last], [f"hostile/{i}"], **axis))
        last = f"hostile/{i}"
    if operator == "Concat":
        nodes.append(h.make_node("ReduceMax", [last], ["hostile/last"], keepdims=0))
    else:
        nodes.append(h.make_node("RegexFullMatch", [last], ["hostile/match"], pattern="b"))
        nodes.append(h.make_node("Cast", ["hostile/match"], ["hostile/last"], to=1))
    _before_output(model, nodes, {"hostile/start": start}, "hostile/last")


def _outer(model: Any, rng: random.Random) -> None:
    """A broadcast of two long vectors, whose product has no room."""
    import onnx.helper as h

    n = 200_000
    nodes = [h.make_node("Mul", ["hostile/row", "hostile/column"], ["hostile/big"]),
             h.make_node("ReduceMax", ["hostile/big"], ["hostile/last"], keepdims=0)]  # fmt: skip
    row, column = np.ones((1, n), np.float32), np.ones((n, 1), np.float32)
    _before_output(model, nodes, {"hostile/row": row, "hostile/column": column}, "hostile/last")


def _padded(model: Any, rng: random.Random) -> None:
    """A convolution whose edge is larger than the memory."""
    import onnx.helper as h

    conv = h.make_node(
        "Conv", ["hostile/x", "hostile/w"], ["hostile/big"], kernel_shape=[1, 1],
        pads=[10**9] * 4,
    )  # fmt: skip
    nodes = [conv, h.make_node("ReduceMax", ["hostile/big"], ["hostile/last"], keepdims=0)]
    ones = np.ones((1, 1, 1, 1), np.float32)
    _before_output(model, nodes, {"hostile/x": ones, "hostile/w": ones}, "hostile/last")


def _external(model: Any, rng: random.Random) -> None:
    """Weights in a file outside."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in (("location", "../../canary/precious"), ("offset", "0"), ("length", "4")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _lying_dims(model: Any, rng: random.Random) -> None:
    tensor = next(one for one in model.graph.initializer if one.raw_data and one.dims)
    tensor.dims[0] = 2**40


def _function(model: Any, rng: random.Random) -> None:
    import onnx.helper as h

    opset = [h.make_opsetid("", 20)]
    body = [h.make_node("Identity", ["x"], ["y"])]
    model.functions.append(h.make_function("own", "F", ["x"], ["y"], body, opset))
    model.opset_import.append(h.make_opsetid("own", 1))


def _foreign(model: Any, rng: random.Random) -> None:
    """An operator of onnxruntime's own domain."""
    import onnx.helper as h

    model.opset_import.append(h.make_opsetid("com.microsoft", 1))
    node = h.make_node("Gelu", ["hostile/one"], ["hostile/last"], domain="com.microsoft")
    _before_output(model, [node], {"hostile/one": np.ones(1, np.float32)}, "hostile/last")


def _random(model: Any, rng: random.Random) -> None:
    import onnx.helper as h

    node = h.make_node("RandomNormal", [], ["hostile/last"], shape=[1])
    _before_output(model, [node], {}, "hostile/last")


def _nested(model: Any, rng: random.Random) -> None:
    """Graphs within graphs, twenty deep."""
    import onnx.helper as h

    node = h.make_node("Identity", ["hostile/one"], ["hostile/last"])
    for _ in range(20):
        inner = h.make_graph([node], "inner", [], [])
        node = h.make_node("If", ["hostile/true"], ["hostile/last"], then_branch=inner)
    _before_output(model, [node], {"hostile/one": np.ones(1, np.float32)}, "hostile/last")


def _other_input(model: Any, rng: random.Random) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 10


def _renamed_output(model: Any, rng: random.Random) -> None:
    for node in model.graph.node:
        node.output[:] = ["other" if name == "label" else name for name in node.output]
    model.graph.output[0].name = "other"


def _short_output(model: Any, rng: random.Random) -> None:
    """Probabilities of the first row alone, whatever the rows."""
    import onnx.helper as h

    _before_output(model, [], {}, "hostile/out")
    scaled = next(node for node in model.graph.node if node.output[0] == "hostile/out")
    scaled.CopyFrom(
        h.make_node("Slice", [scaled.input[0], "hostile/0", "hostile/1"], ["hostile/out"])
    )
    for name, value in (("hostile/0", 0), ("hostile/1", 1)):
        constant = np.array([value])
        model.graph.initializer.append(_named_array(constant, name))


def _named_array(array: Any, name: str) -> Any:
    import onnx.numpy_helper

    return onnx.numpy_helper.from_array(array, name)


def _later_opset(model: Any, rng: random.Random) -> None:
    model.opset_import[0].version = 10**9


GRAPHS = {
    "a loop without an end": _loop, "a branch": _branch, "a constant of terabytes": _filled,
    "sizes multiplied": _multiplied_shape, "doubled forty times": _doubled,
    "a text doubled forty times": partial(_doubled, operator="StringConcat"),
    "a broadcast of gigabytes": _outer, "a huge edge": _padded, "weights elsewhere": _external,
    "a tensor of lying size": _lying_dims, "a function": _function, "another domain": _foreign,
    "random numbers": _random, "graphs within graphs": _nested, "another input": _other_input,
    "another output": _renamed_output, "too few predictions": _short_output,
    "a later set of operators": _later_opset,
}  # fmt: skip


def _place(make: Callable[[Path], None], name: str, command: tuple[str, ...] = PREDICT) -> Case:
    """A case with something else where the model was."""

    def change(folder: Path, rng: random.Random) -> None:
        (folder / "model.onnx").unlink()
        make(folder / "model.onnx")

    return Case(f"model: {name}", change, command)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 * 2**30)


CASES: tuple[Case, ...] = (
    *damages(),
    *_cards(),
    *(_graph(change, name) for name, change in GRAPHS.items()),
    _place(os.mkfifo, "a pipe"),
    _place(lambda path: path.symlink_to("/dev/zero"), "a link to a device"),
    _place(lambda path: path.symlink_to("model.onnx"), "a link to itself"),
    _place(lambda path: path.mkdir(), "a folder"),
    _place(lambda path: None, "missing"),
    _place(_sparse, "three gigabytes of nothing"),
)
