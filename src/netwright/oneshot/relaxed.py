"""From an open network to a relaxed one: every choice becomes an ordinary layer that mixes.

The relaxed network is a description like any other, so that the one builder makes its module. What
no mixture can express (a real number, a choice that changes the shape, inputs put side by side) is
*held*: filled with its default, to be searched afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from itertools import product
from typing import Any

from torch import Tensor, nn

from netwright.networks.graph import Node, is_dead
from netwright.networks.layers import Add, Composite, Layer, Network, Shape
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
from netwright.space.decisions import Decision, find, join

MOST_VARIANTS = 16
"""Of one layer: each has weights of its own."""

Pick = tuple[tuple[str, int], ...]
"""Decisions and the places of their options, all of which have to be chosen."""


class Current:
    """The weights that a supernet runs under now: path of a decision -> (options,)."""

    def __init__(self) -> None:
        self.set({})

    def set(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights
        # looked at once a run: each look waits for the GPU
        self.values: dict[str, list[float]] = {
            path: one.detach().tolist() for path, one in weights.items()
        }

    def is_on(self, pick: Pick) -> bool:
        """Whether what is picked has weight. Before there are any weights, all has."""
        if not self.values:
            return True
        return all(self.values[path][place] != 0 for path, place in pick)

    def is_certain(self, pick: Pick) -> bool:
        """Whether its weight is 1 and nobody asks for a gradient: it costs no product then."""
        return all(
            self.values[path][place] == 1 and not self.weights[path].requires_grad
            for path, place in pick
        )

    def of(self, pick: Pick) -> Tensor:
        """The product of the weights of what is picked."""
        weight = self.weights[pick[0][0]][pick[0][1]]
        for path, place in pick[1:]:
            weight = weight * self.weights[path][place]
        return weight


class _Relaxed(Composite):
    """A layer that stands for a choice."""

    current: Current

    def _weighted(self, pick: Pick, out: Tensor) -> Tensor:
        return out if self.current.is_certain(pick) else self.current.of(pick) * out


@dataclass(frozen=True)
class Mixed(_Relaxed):
    """The options of one choice, or variants of a layer, side by side: the sum of their outputs by
    weight (DARTS, 1806.09055, section 2.2). An option of weight 0 is not run."""

    options: tuple[Network, ...]
    picks: tuple[Pick, ...]
    current: Current = field(repr=False)

    def assemble(self, shape: Shape, add: Add) -> Shape:
        shapes = [add(str(i), option, shape) for i, option in enumerate(self.options)]
        others = [
            (tuple(a[0] for a, b in zip(pick, self.picks[0], strict=True) if a != b), out)
            for pick, out in zip(self.picks, shapes, strict=True) if out != shapes[0]
        ]  # fmt: skip
        if others:  # the fewest decisions that change it are to blame
            paths, out = min(others, key=lambda one: len(one[0]))
            raise CannotMix(paths, shapes[0], out)
        return shapes[0]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        flows = [
            self._weighted(pick, parts[str(i)](x)) for i, pick in enumerate(self.picks)
            if self.current.is_on(pick)
        ]  # fmt: skip
        return _total(flows, self.picks)

    @property
    def dead(self) -> bool:
        return all(
            is_dead(option) for option, pick in zip(self.options, self.picks, strict=True)
            if self.current.is_on(pick)
        )  # fmt: skip

    def chosen(self, values: Mapping[str, Value], places: Places) -> int:
        """Which option a candidate has."""
        of = {path: places(path, values[path]) for path, _ in self.picks[0]}
        return self.picks.index(tuple(of.items()))


@dataclass(frozen=True)
class Gate(_Relaxed):
    """One of the inputs that a node may choose; dead without weight, and left out by the graph."""

    body: Network
    pick: Pick
    current: Current = field(repr=False)

    def assemble(self, shape: Shape, add: Add) -> Shape:
        return add("body", self.body, shape)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        return self._weighted(self.pick, parts["body"](x))

    @property
    def dead(self) -> bool:
        return not self.current.is_on(self.pick) or is_dead(self.body)


@dataclass(frozen=True)
class Depth(_Relaxed):
    """Copies in a row, of which the first few are run: the outputs after each legal number of
    copies, by weight."""

    copies: tuple[Network, ...]
    counts: tuple[int, ...]
    path: str
    current: Current = field(repr=False)

    def assemble(self, shape: Shape, add: Add) -> Shape:
        after = [shape]
        for i, copy in enumerate(self.copies):
            after.append(add(str(i), copy, after[-1]))
        for count in self.counts:
            if after[count] != after[self.counts[0]]:
                raise CannotMix((self.path,), after[self.counts[0]], after[count])
        return after[self.counts[0]]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        flows = []
        for count in range(max(self._wanted, default=0) + 1):
            if count:
                x = parts[str(count - 1)](x)
            if count in self._wanted:
                flows.append(self._weighted(self._wanted[count], x))
        return _total(flows, [((self.path, 0),)])

    @property
    def _wanted(self) -> dict[int, Pick]:
        """The numbers of copies that have weight."""
        picks: dict[int, Pick] = {c: ((self.path, i),) for i, c in enumerate(self.counts)}
        return {count: pick for count, pick in picks.items() if self.current.is_on(pick)}

    @property
    def dead(self) -> bool:
        return all(is_dead(self.copies[:count]) for count in self._wanted)


def _total(flows: Sequence[Tensor], picks: Sequence[Pick]) -> Tensor:
    if not flows:
        raise ValueError(f"weights must not all be 0, got that for {picks[0][0][0]}.")
    return sum(flows[1:], flows[0])


class CannotMix(Exception):
    """Options whose outputs differ in shape, and the decisions they belong to."""

    def __init__(self, paths: tuple[str, ...], one: Shape, other: Shape) -> None:
        super().__init__(f"options must give one shape, got {one} and {other}")
        self.paths, self.one, self.other = paths, one, other


class Places:
    """The place of a value among a decision's options."""

    def __init__(self, network: Network, prefix: str) -> None:
        self._decisions = {one.path: one for one in _named(network, prefix)}

    def __call__(self, path: str, value: Value) -> int:
        return self._decisions[path].place(value)

    def chosen(self, path: str, value: Value) -> list[int]:
        """The places of what is chosen: several, where a subset is."""
        choice = self._decisions[path].choice
        if isinstance(choice, SubsetOfChoice):
            assert isinstance(value, tuple)  # legal
            return [choice.labels.index(name) for name in value]
        return [self(path, value)]

    def size(self, path: str) -> int:
        """How many weights a decision has: one an option, also where several may be chosen."""
        choice = self._decisions[path].choice
        if isinstance(choice, SubsetOfChoice):
            return len(choice.labels)
        return len(self._decisions[path].values)

    def most(self, path: str) -> int:
        """How many options may be chosen at once."""
        choice = self._decisions[path].choice
        return choice.most if isinstance(choice, SubsetOfChoice) else 1

    def default(self, path: str) -> Value:
        """What a held decision is filled with: the first option, the lowest number."""
        return self._decisions[path].at(0.0)


def _named(network: Network, prefix: str) -> Iterator[Decision]:
    """The decisions, with the paths that they have under this prefix."""
    part: Any = network
    for step in reversed(prefix.split(".")) if prefix else ():
        part = {step: part}
    yield from find(part)


@dataclass
class Relaxing:
    """What is being relaxed: the decisions held, and (found on the way) those that are mixed."""

    places: Places
    held: dict[str, str]
    current: Current
    mixed: dict[str, int] = field(default_factory=dict)

    def network(self, part: Any, path: str) -> Any:
        """The relaxed form of a part of an open network."""
        if isinstance(part, SharedChoice):
            return self.network(part.part, part.name)
        if not is_open(part):
            return part
        if isinstance(part, OneOfChoice):
            return self._one_of(part, part.name or path)
        if isinstance(part, RepeatChoice):
            return self._repeat(part, part.name or path)
        if isinstance(part, NumberChoice):
            return self._hold(part.name or path)
        if isinstance(part, SubsetOfChoice):  # but for a node's inputs
            return self._subset(part, part.name or path)
        if isinstance(part, tuple):
            return tuple(self.network(item, join(path, i)) for i, item in enumerate(part))
        if isinstance(part, Mapping):
            return {name: self.network(item, join(path, name)) for name, item in part.items()}
        if isinstance(part, Node):
            return self._node(part, path)
        return self._layer(part, path)

    def _one_of(self, part: OneOfChoice, path: str) -> Any:
        if path in self.held or not all(map(_is_network, part.options)):
            value = self._hold(path)
            place = part.labels.index(value)
            return self.network(part.options[place], join(path, value))
        options = tuple(
            self.network(option, join(path, name))
            for name, option in zip(part.labels, part.options, strict=True)
        )
        return self._mixed(options, tuple(((path, i),) for i in range(len(options))))

    def _mixed(self, options: tuple[Any, ...], picks: tuple[Pick, ...]) -> Mixed:
        for pick in picks:
            for path, _ in pick:
                self.mixed[path] = self.places.size(path)
        return Mixed(options, picks, self.current)

    def _hold(self, path: str, why: str = "no mixture can express it") -> Value:
        self.held.setdefault(path, why)
        return self.places.default(path)

    def _repeat(self, part: RepeatChoice, path: str) -> Any:
        def copy(i: int) -> Any:
            return self.network(part.item, join(path, "each" if part.same else i))

        if not is_open(part.times):
            return tuple(copy(i) for i in range(part.most))
        count = getattr(part.times, "name", None) or join(path, "times")
        if count in self.held:
            value = self.places.default(count)
            times = part.counts[self.places(count, value)]
            return tuple(copy(i) for i in range(times))
        self.mixed[count] = len(part.counts)
        copies = tuple(copy(i) for i in range(part.most))
        return Depth(copies, part.counts, count, self.current)

    def _subset(self, part: SubsetOfChoice, path: str) -> Any:
        value = self._hold(path)
        assert isinstance(value, tuple)  # of labels
        kept = {
            name: self.network(option, join(path, name))
            for name, option in zip(part.labels, part.options, strict=True)
            if name in value
        }
        return kept if part.mapping else tuple(kept.values())

    def _node(self, node: Node, path: str) -> Node:
        inside = {one.name: path if is_inline(one) else join(path, one.name) for one in given(node)}
        inputs: Any = node.inputs
        path_of = inside["inputs"]
        if isinstance(inputs, SharedChoice):
            inputs, path_of = inputs.part, inputs.name
        if not isinstance(inputs, SubsetOfChoice):
            edges = self.network(inputs, path_of)
        else:
            edges = self._inputs(inputs, inputs.name or path_of, node.combine)
        return replace(node, inputs=edges, then=self.network(node.then, inside["then"]))

    def _inputs(self, inputs: SubsetOfChoice, path: str, combine: str) -> Any:
        if combine != "add":
            self._hold(path, "inputs put side by side would change the shape")
        if path in self.held:
            return self._subset(inputs, path)
        self.mixed[path] = len(inputs.labels)
        return {
            name: Gate(self.network(option, join(path, name)), ((path, i),), self.current)
            for i, (name, option) in enumerate(zip(inputs.labels, inputs.options, strict=True))
        }

    def _layer(self, layer: Any, path: str) -> Any:
        """Open numbers and names of a layer make variants of it, side by side."""
        if not is_dataclass(layer) or isinstance(layer, type):
            return layer
        parts = {
            one.name: (getattr(layer, one.name), path if is_inline(one) else join(path, one.name))
            for one in given(layer)
        }
        for name, (value, _) in parts.items():
            if isinstance(value, SharedChoice):
                parts[name] = (value.part, value.name)
        open_values = {
            name: (value, value.name or at) for name, (value, at) in parts.items()
            if _is_value_choice(value)
        }  # fmt: skip
        others = {
            name: self.network(value, at) for name, (value, at) in parts.items()
            if name not in open_values
        }  # fmt: skip
        return self._variants(replace(layer, **others), open_values)

    def _variants(self, layer: Any, choices: Mapping[str, tuple[Any, str]]) -> Any:
        """`choices`: field -> its choice of values, and its path."""
        fixed: dict[str, Any] = {}
        free: dict[str, tuple[str, Sequence[Any]]] = {}
        for name, (choice, path) in choices.items():
            options = _values(choice)
            if path in self.held or not options or len(options) > MOST_VARIANTS:
                value = self._hold(path)
                fixed[name] = options[self.places(path, value)] if options else value
            else:
                free[name] = (path, options)
        while free and _product(free) > MOST_VARIANTS:  # the last ones are held
            name, (path, options) = free.popitem()
            value = self._hold(path, f"more than {MOST_VARIANTS} variants of one layer")
            fixed[name] = options[self.places(path, value)]
        layer = replace(layer, **fixed)
        if not free:
            return layer
        paths = list(dict.fromkeys(path for path, _ in free.values()))
        ranges = [range(self.places.size(path)) for path in paths]
        variants, picks = [], []
        for places in product(*ranges):
            at = dict(zip(paths, places, strict=True))
            chosen = {name: options[at[path]] for name, (path, options) in free.items()}
            variants.append(replace(layer, **chosen))
            picks.append(tuple(at.items()))
        return self._mixed(tuple(variants), tuple(picks))


def _product(free: Mapping[str, tuple[str, Sequence[Any]]]) -> int:
    sizes = {path: len(options) for path, options in free.values()}
    count = 1
    for size in sizes.values():
        count *= size
    return count


def _values(choice: Any) -> Sequence[Any]:
    """The values of a choice among numbers or names; none of a real number."""
    if isinstance(choice, OneOfChoice):
        return choice.options
    if choice.integer:
        return range(int(choice.low), int(choice.high) + 1)
    return ()


def _is_value_choice(value: Any) -> bool:
    if isinstance(value, OneOfChoice):
        return not any(map(is_open, value.options)) and not any(map(_is_network, value.options))
    return isinstance(value, NumberChoice)


def _is_network(part: Any) -> bool:
    if isinstance(part, tuple):
        return all(isinstance(one, tuple) or _may_be_layer(one) for one in part)
    return _may_be_layer(part)


def _may_be_layer(part: Any) -> bool:
    if isinstance(part, SharedChoice):
        return _is_network(part.part)
    if isinstance(part, OneOfChoice):
        return all(map(_is_network, part.options))
    if isinstance(part, RepeatChoice):
        return _is_network(part.item)
    return isinstance(part, Layer)
