"""The card of a model file: JSON in its metadata, checked against its schema when it is read.

From format 3 on it begins with a checksum of the file. The digits count as zeros, so that they can
stand in what they are of. A checksum tells damage: who changes a file on purpose can write another.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any, Final, TypeAlias, get_args

import numpy as np

from netwright.data.columns import Column, ColumnKind
from netwright.data.datetimes import DateOrder
from netwright.data.labels import classes_array, label_key, onnx_labels
from netwright.data.number_formats import DECIMAL_AND_THOUSANDS
from netwright.data.pixels import MAX_CHANNELS
from netwright.deploy.protobuf import InvalidModelFile

KEY = "netwright"
"""The metadata entry that holds the card, as JSON."""
FORMAT = 3
"""The card's version; a file of a later one is refused."""
CHECKED_FORMAT = 3
"""The first version with a checksum."""

_NO_DIGITS: Final = "0" * 8
_START = re.compile(rb'\{"crc32": "([0-9a-f]{8})", ')
_FIRST_DIGIT = len(b'{"crc32": "')
_SUMMED_AT_ONCE = 4_000_000
"""Bytes below which a thread costs more than it saves."""
_MAX_SIDE = 2**16
_MAX_LABEL_BYTES = 2**18
"""Of a label in the type in which it came: arrays of texts take that much for each row."""
_KINDS = ("binary", "multiclass", "regression")
_NAMES_OF_COLUMNS = {column_field.name for column_field in fields(Column)}

Card: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Any], bool]


class LaterFormat(InvalidModelFile):
    """The file was written by a later version of netwright."""

    def __init__(self, version: int) -> None:
        super().__init__(f"its format is {version}")
        self.version = version


def card_text(card: Mapping[str, Any]) -> str:
    """The card as it stands in a file whose checksum is not known yet."""
    return json.dumps({"crc32": _NO_DIGITS, **card})


def with_checksum(data: bytes, span: tuple[int, int]) -> bytes:
    """A file with the digits of its checksum filled in; `span`: where its card stands."""
    start = span[0] + _FIRST_DIGIT
    return data[:start] + _checksum(data, start).encode() + data[start + len(_NO_DIGITS) :]


def read_card(data: bytes, span: tuple[int, int]) -> Card:
    """The card of a file, which stands at `span`. Damaged where it is not what its schema says.

    Whether its checksum is right is for `checksum_check` to say.
    """
    text = data[slice(*span)]
    card = _parse(text)
    version: Any = card.get("format")
    if not _whole(version) or version < 1:
        raise InvalidModelFile("its card must have a version under 'format'")
    if version > FORMAT:
        raise LaterFormat(version)
    if ("crc32" in card or version >= CHECKED_FORMAT) and _START.match(text) is None:
        raise InvalidModelFile("the checksum of its card is missing")
    check_card(card)
    return card


def checksum_check(data: bytes, span: tuple[int, int]) -> Callable[[], None]:
    """A call that raises Damaged unless the file is what its checksum is of; `span`: of its card.

    Of small files this raises at once.

    It is checked wherever there is one, whatever version the card says it has. Large files are
    summed in a thread meanwhile: at 4 GB/s it would take a quarter of the time of all else.
    """
    stated = _START.match(data[slice(*span)])
    if stated is None:  # of a version that had none
        return lambda: None
    start = span[0] + _FIRST_DIGIT
    if len(data) < _SUMMED_AT_ONCE:
        _compare(stated[1].decode(), _checksum(data, start))
        return lambda: None
    pool = ThreadPoolExecutor(1)
    summed = pool.submit(_checksum, data, start)
    pool.shutdown(wait=False)
    return lambda: _compare(stated[1].decode(), summed.result())


def _compare(stated: str, digits: str) -> None:
    if stated != digits:
        raise InvalidModelFile("its checksum does not match: the file was damaged or changed")


def check_card(card: Mapping[str, Any]) -> None:
    """Damaged, naming the entry, where a card has a value of the wrong type or none."""
    for name, (check, rule) in _SCHEMA.items():
        if (name in card or name in _REQUIRED) and not check(card.get(name)):
            raise InvalidModelFile(f"its card must have {rule} under {name!r}")
    if ("columns" in card) == ("image" in card):
        raise InvalidModelFile("its card must have either columns or an image")
    _check_classes(card)
    names = card["outputs"]
    for name in ("label", "probabilities") if card["classes"] else ("value",):
        if not isinstance(names.get(name), str):
            raise InvalidModelFile(f"its card must name the output {name!r}")
    for column in card.get("columns", ()):
        _check_column(column)
    columns = [column["name"] for column in card.get("columns", ())]
    if len(set(columns)) < len(columns):
        raise InvalidModelFile("its card must name each column once")
    if "width" in card and card["width"] < len(columns):
        raise InvalidModelFile("its card must have a width of at least its columns")
    _check_seen(card)
    if "image" in card:
        _check_image(card["image"])


def _checksum(data: bytes, start: int) -> str:
    """CRC-32 of the file in hexadecimal digits, its own digits from `start` on taken as zeros.

    It tells all damage to up to 32 bits in a row, and one in four thousand million of other damage
    escapes it. A hash that also tells forgery would take three times as long, for nothing: who
    forges a file forges its checksum.
    """
    view = memoryview(data)
    checksum = zlib.crc32(_NO_DIGITS.encode(), zlib.crc32(view[:start]))
    return f"{zlib.crc32(view[start + len(_NO_DIGITS) :], checksum):08x}"


def _parse(text: bytes) -> Card:
    try:
        card = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise InvalidModelFile("its card must be JSON with each name once") from error
    if not isinstance(card, dict):
        raise InvalidModelFile("its card must be a JSON object")
    return card


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name stands there twice")
    return entries


def _check_classes(card: Mapping[str, Any]) -> None:
    """Labels that are told apart, as many as the kind needs, in a type that can hold them."""
    classes, kind = card["classes"], card["kind"]
    n_classes = {"regression": (0, 0), "binary": (2, 2), "multiclass": (2, math.inf)}[kind]
    if not n_classes[0] <= len(classes) <= n_classes[1]:
        raise InvalidModelFile(f"its card must have the classes of a {kind} task")
    if len(set(map(label_key, classes))) < len(classes):
        raise InvalidModelFile("its card must have labels that differ")
    try:
        dtype = np.dtype(card.get("label_dtype", "object"))
        if dtype.kind not in "biufUSO" or dtype.itemsize > _MAX_LABEL_BYTES:
            raise InvalidModelFile("its card must have labels of a plausible type")
        onnx_labels(classes)
        classes_array(card)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidModelFile("its card must have labels that fit their type") from error


def _check_column(column: Any) -> None:
    if not isinstance(column, dict) or not set(column) <= _NAMES_OF_COLUMNS:
        raise InvalidModelFile("its card must describe columns by what columns have")
    for name, (check, rule) in _COLUMN.items():
        if (name in column or name in ("name", "kind")) and not check(column.get(name)):
            raise InvalidModelFile(f"its card must have {rule} under {name!r} of each column")
    if (column.get("decimal", "."), column.get("thousands", "")) not in DECIMAL_AND_THOUSANDS:
        raise InvalidModelFile("its card must have marks of numbers that can be told apart")


def _check_seen(card: Mapping[str, Any]) -> None:
    """What `drift.seen` wrote: shares of the parts of a column, and of what is in none of them."""
    kinds = {column["name"]: column["kind"] for column in card.get("columns", ())}
    for name, seen in card.get("seen", {}).items():
        is_number = kinds.get(name) == "numeric"
        parts, shares = seen.get("parts"), seen.get("shares")
        fits = _listed(_number if is_number else _text)(parts) and _listed(_number)(shares)
        if not fits or len(shares) != len(parts) + (2 if is_number else 1):
            raise InvalidModelFile(
                f"its card must have the shares of each part of the column {name[:40]!r}"
            )


def _check_image(image: Any) -> None:
    for name, largest in (("height", _MAX_SIDE), ("width", _MAX_SIDE), ("channels", MAX_CHANNELS)):
        if not _whole(image.get(name)) or not 1 <= image[name] <= largest:
            raise InvalidModelFile(f"its card must have an image whose {name} is 1 to {largest}")
    if "low" not in image:  # before format 2
        return
    ends = [image[end] if isinstance(image.get(end), list) else [image.get(end)] for end in _ENDS]
    if not all(_number(value) for end in ends for value in end):
        raise InvalidModelFile("its card must have a range of pixels that is finite")
    if len(ends[0]) != len(ends[1]) or len(ends[0]) not in (1, image["channels"]):
        raise InvalidModelFile("its card must have a range of pixels for all channels or for each")
    if not all(low < high for low, high in zip(*ends, strict=True)):
        raise InvalidModelFile("its card must have a range of pixels from low to high")
    if not _whole(image.get("background")) or not 0 <= image["background"] <= 255:
        raise InvalidModelFile("its card must have a background of 0 to 255")


_ENDS = ("low", "high")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _number(value: object) -> bool:
    """Whether it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return _whole(value) if isinstance(value, int) else math.isfinite(value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _dict(value: object) -> bool:
    return isinstance(value, dict)


def _label(value: object) -> bool:
    return isinstance(value, str | bool) or (
        isinstance(value, int) and abs(value) < 2**1000) or _number(value)  # fmt: skip


def _listed(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _named(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _either(*values: object) -> Check:
    return lambda value: any(
        value is known or (_text(value) and value == known) for known in values
    )


def _missing_marks(value: object) -> bool:
    return _named(_listed(_text))(value) and {"texts", "numbers"} <= set(value)  # type: ignore[call-overload]


_SCHEMA: Mapping[str, tuple[Check, str]] = {
    "kind": (_either(*_KINDS), "binary, multiclass or regression"),
    "classes": (_listed(_label), "a list of labels"),
    "outputs": (_named(_text), "names of outputs"),
    "task": (_text, "a text"),
    "target": (_text, "a text"),
    "label_dtype": (_text, "a type"),
    "columns": (_listed(_dict), "a list of columns"),
    "image": (_dict, "the size of an image"),
    "width": (_whole, "a whole number"),
    "missing": (_missing_marks, "lists of texts"),
    "seen": (_named(_dict), "parts and shares of each column"),
    "threshold": (_number, "a number"),
}
_REQUIRED = ("kind", "classes", "outputs")
_COLUMN: Mapping[str, tuple[Check, str]] = {
    "name": (_text, "a text"),
    "kind": (_either(*get_args(ColumnKind)), "a kind"),
    "first": (_either(*get_args(DateOrder)), "day or month"),
    "dtype": (_either("float32", "float64"), "float32 or float64"),
    "unit": (_text, "a text"),
    "decimal": (_text, "a text"),
    "thousands": (_text, "a text"),
    "as_written": (_either(True, False), "true or false"),
}
