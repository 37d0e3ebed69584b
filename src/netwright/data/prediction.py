"""New rows for a trained model, and held-out rows to score it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from netwright.data.assemble import part_of
from netwright.data.builtin import builtin_names, load_builtin
from netwright.data.checks import existing
from netwright.data.columns import Column, columns_from_card
from netwright.data.images import (
    ENDINGS,
    common_size,
    image_files,
    read_array,
    read_files,
    resize_note,
    resized,
)
from netwright.data.missing import MISSING_MARKS, MissingMarks
from netwright.data.sources import label_source, open_pair, read_npz
from netwright.data.tables import read_frame, read_table
from netwright.data.targets import MEMORY, Target
from netwright.data.task import Features, Images, Part, Table, Task
from netwright.errors import InputError, expected

Schema: TypeAlias = Sequence[Column] | tuple[int, int, int]
"""The columns of a table, or height, width and channels of images."""


def read_rows(
    data: Any, schema: Schema | Features, marks: MissingMarks = MISSING_MARKS
) -> tuple[Features, tuple[str, ...]]:
    """Rows without targets, converted like those learnt from, and notes.

    `data`: what `task` takes, or images in any folder. Columns beyond the schema are ignored;
    without names, an array's columns count in their order. Cells of a CSV are read by the schema,
    whatever else the file holds; `marks` stand for missing ones. Images of another size are resized.
    Raises InputError when a column is missing or a value does not fit its column.
    """
    if isinstance(schema, Table):
        schema = schema.columns
    elif isinstance(schema, Images):
        schema = schema.shape
    columns = [column for column in schema if isinstance(column, Column)]
    if columns:
        return _table(data, columns, marks)
    height, width, channels = (side for side in schema if isinstance(side, int))
    return _images(data, (height, width, channels))


def schema_from(card: Mapping[str, Any]) -> Schema:
    """The schema that a delivered model's card states."""
    if "image" in card:
        image = card["image"]
        return (image["height"], image["width"], image["channels"])
    return columns_from_card(card)


def part(data: Any, task: Task, target: Any = None) -> Part:
    """Rows with their targets, to score a model of `task` with.

    `target`: the n targets, where `data` does not hold them under the task's own name for them.
    Raises InputError at a class that the task does not have.
    """
    images = isinstance(task.features, Images)
    columns = task.features.columns if isinstance(task.features, Table) else ()
    pair, notes = open_pair(data, target, task.target_name, images, columns)
    like = Target(task.kind, task.classes, task.target, task.train)
    named = target is None or isinstance(target, str)
    labels = label_source(data) if named and not images else MEMORY
    found = part_of(pair, task.target_name, like, task.features, labels)
    return Part(found.features, found.target, notes=notes + found.notes)


def _table(
    data: Any, columns: list[Column], marks: MissingMarks
) -> tuple[Table, tuple[str, ...]]:  # fmt: skip
    if isinstance(data, str) and data in builtin_names():
        return read_table(load_builtin(data).features, columns, marks), ()
    if isinstance(data, str | Path) and Path(data).suffix.lower() == ".npz":
        data = _npz_rows(existing(Path(data)))
    texts = [column.name for column in columns if not column.bare_numbers]
    numbers = [column.name for column in columns if column.bare_numbers]
    table = read_frame(data, texts, numbers)
    return read_table(table.frame, columns, marks), table.notes


def _images(data: Any, size: tuple[int, int, int]) -> tuple[Images, tuple[str, ...]]:
    if isinstance(data, str) and data in builtin_names():
        data = load_builtin(data).features
    if isinstance(data, str | Path):
        path = existing(Path(data), builtin_names())
        if path.is_dir() or path.suffix.lower() in ENDINGS:
            return _image_folder(path, size)
        pixels, notes = read_array(_npz_rows(path))
    else:
        pixels, notes = read_array(data)
    return Images(resized(pixels, size)), notes + resize_note(pixels.shape[1:], size)


def _image_folder(path: Path, size: tuple[int, int, int]) -> tuple[Images, tuple[str, ...]]:
    files = image_files(path)
    if not files:
        raise InputError(f"{path} must hold images ({', '.join(sorted(ENDINGS))}), got none.")
    have, _ = common_size(files)
    return Images(read_files(files, size)), resize_note((*have[:2], size[2]), size)


def _npz_rows(path: Path) -> Any:
    """The rows of an .npz file: x, else x_test."""
    if path.suffix.lower() != ".npz":
        raise InputError(
            expected("data", "a folder of images, an image or an .npz file", path.name)
        )
    arrays = read_npz(path)
    for name in ("x", "x_test"):
        if name in arrays:
            return arrays[name]
    raise InputError(f"{path.name} must hold the array x, got {', '.join(arrays) or 'none'}.")
