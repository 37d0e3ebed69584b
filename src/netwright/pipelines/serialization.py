"""Fitted state as JSON and back: dataclasses by name, from a list of allowed classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.arrays import read_tensors
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain
from netwright.pipelines.interfaces import Arrays


def to_state(fitted: object) -> object:
    """Return dataclasses, tuples and mappings of plain values as JSON objects and lists."""
    if is_dataclass(fitted):
        attributes = {field.name: to_state(getattr(fitted, field.name)) for field in fields(fitted)}
        return {"is": type(fitted).__name__, "has": attributes}
    if isinstance(fitted, Mapping):
        return {"map": {name: to_state(entry) for name, entry in fitted.items()}}
    if isinstance(fitted, tuple | list):
        return [to_state(entry) for entry in fitted]
    return fitted


def from_state(state: object, classes: Iterable[type], what: str = "fitted state") -> Any:  # noqa: ANN401  # named in the state
    """Invert `to_state`; lists become tuples.

    Args:
        state: parsed JSON.
        classes: the classes that may occur in it.
        what: the name of the state in error messages.

    Raises:
        BrokenFile: Another class occurs, or a field has another type than its annotation.
    """
    by_name = {cls.__name__: cls for cls in classes}

    def restore(state: object) -> object:
        if isinstance(state, list):
            return tuple(restore(entry) for entry in state)
        if not isinstance(state, dict):
            return state
        if isinstance(state.get("map"), dict):
            return {name: restore(entry) for name, entry in state["map"].items()}
        name, attributes = state.get("is"), state.get("has")
        if not isinstance(name, str) or name not in by_name or not isinstance(attributes, dict):
            rule = f"made of {', '.join(by_name)}"
            raise BrokenFile(expected(what, rule, Phrase(f"{name!r}")))
        restored = {field: restore(entry) for field, entry in attributes.items()}
        return from_plain(restored, by_name[name], f"{name} in {what}")

    return restore(state)


def read_fields(folder: Path, name: str, dtypes: Mapping[str, str]) -> dict[str, Arrays]:
    """Read a safetensors file.

    Args:
        folder: the folder of the file.
        name: the name of the file.
        dtypes: name of each expected array -> its dtype. Shapes are for the caller to check.

    Raises:
        BrokenFile: Names or dtypes differ, or an array has NaN.
    """
    from safetensors.numpy import load

    arrays: dict[str, Arrays] = load(read_tensors(Folder(folder), name).content)
    actual = {key: str(array.dtype) for key, array in arrays.items()}
    if actual != dtypes:
        rule = f"made of {', '.join(dtypes)}"
        got = Phrase(", ".join(actual) or "nothing")
        raise BrokenFile(expected(str(folder / name), rule, got))
    for key, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise BrokenFile(expected(f"{key} in {folder / name}", "without NaN", Phrase("NaN")))
    return arrays
