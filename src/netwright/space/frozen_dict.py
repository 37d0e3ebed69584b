"""A mapping that hashes by value, for descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FrozenDict(dict[str, Any]):
    """A mapping that hashes by value: layers are cached by what they are.

    Its order counts, since the last node of a graph is its output.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and [*self.items()] == [*other.items()]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]  # dict says None
        return hash(tuple(self.items()))
