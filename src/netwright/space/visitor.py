"""Traversal of a description: one dispatch over the kinds of its children, and their paths.

A path joins field names, indices in tuples and keys of mappings with dots; below an option comes its
label. `name=` and `Shared` start a path anew, so that choices of one name decide together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

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

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R")
C = TypeVar("C")


class Visitor(ABC, Generic[R, C]):
    """Visitor of descriptions, as `ast.NodeVisitor` of syntax trees.

    `visit` calls the method for the kind of a description. `context` is passed on unchanged: what
    a traversal knows at a path beside the path itself.
    """

    def visit(self, description: object, path: str, context: C) -> R:
        """Return what the method for this kind of description returns."""
        if isinstance(description, SharedChoice):
            return self.visit_shared(description, context)
        if isinstance(description, OneOfChoice):
            return self.visit_one_of(description, description.name or path, context)
        if isinstance(description, SubsetOfChoice):
            return self.visit_subset(description, description.name or path, context)
        if isinstance(description, NumberChoice):
            return self.visit_number(description, description.name or path, context)
        if isinstance(description, RepeatChoice):
            return self.visit_repeat(description, description.name or path, context)
        if self.is_open(description):
            return self.visit_container(description, path, context)
        return self.visit_constant(description, path, context)

    def is_open(self, description: object) -> bool:
        """Return whether a description that is no choice contains one."""
        return is_open(description)

    def visit_shared(self, choice: SharedChoice, context: C) -> R:
        """Visit a description that decides as all others of its name."""
        return self.visit(choice.description, choice.name, context)

    @abstractmethod
    def visit_one_of(self, choice: OneOfChoice, path: str, context: C) -> R:
        """Visit a choice of one option."""

    @abstractmethod
    def visit_subset(self, choice: SubsetOfChoice, path: str, context: C) -> R:
        """Visit a choice of some options."""

    @abstractmethod
    def visit_number(self, choice: NumberChoice, path: str, context: C) -> R:
        """Visit a choice of a number."""

    @abstractmethod
    def visit_repeat(self, choice: RepeatChoice, path: str, context: C) -> R:
        """Visit repeated copies of a block."""

    @abstractmethod
    def visit_container(self, description: object, path: str, context: C) -> R:
        """Visit a tuple, mapping, call or dataclass that contains choices; see `children`."""

    @abstractmethod
    def visit_constant(self, description: object, path: str, context: C) -> R:
        """Visit a description without choices."""


def join_path(path: str, name: object) -> str:
    """``network.1`` and ``times`` -> ``network.1.times``; an empty name adds nothing."""
    if not path:
        return str(name)
    return path if name == "" else f"{path}.{name}"


def labelled_options(
    choice: OneOfChoice | SubsetOfChoice, path: str
) -> Iterator[tuple[Value, object, str]]:
    """Yield label, option and the option's path."""
    for label, option in zip(choice.labels, choice.options, strict=True):
        yield label, option, join_path(path, label)


def copy_paths(choice: RepeatChoice, path: str) -> list[str]:
    """Return the path of each copy that there may be."""
    return [join_path(path, "each" if choice.same else i) for i in range(choice.max_times)]


def count_path(choice: RepeatChoice, path: str) -> str:
    """Return the path of the decision on the number of copies."""
    return getattr(choice.times, "name", None) or join_path(path, "times")


def counts_by_value(choice: RepeatChoice) -> list[tuple[Value, int]]:
    """Return the values of that decision, each with the number of copies it means."""
    counts = choice.possible_times
    values = choice.times.labels if isinstance(choice.times, OneOfChoice) else counts
    return list(zip(values, counts, strict=True))


def children(description: object) -> Iterator[tuple[object, Any]]:
    """Yield the children of a description that is no choice, each with what it adds to the path."""
    if isinstance(description, tuple):
        yield from enumerate(description)
    elif isinstance(description, Mapping):
        yield from description.items()
    elif isinstance(description, partial):
        yield from enumerate(description.args)
        yield from description.keywords.items()
    elif is_dataclass(description) and not isinstance(description, type):
        for field in init_fields(description):
            yield "" if is_inline(field) else field.name, getattr(description, field.name)


def with_children(description: object, new: Sequence[object]) -> object:
    """Return a copy of a description with new `children`, in the same order."""
    if isinstance(description, tuple):
        return tuple(new)
    if isinstance(description, Mapping):
        return dict(zip(description, new, strict=True))
    if isinstance(description, partial):
        n_args = len(description.args)
        keywords = dict(zip(description.keywords, new[n_args:], strict=True))
        return partial(description.func, *new[:n_args], **keywords)
    instance = cast("DataclassInstance", description)
    names = [field.name for field in init_fields(instance)]
    return replace(instance, **dict(zip(names, new, strict=True)))


def map_children(description: object, change: Callable[[object], object]) -> object:
    """Return a description with its children changed; the same object if none of them is."""
    old = [child for _, child in children(description)]
    new = [change(child) for child in old]
    if all(after is before for after, before in zip(new, old, strict=True)):
        return description
    return with_children(description, new)
