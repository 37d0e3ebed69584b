"""The tables of a study's database, and what is checked of one that may come from a stranger."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sql

from netwright.errors import BrokenFile, Phrase, expected, printable
from netwright.files.folder import Folder
from netwright.files.run_layout import DATABASE
from netwright.study.storage.run_manifest import new_run_hint

BESIDE = (f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
"""What SQLite puts beside it while it writes."""

TABLES = sql.MetaData()
STUDY = sql.Table(
    "study",
    TABLES,
    sql.Column("version", sql.Integer, nullable=False),
    sql.Column("created", sql.Text, nullable=False),
    sql.Column("identity", sql.Text, nullable=False),
    sql.Column("seconds", sql.Float, nullable=False),
)
TRIALS = sql.Table(
    "trials",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("candidate", sql.Text, nullable=False),
    sql.Column("fidelity", sql.Float, nullable=False),
    sql.Column("origin", sql.Text, nullable=False),
    sql.Column("parents", sql.Text, nullable=False),
    sql.Column("note", sql.Text, nullable=False),
    sql.Column("ensemble", sql.Text),  # how it combines other trials, where it does
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("metrics", sql.Text, nullable=False),
    sql.Column("seconds", sql.Float, nullable=False),
    sql.Column("error", sql.Text, nullable=False),
    # Starts and ends of all trials are numbered in one row: the order in which to replay them.
    sql.Column("started", sql.Integer, nullable=False),
    sql.Column("ended", sql.Integer),
)

MAX_DATABASE_BYTES = 4 << 30
"""A study of a million trials takes about one."""
MAX_TEXT_BYTES = 16 << 20
"""Of one cell: candidates take kilobytes, notes on thousands of columns less than one megabyte."""
_STEPS_AT_ONCE = 20_000
"""Steps of SQLite's machine between two looks at how many there were: about a millisecond."""
_FREE_STEPS = 20_000_000
"""Steps that any file may take: about a second. A row of a study takes 30, and 300 bytes or more."""
_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")
"""The last bytes of a rollback journal that names a further file, which SQLite would delete."""

_MAX_SCHEMA = 10_000
"""Characters of the statement that made a table; ours have 400."""
_OWN = ("sqlite_sequence", "sqlite_stat1", "sqlite_stat4")
"""Tables that SQLite makes by itself, when it is asked to analyse."""


def check_files(folder: Folder, writes: bool) -> None:
    """Refuse a database that SQLite could not open without leaving the folder.

    Raises:
        RunError: It is a link, a pipe, a device or a folder, or a journal beside it is; a journal
            names a further file; it is too large; or it has a second name, under which it would
            be changed too (`writes`).
    """
    for name in (DATABASE, *BESIDE):
        folder.check(name)
    if folder.size(DATABASE) > MAX_DATABASE_BYTES:
        rule = f"at most {MAX_DATABASE_BYTES:,} bytes"
        raise BrokenFile(expected(str(folder.path / DATABASE), rule, folder.size(DATABASE)))
    journal = f"{DATABASE}-journal"
    if folder.size(journal) and folder.ends_with(journal, _JOURNAL_END):
        rule = "a journal of this database alone"
        raise BrokenFile(expected(str(folder.path / journal), rule, Phrase("one of several")))
    if writes and folder.links(DATABASE) > 1:
        fix = "Copy the folder, and use the copy."
        got = Phrase("one that has a second name elsewhere (a hard link)")
        raise BrokenFile(expected(str(folder.path / DATABASE), "a file of its own", got, fix))


class StepLimit:
    """Ends a transaction that takes more steps than a file of this size can need.

    `size`: bytes of the database and its log.
    """

    def __init__(self, size: int) -> None:
        self._most = _FREE_STEPS + 2 * size
        self._left = self._most

    def restart(self) -> None:
        """Another transaction begins."""
        self._left = self._most

    def __call__(self) -> int:
        self._left -= _STEPS_AT_ONCE
        return int(self._left < 0)


def distrust(connection: sqlite3.Connection, limit: StepLimit) -> None:
    """Set a new connection so that what is in the file cannot run code, or run for ever."""
    connection.set_progress_handler(limit, _STEPS_AT_ONCE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.execute("PRAGMA mmap_size=0")


def check_entries(connection: sql.Connection, what: str) -> None:
    """Raise RunError where the file holds a view, a trigger, an index or another table."""
    query = "SELECT type, name, tbl_name FROM sqlite_schema LIMIT 50"
    names: list[str] = []
    for kind, name, table in connection.exec_driver_sql(query):
        if kind == "table" and name in _OWN:
            continue
        if kind != "table" or name not in TABLES.tables or table != name:
            raise _no_study(what, f"{kind} {name}")
        names.append(name)
    if sorted(names) != sorted(TABLES.tables):
        raise _no_study(what, f"table {', '.join(names)}")


def check_tables(connection: sql.Connection, what: str) -> None:
    """Raise RunError where a table has other columns or rules, or the file is damaged.

    Nothing but SQLite's own quick check compares all of its pages; it takes about as long as
    reading them.
    """
    query = "SELECT name, sql FROM sqlite_schema LIMIT 50"
    for name, text in connection.exec_driver_sql(query):
        if name not in _OWN and not _is_plain(TABLES.tables[name], text):
            raise _no_study(what, f"other columns in {name}")
    damage = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if damage != "ok":
        raise _no_study(what, f"damage ({damage})")


def _no_study(what: str, got: str) -> BrokenFile:
    return BrokenFile(
        expected(what, "a study of netwright", Phrase(printable(got)), new_run_hint())
    )


def _is_plain(table: sql.Table, text: object) -> bool:
    """Whether it has columns of these names and types, and no other rules: no expression, no
    default, no collation."""
    if not isinstance(text, str) or len(text) > _MAX_SCHEMA:
        return False
    words = re.findall(r"[A-Za-z_]+|[^\sA-Za-z_]", text.replace('"', ""))
    expected_words = ["CREATE", "TABLE", table.name, "("]
    for column in table.columns:
        null = [] if column.nullable else ["NOT", "NULL"]
        expected_words += [column.name, str(column.type), *null, ","]
    keys = [column.name for column in table.primary_key]
    if keys:
        return words == [*expected_words, "PRIMARY", "KEY", "(", *keys, ")", ")"]
    return words == [*expected_words[:-1], ")"]


def checked_rows(
    rows: Sequence[Mapping[str, Any]], table: sql.Table, what: str
) -> list[Mapping[str, Any]]:
    """Rows whose cells have the types of their columns: SQLite itself lets any cell hold anything.

    Raises:
        RunError: A cell is of another type, NULL where it must not be, or no text in UTF-8.
    """
    kinds = {
        column.name: (float, int)
        if isinstance(column.type, sql.Float)
        else (column.type.python_type,)
        for column in table.columns
    }
    for row in rows:
        for column in table.columns:
            cell = row[column.name]
            if (cell is None and column.nullable) or isinstance(cell, kinds[column.name]):
                continue
            rule = f"of type {column.type}"
            raise BrokenFile(expected(f"{table.name}.{column.name} in {what}", rule, cell))
    return list(rows)


def size_of(folder: Folder) -> int:
    """Bytes of the database and of what SQLite has beside it."""
    return sum(folder.size(name) for name in (DATABASE, *BESIDE))
