"""One open choice of a description: what it may be, and which values lie beside one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.space.candidate import Value
from netwright.space.choices import Choice, NumberChoice, OneOfChoice, Options, SubsetOfChoice

Conditions = tuple[tuple[str, frozenset[Value]], ...]
"""Any of these switches a decision on: a parent's path, and the values that do it."""


@dataclass(frozen=True)
class Decision:
    """One open choice: its path, what it chooses among, and when it is asked (None: always).

    `fixed` holds the one value that is left, where the space has been narrowed.
    """

    path: str
    choice: Choice
    conditions: Conditions | None = None
    fixed: tuple[Value, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Without what follows from the fields: a space travels to workers as small as it is."""
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
        """Value -> its place in `values`."""
        return {value: i for i, value in enumerate(self.values)}

    def index(self, value: Value) -> int:
        """The value's place in `values`."""
        if isinstance(self.values, tuple):
            return self.index_of[value]
        return self.values.index(value)  # a range, maybe too long for `places`

    @property
    def n_options(self) -> int:
        """How many options there are: of a subset, its possible members."""
        return len(self.choice.labels) if isinstance(self.choice, Options) else len(self.values)

    @property
    def max_chosen(self) -> int:
        """How many options may be chosen at once."""
        return self.choice.max_size if isinstance(self.choice, SubsetOfChoice) else 1

    def option_indices(self, value: Value) -> tuple[int, ...]:
        """The places of the options that a value chooses: several, where it is a subset."""
        if not isinstance(self.choice, Options):
            return (self.index(value),)
        names = value if isinstance(self.choice, SubsetOfChoice) else (value,)
        assert isinstance(names, tuple)  # legal
        return tuple(self.choice.labels.index(name) for name in names)

    def from_unit(self, unit: float) -> Value:
        """The value at a place in [0, 1): options share it equally."""
        if self.fixed:
            return self.fixed[0]
        if isinstance(self.choice, NumberChoice):
            return self.choice.from_unit(unit)
        return self.values[min(int(unit * len(self.values)), len(self.values) - 1)]

    def to_unit(self, value: Value) -> float:
        """The middle of the value's share of [0, 1]."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            return self.choice.to_unit(value)  # type: ignore[arg-type]  # checked candidates hold numbers here
        return (self.index_of[value] + 0.5) / len(self.values)

    def contains(self, value: Value) -> bool:
        """Whether the value is legal."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            return self.choice.contains(value)
        try:
            place = self.index_of.get(value)
        except TypeError:  # a list
            return False
        # 1 == True and 1 == 1.0 in Python; labels tell them apart
        return place is not None and type(self.values[place]) is type(value)

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """Whether the decision is active, given those before it."""
        return self.conditions is None or any(
            path in values and values[path] in switching for path, switching in self.conditions
        )

    def describe_values(self) -> str:
        """The legal values in words."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            what = "a whole number" if self.choice.integer else "a number"
            return f"{what} from {self.choice.low:g} to {self.choice.high:g}"
        return f"one of {', '.join(map(repr, self.values[:12]))}" + (
            ", ..." * (len(self.values) > 12)
        )

    # Other values

    def random_other(self, value: Value, rng: np.random.Generator) -> Value:
        """Another legal value, each equally likely; of a real number, any."""
        if not self.values:
            return self.from_unit(rng.random())
        place = int(rng.integers(len(self.values) - 1))
        return self.values[place + (place >= self.index(value))]

    def neighbours(self, value: Value) -> Iterator[Value]:
        """All other legal values; of a real number, a tenth of its range up and down."""
        if self.values:
            yield from (other for other in self.values if other != value)
            return
        unit = self.to_unit(value)
        for step in (unit - 0.1, unit + 0.1):
            if 0 <= step <= 1:
                yield self.from_unit(step)

    def random_neighbour(self, value: Value, rng: np.random.Generator) -> Value:
        """One of `others`, each equally likely."""
        if self.values:
            return self.random_other(value, rng)
        others = list(self.neighbours(value))
        return others[int(rng.integers(len(others)))]

    def argmax(self, scores: Sequence[float] | NDArray[np.float64] | None) -> Value:
        """The value of the highest score; the default without scores."""
        if scores is None or len(self.values) < 2:
            return self.from_unit(0.0)
        choice = self.choice
        if isinstance(choice, SubsetOfChoice):  # the best `most`, at least `least` of those above 0
            order = sorted(range(len(choice.labels)), key=lambda i: -scores[i])
            kept = [
                i
                for rank, i in enumerate(order[: choice.max_size])
                if scores[i] > 0 or rank < choice.min_size
            ]
            return tuple(choice.labels[i] for i in sorted(kept))
        return self.values[max(range(len(self.values)), key=lambda i: scores[i])]
