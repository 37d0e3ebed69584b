"""The card of a model file: JSON in its metadata, checked against its schema when it is read.

From format 3 on it begins with a checksum of the file, in which the digits of the checksum itself
count as zeros. It detects damage, not forgery: an edited file can be given another checksum.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any, Final, TypeAlias, TypeGuard, get_args

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
"""The card's version; later ones are refused."""
CHECKSUM_FORMAT = 3
"""The first version with a checksum."""

_ZERO_DIGITS: Final = "0" * 8
_CARD_START = re.compile(rb'\{"crc32": "([0-9a-f]{8})", ')
_DIGITS_OFFSET = len(b'{"crc32": "')
_MIN_THREADED_BYTES = 4_000_000
"""Size from which on a thread saves more than it costs."""
_MAX_IMAGE_SIDE = 2**16
_MAX_LABEL_BYTES = 2**18
"""Largest numpy item size of a label: fixed-width texts take that much for each row."""
_KINDS = ("binary", "multiclass", "regression")
_COLUMN_FIELDS = {column_field.name for column_field in fields(Column)}
_PIXEL_RANGE = ("low", "high")
_MAX_NAME_IN_ERRORS = 40

Card: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[object], bool]
Span: TypeAlias = tuple[int, int]
"""Start and end of the card in the file."""


class LaterFormat(InvalidModelFile):
    """The file was written by a later version of netwright."""

    def __init__(self, version: int) -> None:
        super().__init__(f"its format is {version}")
        self.version = version


def card_text(card: Mapping[str, Any]) -> str:
    """Return the card as JSON, with zeros for the checksum of the file."""
    return json.dumps({"crc32": _ZERO_DIGITS, **card})


def with_checksum(content: bytes, span: Span) -> bytes:
    """Return a file with its checksum filled in."""
    start = span[0] + _DIGITS_OFFSET
    return (
        content[:start] + _checksum(content, start).encode() + content[start + len(_ZERO_DIGITS) :]
    )


def read_card(content: bytes, span: Span) -> Card:
    """Return the card of a file, without verifying its checksum; see `start_checksum`.

    Raises:
        InvalidModelFile: the card does not match its schema.
        LaterFormat: it is of a later version.
    """
    text = content[slice(*span)]
    card = _parse(text)
    version = card.get("format")
    if not _is_int64(version) or version < 1:
        raise InvalidModelFile("its card must have a version under 'format'")
    if version > FORMAT:
        raise LaterFormat(version)
    if ("crc32" in card or version >= CHECKSUM_FORMAT) and _CARD_START.match(text) is None:
        raise InvalidModelFile("the checksum of its card is missing")
    check_card(card)
    return card


def start_checksum(content: bytes, span: Span) -> Callable[[], None]:
    """Return a function that raises InvalidModelFile unless the file matches its checksum.

    A large file is summed by a thread in the meantime: at 4 GB/s it would add a quarter to the time
    of loading. Of a small file this raises at once. A checksum is verified whatever version the
    card states.
    """
    stated = _CARD_START.match(content[slice(*span)])
    if stated is None:  # of a version before `CHECKSUM_FORMAT`
        return lambda: None
    start = span[0] + _DIGITS_OFFSET
    if len(content) < _MIN_THREADED_BYTES:
        _compare(stated[1].decode(), _checksum(content, start))
        return lambda: None
    pool = ThreadPoolExecutor(1)
    summing = pool.submit(_checksum, content, start)
    pool.shutdown(wait=False)
    return lambda: _compare(stated[1].decode(), summing.result())


def _compare(stated: str, computed: str) -> None:
    if stated != computed:
        raise InvalidModelFile("its checksum does not match: the file was damaged or changed")


def check_card(card: Mapping[str, Any]) -> None:
    """Raise InvalidModelFile, naming the entry, if one is missing or has the wrong type."""
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
        raise InvalidModelFile("its card must have a width of at least its number of columns")
    _check_reference_distribution(card)
    if "image" in card:
        _check_image(card["image"])


def _checksum(content: bytes, start: int) -> str:
    """Return CRC-32 of the file in hexadecimal, its own digits from `start` on taken as zeros.

    It detects all damage to up to 32 bits in a row, and misses one in four billion otherwise. A
    cryptographic hash would take three times as long for nothing: whoever forges a file forges its
    checksum.
    """
    view = memoryview(content)
    checksum = zlib.crc32(_ZERO_DIGITS.encode(), zlib.crc32(view[:start]))
    return f"{zlib.crc32(view[start + len(_ZERO_DIGITS) :], checksum):08x}"


def _parse(text: bytes) -> Card:
    try:
        card = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise InvalidModelFile("its card must be JSON with each name once") from error
    if not isinstance(card, dict):
        raise InvalidModelFile("its card must be a JSON object")
    return card


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("an object has a name twice")
    return entries


def _check_classes(card: Mapping[str, Any]) -> None:
    """Check that labels are distinct, as many as the kind needs, and fit their type."""
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


def _check_column(column: object) -> None:
    if not isinstance(column, dict) or not set(column) <= _COLUMN_FIELDS:
        raise InvalidModelFile("its card must describe columns by their known fields")
    for name, (check, rule) in _COLUMN_SCHEMA.items():
        if (name in column or name in ("name", "kind")) and not check(column.get(name)):
            raise InvalidModelFile(f"its card must have {rule} under {name!r} of each column")
    if (column.get("decimal", "."), column.get("thousands", "")) not in DECIMAL_AND_THOUSANDS:
        raise InvalidModelFile("its card must have different decimal and thousands separators")


def _check_reference_distribution(card: Mapping[str, Any]) -> None:
    """Check what `drift.reference_distribution` wrote: the share of each part, and of the rest."""
    kinds = {column["name"]: column["kind"] for column in card.get("columns", ())}
    for name, distribution in card.get("seen", {}).items():
        is_numeric = kinds.get(name) == "numeric"
        parts, shares = distribution.get("parts"), distribution.get("shares")
        has_parts = _list_of(_is_number if is_numeric else _is_text)(parts)
        n_other = 2 if is_numeric else 1
        is_valid = has_parts and _list_of(_is_number)(shares)
        if not is_valid or len(shares) != len(parts) + n_other:
            column = name[:_MAX_NAME_IN_ERRORS]
            raise InvalidModelFile(
                f"its card must have the share of each part of the column {column!r}"
            )


def _check_image(image: Mapping[str, Any]) -> None:
    for name, largest in (
        ("height", _MAX_IMAGE_SIDE),
        ("width", _MAX_IMAGE_SIDE),
        ("channels", MAX_CHANNELS),
    ):
        if not _is_int64(image.get(name)) or not 1 <= image[name] <= largest:
            raise InvalidModelFile(f"its card must have an image whose {name} is 1 to {largest}")
    if "low" not in image:  # before format 2
        return
    low, high = (
        image[end] if isinstance(image.get(end), list) else [image.get(end)] for end in _PIXEL_RANGE
    )
    if not all(map(_is_number, (*low, *high))):
        raise InvalidModelFile("its card must have a range of pixels that is finite")
    if len(low) != len(high) or len(low) not in (1, image["channels"]):
        raise InvalidModelFile("its card must have a range of pixels for all channels or for each")
    if not all(smallest < largest for smallest, largest in zip(low, high, strict=True)):
        raise InvalidModelFile("its card must have a range of pixels from low to high")
    if not _is_int64(image.get("background")) or not 0 <= image["background"] <= 255:
        raise InvalidModelFile("its card must have a background of 0 to 255")


def _is_int64(entry: object) -> TypeGuard[int]:
    return isinstance(entry, int) and not isinstance(entry, bool) and abs(entry) < 2**63


def _is_number(entry: object) -> bool:
    """Return whether an entry is a finite number."""
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        return False
    return _is_int64(entry) if isinstance(entry, int) else math.isfinite(entry)


def _is_text(entry: object) -> bool:
    return isinstance(entry, str)


def _is_bool(entry: object) -> bool:
    return isinstance(entry, bool)


def _is_dict(entry: object) -> bool:
    return isinstance(entry, dict)


def _is_label(entry: object) -> bool:
    is_big_integer = isinstance(entry, int) and abs(entry) < 2**1000
    return isinstance(entry, str | bool) or is_big_integer or _is_number(entry)


def _list_of(check: Check) -> Check:
    return lambda entry: isinstance(entry, list) and all(map(check, entry))


def _dict_of(check: Check) -> Check:
    return lambda entry: isinstance(entry, dict) and all(map(check, entry.values()))


def _one_of(*options: str) -> Check:
    return lambda entry: isinstance(entry, str) and entry in options


def _is_na_values(entry: object) -> bool:
    has_lists = _dict_of(_list_of(_is_text))
    return isinstance(entry, dict) and has_lists(entry) and {"texts", "numbers"} <= set(entry)


_SCHEMA: Mapping[str, tuple[Check, str]] = {
    "kind": (_one_of(*_KINDS), "binary, multiclass or regression"),
    "classes": (_list_of(_is_label), "a list of labels"),
    "outputs": (_dict_of(_is_text), "names of outputs"),
    "task": (_is_text, "a text"),
    "target": (_is_text, "a text"),
    "label_dtype": (_is_text, "a type"),
    "columns": (_list_of(_is_dict), "a list of columns"),
    "image": (_is_dict, "the size of an image"),
    "width": (_is_int64, "a whole number"),
    "missing": (_is_na_values, "lists of texts"),
    "seen": (_dict_of(_is_dict), "parts and shares of each column"),
    "threshold": (_is_number, "a number"),
}
_REQUIRED = ("kind", "classes", "outputs")
_COLUMN_SCHEMA: Mapping[str, tuple[Check, str]] = {
    "name": (_is_text, "a text"),
    "kind": (_one_of(*get_args(ColumnKind)), "a kind"),
    "first": (_one_of(*get_args(DateOrder)), "day or month"),
    "dtype": (_one_of("float32", "float64"), "float32 or float64"),
    "unit": (_is_text, "a text"),
    "decimal": (_is_text, "a text"),
    "thousands": (_is_text, "a text"),
    "as_written": (_is_bool, "true or false"),
}
