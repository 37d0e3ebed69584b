"""The vocabulary of networks: descriptions that know how to become modules.

A network is a layer, or a tuple of networks (one after the other). A *leaf* builds one module; a
*composite* declares its parts once, and shapes, costs, drawings and modules all come from that.
Shapes leave out the batch: images (c, h, w), sequences (t, c), tables (columns,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, expected

Shape: TypeAlias = tuple[int, ...]
"""The shape of one row."""


@dataclass(frozen=True)
class Given:
    """A number that only the task knows: ``Linear(features=Given("outputs"))``."""

    name: str


class Layer:
    """Anything a network is made of. A frozen dataclass; equal layers build equal modules."""

    @property
    def dead(self) -> bool:
        """Whether nothing ever comes out of it: graphs leave it out, and what it alone feeds."""
        return False


Network: TypeAlias = Layer | tuple["Network", ...]
Blocks: TypeAlias = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> how many lie side by side in it along each axis: see `Leaf.build`."""
Add: TypeAlias = Callable[[str, Network, Shape], Shape]
"""Declares a named part for an input shape, and says the part's output shape."""


class Leaf(Layer, ABC):
    """A layer of one module.

    `light`: no convolution or product but by weights of kernel 1 on one pixel, and few weights
    whatever the shape. Its costs and shapes are found by running it on one row; the others run on
    torch's meta device, whose sums cost seconds of imports the first time.
    """

    light: ClassVar[bool] = False

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """The module for rows of this shape. Raises InfeasibleCandidate when it cannot take them.

        Where a tensor is several side by side, such as queries, keys and values, the module may say
        so in `blocks`: its name -> how many along each axis. Shared weights are sliced in each.
        Learning rates and decay of its own are said as in `param_groups.py`, weights that start from
        data as in `data_dependent_init.py`.
        """

    def known_shape(self, shape: Shape) -> Shape | None:
        """The shape that comes out, where a formula says it; None: it is found by a run."""
        return None


class Composite(Layer, ABC):
    """A layer made of other networks.

    `is_residual`: what comes in, through the part "shortcut" where there is one, is added to what
    the part "body" gives.
    """

    is_residual: ClassVar[bool] = False

    @abstractmethod
    def assemble(self, shape: Shape, add: Add) -> Shape:
        """Declares the parts through `add`, and says the shape that comes out."""

    @abstractmethod
    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        """The forward pass over the built parts."""


Activation_ = Literal[
    "none", "relu", "leaky_relu", "gelu", "silu", "mish", "hardswish", "selu", "elu", "tanh"
]
Normalisation = Literal["none", "batch", "layer", "group"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "selu": nn.SELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """The activation called `name`."""
    if name not in ACTIVATIONS:
        rule = f"one of {', '.join(ACTIVATIONS)}"
        raise InfeasibleCandidate(expected("activation", rule, name))
    return ACTIVATIONS[name]()


def normalisation(name: str, shape: Shape) -> nn.Module:
    """The normalisation called `name` for rows of this shape; its channels are c."""
    channels = shape[0] if len(shape) == 3 else shape[-1]
    if name == "none":
        return nn.Identity()
    if name == "batch":
        of: list[type[nn.Module]] = [nn.BatchNorm1d, SequenceBatchNorm, nn.BatchNorm2d]
        return of[len(shape) - 1](channels)
    if name == "layer":  # of images: over channels and pixels, one group
        return nn.GroupNorm(1, channels) if len(shape) == 3 else nn.LayerNorm(channels)
    if name == "group":
        groups = next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
        if len(shape) == 2:
            raise InfeasibleCandidate("group normalisation takes images or columns. Use layer.")
        return nn.GroupNorm(groups, channels)
    raise InfeasibleCandidate(expected("normalisation", "batch, layer, group or none", name))


class SequenceBatchNorm(nn.Module):
    """Batch normalisation of sequences (batch, t, c) over batch and time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.transpose(1, 2))  # (batch, c, t)
        return normed.transpose(1, 2)


@dataclass(frozen=True)
class Conv(Leaf):
    """Convolution, normalisation, activation, on images (c, h, w).

    `channels` 0 keeps the number that comes in. `padding` -1 keeps the size at stride 1 (the
    kernel must then be odd). `separable`: a depthwise convolution, then one of kernel 1
    (1704.04861).
    """

    channels: int = 0
    kernel: int = 3
    stride: int = 1
    padding: int = -1
    dilation: int = 1
    groups: int = 1
    separable: bool = False
    normalisation: Normalisation = "batch"
    activation: Activation_ = "relu"

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        need_positive(self, "kernel", "stride", "dilation", "groups")
        need_odd(self.kernel, self.padding)
        into, out = shape[0], self.channels or shape[0]
        module = nn.Sequential()
        if self.separable:
            module.add_module("depthwise", self._conv(into, into, self.kernel, into))
            module.add_module("pointwise", nn.Conv2d(into, out, 1, bias=self._bias))
        else:
            module.add_module("conv", self._conv(into, out, self.kernel, self.groups))
        module.add_module("norm", normalisation(self.normalisation, (out, *shape[1:])))
        module.add_module("act", activation(self.activation))
        return module

    def known_shape(self, shape: Shape) -> Shape | None:
        """None for what `build` would refuse: it says why."""
        named = self.activation in ACTIVATIONS and self.normalisation in get_args(Normalisation)
        if len(shape) != 3 or not named or (self.padding < 0 and self.kernel % 2 == 0):
            return None
        if min(self.kernel, self.stride, self.dilation, self.groups, self.channels + 1) < 1:
            return None
        into, out = shape[0], self.channels or shape[0]
        if not self.separable and (into % self.groups or out % self.groups):
            return None
        reach = self.dilation * (self.kernel - 1)
        padding = reach // 2 if self.padding < 0 else self.padding
        h, w = ((side + 2 * padding - reach - 1) // self.stride + 1 for side in shape[1:])
        return (out, h, w) if min(h, w) >= 1 else None

    @property
    def _bias(self) -> bool:
        """A normalisation that follows has its own shift."""
        return self.normalisation == "none"

    def _conv(self, into: int, out: int, kernel: int, groups: int) -> nn.Conv2d:
        if into % groups or out % groups:
            rule = f"a divisor of the channels {into} and {out}"
            raise InfeasibleCandidate(expected("groups", rule, groups))
        padding = self.dilation * (kernel - 1) // 2 if self.padding < 0 else self.padding
        bias = self._bias and not self.separable
        return nn.Conv2d(into, out, kernel, self.stride, padding, self.dilation, groups, bias)


OUTPUTS = Given("outputs")


@dataclass(frozen=True)
class Linear(Leaf):
    """A dense layer on the last axis, with normalisation and activation after it.

    Without `features` it is the head: as many as the task has outputs.
    """

    features: int | Given = OUTPUTS
    normalisation: Normalisation = "none"
    activation: Activation_ = "none"

    def build(self, shape: Shape) -> nn.Module:
        features = whole(self.features)
        if len(shape) == 3:
            raise InfeasibleCandidate(
                "a Linear layer takes columns or sequences, got images. Put GlobalPool() or "
                "Flatten() before it."
            )
        module = nn.Sequential()
        module.add_module("linear", nn.Linear(shape[-1], features))
        module.add_module("norm", normalisation(self.normalisation, (*shape[:-1], features)))
        module.add_module("act", activation(self.activation))
        return module


@dataclass(frozen=True)
class Pool(Leaf):
    """Largest or mean value of windows of images.

    `padding` -1 keeps the size at stride 1 (the kernel must then be odd).
    """

    light = True

    kind: Literal["max", "avg"] = "max"
    kernel: int = 3
    stride: int = 1
    padding: int = -1

    def build(self, shape: Shape) -> nn.Module:
        need_images(shape)
        need_positive(self, "kernel", "stride")
        need_odd(self.kernel, self.padding)
        padding = self.kernel // 2 if self.padding < 0 else self.padding
        if self.kind == "max":
            return nn.MaxPool2d(self.kernel, self.stride, padding)
        return nn.AvgPool2d(self.kernel, self.stride, padding, count_include_pad=False)


class _Mean(nn.Module):
    """The mean over some axes."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes)


class _Max(_Mean):
    def forward(self, x: Tensor) -> Tensor:
        return x.amax(self.axes)


@dataclass(frozen=True)
class GlobalPool(Leaf):
    """Images (c, h, w) -> (c,); sequences (t, c) -> (c,); columns stay."""

    light = True

    kind: Literal["avg", "max"] = "avg"

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) == 1:
            return nn.Identity()
        axes = (2, 3) if len(shape) == 3 else (1,)
        return _Mean(axes) if self.kind == "avg" else _Max(axes)


@dataclass(frozen=True)
class Norm(Leaf):
    """Normalisation by itself."""

    light = True

    kind: Normalisation = "batch"

    def build(self, shape: Shape) -> nn.Module:
        return normalisation(self.kind, shape)


@dataclass(frozen=True)
class Activation(Leaf):
    """An activation by itself."""

    light = True

    kind: Activation_ = "relu"

    def build(self, shape: Shape) -> nn.Module:
        return activation(self.kind)


class _Dropout(nn.Dropout):
    """On a CPU a fourth of the time of torch's own, which draws one number at a time.

    Sixteen random bits for each number: `p` is rounded to 1 / 65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        if not self.training or not dropped or x.device.type != "cpu":
            return super().forward(x)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-2^15, 2^15)
        kept = draws.to(torch.float32).ge_(dropped - 2**15)  # exact: 16 bits fit
        return x * kept.mul_(1 / (1 - dropped / 2**16)).to(x.dtype)


@dataclass(frozen=True)
class Dropout(Leaf):
    """Drops each number with probability `p` while training."""

    light = True

    p: float = 0.1

    def build(self, shape: Shape) -> nn.Module:
        if not 0 <= self.p < 1:
            raise InfeasibleCandidate(expected("p", "in [0, 1)", self.p))
        return _Dropout(self.p)


@dataclass(frozen=True)
class Flatten(Leaf):
    """All numbers of a row in one axis."""

    light = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Flatten()


@dataclass(frozen=True)
class Skip(Leaf):
    """What comes in goes out."""

    light = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Identity()


class _Zeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True)
class Zero(Leaf):
    """Nothing goes out: the edge "none" of cells."""

    light = True

    @property
    def dead(self) -> bool:
        return True

    def build(self, shape: Shape) -> nn.Module:
        return _Zeros()


def need_images(shape: Shape) -> None:
    """Refuses rows that are not images."""
    if len(shape) != 3:
        raise InfeasibleCandidate(expected("input", "images (c, h, w)", shape))


def need_positive(layer: Layer, *names: str) -> None:
    """Refuses a layer some of whose numbers are below 1."""
    for name in names:
        if (number := getattr(layer, name)) < 1:
            raise InfeasibleCandidate(expected(name, "at least 1", number))


def need_odd(kernel: int, padding: int) -> None:
    """Refuses a kernel that no padding centres, where the padding is to be found."""
    if padding < 0 and kernel % 2 == 0:
        fix = f"Use {kernel - 1} or {kernel + 1}, or say the padding."
        raise InfeasibleCandidate(expected("kernel", "odd", kernel, fix))


def whole(number: int | Given) -> int:
    """A number that `build` has been given by now."""
    if isinstance(number, Given):
        name = number.name
        raise InfeasibleCandidate(f"{name} must be given to build, got nothing. Pass {name}=...")
    return number
