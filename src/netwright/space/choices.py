"""The open choices of a description.

At run time each is a frozen dataclass; for the type checker the functions that make them return
the type of what they choose among, as `dataclasses.field` does. So a field stays an `int`, a wrong
option in it is an error, and the code of a layer never sees an open choice.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import partial
from itertools import combinations
from typing import Any, TypeVar, cast, overload

from netwright.errors import SpaceError, expected
from netwright.space.candidate import Value

T = TypeVar("T")

_MOST_SUBSETS = 4000
_WIDEST = 2**53
"""A place in [0, 1) has so many different values."""


@dataclass(frozen=True)
class Options:
    """One of several labelled options, or a subset of them."""

    options: tuple[Any, ...]
    labels: tuple[Value, ...]
    name: str | None = None


@dataclass(frozen=True)
class OneOfChoice(Options):
    """Exactly one of the options."""


@dataclass(frozen=True)
class SubsetOfChoice(Options):
    """Some of the options, in their order; `mapping`: filled as a mapping of label to option."""

    min_size: int = 0
    max_size: int = 0
    mapping: bool = False

    @property
    def subsets(self) -> tuple[tuple[Value, ...], ...]:
        """Every legal subset, smaller ones first."""
        sizes = range(self.min_size, self.max_size + 1)
        return tuple(subset for size in sizes for subset in combinations(self.labels, size))


@dataclass(frozen=True)
class NumberChoice:
    """A number from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    name: str | None = None

    def from_unit(self, u: float) -> int | float:
        """The number at a place in [0, 1): whole numbers share it equally, or by their logarithm."""
        if not 0 < u < 1:  # exact ends: their logarithm and back is a little off
            return self.low if u <= 0 else self.high
        low, high = (self.low, self.high + 1) if self.integer else (self.low, self.high)
        if self.log:
            value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            value = low + u * (high - low)
        if self.integer:
            return int(min(max(math.floor(value + 1e-12), self.low), self.high))
        return min(max(value, self.low), self.high)

    def to_unit(self, value: float) -> float:
        """A place in [0, 1] that `at` maps back to the value."""
        low, high = (self.low, self.high + 1) if self.integer else (self.low, self.high)
        shift = 0.5 if self.integer else 0.0
        if high <= low:
            return 0.0
        if self.log:
            return (math.log(value + shift) - math.log(low)) / (math.log(high) - math.log(low))
        return (value + shift - low) / (high - low)

    def contains(self, value: object) -> bool:
        """Whether the value is one of these numbers."""
        right = isinstance(value, int) if self.integer else isinstance(value, int | float)
        return right and not isinstance(value, bool) and self.low <= cast(float, value) <= self.high


@dataclass(frozen=True)
class RepeatChoice:
    """Copies of an item; `times` may be an open choice of whole numbers."""

    block: Any
    times: Any
    same: bool = False
    name: str | None = None

    @property
    def max_times(self) -> int:
        """The largest number of copies."""
        return max(self.possible_times)

    @property
    def possible_times(self) -> tuple[int, ...]:
        """Every number of copies that may be chosen."""
        if isinstance(self.times, NumberChoice) and self.times.integer:
            return tuple(range(int(self.times.low), int(self.times.high) + 1))
        return self.times.options if isinstance(self.times, OneOfChoice) else (self.times,)


@dataclass(frozen=True)
class SharedChoice:
    """A part whose decisions are those of every other part of the same name."""

    description: Any
    name: str


Choice = OneOfChoice | SubsetOfChoice | NumberChoice
"""What a decision decides."""


@overload
def OneOf(options: Mapping[str, T], /, *, name: str | None = None) -> T: ...
@overload
def OneOf(*options: T, name: str | None = None) -> T: ...
def OneOf(*options: Any, name: str | None = None) -> Any:  # noqa: N802  # reads as the noun it makes
    """Exactly one of the options; ``OneOf({"label": option})`` names them."""
    return OneOfChoice(*_labelled(options), name=name)


@overload
def SubsetOf(  # type: ignore[overload-overlap]  # one mapping is always labelled options
    options: Mapping[str, T],
    /,
    *,
    min_size: int = 0,
    max_size: int | None = None,
    name: str | None = None,
) -> Mapping[str, T]: ...
@overload
def SubsetOf(
    *options: T, min_size: int = 0, max_size: int | None = None, name: str | None = None
) -> tuple[T, ...]: ...
def SubsetOf(  # noqa: N802  # as OneOf
    *options: Any, min_size: int = 0, max_size: int | None = None, name: str | None = None
) -> Any:
    """Choose `min_size` to `max_size` of the options, in their order; of a mapping: a mapping."""
    parts, labels = _labelled(options)
    max_size = len(parts) if max_size is None else max_size
    if not 0 <= min_size <= max_size <= len(parts):
        rule = f"0 <= min_size <= max_size <= {len(parts)}"
        raise SpaceError(expected("SubsetOf", rule, (min_size, max_size), "Count the options."))
    count = sum(math.comb(len(parts), size) for size in range(min_size, max_size + 1))
    if count > _MOST_SUBSETS:
        raise SpaceError(
            f"SubsetOf must have at most {_MOST_SUBSETS:,} subsets, got {count:,}. "
            "Use one OneOf(True, False) for each option, or a smaller `max_size`."
        )
    mapping = len(options) == 1 and isinstance(options[0], Mapping)
    return SubsetOfChoice(parts, labels, name, min_size, max_size, mapping)


def Integer(low: int, high: int, *, log: bool = False, name: str | None = None) -> int:  # noqa: N802  # as OneOf
    """A whole number, both ends included."""
    for bound in (low, high):
        if not isinstance(bound, int) or isinstance(bound, bool):
            raise SpaceError(expected("Integer", "bounded by whole numbers", bound, "Use Float."))
    return cast(int, _number(low, high, log, integer=True, name=name))


def Float(low: float, high: float, *, log: bool = False, name: str | None = None) -> float:  # noqa: N802  # as OneOf
    """A real number; `log`: drawn evenly in its logarithm."""
    for bound in (low, high):
        if not isinstance(bound, int | float) or isinstance(bound, bool):
            raise SpaceError(expected("Float", "bounded by numbers", bound))
        if isinstance(bound, int) and abs(bound) > sys.float_info.max:
            rule = f"bounded by numbers of at most {sys.float_info.max:.2g} in size"
            raise SpaceError(expected("Float", rule, bound))
    return cast(float, _number(float(low), float(high), log, integer=False, name=name))


def Repeat(block: T, times: int, *, same: bool = False, name: str | None = None) -> tuple[T, ...]:  # noqa: N802  # as OneOf
    """`times` copies; each decides for itself unless `same`."""
    repeat = RepeatChoice(block, times, same, name)
    for count in repeat.possible_times:
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            rule = "a whole number from 0 on, or OneOf or Integer of such"
            raise SpaceError(expected("times", rule, count))
    return cast("tuple[T, ...]", repeat)


def Shared(description: T, name: str) -> T:  # noqa: N802  # as OneOf
    """Every place with this name makes the same decisions. Their weights stay separate."""
    return cast(T, SharedChoice(description, name))


def inline(**options: Any) -> Any:
    """A dataclass field whose name does not show in paths."""
    return field(**options, metadata={"inline": True})


def is_inline(field: Field[Any]) -> bool:
    """Whether a field was made by `inline`."""
    return bool(field.metadata.get("inline"))


def init_fields(part: Any) -> list[Field[Any]]:
    """The fields a dataclass is made with: the others follow from them."""
    return [one for one in fields(part) if one.init]


def label(option: Any) -> Value:
    """The stable name of an option, from the option alone: adding another never renames it.

    A number or text is its own label; a description is ``Class`` with its closed fields that are
    not the default: ``Conv(kernel=3)``. Raises SpaceError for what has no name of its own.
    """
    if option is None or isinstance(option, str | int | float | bool):
        return option
    if isinstance(option, partial):
        return label(option.func)
    if is_dataclass(option) and not isinstance(option, type):
        known = ", ".join(f"{name}={value}" for name, value in _settings(option))
        return type(option).__name__ + (f"({known})" if known else "")
    name = getattr(option, "__name__", "")
    if not name or name == "<lambda>":
        raise SpaceError(
            f"an option must have a name of its own, got {type(option).__name__}. "
            'Name it: OneOf({"label": option, ...}).'
        )
    return str(name)


def _settings(option: Any) -> list[tuple[str, Value]]:
    """The closed fields that are not the default."""
    found = []
    for one in init_fields(option):
        value = getattr(option, one.name)
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            others = {name: part for name, part in value.items() if default.get(name) != part}
            found += [(name, label(part)) for name, part in others.items() if not is_open(part)]
            continue
        if not is_open(value) and value != default:
            found.append((one.name, label(value)))
    return found


def is_open(part: Any) -> bool:
    """Whether there is an open choice anywhere in it."""
    if isinstance(part, OneOfChoice | SubsetOfChoice | NumberChoice | RepeatChoice | SharedChoice):
        return True
    if isinstance(part, tuple):
        return any(is_open(item) for item in part)
    if isinstance(part, Mapping):
        return any(is_open(item) for item in part.values())
    if isinstance(part, partial):
        return any(is_open(item) for item in (*part.args, *part.keywords.values()))
    if is_dataclass(part) and not isinstance(part, type):
        return any(is_open(getattr(part, one.name)) for one in init_fields(part))
    return False


def _labelled(options: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Value, ...]]:
    if len(options) == 1 and isinstance(options[0], Mapping):
        labels: tuple[Value, ...] = tuple(options[0])
        parts = tuple(options[0].values())
    else:
        parts, labels = options, tuple(label(option) for option in options)
    if not parts:
        raise SpaceError("a choice must have at least one option, got none.")
    for i, one in enumerate(labels):
        if any(one == other for other in labels[:i]):
            raise SpaceError(
                f"options must have different labels, got {one!r} twice. "
                'Name them: OneOf({"label": option, ...}).'
            )
    return parts, labels


def _number(low: float, high: float, log: bool, *, integer: bool, name: str | None) -> NumberChoice:
    if not (-math.inf < low <= high < math.inf):  # whole numbers may be too large for floats
        raise SpaceError(expected("a number's bounds", "finite and in order", (low, high)))
    if integer and max(abs(low), abs(high), high - low) > _WIDEST:
        rule = "at most 2**53 from 0 and from each other: beyond, floats skip whole numbers"
        raise SpaceError(expected("an Integer's bounds", rule, (low, high), "Use Float."))
    if not math.isfinite(high - low):
        fix = "Use log=True, or a power that is chosen."
        raise SpaceError(expected("a number's bounds", "less than 1.8e308 apart", (low, high), fix))
    if log and low <= 0:
        raise SpaceError(expected("low", "above 0 on a logarithmic scale", low))
    return NumberChoice(low, high, log, integer, name)
