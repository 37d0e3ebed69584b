"""Hostile databases of run folders: other tables, wrong cells, damaged pages, foreign journals."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from hostile.case import FIT, Case, canary_of, replaced

Make = Callable[[Path, random.Random], None]

LEADERBOARD = ("leaderboard", "run")
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_DEEP = "[" * 900 + "]" * 900


def _database(place: Path) -> Path:
    return place / "run" / "study.sqlite"


def _sql(*statements: str) -> Make:
    """Runs statements on the database, as its owner could."""

    def make(place: Path, rng: random.Random) -> None:
        with closing(sqlite3.connect(_database(place), isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return make


def _cell(column: str, value: object, where: str = "id = 2") -> Make:
    """Puts a value into a cell of a trial."""

    def make(place: Path, rng: random.Random) -> None:
        with closing(sqlite3.connect(_database(place), isolation_level=None)) as connection:
            connection.execute(f"UPDATE trials SET {column} = ? WHERE {where}", (value,))

    return make


def _any_null(column: str) -> Make:
    """NULL where the schema forbids it: the schema is written anew."""

    def make(place: Path, rng: random.Random) -> None:
        with closing(sqlite3.connect(_database(place), isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema=ON")
            old = connection.execute("SELECT sql FROM sqlite_schema WHERE name='trials'")
            text = old.fetchone()[0]
            plain = text.replace(" NOT NULL", "")
            change = "UPDATE sqlite_schema SET sql = ? WHERE name = 'trials'"
            connection.execute(change, (plain,))
        with closing(sqlite3.connect(_database(place), isolation_level=None)) as connection:
            connection.execute(f"UPDATE trials SET {column} = NULL WHERE id = 2")
            connection.execute("PRAGMA writable_schema=ON")
            connection.execute(change, (text,))

    return make


def _schema(change: Callable[[str], str], table: str = "trials") -> Make:
    """Another statement in place of the one that made the table."""

    def make(place: Path, rng: random.Random) -> None:
        with closing(sqlite3.connect(_database(place), isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema=ON")
            query = "SELECT sql FROM sqlite_schema WHERE name = ?"
            text = connection.execute(query, (table,)).fetchone()[0]
            update = "UPDATE sqlite_schema SET sql = ? WHERE name = ?"
            connection.execute(update, (change(text), table))

    return make


def _identity(change: Callable[[dict[str, object]], object]) -> Make:
    """Another identity of the study."""

    def make(place: Path, rng: random.Random) -> None:
        with closing(sqlite3.connect(_database(place), isolation_level=None)) as connection:
            identity = json.loads(connection.execute("SELECT identity FROM study").fetchone()[0])
            connection.execute("UPDATE study SET identity = ?", (json.dumps(change(identity)),))

    return make


def _brief(**changes: object) -> Make:
    def change(identity: dict[str, object]) -> object:
        notes = identity["notes"]
        assert isinstance(notes, dict)
        notes["brief"] = json.dumps(json.loads(notes["brief"]) | changes)
        return identity

    return _identity(change)


def _without(name: str) -> Callable[[dict[str, object]], object]:
    return lambda identity: {key: value for key, value in identity.items() if key != name}


def _with(**changes: object) -> Callable[[dict[str, object]], object]:
    return lambda identity: identity | changes


def _flipped(place: Path, rng: random.Random) -> None:
    content = bytearray(_database(place).read_bytes())
    for _ in range(rng.choice((1, 4, 32))):
        content[rng.randrange(100, len(content))] = rng.randrange(256)
    _database(place).write_bytes(content)


def _head(place: Path, rng: random.Random) -> None:
    content = bytearray(_database(place).read_bytes())
    content[rng.randrange(16, 100)] = rng.randrange(256)
    _database(place).write_bytes(content)


def _cut(place: Path, rng: random.Random) -> None:
    content = _database(place).read_bytes()
    _database(place).write_bytes(content[: rng.randrange(1, len(content))])


def _zero_page(place: Path, rng: random.Random) -> None:
    content = bytearray(_database(place).read_bytes())
    page = rng.randrange(1, len(content) // 4096)
    content[4096 * page : 4096 * (page + 1)] = bytes(4096)
    _database(place).write_bytes(content)


def _looping_pages(place: Path, rng: random.Random) -> None:
    """The first page of the trials says that it leads to others, all of them itself."""
    with closing(sqlite3.connect(_database(place))) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'trials'"
        root = connection.execute(query).fetchone()[0]
    cells = 300
    page = bytearray(4096)
    page[0] = 5  # an inner page of a table
    start = 4096 - 6 * cells
    page[3:5], page[5:7] = cells.to_bytes(2, "big"), start.to_bytes(2, "big")
    page[8:12] = root.to_bytes(4, "big")
    for i in range(cells):
        at = start + 6 * i
        page[12 + 2 * i : 14 + 2 * i] = at.to_bytes(2, "big")
        page[at : at + 5] = root.to_bytes(4, "big") + bytes([i % 100])
    content = bytearray(_database(place).read_bytes())
    content[4096 * (root - 1) : 4096 * root] = page
    _database(place).write_bytes(content)


def _journal_of_another(place: Path, rng: random.Random) -> None:
    """A rollback journal that names a further one: SQLite deletes what it names."""
    name = os.fsencode(canary_of(place) / "precious")
    page = _database(place).read_bytes()[:4096]
    nonce = 7
    header = _JOURNAL_MAGIC + b"".join(
        number.to_bytes(4, "big")
        for number in (1, nonce, _database(place).stat().st_size // 4096, 512, 4096)
    )
    check = (nonce + sum(page[i] for i in range(4096 - 200, 0, -200))) % 2**32
    entry = (1).to_bytes(4, "big") + page + check.to_bytes(4, "big")
    end = (
        (2**30 // 4096 + 1).to_bytes(4, "big") + name + len(name).to_bytes(4, "big")
        + (sum(name) % 2**32).to_bytes(4, "big") + _JOURNAL_MAGIC
    )  # fmt: skip
    journal = place / "run" / "study.sqlite-journal"
    journal.write_bytes(header.ljust(512, b"\0") + entry + end)


def _beside(suffix: str, kind: str) -> Make:
    """Something else where SQLite keeps its log."""

    def make(place: Path, rng: random.Random) -> None:
        path = replaced(place / "run" / f"study.sqlite-{suffix}")
        if kind == "link":
            path.symlink_to(canary_of(place) / "precious")
        elif kind == "dangling":
            path.symlink_to(canary_of(place) / "new")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(rng.randbytes(5_000))

    return make


def _second_name(place: Path, rng: random.Random) -> None:
    """The database is a file outside as well."""
    (canary_of(place) / "study").hardlink_to(_database(place))


def _cells() -> Iterator[tuple[str, Make]]:
    """Cells of a trial that hold what no trial has."""
    wrong: dict[str, tuple[object, ...]] = {
        "candidate": ("", "[]", _DEEP, '{"family": "forest"}', '{"model": {"a": 1}}', b"\xff", 7),
        "fidelity": (0, -1, float("inf"), "all"),
        "parents": ("{}", "[true]", "[-1]", '["1"]', "[999999999999]", _DEEP),
        "note": ("[]", '{"rung": {}}', "null"),
        "seed": (-1, "seed"),
        "status": ("", "ended", "running", b"done"),
        "metrics": (
            "[]", "{}", '{"accuracy": "high"}', '{"accuracy": NaN}', '{"accuracy": [1]}',
            '{"accuracy": 1e999}', '{"accuracy": 0.5, "folds": 1e12}',
            '{"accuracy": 0.5, "folds": "nan"}', '{"accuracy": ' + "9" * 5_000 + "}",
        ),
        "seconds": (-1, float("inf"), "long"),
        "error": (b"\xff\xfe", "x" * 1_000_000, "\x1b]0;title\x07"),
        "origin": ("ensemble", "\ud800".encode("utf-8", "surrogatepass")),
        "started": (0, 1, -5, "first"),
        "ended": (None, 1, 10**15, "last"),
        "id": (0, -2, 2**62),
    }  # fmt: skip
    for column, values in wrong.items():
        for i, value in enumerate(values):
            yield f"{column} {i}", _cell(column, value)
        if column not in ("id", "ended"):
            yield f"{column} NULL", _any_null(column)


def _averages() -> Iterator[tuple[str, Make]]:
    """Averages of what there is not, and of themselves."""
    where = "origin = 'ensemble'"
    yield (
        "average: of itself",
        _sql(
            f"UPDATE trials SET parents = '[' || id || ']', "
            f"ensemble = '{{\"weights\": [[' || id || ', 1.0]],"
            f' "temperature": 1.0, "threshold": 0.5}}\' WHERE {where}'
        ),
    )
    for name, text in {
        "nothing": "{}",
        "no trials": '{"weights": [], "temperature": 1.0, "threshold": 0.5}',
        "texts": '{"weights": [[1, "all"]], "temperature": 1.0, "threshold": 0.5}',
        "unknown": '{"weights": [[77, 1.0]], "temperature": 1.0, "threshold": 0.5}',
        "cold": '{"weights": [[1, 1.0]], "temperature": 0, "threshold": 0.5}',
        "deep": _DEEP,
    }.items():
        yield f"average: {name}", _cell("ensemble", text, where)
    yield "average: no parents", _cell("parents", "[]", where)


def _identities() -> Iterator[tuple[str, Make]]:
    changes = {
        "a list": lambda identity: [],
        "no space": _without("space"),
        "no objectives": _with(objectives=[]),
        "odd objective": _with(objectives=[{"metric": 3, "direction": "up"}]),
        "unknown objective": _with(objectives=[{"metric": "joy", "direction": "max"}]),
        "limits": _with(limits=[{"metric": "latency", "at_most": "low"}]),
        "notes": _with(notes={"brief": 7}),
        "brief is a list": _with(notes={"brief": "[]"}),
        "more": _with(more=1),
        "seed": _with(seed="zero"),
    }
    for name, change in changes.items():
        yield f"identity: {name}", _identity(change)
    for name, brief in {
        "image": {"image": [0, -1, 1]}, "large image": {"image": [10**9, 10**9, 3]},
        "folds": {"folds": 10**9}, "rows": {"rows": -5}, "families": {"families": ["os.system"]},
        "kind": {"kind": "guess"}, "columns": {"columns": 1e999},
    }.items():  # fmt: skip
        yield f"brief: {name}", _brief(**brief)


def _statements() -> Iterator[tuple[str, Make]]:
    loop = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    yield (
        "view in place of the trials",
        _sql("ALTER TABLE trials RENAME TO others", f"CREATE VIEW trials AS {loop}"),
    )
    yield (
        "view in place of the study",
        _sql(
            "ALTER TABLE study RENAME TO others",
            f"CREATE VIEW study AS SELECT i AS version, '' AS created, '' AS identity, 0.0 AS seconds"
            f" FROM ({loop})",
        ),
    )
    yield "a further view", _sql(f"CREATE VIEW v AS {loop}")
    yield "trigger", _sql("CREATE TRIGGER t AFTER UPDATE ON study BEGIN DELETE FROM trials; END")
    yield (
        "endless trigger",
        _sql(f"CREATE TRIGGER t BEFORE INSERT ON trials BEGIN SELECT count(*) FROM ({loop}); END"),
    )
    yield "index on an expression", _sql("CREATE INDEX i ON trials (abs(seed))")
    yield "a further table", _sql("CREATE TABLE wine (name)")
    yield "virtual table", _sql("CREATE VIRTUAL TABLE f USING fts4(text)")
    yield "a further column", _sql("ALTER TABLE trials ADD COLUMN more TEXT")
    yield "generated column", _sql("ALTER TABLE trials ADD COLUMN more AS (hex(abs(seed)))")
    yield "no trials", _sql("DROP TABLE trials")
    yield "no study", _sql("DELETE FROM study")
    yield "two studies", _sql("INSERT INTO study SELECT * FROM study")
    yield "another version", _sql("UPDATE study SET version = 99")
    yield "version is a text", _sql("UPDATE study SET version = 'new'")
    yield "seconds of the study", _sql("UPDATE study SET seconds = -9e999")
    yield "check", _schema(lambda text: text[:-1].rstrip() + f", CHECK (({loop}) > 0))")
    yield "default", _schema(lambda text: text.replace("error TEXT", "error TEXT DEFAULT (1)"))
    yield "collation", _schema(lambda text: text.replace("status TEXT", "status TEXT COLLATE x"))
    yield "no statement", _schema(lambda text: "")
    yield "another statement", _schema(lambda text: "CREATE TABLE trials AS SELECT 1")
    yield "analysed", _sql("ANALYZE")
    yield "no tables", _sql("DROP TABLE trials", "DROP TABLE study")


def _files() -> Iterator[tuple[str, Make]]:
    for i in range(12):
        yield f"bytes changed {i}", _flipped
    for i in range(6):
        yield f"head changed {i}", _head
    for i in range(4):
        yield f"cut {i}", _cut
    for i in range(2):
        yield f"page of zeros {i}", _zero_page
    yield "pages in a loop", _looping_pages
    yield "journal of another", _journal_of_another
    for suffix in ("wal", "shm", "journal"):
        for kind in ("link", "dangling", "pipe", "folder", "noise"):
            yield f"{suffix}: {kind}", _beside(suffix, kind)
    yield "second name", _second_name


def _cases() -> Iterator[Case]:
    commands = (LEADERBOARD, FIT, ("show", "run"), ("export", "run", "--out", "new.onnx"))
    kinds = [*_statements(), *_identities(), *_averages(), *_cells(), *_files()]
    for i, (name, make) in enumerate(kinds):
        writes = name.startswith(("journal", "second", "wal", "shm", "pages", "view in", "check"))
        for command in (FIT, LEADERBOARD) if writes else (commands[i % len(commands)],):
            yield Case(f"{name}, {command[0]}", make, command)


CASES: tuple[Case, ...] = tuple(_cases())
