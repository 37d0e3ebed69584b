"""Rows of a benchmark's CSV: frozen dataclasses of texts and numbers, added one at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a CSV whose columns are the fields of `kind`; none if it does not exist."""
    if not path.exists():
        return []
    types: dict[str, Any] = get_type_hints(kind)
    with path.open(newline="") as file:
        return [
            kind(**{field.name: types[field.name](row[field.name]) for field in fields(kind)})
            for row in csv.DictReader(file)
        ]


def append_row(path: Path, row: DataclassInstance) -> None:
    """Add a row, with a heading to a new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(row)])
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(row))


def append_runs(
    path: Path,
    run: Callable[..., DataclassInstance],
    arguments: Sequence[tuple[object, ...]],
    workers: int | None,
) -> None:
    """Add the row of ``run(*each)`` for each of `arguments` as it ends, in worker processes."""
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(run, *each) for each in arguments]
        for n, future in enumerate(as_completed(futures), 1):
            append_row(path, future.result())
            print(f"{n} of {len(futures)}", end="\r", flush=True)
