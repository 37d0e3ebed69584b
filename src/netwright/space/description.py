"""Finding every open choice of a description, naming it, and filling it in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from netwright.errors import SpaceError, expected
from netwright.space.candidate import Value
from netwright.space.choices import (
    NumberChoice,
    OneOfChoice,
    RepeatChoice,
    SharedChoice,
    SubsetOfChoice,
    is_open,
)
from netwright.space.decision import Conditions, Decision
from netwright.space.visitor import (
    Visitor,
    children,
    copy_paths,
    count_path,
    counts_by_value,
    join_path,
    labelled_options,
    with_children,
)


def find_decisions(description: Any) -> tuple[Decision, ...]:
    """Every decision, each after those that switch it on."""
    found: dict[str, Decision] = {}
    for decision in _Finder().visit(description, "", None):
        before = found.get(decision.path)
        if before is None:
            found[decision.path] = decision
            continue
        if before.choice != decision.choice:
            raise SpaceError(
                f"{decision.path} must name one choice, got two different ones. "
                "Give one of them another name."
            )
        found[decision.path] = replace(
            before, conditions=_either(before.conditions, decision.conditions)
        )
    return _parents_first(found)


def _either(a: Conditions | None, b: Conditions | None) -> Conditions | None:
    return None if a is None or b is None else tuple(dict.fromkeys((*a, *b)))


def _parents_first(found: Mapping[str, Decision]) -> tuple[Decision, ...]:
    """A shared part may be met before the last of its parents: sort, keeping the order met."""
    done: dict[str, Decision] = {}
    visiting: set[str] = set()

    def visit(path: str) -> None:
        if path in done:
            return
        if path in visiting:
            raise SpaceError(f"{path} must not switch itself on. Rename one of the shared parts.")
        visiting.add(path)
        for parent, _ in found[path].conditions or ():
            visit(parent)
        done[path] = found[path]

    for path in found:
        visit(path)
    return tuple(done.values())


class _Finder(Visitor[Iterator[Decision], Conditions | None]):
    """Each decision, with what switches it on; the same one for each place of a name."""

    def is_open(self, part: Any) -> bool:
        return True  # lists with choices in them are looked for everywhere

    def visit_one_of(
        self, part: OneOfChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        yield Decision(path, part, context)
        for label, option, below in labelled_options(part, path):
            yield from self.visit(option, below, ((path, frozenset([label])),))

    def visit_subset(
        self, part: SubsetOfChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        yield Decision(path, part, context)
        for label, option, below in labelled_options(part, path):
            if is_open(option):
                chosen = frozenset(subset for subset in part.subsets if label in subset)
                yield from self.visit(option, below, ((path, chosen),))

    def visit_number(
        self, part: NumberChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        yield Decision(path, part, context)

    def visit_repeat(
        self, part: RepeatChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        if is_open(part.times):
            yield from self.visit(part.times, join_path(path, "times"), context)
        if not is_open(part.block):
            return
        count, counts = count_path(part, path), counts_by_value(part)
        for i, below in enumerate(copy_paths(part, path)):
            enough = frozenset(value for value, times in counts if times > i)
            switch = ((count, enough),) if is_open(part.times) else context
            yield from self.visit(part.block, below, switch)

    def visit_container(
        self, part: Any, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        if isinstance(part, list) and any(map(is_open, part)):
            where = path or "the top"
            raise SpaceError(f"a description must hold tuples, got a list with choices at {where}.")
        for step, child in children(part):
            yield from self.visit(child, join_path(path, step), context)

    def visit_constant(
        self, part: Any, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        raise AssertionError("every part is looked into")


Filler: TypeAlias = Callable[[Mapping[str, Value], dict[int, Any]], Any]
"""Values of a legal candidate, and what is filled already (by filler) -> the closed part."""


def compile_filler(description: Any) -> Filler:
    """What fills the description's open choices in, made once for many candidates.

    A shared part is filled once, and stands in all places of that one `Shared` as one object. Of
    functions and plain data, so that it pickles.
    """
    return _Compiler().visit(description, "", {})


class _Compiler(Visitor[Filler, "dict[int, Filler]"]):
    """Fillers; the context: those of shared parts, by the part's identity."""

    def visit_shared(self, part: SharedChoice, context: dict[int, Filler]) -> Filler:
        if id(part) not in context:
            context[id(part)] = partial(_fill_shared, super().visit_shared(part, context))
        return context[id(part)]

    def _options(self, part: Any, path: str, context: dict[int, Filler]) -> dict[Value, Filler]:
        return {
            label: self.visit(option, below, context)
            for label, option, below in labelled_options(part, path)
        }

    def visit_one_of(self, part: OneOfChoice, path: str, context: dict[int, Filler]) -> Filler:
        return partial(_fill_one, path, self._options(part, path, context))

    def visit_subset(self, part: SubsetOfChoice, path: str, context: dict[int, Filler]) -> Filler:
        return partial(_fill_subset, path, self._options(part, path, context), part.mapping)

    def visit_number(self, part: NumberChoice, path: str, context: dict[int, Filler]) -> Filler:
        return partial(_fill_number, path)

    def visit_repeat(self, part: RepeatChoice, path: str, context: dict[int, Filler]) -> Filler:
        copies = tuple(self.visit(part.block, below, context) for below in copy_paths(part, path))
        times = self.visit(part.times, join_path(path, "times"), context)
        return partial(_fill_repeat, times, copies)

    def visit_container(self, part: Any, path: str, context: dict[int, Filler]) -> Filler:
        parts = tuple(
            self.visit(child, join_path(path, name), context) for name, child in children(part)
        )
        return partial(_fill_parts, part, parts)

    def visit_constant(self, part: Any, path: str, context: dict[int, Filler]) -> Filler:
        return partial(_closed, part)


def _closed(part: Any, values: Mapping[str, Value], done: dict[int, Any]) -> Any:
    return part


def _fill_shared(inner: Filler, values: Mapping[str, Value], done: dict[int, Any]) -> Any:
    if id(inner) not in done:
        done[id(inner)] = inner(values, done)
    return done[id(inner)]


def _fill_one(
    path: str, options: Mapping[Value, Filler], values: Mapping[str, Value], done: dict[int, Any]
) -> Any:
    return options[values[path]](values, done)


def _fill_subset(
    path: str, options: Mapping[Value, Filler], mapping: bool,
    values: Mapping[str, Value], done: dict[int, Any],
) -> Any:  # fmt: skip
    chosen = values[path]
    assert isinstance(chosen, tuple)  # legal
    filled = {name: options[name](values, done) for name in chosen}
    return filled if mapping else tuple(filled.values())


def _fill_number(path: str, values: Mapping[str, Value], done: dict[int, Any]) -> Any:
    return values[path]


def _fill_repeat(
    times: Filler, copies: Sequence[Filler], values: Mapping[str, Value], done: dict[int, Any]
) -> Any:
    return tuple(copy(values, done) for copy in copies[: times(values, done)])


def _fill_parts(
    part: Any, inside: Sequence[Filler], values: Mapping[str, Value], done: dict[int, Any]
) -> Any:
    return with_children(part, [child(values, done) for child in inside])


def describe(part: Any) -> Any:
    """The description as JSON, constants included: what the fingerprint covers."""
    if isinstance(part, OneOfChoice | SubsetOfChoice | NumberChoice | RepeatChoice | SharedChoice):
        inside = {one.name: describe(getattr(part, one.name)) for one in fields(part)}
        return {"choice": type(part).__name__} | inside
    if isinstance(part, tuple | list):
        return [describe(child) for child in part]
    if isinstance(part, Mapping):
        return {"mapping": [[describe(name), describe(child)] for name, child in part.items()]}
    if isinstance(part, partial):
        inside = {str(name): describe(child) for name, child in children(part)}
        return {"call": _full_name(part.func)} | inside
    if is_dataclass(part) and not isinstance(part, type):
        # without the module: a class that moves to another file keeps its studies
        inside = {one.name: describe(getattr(part, one.name)) for one in fields(part)}
        return {"class": type(part).__qualname__} | inside
    if part is None or isinstance(part, str | int | float | bool):
        return part
    return {"object": _full_name(part)}


def _full_name(thing: Any) -> str:
    name = getattr(thing, "__qualname__", "")
    if not name or "<lambda>" in name:
        rule = "made of dataclasses, numbers, texts and named functions"
        raise SpaceError(expected("a description", rule, thing, "Give it a name with def."))
    return f"{thing.__module__}.{name}"


def text_of(description: Any, extra: Mapping[str, Any]) -> str:
    """The text that the fingerprint is taken of."""
    return json.dumps([describe(description), dict(extra)], sort_keys=True)
