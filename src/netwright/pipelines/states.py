"""What was learnt as JSON and back: dataclasses by their names, from a list of known ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any


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


def read(state: Any, kinds: Iterable[type]) -> Any:
    """The inverse of `written`; lists become tuples. KeyError at a class not among `kinds`."""
    known = {kind.__name__: kind for kind in kinds}

    def value(state: Any) -> Any:
        if isinstance(state, list):
            return tuple(value(item) for item in state)
        if not isinstance(state, dict):
            return state
        if "map" in state:
            return {name: value(item) for name, item in state["map"].items()}
        return known[state["is"]](**{name: value(item) for name, item in state["has"].items()})

    return value(state)
