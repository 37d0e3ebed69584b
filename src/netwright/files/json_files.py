"""Read untrusted JSON: bounded while parsing, checked against annotated types.

The annotations of a dataclass or a named tuple are the schema: `from_plain` builds one from parsed
JSON, or raises BrokenFile, naming the entry that does not fit.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, cast

from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.folder import Folder

T = TypeVar("T")

MAX_JSON_BYTES = 64 << 20
"""Largest JSON text; the vocabularies of wide tables of texts take a few megabytes."""
MAX_DEPTH = 64
"""Nesting of lists and objects; netwright writes less than 20 levels."""
_MAX_INTEGER = 10**300
"""Larger integers would overflow in arrays; netwright writes none."""


def parse(text: bytes | str, what: str) -> Any:  # noqa: ANN401  # JSON
    """Return the value of a JSON text.

    Args:
        text: UTF-8 when bytes.
        what: The name of the text in messages.

    Raises:
        BrokenFile: It is not JSON or not UTF-8, too large, too deep, or has numbers that are too
            large.
    """
    if len(text) > MAX_JSON_BYTES:
        raise BrokenFile(expected(what, f"at most {MAX_JSON_BYTES:,} bytes", len(text)))
    try:
        node = json.loads(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        raise BrokenFile(expected(what, "text in UTF-8", Phrase("other bytes"))) from error
    except RecursionError as error:
        raise BrokenFile(_too_deep(what)) from error
    except ValueError as error:  # a number of thousands of digits is one, too
        raise BrokenFile(expected(what, "JSON", Phrase("something else"))) from error
    _check_bounds(node, what)
    return node


def read_json(folder: Folder, name: str, max_bytes: int = MAX_JSON_BYTES) -> Any:  # noqa: ANN401  # JSON
    """Return the value in a JSON file, as `parse` does. Raises BrokenFile."""
    return parse(folder.read(name, max_bytes), str(folder.path / name))


def from_plain(node: object, kind: type[T], what: str) -> T:
    """Convert parsed JSON to an annotated type: objects to dataclasses, lists to tuples, and so on.

    Args:
        node: Parsed JSON; dataclasses in it that are already built pass.
        kind: The type, with annotated fields.
        what: The name of the JSON in messages.

    Raises:
        BrokenFile: An entry has another type, is missing or unknown, or is refused by the class.
    """
    return cast(T, _built(node, kind, what))


def _check_bounds(node: object, what: str) -> None:
    """Raise BrokenFile for nesting and integers that later code cannot handle."""
    level: list[object] = [node]
    for _ in range(MAX_DEPTH):
        deeper: list[object] = []
        for child in level:
            if isinstance(child, dict):
                deeper += child.values()
            elif isinstance(child, list):
                deeper += child
            elif isinstance(child, int) and abs(child) > _MAX_INTEGER:
                raise BrokenFile(expected(what, "of numbers below 1e300", Phrase("a larger one")))
        if not deeper:
            return
        level = deeper
    raise BrokenFile(_too_deep(what))


def _too_deep(what: str) -> str:
    return expected(what, f"nested at most {MAX_DEPTH} deep", Phrase("more"))


def _built(node: object, hint: Any, what: str) -> object:  # noqa: ANN401  # a type form
    if hint is Any or hint is object:
        return node
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(node, parts, what)
    if origin is Literal:
        if node in parts and type(node) in map(type, parts):
            return node
        raise BrokenFile(expected(what, " or ".join(map(repr, parts)), node))
    if origin is tuple:
        return _tuple(node, parts, what)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(node, parts, what)
    if origin is not None and issubclass(origin, Sequence):
        return list(_tuple(node, (parts[0], ...), what))
    if isinstance(hint, type) and (is_dataclass(hint) or hasattr(hint, "_fields")):
        return _record(node, hint, what)
    return _plain(node, hint, what)


def _plain(node: object, hint: Any, what: str) -> object:  # noqa: ANN401  # a type form
    """Convert to a number, text, boolean or None; pass an object that is already built."""
    if hint is None or hint is type(None):
        if node is None:
            return None
        raise BrokenFile(expected(what, "null", node))
    if getattr(hint, "_is_protocol", False):
        if is_dataclass(node):
            return node
        raise BrokenFile(expected(what, f"a {hint.__name__}", node))
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint is float and isinstance(node, int | float) and not isinstance(node, bool):
        return float(node)
    is_whole = isinstance(node, int) and not isinstance(node, bool)
    if is_whole if hint is int else isinstance(node, hint):
        return node
    raise BrokenFile(expected(what, names.get(hint, f"a {hint.__name__}"), node))


def _one_of(node: object, hints: Sequence[Any], what: str) -> object:
    """Convert to the first type of a union that fits."""
    errors: list[BrokenFile] = []
    for hint in hints:
        try:
            return _built(node, hint, what)
        except BrokenFile as error:
            errors.append(error)
    raise errors[-1] if node is None else errors[0]


def _tuple(node: object, parts: Sequence[Any], what: str) -> tuple[object, ...]:
    if not isinstance(node, list | tuple):
        raise BrokenFile(expected(what, "a list", node))
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_built(child, parts[0], f"{what}[{i}]") for i, child in enumerate(node))
    if len(node) != len(parts):
        raise BrokenFile(expected(what, f"a list of {len(parts)}", node))
    pairs = enumerate(zip(node, parts, strict=True))
    return tuple(_built(child, hint, f"{what}[{i}]") for i, (child, hint) in pairs)


def _mapping(node: object, parts: Sequence[Any], what: str) -> dict[str, object]:
    if not isinstance(node, Mapping):
        raise BrokenFile(expected(what, "an object", node))
    return {name: _built(child, parts[1], f"{what}.{name}") for name, child in node.items()}


def _record(node: object, kind: Any, what: str) -> object:  # noqa: ANN401  # a class with fields
    """Convert an object to a dataclass, a list to a named tuple."""
    if isinstance(node, kind):
        return node
    hints, needed = _fields(kind)
    if isinstance(node, list | tuple) and not is_dataclass(kind):
        node = dict(zip(hints, node, strict=False)) if len(node) <= len(hints) else None
    if not isinstance(node, Mapping):
        raise BrokenFile(expected(what, f"an object with {', '.join(hints)}", node))
    for name in node:
        if name not in hints:
            raise BrokenFile(expected(f"{what}.{name}", f"one of {', '.join(hints)}", name))
    for name in needed:
        if name not in node:
            raise BrokenFile(expected(f"{what}.{name}", "given", Phrase("nothing")))
    has = {name: _built(child, hints[name], f"{what}.{name}") for name, child in node.items()}
    try:
        return kind(**has)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise BrokenFile(f"{what} cannot be used: {error}") from error


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], tuple[str, ...]]:  # noqa: ANN401  # as above
    """Return the types of a class's fields, and the names of those without a default."""
    if not is_dataclass(kind):
        return typing.get_type_hints(kind), tuple(
            name for name in kind._fields if name not in kind._field_defaults
        )
    hints = typing.get_type_hints(kind)
    init_fields = [field for field in fields(kind) if field.init]
    needed = [
        field.name
        for field in init_fields
        if field.default is MISSING and field.default_factory is MISSING
    ]
    return {field.name: hints[field.name] for field in init_fields}, tuple(needed)
