"""New rows for a trained model, and held-out rows to score it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from netwright.data.builtin_datasets import builtin_names, load_builtin
from netwright.data.checks import existing, listed, naming
from netwright.data.columns import Column, columns_from_card
from netwright.data.image_files import describe
from netwright.data.image_folders import image_files
from netwright.data.images import follow_array, follow_images, single_file
from netwright.data.make_task import part_of
from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues
from netwright.data.npz_files import npz_names, read_npz
from netwright.data.pixels import ImageSchema
from netwright.data.sources import label_source, open_pair
from netwright.data.tables import read_frame, read_table
from netwright.data.targets import MEMORY, Target
from netwright.data.task import Features, Images, Table, Task, TestSet
from netwright.errors import InputError, expected

Schema: TypeAlias = Sequence[Column] | ImageSchema
"""The columns of a table, or what a model of images takes."""


def read_rows(
    data: Any, schema: Schema | Features, na_values: NaValues = DEFAULT_NA_VALUES
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
        schema = schema.schema
    with naming(data):
        if isinstance(schema, ImageSchema):
            return _images(data, schema)
        return _table(data, list(schema), na_values)


def schema_from_card(card: Mapping[str, Any]) -> Schema:
    """The schema that a delivered model's card states."""
    if "image" in card:
        return ImageSchema.from_card(card["image"])
    return columns_from_card(card)


def read_test_set(data: Any, task: Task, target: Any = None) -> TestSet:
    """Rows with their targets, to score a model of `task` with.

    `target`: the n targets, where `data` does not hold them under the task's own name for them.
    Raises InputError at a class that the task does not have.
    """
    images = isinstance(task.features, Images)
    with naming(data):
        pair, notes = open_pair(data, target, task.target_name, task.features)
    like = Target(
        task.kind, task.classes, task.target, task.train, number_format=task.number_format
    )
    named = target is None or isinstance(target, str)
    labels = label_source(data) if named and not images else MEMORY
    with naming(data):
        held_out = part_of(pair, task.target_name, like, task.features, labels)
    return TestSet(held_out.features, held_out.target, notes=notes + held_out.notes)


def _table(
    data: Any, columns: list[Column], marks: NaValues
) -> tuple[Table, tuple[str, ...]]:  # fmt: skip
    if isinstance(data, str) and data in builtin_names():
        return read_table(load_builtin(data).features, columns, marks), ()
    if isinstance(data, str | Path) and Path(data).suffix.lower() == ".npz":
        values, unused = _npz_rows(existing(Path(data)))
        table = read_frame(values)
        return read_table(table.frame, columns, marks), table.notes + unused
    texts = [column.name for column in columns if not column.bare_numbers]
    numbers = [column.name for column in columns if column.bare_numbers]
    table = read_frame(data, texts, numbers)
    return read_table(table.frame, columns, marks), table.notes


def _images(data: Any, schema: ImageSchema) -> tuple[Images, tuple[str, ...]]:
    if isinstance(data, str) and data in builtin_names():
        data = load_builtin(data).features
    if not isinstance(data, str | Path):
        return follow_array(data, schema)
    path = existing(Path(data), builtin_names())
    if path.is_dir():
        files, left_out = image_files(path)
        if not files:
            got = f"none. {' '.join(left_out)}".rstrip()
            raise InputError(f"{path} must hold images, got {got}")
        rows, notes = follow_images(files, schema)
        return rows, left_out + notes
    if single_file(path):
        return follow_images([describe(path)], schema)
    values, unused = _npz_rows(path)
    rows, notes = follow_array(values, schema)
    return rows, unused + notes


def _npz_rows(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The rows of an .npz file, x, else x_test; and a note of what is not used."""
    if path.suffix.lower() != ".npz":
        raise InputError(
            expected("data", "a folder of images, an image or an .npz file", path.name)
        )
    names = npz_names(path)
    for name in ("x", "x_test"):
        if name in names:
            arrays, notes = read_npz(path, {name}, {name.replace("x", "y")})
            return arrays[name], notes
    raise InputError(f"{path.name} must hold the array x, got {listed(names) or 'none'}.")
