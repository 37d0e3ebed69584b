"""The wire format of protocol buffers: enough to look into a model file before any library does.

Fields are read one after the other and checked against the end of their message, without recursion
and copies. Fields that a file repeats by the million (the trees of an ensemble) are skipped at once.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import numpy as np

from netwright.deploy.operators import TREE_MODES

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf.dev, "Encoding"); groups, 3 and 4, are obsolete."""
MAX_VARINT_BYTES = 10
_TAG_OF_FIELD_8 = ord("@")
"""8 << 3 | VARINT: AttributeProto.ints."""
_TAG_OF_FIELD_7 = ord("=")
"""7 << 3 | FIXED32: AttributeProto.floats."""
_SHORT_VARINTS = re.compile(rb"(?:@[\x80-\xff]{0,2}+[\x00-\x7f])*+")
"""A run of AttributeProto.ints below 2^21."""
_TREE_MODES = [b"J%c%b" % (len(mode), mode.encode()) for mode in TREE_MODES]
"""AttributeProto.strings of trees: tag (9 << 3 | BYTES is ``J``), length, text without a J."""
_TYPE_OF_STRINGS = b"\xa0\x01\x08"
"""AttributeProto.type (field 20): STRINGS."""

Field: TypeAlias = tuple[int, int, int, int]
"""Field number, wire type, payload (the integer of a varint, or else the start of the bytes), end."""


class InvalidModelFile(ValueError):
    """The bytes are no model file that netwright wrote; the message has the reason as a clause."""


def field(buffer: bytes, position: int, end: int) -> Field:
    """Return the field that starts at a position, in a message that ends at `end`.

    Raises:
        InvalidModelFile: there is no field, or it is longer than the message.
        IndexError: the buffer ends within the field.
    """
    tag, size = buffer[position], buffer[position + 1]
    if tag < 128 and size < 128 and tag & 7 == BYTES:  # nearly always: one byte for each
        position += 2
        last = position + size
    else:
        tag, position = varint(buffer, position, end)
        wire_type = tag & 7
        if wire_type == BYTES:
            size, position = varint(buffer, position, end)
            last = position + size
        elif wire_type == VARINT:
            position, last = varint(buffer, position, end)
        elif wire_type in (FIXED32, FIXED64):
            last = position + (4 if wire_type == FIXED32 else 8)
        else:
            raise InvalidModelFile("it has a field of an unknown type")
    if last > end or tag < 8:
        raise InvalidModelFile("it has a field that is longer than its message")
    return tag >> 3, tag & 7, position, last


def varint(buffer: bytes, position: int, end: int) -> tuple[int, int]:
    """Return an unsigned 64-bit integer, and the position after it."""
    integer, shift = 0, 0
    while position < end and shift < 7 * MAX_VARINT_BYTES:
        byte = buffer[position]
        position += 1
        integer |= (byte & 127) << shift
        if byte < 128:
            return integer & (2**64 - 1), position
        shift += 7
    raise InvalidModelFile("it has a number without an end")


def signed(unsigned: int) -> int:
    """Return the int64 that a varint encodes."""
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def fields(buffer: bytes, position: int, end: int) -> list[Field]:
    """Return all fields of a message that ends at `end`."""
    parsed = list[Field]()
    while position < end:
        tag, size = buffer[position], buffer[position + 1]
        if tag & 0x87 == BYTES and tag >= 8:
            if size < 128:
                start = position + 2
            else:
                size, start = varint(buffer, position + 1, end)
            position = start + size
            parsed.append((tag >> 3, BYTES, start, position))
        elif tag & 0x87 == VARINT and size < 128 and tag >= 8:
            position += 2
            parsed.append((tag >> 3, VARINT, size, position))
        else:
            parsed.append(next_field := field(buffer, position, end))
            position = next_field[3]
    if position > end:
        raise InvalidModelFile("it has a field that is longer than its message")
    return parsed


def after_floats(buffer: bytes, position: int, end: int) -> int:
    """Return the end of a run of float32 fields with the number 7."""
    tags = np.frombuffer(buffer, np.uint8, (end - position) // 5 * 5, position)[::5]
    others = tags != _TAG_OF_FIELD_7
    return position + 5 * (int(others.argmax()) if others.any() else len(tags))


def after_varints(buffer: bytes, position: int, end: int) -> int:
    """Return the end of a run of varint fields with the number 8.

    The tag is itself a varint of one byte: bytes with an even number of ends of varints before them
    must be that tag; the first that is not ends the run.
    """
    window = np.frombuffer(buffer, np.uint8, end - position, position)
    ends = (window < 128).view(np.uint8)
    ends_before = np.cumsum(ends, dtype=np.uint8)  # overflows, but only its parity is used
    complete = not len(window) or not ends_before[-1] & 1
    ends_before -= ends
    ends_before &= 1
    others = (window != _TAG_OF_FIELD_8).view(np.uint8) > ends_before
    if others.any():
        return position + int(others.argmax())
    if not complete:
        raise InvalidModelFile("it has a number without an end")
    return end


def after_short_varints(buffer: bytes, position: int, end: int) -> int:
    """Return the end of a run of varint fields with the number 8, before the first from 2^21 on."""
    run = _SHORT_VARINTS.match(buffer, position, end)
    return run.end() if run else position


def after_tree_modes(buffer: bytes, position: int, end: int) -> int:
    """Return the end of a run of `TREE_MODES` with the number 9; `position` if it is not one.

    After it onnx writes the attribute's type. Modes cannot overlap: if they have as many bytes as
    there are before it, nothing else is there.
    """
    last = end - len(_TYPE_OF_STRINGS)
    if buffer[max(position, last) : end] != _TYPE_OF_STRINGS:
        return position
    covered = sum(buffer.count(mode, position, last) * len(mode) for mode in _TREE_MODES)
    return last if covered == last - position else position
