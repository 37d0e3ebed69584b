"""Class labels: from a user's targets to classes, and back in the type in which they came.

In a CSV every label is a text. It stands for a number only where it is the plain writing of that
number (``1``, ``-2.5``; not ``01``, ``3.10``, ``1E5``), so that what is predicted is what was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = str | int | float | bool


BYTES_ENCODING = "latin-1"
"""Of labels that are bytes: every byte is a character, so that none is lost."""


def plain_label(text: str) -> Value:
    """The number or truth value of which a text is the plain writing, else the text."""
    if text in ("True", "False"):
        return text == "True"
    for convert in (int, float):
        try:
            value = convert(text)
        except ValueError:
            continue
        if str(value) == text and abs(value) < 2**63:
            return value
    return text


def plain_labels(texts: Sequence[str | None]) -> list[Value | None]:
    """Labels of a CSV: all numbers, all truth values, or all texts; None is missing.

    Whole and decimal numbers may stand side by side; texts stay where two would be one number.
    """
    distinct = {text: plain_label(text) for text in dict.fromkeys(texts) if text is not None}
    types = {type(label) for label in distinct.values()}
    same = types <= {int, float} or types == {bool}
    if not same or len(set(distinct.values())) < len(distinct):
        return list(texts)
    return [None if text is None else distinct[text] for text in texts]


def label_dtype(labels: Iterable[Value], given: np.dtype[Any] | None = None) -> str:
    """The numpy type in which predictions give the labels back, as `numpy.dtype` takes it.

    `given`: the type of the array in which they came; None: their own types decide.
    """
    if given is not None and given.kind in "biufUSO":
        return str(given.str) if given.kind in "US" else str(given)
    types = {type(label) for label in labels}
    if types == {bool}:
        return "bool"
    if types == {float}:
        return "float64"
    if types == {int}:
        return _whole_dtype([label for label in labels if isinstance(label, int)])
    return "object"


def _whole_dtype(labels: Sequence[int]) -> str:
    if all(-(2**63) <= label < 2**63 for label in labels):
        return "int64"
    return "uint64" if all(0 <= label < 2**64 for label in labels) else "object"


def sorted_labels(labels: Iterable[Value]) -> tuple[Value, ...]:
    """Truth values, then numbers by size, then texts by their letters."""

    def order(label: Value) -> tuple[int, Any]:
        return (0 if isinstance(label, bool) else 2 if isinstance(label, str) else 1, label)

    return tuple(sorted(labels, key=order))


def label_key(label: Value) -> tuple[str, Value]:
    """What tells labels apart: 1 and 1.0 are one, True and "1" are others."""
    if isinstance(label, bool):
        return ("truth", label)
    return ("text", label) if isinstance(label, str) else ("number", label)


def onnx_labels(classes: Sequence[Value]) -> NDArray[Any]:
    """(classes,) labels as a model file holds them: bool, int64, uint64, float64, or texts.

    Texts where labels are of several types; those that would be written alike are written as
    Python does, so that each class has a text of its own.
    """
    types = {type(label) for label in classes}
    if types == {bool}:
        return np.array(classes, np.bool_)
    if types == {int} and (dtype := _whole_dtype([int(label) for label in classes])) != "object":
        return np.array(classes, dtype)
    if types <= {int, float} and all(abs(label) <= 2**53 for label in classes):  # type: ignore[arg-type]
        return np.array(classes, np.float64)
    texts = [_in_file(str(label)) for label in classes]
    if len(set(texts)) < len(texts):
        texts = [_in_file(repr(label)) for label in classes]
    return np.array(texts, object)


def _in_file(text: str) -> str:
    """The text, with halves of pairs of surrogates written out: a file holds characters only."""
    return text.encode("utf-8", "backslashreplace").decode()


def restore_labels(predicted: NDArray[Any], card: Mapping[str, Any]) -> NDArray[Any]:
    """(n,) what the file predicts, as the labels that were given; `card`: the model's.

    Models written before labels had a type give what the file gives.
    """
    dtype = card.get("label_dtype")
    if dtype is None:
        return predicted
    classes = card["classes"]
    if predicted.dtype == object:
        label_of = dict(zip(onnx_labels(classes).tolist(), classes, strict=True))
        return _as_given([label_of[text] for text in predicted.tolist()], dtype)
    return predicted.astype(dtype, copy=False)


def _as_given(labels: Sequence[Value], dtype: str) -> NDArray[Any]:
    if np.dtype(dtype).kind == "S":
        return np.array([str(label).encode(BYTES_ENCODING) for label in labels], dtype)
    array = np.empty(len(labels), object)
    array[:] = labels
    return array.astype(dtype)


def classes_array(card: Mapping[str, Any]) -> NDArray[Any]:
    """(classes,) the labels in the order of the probabilities, in the type in which they came."""
    return _as_given(card["classes"], card.get("label_dtype", "object"))
