"""A task: data, its split, and what is to be predicted.

These types only need numpy, so that a worker that receives a finished task starts without pandas,
Pillow and scikit-learn, with which `make_task.task` reads data.
"""

from __future__ import annotations

import hashlib
from collections.abc import KeysView, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netwright.data.columns import Column, ColumnKind
from netwright.data.datetimes import MISSING_DATE
from netwright.data.labels import Label
from netwright.data.number_formats import PLAIN_NUMBERS, NumberFormat
from netwright.data.pixels import EIGHT_BITS, ImageSchema, PixelFormat
from netwright.errors import plural

TaskKind = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, eq=False)
class Table:
    """Columns as arrays of one length.

    numeric: float32 (float64 if the column says so), NaN where missing. category and boolean:
    object arrays of canonical str, "" where missing. date: int64 nanoseconds since 1970,
    `MISSING_DATE` where missing. text: object array of str, lower-case words separated by single
    blanks, "" where missing.

    Args:
        columns: In order.
        arrays: Column name -> (n,) array.
        n_source_columns: Columns of the source, including dropped ones; 0 if unknown.
    """

    columns: tuple[Column, ...]
    arrays: Mapping[str, NDArray[Any]]
    n_source_columns: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def keys(self) -> KeysView[str]:
        """Return the column names: models accept a table like any mapping of columns."""
        return self.arrays.keys()

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Return the rows of these indices, in their order."""
        arrays = {name: array[rows] for name, array in self.arrays.items()}
        return Table(self.columns, arrays, self.n_source_columns)

    @property
    def n_missing(self) -> int:
        """How many cells are missing."""
        return sum(_count_missing(column.kind, self.arrays[column.name]) for column in self.columns)


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size.

    Args:
        pixels: uint8 (n, h, w, c); c is 1 (grey), 3 (RGB), or, of arrays, up to 64.
        pixel_format: The raw values that these levels stand for.
        files: File name of each image to predict, if they come from files.
    """

    pixels: NDArray[np.uint8]
    pixel_format: PixelFormat = EIGHT_BITS
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def __array__(
        self,
        dtype: DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001  # numpy's interface
    ) -> NDArray[Any]:
        """Return the pixels: models accept images like any array."""
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """Return the images of these indices, in their order."""
        files = tuple(self.files[row] for row in rows) if self.files else ()
        return Images(self.pixels[rows], self.pixel_format, files)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        h, w, c = self.pixels.shape[1:]
        return (h, w, c)

    @property
    def schema(self) -> ImageSchema:
        """Description of the images that a model of these accepts."""
        return ImageSchema(self.shape, self.pixel_format)


Features: TypeAlias = Table | Images


@dataclass(frozen=True, eq=False)
class TestSet:
    """Labelled rows that the search never sees.

    Args:
        features: Of the same columns or shape as the task's.
        target: (n,) int64 class indices, or float64.
        notes: On what is unusual.
    """

    features: Features
    target: NDArray[Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Task:
    """A data set, its split, and what is to be predicted; made by `netwright.task`.

    Args:
        name: Of the data set.
        kind: "binary", "multiclass" or "regression".
        features: A table or images, n rows.
        target: (n,) int64 indices of `classes`, or float64 for regression.
        classes: Labels in the order of their indices; () for regression.
        train: int64 row indices of `features` for training.
        validation: int64 row indices for validation; shares none with `train`.
        test: Rows that the search never sees.
        notes: What was inferred from the data or dropped, one sentence each.
        groups: (n,) int64 group of each row.
        weights: (n,) float64 weight of each row.
        fingerprint: Hash of the data, its types and its split, but not of file names.
        target_name: "" if the target has none.
        label_dtype: Of predicted labels, as numpy names it.
        number_format: In which the texts of a regression target are written.
        source: The data's name for users, such as ``adult.csv``; "" without a file.

    Example:
        >>> task = nw.task("iris")
        >>> task.kind, task.classes
        ('multiclass', ('setosa', 'versicolor', 'virginica'))
    """

    name: str
    kind: TaskKind
    features: Features
    target: NDArray[Any]
    classes: tuple[Label, ...]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: TestSet | None = None
    notes: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    fingerprint: str = ""
    target_name: str = ""
    label_dtype: str = "object"
    number_format: NumberFormat = PLAIN_NUMBERS
    source: str = ""

    def groups_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the groups of some rows.

        Args:
            rows: (m,) row indices.

        Returns:
            (m,) groups; None if the task has none.
        """
        return None if self.groups is None else self.groups[rows]

    def weights_of(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return the weights of some rows.

        Args:
            rows: (m,) row indices.

        Returns:
            (m,) weights; None, so that all count alike, if the task has none or all are zero.
        """
        if self.weights is None or not self.weights[rows].any():
            return None
        return self.weights[rows]


def summary(task: Task) -> str:
    """Summarise a task in a line.

    ``adult.csv  39,073 rows, 14 columns (6 numeric, 8 category) -> income: 2 classes``
    """
    features = task.features
    if isinstance(features, Images):
        what = f"{plural(len(features), 'image')} of {' x '.join(map(str, features.shape))}"
    else:
        kinds = [column.kind for column in features.columns]
        counts = [
            f"{kinds.count(kind):,} {kind}"
            for kind in dict.fromkeys(sorted(kinds, key=_COLUMN_KINDS.index))
        ]
        if features.n_missing:
            counts.append(f"{features.n_missing:,} missing")
        columns = f"{plural(len(kinds), 'column')} ({', '.join(counts)})"
        what = f"{plural(len(features), 'row')}, {columns}"
    if task.test is not None:
        what += f", plus {len(task.test):,} in the test set"
    target = f"{len(task.classes)} classes"
    if task.kind == "regression":
        target = f"numbers from {task.target.min():.6g} to {task.target.max():.6g}"
    target_name = f"{task.target_name}: " if task.target_name else ""
    return f"{task.source or task.name}  {what} -> {target_name}{target}"


def fingerprint(task: Task) -> str:
    """Return 32 hex digits of values, names and types of columns, classes, and the split."""
    digest = hashlib.blake2b(digest_size=16)
    features = task.features
    arrays: list[NDArray[Any]] = [task.target, task.train, task.validation]
    header: list[object] = [task.kind, task.classes, task.target_name]
    if isinstance(features, Table):
        header += [(column.name, column.kind) for column in features.columns]
        header += [card for column in features.columns if len(card := column.to_card()) > 2]
        arrays += [features.arrays[column.name] for column in features.columns]
    else:
        arrays.append(features.pixels)
        if not features.pixel_format.is_eight_bit:
            header.append((features.pixel_format.low, features.pixel_format.high))
    for optional in (task.groups, task.weights):
        header.append(optional is not None)
        arrays += [] if optional is None else [optional]
    digest.update(repr(header).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(_to_bytes(array))
    return digest.hexdigest()


def _to_bytes(array: NDArray[Any]) -> bytes | memoryview:
    """Return the content; of texts with their lengths, so that no two lists are the same."""
    if array.dtype != object:
        return np.ascontiguousarray(array).data
    lengths = np.array([len(text) for text in array], np.int64)
    return lengths.tobytes() + "".join(array).encode("utf-8", "surrogatepass")


_COLUMN_KINDS: tuple[ColumnKind, ...] = ("numeric", "category", "boolean", "date", "text")
"""In the order of a summary."""


def _count_missing(kind: ColumnKind, array: NDArray[Any]) -> int:
    if kind == "numeric":
        return int(np.isnan(array).sum())
    return int(np.count_nonzero(array == (MISSING_DATE if kind == "date" else "")))
