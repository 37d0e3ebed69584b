"""Data that is neither a table nor an image folder, or comes from another program."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import zipfile
from pathlib import Path

from foreign.case import RNG, Case, Make, lines, write


def _table(rng: RNG) -> str:
    return "\n".join(lines(rng)) + "\n"


def _json(end: str, name: str) -> Make:
    def make(folder: Path, rng: RNG) -> Path:
        head, *rows = (line.split(",") for line in lines(rng))
        records = [dict(zip(head, row, strict=True)) for row in rows]
        text = "\n".join(map(json.dumps, records)) if end == "\n" else json.dumps(records)
        return write(folder, name, text)

    return make


def _packed(name: str, member: str) -> Make:
    def make(folder: Path, rng: RNG) -> Path:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(member, _table(rng))
        return folder / name

    return make


def _feather(folder: Path, rng: RNG) -> Path:
    import pandas as pd

    pd.DataFrame({"x": rng.normal(size=60), "y": list("pn") * 30}).to_feather(
        folder / "rows.feather"
    )
    return folder / "rows.feather"


def _pickle(folder: Path, rng: RNG) -> Path:
    return write(folder, "rows.pkl", pickle.dumps({"x": [1, 2], "y": [0, 1]}))


def _database(folder: Path, rng: RNG) -> Path:
    with sqlite3.connect(folder / "rows.db") as connection:
        connection.execute("create table rows (x real, y text)")
    return folder / "rows.db"


def _glob(folder: Path, rng: RNG) -> str:
    for number in range(3):
        write(folder, f"part-{number}.csv", _table(rng))
    return str(folder / "part-*.csv")


def _pipe(folder: Path, rng: RNG) -> Path:
    os.mkfifo(folder / "rows.csv")
    return folder / "rows.csv"


def _forbidden(folder: Path, rng: RNG) -> Path:
    path = write(folder, "rows.csv", _table(rng))
    path.chmod(0)
    return path


def _link(target: str) -> Make:
    """A file of a good name that leads to this one."""

    def make(folder: Path, rng: RNG) -> Path:
        (folder / "rows.csv").symlink_to(target)
        return folder / "rows.csv"

    return make


def _parts(folder: Path, rng: RNG) -> Path:
    place = folder / "rows.parquet"
    place.mkdir()
    write(place, "part-0.parquet", b"PAR1")
    return place


def _folder_of_tables(folder: Path, rng: RNG) -> Path:
    write(folder, "rows.csv", _table(rng))
    return folder


def _named(name: str) -> Make:
    return lambda folder, rng: write(folder, name, _table(rng))


CASES: tuple[Case, ...] = (
    Case("other", ".xlsx", _packed("rows.xlsx", "xl/workbook.xml"), "refused"),
    Case("other", ".xlsx that calls itself .csv", _packed("rows.csv", "xl/workbook.xml"), "refused"),
    Case("other", ".zip", _packed("rows.zip", "rows.csv"), "refused"),
    Case("other", ".json", _json("", "rows.json"), "refused"),
    Case("other", ".jsonl", _json("\n", "rows.jsonl"), "refused"),
    Case("other", ".json that calls itself .csv", _json("", "rows.csv"), "refused"),
    Case("other", ".feather", _feather, "refused"),
    Case("other", ".pkl", _pickle, "refused"),
    Case("other", "a database", _database, "refused"),
    Case("other", "a pattern of files", _glob, "refused", named="part-*.csv"),
    Case("other", "a folder of parquet parts", _parts, "refused"),
    Case("other", "a folder of tables", _folder_of_tables, "refused", named="rows.csv"),
    Case("other", "a folder called data.csv",
         lambda folder, rng: (folder / "data.csv").mkdir() or folder / "data.csv", "refused"),
    Case("other", "a pipe", _pipe, "refused"),
    Case("other", "/dev/zero", lambda folder, rng: "/dev/zero", "refused", named="zero"),
    Case("other", "/dev/null", lambda folder, rng: "/dev/null", "refused", named="null"),
    Case("other", "a link to /dev/zero", _link("/dev/zero"), "refused"),
    Case("other", "a link to itself", _link("rows.csv"), "refused"),
    Case("other", "no permission", _forbidden),
    Case("other", "nothing there", lambda folder, rng: folder / "rows.csv", "refused"),
    Case("other", "an address", lambda folder, rng: "https://example.org/rows.csv", "refused",
         named="rows.csv"),
    Case("other", "an ending in capitals", _named("ROWS.CSV"), "read", "60 rows"),
    Case("other", "escapes in its name", _named("ro\x1b[2Jws.csv"), "read", "60 rows"),
    Case("other", "a line break in its name", _named("ro\nws.csv"), "read", "60 rows"),
    Case("other", "no ending", _named("rows")),
    Case("other", "a pipe, by task", _pipe, "refused", door="task"),
    Case("other", "/dev/zero to predict", lambda folder, rng: "/dev/zero", "refused",
         named="zero", door="predict"),
    Case("other", ".xlsx to predict", _packed("rows.xlsx", "xl/workbook.xml"), "refused",
         door="predict"),
)  # fmt: skip
