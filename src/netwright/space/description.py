"""Find every open choice of a description, name it, and fill it in; the fingerprint's text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import TypeAlias, cast

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


def find_decisions(description: object) -> tuple[Decision, ...]:
    """Return every decision of a description, each after those that its conditions depend on."""
    decisions: dict[str, Decision] = {}
    for decision in _DecisionFinder().visit(description, "", None):
        earlier = decisions.get(decision.path)
        if earlier is None:
            decisions[decision.path] = decision
            continue
        if earlier.choice != decision.choice:
            raise SpaceError(
                f"{decision.path} must name one choice, got two different ones. "
                "Give one of them another name."
            )
        conditions = _either(earlier.conditions, decision.conditions)
        decisions[decision.path] = replace(earlier, conditions=conditions)
    return _parents_first(decisions)


def _either(a: Conditions | None, b: Conditions | None) -> Conditions | None:
    return None if a is None or b is None else tuple(dict.fromkeys((*a, *b)))


def _parents_first(decisions: Mapping[str, Decision]) -> tuple[Decision, ...]:
    """Sort topologically: a shared description may be visited before the last of its parents."""
    done: dict[str, Decision] = {}
    visiting: set[str] = set()

    def visit(path: str) -> None:
        if path in done:
            return
        if path in visiting:
            raise SpaceError(
                f"{path} must not depend on itself. Rename one of the shared descriptions."
            )
        visiting.add(path)
        for parent, _ in decisions[path].conditions or ():
            visit(parent)
        done[path] = decisions[path]

    for path in decisions:
        visit(path)
    return tuple(done.values())


class _DecisionFinder(Visitor[Iterator[Decision], Conditions | None]):
    """Yields each decision with its conditions; a shared one wherever its name is used."""

    def is_open(self, description: object) -> bool:
        return True  # visit everything: lists with choices in them are to be refused

    def visit_one_of(
        self, choice: OneOfChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        yield Decision(path, choice, context)
        for label, option, option_path in labelled_options(choice, path):
            yield from self.visit(option, option_path, ((path, frozenset([label])),))

    def visit_subset(
        self, choice: SubsetOfChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        yield Decision(path, choice, context)
        for label, option, option_path in labelled_options(choice, path):
            if is_open(option):
                activating = frozenset(subset for subset in choice.subsets if label in subset)
                yield from self.visit(option, option_path, ((path, activating),))

    def visit_number(
        self, choice: NumberChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        yield Decision(path, choice, context)

    def visit_repeat(
        self, choice: RepeatChoice, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        if is_open(choice.times):
            yield from self.visit(choice.times, join_path(path, "times"), context)
        if not is_open(choice.block):
            return
        times_path, counts = count_path(choice, path), counts_by_value(choice)
        for i, copy_path in enumerate(copy_paths(choice, path)):
            activating = frozenset(value for value, times in counts if times > i)
            conditions = ((times_path, activating),) if is_open(choice.times) else context
            yield from self.visit(choice.block, copy_path, conditions)

    def visit_container(
        self, description: object, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        if isinstance(description, list) and any(map(is_open, description)):
            where = path or "the top"
            raise SpaceError(f"a description must hold tuples, got a list with choices at {where}.")
        for name, child in children(description):
            yield from self.visit(child, join_path(path, name), context)

    def visit_constant(
        self, description: object, path: str, context: Conditions | None
    ) -> Iterator[Decision]:
        raise AssertionError("everything is visited as a container")


Filler: TypeAlias = Callable[[Mapping[str, Value], dict[int, object]], object]
"""Values of a legal candidate, and shared descriptions filled so far (by `id` of their filler)
-> the closed description."""


def compile_filler(description: object) -> Filler:
    """Return a function that fills in the open choices, compiled once for many candidates.

    A shared description is filled once, and is one object wherever that `Shared` is. The filler
    consists of module-level functions and plain data, so that it pickles.
    """
    return _FillerCompiler().visit(description, "", {})


class _FillerCompiler(Visitor[Filler, "dict[int, Filler]"]):
    """Compiles fillers; the context has those of shared choices, by `id` of the choice."""

    def visit_shared(self, choice: SharedChoice, context: dict[int, Filler]) -> Filler:
        if id(choice) not in context:
            context[id(choice)] = partial(_fill_shared, super().visit_shared(choice, context))
        return context[id(choice)]

    def _option_fillers(
        self, choice: OneOfChoice | SubsetOfChoice, path: str, context: dict[int, Filler]
    ) -> dict[Value, Filler]:
        return {
            label: self.visit(option, option_path, context)
            for label, option, option_path in labelled_options(choice, path)
        }

    def visit_one_of(self, choice: OneOfChoice, path: str, context: dict[int, Filler]) -> Filler:
        return partial(_fill_one_of, path, self._option_fillers(choice, path, context))

    def visit_subset(self, choice: SubsetOfChoice, path: str, context: dict[int, Filler]) -> Filler:
        fillers = self._option_fillers(choice, path, context)
        return partial(_fill_mapping if choice.mapping else _fill_subset, path, fillers)

    def visit_number(self, choice: NumberChoice, path: str, context: dict[int, Filler]) -> Filler:
        return partial(_fill_number, path)

    def visit_repeat(self, choice: RepeatChoice, path: str, context: dict[int, Filler]) -> Filler:
        copies = tuple(
            self.visit(choice.block, copy_path, context) for copy_path in copy_paths(choice, path)
        )
        times = self.visit(choice.times, join_path(path, "times"), context)
        return partial(_fill_repeat, times, copies)

    def visit_container(self, description: object, path: str, context: dict[int, Filler]) -> Filler:
        fillers = tuple(
            self.visit(child, join_path(path, name), context)
            for name, child in children(description)
        )
        return partial(_fill_children, description, fillers)

    def visit_constant(self, description: object, path: str, context: dict[int, Filler]) -> Filler:
        return partial(_constant, description)


def _constant(description: object, values: Mapping[str, Value], done: dict[int, object]) -> object:
    return description


def _fill_shared(inner: Filler, values: Mapping[str, Value], done: dict[int, object]) -> object:
    if id(inner) not in done:
        done[id(inner)] = inner(values, done)
    return done[id(inner)]


def _fill_one_of(
    path: str, options: Mapping[Value, Filler], values: Mapping[str, Value], done: dict[int, object]
) -> object:
    return options[values[path]](values, done)


def _fill_subset(
    path: str, options: Mapping[Value, Filler], values: Mapping[str, Value], done: dict[int, object]
) -> tuple[object, ...]:
    return tuple(_fill_mapping(path, options, values, done).values())


def _fill_mapping(
    path: str, options: Mapping[Value, Filler], values: Mapping[str, Value], done: dict[int, object]
) -> dict[Value, object]:
    labels = values[path]
    assert isinstance(labels, tuple)  # a legal subset is a tuple
    return {label: options[label](values, done) for label in labels}


def _fill_number(path: str, values: Mapping[str, Value], done: dict[int, object]) -> Value:
    return values[path]


def _fill_repeat(
    times: Filler, copies: Sequence[Filler], values: Mapping[str, Value], done: dict[int, object]
) -> tuple[object, ...]:
    n_copies = cast(int, times(values, done))
    return tuple(copy(values, done) for copy in copies[:n_copies])


def _fill_children(
    description: object,
    fillers: Sequence[Filler],
    values: Mapping[str, Value],
    done: dict[int, object],
) -> object:
    return with_children(description, [fill(values, done) for fill in fillers])


Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


def describe(description: object) -> Json:
    """Return a description as JSON, constants included, as the fingerprint covers it."""
    if isinstance(
        description, OneOfChoice | SubsetOfChoice | NumberChoice | RepeatChoice | SharedChoice
    ):
        settings = {
            field.name: describe(getattr(description, field.name)) for field in fields(description)
        }
        return {"choice": type(description).__name__} | settings
    if isinstance(description, tuple | list):
        return [describe(child) for child in description]
    if isinstance(description, Mapping):
        return {"mapping": [[describe(key), describe(child)] for key, child in description.items()]}
    if isinstance(description, partial):
        settings = {str(name): describe(child) for name, child in children(description)}
        return {"call": _full_name(description.func)} | settings
    if is_dataclass(description) and not isinstance(description, type):
        # without the module: studies outlive a class that moves to another file
        settings = {
            field.name: describe(getattr(description, field.name)) for field in fields(description)
        }
        return {"class": type(description).__qualname__} | settings
    if description is None or isinstance(description, str | int | float | bool):
        return description
    return {"object": _full_name(description)}


def _full_name(function: object) -> str:
    name = getattr(function, "__qualname__", "")
    if not name or "<lambda>" in name:
        rule = "made of dataclasses, numbers, texts and named functions"
        raise SpaceError(expected("a description", rule, function, "Give it a name with def."))
    return f"{function.__module__}.{name}"


def text_of(description: object, extra: Mapping[str, Json]) -> str:
    """Return the text that the fingerprint is the hash of."""
    return json.dumps([describe(description), dict(extra)], sort_keys=True)
