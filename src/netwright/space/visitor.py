"""Walking a description: one dispatch over the kinds of its parts, and paths that are named once.

A path joins field names, places in tuples and keys of mappings with dots; below an option comes its
label. `name=` and `Shared` start a path anew, so that places of one name decide together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from netwright.space.candidate import Value
from netwright.space.choices import (
    NumberChoice,
    OneOfChoice,
    RepeatChoice,
    SharedChoice,
    SubsetOfChoice,
    init_fields,
    is_inline,
    is_open,
)

R = TypeVar("R")
C = TypeVar("C")


class Visitor(ABC, Generic[R, C]):
    """What to make of each kind of part; `visit` asks the method that fits.

    `context` is handed on as it is: what a walk knows at a place, beside its path.
    """

    def visit(self, part: Any, path: str, context: C) -> R:
        """The result of a part at a path."""
        if isinstance(part, SharedChoice):
            return self.visit_shared(part, context)
        if isinstance(part, OneOfChoice):
            return self.visit_one_of(part, part.name or path, context)
        if isinstance(part, SubsetOfChoice):
            return self.visit_subset(part, part.name or path, context)
        if isinstance(part, NumberChoice):
            return self.visit_number(part, part.name or path, context)
        if isinstance(part, RepeatChoice):
            return self.visit_repeat(part, part.name or path, context)
        if self.is_open(part):
            return self.visit_container(part, path, context)
        return self.visit_constant(part, path, context)

    def is_open(self, part: Any) -> bool:
        """Whether a part that is no choice has one in it."""
        return is_open(part)

    def visit_shared(self, part: SharedChoice, context: C) -> R:
        """A part that decides as all others of its name."""
        return self.visit(part.description, part.name, context)

    @abstractmethod
    def visit_one_of(self, part: OneOfChoice, path: str, context: C) -> R:
        """A choice of one option."""

    @abstractmethod
    def visit_subset(self, part: SubsetOfChoice, path: str, context: C) -> R:
        """A choice of some options."""

    @abstractmethod
    def visit_number(self, part: NumberChoice, path: str, context: C) -> R:
        """A choice of a number."""

    @abstractmethod
    def visit_repeat(self, part: RepeatChoice, path: str, context: C) -> R:
        """Copies."""

    @abstractmethod
    def visit_container(self, part: Any, path: str, context: C) -> R:
        """A tuple, mapping, call or dataclass with choices in it; see `children`."""

    @abstractmethod
    def visit_constant(self, part: Any, path: str, context: C) -> R:
        """A part without choices."""


def join_path(path: str, name: object) -> str:
    """``network.1`` and ``times`` -> ``network.1.times``; an empty name adds nothing."""
    return str(name) if not path else path if name == "" else f"{path}.{name}"


def labelled_options(
    part: OneOfChoice | SubsetOfChoice, path: str
) -> Iterator[tuple[Value, Any, str]]:
    """Label, option and the path below it."""
    for label, option in zip(part.labels, part.options, strict=True):
        yield label, option, join_path(path, label)


def copy_paths(part: RepeatChoice, path: str) -> list[str]:
    """The path of each copy that there may be."""
    return [join_path(path, "each" if part.same else i) for i in range(part.max_times)]


def count_path(part: RepeatChoice, path: str) -> str:
    """The path of the decision on how many copies there are."""
    return getattr(part.times, "name", None) or join_path(path, "times")


def counts_by_value(part: RepeatChoice) -> list[tuple[Value, int]]:
    """The values of that decision, and how many copies each means."""
    named = part.times.labels if isinstance(part.times, OneOfChoice) else part.possible_times
    return list(zip(named, part.possible_times, strict=True))


def children(part: Any) -> Iterator[tuple[object, Any]]:
    """The parts of a part that is no choice, and what each adds to the path."""
    if isinstance(part, tuple):
        yield from enumerate(part)
    elif isinstance(part, Mapping):
        yield from part.items()
    elif isinstance(part, partial):
        yield from enumerate(part.args)
        yield from part.keywords.items()
    elif is_dataclass(part) and not isinstance(part, type):
        for one in init_fields(part):
            yield "" if is_inline(one) else one.name, getattr(part, one.name)


def with_children(part: Any, parts: list[Any]) -> Any:
    """A part with these in place of its `children`, in their order."""
    if isinstance(part, tuple):
        return tuple(parts)
    if isinstance(part, Mapping):
        return dict(zip(part, parts, strict=True))
    if isinstance(part, partial):
        n = len(part.args)
        return partial(part.func, *parts[:n], **dict(zip(part.keywords, parts[n:], strict=True)))
    names = [one.name for one in init_fields(part)]
    return replace(part, **dict(zip(names, parts, strict=True)))


def map_children(part: Any, change: Callable[[Any], Any]) -> Any:
    """A part whose children are changed; the same object where none of them is."""
    before = [child for _, child in children(part)]
    after = [change(child) for child in before]
    if all(new is old for new, old in zip(after, before, strict=True)):
        return part
    return with_children(part, after)
