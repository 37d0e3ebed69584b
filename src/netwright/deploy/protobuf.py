"""Protocol buffers as bytes: fields one after the other, checked against the end of their message.

Enough of the wire format to look into a model file before any library does: no recursion, no
copies. What stands one by one by the million (the trees of an ensemble) is passed over at
once, not by a loop.
"""

from __future__ import annotations

import re

import numpy as np

from netwright.deploy.operators import TREE_MODES

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf.dev, "Encoding"); groups, 3 and 4, are not written by anybody any more."""
MAX_VARINT_BYTES = 10
_TAG = ord("@")
_FLOAT_TAG = ord("=")
_SHORT_VARINTS = re.compile(rb"(?:@[\x80-\xff]{0,2}+[\x00-\x7f])*+")
"""A run of fields: the tag of number 8 with a varint is ``@``."""
_TREE_MODES = [b"J%c%b" % (len(mode), mode.encode()) for mode in TREE_MODES]
"""Known texts with their tag, that of number 9 with bytes: ``J``. None has a second J in it."""
_TYPE_OF_STRINGS = b"\xa0\x01\x08"
"""AttributeProto.type (number 20): STRINGS."""


class InvalidModelFile(ValueError):
    """The bytes are no message of the kind that is expected; the sentence says what is wrong."""


def field(data: bytes, at: int, end: int) -> tuple[int, int, int, int]:
    """The field that starts at `at`, in a message that ends at `end`. Damaged where it is none.

    Returns its number, its wire type, the number of a varint or else where its bytes start, and
    where it ends.
    """
    tag, size = data[at], data[at + 1]
    if tag < 128 and size < 128 and tag & 7 == BYTES:  # nearly all: one byte for each
        at += 2
        last = at + size
    else:
        tag, at = varint(data, at, end)
        wire = tag & 7
        if wire == BYTES:
            size, at = varint(data, at, end)
            last = at + size
        elif wire == VARINT:
            at, last = varint(data, at, end)
        elif wire in (FIXED32, FIXED64):
            last = at + (4 if wire == FIXED32 else 8)
        else:
            raise InvalidModelFile("it has a field of an unknown type")
    if last > end or tag < 8:
        raise InvalidModelFile("a field of it is longer than what holds it")
    return tag >> 3, tag & 7, at, last


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A whole number of 64 bits without a sign, and where the next field starts."""
    number, shift = 0, 0
    while at < end and shift < 7 * MAX_VARINT_BYTES:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (2**64 - 1), at
        shift += 7
    raise InvalidModelFile("a number has no end")


def signed(number: int) -> int:
    """A varint as the int64 that it stands for."""
    return number - 2**64 if number >= 2**63 else number


def fields(data: bytes, at: int, end: int) -> list[tuple[int, int, int, int]]:
    """All fields of a message that ends at `end`, as `field` gives them."""
    parts = list[tuple[int, int, int, int]]()
    while at < end:
        tag, size = data[at], data[at + 1]
        if tag & 0x87 == BYTES and tag >= 8:
            size, value = (size, at + 2) if size < 128 else varint(data, at + 1, end)
            at = value + size
            parts.append((tag >> 3, BYTES, value, at))
        elif tag & 0x87 == VARINT and size < 128 and tag >= 8:
            at += 2
            parts.append((tag >> 3, VARINT, size, at))
        else:
            parts.append(part := field(data, at, end))
            at = part[3]
    if at > end:
        raise InvalidModelFile("a field of it is longer than what holds it")
    return parts


def after_floats(data: bytes, at: int, end: int) -> int:
    """Where a run of float32 fields with the number 7 ends."""
    tags = np.frombuffer(data, np.uint8, (end - at) // 5 * 5, at)[::5]
    others = tags != _FLOAT_TAG
    return at + 5 * (int(others.argmax()) if others.any() else len(tags))


def after_varints(data: bytes, at: int, end: int) -> int:
    """Where a run of varint fields with the number 8 ends.

    Its tag is a varint of one byte: bytes with an even number of ends of varints before them must
    be that tag, the first that is not ends the run.
    """
    window = np.frombuffer(data, np.uint8, end - at, at)
    ends = (window < 128).view(np.uint8)
    ends_before = np.cumsum(ends, dtype=np.uint8)  # overflows: only whether it is odd counts
    complete = not len(window) or not ends_before[-1] & 1
    ends_before -= ends
    ends_before &= 1
    others = (window != _TAG).view(np.uint8) > ends_before
    if others.any():
        return at + int(others.argmax())
    if not complete:
        raise InvalidModelFile("a number has no end")
    return end


def after_short_varints(data: bytes, at: int, end: int) -> int:
    """The same for numbers below 2^21: it ends before the first that is larger."""
    return _end(_SHORT_VARINTS, data, at, end)


def after_tree_modes(data: bytes, at: int, end: int) -> int:
    """Where a run of the modes of trees, texts with the number 9, ends; `at` where none is told.

    What onnx writes after them is the attribute's type. Modes cannot overlap: where they have as
    many bytes as there are before it, nothing else is there.
    """
    last = end - len(_TYPE_OF_STRINGS)
    if data[max(at, last) : end] != _TYPE_OF_STRINGS:
        return at
    covered = sum(data.count(mode, at, last) * len(mode) for mode in _TREE_MODES)
    return last if covered == last - at else at


def _end(pattern: re.Pattern[bytes], data: bytes, at: int, end: int) -> int:
    match = pattern.match(data, at, end)
    return match.end() if match else at
