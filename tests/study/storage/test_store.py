import json
import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.errors import RunError
from netwright.files.run_layout import DATABASE
from netwright.space.candidate import Candidate
from netwright.study.storage.lock import FolderLock
from netwright.study.storage.run_manifest import RunManifest
from netwright.study.storage.store import Store
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Proposal, Status, Trial

IDENTITY = RunManifest(
    "f1", 3, "random", (Objective("loss", "min"),), (Limit("size", at_most=9.5),), {"data": "a.csv"}
)


def ended(number: int, **metrics: float) -> Trial:
    note = {"rung": 2, "bracket": ("a", ("b", 1.5)), "left": None}
    candidate = Candidate({"a.b": (1, "two", None, True, 0.1), "c": 1e-300})
    proposal = Proposal(candidate, 0.25, "mutation", (1, 2), note)
    return Trial(number, proposal, 2**32 - 1, Status.DONE, metrics, 1.25, "")


def started(number: int) -> Trial:
    whole = ended(number)
    return Trial(number, whole.proposal, whole.seed)


def test_stored_trial_is_read_back_unchanged(tmp_path: Path) -> None:
    trial = ended(1, loss=0.1 + 0.2, worst=math.inf, least=-math.inf)
    with Store.open_writable(tmp_path, IDENTITY) as store:
        store.record_start(started(1), 0.5)
        store.record_end(trial, 2.5)
        store.record_start(started(2), 3.5)
    with Store.open_writable(tmp_path, IDENTITY) as store:
        assert store.trials() == [trial, started(2)]
        assert store.seconds == 3.5
        store.record_end(ended(2, loss=math.nan), 4.0)
        assert math.isnan(store.trials()[1].metrics["loss"])
        assert store.events()[-1].id == 2


@given(st.floats())
@settings(max_examples=200, deadline=None)
def test_every_float_survives(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    from netwright.study.storage.rows import metrics_json

    found = float(json.loads(metrics_json({"m": value}))["m"])
    assert found == value or (math.isnan(found) and math.isnan(value))
    assert "NaN" not in metrics_json({"m": value})
    assert "Infinity" not in metrics_json({"m": value})


def test_events_come_in_the_order_in_which_they_happened(tmp_path: Path) -> None:
    with Store.open_writable(tmp_path, IDENTITY) as store:
        store.record_start(started(1), 0)
        store.record_start(started(2), 0)
        store.record_end(ended(2), 0)
    with Store.open_writable(tmp_path, IDENTITY) as store:  # the numbering goes on
        store.record_start(started(3), 0)
        store.record_end(ended(1), 0)
        order = [(trial.id, trial.status.value) for trial in store.events()]
    begin, done = "running", "done"
    assert order == [(1, begin), (2, begin), (2, done), (3, begin), (1, done)]


def test_store_is_readable_while_written_but_readers_cannot_write(tmp_path: Path) -> None:
    with Store.open_writable(tmp_path, IDENTITY) as writer:
        writer.record_start(started(1), 0)
        with Store.open_read_only(tmp_path) as reader:
            assert reader.trials() == [started(1)]
            writer.record_end(ended(1), 0)
            assert reader.trials() == [ended(1)]
            assert reader.manifest == IDENTITY
            with pytest.raises(RunError, match="not writable"):
                reader.record_start(started(2), 0)
    with Store.open_read_only(tmp_path) as reader:  # nobody writes
        assert reader.trials() == [ended(1)]
        assert reader.created_at.endswith("+00:00")


def test_manifest_survives_json() -> None:
    assert RunManifest.from_json(IDENTITY.json()) == IDENTITY
    json.loads(IDENTITY.json(), parse_constant=lambda name: pytest.fail(name))


def test_another_version_is_refused(tmp_path: Path) -> None:
    Store.open_writable(tmp_path, IDENTITY).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("UPDATE study SET version = 99")
    connection.close()
    for open_store in (
        lambda: Store.open_writable(tmp_path, IDENTITY),
        lambda: Store.open_read_only(tmp_path),
    ):
        with pytest.raises(RunError, match="its store has version 99, this one reads 4"):
            open_store()


def test_foreign_files_are_refused_and_unchanged(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the folder of a run, got one without study.sqlite"):
        Store.open_read_only(tmp_path)
    (tmp_path / DATABASE).write_text("not a database, and long enough to have a header" * 9)
    for open_store in (
        lambda: Store.open_writable(tmp_path, IDENTITY),
        lambda: Store.open_read_only(tmp_path),
    ):
        with pytest.raises(
            RunError, match=r"study.sqlite is not a database. Use another folder as run"
        ):
            open_store()
    (tmp_path / DATABASE).unlink()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("CREATE TABLE wine (name)")
    connection.close()
    with pytest.raises(RunError, match="must be a study of netwright, got table wine"):
        Store.open_writable(tmp_path, IDENTITY)
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("wine",)]
    connection.close()


def test_full_disk_raises_run_error_and_loses_nothing(tmp_path: Path) -> None:
    with Store.open_writable(tmp_path, IDENTITY) as store:
        store.record_start(started(1), 0)
        store.record_end(ended(1), 0)
        with store._begin() as connection:  # SQLite says the same as on a full disk
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(
            RunError, match=r"the disk is full. Free some space, then .* trials are kept"
        ):
            fill(store)
        kept = store.trials()
    with Store.open_read_only(tmp_path) as reader:
        assert reader.trials() == kept
    assert kept[0] == ended(1)
    assert len(kept) < 1999


def fill(store: Store) -> None:
    for number in range(2, 2000):
        store.record_start(started(number), 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_cannot_be_written_can_still_be_read(tmp_path: Path) -> None:
    with Store.open_writable(tmp_path, IDENTITY) as store:
        store.record_start(started(1), 0)
    tmp_path.chmod(0o500)
    try:
        with Store.open_read_only(tmp_path) as reader:
            assert reader.trials() == [started(1)]
        with pytest.raises(RunError, match="not writable"):
            Store.open_writable(tmp_path, IDENTITY)
    finally:
        tmp_path.chmod(0o700)


def test_a_second_writer_is_refused_until_the_first_one_dies(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from netwright.study.storage.lock import FolderLock\n"
        "FolderLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="in use by another study that is running"):
            FolderLock(tmp_path)
        other.kill()
    FolderLock(tmp_path).close()


def test_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with (
        FolderLock(tmp_path / "new" / "run"),
        pytest.raises(RunError, match="in use by another study"),
    ):
        FolderLock(tmp_path / "new" / "run")


def test_a_run_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file cannot be used: .*Use another folder as run"):
        FolderLock(tmp_path / "file")


def test_closed_store_is_one_file_even_after_reading(tmp_path: Path) -> None:
    with Store.open_writable(tmp_path, IDENTITY) as store:
        store.record_start(started(1), 1.0)
        assert len([*tmp_path.iterdir()]) == 3  # beside it, the log ahead of it
    with Store.open_read_only(tmp_path) as store:
        assert len(store.trials()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]


def test_database_without_tables_is_no_study(tmp_path: Path) -> None:
    """Killed there, SQLite leaves a file with its settings and no table."""
    assert not Store.has_study(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert (tmp_path / DATABASE).exists()
    assert not Store.has_study(tmp_path)
    with pytest.raises(RunError, match=r"was stopped before it began\. Run it again"):
        Store.open_read_only(tmp_path)
    Store.open_writable(tmp_path, IDENTITY).close()
    assert Store.has_study(tmp_path)


def test_foreign_file_is_no_unfinished_database(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("CREATE TABLE other (a)")
    connection.commit()
    connection.close()
    assert Store.has_study(tmp_path)
