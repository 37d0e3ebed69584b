"""Class labels: from a user's targets to classes, and back in their original type.

In a CSV, every label is a text. It becomes a number only if the text is exactly how Python prints
the number (``1``, ``-2.5``; not ``01``, ``3.10``, ``1E5``), so that predictions are spelled as the
training labels were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Label: TypeAlias = str | int | float | bool

BYTES_ENCODING = "latin-1"
"""Encoding of labels that are bytes: every byte is a character, so none is lost."""


def parse_label(text: str) -> Label:
    """Return the number or boolean that Python prints as this text, else the text."""
    if text in ("True", "False"):
        return text == "True"
    for number_type in (int, float):
        try:
            number = number_type(text)
        except ValueError:
            continue
        if str(number) == text and abs(number) < 2**63:
            return number
    return text


def parse_labels(texts: Sequence[str | None]) -> list[Label | None]:
    """Parse the labels of a CSV to all numbers, all booleans, or all texts; None is missing.

    Whole and decimal numbers may be mixed. Labels stay texts if two of them would be equal numbers.
    """
    label_of = {text: parse_label(text) for text in dict.fromkeys(texts) if text is not None}
    types = {type(label) for label in label_of.values()}
    is_one_type = types <= {int, float} or types == {bool}
    if not is_one_type or len(set(label_of.values())) < len(label_of):
        return list(texts)
    return [None if text is None else label_of[text] for text in texts]


def label_dtype(labels: Iterable[Label], given: np.dtype[Any] | None = None) -> str:
    """Return the dtype of predicted labels, as `numpy.dtype` takes it.

    Args:
        labels: The classes.
        given: The dtype of the user's array of labels; None: the labels' own types decide.
    """
    if given is not None and given.kind in "biufUSO":
        return str(given.str) if given.kind in "US" else str(given)
    types = {type(label) for label in labels}
    if types == {bool}:
        return "bool"
    if types == {float}:
        return "float64"
    if types == {int}:
        return _integer_dtype([label for label in labels if isinstance(label, int)])
    return "object"


def _integer_dtype(labels: Sequence[int]) -> str:
    if all(-(2**63) <= label < 2**63 for label in labels):
        return "int64"
    return "uint64" if all(0 <= label < 2**64 for label in labels) else "object"


def sorted_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Sort labels: booleans, then numbers, then texts."""

    def order(label: Label) -> tuple[int, Any]:
        return (0 if isinstance(label, bool) else 2 if isinstance(label, str) else 1, label)

    return tuple(sorted(labels, key=order))


def label_key(label: Label) -> tuple[str, Label]:
    """Return a key that tells labels apart: 1 and 1.0 are equal; True and "1" differ from both."""
    if isinstance(label, bool):
        return ("truth", label)
    return ("text", label) if isinstance(label, str) else ("number", label)


def onnx_labels(classes: Sequence[Label]) -> NDArray[Any]:
    """Return (classes,) labels as a model file stores them: bool, int64, uint64, float64 or texts.

    Labels of several types become texts. If two would be the same text, all are written as Python's
    `repr`, so that each class has its own.
    """
    types = {type(label) for label in classes}
    if types == {bool}:
        return np.array(classes, np.bool_)
    if types == {int} and (dtype := _integer_dtype([int(label) for label in classes])) != "object":
        return np.array(classes, dtype)
    if types <= {int, float} and all(abs(label) <= 2**53 for label in classes):  # type: ignore[arg-type]
        return np.array(classes, np.float64)
    texts = [_escape_surrogates(str(label)) for label in classes]
    if len(set(texts)) < len(texts):
        texts = [_escape_surrogates(repr(label)) for label in classes]
    return np.array(texts, object)


def _escape_surrogates(text: str) -> str:
    """Escape lone surrogates, which a file in UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def restore_labels(predicted: NDArray[Any], card: Mapping[str, Any]) -> NDArray[Any]:
    """Return (n,) labels that a model file predicts in the type of the user's labels.

    A card without a label type (of an older version) leaves them as they are in the file.
    """
    dtype = card.get("label_dtype")
    if dtype is None:
        return predicted
    classes = card["classes"]
    if predicted.dtype == object:
        label_of = dict(zip(onnx_labels(classes).tolist(), classes, strict=True))
        return _label_array([label_of[text] for text in predicted.tolist()], dtype)
    return predicted.astype(dtype, copy=False)


def _label_array(labels: Sequence[Label], dtype: str) -> NDArray[Any]:
    if np.dtype(dtype).kind == "S":
        return np.array([str(label).encode(BYTES_ENCODING) for label in labels], dtype)
    array = np.empty(len(labels), object)
    array[:] = labels
    return array.astype(dtype)


def classes_array(card: Mapping[str, Any]) -> NDArray[Any]:
    """Return (classes,) labels in the order of the probabilities, in the type of the user's."""
    return _label_array(card["classes"], card.get("label_dtype", "object"))
