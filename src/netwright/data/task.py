"""A task: data, its split, and what is to be predicted.

The types need numpy alone: a worker which is handed a finished task starts without pandas, Pillow
and scikit-learn, which `assemble.task` reads data with.
"""

from __future__ import annotations

import hashlib
from collections.abc import KeysView, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.data.columns import Column, ColumnKind
from netwright.data.datetimes import MISSING_DATE
from netwright.data.labels import Value
from netwright.data.number_formats import BARE, NumberFormat
from netwright.data.pixels import EIGHT_BITS, ImageSchema, PixelFormat
from netwright.errors import plural

TaskKind = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, eq=False)
class Table:
    """Columns as arrays of one length.

    numeric: float32 (float64 where the column says so), NaN where missing. category and boolean:
    object arrays of canonical str, "" where missing. date: int64 nanoseconds since 1970,
    `MISSING_DATE` where missing. text: object array of str, words in lower case with one blank
    between, "" where missing.
    """

    columns: tuple[Column, ...]
    arrays: Mapping[str, NDArray[Any]]
    n_source_columns: int = 0
    """Columns of the source, those left out counted; 0 where nobody counted them."""

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def keys(self) -> KeysView[str]:
        """The columns' names: a table can be handed to a model like any mapping of columns."""
        return self.arrays.keys()

    def take(self, rows: NDArray[np.int64]) -> Table:
        """These rows, in this order."""
        taken = {name: array[rows] for name, array in self.arrays.items()}
        return Table(self.columns, taken, self.n_source_columns)

    @property
    def n_missing(self) -> int:
        """How many cells have no value."""
        return sum(_missing(column.kind, self.arrays[column.name]) for column in self.columns)


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size: uint8 (n, h, w, c), c 1 (grey), 3 (RGB), or any up to 64 of arrays.

    `format` says what raw values these levels stand for; `files` names the files of rows to be
    predicted, where they come from files.
    """

    pixels: NDArray[np.uint8]
    pixel_format: PixelFormat = EIGHT_BITS
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The pixels: images can be handed to a model like any array."""
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """These images, in this order."""
        files = tuple(self.files[row] for row in rows) if self.files else ()
        return Images(self.pixels[rows], self.pixel_format, files)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        h, w, c = self.pixels.shape[1:]
        return (h, w, c)

    @property
    def schema(self) -> ImageSchema:
        """What a model of these images takes."""
        return ImageSchema(self.shape, self.pixel_format)


Features: TypeAlias = Table | Images


@dataclass(frozen=True, eq=False)
class TestSet:
    """Rows kept aside, with their targets: int64 class numbers, or float64."""

    features: Features
    target: NDArray[Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Task:
    """Data, its split, and what is to be predicted.

    `target`: (n,) int64 places in `classes`, or float64 for regression. `train` and `validation`:
    int64 rows of `features`, which share none. `test` is never searched on. `groups` (n,) int64
    and `weights` (n,) float64 belong to the rows. `notes` say what was decided about the data, one
    sentence each. `fingerprint` changes with the data, its types or its split, not with names of
    files.
    """

    name: str
    kind: TaskKind
    features: Features
    target: NDArray[Any]
    classes: tuple[Value, ...]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: TestSet | None = None
    notes: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    fingerprint: str = ""
    target_name: str = ""
    label_dtype: str = "object"
    """The numpy type in which predictions give labels back."""
    number_format: NumberFormat = BARE
    """How the numbers of a regression target are written in texts."""
    source: str = ""
    """What the data is called for people: ``adult.csv``; the name where there is no file."""

    def groups_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The groups of these rows."""
        return None if self.groups is None else self.groups[rows]

    def weights_of(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The weights of these rows; None, all alike, where not one of them counts."""
        if self.weights is None or not self.weights[rows].any():
            return None
        return self.weights[rows]


def summary(task: Task) -> str:
    """``adult.csv  39,073 rows, 14 columns (6 numeric, 8 category) -> income: 2 classes``."""
    features = task.features
    if isinstance(features, Images):
        what = f"{plural(len(features), 'image')} of {' x '.join(map(str, features.shape))}"
    else:
        kinds = [column.kind for column in features.columns]
        parts = [
            f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(sorted(kinds, key=_place))
        ]
        parts += [f"{features.n_missing:,} missing"] if features.n_missing else []
        columns = f"{plural(len(kinds), 'column')} ({', '.join(parts)})"
        what = f"{plural(len(features), 'row')}, {columns}"
    if task.test is not None:
        what += f", {len(task.test):,} more kept for the test"
    aim = f"{len(task.classes)} classes"
    if task.kind == "regression":
        aim = f"numbers from {task.target.min():.6g} to {task.target.max():.6g}"
    called = f"{task.target_name}: " if task.target_name else ""
    return f"{task.source or task.name}  {what} -> {called}{aim}"


def fingerprint(task: Task) -> str:
    """32 hex digits of the content: values, names and types of columns, classes, and the split."""
    digest = hashlib.blake2b(digest_size=16)
    features = task.features
    arrays: list[NDArray[Any]] = [task.target, task.train, task.validation]
    head: list[object] = [task.kind, task.classes, task.target_name]
    if isinstance(features, Table):
        head += [(column.name, column.kind) for column in features.columns]
        head += [stated for column in features.columns if len(stated := column.to_card()) > 2]
        arrays += [features.arrays[column.name] for column in features.columns]
    else:
        arrays.append(features.pixels)
        if not features.pixel_format.is_eight_bit:
            head.append((features.pixel_format.low, features.pixel_format.high))
    for extra in (task.groups, task.weights):
        head.append(extra is not None)
        arrays += [] if extra is None else [extra]
    digest.update(repr(head).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def _bytes(array: NDArray[Any]) -> Any:
    """The content as a buffer; texts with their lengths, so that no two lists meet."""
    if array.dtype != object:
        return np.ascontiguousarray(array).data
    lengths = np.array([len(text) for text in array], np.int64)
    return lengths.tobytes() + "".join(array).encode("utf-8", "surrogatepass")


def _place(kind: ColumnKind) -> int:
    return ("numeric", "category", "boolean", "date", "text").index(kind)


def _missing(kind: ColumnKind, array: NDArray[Any]) -> int:
    if kind == "numeric":
        return int(np.isnan(array).sum())
    return int(np.count_nonzero(array == (MISSING_DATE if kind == "date" else "")))
