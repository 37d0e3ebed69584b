"""Read arrays from untrusted files: ``.npy`` and safetensors, never a pickle."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.folder import MAX_FILE_BYTES, Folder
from netwright.files.json_files import parse

MAX_HEADER_BYTES = 16 << 20
"""Largest header of a safetensors file; it has room for some 200,000 tensor names."""
_MAX_NPY_HEADER_CHARACTERS = 10_000
"""numpy's own limit."""
_NUMERIC_KINDS = "fiub"
"""Kinds of dtypes that are read: floats, signed and unsigned integers, booleans."""
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0}
"""By format version; later versions are for structured dtypes and very long headers."""
_BYTES_PER_ELEMENT = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


class Tensors(NamedTuple):
    """A safetensors file: its bytes, whose header has been checked, and its metadata."""

    content: bytes
    metadata: Mapping[str, str]


def read_array(folder: Folder, name: str, max_bytes: int = MAX_FILE_BYTES) -> NDArray[Any]:
    """Return the array of numbers in a ``.npy`` file.

    Raises:
        BrokenFile: It is missing, empty, truncated, longer than its header states, of objects or
            texts, or not a ``.npy`` file.
    """
    content, what = folder.read(name, max_bytes), str(folder.path / name)
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = _HEADER_READERS[version]
        shape, _, dtype = read(file, max_header_size=_MAX_NPY_HEADER_CHARACTERS)
    except Exception as error:  # numpy reads the header as Python, which fails in many ways
        raise BrokenFile(expected(what, "an array in numpy's format", Phrase("none"))) from error
    if dtype.kind not in _NUMERIC_KINDS or dtype.hasobject:
        raise BrokenFile(expected(what, "an array of numbers", Phrase(f"one of {dtype}")))
    if any(length < 0 for length in shape):
        raise BrokenFile(expected(what, "an array of a shape", shape))
    size, got = dtype.itemsize * math.prod(shape), len(content) - file.tell()
    if got != size:
        raise BrokenFile(expected(what, f"{size:,} bytes of numbers", Phrase(f"{got:,}")))
    file.seek(0)
    try:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, OverflowError, MemoryError) as error:  # 65 axes, or (0, 2^70) of them
        raise BrokenFile(expected(what, "an array of a shape", shape)) from error
    return array


def read_tensors(folder: Folder, name: str, max_bytes: int = MAX_FILE_BYTES) -> Tensors:
    """Return a safetensors file whose header fits its length.

    Its tensors are what ``safetensors.numpy.load`` and ``safetensors.torch.load`` make of
    `content`.

    Raises:
        BrokenFile: It is missing, empty, truncated, or not a safetensors file.
    """
    content, what = folder.read(name, max_bytes), str(folder.path / name)
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(MAX_HEADER_BYTES, len(content) - 8):
        raise BrokenFile(expected(what, "a safetensors file", Phrase("one that is cut off")))
    header = parse(content[8 : 8 + length], what)
    if not isinstance(header, dict):
        raise BrokenFile(expected(what, "a safetensors file", Phrase("none")))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BrokenFile(expected(what, "a safetensors file", Phrase("other metadata")))
    ends = sorted(_span(entry, f"{what}: {key}") for key, entry in header.items())
    offset = 0
    for start, end in ends:
        if start != offset:
            raise BrokenFile(expected(what, "contiguous tensors", Phrase("gaps")))
        offset = end
    if offset != len(content) - 8 - length:
        got = Phrase(f"{len(content) - 8 - length:,}")
        raise BrokenFile(expected(what, f"{offset:,} bytes of tensors", got))
    return Tensors(content, metadata)


def _span(entry: object, what: str) -> tuple[int, int]:
    """Return where a tensor's bytes start and end; raise BrokenFile unless its shape fits them."""
    if not isinstance(entry, dict):
        raise BrokenFile(expected(what, "a tensor", Phrase("none")))
    shape, ends, dtype = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in _BYTES_PER_ELEMENT:
        raise BrokenFile(
            expected(f"dtype of {what}", f"one of {', '.join(_BYTES_PER_ELEMENT)}", dtype)
        )
    if not _are_sizes(shape) or not _are_sizes(ends) or len(ends) != 2:
        raise BrokenFile(expected(what, "a tensor of numbers", Phrase("none")))
    start, end = ends
    if end - start != _BYTES_PER_ELEMENT[dtype] * math.prod(shape):
        raise BrokenFile(expected(what, f"as long as its shape {tuple(shape)}", end - start))
    return start, end


def _are_sizes(sizes: object) -> TypeGuard[list[int]]:
    return isinstance(sizes, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in sizes
    )
