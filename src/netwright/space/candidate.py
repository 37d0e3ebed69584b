"""A candidate: one decision for each active open choice of a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from netwright.errors import BrokenFile, InvalidCandidate, expected
from netwright.files.json_files import parse

Value: TypeAlias = str | int | float | bool | tuple["Value", ...] | None
"""What a decision may hold; everything here survives JSON."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One decision for each active choice: ``{"network.0.kernel": 3, ...}``.

    Equal when the decisions are equal, whatever their order. `Space.check` says whether it fits.
    """

    values: Mapping[str, Value]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        # values first: cheap, and nearly always enough; then 1, True and 1.0 are told apart
        return (
            isinstance(other, Candidate)
            and self.values == other.values
            and (self._only_texts or self._alike(other))
        )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Far cheaper than the key's."""
        try:
            return hash(frozenset(self.values.items()))
        except TypeError:  # a list in it: no space holds it, but it can be asked about
            return hash(self.key)

    @cached_property
    def _only_texts(self) -> bool:
        """Nothing but texts equals them, so that nothing is left to tell apart."""
        return all(type(value) is str for value in self.values.values())

    def _alike(self, other: Candidate) -> bool:
        return all(_alike(value, other.values[path]) for path, value in self.values.items())

    @cached_property
    def key(self) -> str:
        """A stable name: 16 hexadecimal digits of the SHA-256 of the sorted JSON."""
        text = json.dumps(dict(self.values), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def json(self) -> str:
        """The decisions as a JSON object; tuples become lists."""
        return json.dumps(dict(self.values))

    @classmethod
    def from_json(cls, text: str | bytes) -> Candidate:
        """The inverse of `json`; lists become tuples again."""
        try:
            values = parse(text, "a candidate")
        except BrokenFile:
            values = None
        if not isinstance(values, dict):
            raise InvalidCandidate(
                f"a candidate must be a JSON object of decisions, got {text[:60]!r}. "
                'Write {"path": value, ...}.'
            )
        return cls({path: _tuples(path, value) for path, value in values.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {"values": dict(self.values)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "values", state["values"])


def _alike(value: Value, other: Value) -> bool:
    """Whether equal values are of one type, inside tuples too."""
    if type(value) is not type(other):
        return False
    return not isinstance(value, tuple) or all(map(_alike, value, other))  # type: ignore[arg-type]  # of its type


def _tuples(path: str, value: Any) -> Value:
    """JSON has lists where candidates have tuples; objects are no decisions."""
    if isinstance(value, list):
        return tuple(_tuples(path, item) for item in value)
    if isinstance(value, dict):
        rule = "a text, a number, true, false, null or a list of these"
        raise InvalidCandidate(expected(path, rule, value), path, value)
    plain: Value = value
    return plain
