"""Read new rows for a trained model, and test sets to score it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from netwright.data.builtin_datasets import builtin_names, load_builtin
from netwright.data.checks import check_exists, file_name_in_errors, join_names
from netwright.data.columns import Column, columns_from_card
from netwright.data.image_files import read_image_header
from netwright.data.image_folders import list_images
from netwright.data.images import is_image_file, read_image_array_like, read_images_like
from netwright.data.make_task import convert_test_set
from netwright.data.na_values import DEFAULT_NA_VALUES, NaValues
from netwright.data.npz_files import npz_array_names, read_npz
from netwright.data.pixels import ImageSchema
from netwright.data.sources import infer_label_source, read_labelled_rows
from netwright.data.tables import convert_frame, load_frame
from netwright.data.targets import IN_MEMORY, EncodedTarget
from netwright.data.task import Features, Images, Table, Task, TestSet
from netwright.errors import InputError, expected

Schema: TypeAlias = Sequence[Column] | ImageSchema
"""The columns of a table, or what a model of images takes."""


def read_rows(
    data: object, schema: Schema | Features, na_values: NaValues = DEFAULT_NA_VALUES
) -> tuple[Features, tuple[str, ...]]:
    """Convert rows without targets as the training rows were; also return notes.

    Args:
        data: In any form that `make_task.task` accepts, or images in any folder. Columns beyond the
            schema are ignored; an array's columns count in their order. Images are resized.
        schema: Of the training rows; it alone decides how the cells of a CSV are read, whatever
            else the file holds.
        na_values: Texts that count as missing.

    Raises:
        InputError: A column is missing, or a cell does not fit its column.
    """
    if isinstance(schema, Table):
        schema = schema.columns
    elif isinstance(schema, Images):
        schema = schema.schema
    with file_name_in_errors(data):
        if isinstance(schema, ImageSchema):
            return _read_images(data, schema)
        return _read_table(data, list(schema), na_values)


def schema_from_card(card: Mapping[str, Any]) -> Schema:
    """Return the schema stated in a model's card."""
    if "image" in card:
        return ImageSchema.from_card(card["image"])
    return columns_from_card(card)


def read_test_set(data: object, task: Task, target: object = None) -> TestSet:
    """Read rows with their targets, to score a model of `task`.

    Args:
        data: In any form that `make_task.task` accepts.
        task: That the model was trained on.
        target: A column of `data`, or (n,) targets; None: the column of the task's target name.

    Raises:
        InputError: A label is none of the task's classes.
    """
    is_images = isinstance(task.features, Images)
    with file_name_in_errors(data):
        rows, notes = read_labelled_rows(data, target, task.target_name, task.features)
    like = EncodedTarget(
        task.kind, task.classes, task.target, task.train, number_format=task.number_format
    )
    is_column = target is None or isinstance(target, str)
    label_source = infer_label_source(data) if is_column and not is_images else IN_MEMORY
    with file_name_in_errors(data):
        test = convert_test_set(rows, task.target_name, like, task.features, label_source)
    return TestSet(test.features, test.target, notes=notes + test.notes)


def _read_table(
    data: object, columns: list[Column], na_values: NaValues
) -> tuple[Table, tuple[str, ...]]:
    if isinstance(data, str) and data in builtin_names():
        return convert_frame(load_builtin(data).features, columns, na_values), ()
    if isinstance(data, str | Path) and Path(data).suffix.lower() == ".npz":
        array, unused_notes = _read_npz_rows(check_exists(Path(data)))
        table = load_frame(array)
        return convert_frame(table.frame, columns, na_values), table.notes + unused_notes
    text_columns = [column.name for column in columns if not column.has_plain_numbers]
    number_columns = [column.name for column in columns if column.has_plain_numbers]
    table = load_frame(data, text_columns, number_columns)
    return convert_frame(table.frame, columns, na_values), table.notes


def _read_images(data: object, schema: ImageSchema) -> tuple[Images, tuple[str, ...]]:
    if isinstance(data, str) and data in builtin_names():
        data = load_builtin(data).features
    if not isinstance(data, str | Path):
        return read_image_array_like(data, schema)
    path = check_exists(Path(data), builtin_names())
    if path.is_dir():
        files, skipped_notes = list_images(path)
        if not files:
            got = f"none. {' '.join(skipped_notes)}".rstrip()
            raise InputError(f"{path} must hold images, got {got}")
        images, notes = read_images_like(files, schema)
        return images, skipped_notes + notes
    if is_image_file(path):
        return read_images_like([read_image_header(path)], schema)
    array, unused_notes = _read_npz_rows(path)
    images, notes = read_image_array_like(array, schema)
    return images, unused_notes + notes


def _read_npz_rows(path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read the array x, else x_test, of an .npz file; also return notes on unused arrays."""
    if path.suffix.lower() != ".npz":
        raise InputError(
            expected("data", "a folder of images, an image or an .npz file", path.name)
        )
    names = npz_array_names(path)
    for name in ("x", "x_test"):
        if name in names:
            arrays, notes = read_npz(path, {name}, {name.replace("x", "y")})
            return arrays[name], notes
    raise InputError(f"{path.name} must hold the array x, got {join_names(names) or 'none'}.")
