"""A mapping that hashes by its entries, for descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FrozenDict(dict[str, Any]):
    """A mapping that hashes by its entries: layers are cached by their fields.

    The order counts, since the last node of a graph is its output.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and [*self.items()] == [*other.items()]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]  # dict sets it to None
        return hash(tuple(self.items()))
