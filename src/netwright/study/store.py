"""The study's only state: every trial, in one SQLite file, by one writer.

A trial is recorded as started before it is executed, and as ended in one transaction. Nothing in
the file is pickled. Reports open it read-only while the study writes.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.pool import NullPool, Pool, StaticPool

from netwright.errors import RunError, wording
from netwright.space.candidate import Candidate
from netwright.study.durable import OpenFiles
from netwright.study.identity import Identity, goes_on, new_run, other_folder
from netwright.trials.trial import Metrics, Proposal, Status, Trial

VERSION = 1
"""Of the tables below; a file of another version is refused."""
FILE = "study.sqlite"
"""The store's name in a run folder."""

_TABLES = sql.MetaData()
_STUDY = sql.Table(
    "study",
    _TABLES,
    sql.Column("version", sql.Integer, nullable=False),
    sql.Column("created", sql.Text, nullable=False),
    sql.Column("identity", sql.Text, nullable=False),
    sql.Column("seconds", sql.Float, nullable=False),
)
_TRIALS = sql.Table(
    "trials",
    _TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("candidate", sql.Text, nullable=False),
    sql.Column("fidelity", sql.Float, nullable=False),
    sql.Column("origin", sql.Text, nullable=False),
    sql.Column("parents", sql.Text, nullable=False),
    sql.Column("note", sql.Text, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("metrics", sql.Text, nullable=False),
    sql.Column("seconds", sql.Float, nullable=False),
    sql.Column("error", sql.Text, nullable=False),
    # Starts and ends of all trials are numbered in one row: the order in which to replay them.
    sql.Column("started", sql.Integer, nullable=False),
    sql.Column("ended", sql.Integer),
)

# put together once: that takes longer than running them
_START = sql.insert(_TRIALS)
_END = sql.update(_TRIALS).where(_TRIALS.c.id == sql.bindparam("which"))
_SPEND = sql.update(_STUDY)


class Store:
    """The trials of a run folder; `Store.write` to add to them, `Store.read` to look at them."""

    def __init__(self, folder: Path, engine: sql.Engine, writes: bool = False) -> None:
        self.folder = folder
        self._engine = engine
        self._writes = writes
        self._events = 0
        self._files = OpenFiles()

    @classmethod
    def write(cls, folder: Path, identity: Identity) -> Self:
        """Opens or creates; RunError when the file belongs to another study or is unusable.

        The caller holds the folder's lock.
        """
        store = cls(folder, _writing_engine(folder / FILE), writes=True)
        try:
            with store._begin() as connection:
                if not sql.inspect(connection).get_table_names():
                    _create(connection, identity)
            store._check_version()
            identity.refuse_other(store.identity, folder)
            store._events = store._count_events()
            store._files.add(folder / FILE)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def begun(cls, folder: Path) -> bool:
        """Whether there is a study, or a file that is none of ours; not where a run was killed
        before its first transaction was whole, which leaves a file without any table."""
        if not (folder / FILE).exists():
            return False
        store = cls(folder, _reading_engine(folder / FILE))
        try:
            return store._has_tables()
        finally:
            store.close()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Opens read-only, also while a study writes; RunError when there is no study."""
        if not (folder / FILE).exists():
            raise RunError(f"{folder} must be the folder of a run, got one without {FILE}.")
        store = cls(folder, _reading_engine(folder / FILE))
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
    def identity(self) -> Identity:
        """What the study was when it was created."""
        return Identity.from_json(str(self._scalar(sql.select(_STUDY.c.identity))))

    @property
    def created(self) -> str:
        """When, in ISO format, UTC."""
        return str(self._scalar(sql.select(_STUDY.c.created)))

    @property
    def seconds(self) -> float:
        """Wall time used by all runs of this folder, up to the last trial that started or ended."""
        return float(self._scalar(sql.select(_STUDY.c.seconds)))

    def trials(self) -> list[Trial]:
        """All trials as they stand now, by id."""
        return [_trial(row) for row in self._rows()]

    def events(self) -> list[Trial]:
        """Every start (as RUNNING) and end, in the order in which they happened."""
        events: list[tuple[int, Trial]] = []
        for row in self._rows():
            events.append((row["started"], _started(row)))
            if row["ended"] is not None:
                events.append((row["ended"], _trial(row)))
        return [trial for _, trial in sorted(events, key=lambda event: event[0])]

    def start(self, trial: Trial, seconds: float) -> None:
        """Records a trial that is about to be executed."""
        row = _row(trial) | {"started": self._events + 1, "ended": None}
        self._change(_START, row, seconds)

    def end(self, trial: Trial, seconds: float) -> None:
        """Records how a started trial ended."""
        row = _row(trial) | {"ended": self._events + 1}
        self._change(_END, row | {"which": trial.id}, seconds)

    def spend(self, seconds: float) -> None:
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
        self._files.add(self.folder / f"{FILE}-wal")  # the first transaction has made it
        self._files.check()

    def _rows(self) -> list[Mapping[str, Any]]:
        with self._begin() as connection:
            rows = connection.execute(sql.select(_TRIALS).order_by(_TRIALS.c.id))
            return [dict(row) for row in rows.mappings()]

    def _scalar(self, statement: sql.Select[Any]) -> Any:
        with self._begin() as connection:
            return connection.execute(statement).scalar_one()

    def _count_events(self) -> int:
        last = sql.func.max(_TRIALS.c.started), sql.func.max(_TRIALS.c.ended)
        with self._begin() as connection:
            return max(number or 0 for number in connection.execute(sql.select(*last)).one())

    def _has_tables(self) -> bool:
        with self._begin() as connection:
            return bool(sql.inspect(connection).get_table_names())

    def _check_version(self) -> None:
        if not self._has_tables():
            again = wording(python="Run it again.", shell="Run its line again.")
            raise RunError(f"{self.folder} was stopped before it began. {again}")
        version = self._scalar(sql.select(_STUDY.c.version))
        if version != VERSION:
            raise RunError(
                f"{self.folder} was written by another version of netwright "
                f"(its store has version {version}, this one reads {VERSION}). {new_run()}"
            )

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sql.Connection]:
        """One transaction; what the file system or SQLite refuses becomes a RunError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sql.exc.DBAPIError as error:
            raise _sentence(self.folder, error.orig) from error
        except sqlite3.Error as error:  # while connecting
            raise _sentence(self.folder, error) from error


def _create(connection: sql.Connection, identity: Identity) -> None:
    _TABLES.create_all(connection)
    row = {"version": VERSION, "created": datetime.now(UTC).isoformat()}
    row |= {"identity": identity.json(), "seconds": 0.0}
    connection.execute(sql.insert(_STUDY).values(row))


def _writing_engine(file: Path) -> sql.Engine:
    engine = _engine(lambda: sqlite3.connect(file, timeout=30), StaticPool, "BEGIN IMMEDIATE")

    @sql.event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers never wait, nor are waited for
        connection.execute("PRAGMA synchronous=NORMAL")  # survives kill -9; power cuts: whole

    return engine


def _reading_engine(file: Path) -> sql.Engine:
    def connect() -> sqlite3.Connection:
        place = file.resolve().as_uri()
        connection = sqlite3.connect(f"{place}?mode=ro", uri=True, timeout=30)
        try:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            if file.with_name(f"{file.name}-wal").exists():
                raise  # there is more than the file itself holds
            # a folder that is not writable, so nobody writes meanwhile
            connection = sqlite3.connect(f"{place}?mode=ro&immutable=1", uri=True)
        return connection

    return _engine(connect, NullPool, "BEGIN")


def _engine(connect: Any, pool: type[Pool], begin: str) -> sql.Engine:
    """An engine whose transactions are ours: pysqlite's own would begin too late."""
    engine = sql.create_engine("sqlite://", creator=connect, poolclass=pool)

    @sql.event.listens_for(engine, "connect")
    def _manual(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _reason(name: str) -> str:
    """What SQLite's error of this (extended) name means, and what to do; empty where unknown."""
    busy = f"another program holds {FILE}. Close that program."
    read_only = f"it is not writable. Change that, or: {other_folder()}"
    reasons = {
        "SQLITE_FULL": f"the disk is full. Make room; {goes_on()}.",
        "SQLITE_IOERR": f"the disk cannot be written. Check it; {goes_on()}.",
        "SQLITE_NOTADB": f"{FILE} is not a database. {new_run()}",
        "SQLITE_CORRUPT": f"{FILE} is damaged. {new_run()}",
        "SQLITE_READONLY": read_only,
        "SQLITE_CANTOPEN": read_only,
        "SQLITE_BUSY": busy,
        "SQLITE_LOCKED": busy,
    }
    return next((text for key, text in reasons.items() if name.startswith(key)), "")


def _sentence(folder: Path, error: BaseException | None) -> RunError:
    """What went wrong, in words."""
    reason = _reason(getattr(error, "sqlite_errorname", ""))
    if "no such table" in str(error) or "no such column" in str(error):
        reason = f"{FILE} is not a study of netwright. {new_run()}"
    return RunError(f"{folder} cannot be used: {reason or f'{error}.'} Finished trials are kept.")


def _row(trial: Trial) -> dict[str, Any]:
    proposal = trial.proposal
    return {
        "id": trial.id,
        "candidate": proposal.candidate.json(),
        "fidelity": proposal.fidelity,
        "origin": proposal.origin,
        "parents": json.dumps(proposal.parents),
        "note": Candidate(proposal.note).json(),  # the same values as a candidate's
        "seed": trial.seed,
        "status": str(trial.status),
        "metrics": _metrics_json(trial.metrics),
        "seconds": trial.seconds,
        "error": trial.error.encode(errors="replace").decode(),  # half a character is no text
    }


def _started(row: Mapping[str, Any]) -> Trial:
    proposal = Proposal(
        Candidate.from_json(row["candidate"]),
        row["fidelity"],
        row["origin"],
        tuple(json.loads(row["parents"])),
        Candidate.from_json(row["note"]).values,
    )
    return Trial(row["id"], proposal, row["seed"])


def _trial(row: Mapping[str, Any]) -> Trial:
    trial = _started(row)
    metrics = {name: float(value) for name, value in json.loads(row["metrics"]).items()}
    return Trial(
        trial.id, trial.proposal, trial.seed, Status(row["status"]), metrics, row["seconds"],
        row["error"],
    )  # fmt: skip


def _metrics_json(metrics: Metrics) -> str:
    """JSON has no NaN or infinity: they are written as words, which `float` reads."""
    return json.dumps(
        {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
    )
