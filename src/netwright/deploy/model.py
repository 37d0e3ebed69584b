"""The delivered model: one ONNX file, read with numpy and onnxruntime alone."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from netwright.data.checks import is_list_of_dicts
from netwright.data.columns import columns_from_card, convert_column
from netwright.data.labels import classes_array, restore_labels
from netwright.data.na_values import NaValues
from netwright.data.pixels import ImageSchema, size_text
from netwright.data.task import Features, Images, Table
from netwright.deploy.card import FORMAT as FORMAT
from netwright.deploy.card import KEY as KEY
from netwright.deploy.card import Card, LaterFormat, read_card, start_checksum
from netwright.deploy.graph_reader import read_graph
from netwright.deploy.model_file import read_model
from netwright.deploy.protobuf import InvalidModelFile
from netwright.deploy.sessions import is_out_of_memory, make_session
from netwright.deploy.signature import check_signature
from netwright.errors import InputError, Phrase, closest, expected
from netwright.files.folder import Folder
from netwright.files.run_layout import MODEL

if TYPE_CHECKING:
    import pandas as pd

_BATCH_ROWS = 1024
_MIN_BLOCK_COLUMNS = 8
"""Columns of one type from which on they are taken from a DataFrame as a block: one by one costs 25
microseconds a column, several times what a model needs for one row."""


class Model:
    """A trained model loaded from an ONNX file, ready to predict.

    Args:
        source: the path of the file, or its bytes.
        threads: number of cores that one call may use; 0 takes all.
        limit_memory: share a memory limit with all such models; see `load`.

    Attributes:
        card: metadata of the file: kind of task, classes, columns or image size, scores.
        session: the onnxruntime inference session.
        path: the path of the file.

    Raises:
        InputError: the file is damaged or was not written by netwright. Files with other content
            are refused before they reach onnxruntime.

    Example:
        >>> model = load("runs/titanic")
        >>> labels, probabilities = model.predict(frame), model.predict_proba(frame)
    """

    def __init__(
        self, source: str | Path | bytes, threads: int = 0, *, limit_memory: bool = False
    ) -> None:
        self.path = Path(MODEL) if isinstance(source, bytes) else Path(source)
        content = source if isinstance(source, bytes) else read_model(self.path)
        self.card, self.session = _open_session(
            content, self.path, threads, limit_memory=limit_memory
        )
        self._columns = columns_from_card(self.card) if "columns" in self.card else ()
        self._images = ImageSchema.from_card(self.card["image"]) if "image" in self.card else None
        self._na_values = NaValues.from_card(self.card)

    @property
    def kind(self) -> str:
        """ "binary", "multiclass" or "regression"."""
        return str(self.card["kind"])

    @property
    def classes(self) -> tuple[Any, ...]:
        """The class labels, in the order of the probabilities; empty for regression."""
        return tuple(classes_array(self.card).tolist())

    def predict(self, rows: object) -> NDArray[Any]:
        """Predict labels or values.

        Args:
            rows: for tables a DataFrame, a mapping of column name to values, a list of records, one
                row as a Series, or an array (n, columns) in the order of the columns. For images an
                array (n, h, w) or (n, h, w, c) of raw pixels as in training, of any dtype; pixels
                outside the range of training are clipped with a warning.

        Returns:
            (n,) labels, in the type they had in training; or values (float64).

        Raises:
            InputError: a column is missing, or the images have another size.
        """
        if not self.card["classes"]:
            return self._run(self.feeds(rows), "value")
        # files with a threshold that were written before format 2 give (n, 1)
        labels = self._run(self.feeds(rows), "label").reshape(-1)
        try:
            return restore_labels(labels, self.card)
        except (KeyError, ValueError, TypeError) as error:
            raise self._unusable("it gives labels that its card does not have") from error

    def predict_proba(self, rows: object) -> NDArray[np.float32]:
        """Predict class probabilities.

        Args:
            rows: as of `predict`.

        Returns:
            (n, classes), in the order of `classes`.

        Raises:
            InputError: the model is for regression; or as of `predict`.
        """
        if not self.card["classes"]:
            raise InputError(f"{self.path} predicts numbers: it has no probabilities. Use predict.")
        return self._run(self.feeds(rows), "probabilities")

    def predict_scores(self, features: Features) -> NDArray[np.float32]:
        """Predict probabilities or values of rows as a task has them.

        Args:
            features: a task's own `Table` or `Images`, used as it is.

        Returns:
            (n, classes) float32 probabilities, in the order of `classes`; or (n,) float64 values.

        Raises:
            InputError: the model fails on these rows.
        """
        feeds: dict[str, NDArray[Any]]
        if "image" in self.card:
            feeds = {"image": cast(Images, features).pixels}
        else:
            feeds = dict(cast(Table, features).arrays)
        return self._run(feeds, "probabilities" if self.card["classes"] else "value")

    def feeds(self, rows: object) -> dict[str, NDArray[Any]]:
        """Convert raw rows to onnxruntime's input feed.

        Pixels outside the range of training are clipped with a warning.

        Args:
            rows: as of `predict`.

        Returns:
            Name of each input of the file -> its array: (n,) for a column, (n, h, w, c) uint8 for
            ``"image"``.

        Raises:
            InputError: as of `predict`.
        """
        if self._images is not None:
            if (ready := self._images.as_is(rows)) is not None:
                return {"image": ready}
            pixels, notes = _read_pixels(rows, self._images)
            for note in notes:
                warnings.warn(note, UserWarning, stacklevel=3)  # at the caller of predict
            return {"image": pixels}
        names = [column.name for column in self._columns]
        raw = _columns_by_name(rows, names, int(self.card.get("width", len(names))))
        return {
            column.name: convert_column(column, raw[column.name], self._na_values)
            for column in self._columns
        }

    def _run(self, feeds: Mapping[str, NDArray[Any]], output: str) -> NDArray[Any]:
        """Return an output for all rows, and check its shape."""
        name = self.card["outputs"][output]
        n_rows = len(next(iter(feeds.values())))
        if not n_rows:  # some operators refuse an empty batch
            blank = {input_name: _blank_row(array) for input_name, array in feeds.items()}
            return self._run_batch(blank, name)[:0]
        predicted = np.concatenate(
            [self._run_batch(batch, name) for batch in _batches(feeds, _BATCH_ROWS)]
        )
        shape = (n_rows, len(self.card["classes"])) if output == "probabilities" else (n_rows,)
        if predicted.shape != shape and (output != "label" or predicted.size != n_rows):
            raise self._unusable(f"its {output} have the shape {predicted.shape}, not {shape}")
        return predicted

    def _run_batch(self, batch: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
        """Return an output for some rows; halve the batch if it does not fit in memory."""
        try:
            predicted: NDArray[Any] = self.session.run([name], batch)[0]
            return predicted
        except Exception as error:  # onnxruntime's exceptions have no common base class
            n_rows = len(next(iter(batch.values())))
            if not is_out_of_memory(error):
                reason = str(error).strip().partition("\n")[0]
                raise self._unusable(f"onnxruntime cannot run it ({reason})") from error
            if n_rows < 2:
                raise self._unusable("one row takes more memory than there is for it") from error
        first = next(_batches(batch, 1))
        outputs = [self._run_batch(first, name)]  # fails at once if a single row is too large
        rest = {input_name: array[1:] for input_name, array in batch.items()}
        outputs += [self._run_batch(half, name) for half in _batches(rest, max(1, n_rows // 2))]
        return np.concatenate(outputs)

    def _unusable(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} must be a model of netwright, got one that fails: {reason}."
        )


def load(path: str | Path) -> Model:
    """Load the model of an ONNX file, or the one in a run folder.

    The file need not be trusted: anything that netwright does not write is refused, and all models
    that are loaded share a limit on memory (a quarter of the machine's, at most 4 GB).

    Args:
        path: of the file or the folder.

    Returns:
        The model, ready to predict.

    Raises:
        InputError: there is no such file, or it is damaged or not netwright's.

    Example:
        >>> labels = load("runs/titanic").predict(pandas.read_csv("new.csv"))
    """
    path = Path(path)
    if not path.is_dir():
        return Model(path, limit_memory=True)
    Folder(path).check(MODEL)  # a run folder need not be trusted either
    return Model(path / MODEL, limit_memory=True)


def _open_session(
    content: bytes, path: Path, threads: int, *, limit_memory: bool
) -> tuple[Card, InferenceSession]:
    """Return the card and session of a file; raise InputError unless it is whole and safe to run."""
    try:
        graph = read_graph(content, KEY)
        span = graph.metadata[KEY]
        card = read_card(content, span)
        check_signature(graph, card)
        finish_checksum = start_checksum(content, span)
        try:
            session = make_session(content, threads, limit_memory=limit_memory)
        finally:
            finish_checksum()  # a damaged file is reported as such, whatever onnxruntime says
    except LaterFormat as error:
        raise InputError(
            f"{path} must have format {FORMAT} or less, got {error.version}. Update netwright."
        ) from error
    except InvalidModelFile as error:
        raise InputError(
            f"{path} must be a model of netwright, got one that cannot be used: {error}."
        ) from error
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise InputError(
            f"{path} must be an ONNX file, got one that onnxruntime cannot load."
        ) from error
    return card, session


def _batches(feeds: Mapping[str, NDArray[Any]], size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield rows in batches, so that memory does not grow with their number."""
    for start in range(0, len(next(iter(feeds.values()))), size):
        yield {name: array[start : start + size] for name, array in feeds.items()}


def _blank_row(array: NDArray[Any]) -> NDArray[Any]:
    """Return one row of zeros or empty texts, of an array's shape and type."""
    shape = (1, *array.shape[1:])
    return np.full(shape, "", object) if array.dtype == object else np.zeros(shape, array.dtype)


def _columns_by_name(rows: object, names: list[str], width: int) -> Mapping[str, Any]:
    """Return the named columns; extra ones are ignored, a missing one is refused.

    If some columns of an array of this width were left out in training, the names are numbers.
    """
    rows = _as_columns(rows, names)
    if isinstance(rows, np.ndarray) or not hasattr(rows, "keys"):
        array = np.asarray(rows)
        are_numbers = all(name.isdecimal() for name in names)
        if array.ndim == 2 and array.shape[1] == width > len(names) and are_numbers:
            return {name: array[:, int(name)] for name in names}
        if array.ndim != 2 or array.shape[1] != len(names):
            rule = f"a table with the columns {', '.join(names)}"
            raise InputError(expected("rows", rule, Phrase(f"an array of shape {array.shape}")))
        return {name: array[:, i] for i, name in enumerate(names)}
    table = cast("Mapping[Hashable, Any]", rows)
    key_of = {str(key).strip(): key for key in table.keys()}  # noqa: SIM118  # a DataFrame iterates otherwise
    for name in names:
        if name not in key_of:
            available = ", ".join(key_of)
            raise InputError(
                f"rows must have the column {name!r}, got {available}. {closest(name, key_of)}"
            )
    blocks = _take_blocks(table, {key_of[name] for name in names})
    columns = {
        name: blocks[key_of[name]] if key_of[name] in blocks else np.asarray(table[key_of[name]])
        for name in names
    }
    if any(column.ndim == 0 for column in columns.values()):
        fix = "For one row give a table of one: DataFrame([row])."
        raise InputError(expected("rows", "a table, many values a column", Phrase("one row"), fix))
    if len({len(column) for column in columns.values()}) > 1:
        lengths = {name: len(column) for name, column in columns.items()}
        raise InputError(expected("columns", "of one length", lengths))
    return columns


def _as_columns(rows: object, names: list[str]) -> object:
    """Convert a list of records, and a row or column as a Series, to columns by name."""
    if is_list_of_dicts(rows):
        records = cast("list[dict[str, object]]", rows)
        keys = dict.fromkeys(key for record in records for key in record)
        return {key: _object_column([record.get(key) for record in records]) for key in keys}
    if hasattr(rows, "to_frame") and getattr(rows, "ndim", 0) == 1:
        series = cast("pd.Series[Any]", rows)
        labels = [str(label).strip() for label in series.index.tolist()]
        if set(names) <= set(labels):
            cell_of = dict(zip(labels, series.tolist(), strict=True))
            return {name: _object_column([cell_of[name]]) for name in names}
        if len(names) == 1:
            return {names[0]: np.asarray(series)}
    if not hasattr(rows, "keys") and not isinstance(rows, np.ndarray):  # polars, pyarrow
        column_names = getattr(rows, "column_names", None) or getattr(rows, "columns", None)
        if column_names is not None and all(isinstance(name, str) for name in column_names):
            table = cast("Mapping[str, Any]", rows)
            return {name: np.asarray(table[name]) for name in column_names}
    return rows


def _object_column(cells: Sequence[object]) -> NDArray[Any]:
    """Return (n,) objects: beside texts, numpy would convert numbers to texts."""
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


def _take_blocks(rows: object, keys: set[Hashable]) -> dict[Hashable, NDArray[Any]]:
    """Return columns (n,) of a DataFrame that can be converted as a block; none of other types.

    A block has `_MIN_BLOCK_COLUMNS` or more columns of one type, of numpy or text, and at most a
    batch of rows. The arrays are those that `numpy.asarray` gives of each column.
    """
    frame = cast("pd.DataFrame", rows)
    if not hasattr(frame, "iloc") or frame.ndim < 2 or len(frame) > _BATCH_ROWS:
        return {}
    if not frame.columns.is_unique:
        return {}
    column_keys = frame.columns.tolist()
    groups: dict[Any, list[int]] = {}
    for index, (key, dtype) in enumerate(zip(column_keys, frame.dtypes.tolist(), strict=True)):
        if key in keys and (isinstance(dtype, np.dtype) or dtype == "str"):
            groups.setdefault(dtype, []).append(index)
    columns: dict[Hashable, NDArray[Any]] = {}
    for indices in groups.values():
        if len(indices) >= _MIN_BLOCK_COLUMNS:
            block = frame if len(indices) == len(column_keys) else frame.iloc[:, indices]
            block_keys = (column_keys[index] for index in indices)
            columns.update(zip(block_keys, block.to_numpy().T, strict=True))
    return columns


def _read_pixels(rows: object, schema: ImageSchema) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return (n, h, w, c) uint8 of the size that the file takes, and notes for the user."""
    pixels, notes = (rows.pixels, ()) if isinstance(rows, Images) else schema.read(rows)
    if pixels.shape[1:] != schema.shape:
        fix = "Resize them first."
        if pixels.shape[3] != schema.shape[2]:
            fix = (
                "Repeat the channel first."
                if schema.shape[2] > 1
                else "Convert to greyscale first."
            )
        size = size_text(schema.shape)
        raise InputError(expected("rows", f"images of {size}", pixels.shape[1:], fix))
    return pixels, notes
