"""The open choices of a description.

At run time each is a frozen dataclass; for the type checker the functions that make them return
the type of what they choose among, as `dataclasses.field` does. So a field stays an `int`, a wrong
option in it is an error, and the code of a layer never sees an open choice.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from netwright.errors import SpaceError, expected
from netwright.space.candidate import Value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

_MAX_SUBSETS = 4000
"""Subsets that one choice may have: all of them are listed in memory."""
_MAX_INTEGER = 2**53
"""Integers beyond it, or more of them, cannot be told apart by floats in [0, 1)."""
_ROUNDING_ERROR = 1e-12
"""Tolerance of `to_unit` and back for integers."""


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
    """Choice of `min_size` to `max_size` of the options, in their order.

    Filled as a tuple; if `mapping`, as a mapping of label to option.
    """

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
        """Map a coordinate in [0, 1) to a number.

        Integers have intervals of equal length, or of equal length in their logarithm.
        """
        if not 0 < u < 1:  # exactly the bounds: exp(log(x)) is a little off
            return self.low if u <= 0 else self.high
        low, high = (self.low, self.high + 1) if self.integer else (self.low, self.high)
        if self.log:
            x = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            x = low + u * (high - low)
        if self.integer:
            return int(min(max(math.floor(x + _ROUNDING_ERROR), self.low), self.high))
        return min(max(x, self.low), self.high)

    def to_unit(self, value: float) -> float:
        """Return a coordinate in [0, 1] that `from_unit` maps back to the number."""
        low, high = (self.low, self.high + 1) if self.integer else (self.low, self.high)
        shift = 0.5 if self.integer else 0.0
        if high <= low:
            return 0.0
        if self.log:
            return (math.log(value + shift) - math.log(low)) / (math.log(high) - math.log(low))
        return (value + shift - low) / (high - low)

    def contains(self, value: object) -> bool:
        """Return whether the value is one of these numbers."""
        right_type = isinstance(value, int) if self.integer else isinstance(value, int | float)
        return (
            right_type
            and not isinstance(value, bool)
            and self.low <= cast(float, value) <= self.high
        )


@dataclass(frozen=True)
class RepeatChoice:
    """Copies of a block; `times` may be an open choice of integers.

    With `same`, the copies make the same decisions.
    """

    block: object
    times: object
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
        options = self.times.options if isinstance(self.times, OneOfChoice) else (self.times,)
        return cast("tuple[int, ...]", options)  # `Repeat` has checked them


@dataclass(frozen=True)
class SharedChoice:
    """A description that makes the same decisions as all others of the same name."""

    description: object
    name: str


Choice = OneOfChoice | SubsetOfChoice | NumberChoice
"""The open choices that are decided; repeated and shared descriptions only contain some."""


@overload
def OneOf(options: Mapping[str, T], /, *, name: str | None = None) -> T: ...
@overload
def OneOf(*options: T, name: str | None = None) -> T: ...
def OneOf(*options: object, name: str | None = None) -> object:  # noqa: N802  # reads as the noun it makes
    """Choose exactly one of the options.

    Args:
        *options: numbers, texts, descriptions, named functions or classes; or one mapping of label
            to option. Labels appear in paths and in candidates.
        name: starts the choice's path anew: choices of one name decide together.

    Returns:
        An open choice, typed as one of its options.

    Raises:
        SpaceError: there is no option, two have one label, or one has no name of its own.

    Example:
        >>> layer = Conv(channels=16, kernel=OneOf(3, 5, 7))
        >>> tail = OneOf({"plain": (), "normalised": (Norm(),)})
    """
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
    *options: object, min_size: int = 0, max_size: int | None = None, name: str | None = None
) -> object:
    """Choose some of the options, in their order.

    Args:
        *options: as of `OneOf`.
        min_size: the smallest number of options to choose.
        max_size: the largest number of options to choose; None for all.
        name: as of `OneOf`.

    Returns:
        An open choice, filled as a tuple of options; as a mapping, if a mapping was given.

    Raises:
        SpaceError: as of `OneOf`; or the sizes are out of order, or there are more than 4,000
            subsets.

    Example:
        >>> node = Node(SubsetOf({"in": Skip(), "1": Conv(3)}, min_size=1))
    """
    unlabelled, labels = _labelled(options)
    n = len(unlabelled)
    max_size = n if max_size is None else max_size
    if not 0 <= min_size <= max_size <= n:
        rule = f"in order, 0 <= min_size <= max_size <= {n}"
        sizes = (min_size, max_size)
        raise SpaceError(expected("the sizes of SubsetOf", rule, sizes, "Count the options."))
    n_subsets = sum(math.comb(n, size) for size in range(min_size, max_size + 1))
    if n_subsets > _MAX_SUBSETS:
        raise SpaceError(
            f"SubsetOf must have at most {_MAX_SUBSETS:,} subsets, got {n_subsets:,}. "
            "Use one OneOf(True, False) for each option, or a smaller max_size."
        )
    mapping = len(options) == 1 and isinstance(options[0], Mapping)
    return SubsetOfChoice(unlabelled, labels, name, min_size, max_size, mapping)


def Integer(low: int, high: int, *, log: bool = False, name: str | None = None) -> int:  # noqa: N802  # as OneOf
    """Choose an integer.

    Args:
        low: the smallest, included; above 0 if `log`.
        high: the largest, included; at most 2**53 from 0 and from `low`.
        log: sampled uniformly in its logarithm.
        name: as of `OneOf`.

    Returns:
        An open choice, typed as an integer.

    Raises:
        SpaceError: the bounds are not integers, not in order, too large, or not above 0 if `log`.
    """
    for bound in (low, high):
        if not isinstance(bound, int) or isinstance(bound, bool):
            raise SpaceError(expected("Integer", "bounded by whole numbers", bound, "Use Float."))
    return cast(int, _number_choice(low, high, log=log, integer=True, name=name))


def Float(low: float, high: float, *, log: bool = False, name: str | None = None) -> float:  # noqa: N802  # as OneOf
    """Choose a real number.

    Args:
        low: the smallest, included; above 0 if `log`.
        high: the largest, included.
        log: sampled uniformly in its logarithm, as learning rates are.
        name: as of `OneOf`.

    Returns:
        An open choice, typed as a number.

    Raises:
        SpaceError: the bounds are not finite numbers, not in order, or not above 0 if `log`.
    """
    for bound in (low, high):
        if not isinstance(bound, int | float) or isinstance(bound, bool):
            raise SpaceError(expected("Float", "bounded by numbers", bound))
        if isinstance(bound, int) and abs(bound) > sys.float_info.max:
            rule = f"bounded by numbers of at most {sys.float_info.max:.2g} in size"
            raise SpaceError(expected("Float", rule, bound))
    return cast(float, _number_choice(float(low), float(high), log=log, integer=False, name=name))


def Repeat(block: T, times: int, *, same: bool = False, name: str | None = None) -> tuple[T, ...]:  # noqa: N802  # as OneOf
    """Repeat a block, as the layers of a stage are.

    Args:
        block: what is repeated; its open choices are decided for each copy.
        times: the number of copies, from 0; may be an `Integer`, or a `OneOf` of integers.
        same: all copies make the same decisions.
        name: as of `OneOf`.

    Returns:
        An open choice, filled as a tuple of copies.

    Raises:
        SpaceError: `times` is not an integer from 0 on, or may be chosen not to be.

    Example:
        >>> stage = Repeat(Conv(channels=16, kernel=OneOf(3, 5)), times=Integer(1, 4))
    """
    repeat = RepeatChoice(block, times, same, name)
    for count in repeat.possible_times:
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            rule = "a whole number from 0 on, or OneOf or Integer of such"
            raise SpaceError(expected("times", rule, count))
    return cast("tuple[T, ...]", repeat)


def Shared(description: T, name: str) -> T:  # noqa: N802  # as OneOf
    """Let a description decide as all others of the same name do; weights stay separate.

    Args:
        description: with open choices, the same wherever the name is used.
        name: starts the paths of the choices anew.

    Returns:
        The shared description, typed as the description.
    """
    return cast(T, SharedChoice(description, name))


@overload
def inline(*, default: T) -> T: ...
@overload
def inline(*, default_factory: Callable[[], T]) -> T: ...
def inline(*, default: object = MISSING, default_factory: object = MISSING) -> object:
    """Declare a dataclass field whose name does not appear in paths; see `dataclasses.field`."""
    return field(default=default, default_factory=default_factory, metadata={"inline": True})  # type: ignore[call-overload]  # one of them is MISSING


def is_inline(field: Field[Any]) -> bool:
    """Return whether a field was declared by `inline`."""
    return bool(field.metadata.get("inline"))


def init_fields(description: DataclassInstance) -> list[Field[Any]]:
    """Return the fields that a dataclass is constructed with: the others follow from them."""
    return [field for field in fields(description) if field.init]


def label(option: object) -> Value:
    """Return the stable name of an option, from the option alone: adding another never renames it.

    A number or text is its own label; a description is ``Class`` with its closed fields that are
    not the default: ``Conv(kernel=3)``. Raises SpaceError for what has no name of its own.
    """
    if option is None or isinstance(option, str | int | float | bool):
        return option
    if isinstance(option, partial):
        return label(option.func)
    if is_dataclass(option) and not isinstance(option, type):
        settings = ", ".join(f"{name}={text}" for name, text in _changed_settings(option))
        return type(option).__name__ + (f"({settings})" if settings else "")
    name = getattr(option, "__name__", "")
    if not name or name == "<lambda>":
        raise SpaceError(
            f"an option must have a name of its own, got {type(option).__name__}. "
            'Name it: OneOf({"label": option, ...}).'
        )
    return str(name)


def _changed_settings(option: DataclassInstance) -> list[tuple[str, Value]]:
    """Return name and label of the closed fields that are not the default."""
    changed: list[tuple[str, Value]] = []
    for setting_field in init_fields(option):
        setting, default = getattr(option, setting_field.name), setting_field.default
        if setting_field.default_factory is not MISSING:
            default = setting_field.default_factory()
        if isinstance(setting, Mapping) and isinstance(default, Mapping):
            entries = {key: entry for key, entry in setting.items() if default.get(key) != entry}
            changed += [(key, label(entry)) for key, entry in entries.items() if not is_open(entry)]
            continue
        if not is_open(setting) and setting != default:
            changed.append((setting_field.name, label(setting)))
    return changed


def is_open(description: object) -> bool:
    """Return whether there is an open choice anywhere in a description."""
    if isinstance(
        description, OneOfChoice | SubsetOfChoice | NumberChoice | RepeatChoice | SharedChoice
    ):
        return True
    if isinstance(description, tuple):
        return any(is_open(child) for child in description)
    if isinstance(description, Mapping):
        return any(is_open(child) for child in description.values())
    if isinstance(description, partial):
        return any(is_open(child) for child in (*description.args, *description.keywords.values()))
    if is_dataclass(description) and not isinstance(description, type):
        return any(is_open(getattr(description, field.name)) for field in init_fields(description))
    return False


def _labelled(options: tuple[object, ...]) -> tuple[tuple[object, ...], tuple[Value, ...]]:
    """Return the options and their labels: of a mapping its keys, else the `label` of each."""
    if len(options) == 1 and isinstance(options[0], Mapping):
        labels: tuple[Value, ...] = tuple(options[0])
        options = tuple(options[0].values())
    else:
        labels = tuple(label(option) for option in options)
    if not options:
        raise SpaceError("a choice must have at least one option, got none.")
    for i, name in enumerate(labels):
        if any(name == earlier for earlier in labels[:i]):
            raise SpaceError(
                f"options must have different labels, got {name!r} twice. "
                'Name them: OneOf({"label": option, ...}).'
            )
    return options, labels


def _number_choice(
    low: float, high: float, *, log: bool, integer: bool, name: str | None
) -> NumberChoice:
    if not (-math.inf < low <= high < math.inf):  # integers may be too large for floats
        raise SpaceError(expected("a number's bounds", "finite and in order", (low, high)))
    if integer and max(abs(low), abs(high), high - low) > _MAX_INTEGER:
        rule = "at most 2**53 from 0 and from each other: beyond, floats skip whole numbers"
        raise SpaceError(expected("an Integer's bounds", rule, (low, high), "Use Float."))
    if not math.isfinite(high - low):
        fix = "Use log=True, or choose a power instead."
        raise SpaceError(expected("a number's bounds", "less than 1.8e308 apart", (low, high), fix))
    if log and low <= 0:
        raise SpaceError(expected("low", "above 0 on a logarithmic scale", low))
    return NumberChoice(low, high, log, integer, name)
