"""Tables as text (CSV, TSV): separator, encoding, header, and cells as they are written.

A parser that guesses the type of a column from one file gives the same row another meaning in
another file. So only bare numbers are left to it, which it converts cell by cell; every other cell
is read as its text, and converted by the column's own rules.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_string_dtype

from netwright.data.checks import has_rows, unique
from netwright.data.memory import memory_allowance, refuse_if_larger
from netwright.data.missing import MISSING_MARKS
from netwright.data.precision import EXACT_DOUBLE
from netwright.data.roles import CODE, merged_numbers
from netwright.errors import InputError, plural, quoted

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ",", ".data": ","}
"""Endings of text tables, and the separator tried first."""
COMPRESSIONS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]  # opens bytes unless told otherwise
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
"""Endings behind those, and how they are opened."""

_CANDIDATES = (",", ";", "\t", "|")
_WHOLE_LINE = "\x1f"
"""A separator that no text has: the lines of a table of one column are its cells."""
_HEAD_BYTES, _HEAD_RECORDS = 1 << 16, 6
"""So many bytes, and records of these, tell the separator."""
_MAX_HEADER_BYTES = 1 << 22
_CHUNK_BYTES = 1 << 24
_MAX_COLUMNS = 50_000
_SAMPLE_ROWS = 10_000
"""Rows in which codes such as 007 are looked for; where there are any, all rows are looked at."""
_SEPARATOR_LINE = re.compile(r'"?sep=([\x09\x20-\x7e])"?\s*', re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"^(\s*[+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?\s*)$")
_BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, OSError)


@dataclass(frozen=True)
class TextTable:
    """A frame as read. `decimal_comma`: the separator leaves the comma to decimals."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    decimal_comma: bool = False


@dataclass(frozen=True)
class _Layout:
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


def read_text(
    path: Path, texts: Collection[str] = (), numbers: Collection[str] | None = None
) -> TextTable:
    """Reads a text table.

    `texts`: columns whose cells are read as they are written, "" where empty. `numbers`: columns
    that hold bare numbers; with it, columns in neither are left out. None: the values decide which
    columns are numbers. Names count without blanks around them.

    Raises InputError, naming the file, where it is no table or too large.
    """
    try:
        _refuse_large(path)
        layout, notes = _layout(path, {*texts, *(numbers or ())})
        if numbers is not None:  # new rows: how their file is written changes nothing
            notes = []
        if numbers is None and len(layout.names) == 1:
            raise _one_column(layout)
        short = _scan(layout)
        frame, layout = _with_encoding(layout, notes, texts, numbers)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    has_rows(len(frame), path.name)
    if short:
        are = "is" if short == 1 else "are"
        cells = plural(short, "missing cell")
        notes.append(f"Short lines of {path.name}: {cells} {are} read as empty.")
    if numbers is None:
        notes += _merged_codes(layout, frame)
    return TextTable(frame, tuple(notes), layout.separator == ";")


def _one_column(layout: _Layout) -> InputError:
    return InputError(
        f"{layout.path.name} must have a target and columns to learn from, got one column, "
        f"{quoted(layout.names[0])}. Separate columns by a comma, semicolon, tab or |."
    )


def _open(path: Path) -> IO[bytes]:
    opener = COMPRESSIONS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def _refuse_large(path: Path) -> None:
    """InputError for more bytes than data may take; compressed ones are counted as they come."""
    fix = "Take fewer rows or columns, or save it as parquet."
    nbytes = path.stat().st_size
    if path.suffix.lower() not in COMPRESSIONS:
        refuse_if_larger(nbytes, path.name, fix)
        return
    allowed, nbytes = memory_allowance(), 0
    with _open(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            nbytes += len(chunk)
            if nbytes > allowed:
                refuse_if_larger(nbytes, f"{path.name} without compression", fix)


def _layout(path: Path, known_names: Collection[str]) -> tuple[_Layout, list[str]]:
    encoding, lines = _head(path)
    forced, skipped, notes = _preamble(lines, path, known_names)
    lines = lines[skipped:]
    usual = forced or SEPARATORS[text_suffix(path)]
    separator, names = _header(lines, usual, path, known_names, forced=bool(forced))
    if separator not in (SEPARATORS[text_suffix(path)], _WHOLE_LINE):
        notes.append(f"{path.name} is separated by {separator!r}.")
    if len(names) > _MAX_COLUMNS:
        raise InputError(
            f"{path.name} must have at most {_MAX_COLUMNS:,} columns, got {len(names):,}. "
            "Choose some of them."
        )
    unique([name for name in names if name], path.name)
    named = tuple(name or f"Unnamed: {place}" for place, name in enumerate(names))
    return _Layout(path, encoding, separator, named, skipped), notes


def _head(path: Path) -> tuple[str, list[str]]:
    """Encoding, and the first lines, those without anything in them included."""
    with _open(path) as file:
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
            return _WHOLE_LINE, names[fitting[0]]
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


def _scan(layout: _Layout) -> int:
    """How many cells short lines lack; InputError at a NUL. 0 where quotes hide what is a cell."""
    if layout.encoding == "utf-16" or layout.separator == _WHOLE_LINE:
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


@contextmanager
def _from_header(layout: _Layout) -> Iterator[Path | IO[str]]:
    """The file from its header on: the parser would look for quotes in what it skips.

    Lines are skipped as text: of UTF-16, and of line ends that are CR alone, bytes tell no lines.
    """
    if not layout.skipped:
        yield layout.path
        return
    with _open(layout.path) as file, io.TextIOWrapper(file, layout.encoding) as text:
        for _ in range(layout.skipped):
            text.readline()
        yield text


def _chunks(layout: _Layout) -> Iterator[bytes]:
    """The bytes from the header on."""
    with _open(layout.path) as file:
        _skip(file, layout)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _blank_lines(layout: _Layout) -> int:
    with _open(layout.path) as file:
        _skip(file, layout)
        return sum(not line.strip() for line in file)


def _skip(file: IO[bytes], layout: _Layout) -> None:
    for _ in range(layout.skipped):
        file.readline()


def _with_encoding(
    layout: _Layout, notes: list[str], texts: Collection[str], numbers: Collection[str] | None
) -> tuple[pd.DataFrame, _Layout]:
    """The frame, read as UTF-8, else as what older programs write in Western Europe."""
    for encoding in dict.fromkeys((layout.encoding, "cp1252", "latin-1")):
        tried = _Layout(
            layout.path, encoding, layout.separator, layout.names, layout.skipped
        )  # fmt: skip
        try:
            frame = _frame(tried, texts, numbers)
        except UnicodeDecodeError:
            continue
        if named := {"cp1252": "Windows-1252", "latin-1": "Latin-1"}.get(encoding):
            notes.append(f"{layout.path.name} is not UTF-8; it is read as {named}.")
        return frame, tried
    raise AssertionError("Latin-1 decodes every byte")


def _frame(
    layout: _Layout, texts: Collection[str], numbers: Collection[str] | None
) -> pd.DataFrame:
    frame = _parse(layout, texts, numbers)
    if numbers is None:
        return frame
    truths = [name for name in frame.columns if _has_truth_values(frame[name])]
    if truths:  # the parser takes True for a truth value where a whole column is so
        others = [name for name in numbers if name not in truths]
        frame = _parse(layout, {*texts, *truths}, others)
    if layout.separator == ";":
        frame = _with_decimal_points(frame, numbers)
    if layout.separator == _WHOLE_LINE:
        frame = frame.iloc[: len(frame) - _blank_lines_at_end(layout)]
    return frame


def _has_truth_values(column: pd.Series[Any]) -> bool:
    """Whether the parser made truth values of texts; beside missing cells they are objects."""
    if column.dtype == object:
        return any(isinstance(value, bool) for value in column)
    return bool(column.dtype == bool)


def _blank_lines_at_end(layout: _Layout) -> int:
    """Lines without anything behind the last row of a table of one column."""
    with _open(layout.path) as file:
        blank = 0
        for line in file:
            blank = 0 if line.strip() else blank + 1
    return blank


def _with_decimal_points(frame: pd.DataFrame, numbers: Collection[str]) -> pd.DataFrame:
    """The frame, in which known numbers may be written with a decimal comma: no file that has
    semicolons between its cells has commas between thousands of bare numbers."""
    written = [name for name in numbers if name in frame and is_string_dtype(frame[name])]
    points = {
        name: frame[name].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True) for name in written
    }
    return frame.assign(**points)


def _parse(
    layout: _Layout,
    texts: Collection[str],
    numbers: Collection[str] | None,
    rows: int | None = None,
    only: Collection[str] | None = None,
) -> pd.DataFrame:
    names = layout.names
    columns: Any = only
    if only is None and numbers is not None and {*texts, *numbers} <= set(names):
        columns = [name for name in names if name in texts or name in numbers]
    guessed = [name for name in names if name not in texts]
    try:
        with _from_header(layout) as source, warnings.catch_warnings():
            # longer lines than the header's would be cut with a mere warning
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                source, sep=layout.separator, encoding=layout.encoding, skipinitialspace=True,
                low_memory=False, index_col=False, header=0, names=list(names), usecols=columns,
                nrows=rows, keep_default_na=False,
                skip_blank_lines=layout.separator != _WHOLE_LINE,
                dtype=dict.fromkeys((name for name in names if name in texts), str),
                na_values=dict.fromkeys(guessed, sorted(MISSING_MARKS.texts)),
            )  # fmt: skip
    except UnicodeDecodeError:
        raise
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        # EmptyDataError is a ValueError
        raise InputError(
            f"{layout.path.name} must have the same number of columns in every line, got: "
            f"{first_line(error)}. Correct these lines."
        ) from None


def _merged_codes(layout: _Layout, frame: pd.DataFrame) -> list[str]:
    """A sentence on each column of numbers in which several texts are one number: 7 and 007."""
    numbers = [name for name in frame.columns if frame[name].dtype.kind in "iuf"]
    if not numbers:
        return []
    head = _parse(layout, numbers, [], _SAMPLE_ROWS, numbers)
    coded = [
        name
        for name in numbers
        if any(map(CODE.fullmatch, set(head[name].astype(str).str.strip().tolist())))
        or (frame[name].dtype.kind == "f" and (frame[name].abs() >= EXACT_DOUBLE).any())
    ]
    if not coded:
        return []
    every = head if len(frame) <= _SAMPLE_ROWS else _parse(layout, coded, [], None, coded)
    texts = {name: set(every[name].astype(str).str.strip().tolist()) for name in coded}
    return [note for name in coded for note in merged_numbers(name, texts[name])]


def first_line(error: Exception) -> str:
    """The first line of somebody else's message."""
    lines = str(error).strip().splitlines()
    line = next(iter(lines), type(error).__name__)
    return line.removeprefix("Error tokenizing data. ").rstrip(".")


def _unreadable(path: Path, error: Exception) -> InputError:
    if path.suffix.lower() in COMPRESSIONS:
        got = f"a broken or cut one ({first_line(error)})"
        return InputError(f"{path} must be a whole compressed file, got {got}. Copy it again.")
    why = getattr(error, "strerror", None) or first_line(error)
    return InputError(f"{path} must be a file that can be read, got: {why}. Check its permissions.")
