"""A decision: one open choice with its path, its legal values, and the conditions on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Value
from netwright.space.choices import Choice, NumberChoice, OneOfChoice, Options, SubsetOfChoice

Conditions = tuple[tuple[str, frozenset[Value]], ...]
"""Any of these makes a decision active: the path of a parent, and its values that do."""
_NEIGHBOUR_DISTANCE = 0.1
"""Share of a real number's range by which a neighbour differs."""
_MAX_VALUES_IN_ERRORS = 12


@dataclass(frozen=True)
class Decision:
    """One open choice of a space.

    Args:
        path: where the choice is in the description, or its name: ``network.0.kernel``.
        choice: what may be chosen.
        conditions: any of them makes the decision active; None: it always is.
        fixed: the one value that is left, if the space has been narrowed; else empty.
    """

    path: str
    choice: Choice
    conditions: Conditions | None = None
    fixed: tuple[Value, ...] = ()

    def __getstate__(self) -> dict[str, object]:
        """Without the cached properties: spaces are sent to workers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def values(self) -> Sequence[Value]:
        """The legal values in order; empty for a real number."""
        if self.fixed:
            return self.fixed
        if isinstance(self.choice, OneOfChoice):
            return self.choice.labels
        if isinstance(self.choice, SubsetOfChoice):
            return self.choice.subsets
        if self.choice.integer:
            return range(int(self.choice.low), int(self.choice.high) + 1)
        return (self.choice.low,) if self.choice.low == self.choice.high else ()

    @cached_property
    def index_of(self) -> Mapping[Value, int]:
        """Value -> its index in `values`."""
        return {value: i for i, value in enumerate(self.values)}

    def index(self, value: Value) -> int:
        """Return the value's index in `values`."""
        if isinstance(self.values, tuple):
            return self.index_of[value]
        return self.values.index(value)  # a range, maybe too long for `index_of`

    @property
    def n_options(self) -> int:
        """The number of options; of a subset, of those that it may contain."""
        return len(self.choice.labels) if isinstance(self.choice, Options) else len(self.values)

    @property
    def max_chosen(self) -> int:
        """How many options may be chosen at once."""
        return self.choice.max_size if isinstance(self.choice, SubsetOfChoice) else 1

    def option_indices(self, value: Value) -> tuple[int, ...]:
        """Return the indices of the options that a value chooses: one, or those of a subset."""
        if not isinstance(self.choice, Options):
            return (self.index(value),)
        labels = value if isinstance(self.choice, SubsetOfChoice) else (value,)
        assert isinstance(labels, tuple)  # a legal subset is a tuple
        return tuple(self.choice.labels.index(label) for label in labels)

    def from_unit(self, u: float) -> Value:
        """Map a coordinate in [0, 1) to a value; values have intervals of equal length."""
        if self.fixed:
            return self.fixed[0]
        if isinstance(self.choice, NumberChoice):
            return self.choice.from_unit(u)
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]

    def to_unit(self, value: Value) -> float:
        """Return the middle of the value's interval in [0, 1]."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            return self.choice.to_unit(value)  # type: ignore[arg-type]  # checked candidates hold numbers here
        return (self.index_of[value] + 0.5) / len(self.values)

    def contains(self, value: Value) -> bool:
        """Return whether the value is legal."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            return self.choice.contains(value)
        try:
            index = self.index_of.get(value)
        except TypeError:  # a list
            return False
        # in Python 1 == True == 1.0; as labels they differ
        return index is not None and type(self.values[index]) is type(value)

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """Return whether the decision is active, given the values of those before it."""
        return self.conditions is None or any(
            path in values and values[path] in activating for path, activating in self.conditions
        )

    def describe_values(self) -> str:
        """Describe the legal values in an error message."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            kind = "a whole number" if self.choice.integer else "a number"
            return f"{kind} from {self.choice.low:g} to {self.choice.high:g}"
        shown = ", ".join(map(repr, self.values[:_MAX_VALUES_IN_ERRORS]))
        return f"one of {shown}" + (", ..." if len(self.values) > _MAX_VALUES_IN_ERRORS else "")

    # Other values

    def random_other(self, value: Value, rng: np.random.Generator) -> Value:
        """Draw another legal value, each equally likely; of a real number, any."""
        if not self.values:
            return self.from_unit(rng.random())
        index = int(rng.integers(len(self.values) - 1))
        return self.values[index if index < self.index(value) else index + 1]

    def neighbours(self, value: Value) -> Iterator[Value]:
        """Yield all other legal values; of a real number, those a tenth of its range away."""
        if self.values:
            yield from (other for other in self.values if other != value)
            return
        u = self.to_unit(value)
        for neighbour in (u - _NEIGHBOUR_DISTANCE, u + _NEIGHBOUR_DISTANCE):
            if 0 <= neighbour <= 1:
                yield self.from_unit(neighbour)

    def random_neighbour(self, value: Value, rng: np.random.Generator) -> Value:
        """Draw one of the `neighbours`, each equally likely."""
        if self.values:
            return self.random_other(value, rng)
        neighbours = list(self.neighbours(value))
        return neighbours[int(rng.integers(len(neighbours)))]

    def argmax(self, scores: Sequence[float] | NDArray[np.float64] | None) -> Value:
        """Return the value of the highest score; the default without scores.

        Of a subset: the `max_size` best options with a score above 0, but at least `min_size`.
        """
        if scores is None or len(self.values) < 2:
            return self.from_unit(0.0)
        choice = self.choice
        if isinstance(choice, SubsetOfChoice):
            order = sorted(range(len(choice.labels)), key=lambda i: -scores[i])
            chosen = [
                i
                for rank, i in enumerate(order[: choice.max_size])
                if scores[i] > 0 or rank < choice.min_size
            ]
            return tuple(choice.labels[i] for i in sorted(chosen))
        return self.values[max(range(len(self.values)), key=lambda i: scores[i])]
