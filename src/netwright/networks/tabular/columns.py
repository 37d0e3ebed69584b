"""Layers for tables: one row of numbers and category codes in, one vector out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected, plural
from netwright.networks.interfaces.channel_map import ChannelMap, shifted, unchanged
from netwright.networks.interfaces.layer import (
    AddPart,
    Blocks,
    BuiltNetwork,
    Composite,
    Given,
    Leaf,
    Morphism,
    Network,
)
from netwright.networks.interfaces.morphism_rules import replaced
from netwright.networks.interfaces.shapes import Shape, width
from netwright.networks.layers.basic import Skip
from netwright.networks.layers.checks import need_positive

CARDINALITIES = Given("cardinalities")


class _OneHot(nn.Module):
    """Whole-number codes (batch, columns) -> (batch, sum of cardinalities - 1)."""

    column: Tensor
    code: Tensor

    def __init__(self, cardinalities: tuple[int, ...]) -> None:
        super().__init__()
        pairs = [(i, code) for i, n in enumerate(cardinalities) for code in range(1, n)]
        self.register_buffer("column", torch.tensor([i for i, _ in pairs], dtype=torch.int64))
        self.register_buffer("code", torch.tensor([code for _, code in pairs]).float())

    def forward(self, x: Tensor) -> Tensor:
        return (x.index_select(1, self.column) == self.code).float()


@dataclass(frozen=True)
class OneHot(Leaf):
    """Category codes as one number for each known value; the unseen code 0 is all zeros."""

    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def build(self, shape: Shape) -> nn.Module:
        return _OneHot(_of_columns(self.cardinalities, shape))

    def is_positive(self, part: BuiltNetwork, before: bool) -> bool:
        return True


class _Embedding(nn.Module):
    """Whole-number codes (batch, columns) -> (batch, columns x size)."""

    start: Tensor

    def __init__(self, cardinalities: tuple[int, ...], size: int) -> None:
        super().__init__()
        starts = [sum(cardinalities[:i]) for i in range(len(cardinalities))]
        self.register_buffer("start", torch.tensor(starts, dtype=torch.int64))
        self.table = nn.Embedding(sum(cardinalities), size)
        with torch.no_grad():
            self.table.weight.mul_(0.3)
            self.table.weight[starts] = 0.0  # never seen in training: it says nothing

    def forward(self, x: Tensor) -> Tensor:
        vectors: Tensor = self.table(x.long() + self.start)  # (batch, columns, size)
        return vectors.flatten(1)


@dataclass(frozen=True)
class Embedding(Leaf):
    """Category codes as learnt vectors of `size`; the unseen code 0 is all zeros."""

    size: int = 8
    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def build(self, shape: Shape) -> nn.Module:
        return _Embedding(_of_columns(self.cardinalities, shape), self.size)

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        transfer, before = walk.transfer, old.network
        assert isinstance(before, Embedding)
        if not flow.is_identity or before.cardinalities != self.cardinalities:
            return replaced(transfer, old, new, flow, wanted)
        ours, theirs = (part.submodule("table", nn.Embedding).weight for part in (old, new))
        size = transfer.choose_origins(before.size, self.size, importance=ours.norm(dim=0))
        theirs.copy_(ours[:, size])
        transfer.inherited_params += theirs.numel()
        return _of_each_column(old, new, before.size, size)


class _Codes(nn.Module):
    """Whole-number codes (batch, columns): those of few values one-hot, then the others learnt."""

    one_hot_columns: Tensor
    embedded_columns: Tensor

    def __init__(self, cardinalities: tuple[int, ...], most: int, size: int) -> None:
        super().__init__()
        few = [i for i, n in enumerate(cardinalities) if n - 1 <= most]
        many = [i for i, n in enumerate(cardinalities) if n - 1 > most]
        self.register_buffer("few", torch.tensor(few, dtype=torch.int64))
        self.register_buffer("many", torch.tensor(many, dtype=torch.int64))
        self.onehot = _OneHot(tuple(cardinalities[i] for i in few))
        self.embedding = _Embedding(tuple(cardinalities[i] for i in many), size) if many else None

    def forward(self, x: Tensor) -> Tensor:
        if self.embedding is None:
            found: Tensor = self.onehot(x)
            return found
        vectors: Tensor = self.embedding(x.index_select(1, self.embedded_columns))
        if not len(self.onehot.column):
            return vectors
        return torch.cat([self.onehot(x.index_select(1, self.one_hot_columns)), vectors], 1)


@dataclass(frozen=True)
class OneHotOrEmbedding(Leaf):
    """Category codes: `OneHot` for columns of at most `most` known values, else an `Embedding`."""

    max_cat_to_onehot: int = 9
    size: int = 8
    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def build(self, shape: Shape) -> nn.Module:
        need_positive(self, "size")
        return _Codes(_of_columns(self.cardinalities, shape), self.max_cat_to_onehot, self.size)


class _Periodic(nn.Module):
    """Numbers (batch, columns) -> (batch, columns x size): Gorishniy et al. 2022, sec. 3.3."""

    blocks: ClassVar[Blocks] = {"weight": (1, 2, 1)}  # for sines, for cosines

    def __init__(self, columns: int, size: int, frequencies: int, sigma: float) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(columns, frequencies) * sigma)
        bound = 1 / math.sqrt(2 * frequencies)
        self.weight = nn.Parameter(
            torch.empty(columns, 2 * frequencies, size).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(columns, size).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * self.frequency * x.unsqueeze(-1)  # (batch, columns, frequencies)
        waves = torch.cat([angle.sin(), angle.cos()], -1)  # (batch, columns, 2 frequencies)
        mixed = torch.matmul(waves.transpose(0, 1), self.weight).transpose(0, 1)
        return torch.relu(mixed + self.bias).flatten(1)  # (batch, columns x size)


@dataclass(frozen=True)
class Periodic(Leaf):
    """Each number as sines and cosines of learnt frequencies, then a dense layer of its own.

    "PLR" of Gorishniy et al. 2022 (2203.05556): `size` numbers come out for each column; `sigma`
    is the deviation from which the frequencies start.
    """

    size: int = 8
    frequencies: int = 16
    sigma: float = 0.3

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) != 1:
            raise InfeasibleCandidate(expected("input", "columns", shape))
        need_positive(self, "size", "frequencies")
        return _Periodic(shape[0], self.size, self.frequencies, self.sigma)

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        transfer, before = walk.transfer, old.network
        assert isinstance(before, Periodic)
        if not flow.is_identity:
            return replaced(transfer, old, new, flow, wanted)
        ours, theirs = old.module.state_dict(), new.module.state_dict()
        weight = ours["weight"]  # (columns, 2 frequencies, size)
        size = transfer.choose_origins(before.size, self.size, importance=weight.norm(dim=(0, 1)))
        waves = weight.norm(dim=(0, 2)).view(2, -1).norm(dim=0)
        wave = transfer.choose_origins(before.frequencies, self.frequencies, importance=waves)
        if self.frequencies < before.frequencies:
            what = f"{self.frequencies} frequencies in place of {before.frequencies}"
            transfer.record_change(new.position, what)
        both = torch.cat([wave, wave + before.frequencies])  # sines, then cosines
        replicas = torch.bincount(both, minlength=2 * before.frequencies)[both]
        theirs["frequency"].copy_(ours["frequency"][:, wave])
        theirs["weight"].copy_(weight[:, both][:, :, size] / replicas[:, None])
        theirs["bias"].copy_(ours["bias"][:, size])
        transfer.inherited_params += sum(one.numel() for one in theirs.values())
        return _of_each_column(old, new, before.size, size)


def _of_each_column(old: BuiltNetwork, new: BuiltNetwork, before: int, size: Tensor) -> ChannelMap:
    """Every column became `before` numbers, and becomes those of the origins `size`."""
    starts = torch.arange(width(new.input_shape))[:, None] * before
    return ChannelMap(old.output_shape, new.output_shape, (starts + size).flatten())


@dataclass(frozen=True)
class Columns(Composite):
    """Splits a row into numbers and category codes, and puts what becomes of them side by side.

    The last columns are the codes, as many as there are `cardinalities`; there may be none of
    either kind. Codes are left out where none of their columns knows a value.
    """

    numeric: Network = Skip()  # noqa: RUF009  # frozen
    categorical: Network = OneHot()  # frozen
    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        codes = len(known(self.cardinalities))
        if len(shape) != 1 or shape[0] < codes:
            raise InfeasibleCandidate(
                f"Columns takes rows of at least {plural(codes, 'column')}, got {shape}."
            )
        widths: list[int] = []
        if numbers := shape[0] - codes:
            widths += add("numeric", self.numeric, (numbers,))
        if codes and max(known(self.cardinalities)) > 1:
            widths += add("categorical", self.categorical, (codes,))
        if not widths:
            raise InfeasibleCandidate("Columns must have a number or a known category, got none.")
        return (sum(widths),)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        numbers = x.shape[1] - len(known(self.cardinalities))
        slices = {"numeric": x[:, :numbers], "categorical": x[:, numbers:]}
        found = [parts[name](slices[name]) for name in ("numeric", "categorical") if name in parts]
        return torch.cat(found, 1) if len(found) > 1 else found[0]

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        """Numbers and codes go their own ways, and are put side by side again."""
        if not flow.is_identity or [*old.parts] != [*new.parts]:
            return replaced(walk.transfer, old, new, flow, wanted)
        found = [
            walk.inherit(old.parts[name], part, unchanged(part.input_shape, part.input_shape))
            for name, part in new.parts.items()
        ]
        starts = [*accumulate((width(one.parent_shape) for one in found), initial=0)]
        origins = [shifted(one.origin, start) for one, start in zip(found, starts, strict=False)]
        return ChannelMap(old.output_shape, new.output_shape, torch.cat(origins))


def known(cardinalities: tuple[int, ...] | Given) -> tuple[int, ...]:
    """The cardinalities, which `build` has been given by now."""
    if isinstance(cardinalities, Given):
        raise InfeasibleCandidate("cardinalities must be given to build. Pass cardinalities=().")
    return cardinalities


def _of_columns(cardinalities: tuple[int, ...] | Given, shape: Shape) -> tuple[int, ...]:
    """The cardinalities, one for each column of code."""
    found = known(cardinalities)
    if shape != (len(found),):
        raise InfeasibleCandidate(
            expected("input", f"{plural(len(found), 'column')} of codes", shape)
        )
    return found
