"""Read features and targets from all that a user may pass, not yet typed or split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from netwright.data.builtin_datasets import builtin_names, load_builtin
from netwright.data.checks import (
    as_vector,
    check_exists,
    check_same_length,
    file_name_in_errors,
    is_list_of_dicts,
    join_names,
    missing_target_error,
    unknown_column_error,
)
from netwright.data.npz_files import npz_array_names, read_npz
from netwright.data.pixels import ImageSchema, check_not_masked
from netwright.data.targets import IN_MEMORY, LabelSource
from netwright.data.task import Features, Images
from netwright.errors import InputError, Phrase, expected

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RawFeatures: TypeAlias = "pd.DataFrame | Images"
FeaturesAndTarget: TypeAlias = tuple[RawFeatures, object]


@dataclass(frozen=True, eq=False)
class RawData:
    """Rows as read, and their targets.

    Args:
        features: A frame or images.
        target: (n,) of any type.
        name: Of the data set.
        source: File name for notes and errors; "" for data in memory.
        target_name: "" if the target has none.
        n_validation: How many of the last rows the source reserves for validation; 0: a split
            decides.
        test: Images or array of the test set, and their targets.
        groups: (n,) or None.
        weights: (n,) or None.
        notes: On what is unusual.
        label_source: Where the targets come from.
        unread_test: Test set of a table as (data, target); it is read by the columns that are
            inferred from the training rows.
        decimal_comma: The file separates its cells by semicolons, so that commas are decimal marks.
    """

    features: RawFeatures
    target: object
    name: str
    source: str = ""
    target_name: str = ""
    n_validation: int = 0
    test: FeaturesAndTarget | None = None
    groups: object = None
    weights: object = None
    notes: tuple[str, ...] = ()
    label_source: LabelSource = IN_MEMORY
    unread_test: tuple[object, object] | None = None
    decimal_comma: bool = False


def infer_label_source(data: object) -> LabelSource:
    """Return where targets come from that are a column of `data`."""
    if not isinstance(data, str | Path) or Path(data).suffix.lower() == ".npz":
        return IN_MEMORY
    from netwright.data.text_layout import text_suffix

    return LabelSource(is_csv=bool(text_suffix(Path(data))), is_file=True)


def read_raw_data(
    data: object,
    target: object = None,
    *,
    test: object = None,
    groups: object = None,
    weights: object = None,
) -> RawData:
    """Read features and targets; see `make_task.task` for the arguments."""
    if isinstance(data, str) and data in builtin_names():
        _check_not_given(target, "target", f"the built-in {data!r}")
        _check_not_given(test, "test", f"the built-in {data!r}")
        raw = _read_builtin(data)
    elif isinstance(data, str | Path):
        raw = _read_path(check_exists(Path(data), builtin_names()), target, test, groups, weights)
    elif _is_frame(data):
        raw = _read_frame(data, target, test, groups, weights)
    else:
        raw = _read_array(data, target, test)
    return _with_arrays(raw, groups, weights)


def read_labelled_rows(
    data: object, target: object, target_name: str, like: Features | None = None
) -> tuple[FeaturesAndTarget, tuple[str, ...]]:
    """Read more rows of a task, with their targets; also return notes.

    Args:
        data: The rows, in any form that `make_task.task` accepts.
        target: A column of `data`, or (n,) targets; None: the column `target_name`.
        target_name: Of the task.
        like: The task's features, which say how images and the cells of a CSV are read.
    """
    if isinstance(like, Images):
        return _read_labelled_images(data, target, like.schema)
    from netwright.data.tables import load_frame

    if isinstance(data, str | Path) and Path(data).suffix.lower() == ".npz":
        return _read_npz_test_set(check_exists(Path(data)))
    columns = () if like is None else like.columns
    column = target_name if target is None else target
    text_columns = [c.name for c in columns if not c.has_plain_numbers]
    number_columns = [c.name for c in columns if c.has_plain_numbers] if columns else None
    if not isinstance(column, str):
        table = load_frame(data, text_columns, number_columns)
        check_same_length(len(table.frame), "target", as_vector(target, "target"))
        return (table.frame, target), table.notes
    table = load_frame(data, (*text_columns, column.strip()), number_columns)
    frame = table.frame
    name = find_column("target", column, list(frame.columns))
    return (frame.drop(columns=name), frame[name]), table.notes


def find_column(what: str, name: object, columns: list[str]) -> str:
    """Return the column of this name, without surrounding blanks; raise InputError if none is."""
    stripped = str(name).strip()
    if stripped not in columns:
        raise unknown_column_error(what, str(name), columns)
    return stripped


def _read_labelled_images(
    data: object, target: object, schema: ImageSchema
) -> tuple[FeaturesAndTarget, tuple[str, ...]]:
    if not isinstance(data, str | Path):
        return _features_and_target(data, target, schema)
    path = check_exists(Path(data))
    if path.suffix.lower() == ".npz":
        return _read_npz_test_set(path, schema)
    if not path.is_dir():
        rule = "a folder with one folder of images for each class, or an .npz file"
        raise InputError(expected("test images", rule, path.name))
    from netwright.data.image_folders import read_image_folder
    from netwright.data.images import labels_of, read_images_like

    folder = read_image_folder(path)
    files = folder.test or folder.train
    images, notes = read_images_like([file for file, _ in files], schema)
    return (replace(images, files=()), labels_of(files)), folder.notes + notes


def _read_builtin(name: str) -> RawData:
    dataset = load_builtin(name)
    features = dataset.features
    if isinstance(features, np.ndarray):
        train: RawFeatures = Images(features[dataset.train_rows])
        test: RawFeatures = Images(features[dataset.test_rows])
    else:
        train, test = features.iloc[dataset.train_rows], features.iloc[dataset.test_rows]
    return RawData(
        train,
        dataset.target[dataset.train_rows],
        name,
        target_name=dataset.target_name,
        test=(test, dataset.target[dataset.test_rows]),
    )


def _read_path(
    path: Path, target: object, test: object, groups: object, weights: object
) -> RawData:
    if path.is_dir():
        _check_not_given(target, "target", f"the folder {path}: {_folder_hint(path)}")
        return _read_image_folder(path, test)
    if path.suffix.lower() == ".npz":
        _check_not_given(target, "target", "an .npz file: it holds y")
        return _read_npz(path, test)
    return _read_frame(path, target, test, groups, weights)


def _folder_hint(folder: Path) -> str:
    """Explain what to do with a folder for which a target was passed."""
    from netwright.data.tables import PARQUET_SUFFIXES
    from netwright.data.text_layout import text_suffix

    tables = sorted(
        p.name for p in folder.iterdir() if text_suffix(p) or p.suffix.lower() in PARQUET_SUFFIXES
    )
    if not tables:
        return "folders of images are the classes"
    return f"it holds {join_names(tables)}; pass one of these files, or join them into one"


def _read_image_folder(path: Path, test: object) -> RawData:
    from netwright.data.image_folders import check_two_classes, read_image_folder
    from netwright.data.images import labels_of, read_images, read_images_like

    folder = read_image_folder(path)
    check_two_classes(folder, path)
    images, notes = read_images(folder.files, len(folder.test))
    notes = folder.notes + notes
    test_set: FeaturesAndTarget | None = None
    if test is not None:
        test_set, test_notes = _read_labelled_images(test, None, images.schema)
        notes += _prefix_test(test_notes)
    elif folder.test:
        test_images, test_notes = read_images_like([file for file, _ in folder.test], images.schema)
        test_set = (replace(test_images, files=()), labels_of(folder.test))
        notes += _prefix_test(test_notes)
    return RawData(
        images,
        labels_of(folder.train + folder.validation),
        path.resolve().name,
        n_validation=len(folder.validation),
        test=test_set,
        notes=notes,
    )


def _read_npz(path: Path, test: object) -> RawData:
    splits, unused_notes = _read_npz_splits(path)
    x, y = splits["train"]
    n_validation = 0
    if "validation" in splits:
        x_val, y_val = splits["validation"]
        check_same_length(len(x_val), "y_val", y_val)
        if x_val.shape[1:] != x.shape[1:]:
            raise InputError(expected("x_val", f"of the shape of x_train, {x.shape}", x_val.shape))
        check_same_length(len(x), "y_train", y)
        n_validation = len(x_val)
        if x.ndim == 2:  # a table, whose columns are inferred later
            x, y = np.concatenate([x, x_val]), np.concatenate([y, y_val])
    with file_name_in_errors(path):
        (features, target), notes = _features_and_target(x, y, where=path.name)
        if n_validation and isinstance(features, Images):
            from netwright.data.images import append_validation

            features, validation_notes = append_validation(features, x_val)
            target, notes = np.concatenate([y, y_val]), notes + validation_notes
    images = features if isinstance(features, Images) else None
    schema = images.schema if images else None
    test_set: FeaturesAndTarget | None = None
    test_notes: tuple[str, ...] = ()
    if test is not None:
        test_set, test_notes = read_labelled_rows(test, None, "", images)
    elif "test" in splits:
        test_set, test_notes = _features_and_target(
            *splits["test"], schema, f"the test set of {path.name}"
        )
    return RawData(
        features,
        target,
        path.stem,
        path.name,
        n_validation=n_validation,
        test=test_set,
        notes=unused_notes + notes + _prefix_test(test_notes),
    )


def _read_npz_test_set(
    path: Path, schema: ImageSchema | None = None
) -> tuple[FeaturesAndTarget, tuple[str, ...]]:
    """Read the test set of a file; without one, all its rows."""
    splits, unused_notes = _read_npz_splits(path)
    x, y = splits.get("test") or splits["train"]
    features_and_target, notes = _features_and_target(x, y, schema, path.name)
    return features_and_target, unused_notes + notes


_NPZ_NAME_ENDINGS = {
    "train": ("_train", ""),
    "validation": ("_val", "_valid"),
    "test": ("_test",),
}
"""Split -> what may follow x and y in the names of its arrays."""


def _read_npz_splits(
    path: Path,
) -> tuple[dict[str, tuple[NDArray[Any], NDArray[Any]]], tuple[str, ...]]:
    """Read (x, y) of "train", and of "validation" and "test" if there are; also return notes."""
    names = npz_array_names(path)
    endings = {
        split: next((end for end in ends if {f"x{end}", f"y{end}"} <= {*names}), None)
        for split, ends in _NPZ_NAME_ENDINGS.items()
    }
    if endings["train"] is None:
        rule = "the arrays x_train and y_train, or x and y"
        raise InputError(
            f"{path.name} must hold {rule}, got {join_names(names) or 'none'}. Save it with "
            "numpy.savez(file, x=x, y=y)."
        )
    used = {f"{array}{end}" for end in endings.values() if end is not None for array in "xy"}
    arrays, notes = read_npz(path, used)
    splits = {
        split: (arrays[f"x{end}"], arrays[f"y{end}"])
        for split, end in endings.items()
        if end is not None
    }
    return splits, notes


def _prefix_test(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"Test set: {note}" for note in notes)


def _read_frame(
    data: object, target: object, test: object, groups: object, weights: object
) -> RawData:
    from netwright.data.tables import load_frame

    # names may be whole numbers
    target_is_column = target is not None and np.ndim(target) == 0  # type: ignore[arg-type]  # anything
    table = load_frame(data, (str(target).strip(),) if target_is_column else ())
    frame, path = table.frame, Path(data) if isinstance(data, str | Path) else None
    columns = list(frame.columns)
    if not columns:
        raise InputError("the table must have columns, got none.")
    if target is None:
        raise missing_target_error(columns)
    target_name = str(getattr(target, "name", None) or "")
    if target_is_column:
        target_name = find_column("target", target, columns)
    groups_column, weights_column = (
        find_column(what, column, columns) if isinstance(column, str) else None
        for what, column in (("groups", groups), ("weights", weights))
    )
    not_features = {column for column in (groups_column, weights_column) if column}
    if target_is_column:
        not_features.add(target_name)
    notes = table.notes
    if groups_column and not_features == set(columns):
        not_features.discard(groups_column)
        notes += (
            f"Column {groups_column!r} groups the rows and is also the only feature, for lack of "
            "other columns.",
        )
    if not target_is_column:
        check_same_length(len(frame), "target", as_vector(target, "target"))
    return RawData(
        features=frame.drop(columns=list(not_features)),
        target=frame[target_name] if target_is_column else target,
        name=path.name.split(".")[0] if path else "table",
        source=path.name if path else "",
        target_name=target_name,
        unread_test=_unread_test(test, target_is_column=target_is_column),
        groups=frame[groups_column] if groups_column else None,
        weights=frame[weights_column] if weights_column else None,
        notes=notes,
        label_source=replace(
            infer_label_source(data) if target_is_column else IN_MEMORY,
            decimal_comma=table.decimal_comma,
        ),
        decimal_comma=table.decimal_comma,
    )


def _unread_test(test: object, *, target_is_column: bool) -> tuple[object, object] | None:
    """Return the test set of a table as (data, target); target None: a column of the same name."""
    if test is None:
        return None
    if isinstance(test, tuple) and len(test) == 2:
        return test
    if not target_is_column:
        rule = "a pair (data, target) if the target is an array"
        raise InputError(expected("test", rule, Phrase(type(test).__name__)))
    return test, None


def _read_array(data: object, target: object, test: object) -> RawData:
    (features, target), notes = _features_and_target(data, target)
    schema = features.schema if isinstance(features, Images) else None
    test_set: FeaturesAndTarget | None = None
    if test is not None:
        if not (isinstance(test, tuple) and len(test) == 2):
            rule = "a pair (data, target) if the data is an array"
            raise InputError(expected("test", rule, Phrase(type(test).__name__)))
        test_set, test_notes = _features_and_target(*test, schema)
        notes += _prefix_test(test_notes) if schema else ()
    return RawData(
        features,
        target,
        "table" if _is_frame(features) else "images",
        target_name=str(getattr(target, "name", None) or ""),
        test=test_set,
        notes=notes,
    )


def _features_and_target(
    x: object, y: object, schema: ImageSchema | None = None, where: str = ""
) -> tuple[FeaturesAndTarget, tuple[str, ...]]:
    """Return arrays as a frame or images, with their targets; also return notes.

    Args:
        x: (n, columns) becomes a frame; arrays of three and more axes are images.
        y: (n,) targets.
        schema: Of the model, for images to predict; None in training.
        where: Name of the file of the arrays.
    """
    if hasattr(x, "toarray"):
        raise InputError("data must be a dense array, got a sparse one. Use data.toarray().")
    array = x if _is_frame(x) else _dense(x, f"x of {where}" if where else "data")
    if y is None:
        raise InputError("target must be passed with an array, got none. Pass the n targets.")
    what = f"y of {where}" if where else "target"
    check_same_length(len(array), what, as_vector(y, what))  # type: ignore[arg-type]  # a frame
    if schema is not None:
        from netwright.data.images import read_image_array_like

        images, notes = read_image_array_like(array, schema)
        return (images, y), notes
    if _is_frame(array) or np.ndim(array) == 2:  # type: ignore[arg-type]
        from netwright.data.tables import load_frame

        table = load_frame(array)
        return (table.frame, y), table.notes
    from netwright.data.images import read_image_array

    images, notes = read_image_array(array)
    return (images, y), notes


def _dense(x: object, what: str = "data") -> NDArray[Any]:
    check_not_masked(x, what, "0" if getattr(x, "ndim", 0) > 2 else "numpy.nan")
    try:
        array = np.asarray(x)
        if array.dtype == object and array.ndim == 1 and len(array) and np.ndim(array[0]) > 1:
            array = np.stack(list(array))  # images as an array of arrays
    except ValueError:  # rows of different lengths
        fix = "Resize images to one size first."
        raise InputError(
            f"{what} must have rows of one length, got different ones. {fix}"
        ) from None
    if array.ndim < 2:
        got = f"{type(x).__name__} of shape {array.shape}"
        fix = "For a single column, use x.reshape(-1, 1)." if array.ndim == 1 else ""
        fix = fix or "Pass rows and columns, or images (n, h, w)."
        raise InputError(expected(what, "a table or images", Phrase(got), fix))
    return array


def _with_arrays(raw: RawData, groups: object, weights: object) -> RawData:
    """Add groups and weights that were passed as arrays; named columns are there already."""
    for what, values in (("groups", groups), ("weights", weights)):
        if values is None:
            continue
        if isinstance(values, str):
            if getattr(raw, what) is None:
                raise InputError(expected(what, "an array with a value for each row", values))
            continue
        check_same_length(len(raw.features), what, as_vector(values, what))
        raw = replace(raw, groups=values) if what == "groups" else replace(raw, weights=values)
    return raw


def _is_frame(data: object) -> bool:
    if isinstance(data, Mapping) or (hasattr(data, "columns") and hasattr(data, "shape")):
        return True
    is_series = hasattr(data, "to_frame") and getattr(data, "ndim", 0) == 1
    return is_series or is_list_of_dicts(data)


def _check_not_given(argument: object, what: str, where: str) -> None:
    if argument is not None:
        got = repr(argument) if isinstance(argument, str | Path) else type(argument).__name__
        raise InputError(f"{what} must not be given for {where}, got {got}. Leave it out.")
