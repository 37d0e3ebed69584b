"""Layers for tables: rows of numbers and category codes in, one vector out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected, plural
from netwright.networks.interfaces.channel_map import ChannelMap, identity_map, shift_origins
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
from netwright.networks.interfaces.morphism_rules import start_afresh
from netwright.networks.interfaces.shapes import Shape, n_channels
from netwright.networks.layers.basic import Skip
from netwright.networks.layers.checks import check_positive

CARDINALITIES = Given("cardinalities")
"""Categories of each categorical column, with one for unseen ones."""

_EMBEDDING_INIT_STD = 0.3
"""Standard deviation of initial embeddings, of N(0, 1) in PyTorch."""


class _OneHot(nn.Module):
    """Integer codes (batch, columns) -> (batch, sum of cardinalities - 1)."""

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
    """One-hot encoding of category codes; code 0, for unseen categories, is all zeros.

    Args:
        cardinalities: Codes of each column, 0 included; by default those of the task.
    """

    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def build(self, shape: Shape) -> nn.Module:
        return _OneHot(_check_code_columns(self.cardinalities, shape))

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        return True


class _Embedding(nn.Module):
    """Integer codes (batch, columns) -> (batch, columns x size)."""

    start: Tensor

    def __init__(self, cardinalities: tuple[int, ...], size: int) -> None:
        super().__init__()
        starts = [sum(cardinalities[:i]) for i in range(len(cardinalities))]
        self.register_buffer("start", torch.tensor(starts, dtype=torch.int64))
        self.table = nn.Embedding(sum(cardinalities), size)
        with torch.no_grad():
            self.table.weight.mul_(_EMBEDDING_INIT_STD)
            self.table.weight[starts] = 0.0  # unseen categories are never trained

    def forward(self, x: Tensor) -> Tensor:
        vectors: Tensor = self.table(x.long() + self.start)  # (batch, columns, size)
        return vectors.flatten(1)


@dataclass(frozen=True)
class Embedding(Leaf):
    """Learnt embeddings of category codes; code 0, for unseen categories, is all zeros.

    Args:
        size: Dimensions of the embedding of each column.
        cardinalities: Codes of each column, 0 included; by default those of the task.
    """

    size: int = 8
    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def build(self, shape: Shape) -> nn.Module:
        return _Embedding(_check_code_columns(self.cardinalities, shape), self.size)

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer, parent_layer = morphism.transfer, parent.network
        assert isinstance(parent_layer, Embedding)
        if not input_map.is_identity or parent_layer.cardinalities != self.cardinalities:
            return start_afresh(transfer, parent, child, input_map, target_map)
        parent_weight, child_weight = (
            built.submodule("table", nn.Embedding).weight for built in (parent, child)
        )
        importance = parent_weight.norm(dim=0)
        origin = transfer.choose_origins(parent_layer.size, self.size, importance)
        child_weight.copy_(parent_weight[:, origin])
        transfer.inherited_params += child_weight.numel()
        return _map_of_each_column(parent, child, parent_layer.size, origin)


class _OneHotOrEmbedding(nn.Module):
    """Integer codes (batch, columns): the one-hot columns first, then the embedded ones."""

    one_hot_columns: Tensor
    embedded_columns: Tensor

    def __init__(self, cardinalities: tuple[int, ...], max_cat_to_onehot: int, size: int) -> None:
        super().__init__()
        one_hot = [i for i, n in enumerate(cardinalities) if n - 1 <= max_cat_to_onehot]
        embedded = [i for i, n in enumerate(cardinalities) if n - 1 > max_cat_to_onehot]
        self.register_buffer("one_hot_columns", torch.tensor(one_hot, dtype=torch.int64))
        self.register_buffer("embedded_columns", torch.tensor(embedded, dtype=torch.int64))
        self.onehot = _OneHot(tuple(cardinalities[i] for i in one_hot))
        embedded_cardinalities = tuple(cardinalities[i] for i in embedded)
        self.embedding = _Embedding(embedded_cardinalities, size) if embedded else None

    def forward(self, x: Tensor) -> Tensor:
        if self.embedding is None:
            one_hot: Tensor = self.onehot(x)
            return one_hot
        vectors: Tensor = self.embedding(x.index_select(1, self.embedded_columns))
        if not len(self.onehot.column):
            return vectors
        return torch.cat([self.onehot(x.index_select(1, self.one_hot_columns)), vectors], 1)


@dataclass(frozen=True)
class OneHotOrEmbedding(Leaf):
    """One-hot encoding of columns with few categories, learnt embeddings of the others.

    Args:
        max_cat_to_onehot: Columns of at most so many categories are encoded one-hot.
        size: Dimensions of the embedding of each other column.
        cardinalities: Codes of each column, 0 included; by default those of the task.
    """

    max_cat_to_onehot: int = 9
    size: int = 8
    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def build(self, shape: Shape) -> nn.Module:
        check_positive(self, "size")
        return _OneHotOrEmbedding(
            _check_code_columns(self.cardinalities, shape), self.max_cat_to_onehot, self.size
        )


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
    """Periodic embeddings of numbers: sines and cosines of learnt frequencies, then a dense layer.

    "PLR" of Gorishniy et al. 2022 (2203.05556); each column has its own weights.

    Args:
        size: Dimensions of the embedding of each column.
        frequencies: Frequencies of each column.
        sigma: Standard deviation of the initial frequencies.
    """

    size: int = 8
    frequencies: int = 16
    sigma: float = 0.3

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) != 1:
            raise InfeasibleCandidate(expected("input", "columns", shape))
        check_positive(self, "size", "frequencies")
        return _Periodic(shape[0], self.size, self.frequencies, self.sigma)

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        transfer, parent_layer = morphism.transfer, parent.network
        assert isinstance(parent_layer, Periodic)
        if not input_map.is_identity:
            return start_afresh(transfer, parent, child, input_map, target_map)
        parent_state, child_state = parent.module.state_dict(), child.module.state_dict()
        weight = parent_state["weight"]  # (columns, 2 frequencies, size)
        size_origin = transfer.choose_origins(
            parent_layer.size, self.size, importance=weight.norm(dim=(0, 1))
        )
        frequency_origin = transfer.choose_origins(
            parent_layer.frequencies,
            self.frequencies,
            importance=weight.norm(dim=(0, 2)).view(2, -1).norm(dim=0),
        )
        if self.frequencies < parent_layer.frequencies:
            fewer = f"{self.frequencies} frequencies instead of {parent_layer.frequencies}"
            transfer.record_change(child.position, fewer)
        # sines, then cosines
        waves_origin = torch.cat([frequency_origin, frequency_origin + parent_layer.frequencies])
        n_replicas = torch.bincount(waves_origin, minlength=2 * parent_layer.frequencies)
        n_replicas = n_replicas[waves_origin]
        child_state["frequency"].copy_(parent_state["frequency"][:, frequency_origin])
        child_state["weight"].copy_(
            weight[:, waves_origin][:, :, size_origin] / n_replicas[:, None]
        )
        child_state["bias"].copy_(parent_state["bias"][:, size_origin])
        transfer.inherited_params += sum(tensor.numel() for tensor in child_state.values())
        return _map_of_each_column(parent, child, parent_layer.size, size_origin)


def _map_of_each_column(
    parent: BuiltNetwork, child: BuiltNetwork, parent_size: int, origin: Tensor
) -> ChannelMap:
    """Return the map of embeddings whose dimensions have the same `origin` in every column."""
    starts = torch.arange(n_channels(child.input_shape))[:, None] * parent_size
    return ChannelMap(parent.output_shape, child.output_shape, (starts + origin).flatten())


@dataclass(frozen=True)
class Columns(Composite):
    """Separate networks for the numeric and the categorical columns of a row, concatenated.

    The last columns of a row are the category codes, as many as there are `cardinalities`; either
    kind may be missing. Categorical columns are left out if none has a known category.

    Args:
        numeric: A network for the numbers (columns,).
        categorical: A network for the codes (columns,).
        cardinalities: Codes of each categorical column, 0 included; by default those of the task.

    Example:
        >>> network = (Columns(Periodic(), Embedding()), Linear(64, activation="relu"), Linear())
        >>> module = build(network, (5,), outputs=2, cardinalities=(3, 12))
    """

    numeric: Network = Skip()  # noqa: RUF009  # frozen
    categorical: Network = OneHot()  # frozen
    cardinalities: tuple[int, ...] | Given = CARDINALITIES

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        cardinalities = require_cardinalities(self.cardinalities)
        n_codes = len(cardinalities)
        if len(shape) != 1 or shape[0] < n_codes:
            raise InfeasibleCandidate(
                f"Columns takes rows of at least {plural(n_codes, 'column')}, got {shape}."
            )
        widths: list[int] = []
        if n_numbers := shape[0] - n_codes:
            widths += add("numeric", self.numeric, (n_numbers,))
        if n_codes and max(cardinalities) > 1:
            widths += add("categorical", self.categorical, (n_codes,))
        if not widths:
            raise InfeasibleCandidate("Columns must have a number or a known category, got none.")
        return (sum(widths),)

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        n_numbers = x.shape[1] - len(require_cardinalities(self.cardinalities))
        inputs = {"numeric": x[:, :n_numbers], "categorical": x[:, n_numbers:]}
        outputs = [
            parts[name](inputs[name]) for name in ("numeric", "categorical") if name in parts
        ]
        return torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        if not input_map.is_identity or [*parent.parts] != [*child.parts]:
            return start_afresh(morphism.transfer, parent, child, input_map, target_map)
        part_maps = [
            morphism.inherit(
                parent.parts[name], part, identity_map(part.input_shape, part.input_shape)
            )
            for name, part in child.parts.items()
        ]
        widths = (n_channels(part_map.parent_shape) for part_map in part_maps)
        starts = [*accumulate(widths, initial=0)]
        origins = [
            shift_origins(part_map.origin, start)
            for part_map, start in zip(part_maps, starts, strict=False)
        ]
        return ChannelMap(parent.output_shape, child.output_shape, torch.cat(origins))


def require_cardinalities(cardinalities: tuple[int, ...] | Given) -> tuple[int, ...]:
    """Return the cardinalities; refuse a `Given` that `build` has not replaced."""
    if isinstance(cardinalities, Given):
        raise InfeasibleCandidate("cardinalities must be given to build. Pass cardinalities=().")
    return cardinalities


def _check_code_columns(cardinalities: tuple[int, ...] | Given, shape: Shape) -> tuple[int, ...]:
    """Return the cardinalities; refuse rows that have another number of columns."""
    known_cardinalities = require_cardinalities(cardinalities)
    if shape != (len(known_cardinalities),):
        raise InfeasibleCandidate(
            expected("input", f"{plural(len(known_cardinalities), 'column')} of codes", shape)
        )
    return known_cardinalities
