"""From whatever the user handed over to features and targets, not yet typed or split."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from netwright.data.builtin import builtin_names, load_builtin
from netwright.data.checks import existing, listed, no_target, same_length, unknown_column, vector
from netwright.data.targets import MEMORY, LabelSource
from netwright.errors import InputError, Phrase, expected

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from netwright.data.columns import Column

RawFeatures: TypeAlias = "pd.DataFrame | NDArray[np.uint8]"
Pair: TypeAlias = tuple[RawFeatures, Any]


@dataclass(frozen=True, eq=False)
class Raw:
    """Rows as read: a frame or pixels, and their targets.

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
    from netwright.data.text_files import text_suffix

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
    data: Any, target: Any, target_name: str, images: bool, columns: Sequence[Column] = ()
) -> tuple[Pair, tuple[str, ...]]:
    """Further rows of a known task, with their targets, and notes.

    `columns`: those learnt from, by which the cells of a CSV are read.
    """
    if images:
        return _image_pair(data, target)
    from netwright.data.tables import read_frame

    if isinstance(data, str | Path) and Path(data).suffix.lower() == ".npz":
        parts = _npz(existing(Path(data)))
        x, y = parts.get("test") or parts["train"]
        return _features_and_target(x, y)
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


def _image_pair(data: Any, target: Any) -> tuple[Pair, tuple[str, ...]]:
    from netwright.data import images

    if not isinstance(data, str | Path):
        return _features_and_target(data, target)
    path = existing(Path(data))
    if path.suffix.lower() == ".npz":
        parts = _npz(path)
        x, y = parts.get("test") or parts["train"]
        return _features_and_target(x, y)
    folder = images.read_folder(path)
    files = folder.test or folder.train
    size, notes = images.common_size([file for file, _ in files])
    return (images.read_files([f for f, _ in files], size), images.classes_of(files)), notes


def _builtin(name: str) -> Raw:
    found = load_builtin(name)
    is_array = isinstance(found.features, np.ndarray)
    rows = found.features if is_array else found.features.iloc
    return Raw(
        rows[found.train_rows], found.target[found.train_rows], name,
        target_name=found.target_name,
        test=(rows[found.test_rows], found.target[found.test_rows]),
    )  # fmt: skip


def _path(path: Path, target: Any, test: Any, groups: Any, weights: Any) -> Raw:
    if path.is_dir():
        _leave_out(target, "target", "a folder of images: its folders are the classes")
        return _folder(path, test)
    if path.suffix.lower() == ".npz":
        _leave_out(target, "target", "an .npz file: it holds y")
        return _npz_raw(path, test)
    return _frame(path, target, test, groups, weights)


def _folder(path: Path, test: Any) -> Raw:
    from netwright.data import images

    folder = images.read_folder(path)
    files = folder.train + folder.validation
    size, notes = images.common_size([file for file, _ in folder.train])
    pixels = images.read_files([file for file, _ in files], size)
    held_out: Pair | None = None
    if test is not None:
        held_out, more = _image_pair(test, None)
        notes += more
    elif folder.test:
        tested = images.read_files([file for file, _ in folder.test], size)
        held_out = (tested, images.classes_of(folder.test))
    return Raw(
        pixels, images.classes_of(files), path.resolve().name, validation=len(folder.validation),
        test=held_out, notes=notes,
    )  # fmt: skip


def _npz_raw(path: Path, test: Any) -> Raw:
    parts = _npz(path)
    x, y = parts["train"]
    validation = 0
    if "validation" in parts:
        more_x, more_y = parts["validation"]
        same_length(len(more_x), "y_val", more_y)
        if more_x.shape[1:] != x.shape[1:]:
            raise InputError(expected("x_val", f"of the shape of x_train, {x.shape}", more_x.shape))
        same_length(len(x), "y_train", y)
        x, y, validation = np.concatenate([x, more_x]), np.concatenate([y, more_y]), len(more_x)
    (features, target), notes = _features_and_target(x, y)
    held_out: Pair | None = None
    if test is not None:
        held_out, more = open_pair(test, None, "", isinstance(features, np.ndarray))
        notes += more
    elif "test" in parts:
        held_out, _ = _features_and_target(*parts["test"])
    return Raw(
        features, target, path.stem, path.name, validation=validation, test=held_out, notes=notes
    )


def read_npz(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file, by their names in small letters."""
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            return {key.lower(): file[key] for key in file.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must be an .npz file of plain arrays, got: {error}.") from None


def _npz(path: Path) -> dict[str, tuple[Any, Any]]:
    """The pairs (x, y) of a file: "train", and "validation" and "test" where it has them."""
    arrays = read_npz(path)
    endings = {"train": ("_train", ""), "validation": ("_val", "_valid"), "test": ("_test",)}
    parts = {}
    for part, names in endings.items():
        for ending in names:
            if f"x{ending}" in arrays and f"y{ending}" in arrays and part not in parts:
                parts[part] = (arrays[f"x{ending}"], arrays[f"y{ending}"])
    if "train" not in parts:
        rule = "the arrays x_train and y_train, or x and y"
        raise InputError(f"{path.name} must hold {rule}, got {listed(arrays) or 'none'}.")
    return parts


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
        labels=label_source(data) if by_name else MEMORY, decimal_comma=table.decimal_comma,
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
        held_out, _ = _features_and_target(*test)
    name = "table" if _is_frame(pair[0]) else "images"
    target_name = str(getattr(target, "name", None) or "")
    return Raw(*pair, name, target_name=target_name, test=held_out, notes=notes)


def _features_and_target(x: Any, y: Any) -> tuple[Pair, tuple[str, ...]]:
    """Arrays: (n, columns) becomes a frame, three axes and more are images."""
    if hasattr(x, "toarray"):
        raise InputError("data must be a dense array, got a sparse one. Use data.toarray().")
    array = x if _is_frame(x) else _dense(x)
    if y is None:
        raise InputError("target must be given with an array, got none. Pass the n targets.")
    same_length(len(array), "target", vector(y, "target"))
    if _is_frame(array) or array.ndim == 2:
        from netwright.data.tables import read_frame

        table = read_frame(array)
        return (table.frame, y), table.notes
    from netwright.data.images import read_array

    pixels, notes = read_array(array)
    return (pixels, y), notes


def _dense(x: Any) -> NDArray[Any]:
    try:
        array = np.asarray(x)
    except ValueError:  # rows of different lengths
        raise InputError("data must have rows of one length, got different ones.") from None
    if array.ndim < 2:
        got = f"{type(x).__name__} of shape {array.shape}"
        fix = "For a single column, use x.reshape(-1, 1)." if array.ndim == 1 else ""
        raise InputError(expected("data", "a table or images", Phrase(got), fix))
    return array


def _with_rows(raw: Raw, groups: Any, weights: Any) -> Raw:
    """Groups and weights that came as arrays; those named as columns are there already."""
    from dataclasses import replace

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
    records = isinstance(data, list | tuple) and bool(data) and isinstance(data[0], Mapping)
    return series or records


def _leave_out(given: Any, what: str, where: str) -> None:
    if given is not None:
        raise InputError(f"{what} must be left out for {where}, got {_named(given)}.")


def _named(given: Any) -> str:
    return repr(given) if isinstance(given, str | Path) else type(given).__name__
