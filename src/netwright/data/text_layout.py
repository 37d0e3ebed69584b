"""Detect how a text table is laid out: encoding, separator, lines before the header, names."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from netwright.data.checks import check_unique_names
from netwright.data.memory import check_fits_in_memory, max_data_bytes
from netwright.errors import InputError, plural

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ",", ".data": ","}
"""Suffix of a text table -> its usual separator."""
COMPRESSIONS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]  # opens bytes unless told otherwise
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
"""Suffix after those -> the function that opens the file."""

_SEPARATOR_CANDIDATES = (",", ";", "\t", "|")
WHOLE_LINE_SEPARATOR = "\x1f"
"""A separator that no text contains: each line of a table with one column is a cell."""
_HEAD_BYTES, _HEAD_RECORDS = 1 << 16, 6
"""The separator is detected from so many bytes, and so many records in them."""
_MAX_HEADER_BYTES = 1 << 22
"""Largest header of a text file; 4 MB hold more names than `_MAX_COLUMNS`."""
_CHUNK_BYTES = 1 << 24
"""Bytes read at a time when a whole file is checked."""
_MAX_COLUMNS = 50_000
"""pandas takes a long time to read tables with more columns."""
_SEPARATOR_LINE = re.compile(r'"?sep=([\x09\x20-\x7e])"?\s*', re.IGNORECASE)
"""A first line such as ``sep=;``, which Excel understands."""


@dataclass(frozen=True)
class TextLayout:
    """The layout of a text table.

    Args:
        path: Of the file.
        encoding: As Python names it.
        separator: Between the cells.
        names: Of the columns.
        n_skipped_lines: Lines before the header.
    """

    path: Path
    encoding: str
    separator: str
    names: tuple[str, ...]
    n_skipped_lines: int


def text_suffix(path: Path) -> str:
    """Return ``.csv`` for ``a.csv`` and ``a.csv.gz``; "" if the name is not of a text table."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes and suffixes[-1] in SEPARATORS else ""


def detect_layout(path: Path, expected_names: Collection[str]) -> tuple[TextLayout, list[str]]:
    """Detect the layout of a file.

    Args:
        path: Of the file.
        expected_names: Columns that the file should have, if known: they identify its header.

    Returns:
        The layout, and notes on what is unusual.

    Raises:
        InputError: The file is no table.
    """
    encoding, lines = _read_head(path)
    stated_separator, n_skipped, notes = _read_preamble(lines, path, expected_names)
    lines = lines[n_skipped:]
    usual = stated_separator or SEPARATORS[text_suffix(path)]
    separator, names = _read_header(lines, usual, expected_names, is_stated=bool(stated_separator))
    if separator not in (SEPARATORS[text_suffix(path)], WHOLE_LINE_SEPARATOR):
        notes.append(f"{path.name} is separated by {separator!r}.")
    if len(names) > _MAX_COLUMNS:
        raise InputError(
            f"{path.name} must have at most {_MAX_COLUMNS:,} columns, got {len(names):,}. "
            "Choose some of them."
        )
    check_unique_names([name for name in names if name], path.name)
    names_as_in_pandas = tuple(name or f"Unnamed: {i}" for i, name in enumerate(names))
    return TextLayout(path, encoding, separator, names_as_in_pandas, n_skipped), notes


def _read_head(path: Path) -> tuple[str, list[str]]:
    """Return the encoding and the first lines, including blank ones."""
    with open_bytes(path) as file:
        head = file.read(_HEAD_BYTES)
        if b"\n" not in head and b"\r" not in head:
            head += file.readline(_MAX_HEADER_BYTES)
    if len(head) > _MAX_HEADER_BYTES:
        raise InputError(
            f"{path} must have a header line that ends within {_MAX_HEADER_BYTES:,} bytes, got a "
            "longer one. Put each row on a line of its own."
        )
    if head[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise InputError(f"{path} must be text in UTF-8, got UTF-32. Save it as UTF-8.")
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if b"\0" in head and encoding != "utf-16":
        raise InputError(f"{path} must be a table as text, got a binary file. Export it as CSV.")
    if not _decodes(head, encoding):
        encoding = "cp1252"
    lines = re.split(r"\r\n|\r|\n", head.decode(encoding, errors="replace"))
    if len(head) >= _HEAD_BYTES:
        lines = lines[:-1] or lines  # the last line may be incomplete
    if not any(line.strip() for line in lines):
        raise InputError(
            f"{path} must have a header line and rows, got an empty file. Export it again."
        )
    return encoding, lines


def _decodes(head: bytes, encoding: str) -> bool:
    """Return whether the bytes are text in this encoding; the last character may be incomplete."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _read_preamble(
    lines: Sequence[str], path: Path, expected_names: Collection[str]
) -> tuple[str, int, list[str]]:
    """Return the separator stated by a first line ``sep=;``, the lines before the header, and notes."""
    notes = []
    separator_line = _SEPARATOR_LINE.fullmatch(lines[0])
    start = 1 if separator_line else 0
    next_line = next(
        (line for line in lines[start:] if line.strip() and not _starts_as_comment(line)), ""
    )
    n_skipped = start
    while n_skipped < len(lines) and (
        not lines[n_skipped].strip() or _is_comment(lines[n_skipped], next_line, expected_names)
    ):
        n_skipped += 1
    n_comments = sum(map(_starts_as_comment, lines[start:n_skipped]))
    if n_comments:
        comments = plural(n_comments, "comment line")
        notes.append(f"Skipped {comments} before the header of {path.name}.")
    return separator_line[1] if separator_line else "", n_skipped, notes


def _starts_as_comment(line: str) -> bool:
    return line.lstrip('\ufeff"').startswith("#")


def _is_comment(line: str, next_line: str, expected_names: Collection[str]) -> bool:
    """Return whether a line starts with # and is not the header of the lines that follow.

    A header has the `expected_names`, if there are any, or as many cells as the `next_line`.
    """
    if not _starts_as_comment(line):
        return False
    for separator in _SEPARATOR_CANDIDATES:
        names = _read_records([line], separator)[0]
        if expected_names and set(expected_names) <= set(map(_stripped_name, names)):
            return False
        if not expected_names and len(names) == len(_read_records([next_line], separator)[0]) > 1:
            return False
    return True


def _read_header(
    lines: Sequence[str], usual: str, expected_names: Collection[str], *, is_stated: bool
) -> tuple[str, list[str]]:
    """Return the separator and the column names.

    The separator is the one that splits the header into the `expected_names`, if there are any;
    else the `usual` one, unless it does not occur or only another one splits all lines into as many
    cells. With `is_stated`, the file states the usual one and no other is tried.
    """
    separators = (usual,) if is_stated else tuple(dict.fromkeys((usual, *_SEPARATOR_CANDIDATES)))
    records_by_separator = {separator: _read_records(lines, separator) for separator in separators}
    names = {
        separator: [_stripped_name(name) for name in records[0]]
        for separator, records in records_by_separator.items()
    }
    if expected_names:
        fitting = [
            separator for separator in separators if set(expected_names) <= set(names[separator])
        ]
        if fitting and len(expected_names) == len(names[fitting[0]]) == 1:
            return WHOLE_LINE_SEPARATOR, names[fitting[0]]
        if fitting:
            return fitting[0], names[fitting[0]]
    consistent = [
        separator
        for separator, records in records_by_separator.items()
        if len({len(record) for record in records}) == 1 and len(names[separator]) > 1
    ]
    separator = usual
    if separator not in consistent and (consistent or len(names[separator]) == 1):
        separator = max(consistent or separators, key=lambda candidate: len(names[candidate]))
    return separator, names[separator]


def _stripped_name(name: str) -> str:
    """Strip blanks, and the byte order mark that some programs write twice."""
    return name.strip().lstrip("\ufeff").strip()


def _read_records(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Return the first records of the lines; one in quotes may span several lines."""
    reader = csv.reader(
        io.StringIO("\n".join(lines), newline=""), delimiter=separator, skipinitialspace=True
    )
    records = []
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append(record)
            if len(records) == _HEAD_RECORDS:
                break
    except csv.Error:  # a cell longer than any name: the records before it must suffice
        pass
    return records or [[""]]


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file's bytes, decompressed if its suffix says so."""
    opener = COMPRESSIONS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def check_file_size(path: Path) -> None:
    """Raise InputError if a file is too large for the memory, compressed ones once decompressed."""
    fix = "Use fewer rows or columns, or save it as parquet."
    n_bytes = path.stat().st_size
    if path.suffix.lower() not in COMPRESSIONS:
        check_fits_in_memory(n_bytes, path.name, fix)
        return
    max_bytes, n_bytes = max_data_bytes(), 0
    with open_bytes(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > max_bytes:
                check_fits_in_memory(n_bytes, f"{path.name} without compression", fix)


def count_missing_cells(layout: TextLayout) -> int:
    """Return how many cells short lines lack; 0 if there are quotes, which may hide separators.

    Raises:
        InputError: The file has a NUL byte, so that it is binary.
    """
    if layout.encoding == "utf-16" or layout.separator == WHOLE_LINE_SEPARATOR:
        return 0
    n_separators = n_lines = 0
    has_quotes, last_byte = False, b"\n"
    for chunk in _chunks(layout):
        if b"\0" in chunk:
            raise InputError(
                f"{layout.path} must be a table as text, got a binary file. Export it as CSV."
            )
        has_quotes = has_quotes or b'"' in chunk
        if not has_quotes:
            byte_values = np.frombuffer(chunk, np.uint8)
            n_separators += int(np.count_nonzero(byte_values == ord(layout.separator)))
            n_lines += int(np.count_nonzero(byte_values == ord("\n")))
        last_byte = chunk[-1:]
    if has_quotes or not n_lines:
        return 0
    if last_byte != b"\n":
        n_lines += 1
    separators_per_line = len(layout.names) - 1
    n_missing = n_lines * separators_per_line - n_separators
    return n_missing - _count_blank_lines(layout) * separators_per_line if n_missing > 0 else 0


def may_hold_leading_zeros(layout: TextLayout) -> bool:
    """Return whether a cell may be a number with a leading zero, such as 007.

    Also true if it would take long to find out, or the bytes do not tell.
    """
    if layout.encoding == "utf-16" or layout.separator == WHOLE_LINE_SEPARATOR:
        return True
    before_cell = re.escape(layout.separator.encode()) + rb"\s\"'"
    code = re.compile(rb"(?:^|[" + before_cell + rb"])[+-]?0[0-9]")
    chunks = [*islice(_chunks(layout), 2)]
    return len(chunks) != 1 or code.search(chunks[0]) is not None


@contextmanager
def open_at_header(layout: TextLayout) -> Iterator[Path | IO[str]]:
    """Open the file at its header: the parser would look for quotes in the lines it skips.

    Lines are skipped as text, because UTF-16 and line ends of CR alone cannot be found in bytes.
    """
    if not layout.n_skipped_lines:
        yield layout.path
        return
    with open_bytes(layout.path) as file, io.TextIOWrapper(file, layout.encoding) as text:
        for _ in range(layout.n_skipped_lines):
            text.readline()
        yield text


def _chunks(layout: TextLayout) -> Iterator[bytes]:
    """Yield the bytes from the header on."""
    with open_bytes(layout.path) as file:
        _skip_lines(file, layout)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _count_blank_lines(layout: TextLayout) -> int:
    with open_bytes(layout.path) as file:
        _skip_lines(file, layout)
        return sum(not line.strip() for line in file)


def _skip_lines(file: IO[bytes], layout: TextLayout) -> None:
    for _ in range(layout.n_skipped_lines):
        file.readline()


def count_trailing_blank_lines(layout: TextLayout) -> int:
    """Return how many blank lines follow the last row of a table with one column."""
    with open_bytes(layout.path) as file:
        n_blank = 0
        for line in file:
            n_blank = 0 if line.strip() else n_blank + 1
    return n_blank
