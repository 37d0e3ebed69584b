"""Finding every open choice of a description, naming it, and filling it in.

A path joins field names, places in tuples and keys of mappings with dots; below an option comes
its label. `name=` and `Shared` start a path anew, so that places of one name decide together.
"""

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
    given,
    is_inline,
    is_open,
)
from netwright.space.decision import Decision, When


def find(description: Any) -> tuple[Decision, ...]:
    """Every decision, each after those that switch it on."""
    found: dict[str, Decision] = {}
    for decision in _walk(description, "", None):
        before = found.get(decision.path)
        if before is None:
            found[decision.path] = decision
            continue
        if before.choice != decision.choice:
            raise SpaceError(
                f"{decision.path} must name one choice, got two different ones. "
                "Give one of them another name."
            )
        found[decision.path] = replace(before, when=_either(before.when, decision.when))
    return _parents_first(found)


def _either(a: When | None, b: When | None) -> When | None:
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
        for parent, _ in found[path].when or ():
            visit(parent)
        done[path] = found[path]

    for path in found:
        visit(path)
    return tuple(done.values())


def _walk(part: Any, path: str, when: When | None) -> Iterator[Decision]:
    if isinstance(part, SharedChoice):
        yield from _walk(part.part, part.name, when)
    elif isinstance(part, OneOfChoice):
        path = part.name or path
        yield Decision(path, part, when)
        for option, name in zip(part.options, part.labels, strict=True):
            yield from _walk(option, join(path, name), ((path, frozenset([name])),))
    elif isinstance(part, SubsetOfChoice):
        path = part.name or path
        yield Decision(path, part, when)
        for option, name in zip(part.options, part.labels, strict=True):
            if is_open(option):
                chosen = frozenset(subset for subset in part.subsets if name in subset)
                yield from _walk(option, join(path, name), ((path, chosen),))
    elif isinstance(part, NumberChoice):
        yield Decision(part.name or path, part, when)
    elif isinstance(part, RepeatChoice):
        yield from _walk_repeat(part, part.name or path, when)
    elif isinstance(part, list) and any(map(is_open, part)):
        where = path or "the top"
        raise SpaceError(f"a description must hold tuples, got a list with choices at {where}.")
    else:
        for step, child in children(part):
            yield from _walk(child, join(path, step), when)


def _walk_repeat(part: RepeatChoice, path: str, when: When | None) -> Iterator[Decision]:
    if is_open(part.times):
        yield from _walk(part.times, join(path, "times"), when)
    if not is_open(part.item):
        return
    count = getattr(part.times, "name", None) or join(path, "times")
    named: Sequence[Value] = (
        part.times.labels if isinstance(part.times, OneOfChoice) else part.counts
    )
    for i in range(part.most):
        enough = frozenset(
            name for name, times in zip(named, part.counts, strict=True) if times > i
        )
        switch = ((count, enough),) if is_open(part.times) else when
        yield from _walk(part.item, join(path, "each" if part.same else i), switch)


def join(path: str, name: object) -> str:
    """``network.1`` and ``times`` -> ``network.1.times``; an empty name adds nothing."""
    return str(name) if not path else path if name == "" else f"{path}.{name}"


def children(part: Any) -> Iterator[tuple[object, Any]]:
    """The parts of a closed part, and what each adds to the path."""
    if isinstance(part, tuple):
        yield from enumerate(part)
    elif isinstance(part, Mapping):
        yield from part.items()
    elif isinstance(part, partial):
        yield from enumerate(part.args)
        yield from part.keywords.items()
    elif is_dataclass(part) and not isinstance(part, type):
        for one in given(part):
            yield "" if is_inline(one) else one.name, getattr(part, one.name)


Filler: TypeAlias = Callable[[Mapping[str, Value], dict[int, Any]], Any]
"""Values of a legal candidate, and what is filled already (by filler) -> the closed part."""


def filler(description: Any) -> Filler:
    """What fills the description's open choices in, made once for many candidates.

    A shared part is filled once, and stands in all places of that one `Shared` as one object. Of
    functions and plain data, so that it pickles.
    """
    return _filler(description, "", {})


def _filler(part: Any, path: str, known: dict[int, Filler]) -> Filler:
    """`known`: fillers of shared parts, by the part's identity."""
    if isinstance(part, SharedChoice):
        if id(part) not in known:
            known[id(part)] = partial(_fill_shared, _filler(part.part, part.name, known))
        return known[id(part)]
    if isinstance(part, OneOfChoice | SubsetOfChoice):
        path = part.name or path
        options = {
            name: _filler(option, join(path, name), known)
            for name, option in zip(part.labels, part.options, strict=True)
        }
        if isinstance(part, OneOfChoice):
            return partial(_fill_one, path, options)
        return partial(_fill_subset, path, options, part.mapping)
    if isinstance(part, NumberChoice):
        return partial(_fill_number, part.name or path)
    if isinstance(part, RepeatChoice):
        path = part.name or path
        names = ("each" if part.same else i for i in range(part.most))
        copies = tuple(_filler(part.item, join(path, name), known) for name in names)
        return partial(_fill_repeat, _filler(part.times, join(path, "times"), known), copies)
    if not is_open(part):
        return partial(_closed, part)
    inside = tuple(
        (name, _filler(child, join(path, name), known)) for name, child in children(part)
    )
    return partial(_fill_parts, part, inside)


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
    part: Any, inside: Sequence[tuple[object, Filler]],
    values: Mapping[str, Value], done: dict[int, Any],
) -> Any:  # fmt: skip
    parts = [(name, child(values, done)) for name, child in inside]
    if isinstance(part, tuple):
        return tuple(child for _, child in parts)
    if isinstance(part, Mapping):
        return dict(parts)
    if isinstance(part, partial):
        n = len(part.args)
        return partial(part.func, *(child for _, child in parts[:n]), **dict(parts[n:]))  # type: ignore[arg-type]  # keywords are texts
    names = [one.name for one in given(part)]
    return replace(part, **dict(zip(names, (child for _, child in parts), strict=True)))


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
