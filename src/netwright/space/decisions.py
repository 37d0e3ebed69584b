"""Finding every open choice of a description, naming it, and filling it in.

A path joins field names, places in tuples and keys of mappings with dots; below an option comes
its label. `name=` and `Shared` start a path anew, so that places of one name decide together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeAlias

from netwright.errors import SpaceError, expected
from netwright.space.candidate import Value
from netwright.space.choices import (
    Choice,
    NumberChoice,
    OneOfChoice,
    Options,
    RepeatChoice,
    SharedChoice,
    SubsetOfChoice,
    given,
    is_inline,
    is_open,
)

When = tuple[tuple[str, frozenset[Value]], ...]
"""Any of these switches a decision on: a parent's path, and the values that do it."""


@dataclass(frozen=True)
class Decision:
    """One open choice: its path, what it chooses among, and when it is asked (None: always).

    `fixed` holds the one value that is left, where the space has been narrowed.
    """

    path: str
    choice: Choice
    when: When | None = None
    fixed: tuple[Value, ...] = ()

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
    def places(self) -> Mapping[Value, int]:
        """Value -> its place in `values`."""
        return {value: i for i, value in enumerate(self.values)}

    def place(self, value: Value) -> int:
        """The value's place in `values`."""
        if isinstance(self.values, tuple):
            return self.places[value]
        return self.values.index(value)  # a range, maybe too long for `places`

    @property
    def options(self) -> int:
        """How many options there are: of a subset, its possible members."""
        return len(self.choice.labels) if isinstance(self.choice, Options) else len(self.values)

    @property
    def most(self) -> int:
        """How many options may be chosen at once."""
        return self.choice.most if isinstance(self.choice, SubsetOfChoice) else 1

    def chosen(self, value: Value) -> tuple[int, ...]:
        """The places of the options that a value chooses: several, where it is a subset."""
        if not isinstance(self.choice, Options):
            return (self.place(value),)
        names = value if isinstance(self.choice, SubsetOfChoice) else (value,)
        assert isinstance(names, tuple)  # legal
        return tuple(self.choice.labels.index(name) for name in names)

    def at(self, unit: float) -> Value:
        """The value at a place in [0, 1): options share it equally."""
        if self.fixed:
            return self.fixed[0]
        if isinstance(self.choice, NumberChoice):
            return self.choice.at(unit)
        return self.values[min(int(unit * len(self.values)), len(self.values) - 1)]

    def unit(self, value: Value) -> float:
        """The middle of the value's share of [0, 1]."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            return self.choice.unit(value)  # type: ignore[arg-type]  # checked candidates hold numbers here
        return (self.places[value] + 0.5) / len(self.values)

    def holds(self, value: Value) -> bool:
        """Whether the value is legal."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            return self.choice.holds(value)
        try:
            place = self.places.get(value)
        except TypeError:  # a list
            return False
        # 1 == True and 1 == 1.0 in Python; labels tell them apart
        return place is not None and type(self.values[place]) is type(value)

    def is_asked(self, values: Mapping[str, Value]) -> bool:
        """Whether the decision is active, given those before it."""
        return self.when is None or any(
            path in values and values[path] in switching for path, switching in self.when
        )

    def legal(self) -> str:
        """The legal values in words."""
        if not self.fixed and isinstance(self.choice, NumberChoice):
            what = "a whole number" if self.choice.integer else "a number"
            return f"{what} from {self.choice.low:g} to {self.choice.high:g}"
        return f"one of {', '.join(map(repr, self.values[:12]))}" + (
            ", ..." * (len(self.values) > 12)
        )


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
