import sqlite3
from pathlib import Path

from netwright.study.store import FILE, Store


def test_a_file_that_was_left_before_the_first_transaction_is_no_study(tmp_path: Path) -> None:
    """Killed there, SQLite leaves a file with its settings and no table."""
    assert not Store.begun(tmp_path)
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert (tmp_path / FILE).exists()
    assert not Store.begun(tmp_path)
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("CREATE TABLE other (a)")
    connection.commit()
    connection.close()
    assert Store.begun(tmp_path)
