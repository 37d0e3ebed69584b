"""The study's only state: every trial, in one SQLite file, by one writer.

A trial is recorded as started before it is executed, and as ended in one transaction. Nothing in
the file is pickled. Reports open it read-only while the study writes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.pool import NullPool, Pool, StaticPool

from netwright.errors import BrokenFile, RunError, expected, wording
from netwright.files.folder import Folder
from netwright.files.run_layout import DATABASE
from netwright.study.storage import rows
from netwright.study.storage.deletion_watch import OpenFiles
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
    check_entries,
    check_files,
    check_tables,
    checked_rows,
    distrust,
    size_of,
)
from netwright.trials.trial import Trial

VERSION = 3
"""Of the tables below; a file of another version is refused."""
_FREE_BYTES = 1 << 20
"""Text that rows may hold beyond what is on the disk: pages that are still in memory."""

# put together once: that takes longer than running them
_START = sql.insert(TRIALS)
_END = sql.update(TRIALS).where(TRIALS.c.id == sql.bindparam("which"))
_SPEND = sql.update(STUDY)


class Store:
    """The trials of a run folder; `Store.write` to add to them, `Store.read` to look at them."""

    def __init__(self, folder: Path, engine: sql.Engine, writes: bool = False) -> None:
        self.folder = folder
        self._engine = engine
        self._writes = writes
        self._events = 0
        self._files = OpenFiles()

    @classmethod
    def open_writable(cls, folder: Path, identity: RunManifest) -> Self:
        """Opens or creates; RunError when the file belongs to another study or is unusable.

        The caller holds the folder's lock.
        """
        check_files(Folder(folder), writes=True)
        store = cls(folder, _writing_engine(folder), writes=True)
        try:
            with store._begin() as connection:
                if not _entries(connection):
                    _create(connection, identity)
            store._check_version()
            identity.check_same_study(store.manifest, folder)
            store._events = store._count_events()
            store._files.add(folder / DATABASE)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def has_study(cls, folder: Path) -> bool:
        """Whether there is a study, or a file that is none of ours; not where a run was killed
        before its first transaction was whole, which leaves a file without any table."""
        if not Folder(folder).has(DATABASE):
            return False
        check_files(Folder(folder), writes=False)
        store = cls(folder, _reading_engine(folder))
        try:
            return store._has_tables()
        finally:
            store.close()

    @classmethod
    def open_read_only(cls, folder: Path) -> Self:
        """Opens read-only, also while a study writes; RunError when there is no study."""
        if not Folder(folder).has(DATABASE):
            raise RunError(f"{folder} must be the folder of a run, got one without {DATABASE}.")
        check_files(Folder(folder), writes=False)
        store = cls(folder, _reading_engine(folder))
        try:
            store._check_version()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Gives the file back; a writer leaves one file, where nobody reads it just now."""
        with contextlib.suppress(sql.exc.DBAPIError, sqlite3.Error):
            if self._writes:
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
        """What the study was when it was created."""
        with _refusing():
            return RunManifest.from_json(self._study["identity"], str(self.folder / DATABASE))

    @property
    def created_at(self) -> str:
        """When, in ISO format, UTC."""
        return str(self._study["created"])

    @property
    def seconds(self) -> float:
        """Wall time used by all runs of this folder, up to the last trial that started or ended."""
        return rows.check_used(self._study["seconds"], str(self.folder / DATABASE))

    def trials(self) -> list[Trial]:
        """All trials as they stand now, by id."""
        with _refusing():
            return rows.trials_of(self._rows(), str(self.folder / DATABASE))

    def events(self) -> list[Trial]:
        """Every start (as RUNNING) and end, in the order in which they happened."""
        with _refusing():
            return rows.events_of(self._rows(), str(self.folder / DATABASE))

    def record_start(self, trial: Trial, seconds: float) -> None:
        """Records a trial that is about to be executed."""
        row = rows.row_of(trial) | {"started": self._events + 1, "ended": None}
        self._change(_START, row, seconds)

    def record_end(self, trial: Trial, seconds: float) -> None:
        """Records how a started trial ended."""
        row = rows.row_of(trial) | {"ended": self._events + 1}
        self._change(_END, row | {"which": trial.id}, seconds)

    def record_seconds(self, seconds: float) -> None:
        """Records the wall time used by all runs of this folder."""
        with self._changing() as connection:
            connection.execute(_SPEND, {"seconds": seconds})

    def _change(self, statement: sql.Executable, row: Mapping[str, Any], seconds: float) -> None:
        with self._changing() as connection:
            connection.execute(statement, row)
            connection.execute(_SPEND, {"seconds": seconds})
        self._events += 1

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sql.Connection]:
        """One transaction that writes; RunError where the file or its log has been deleted."""
        with self._begin() as connection:
            yield connection
        self._files.add(self.folder / f"{DATABASE}-wal")  # the first transaction has made it
        self._files.check()

    def _rows(self) -> list[Mapping[str, Any]]:
        """All trials' rows. No more text than the file holds: damaged pages can repeat rows."""
        left = _FREE_BYTES + 2 * size_of(Folder(self.folder))
        found: list[Mapping[str, Any]] = []
        with self._begin() as connection:
            for row in connection.execute(sql.select(TRIALS).order_by(TRIALS.c.id)).mappings():
                found.append(dict(row))
                left -= sum(len(cell) for cell in row.values() if isinstance(cell, str))
                if left < 0 or len(found) > rows.MAX_TRIAL_ID:
                    raise _sentence(self.folder, None, "SQLITE_CORRUPT")
        return checked_rows(found, TRIALS, str(self.folder / DATABASE))

    @property
    def _study(self) -> Mapping[str, Any]:
        """The one row about the study itself."""
        with self._begin() as connection:
            found = connection.execute(sql.select(STUDY).limit(2)).mappings().all()
        what = str(self.folder / DATABASE)
        if len(found) != 1:
            raise BrokenFile(expected(what, "of one study", len(found)))
        return checked_rows([dict(found[0])], STUDY, what)[0]

    def _count_events(self) -> int:
        last = sql.func.max(TRIALS.c.started), sql.func.max(TRIALS.c.ended)
        with self._begin() as connection:
            return max(number or 0 for number in connection.execute(sql.select(*last)).one())

    def _has_tables(self) -> bool:
        with self._begin() as connection:
            return _entries(connection) > 0

    def _check_version(self) -> None:
        if not self._has_tables():
            again = wording(python="Run it again.", shell="Run its line again.")
            raise RunError(f"{self.folder} was stopped before it began. {again}")
        what = str(self.folder / DATABASE)
        with self._begin() as connection:
            check_entries(connection, what)
        version = self._study["version"]
        if version != VERSION:
            raise RunError(
                f"{self.folder} was written by another version of netwright "
                f"(its store has version {version}, this one reads {VERSION}). {new_run_hint()}"
            )
        with self._begin() as connection:
            check_tables(connection, what)

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sql.Connection]:
        """One transaction; what the file system or SQLite refuses becomes a RunError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sql.exc.DBAPIError as error:
            raise _sentence(self.folder, error.orig) from error
        except (UnicodeDecodeError, sql.exc.SQLAlchemyError) as error:
            raise _sentence(self.folder, error, "SQLITE_CORRUPT") from error
        except sqlite3.Error as error:  # while connecting
            raise _sentence(self.folder, error) from error


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with a row is wrong with the study: how to leave it stands behind."""
    try:
        yield
    except BrokenFile as error:
        raise BrokenFile(f"{error} {new_run_hint()}") from error


def _entries(connection: sql.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one())


def _create(connection: sql.Connection, identity: RunManifest) -> None:
    TABLES.create_all(connection)
    row = {"version": VERSION, "created": datetime.now(UTC).isoformat()}
    row |= {"identity": identity.json(), "seconds": 0.0}
    connection.execute(sql.insert(STUDY).values(row))


def _writing_engine(folder: Path) -> sql.Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(folder / DATABASE, timeout=30)

    engine = _engine(folder, connect, StaticPool, "BEGIN IMMEDIATE")

    @sql.event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers never wait, nor are waited for
        connection.execute("PRAGMA synchronous=NORMAL")  # survives kill -9; power cuts: whole

    return engine


def _reading_engine(folder: Path) -> sql.Engine:
    def connect() -> sqlite3.Connection:
        place = (folder.resolve() / DATABASE).as_uri()
        connection = sqlite3.connect(f"{place}?mode=ro", uri=True, timeout=30)
        try:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            if Folder(folder).has(f"{DATABASE}-wal"):
                raise  # there is more than the file itself holds
            # a folder that is not writable, so nobody writes meanwhile
            connection = sqlite3.connect(f"{place}?mode=ro&immutable=1", uri=True)
        return connection

    return _engine(folder, connect, NullPool, "BEGIN")


def _engine(folder: Path, connect: Any, pool: type[Pool], begin: str) -> sql.Engine:
    """An engine whose transactions are ours: pysqlite's own would begin too late."""
    engine = sql.create_engine("sqlite://", creator=connect, poolclass=pool)
    limit = StepLimit(size_of(Folder(folder)))

    @sql.event.listens_for(engine, "connect")
    def _manual(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        distrust(connection, limit)

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        limit.restart()
        connection.exec_driver_sql(begin)

    return engine


def _reason(name: str) -> str:
    """What SQLite's error of this (extended) name means, and what to do; empty where unknown."""
    busy = f"another program holds {DATABASE}. Close that program."
    damaged = f"{DATABASE} is damaged. {new_run_hint()}"
    read_only = f"it is not writable. Change that, or: {other_folder_hint()}"
    reasons = {
        "SQLITE_FULL": f"the disk is full. Make room; {resume_hint()}.",
        "SQLITE_IOERR": f"the disk cannot be written. Check it; {resume_hint()}.",
        "SQLITE_NOTADB": f"{DATABASE} is not a database. {new_run_hint()}",
        "SQLITE_CORRUPT": damaged,
        "SQLITE_INTERRUPT": damaged,  # it took more steps than a whole file of its size
        "SQLITE_TOOBIG": damaged,
        "SQLITE_READONLY": read_only,
        "SQLITE_CANTOPEN": read_only,
        "SQLITE_BUSY": busy,
        "SQLITE_LOCKED": busy,
    }
    return next((text for key, text in reasons.items() if name.startswith(key)), "")


def _sentence(folder: Path, error: BaseException | None, name: str = "") -> RunError:
    """What went wrong, in words; `name`: of the error, where SQLite has raised none."""
    reason = _reason(name or getattr(error, "sqlite_errorname", ""))
    if "no such table" in str(error) or "no such column" in str(error):
        reason = f"{DATABASE} is not a study of netwright. {new_run_hint()}"
    return RunError(f"{folder} cannot be used: {reason or f'{error}.'} Finished trials are kept.")
