"""The study's only state: every trial, in one SQLite file with one writer.

A trial is recorded as started before it is executed, and as ended in one transaction. Nothing in
the file is pickled. Reports read it while the study writes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.pool import NullPool, Pool, StaticPool

from netwright.errors import BrokenFile, RunError, expected, wording
from netwright.files.folder import Folder
from netwright.files.run_layout import DATABASE
from netwright.study.storage import rows
from netwright.study.storage.deletion_watch import DeletionWatch
from netwright.study.storage.run_manifest import (
    RunManifest,
    new_run_hint,
    other_folder_hint,
    resume_hint,
)
from netwright.study.storage.schema import (
    STUDY,
    TABLES,
    TRIALS,
    StepLimit,
    check_files,
    check_schema_entries,
    check_tables,
    checked_rows,
    database_bytes,
    harden_connection,
)
from netwright.trials.trial import Trial

SCHEMA_VERSION = 4
"""Version of the tables in `schema`; a file of another version is refused."""
_UNFLUSHED_BYTES = 1 << 20
"""Bytes of text that rows may have beyond the file's size: pages that are still in memory."""

# compiled once: that takes longer than running them
_INSERT_TRIAL = sql.insert(TRIALS)
_UPDATE_TRIAL = sql.update(TRIALS).where(TRIALS.c.id == sql.bindparam("which"))
_UPDATE_SECONDS = sql.update(STUDY)


class Store:
    """The trials of a run folder; made by `open_writable` or `open_read_only`."""

    def __init__(self, folder: Path, engine: sql.Engine, *, is_writable: bool = False) -> None:
        self.folder = folder
        self._engine = engine
        self._is_writable = is_writable
        self._n_events = 0
        self._watch = DeletionWatch()

    @classmethod
    def open_writable(cls, folder: Path, manifest: RunManifest) -> Self:
        """Open or create the store; the caller holds the folder's lock.

        Raises:
            RunError: the file belongs to another study, or cannot be used.
        """
        check_files(Folder(folder), for_writing=True)
        store = cls(folder, _writing_engine(folder), is_writable=True)
        try:
            with store._begin() as connection:
                if not _count_schema_entries(connection):
                    _create_tables(connection, manifest)
            store._check_version()
            manifest.check_same_study(store.manifest, folder)
            store._n_events = store._count_events()
            store._watch.add(folder / DATABASE)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def has_study(cls, folder: Path) -> bool:
        """Return whether there is a database with tables, of a study or of something else.

        A run that is killed before its first transaction leaves a database without tables.
        """
        if not Folder(folder).has(DATABASE):
            return False
        check_files(Folder(folder), for_writing=False)
        store = cls(folder, _reading_engine(folder))
        try:
            return store._has_tables()
        finally:
            store.close()

    @classmethod
    def open_read_only(cls, folder: Path) -> Self:
        """Open the store for reading, also while a study writes.

        Raises:
            RunError: there is no study, or its file cannot be used.
        """
        if not Folder(folder).has(DATABASE):
            raise RunError(f"{folder} must be the folder of a run, got one without {DATABASE}.")
        check_files(Folder(folder), for_writing=False)
        store = cls(folder, _reading_engine(folder))
        try:
            store._check_version()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the file; a writer merges the write-ahead log into it, unless somebody reads it."""
        with contextlib.suppress(sql.exc.DBAPIError, sqlite3.Error):
            if self._is_writable:
                connection = self._engine.raw_connection()
                connection.execute("PRAGMA busy_timeout=0")
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.close()
        with contextlib.suppress(sql.exc.DBAPIError, sqlite3.Error):
            self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def manifest(self) -> RunManifest:
        """The study's settings when it was created."""
        with _with_new_run_hint():
            return RunManifest.from_json(self._study["identity"], str(self.folder / DATABASE))

    @property
    def created_at(self) -> str:
        """Time of creation in ISO format, UTC."""
        return str(self._study["created"])

    @property
    def seconds(self) -> float:
        """Wall time used by all runs of this folder, up to the last trial that started or ended."""
        return rows.check_used_seconds(self._study["seconds"], str(self.folder / DATABASE))

    def trials(self) -> list[Trial]:
        """Return all trials with their current status, sorted by id."""
        with _with_new_run_hint():
            return rows.trials_from_rows(self._rows(), str(self.folder / DATABASE))

    def events(self) -> list[Trial]:
        """Return every start (as RUNNING) and end, in the order in which they happened."""
        with _with_new_run_hint():
            return rows.events_from_rows(self._rows(), str(self.folder / DATABASE))

    def record_start(self, trial: Trial, seconds: float) -> None:
        """Record a trial that is about to be executed, and the seconds used by all runs."""
        row = rows.row_of(trial) | {"started": self._n_events + 1, "ended": None}
        self._change(_INSERT_TRIAL, row, seconds)

    def record_end(self, trial: Trial, seconds: float) -> None:
        """Record how a started trial ended, and the seconds used by all runs."""
        row = rows.row_of(trial) | {"ended": self._n_events + 1}
        self._change(_UPDATE_TRIAL, row | {"which": trial.id}, seconds)

    def record_seconds(self, seconds: float) -> None:
        """Record the wall time used by all runs of this folder."""
        with self._write() as connection:
            connection.execute(_UPDATE_SECONDS, {"seconds": seconds})

    def _change(self, statement: sql.Executable, row: Mapping[str, Any], seconds: float) -> None:
        with self._write() as connection:
            connection.execute(statement, row)
            connection.execute(_UPDATE_SECONDS, {"seconds": seconds})
        self._n_events += 1

    @contextlib.contextmanager
    def _write(self) -> Iterator[sql.Connection]:
        """One transaction that writes; RunError if the file or its write-ahead log was deleted."""
        with self._begin() as connection:
            yield connection
        self._watch.add(self.folder / f"{DATABASE}-wal")  # made by the first transaction
        self._watch.check()

    def _rows(self) -> list[rows.Row]:
        """Return all trials' rows; damaged pages can repeat rows, so the file's size limits them."""
        bytes_left = _UNFLUSHED_BYTES + 2 * database_bytes(Folder(self.folder))
        trial_rows: list[rows.Row] = []
        with self._begin() as connection:
            for row in connection.execute(sql.select(TRIALS).order_by(TRIALS.c.id)).mappings():
                trial_rows.append(dict(row))
                bytes_left -= sum(len(cell) for cell in row.values() if isinstance(cell, str))
                if bytes_left < 0 or len(trial_rows) > rows.MAX_TRIAL_ID:
                    raise _as_run_error(self.folder, None, "SQLITE_CORRUPT")
        return checked_rows(trial_rows, TRIALS, str(self.folder / DATABASE))

    @property
    def _study(self) -> rows.Row:
        """The single row of the table `study`."""
        with self._begin() as connection:
            study_rows = connection.execute(sql.select(STUDY).limit(2)).mappings().all()
        what = str(self.folder / DATABASE)
        if len(study_rows) != 1:
            raise BrokenFile(expected(what, "of one study", len(study_rows)))
        return checked_rows([dict(study_rows[0])], STUDY, what)[0]

    def _count_events(self) -> int:
        last_events = sql.func.max(TRIALS.c.started), sql.func.max(TRIALS.c.ended)
        with self._begin() as connection:
            row = connection.execute(sql.select(*last_events)).one()
            return max(event_number or 0 for event_number in row)

    def _has_tables(self) -> bool:
        with self._begin() as connection:
            return _count_schema_entries(connection) > 0

    def _check_version(self) -> None:
        if not self._has_tables():
            again = wording(python="Run it again.", shell="Run the same command again.")
            raise RunError(f"{self.folder} was stopped before it began. {again}")
        what = str(self.folder / DATABASE)
        with self._begin() as connection:
            check_schema_entries(connection, what)
        version = self._study["version"]
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{self.folder} was written by another version of netwright "
                f"(its store has version {version}, this one reads {SCHEMA_VERSION}). {new_run_hint()}"
            )
        with self._begin() as connection:
            check_tables(connection, what)

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sql.Connection]:
        """One transaction; errors of the file system and of SQLite become a RunError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sql.exc.DBAPIError as error:
            raise _as_run_error(self.folder, error.orig) from error
        except (UnicodeDecodeError, sql.exc.SQLAlchemyError) as error:
            raise _as_run_error(self.folder, error, "SQLITE_CORRUPT") from error
        except sqlite3.Error as error:  # while connecting
            raise _as_run_error(self.folder, error) from error


@contextlib.contextmanager
def _with_new_run_hint() -> Iterator[None]:
    """Append to a BrokenFile how to start a new run: a study with a damaged row cannot be used."""
    try:
        yield
    except BrokenFile as error:
        raise BrokenFile(f"{error} {new_run_hint()}") from error


def _count_schema_entries(connection: sql.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one())


def _create_tables(connection: sql.Connection, manifest: RunManifest) -> None:
    TABLES.create_all(connection)
    row = {"version": SCHEMA_VERSION, "created": datetime.now(UTC).isoformat()}
    row |= {"identity": manifest.json(), "seconds": 0.0}
    connection.execute(sql.insert(STUDY).values(row))


def _writing_engine(folder: Path) -> sql.Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(folder / DATABASE, timeout=30)

    engine = _engine(folder, connect, StaticPool, "BEGIN IMMEDIATE")

    @sql.event.listens_for(engine, "connect")
    def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers and the writer never wait
        # kill -9 loses nothing; a power cut may lose the last trials, but damages nothing
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _reading_engine(folder: Path) -> sql.Engine:
    def connect() -> sqlite3.Connection:
        uri = (folder.resolve() / DATABASE).as_uri()
        connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=30)
        try:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            if Folder(folder).has(f"{DATABASE}-wal"):
                raise  # some trials are only in the log
            # the folder is not writable, so nobody writes meanwhile
            connection = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
        return connection

    return _engine(folder, connect, NullPool, "BEGIN")


def _engine(
    folder: Path, connect: Callable[[], sqlite3.Connection], pool: type[Pool], begin: str
) -> sql.Engine:
    """Make an engine that begins transactions with `begin`: pysqlite itself begins them too late."""
    engine = sql.create_engine("sqlite://", creator=connect, poolclass=pool)
    limit = StepLimit(database_bytes(Folder(folder)))

    @sql.event.listens_for(engine, "connect")
    def _disable_autobegin(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        harden_connection(connection, limit)

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        limit.restart()
        connection.exec_driver_sql(begin)

    return engine


def _explain_sqlite_error(name: str) -> str:
    """Explain an SQLite error by its (extended) name, with a fix; empty if it is unknown."""
    busy = f"another program holds {DATABASE}. Close that program."
    damaged = f"{DATABASE} is damaged. {new_run_hint()}"
    read_only = f"it is not writable. Make it writable, or: {other_folder_hint()}"
    reasons = {
        "SQLITE_FULL": f"the disk is full. Free some space, then {resume_hint()}.",
        "SQLITE_IOERR": f"the disk cannot be written. Check it, then {resume_hint()}.",
        "SQLITE_NOTADB": f"{DATABASE} is not a database. {new_run_hint()}",
        "SQLITE_CORRUPT": damaged,
        "SQLITE_INTERRUPT": damaged,  # it took more steps than an undamaged file (`StepLimit`)
        "SQLITE_TOOBIG": damaged,
        "SQLITE_READONLY": read_only,
        "SQLITE_CANTOPEN": read_only,
        "SQLITE_BUSY": busy,
        "SQLITE_LOCKED": busy,
    }
    return next((text for key, text in reasons.items() if name.startswith(key)), "")


def _as_run_error(folder: Path, error: BaseException | None, name: str = "") -> RunError:
    """Return a RunError for an error of SQLite, or for the SQLite error called `name`."""
    reason = _explain_sqlite_error(name or getattr(error, "sqlite_errorname", ""))
    if "no such table" in str(error) or "no such column" in str(error):
        reason = f"{DATABASE} is not a study of netwright. {new_run_hint()}"
    return RunError(f"{folder} cannot be used: {reason or f'{error}.'} Finished trials are kept.")
