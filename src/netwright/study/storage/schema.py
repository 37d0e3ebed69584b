"""The tables of a study's database, and the checks of a database that may not be trusted."""

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

SIDE_FILES = (f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
"""Files that SQLite puts beside the database while it writes."""

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
    # Starts and ends of all trials share one numbering: the order in which to replay them.
    sql.Column("started", sql.Integer, nullable=False),
    sql.Column("ended", sql.Integer),
)

MAX_DATABASE_BYTES = 4 << 30
"""Four times what a study of a million trials takes."""
MAX_TEXT_BYTES = 16 << 20
"""Largest text in a cell; candidates take kilobytes, notes on wide tables less than a megabyte."""
_STEPS_PER_CHECK = 20_000
"""Virtual machine steps of SQLite between two checks of `StepLimit`: about a millisecond."""
_BASE_STEPS = 20_000_000
"""Steps that any file may take: about a second. A row of a study takes 30, and has 300 bytes."""
_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")
"""The last bytes of a rollback journal that names a further file, which SQLite would delete."""

_MAX_STATEMENT_LENGTH = 10_000
"""Characters of the statement that made a table; netwright's own have 400."""
_SQLITE_TABLES = ("sqlite_sequence", "sqlite_stat1", "sqlite_stat4")
"""Tables that SQLite itself makes for ANALYZE and AUTOINCREMENT."""


def check_files(folder: Folder, *, for_writing: bool) -> None:
    """Check that SQLite can open the database without leaving the folder.

    Raises:
        RunError: it, or a file beside it, is a link, a pipe, a device or a folder; a journal names
            a further file; it is too large; or (`for_writing`) it is a hard link, so that another
            file would be changed too.
    """
    for name in (DATABASE, *SIDE_FILES):
        folder.check(name)
    if folder.size(DATABASE) > MAX_DATABASE_BYTES:
        rule = f"at most {MAX_DATABASE_BYTES:,} bytes"
        raise BrokenFile(expected(str(folder.path / DATABASE), rule, folder.size(DATABASE)))
    journal = f"{DATABASE}-journal"
    if folder.size(journal) and folder.ends_with(journal, _JOURNAL_END):
        rule = "a journal of this database alone"
        raise BrokenFile(expected(str(folder.path / journal), rule, Phrase("one of several")))
    if for_writing and folder.links(DATABASE) > 1:
        fix = "Copy the folder, and use the copy."
        got = Phrase("one that has a second name elsewhere (a hard link)")
        raise BrokenFile(expected(str(folder.path / DATABASE), "a file of its own", got, fix))


class StepLimit:
    """Progress handler that ends a transaction of more steps than a file of this size can need.

    Args:
        n_bytes: of the database and the files beside it.
    """

    def __init__(self, n_bytes: int) -> None:
        self._max_steps = _BASE_STEPS + 2 * n_bytes
        self._steps_left = self._max_steps

    def restart(self) -> None:
        """Start counting for another transaction."""
        self._steps_left = self._max_steps

    def __call__(self) -> int:
        """Return 1 to interrupt SQLite, else 0; called every `_STEPS_PER_CHECK` steps."""
        self._steps_left -= _STEPS_PER_CHECK
        return int(self._steps_left < 0)


def harden_connection(connection: sqlite3.Connection, limit: StepLimit) -> None:
    """Configure a new connection so that the file can neither run code nor run for ever."""
    connection.set_progress_handler(limit, _STEPS_PER_CHECK)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # noqa: FBT003  # sqlite3's
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)  # noqa: FBT003  # sqlite3's
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)  # noqa: FBT003  # sqlite3's
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.execute("PRAGMA mmap_size=0")


def check_schema_entries(connection: sql.Connection, what: str) -> None:
    """Raise BrokenFile if the file has a view, a trigger, an index or another table."""
    query = "SELECT type, name, tbl_name FROM sqlite_schema LIMIT 50"
    names: list[str] = []
    for kind, name, table in connection.exec_driver_sql(query):
        if kind == "table" and name in _SQLITE_TABLES:
            continue
        if kind != "table" or name not in TABLES.tables or table != name:
            raise _not_a_study(what, f"{kind} {name}")
        names.append(name)
    if sorted(names) != sorted(TABLES.tables):
        raise _not_a_study(what, f"table {', '.join(names)}")


def check_tables(connection: sql.Connection, what: str) -> None:
    """Raise BrokenFile if a table has other columns or constraints, or the file is damaged.

    Only SQLite's own quick check compares all pages; it takes about as long as reading them.
    """
    query = "SELECT name, sql FROM sqlite_schema LIMIT 50"
    for name, text in connection.exec_driver_sql(query):
        if name not in _SQLITE_TABLES and not _matches_table(TABLES.tables[name], text):
            raise _not_a_study(what, f"other columns in {name}")
    damage = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if damage != "ok":
        raise _not_a_study(what, f"damage ({damage})")


def _not_a_study(what: str, got: str) -> BrokenFile:
    return BrokenFile(
        expected(what, "a study of netwright", Phrase(printable(got)), new_run_hint())
    )


def _matches_table(table: sql.Table, text: object) -> bool:
    """Return whether a CREATE statement has the table's columns and types, and nothing else.

    It may have no expression, no default and no collation.
    """
    if not isinstance(text, str) or len(text) > _MAX_STATEMENT_LENGTH:
        return False
    tokens = re.findall(r"[A-Za-z_]+|[^\sA-Za-z_]", text.replace('"', ""))
    expected_tokens = ["CREATE", "TABLE", table.name, "("]
    for column in table.columns:
        not_null = [] if column.nullable else ["NOT", "NULL"]
        expected_tokens += [column.name, str(column.type), *not_null, ","]
    keys = [column.name for column in table.primary_key]
    if keys:
        return tokens == [*expected_tokens, "PRIMARY", "KEY", "(", *keys, ")", ")"]
    return tokens == [*expected_tokens[:-1], ")"]


def checked_rows(
    rows: Sequence[Mapping[str, Any]], table: sql.Table, what: str
) -> list[Mapping[str, Any]]:
    """Return the rows if their cells have the columns' types, which SQLite does not enforce.

    Raises:
        BrokenFile: a cell has another type, or is NULL where it must not be.
    """
    cell_types = {
        column.name: (float, int)
        if isinstance(column.type, sql.Float)
        else (column.type.python_type,)
        for column in table.columns
    }
    for row in rows:
        for column in table.columns:
            cell = row[column.name]
            if (cell is None and column.nullable) or isinstance(cell, cell_types[column.name]):
                continue
            rule = f"of type {column.type}"
            raise BrokenFile(expected(f"{table.name}.{column.name} in {what}", rule, cell))
    return list(rows)


def database_bytes(folder: Folder) -> int:
    """Return the bytes of the database and of the files that SQLite has beside it."""
    return sum(folder.size(name) for name in (DATABASE, *SIDE_FILES))
