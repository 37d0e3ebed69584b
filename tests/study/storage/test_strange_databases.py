"""Databases that were changed by others: refused in one sentence, within bounds."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from netwright.errors import RunError
from netwright.files.run_layout import DATABASE
from netwright.space.candidate import Candidate
from netwright.study.storage.rows import check_objective_values
from netwright.study.storage.run_manifest import RunManifest
from netwright.study.storage.store import Store
from netwright.trials.objective import Objective
from netwright.trials.trial import Proposal, Status, Trial

IDENTITY = RunManifest("f1", 3, "random", (Objective("loss", "min"),))
LOOP = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with two trials that have ended."""
    with Store.open_writable(tmp_path, IDENTITY) as store:
        for number in (1, 2):
            proposal = Proposal(Candidate({"x": number}), note={"rung": 1}, parents=(1,))
            store.record_start(Trial(number, proposal, 7), 0)
            store.record_end(Trial(number, proposal, 7, Status.DONE, {"loss": 0.5}, 1.0), 1.0)
    return tmp_path


def change(run: Path, *statements: str, values: Sequence[object] = ()) -> None:
    with closing(sqlite3.connect(run / DATABASE, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement, values)


def read(run: Path) -> list[Trial]:
    with Store.open_read_only(run) as store:
        assert store.manifest.seed == 3
        assert store.seconds >= 0
        assert store.events()
        return store.trials()


def refused(run: Path, sentence: str) -> None:
    """By readers and by writers alike."""
    for open_store in (lambda: read(run), lambda: Store.open_writable(run, IDENTITY).events()):
        with pytest.raises(RunError, match=sentence) as caught:
            open_store()
        assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("statements", "got"),
    [
        (("ALTER TABLE trials RENAME TO t", f"CREATE VIEW trials AS {LOOP}"), "table t"),
        ((f"CREATE VIEW v AS {LOOP}",), "view v"),
        (("CREATE TRIGGER t AFTER UPDATE ON study BEGIN DELETE FROM trials; END",), "trigger t"),
        (("CREATE INDEX i ON trials (abs(seed))",), "index i"),
        (("CREATE VIRTUAL TABLE f USING fts4(x)",), "table f"),
        (("DROP TABLE trials",), "table study"),
        (("ALTER TABLE trials ADD COLUMN more TEXT",), "other columns in trials"),
        (("ALTER TABLE study ADD COLUMN more AS (hex(version))",), "other columns in study"),
    ],
)
def test_a_database_with_anything_else_is_refused(
    statements: tuple[str, ...], got: str, run: Path
) -> None:
    change(run, *statements)
    refused(run, f"must be a study of netwright, got {got}. Use another folder as run")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("error TEXT NOT NULL", "error TEXT NOT NULL DEFAULT (1)"),
        ("status TEXT NOT NULL", "status TEXT NOT NULL COLLATE NOCASE"),
        ("PRIMARY KEY (id)", "PRIMARY KEY (id), CHECK (abs(id) > 0)"),
        ("PRIMARY KEY (id)", "PRIMARY KEY (seed)"),
        ("BIGINT", "BLOB"),
    ],
)
def test_a_table_with_other_rules_is_refused(old: str, new: str, run: Path) -> None:
    with closing(sqlite3.connect(run / DATABASE, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?)", (old, new))
    refused(run, "must be a study of netwright, got other columns in trials")


def test_tables_of_sqlite_itself_are_accepted(run: Path) -> None:
    before = read(run)
    change(run, "ANALYZE")
    assert read(run) == before


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("candidate", "[]", "candidate of trial 2 .* must be a JSON object"),
        ("candidate", '{"x": {"y": 1}}', "x must be a text, a number, true"),
        ("candidate", '{"x": ' + "[" * 900 + "]" * 900 + "}", "must be a JSON object"),
        ("candidate", b"\xff", "trials.candidate .* must be of type TEXT"),
        ("fidelity", 0.0, r"fidelity of trial 2 .* must be in \(0, 1\], got 0"),
        ("fidelity", "all", "trials.fidelity .* must be of type FLOAT, got 'all'"),
        ("parents", '["1"]', "parents of trial 2 .* must be a list of trial ids"),
        ("parents", "[true]", "must be a list of trial ids"),
        ("parents", "[99999999999]", "must be a list of trial ids"),
        ("note", "3", "note of trial 2"),
        ("seed", -1, "seed of trial 2 .* must be at least 0"),
        ("status", "ended", "status of trial 2 .* must be one of running, done"),
        ("status", "running", "must be started before it ended"),
        ("metrics", '{"loss": "low"}', "metrics of trial 2 .* must be an object of numbers"),
        ("metrics", '{"loss": [1]}', "must be an object of numbers"),
        ("metrics", '{"loss": ' + "9" * 5000 + "}", "must be JSON"),
        ("seconds", float("inf"), "seconds of trial 2 .* must be at least 0, got inf"),
        ("started", 0, "start and end of trial 2 .* must be numbered from 1"),
        ("ended", 2**62, "must be numbered from 1 to 20,000,000"),
        ("started", 1, "the number of an event .* must be used once, got 1"),
        ("ended", None, "must be started before it ended"),
        ("ended", 2, "must be started before it ended|must be used once"),
        ("id", 0, "must be from 1 to 10,000,000, got 0"),
        ("id", 2**40, "must be from 1 to 10,000,000"),
    ],
)
def test_unknown_cell_is_infeasible(column: str, value: object, sentence: str, run: Path) -> None:
    change(run, f"UPDATE trials SET {column} = ? WHERE id = 2", values=[value])
    refused(run, sentence)


ALONE = '{"weights": [[%d, 1.0]], "temperature": 1.0, "threshold": 0.5}'


@pytest.mark.parametrize(
    ("origin", "parents", "ensemble", "sentence"),
    [
        ("ensemble", "[1]", None, "ensemble of trial 2 .* must be given for the origin ensemble"),
        ("random", "[1]", ALONE % 1, "and for no other, got 'random'"),
        ("ensemble", "[77]", ALONE % 77, r"parents of trial 2 .* must be finished before it"),
        ("ensemble", "[2]", ALONE % 2, "must be finished before it"),
        ("ensemble", "[]", ALONE % 1, "members of trial 2 .* must be its parents"),
        ("ensemble", "[1]", "[]", "ensemble of trial 2 .* must be"),
        ("ensemble", "[1]", '{"weights": [[1, "all"]]}', "must be a number, got 'all'"),
        ("ensemble", "[1]", '{"weights": []}', "must be of 1 to 1,000 different trials"),
        ("ensemble", "[1]", '{"weights": [[1, 1.0]], "temperature": 0}', "must be above 0"),
        ("ensemble", "[1]", '{"weights": [[1, 1.0]], "n_members": -1}', "n_members"),
        ("ensemble", "[1]", '{"weights": [[1, 1e999]]}', "weights of an ensemble must be finite"),
    ],
)  # fmt: skip
def test_ensemble_of_unfinished_trials_is_refused(
    origin: str, parents: str, ensemble: str | None, sentence: str, run: Path
) -> None:
    statement = "UPDATE trials SET origin = ?, parents = ?, ensemble = ? WHERE id = 2"
    change(run, statement, values=[origin, parents, ensemble])
    refused(run, sentence)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DELETE FROM study", "must be of one study, got 0"),
        ("INSERT INTO study SELECT * FROM study", "must be of one study, got 2"),
        ("UPDATE study SET version = 'new'", "study.version .* must be of type INTEGER"),
        ("UPDATE study SET version = 99", "was written by another version"),
        ("UPDATE study SET seconds = -9e999", "must be at least 0, got -inf"),
        ("UPDATE study SET identity = '[]'", "must be an object with space, seed"),
        ("UPDATE study SET identity = replace(identity, '\"min\"', '7')", "direction must be 'min' or"),
        ("UPDATE study SET identity = replace(identity, 'seed', 'need')", "need must be one of space"),
    ],
)  # fmt: skip
def test_manifest_without_objectives_is_refused(statement: str, sentence: str, run: Path) -> None:
    change(run, statement)
    with pytest.raises(RunError, match=sentence):
        read(run)


@pytest.mark.parametrize(
    "name", [DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal"]
)
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_no_file_of_the_database_leads_outside(name: str, kind: str, run: Path) -> None:
    outside = run / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    (run / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(run / name)
    elif kind == "folder":
        (run / name).mkdir()
    else:
        (run / name).symlink_to(outside / ("precious" if kind == "link" else "new"))
    refused(run, f"{name} must be a file, got a (link|pipe|folder)")
    with pytest.raises(RunError, match="must be a file"):
        Store.has_study(run)
    assert [path.read_text() for path in outside.iterdir()] == ["kept"]


def test_a_journal_that_names_another_file_is_refused(run: Path) -> None:
    """SQLite would delete what such a journal names."""
    magic = bytes.fromhex("d9d505f920a163d7")
    (run / f"{DATABASE}-journal").write_bytes(magic + bytes(600) + b"/precious" + magic)
    refused(run, "must be a journal of this database alone, got one of several")


def test_a_database_with_a_second_name_is_not_written(run: Path, tmp_path: Path) -> None:
    os.link(run / DATABASE, tmp_path / "second")
    assert len(read(run)) == 2
    with pytest.raises(RunError, match="must be a file of its own, got one that has a second name"):
        Store.open_writable(run, IDENTITY)


def test_cyclic_pages_do_not_run_for_ever(run: Path) -> None:
    with closing(sqlite3.connect(run / DATABASE)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'trials'"
        (root,) = connection.execute(query).fetchone()
    page, cells = bytearray(4096), 300
    page[0], page[3:5] = 5, cells.to_bytes(2, "big")  # an inner page of a table
    page[8:12] = root.to_bytes(4, "big")
    for i in range(cells):
        at = 4096 - 6 * cells + 6 * i
        page[12 + 2 * i : 14 + 2 * i] = at.to_bytes(2, "big")
        page[at : at + 5] = root.to_bytes(4, "big") + bytes([i % 100])
    content = bytearray((run / DATABASE).read_bytes())
    content[4096 * (root - 1) : 4096 * root] = page
    (run / DATABASE).write_bytes(content)
    refused(run, r"must be a study of netwright, got damage|is damaged")


def test_a_transaction_has_a_limit_on_its_steps(run: Path) -> None:
    with (
        Store.open_read_only(run) as store,
        pytest.raises(RunError, match=r"study\.sqlite is damaged"),
        store._begin() as connection,
    ):
        connection.exec_driver_sql(f"SELECT count(*) FROM ({LOOP})")


def test_a_long_study_is_not_ended_by_the_limit_on_steps(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netwright.study.storage.schema._BASE_STEPS", 60_000)
    with Store.open_writable(run, IDENTITY) as store:
        for number in range(3, 2_000):
            store.record_start(Trial(number, Proposal(Candidate({"x": number})), 7), 0)
        assert len(store.trials()) == 1_999


def test_a_finished_trial_has_its_objectives() -> None:
    trial = Trial(3, Proposal(Candidate({})), 7, Status.DONE, {"loss": float("nan")})
    running = Trial(4, Proposal(Candidate({})), 7)
    check_objective_values([running], IDENTITY.objectives, "run")
    with pytest.raises(RunError, match="loss of trial 3 in run must be a finite number, got nan"):
        check_objective_values([running, trial], IDENTITY.objectives, "run")
