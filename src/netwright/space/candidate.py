"""A candidate: one decision for each active open choice of a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from netwright.errors import BrokenFile, InvalidCandidate, expected
from netwright.files.json_files import parse

Value: TypeAlias = str | int | float | bool | tuple["Value", ...] | None
"""The value of a decision; all of these types survive a round trip through JSON."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One decision for each active choice: ``{"network.0.kernel": 3, ...}``.

    Two candidates are equal if their decisions are, in whatever order. `Space.check` raises unless
    a candidate fits a space.

    Args:
        values: path of each active decision -> its value.

    Example:
        >>> Candidate({"kernel": 3, "layers.0": "conv"}).values["kernel"]
        3
    """

    values: Mapping[str, Value]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        # Comparing the values is cheap and nearly always enough; in Python, though, 1 == True == 1.0.
        return (
            isinstance(other, Candidate)
            and self.values == other.values
            and (self._has_only_strings or self._has_types_of(other))
        )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """A hash of the values, far cheaper than that of `key`."""
        try:
            return hash(frozenset(self.values.items()))
        except TypeError:  # a list, which no space contains but which may be asked about
            return hash(self.key)

    @cached_property
    def _has_only_strings(self) -> bool:
        """Whether equal values are of equal types: only a string equals a string."""
        return all(type(value) is str for value in self.values.values())

    def _has_types_of(self, other: Candidate) -> bool:
        return all(_same_types(value, other.values[path]) for path, value in self.values.items())

    @cached_property
    def key(self) -> str:
        """A stable name: 16 hexadecimal digits of the SHA-256 of the sorted JSON."""
        text = json.dumps(dict(self.values), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def json(self) -> str:
        """Return the decisions as a JSON object; tuples become lists."""
        return json.dumps(dict(self.values))

    @classmethod
    def from_json(cls, text: str | bytes) -> Candidate:
        """Return the candidate that `json` wrote; lists become tuples again.

        Args:
            text: a JSON object: path of each decision -> its value.

        Raises:
            InvalidCandidate: the text is not a JSON object of decisions.
        """
        try:
            values = parse(text, "a candidate")
        except BrokenFile:
            values = None
        if not isinstance(values, dict):
            raise InvalidCandidate(
                f"a candidate must be a JSON object of decisions, got {text[:60]!r}. "
                'Write {"path": value, ...}.'
            )
        return cls({path: _from_json(path, node) for path, node in values.items()})

    def __getstate__(self) -> dict[str, dict[str, Value]]:
        return {"values": dict(self.values)}  # without the cached properties

    def __setstate__(self, state: Mapping[str, Mapping[str, Value]]) -> None:
        object.__setattr__(self, "values", state["values"])


def _same_types(value: Value, other: Value) -> bool:
    """Return whether two equal values are of one type, inside tuples too."""
    if type(value) is not type(other):
        return False
    return not isinstance(value, tuple) or all(map(_same_types, value, other))  # type: ignore[arg-type]  # `other` is a tuple too


def _from_json(path: str, node: object) -> Value:
    """Convert a parsed JSON node to a value: lists become tuples, objects are refused."""
    if isinstance(node, list):
        return tuple(_from_json(path, child) for child in node)
    if node is None or isinstance(node, str | int | float | bool):
        return node
    rule = "a text, a number, true, false, null or a list of these"
    raise InvalidCandidate(expected(path, rule, node), path, node)
