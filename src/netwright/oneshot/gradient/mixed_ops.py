"""Layers that mix the options of open choices: weighted sums of their outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from netwright.errors import InputError, expected
from netwright.networks.interfaces.layer import AddPart, Composite, Layer, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.basic import Activation, Pool
from netwright.networks.layers.graph import is_dead

Selection: TypeAlias = tuple[tuple[str, int], ...]
"""Decision paths with the index of one option each; its weight is the product of theirs."""


class ActiveWeights:
    """Weights under which a supernet runs now: decision path -> (options,)."""

    def __init__(self) -> None:
        self.share_outputs = True
        self.set({})

    def set(self, weights: Mapping[str, Tensor]) -> None:
        """Set the weights of the next run."""
        self.weights = weights
        self._outputs: dict[tuple[Layer, int], tuple[Tensor, Tensor]] = {}
        # copied once a run: each copy waits for the GPU
        self.values: dict[str, list[float]] = {
            path: options.detach().tolist() for path, options in weights.items()
        }

    def run_once(self, layer: Layer, module: nn.Module, x: Tensor) -> Tensor:
        """Return the layer's output; edges that pool or rectify the same x share one run."""
        key = (layer, id(x))
        if key not in self._outputs:
            # x is stored too: its id must not come to denote another tensor
            self._outputs[key] = x, module(x)
        return self._outputs[key][1]

    def is_active(self, selection: Selection) -> bool:
        """Return whether the selection has weight; everything has before weights are set."""
        if not self.values:
            return True
        return all(self._value(path, option) != 0 for path, option in selection)

    def _value(self, path: str, option: int) -> float:
        if path not in self.values:
            raise InputError(expected("weights", f"given for {path}", [*self.values]))
        return self.values[path][option]

    def is_one(self, selection: Selection) -> bool:
        """Return whether the weight is 1 and needs no gradient, so that no product is needed."""
        return all(
            self.values[path][option] == 1 and not self.weights[path].requires_grad
            for path, option in selection
        )

    def weight_of(self, selection: Selection) -> Tensor:
        """Return the product of the selected options' weights."""
        path, option = selection[0]
        weight = self.weights[path][option]
        for path, option in selection[1:]:
            weight = weight * self.weights[path][option]
        return weight


class _ChoiceLayer(Composite):
    """A layer in place of an open choice."""

    active: ActiveWeights

    def _weighted(self, selection: Selection, out: Tensor) -> Tensor:
        return out if self.active.is_one(selection) else self.active.weight_of(selection) * out


@dataclass(frozen=True)
class MixedOp(_ChoiceLayer):
    """Mixed operation: the weighted sum of the outputs of all options, or variants of a layer.

    DARTS (1806.09055), equation 2. An option of weight 0 is not run.
    """

    options: tuple[Network, ...]
    selections: tuple[Selection, ...]
    active: ActiveWeights = field(repr=False)

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        shapes = [add(str(i), option, shape) for i, option in enumerate(self.options)]
        first = self.selections[0]
        mismatches = [
            (tuple(a[0] for a, b in zip(selection, first, strict=True) if a != b), out)
            for selection, out in zip(self.selections, shapes, strict=True)
            if out != shapes[0]
        ]
        if mismatches:  # blame the fewest decisions that change the shape
            paths, out = min(mismatches, key=lambda mismatch: len(mismatch[0]))
            raise CannotMix(paths, shapes[0], out)
        return shapes[0]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        outputs = [
            self._weighted(selection, self._output(option, parts[str(i)], x))
            for i, (option, selection) in enumerate(zip(self.options, self.selections, strict=True))
            if self.active.is_active(selection)
        ]
        return _sum(outputs, self.selections)

    def _output(self, option: Network, module: nn.Module, x: Tensor) -> Tensor:
        first = option[0] if isinstance(option, tuple) and option else option
        if not self.active.share_outputs or not isinstance(first, Pool | Activation):
            out: Tensor = module(x)
            return out
        if first is option:
            return self.active.run_once(first, module, x)
        modules = [*module.children()]
        x = self.active.run_once(first, modules[0], x)
        for submodule in modules[1:]:
            x = submodule(x)
        return x

    @property
    def dead(self) -> bool:
        return all(
            is_dead(option)
            for option, selection in zip(self.options, self.selections, strict=True)
            if self.active.is_active(selection)
        )


@dataclass(frozen=True)
class EdgeGate(_ChoiceLayer):
    """One input among which a node chooses; dead at weight 0, so that the graph leaves it out."""

    body: Network
    selection: Selection
    active: ActiveWeights = field(repr=False)

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        return add("body", self.body, shape)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        return self._weighted(self.selection, parts["body"](x))

    @property
    def dead(self) -> bool:
        return not self.active.is_active(self.selection) or is_dead(self.body)


@dataclass(frozen=True)
class MixedDepth(_ChoiceLayer):
    """Copies in sequence: the weighted sum of the outputs at each legal depth."""

    copies: tuple[Network, ...]
    depths: tuple[int, ...]
    path: str
    active: ActiveWeights = field(repr=False)

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        shapes = [shape]
        for i, copy in enumerate(self.copies):
            shapes.append(add(str(i), copy, shapes[-1]))
        first = self.depths[0]
        for depth in self.depths:
            if shapes[depth] != shapes[first]:
                raise CannotMix((self.path,), shapes[first], shapes[depth])
        return shapes[first]

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        outputs, active_depths = [], self._active_depths
        for depth in range(max(active_depths, default=0) + 1):
            if depth:
                x = parts[str(depth - 1)](x)
            if depth in active_depths:
                outputs.append(self._weighted(active_depths[depth], x))
        return _sum(outputs, [((self.path, 0),)])

    @property
    def _active_depths(self) -> dict[int, Selection]:
        """Depths with weight, and the selection of each."""
        selections: dict[int, Selection] = {
            depth: ((self.path, i),) for i, depth in enumerate(self.depths)
        }
        return {
            depth: selection
            for depth, selection in selections.items()
            if self.active.is_active(selection)
        }

    @property
    def dead(self) -> bool:
        return all(is_dead(self.copies[:depth]) for depth in self._active_depths)


@dataclass(frozen=True)
class PartialChannels(Composite):
    """Partial channel connections (PC-DARTS, 1907.05737, section 3.1).

    The first of `divisor` equal groups of channels goes through the body, the others bypass it; then
    the groups are interleaved. Where the body halves the image, the bypass is max-pooled.
    """

    body: MixedOp
    divisor: int

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        if len(shape) != 3 or shape[0] % self.divisor:
            raise CannotSplit(self.body)
        group = (shape[0] // self.divisor, *shape[1:])
        out = add("body", self.body, group)
        stride = self._stride(group, out)
        if out != (group[0], *(-(-side // stride) for side in group[1:])):
            raise CannotSplit(self.body)
        return (shape[0], *out[1:])

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        channels = x.shape[1] // self.divisor
        mixed: Tensor = parts["body"](x[:, :channels])  # (batch, c / divisor, h, w)
        bypass = x[:, channels:]
        stride = self._stride(x.shape[1:], mixed.shape[1:])
        if stride > 1:
            bypass = nn.functional.max_pool2d(bypass, stride, stride, ceil_mode=True)
        both = torch.cat([mixed, bypass], 1)
        n, c, h, w = both.shape
        groups = both.view(n, self.divisor, c // self.divisor, h, w)
        return groups.transpose(1, 2).reshape(n, c, h, w)

    @property
    def dead(self) -> bool:
        return self.body.dead

    @staticmethod
    def _stride(before: Sequence[int], after: Sequence[int]) -> int:
        return max(1, -(-before[1] // max(1, after[1])))


def _sum(outputs: Sequence[Tensor], selections: Sequence[Selection]) -> Tensor:
    if not outputs:
        raise InputError(
            f"weights of {selections[0][0][0]} must not all be 0, got 0 for each option."
        )
    return sum(outputs[1:], outputs[0])


class CannotSplit(Exception):
    """A mixed operation changes the number of channels, so that part of them cannot bypass it."""

    def __init__(self, mixed: MixedOp) -> None:
        super().__init__("a mixed operation must keep the number of channels to be partial")
        self.path = mixed.selections[0][0][0]


class CannotMix(Exception):
    """Options whose output shapes differ, and the paths of the decisions to blame."""

    def __init__(self, paths: tuple[str, ...], first_shape: Shape, other_shape: Shape) -> None:
        super().__init__(f"options must have one output shape, got {first_shape} and {other_shape}")
        self.paths, self.first_shape, self.other_shape = paths, first_shape, other_shape
