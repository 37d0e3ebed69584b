"""The delivered model: one ONNX file, read with numpy and onnxruntime alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from netwright.data.checks import is_list_of_dicts
from netwright.data.columns import columns_from_card, convert_column
from netwright.data.labels import classes_array, restore_labels
from netwright.data.na_values import NaValues
from netwright.data.pixels import ImageSchema, size_text
from netwright.data.task import Images
from netwright.deploy.card import FORMAT as FORMAT
from netwright.deploy.card import KEY as KEY
from netwright.deploy.card import Card, LaterFormat, checksum_check, read_card
from netwright.deploy.graph_reader import read_graph
from netwright.deploy.model_file import read_model
from netwright.deploy.protobuf import InvalidModelFile
from netwright.deploy.sessions import is_out_of_memory, make_session
from netwright.deploy.signature import check_interface
from netwright.errors import InputError, Phrase, closest, expected
from netwright.files.folder import Folder
from netwright.files.run_layout import MODEL

_BATCH = 1024
_TOGETHER = 8
"""So many columns of one type are taken from a DataFrame together, of a batch of rows at most: one
by one costs 25 microseconds a column, several times what a model needs for one row."""


class Model:
    """A model file (or its bytes), ready to predict.

    `card` is what the file says of itself: kind of task, classes, columns or image size, and what
    it scored. `threads` bounds the cores used; 0 takes all. `bounded`: the memory that it takes
    has an end (see `load`). Raises InputError for a file that is damaged, and, before onnxruntime
    sees it, for one that has what netwright does not write.
    """

    def __init__(
        self, source: str | Path | bytes, threads: int = 0, *, limit_memory: bool = False
    ) -> None:
        self.path = Path(MODEL) if isinstance(source, bytes) else Path(source)
        data = source if isinstance(source, bytes) else read_model(self.path)
        self.card, self.session = _open_session(data, self.path, threads, limit_memory)
        self._columns = columns_from_card(self.card) if "columns" in self.card else ()
        self._images = ImageSchema.from_card(self.card["image"]) if "image" in self.card else None
        self._marks = NaValues.from_card(self.card)

    @property
    def kind(self) -> str:
        """ "binary", "multiclass" or "regression"."""
        return str(self.card["kind"])

    @property
    def classes(self) -> tuple[Any, ...]:
        """The class labels, in the order of the probabilities; empty for regression."""
        return tuple(classes_array(self.card).tolist())

    def predict(self, rows: Any) -> NDArray[Any]:
        """(n,) labels, in the type they had in training, or values (float64).

        `rows`: a DataFrame, a mapping of column name to values, a list of records, a row as a
        Series, or an array (n, columns) in the columns' order; for images an array (n, h, w) or
        (n, h, w, c) of raw values as in training, whatever its dtype; those outside the range
        trained on are clipped with a warning. Raises InputError when a column is missing or the
        image size is another.
        """
        if not self.card["classes"]:
            return self._run(self.feeds(rows), "value")
        # files with a threshold that were written before format 2 give (n, 1)
        labels = self._run(self.feeds(rows), "label").reshape(-1)
        try:
            return restore_labels(labels, self.card)
        except (KeyError, ValueError, TypeError) as error:
            raise self._unusable("it gives labels that its card does not have") from error

    def predict_proba(self, rows: Any) -> NDArray[np.float32]:
        """(n, classes) probabilities. Raises InputError for a regression model."""
        if not self.card["classes"]:
            raise InputError(f"{self.path} predicts numbers: it has no probabilities. Use predict.")
        return self._run(self.feeds(rows), "probabilities")

    def predict_scores(self, features: Any) -> NDArray[np.float32]:
        """Probabilities (n, classes) or values (n,) of a task's own `Table` or `Images`."""
        feeds = {"image": features.pixels} if "image" in self.card else dict(features.arrays)
        return self._run(feeds, "probabilities" if self.card["classes"] else "value")

    def feeds(self, rows: Any) -> dict[str, NDArray[Any]]:
        """What onnxruntime takes, from raw rows: an array for each input of the file."""
        if self._images is not None:
            if (ready := self._images.as_is(rows)) is not None:
                return {"image": ready}
            pixels, notes = _pixels(rows, self._images)
            for note in notes:
                warnings.warn(note, UserWarning, stacklevel=3)  # of who called predict
            return {"image": pixels}
        names = [column.name for column in self._columns]
        raw = _columns(rows, names, int(self.card.get("width", len(names))))
        return {
            column.name: convert_column(column, raw[column.name], self._marks)
            for column in self._columns
        }

    def _run(self, feeds: Mapping[str, NDArray[Any]], output: str) -> NDArray[Any]:
        """The output for all rows, of as many axes and rows as it must have."""
        name = self.card["outputs"][output]
        if not len(next(iter(feeds.values()))):  # some operators take no empty batch
            blank = {name: _blank(array) for name, array in feeds.items()}
            return self._run_batch(blank, name)[:0]
        predicted = np.concatenate(
            [self._run_batch(batch, name) for batch in _batches(feeds, _BATCH)]
        )
        n_rows = len(next(iter(feeds.values())))
        shape = (n_rows, len(self.card["classes"])) if output == "probabilities" else (n_rows,)
        if predicted.shape != shape and (output != "label" or predicted.size != n_rows):
            raise self._unusable(f"its {output} have the shape {predicted.shape}, not {shape}")
        return predicted

    def _run_batch(self, batch: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
        """One output for some rows, fewer at a time where they do not fit in memory together."""
        try:
            predicted: NDArray[Any] = self.session.run([name], batch)[0]
            return predicted
        except Exception as error:  # onnxruntime's own exceptions share no base class of use
            rows = len(next(iter(batch.values())))
            if not is_out_of_memory(error):
                reason = str(error).strip().partition("\n")[0]
                raise self._unusable(f"onnxruntime cannot run it ({reason})") from error
            if rows < 2:
                raise self._unusable("one row takes more memory than there is for it") from error
        first = next(_batches(batch, 1))
        parts = [self._run_batch(first, name)]  # at once where a single row is too many
        rest = {name: array[1:] for name, array in batch.items()}
        parts += [self._run_batch(part, name) for part in _batches(rest, max(1, rows // 2))]
        return np.concatenate(parts)

    def _unusable(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} must be a model of netwright, got one that fails: {reason}."
        )


def load(path: str | Path) -> Model:
    """The model in an ONNX file, or the one that a run folder delivered.

    Files may come from strangers: what netwright does not write is refused, and all models that
    are opened here share a bound on memory (a quarter of the machine's, 4 GB at the most).
    """
    path = Path(path)
    if not path.is_dir():
        return Model(path, limit_memory=True)
    Folder(path).check(MODEL)  # a run folder may come from a stranger
    return Model(path / MODEL, limit_memory=True)


def _open_session(
    data: bytes, path: Path, threads: int, bounded: bool
) -> tuple[Card, InferenceSession]:
    """The card and session of a file. InputError unless it is whole, and all of it may be run."""
    try:
        graph = read_graph(data, KEY)
        span = graph.metadata[KEY]
        card = read_card(data, span)
        check_interface(graph, card)
        check = checksum_check(data, span)
        try:
            opened = make_session(data, threads, limit_memory=bounded)
        finally:
            check()  # what it says goes before what onnxruntime makes of damage
    except LaterFormat as error:
        raise InputError(
            f"{path} must have format {FORMAT} or less, got {error.version}. Update netwright."
        ) from error
    except InvalidModelFile as error:
        raise InputError(
            f"{path} must be a model of netwright, got one that cannot be used: {error}."
        ) from error
    except Exception as error:  # onnxruntime's own exceptions share no base class of use
        raise InputError(
            f"{path} must be an ONNX file, got one that onnxruntime cannot load."
        ) from error
    return card, opened


def _batches(feeds: Mapping[str, NDArray[Any]], size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Rows in batches, so that memory does not grow with them."""
    for start in range(0, len(next(iter(feeds.values()))), size):
        yield {name: array[start : start + size] for name, array in feeds.items()}


def _blank(array: NDArray[Any]) -> NDArray[Any]:
    """One row of nothing, shaped and typed like these."""
    shape = (1, *array.shape[1:])
    return np.full(shape, "", object) if array.dtype == object else np.zeros(shape, array.dtype)


def _columns(rows: Any, names: list[str], width: int) -> Mapping[str, Any]:
    """The columns by name; extra ones are ignored, a missing one is refused.

    An array of the `width` learnt from has its columns' numbers for names, where some were left out.
    """
    rows = _as_columns(rows, names)
    if isinstance(rows, np.ndarray) or not hasattr(rows, "keys"):
        array = np.asarray(rows)
        numbered = all(name.isdecimal() for name in names)
        if array.ndim == 2 and array.shape[1] == width > len(names) and numbered:
            return {name: array[:, int(name)] for name in names}
        if array.ndim != 2 or array.shape[1] != len(names):
            rule = f"a table with the columns {', '.join(names)}"
            raise InputError(expected("rows", rule, Phrase(f"an array of shape {array.shape}")))
        return {name: array[:, i] for i, name in enumerate(names)}
    have = {str(name).strip(): name for name in rows.keys()}  # noqa: SIM118  # a DataFrame iterates otherwise
    for name in names:
        if name not in have:
            raise InputError(
                f"rows must have the column {name!r}, got {', '.join(have)}. {closest(name, have)}"
            )
    together = _taken_together(rows, {have[name] for name in names})
    columns = {
        name: together[have[name]] if have[name] in together else np.asarray(rows[have[name]])
        for name in names
    }
    if any(column.ndim == 0 for column in columns.values()):
        fix = "For one row give a table of one: DataFrame([row])."
        raise InputError(expected("rows", "a table, many values a column", Phrase("one row"), fix))
    if len({len(column) for column in columns.values()}) > 1:
        lengths = {name: len(column) for name, column in columns.items()}
        raise InputError(expected("columns", "of one length", lengths))
    return columns


def _as_columns(rows: Any, names: list[str]) -> Any:
    """A list of records, a row or a column (both a Series) as columns by name; others as they are."""
    if is_list_of_dicts(rows):
        record_names = dict.fromkeys(name for row in rows for name in row)
        return {name: _column_of([row.get(name) for row in rows]) for name in record_names}
    if hasattr(rows, "to_frame") and getattr(rows, "ndim", 0) == 1:
        labels = [str(label).strip() for label in rows.index.tolist()]
        if set(names) <= set(labels):
            value_of = dict(zip(labels, rows.tolist(), strict=True))
            return {name: _column_of([value_of[name]]) for name in names}
        if len(names) == 1:
            return {names[0]: np.asarray(rows)}
    if not hasattr(rows, "keys") and not isinstance(rows, np.ndarray):  # polars, pyarrow
        own = getattr(rows, "column_names", None) or getattr(rows, "columns", None)
        if own is not None and all(isinstance(name, str) for name in own):
            return {name: np.asarray(rows[name]) for name in own}
    return rows


def _column_of(values: list[Any]) -> NDArray[Any]:
    """(n,) objects: numpy would make texts of numbers that stand beside texts."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _taken_together(rows: Any, names: set[Any]) -> dict[Any, NDArray[Any]]:
    """Columns (n,) of a DataFrame by name, where `_TOGETHER` of these or more have one type (of
    numpy, or texts): what `numpy.asarray` gives of each. None of anything else, or of many rows."""
    if not hasattr(rows, "iloc") or rows.ndim < 2 or len(rows) > _BATCH:
        return {}
    if not rows.columns.is_unique:
        return {}
    own = rows.columns.tolist()
    groups: dict[Any, list[int]] = {}
    for place, (name, dtype) in enumerate(zip(own, rows.dtypes.tolist(), strict=True)):
        if name in names and (isinstance(dtype, np.dtype) or dtype == "str"):
            groups.setdefault(dtype, []).append(place)
    found: dict[Any, NDArray[Any]] = {}
    for places in groups.values():
        if len(places) >= _TOGETHER:
            block = rows if len(places) == len(own) else rows.iloc[:, places]
            found.update(zip((own[place] for place in places), block.to_numpy().T, strict=True))
    return found


def _pixels(rows: Any, schema: ImageSchema) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(n, h, w, c) uint8 of the size that the file takes, and notes."""
    pixels, notes = (rows.pixels, ()) if isinstance(rows, Images) else schema.read(rows)
    if pixels.shape[1:] != schema.shape:
        fix = "Resize them first."
        if pixels.shape[3] != schema.shape[2]:
            fix = "Repeat the channel first." if schema.shape[2] > 1 else "Turn them grey first."
        raise InputError(
            expected("rows", f"images of {size_text(schema.shape)}", pixels.shape[1:], fix)
        )
    return pixels, notes
