"""From whatever the user handed over to features and targets, not yet typed or split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from netwright.data.builtin_datasets import builtin_names, load_builtin
from netwright.data.checks import (
    existing,
    is_list_of_dicts,
    listed,
    naming,
    no_target,
    same_length,
    unknown_column,
    vector,
)
from netwright.data.npz_files import npz_names, read_npz
from netwright.data.pixels import ImageSchema, refuse_masked
from netwright.data.targets import MEMORY, LabelSource
from netwright.data.task import Features, Images
from netwright.errors import InputError, Phrase, expected

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RawFeatures: TypeAlias = "pd.DataFrame | Images"
Pair: TypeAlias = tuple[RawFeatures, Any]


@dataclass(frozen=True, eq=False)
class Raw:
    """Rows as read: a frame or images, and their targets.

    The last `validation` rows are for validation, where the source says so; 0 leaves it to a split.
    """

    features: RawFeatures
    target: Any
    name: str
    source: str = ""
    target_name: str = ""
    validation: int = 0
    test: Pair | None = None
    groups: Any = None
    weights: Any = None
    notes: tuple[str, ...] = ()
    labels: LabelSource = MEMORY
    """Where the targets come from, which says how their texts are meant."""
    unread_test: tuple[Any, Any] | None = None
    """The test part of a table, which is read by the columns that the table turns out to have."""
    decimal_comma: bool = False
    """Whether the table's separator leaves the comma to decimals."""


def label_source(data: Any) -> LabelSource:
    """Where targets that are a column of `data` come from."""
    if not isinstance(data, str | Path) or Path(data).suffix.lower() == ".npz":
        return MEMORY
    from netwright.data.text_layout import text_suffix

    return LabelSource(csv=bool(text_suffix(Path(data))), file=True)


def open_raw(
    data: Any, target: Any = None, *, test: Any = None, groups: Any = None, weights: Any = None
) -> Raw:
    """Reads `data`; see `task.task` for what it may be."""
    if isinstance(data, str) and data in builtin_names():
        _leave_out(target, "target", f"the built-in {data!r}")
        _leave_out(test, "test", f"the built-in {data!r}")
        raw = _builtin(data)
    elif isinstance(data, str | Path):
        raw = _path(existing(Path(data), builtin_names()), target, test, groups, weights)
    elif _is_frame(data):
        raw = _frame(data, target, test, groups, weights)
    else:
        raw = _array(data, target, test)
    return _with_rows(raw, groups, weights)


def open_pair(
    data: Any, target: Any, target_name: str, like: Features | None = None
) -> tuple[Pair, tuple[str, ...]]:
    """Further rows of a known task, with their targets, and notes.

    `like`: the features of the task, by which images and the cells of a CSV are read.
    """
    if isinstance(like, Images):
        return _image_pair(data, target, like.schema)
    from netwright.data.tables import read_frame

    if isinstance(data, str | Path) and Path(data).suffix.lower() == ".npz":
        return _npz_pair(existing(Path(data)))
    columns = () if like is None else like.columns
    name = target_name if target is None else target
    texts = [column.name for column in columns if not column.bare_numbers]
    numbers = [column.name for column in columns if column.bare_numbers] if columns else None
    if not isinstance(name, str):
        table = read_frame(data, texts, numbers)
        same_length(len(table.frame), "target", vector(target, "target"))
        return (table.frame, target), table.notes
    table = read_frame(data, (*texts, name.strip()), numbers)
    frame = table.frame
    name = column_name("target", name, list(frame.columns))
    return (frame.drop(columns=name), frame[name]), table.notes


def column_name(what: str, name: object, columns: list[str]) -> str:
    """The column that is called so, blanks around it aside. InputError where there is none."""
    plain = str(name).strip()
    if plain not in columns:
        raise unknown_column(what, str(name), columns)
    return plain


def _image_pair(data: Any, target: Any, schema: ImageSchema) -> tuple[Pair, tuple[str, ...]]:
    if not isinstance(data, str | Path):
        return _features_and_target(data, target, schema)
    path = existing(Path(data))
    if path.suffix.lower() == ".npz":
        return _npz_pair(path, schema)
    if not path.is_dir():
        rule = "a folder with one folder of images for each class, or an .npz file"
        raise InputError(expected("held-out images", rule, path.name))
    from netwright.data.image_folders import read_folder
    from netwright.data.images import classes_of, follow_images

    folder = read_folder(path)
    files = folder.test or folder.train
    rows, notes = follow_images([file for file, _ in files], schema)
    return (replace(rows, files=()), classes_of(files)), folder.notes + notes


def _builtin(name: str) -> Raw:
    found = load_builtin(name)
    if isinstance(found.features, np.ndarray):
        rows = found.features
        train, test = Images(rows[found.train_rows]), Images(rows[found.test_rows])
    else:
        train, test = (found.features.iloc[rows] for rows in (found.train_rows, found.test_rows))
    return Raw(
        train, found.target[found.train_rows], name, target_name=found.target_name,
        test=(test, found.target[found.test_rows]),
    )  # fmt: skip


def _path(path: Path, target: Any, test: Any, groups: Any, weights: Any) -> Raw:
    if path.is_dir():
        _leave_out(target, "target", f"the folder {path}: {_what_it_holds(path)}")
        return _folder(path, test)
    if path.suffix.lower() == ".npz":
        _leave_out(target, "target", "an .npz file: it holds y")
        return _npz_raw(path, test)
    return _frame(path, target, test, groups, weights)


def _what_it_holds(folder: Path) -> str:
    """What to do with a folder for which a target was given."""
    from netwright.data.tables import PARQUET
    from netwright.data.text_layout import text_suffix

    tables = sorted(
        p.name for p in folder.iterdir() if text_suffix(p) or p.suffix.lower() in PARQUET
    )
    if not tables:
        return "folders of images are the classes"
    return f"it holds {listed(tables)}; give the one that is meant, or join them into one"


def _folder(path: Path, test: Any) -> Raw:
    from netwright.data.image_folders import read_folder, refuse_one_class
    from netwright.data.images import classes_of, follow_images, read_images

    folder = read_folder(path)
    refuse_one_class(folder, path)
    rows, notes = read_images(folder.files, len(folder.test))
    notes = folder.notes + notes
    held_out: Pair | None = None
    if test is not None:
        held_out, more = _image_pair(test, None, rows.schema)
        notes += _of_test(more)
    elif folder.test:
        tested, more = follow_images([file for file, _ in folder.test], rows.schema)
        held_out = (replace(tested, files=()), classes_of(folder.test))
        notes += _of_test(more)
    return Raw(
        rows, classes_of(folder.train + folder.validation), path.resolve().name,
        validation=len(folder.validation), test=held_out, notes=notes,
    )  # fmt: skip


def _npz_raw(path: Path, test: Any) -> Raw:
    parts, unused = _npz(path)
    x, y = parts["train"]
    validation = 0
    if "validation" in parts:
        more_x, more_y = parts["validation"]
        same_length(len(more_x), "y_val", more_y)
        if more_x.shape[1:] != x.shape[1:]:
            raise InputError(expected("x_val", f"of the shape of x_train, {x.shape}", more_x.shape))
        same_length(len(x), "y_train", y)
        validation = len(more_x)
        if x.ndim == 2:  # a table, whose columns are decided later
            x, y = np.concatenate([x, more_x]), np.concatenate([y, more_y])
    with naming(path):
        (features, target), notes = _features_and_target(x, y, where=path.name)
        if validation and isinstance(features, Images):
            from netwright.data.images import with_validation

            features, more_notes = with_validation(features, more_x)
            target, notes = np.concatenate([y, more_y]), notes + more_notes
    images = features if isinstance(features, Images) else None
    schema = images.schema if images else None
    held_out: Pair | None = None
    more: tuple[str, ...] = ()
    if test is not None:
        held_out, more = open_pair(test, None, "", images)
    elif "test" in parts:
        held_out, more = _features_and_target(*parts["test"], schema, f"the test of {path.name}")
    return Raw(
        features, target, path.stem, path.name, validation=validation, test=held_out,
        notes=unused + notes + _of_test(more),
    )  # fmt: skip


def _npz_pair(path: Path, schema: ImageSchema | None = None) -> tuple[Pair, tuple[str, ...]]:
    """Held-out rows of a file: its test part, else all it has."""
    parts, unused = _npz(path)
    x, y = parts.get("test") or parts["train"]
    pair, notes = _features_and_target(x, y, schema, path.name)
    return pair, unused + notes


_NPZ_ENDINGS = {"train": ("_train", ""), "validation": ("_val", "_valid"), "test": ("_test",)}
"""Part -> what follows on x and y in the names of its arrays."""


def _npz(path: Path) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...]]:
    """The pairs (x, y) of a file: "train", and "validation" and "test" where it has them; notes."""
    names = npz_names(path)
    endings = {
        part: next((end for end in ends if {f"x{end}", f"y{end}"} <= {*names}), None)
        for part, ends in _NPZ_ENDINGS.items()
    }
    if endings["train"] is None:
        rule = "the arrays x_train and y_train, or x and y"
        raise InputError(
            f"{path.name} must hold {rule}, got {listed(names) or 'none'}. Save it with "
            "numpy.savez(file, x=x, y=y)."
        )
    used = {f"{array}{end}" for end in endings.values() if end is not None for array in "xy"}
    arrays, notes = read_npz(path, used)
    parts = {
        part: (arrays[f"x{end}"], arrays[f"y{end}"])
        for part, end in endings.items()
        if end is not None
    }
    return parts, notes


def _of_test(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"Test part: {note}" for note in notes)


def _frame(data: Any, target: Any, test: Any, groups: Any, weights: Any) -> Raw:
    from netwright.data.tables import read_frame

    by_name = target is not None and np.ndim(target) == 0  # names may be whole numbers
    table = read_frame(data, (str(target).strip(),) if by_name else ())
    frame, path = table.frame, Path(data) if isinstance(data, str | Path) else None
    columns = list(frame.columns)
    if not columns:
        raise InputError("the table must have columns, got none.")
    if target is None:
        raise no_target(columns)
    name = str(getattr(target, "name", None) or "")
    if by_name:
        name = column_name("target", target, columns)
    groups, weights = (
        column_name(what, extra, columns) if isinstance(extra, str) else None
        for what, extra in (("groups", groups), ("weights", weights))
    )
    picked = {c for c in (groups, weights) if c} | ({name} if by_name else set())
    notes = table.notes
    if groups and picked == set(columns):
        picked.discard(groups)
        notes += (f"Column {groups!r} groups the rows and, as the only one, is learnt from too.",)
    if not by_name:
        same_length(len(frame), "target", vector(target, "target"))
    return Raw(
        frame.drop(columns=list(picked)), frame[name] if by_name else target,
        path.name.split(".")[0] if path else "table", path.name if path else "", name,
        unread_test=_unread_test(test, by_name), groups=frame[groups] if groups else None,
        weights=frame[weights] if weights else None, notes=notes,
        labels=replace(
            label_source(data) if by_name else MEMORY, decimal_comma=table.decimal_comma
        ),
        decimal_comma=table.decimal_comma,
    )  # fmt: skip


def _unread_test(test: Any, by_name: bool) -> tuple[Any, Any] | None:
    """The test part of a table as (data, targets); targets None: a column of the same name."""
    if test is None:
        return None
    if isinstance(test, tuple) and len(test) == 2:
        return test
    if not by_name:
        rule = "a pair (data, targets) where the target is an array"
        raise InputError(expected("test", rule, Phrase(type(test).__name__)))
    return test, None


def _array(data: Any, target: Any, test: Any) -> Raw:
    pair, notes = _features_and_target(data, target)
    held_out: Pair | None = None
    if test is not None:
        if not (isinstance(test, tuple) and len(test) == 2):
            rule = "a pair (data, targets) where the data is an array"
            raise InputError(expected("test", rule, Phrase(type(test).__name__)))
        schema = pair[0].schema if isinstance(pair[0], Images) else None
        held_out, more = _features_and_target(*test, schema)
        notes += _of_test(more) if schema else ()
    name = "table" if _is_frame(pair[0]) else "images"
    target_name = str(getattr(target, "name", None) or "")
    return Raw(*pair, name, target_name=target_name, test=held_out, notes=notes)


def _features_and_target(
    x: Any, y: Any, schema: ImageSchema | None = None, where: str = ""
) -> tuple[Pair, tuple[str, ...]]:
    """Arrays: (n, columns) becomes a frame, three axes and more are images, of `schema` if given.

    `where` names the file that they come from.
    """
    if hasattr(x, "toarray"):
        raise InputError("data must be a dense array, got a sparse one. Use data.toarray().")
    array = x if _is_frame(x) else _dense(x, f"x of {where}" if where else "data")
    if y is None:
        raise InputError("target must be given with an array, got none. Pass the n targets.")
    what = f"y of {where}" if where else "target"
    same_length(len(array), what, vector(y, what))
    if schema is not None:
        from netwright.data.images import follow_array

        rows, notes = follow_array(array, schema)
        return (rows, y), notes
    if _is_frame(array) or array.ndim == 2:
        from netwright.data.tables import read_frame

        table = read_frame(array)
        return (table.frame, y), table.notes
    from netwright.data.images import read_array

    rows, notes = read_array(array)
    return (rows, y), notes


def _dense(x: Any, what: str = "data") -> NDArray[Any]:
    refuse_masked(x, what, "0" if getattr(x, "ndim", 0) > 2 else "numpy.nan")
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
        fix = fix or "Give rows and columns, or images (n, h, w)."
        raise InputError(expected(what, "a table or images", Phrase(got), fix))
    return array


def _with_rows(raw: Raw, groups: Any, weights: Any) -> Raw:
    """Groups and weights that came as arrays; those named as columns are there already."""
    for what, given in (("groups", groups), ("weights", weights)):
        if given is None:
            continue
        if isinstance(given, str):
            if getattr(raw, what) is None:
                raise InputError(expected(what, "values for each row here", given))
            continue
        same_length(len(raw.features), what, vector(given, what))
        raw = replace(raw, **{what: given})
    return raw


def _is_frame(data: Any) -> bool:
    if isinstance(data, Mapping) or (hasattr(data, "columns") and hasattr(data, "shape")):
        return True
    series = hasattr(data, "to_frame") and getattr(data, "ndim", 0) == 1
    return series or is_list_of_dicts(data)


def _leave_out(given: Any, what: str, where: str) -> None:
    if given is not None:
        raise InputError(f"{what} must be left out for {where}, got {_named(given)}. Leave it out.")


def _named(given: Any) -> str:
    return repr(given) if isinstance(given, str | Path) else type(given).__name__
