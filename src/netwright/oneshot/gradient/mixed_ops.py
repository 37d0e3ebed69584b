"""Layers that stand for open choices: they add up what may be chosen, by weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from netwright.errors import InputError, expected
from netwright.networks.interfaces.layer import AddPart, Composite, Layer, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Activation, Pool
from netwright.networks.layers.graph import is_dead

Pick = tuple[tuple[str, int], ...]
"""Decisions and the places of their options, all of which have to be chosen."""


class Current:
    """The weights that a supernet runs under now: path of a decision -> (options,)."""

    def __init__(self) -> None:
        self.sharing = True
        self.set({})

    def set(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights
        self._done: dict[tuple[Layer, int], tuple[Tensor, Tensor]] = {}
        # looked at once a run: each look waits for the GPU
        self.values: dict[str, list[float]] = {
            path: one.detach().tolist() for path, one in weights.items()
        }

    def once(self, layer: Layer, module: nn.Module, x: Tensor) -> Tensor:
        """What the layer makes of x; edges that pool or rectify the same x share one run of it."""
        key = (layer, id(x))
        if key not in self._done:
            # x is kept too: its id must not come to stand for another tensor
            self._done[key] = x, module(x)
        return self._done[key][1]

    def is_on(self, pick: Pick) -> bool:
        """Whether what is picked has weight. Before there are any weights, all has."""
        if not self.values:
            return True
        return all(self._value(path, place) != 0 for path, place in pick)

    def _value(self, path: str, place: int) -> float:
        if path not in self.values:
            raise InputError(expected("weights", f"given for {path}", [*self.values]))
        return self.values[path][place]

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

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
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
            self._weighted(pick, self._through(option, parts[str(i)], x))
            for i, (option, pick) in enumerate(zip(self.options, self.picks, strict=True))
            if self.current.is_on(pick)
        ]
        return _total(flows, self.picks)

    def _through(self, option: Network, module: nn.Module, x: Tensor) -> Tensor:
        first = option[0] if isinstance(option, tuple) and option else option
        if not self.current.sharing or not isinstance(first, Pool | Activation):
            whole: Tensor = module(x)
            return whole
        if first is option:
            return self.current.once(first, module, x)
        parts = [*module.children()]
        x = self.current.once(first, parts[0], x)
        for part in parts[1:]:
            x = part(x)
        return x

    @property
    def dead(self) -> bool:
        return all(
            is_dead(option) for option, pick in zip(self.options, self.picks, strict=True)
            if self.current.is_on(pick)
        )  # fmt: skip


@dataclass(frozen=True)
class Gate(_Relaxed):
    """One of the inputs that a node may choose; dead without weight, and left out by the graph."""

    body: Network
    pick: Pick
    current: Current = field(repr=False)

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
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

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        after = [shape]
        for i, copy in enumerate(self.copies):
            after.append(add(str(i), copy, after[-1]))
        for count in self.counts:
            if after[count] != after[self.counts[0]]:
                raise CannotMix((self.path,), after[self.counts[0]], after[count])
        return after[self.counts[0]]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        flows, wanted = [], self._wanted
        for count in range(max(wanted, default=0) + 1):
            if count:
                x = parts[str(count - 1)](x)
            if count in wanted:
                flows.append(self._weighted(wanted[count], x))
        return _total(flows, [((self.path, 0),)])

    @property
    def _wanted(self) -> dict[int, Pick]:
        """The numbers of copies that have weight."""
        picks: dict[int, Pick] = {c: ((self.path, i),) for i, c in enumerate(self.counts)}
        return {count: pick for count, pick in picks.items() if self.current.is_on(pick)}

    @property
    def dead(self) -> bool:
        return all(is_dead(self.copies[:count]) for count in self._wanted)


@dataclass(frozen=True)
class Partial(Composite):
    """The first of `share` equal parts of the channels goes through the body, the others past it;
    then the parts are interleaved (PC-DARTS, 1907.05737, section 3.1).

    What goes past is pooled where the body halves the image.
    """

    body: Mixed
    share: int

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        if len(shape) != 3 or shape[0] % self.share:
            raise CannotSplit(self.body)
        part = (shape[0] // self.share, *shape[1:])
        out = add("body", self.body, part)
        stride = self._stride(part, out)
        if out != (part[0], *(-(-side // stride) for side in part[1:])):
            raise CannotSplit(self.body)
        return (shape[0], *out[1:])

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        channels = x.shape[1] // self.share
        through: Tensor = parts["body"](x[:, :channels])  # (batch, c / share, h, w)
        past = x[:, channels:]
        stride = self._stride(x.shape[1:], through.shape[1:])
        if stride > 1:
            past = nn.functional.max_pool2d(past, stride, stride, ceil_mode=True)
        both = torch.cat([through, past], 1)
        n, c, h, w = both.shape
        return both.view(n, self.share, c // self.share, h, w).transpose(1, 2).reshape(n, c, h, w)

    @property
    def dead(self) -> bool:
        return self.body.dead

    @staticmethod
    def _stride(before: Sequence[int], after: Sequence[int]) -> int:
        return max(1, -(-before[1] // max(1, after[1])))


def _total(flows: Sequence[Tensor], picks: Sequence[Pick]) -> Tensor:
    if not flows:
        raise InputError(f"weights must not all be 0, got that for {picks[0][0][0]}.")
    return sum(flows[1:], flows[0])


class CannotSplit(Exception):
    """A mixture that is not to be had for a part of the channels: it changes their number."""

    def __init__(self, mixed: Mixed) -> None:
        super().__init__("a mixture must keep the channels to be partial")
        self.path = mixed.picks[0][0][0]


class CannotMix(Exception):
    """Options whose outputs differ in shape, and the decisions they belong to."""

    def __init__(self, paths: tuple[str, ...], one: Shape, other: Shape) -> None:
        super().__init__(f"options must give one shape, got {one} and {other}")
        self.paths, self.one, self.other = paths, one, other
