"""What a network is made of: descriptions that know how to become modules.

A network is a layer, or a tuple of networks (one after the other). A *leaf* builds one module; a
*composite* declares its parts once, and shapes, costs, drawings and modules all come from that.
Shapes leave out the batch: images (c, h, w), sequences (t, c), tables (columns,).

A layer may say what it takes over from its forerunner in a parent network, and how it starts as the
identity where the parent has none: `inherit`, `start_as_identity` and what they need. All of it has
defaults: a layer that says nothing starts afresh.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

from torch import Tensor, nn

from netwright.networks.interfaces.channel_map import ChannelMap
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.interfaces.transfer import Transfer

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Given:
    """A number that only the task knows: ``Linear(features=Given("outputs"))``."""

    name: str


class Layer:
    """Anything a network is made of. A frozen dataclass; equal layers build equal modules."""

    preserves_zero: ClassVar[bool] = False
    """Zeros in, zeros out; and nothing below 0 in, nothing below 0 out."""

    @property
    def dead(self) -> bool:
        """Whether nothing ever comes out of it: graphs leave it out, and what it alone feeds."""
        return False

    # Weights from a parent

    @property
    def has_kink(self) -> bool:
        """Whether its activation lets no gradient through at 0, as relu does."""
        return False

    def is_identity(self, positive: bool) -> bool:
        """Whether what comes in goes out, when nothing is being trained.

        `positive`: nothing that comes in is below 0.
        """
        return False

    def keeps_zero(self) -> bool:
        """Whether zeros go out where zeros come in."""
        return self.preserves_zero or self.is_identity(positive=False)

    def is_positive(self, part: BuiltNetwork, before: bool) -> bool:
        """Whether nothing that comes out is below 0, `before` saying so of what comes in."""
        return before and self.keeps_zero()

    def inherit(
        self,
        walk: Morphism,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:
        """Set the weights of `new` from those of `old`, a part of the same kind of layer.

        Asked only of classes that define it themselves: a subclass may compute something else.

        Args:
            flow: what comes in, beside what came in.
            wanted: what should come out, since something is added to it.

        Returns:
            What goes out.
        """
        raise NotImplementedError

    def start_as_identity(
        self, walk: Morphism, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None
    ) -> ChannelMap | None:
        """Make an inserted part hand on what comes in; None where no weights do."""
        return None

    def ends(self, part: BuiltNetwork, kinked: bool) -> list[End] | None:
        """The parts whose weights decide that nothing comes out; None where weights cannot.

        `kinked`: a relu comes after it.
        """
        return None

    def last_module(self, part: BuiltNetwork) -> nn.Module:
        """The module whose weights are the last to work on what comes out of one of `ends`."""
        raise NotImplementedError


Network: TypeAlias = Layer | tuple["Network", ...]
Blocks: TypeAlias = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> how many lie side by side in it along each axis: see `Leaf.build`."""
AddPart: TypeAlias = Callable[[str, Network, Shape], Shape]
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
    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        """Declares the parts through `add`, and says the shape that comes out."""

    @abstractmethod
    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        """The forward pass over the built parts."""


@dataclass(frozen=True, eq=False)
class BuiltNetwork:
    """A network, its module, and the shapes of rows that go in and come out.

    `parts`: those of a tuple by place, those of a composite by name. `position`: as `build` says it.
    """

    network: Network
    module: nn.Module
    input_shape: Shape
    output_shape: Shape
    position: str
    parts: Mapping[str, BuiltNetwork] = field(default_factory=dict)

    def submodule(self, name: str, module_type: type[M]) -> M:
        """The module of this name in a layer of netwright's own."""
        found = self.module.get_submodule(name)
        assert isinstance(found, module_type)
        return found


class End(NamedTuple):
    """A last layer with weights of what is to be silent; `kinked`: a relu comes after it."""

    part: BuiltNetwork
    kinked: bool


class Morphism(Protocol):
    """The walk through a parent and its child side by side, for layers that have parts."""

    @property
    def transfer(self) -> Transfer:
        """The weights on their way, and what is lost."""

    def inherit(
        self,
        old: BuiltNetwork,
        new: BuiltNetwork,
        flow: ChannelMap,
        wanted: ChannelMap | None = None,
    ) -> ChannelMap:
        """A part and its forerunner."""

    def inherit_sequence(
        self, pairs: Sequence[tuple[BuiltNetwork | None, BuiltNetwork | None]], flow: ChannelMap,
        wanted: ChannelMap | None,
    ) -> ChannelMap:  # fmt: skip
        """Parts one after the other; None: there is no forerunner, or no successor."""

    def insert(self, new: BuiltNetwork, flow: ChannelMap, wanted: ChannelMap | None) -> ChannelMap:
        """A part that the parent does not have: the identity, where it can be."""

    def remove(self, old: BuiltNetwork, flow: ChannelMap) -> ChannelMap:
        """A part that the child does not have."""

    def record_differences(
        self, position: str, flows: Sequence[ChannelMap], out: ChannelMap, n_losses: int
    ) -> ChannelMap:
        """Note what got lost between `flows` and `out`, unless something was since `n_losses`."""
