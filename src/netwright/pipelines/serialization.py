"""What was learnt as JSON and back: dataclasses by their names, from a list of known ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.arrays import read_tensors
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain


def written(value: Any) -> Any:
    """Dataclasses, tuples and mappings of plain values as what JSON has."""
    if is_dataclass(value):
        has = {field.name: written(getattr(value, field.name)) for field in fields(value)}
        return {"is": type(value).__name__, "has": has}
    if isinstance(value, Mapping):
        return {"map": {name: written(item) for name, item in value.items()}}
    if isinstance(value, tuple | list):
        return [written(item) for item in value]
    return value


def read(state: Any, kinds: Iterable[type], what: str = "what was learnt") -> Any:
    """The inverse of `written`; lists become tuples.

    Raises:
        BrokenFile: A class is not among `kinds`, or a field is of another type than annotated;
            `what` names the state.
    """
    known = {kind.__name__: kind for kind in kinds}

    def value(state: Any) -> Any:
        if isinstance(state, list):
            return tuple(value(item) for item in state)
        if not isinstance(state, dict):
            return state
        if isinstance(state.get("map"), dict):
            return {name: value(item) for name, item in state["map"].items()}
        name, has = state.get("is"), state.get("has")
        if not isinstance(name, str) or name not in known or not isinstance(has, dict):
            rule = f"made of {', '.join(known)}"
            raise BrokenFile(expected(what, rule, Phrase(f"{name!r}")))
        inner = {field: value(item) for field, item in has.items()}
        return from_plain(inner, known[name], f"{name} in {what}")

    return value(state)


def read_fields(folder: Path, name: str, dtypes: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file that has exactly these names and types, without NaN.

    Raises BrokenFile for any other file; what the shapes have to be is the caller's to check.
    """
    from safetensors.numpy import load

    arrays: dict[str, NDArray[Any]] = load(read_tensors(Folder(folder), name).content)
    found = {key: str(array.dtype) for key, array in arrays.items()}
    if found != dtypes:
        rule = f"made of {', '.join(dtypes)}"
        raise BrokenFile(expected(str(folder / name), rule, Phrase(", ".join(found) or "nothing")))
    for key, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise BrokenFile(expected(f"{key} in {folder / name}", "without NaN", Phrase("some")))
    return arrays
