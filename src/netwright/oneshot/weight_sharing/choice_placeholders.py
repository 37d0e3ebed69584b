"""An open network with a mark at every choice: what names the weights of each place.

Marks are layers, so that they pass through any composite, and are never built. Of a candidate a
mark holds what was chosen; of the whole network everything that may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from itertools import product
from typing import Any, Literal, NamedTuple, TypeAlias

from netwright.errors import InfeasibleCandidate, Phrase, SpaceError, expected
from netwright.networks.interfaces.layer import Layer, Network
from netwright.networks.layers.graph import is_dead
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
from netwright.space.decision import Decision
from netwright.space.description import Filler, compile_filler, find_decisions
from netwright.space.visitor import (
    Visitor,
    children,
    copy_paths,
    count_path,
    counts_by_value,
    join_path,
    labelled_options,
)

Values: TypeAlias = Mapping[str, Value]
Route: TypeAlias = tuple[tuple[str, Network], ...]
"""Named parts, one after the other."""

MARK = "@"
"""Begins the name of what was chosen."""
_MOST_VERSIONS = 256
"""Of one layer, by values that are looked at to find the largest weights."""
_FEW = 27
"""So many combinations of numbers are all looked at."""


@dataclass(frozen=True)
class Routes(Layer):
    """One of these rows of parts: an option, some of them, the first few copies."""

    routes: tuple[Route, ...]
    path: str = field(compare=False)

    @property
    def dead(self) -> bool:
        return all(any(is_dead(part) for _, part in route) for route in self.routes)


@dataclass(frozen=True)
class Versions(Layer):
    """One layer under some of its own values, each with what is said of those that are names."""

    versions: tuple[tuple[str, Layer], ...]
    path: str = field(compare=False)

    @property
    def dead(self) -> bool:
        return all(is_dead(layer) for _, layer in self.versions)


_Kind: TypeAlias = Literal["closed", "network", "edges", "own", "around"]
"""Of a part: without choices; a choice that ends in networks; some members of a mapping of those; a
choice among a layer's own values; or something around such."""


class _Own(NamedTuple):
    """The decisions among a layer's own values."""

    decisions: tuple[Decision, ...]
    names: tuple[tuple[str, str], ...]
    """Path and short name of those that are no numbers."""


class Marking(Visitor[Any, "Values | None"]):
    """Puts the marks into an open network, for one candidate after the other."""

    def __init__(self, network: Network, prefix: str) -> None:
        self._network, self._prefix = network, prefix
        # by identity of what the network keeps alive: it is looked at for every candidate
        self._known_kind: dict[int, _Kind] = {}
        self._known_own: dict[tuple[int, str], _Own] = {}
        self._fillers: dict[tuple[int, str], Filler] = {}

    def of(self, values: Values | None) -> Network:
        """With what a candidate chose; None: with everything that may be chosen.

        Of a layer's own numbers there are then those that the shapes of weights may depend on: all
        of a few, the ends of many.
        """
        marked: Network = self.visit(self._network, self._prefix, values)
        return marked

    def _kind(self, part: Any) -> _Kind:
        key = id(part)
        if key not in self._known_kind:
            self._known_kind[key] = _kind_of(part)
        return self._known_kind[key]

    def is_open(self, part: Any) -> bool:
        return self._kind(part) != "closed"

    def visit_constant(self, part: Any, path: str, context: Values | None) -> Any:
        return part

    def visit_number(self, part: NumberChoice, path: str, context: Values | None) -> Any:
        raise self._no_network(path)

    def visit_container(self, part: Any, path: str, context: Values | None) -> Any:
        if isinstance(part, Layer):
            return self._layer(part, path, context)
        if not isinstance(part, tuple):
            raise self._no_network(path)
        return tuple(self.visit(item, join_path(path, i), context) for i, item in enumerate(part))

    def visit_one_of(self, part: OneOfChoice, path: str, context: Values | None) -> Any:
        chosen = part.labels if context is None else (context[path],)
        return self._routes(part, path, context, [(label,) for label in chosen])

    def visit_subset(self, part: SubsetOfChoice, path: str, context: Values | None) -> Any:
        chosen: Any = part.subsets if context is None else (context[path],)
        return self._routes(part, path, context, list(chosen))

    def _routes(
        self, part: OneOfChoice | SubsetOfChoice, path: str, values: Values | None,
        rows: Sequence[Sequence[Value]],
    ) -> Routes:  # fmt: skip
        if self._kind(part) != "network":
            raise self._no_network(path)
        wanted = {name for row in rows for name in row}
        parts = {
            name: self.visit(option, below, values)
            for name, option, below in labelled_options(part, path)
            if name in wanted
        }
        routes = (tuple((f"{MARK}{name}", parts[name]) for name in row) for row in rows)
        return Routes(tuple(routes), path)

    def _no_network(self, path: str) -> SpaceError:
        got = Phrase(f"another choice at {path or 'the top'}")
        return SpaceError(expected("a network", "made of layers and choices of layers", got))

    def visit_repeat(self, part: RepeatChoice, path: str, context: Values | None) -> Any:
        if self._kind(part) != "network":
            raise self._no_network(path)
        counts = part.possible_times
        if context is not None and self._kind(part.times) != "closed":
            times = context[count_path(part, path)]
            counts = (dict(counts_by_value(part))[times],)
        paths = copy_paths(part, path)[: max(counts)]
        copies = [self.visit(part.block, below, context) for below in paths]
        if len(counts) == 1:
            return tuple(copies)
        rows = (tuple((str(i), copies[i]) for i in range(count)) for count in counts)
        return Routes(tuple(rows), path)

    def _layer(self, layer: Layer, path: str, values: Values | None) -> Layer:
        own = self._own_of(layer, path)
        if not own.decisions:
            return self._filled(layer, path, values, {}, apart=False)
        versions = []
        for chosen in _assignments(own.decisions, path) if values is None else (values,):
            try:
                version = self._filled(layer, path, values, chosen, apart=True)
            except InfeasibleCandidate:
                if values is not None:
                    raise
                continue
            said = (f"{name}={chosen[at]}" for at, name in own.names if at in chosen)
            versions.append((",".join(said), version))
        return Versions(tuple(dict.fromkeys(versions)), path)

    def _own_of(self, layer: Layer, path: str) -> _Own:
        key = (id(layer), path)
        if key not in self._known_own:
            found: dict[str, Decision] = {}

            def own(part: Any, at: str) -> Any:
                found.update({one.path: one for one in find_decisions(nested(part, at))})
                return part

            if self._kind(layer) != "closed":
                self._through(layer, path, lambda part, _: part, own, lambda part, _: part)
            names = (one.path for one in found.values() if not _is_number(one))
            short = tuple((name, name.removeprefix(f"{path}.")) for name in names)
            self._known_own[key] = _Own(tuple(found.values()), short)
        return self._known_own[key]

    def _filled(
        self, layer: Layer, path: str, values: Values | None, chosen: Values, *, apart: bool
    ) -> Layer:
        """The layer with `chosen` among its own values; `apart`: its networks get a mark each, since
        those are no doing of its values."""
        if not apart and self._kind(layer) == "closed":
            return layer

        def network(part: Any, at: str) -> Any:
            marked = self.visit(part, at, values)
            return Routes((((MARK, marked),),), at) if apart else marked

        def own(part: Any, at: str) -> Any:
            key = (id(part), at)
            if key not in self._fillers:
                self._fillers[key] = compile_filler(nested(part, at))
            return part_at(self._fillers[key](chosen, {}), at)

        def edges(part: SubsetOfChoice, at: str) -> Mapping[Value, Any]:
            wanted: Any = part.labels if values is None else values[at]
            return {
                name: network(option, below)
                for name, option, below in labelled_options(part, at)
                if name in wanted
            }

        filled: Layer = self._through(layer, path, network, own, edges)
        return filled

    def _through(
        self, layer: Layer, path: str, network: Callable[[Any, str], Any],
        own: Callable[[Any, str], Any], edges: Callable[[SubsetOfChoice, str], Any],
    ) -> Any:  # fmt: skip
        """A layer made anew of its networks, its own choices, and mappings of which some are chosen."""

        def inside(part: Any, at: str) -> Any:
            if isinstance(part, SharedChoice):
                return inside(part.description, part.name)
            if isinstance(part, Layer):
                return network(part, at)
            kind = self._kind(part)
            if kind == "network":
                return network(part, at)
            if kind == "edges":
                return edges(part, part.name or at)
            if kind == "own":
                return own(part, at)
            if isinstance(part, tuple):
                return tuple(inside(item, join_path(at, i)) for i, item in enumerate(part))
            if isinstance(part, Mapping):
                return {name: inside(item, join_path(at, name)) for name, item in part.items()}
            if is_dataclass(part) and not isinstance(part, type):
                return anew(part, at)
            return part

        def anew(part: Any, at: str) -> Any:
            found = {}
            for one in init_fields(part):
                before = getattr(part, one.name)
                after = inside(before, at if is_inline(one) else join_path(at, one.name))
                if after is not before:
                    found[one.name] = after
            return replace(part, **found) if found else part

        return anew(layer, path)


def _kind_of(part: Any) -> _Kind:
    if not is_open(part):
        return "closed"
    if isinstance(part, OneOfChoice | SubsetOfChoice | RepeatChoice):
        return "network" if _is_network(part) else "edges" if _is_edges(part) else "own"
    return "around" if _holds_layers(part) else "own"


def _is_network(part: Any) -> bool:
    """Whether it is a layer, a tuple of networks, or a choice that ends in one of those."""
    if isinstance(part, SharedChoice):
        return _is_network(part.description)
    if isinstance(part, OneOfChoice):
        return all(map(_is_network, part.options))
    if isinstance(part, SubsetOfChoice):
        return not part.mapping and all(map(_is_network, part.options))
    if isinstance(part, RepeatChoice):
        return _is_network(part.block)
    return isinstance(part, Layer) or (isinstance(part, tuple) and all(map(_is_network, part)))


def _is_edges(part: Any) -> bool:
    """Whether it chooses some members of a mapping of networks: the inputs of a node."""
    return isinstance(part, SubsetOfChoice) and part.mapping and all(map(_is_network, part.options))


def _holds_layers(part: Any) -> bool:
    """Whether there is a layer anywhere in a part that is no layer."""
    if isinstance(part, Layer):
        return True
    if isinstance(part, OneOfChoice | SubsetOfChoice):
        return any(map(_holds_layers, part.options))
    if isinstance(part, RepeatChoice):
        return _holds_layers(part.block)
    if isinstance(part, SharedChoice):
        return _holds_layers(part.description)
    return any(_holds_layers(child) for _, child in children(part))


def nested(part: Any, path: str) -> Any:
    """The part where its decisions have the paths they have in the whole."""
    for step in reversed(path.split(".")) if path else ():
        part = {step: part}
    return part


def part_at(whole: Any, path: str) -> Any:
    """The inverse of `nested`."""
    for step in path.split(".") if path else ():
        whole = whole[step]
    return whole


def _is_number(decision: Decision) -> bool:
    """Whether it chooses among numbers: the weights of one may be slices of those of another."""
    choice = decision.choice
    if isinstance(choice, NumberChoice):
        return True
    return isinstance(choice, OneOfChoice) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in choice.options
    )


def _assignments(decisions: Sequence[Decision], path: str) -> Iterator[Values]:
    """Values of one layer's decisions: every combination of names, each with some of numbers."""
    numbers = {one.path: _ends(one) for one in decisions if _is_number(one)}
    names = {one.path: one.values for one in decisions if not _is_number(one)}
    some = [*_combinations(numbers)]
    if len(some) * math.prod(map(len, names.values())) > _MOST_VERSIONS:
        rule, got = f"of at most {_MOST_VERSIONS} versions by its own values", Phrase("more")
        raise SpaceError(expected(f"the layer at {path}", rule, got, "Leave some of them closed."))
    found: dict[tuple[tuple[str, Value], ...], Values] = {}
    for named in product(*names.values()):
        for numbered in some:
            values = {**dict(zip(names, named, strict=True)), **numbered}
            asked: dict[str, Value] = {}
            for one in decisions:
                if one.is_active(asked):
                    asked[one.path] = values[one.path]
            found[tuple(asked.items())] = asked
    yield from found.values()


def _combinations(numbers: Mapping[str, Sequence[Value]]) -> Iterator[Values]:
    """All of a few; of many those in which all but one are smallest, or largest."""
    if math.prod(map(len, numbers.values())) <= _FEW:
        yield from (dict(zip(numbers, one, strict=True)) for one in product(*numbers.values()))
        return
    for end in (0, -1):
        corner = {path: values[end] for path, values in numbers.items()}
        for path, values in numbers.items():
            yield from ({**corner, path: value} for value in values)


def _ends(decision: Decision) -> Sequence[Value]:
    """All of a few numbers, smallest first; of many the two smallest (1 and 0 often mean: without)
    and the largest. Of real numbers both ends."""
    choice = decision.choice
    if isinstance(choice, NumberChoice) and not choice.integer:
        return (choice.low, choice.high)
    values: Sequence[Value] = decision.values
    if isinstance(choice, OneOfChoice):
        number = dict(zip(choice.labels, choice.options, strict=True))
        values = sorted(values, key=lambda label: number[label])
    return values if len(values) <= 8 else [*values[:2], values[-1]]
