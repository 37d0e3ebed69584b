"""How a text table is written: encoding, separator, lines before its header, names of columns."""

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

from netwright.data.checks import unique
from netwright.data.memory import memory_allowance, refuse_if_larger
from netwright.errors import InputError, plural

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ",", ".data": ","}
"""Endings of text tables, and the separator tried first."""
COMPRESSIONS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]  # opens bytes unless told otherwise
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
"""Endings behind those, and how they are opened."""

_CANDIDATES = (",", ";", "\t", "|")
WHOLE_LINE = "\x1f"
"""A separator that no text has: the lines of a table of one column are its cells."""
_HEAD_BYTES, _HEAD_RECORDS = 1 << 16, 6
"""So many bytes, and records of these, tell the separator."""
_MAX_HEADER_BYTES = 1 << 22
_CHUNK_BYTES = 1 << 24
_MAX_COLUMNS = 50_000
_SEPARATOR_LINE = re.compile(r'"?sep=([\x09\x20-\x7e])"?\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a file is written: what the first lines tell."""

    path: Path
    encoding: str
    separator: str
    names: tuple[str, ...]
    skipped: int
    """Lines before the header."""


def text_suffix(path: Path) -> str:
    """``.csv`` of ``a.csv`` and ``a.csv.gz``; "" where the name is of no text table."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes and suffixes[-1] in SEPARATORS else ""


def layout_of(path: Path, known_names: Collection[str]) -> tuple[Layout, list[str]]:
    """How the file is written, and notes on what is not usual; InputError where it is no table.

    `known_names`: columns that it should have, where these are known: they tell its header.
    """
    encoding, lines = _head(path)
    forced, skipped, notes = _preamble(lines, path, known_names)
    lines = lines[skipped:]
    usual = forced or SEPARATORS[text_suffix(path)]
    separator, names = _header(lines, usual, path, known_names, forced=bool(forced))
    if separator not in (SEPARATORS[text_suffix(path)], WHOLE_LINE):
        notes.append(f"{path.name} is separated by {separator!r}.")
    if len(names) > _MAX_COLUMNS:
        raise InputError(
            f"{path.name} must have at most {_MAX_COLUMNS:,} columns, got {len(names):,}. "
            "Choose some of them."
        )
    unique([name for name in names if name], path.name)
    named = tuple(name or f"Unnamed: {place}" for place, name in enumerate(names))
    return Layout(path, encoding, separator, named, skipped), notes


def _head(path: Path) -> tuple[str, list[str]]:
    """Encoding, and the first lines, those without anything in them included."""
    with open_bytes(path) as file:
        raw = file.read(_HEAD_BYTES)
        if b"\n" not in raw and b"\r" not in raw:
            raw += file.readline(_MAX_HEADER_BYTES)
    if len(raw) > _MAX_HEADER_BYTES:
        raise InputError(
            f"{path} must have a header line that ends within {_MAX_HEADER_BYTES:,} bytes, got a "
            "longer one. Put each row on a line of its own."
        )
    if raw[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise InputError(f"{path} must be text in UTF-8, got UTF-32. Save it as UTF-8.")
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if b"\0" in raw and encoding != "utf-16":
        raise InputError(f"{path} must be a table as text, got a binary file. Export it as CSV.")
    if not _decodes(raw, encoding):
        encoding = "cp1252"
    lines = re.split(r"\r\n|\r|\n", raw.decode(encoding, errors="replace"))
    if len(raw) >= _HEAD_BYTES:
        lines = lines[:-1] or lines  # the last may be cut
    if not any(line.strip() for line in lines):
        raise InputError(
            f"{path} must have a header line and rows, got an empty file. Export it again."
        )
    return encoding, lines


def _decodes(raw: bytes, encoding: str) -> bool:
    """Whether the bytes are text in this encoding; the last character may be cut."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(raw)
    except UnicodeDecodeError:
        return False
    return True


def _preamble(
    lines: Sequence[str], path: Path, known_names: Collection[str]
) -> tuple[str, int, list[str]]:
    """The separator that a first line ``sep=;`` states, the lines before the header, and notes."""
    skipped, notes = 0, []
    forced = _SEPARATOR_LINE.fullmatch(lines[0])
    if forced:
        skipped = 1
    first = skipped
    behind = next(
        (line for line in lines[first:] if line.strip() and not _begins_comment(line)), ""
    )
    while skipped < len(lines) and (
        not lines[skipped].strip() or _is_comment(lines[skipped], behind, known_names)
    ):
        skipped += 1
    comments = sum(map(_begins_comment, lines[first:skipped]))
    if comments:
        left_out = plural(comments, "comment line")
        notes.append(f"Left out before the header of {path.name}: {left_out}.")
    return forced[1] if forced else "", skipped, notes


def _begins_comment(line: str) -> bool:
    return line.lstrip('\ufeff"').startswith("#")


def _is_comment(line: str, behind: str, known_names: Collection[str]) -> bool:
    """Whether a line begins with # and is not the header of the line that stands `behind`.

    A header has the `known_names`, where there are some, or as many cells as the line behind.
    """
    if not _begins_comment(line):
        return False
    for mark in _CANDIDATES:
        names = _records([line], mark)[0]
        if known_names and set(known_names) <= set(map(_plain_name, names)):
            return False
        if not known_names and len(names) == len(_records([behind], mark)[0]) > 1:
            return False
    return True


def _header(
    lines: Sequence[str], usual: str, path: Path, known_names: Collection[str], forced: bool
) -> tuple[str, list[str]]:
    """The separator and the names.

    It is the one that splits the header into the `known_names`, where there are some; else the
    usual one, unless another one alone splits all lines alike, or it is absent.
    """
    marks = (usual,) if forced else tuple(dict.fromkeys((usual, *_CANDIDATES)))
    records = {mark: _records(lines, mark) for mark in marks}
    names = {mark: [_plain_name(name) for name in rows[0]] for mark, rows in records.items()}
    if known_names:
        fitting = [mark for mark in marks if set(known_names) <= set(names[mark])]
        if fitting and len(known_names) == len(names[fitting[0]]) == 1:
            return WHOLE_LINE, names[fitting[0]]
        if fitting:
            return fitting[0], names[fitting[0]]
    alike = [mark for mark, rows in records.items() if len({len(row) for row in rows}) == 1]
    able = [mark for mark in alike if len(names[mark]) > 1]
    separator = usual
    if separator not in able and (able or len(names[separator]) == 1):
        separator = max(able or marks, key=lambda mark: len(names[mark]))
    return separator, names[separator]


def _plain_name(name: str) -> str:
    """A name without blanks around it, and without the mark that some programs write twice."""
    return name.strip().lstrip("\ufeff").strip()


def _records(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The first records of the lines; one in quotes may go over several lines."""
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
    except csv.Error:  # a cell longer than any name: what came before it has to do
        pass
    return records or [[""]]


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked by what its name ends with."""
    opener = COMPRESSIONS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def refuse_large(path: Path) -> None:
    """InputError for more bytes than data may take; compressed ones are counted as they come."""
    fix = "Take fewer rows or columns, or save it as parquet."
    nbytes = path.stat().st_size
    if path.suffix.lower() not in COMPRESSIONS:
        refuse_if_larger(nbytes, path.name, fix)
        return
    allowed, nbytes = memory_allowance(), 0
    with open_bytes(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            nbytes += len(chunk)
            if nbytes > allowed:
                refuse_if_larger(nbytes, f"{path.name} without compression", fix)


def missing_cells(layout: Layout) -> int:
    """How many cells short lines lack; InputError at a NUL. 0 where quotes hide what is a cell."""
    if layout.encoding == "utf-16" or layout.separator == WHOLE_LINE:
        return 0
    separators = lines = 0
    quotes, last = False, b"\n"
    for chunk in _chunks(layout):
        if b"\0" in chunk:
            raise InputError(
                f"{layout.path} must be a table as text, got a binary file. Export it as CSV."
            )
        quotes = quotes or b'"' in chunk
        if not quotes:
            codes = np.frombuffer(chunk, np.uint8)
            separators += int(np.count_nonzero(codes == ord(layout.separator)))
            lines += int(np.count_nonzero(codes == ord("\n")))
        last = chunk[-1:]
    if quotes or not lines:
        return 0
    lines += last != b"\n"
    short = lines * (len(layout.names) - 1) - separators
    return short - _blank_lines(layout) * (len(layout.names) - 1) if short > 0 else 0


def may_hold_codes(layout: Layout) -> bool:
    """Whether a cell may be a number that begins with a needless 0, such as 007.

    True where it would take long to find out, or the bytes do not tell.
    """
    if layout.encoding == "utf-16" or layout.separator == WHOLE_LINE:
        return True
    before = re.escape(layout.separator.encode()) + rb"\s\"'"
    code = re.compile(rb"(?:^|[" + before + rb"])[+-]?0[0-9]")
    chunks = [*islice(_chunks(layout), 2)]
    return len(chunks) != 1 or code.search(chunks[0]) is not None


@contextmanager
def from_header(layout: Layout) -> Iterator[Path | IO[str]]:
    """The file from its header on: the parser would look for quotes in what it skips.

    Lines are skipped as text: of UTF-16, and of line ends that are CR alone, bytes tell no lines.
    """
    if not layout.skipped:
        yield layout.path
        return
    with open_bytes(layout.path) as file, io.TextIOWrapper(file, layout.encoding) as text:
        for _ in range(layout.skipped):
            text.readline()
        yield text


def _chunks(layout: Layout) -> Iterator[bytes]:
    """The bytes from the header on."""
    with open_bytes(layout.path) as file:
        _skip(file, layout)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _blank_lines(layout: Layout) -> int:
    with open_bytes(layout.path) as file:
        _skip(file, layout)
        return sum(not line.strip() for line in file)


def _skip(file: IO[bytes], layout: Layout) -> None:
    for _ in range(layout.skipped):
        file.readline()


def blank_lines_at_end(layout: Layout) -> int:
    """Lines without anything behind the last row of a table of one column."""
    with open_bytes(layout.path) as file:
        blank = 0
        for line in file:
            blank = 0 if line.strip() else blank + 1
    return blank
