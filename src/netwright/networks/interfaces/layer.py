"""The contract of layers: descriptions that know how to become modules.

A network is a layer, or a tuple of networks that run one after the other. A *leaf* builds one
module; a *composite* declares its parts once, and shapes, costs, drawings and modules all come from
that. Shapes leave out the batch: images (c, h, w), sequences (t, c), tables (columns,).

A layer may define how it inherits weights from its counterpart in a parent network (`inherit`), and
how it starts as the identity where the parent has no counterpart (`start_as_identity`). Both are
optional: without them a layer starts afresh.
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
    """Placeholder for a value that only the task knows.

    Args:
        name: Keyword of `build` that replaces it: ``"outputs"``, ``"cardinalities"``.

    Example:
        >>> head = Linear(features=Given("outputs"))
        >>> module = build(head, (16,), outputs=10)
    """

    name: str


class Layer:
    """Base of all layers. A layer is a frozen dataclass; equal layers build equal modules."""

    preserves_zero: ClassVar[bool] = False
    """Zeros in give zeros out, and inputs of at least 0 give outputs of at least 0."""

    @property
    def dead(self) -> bool:
        """Return whether the output is always 0: graphs drop such layers and what feeds them alone."""
        return False

    # Weight inheritance

    @property
    def has_kink(self) -> bool:
        """Return whether the activation has a kink at 0, where ReLU passes no gradient."""
        return False

    def is_identity(self, *, nonnegative_input: bool) -> bool:
        """Return whether the output equals the input in evaluation mode.

        Args:
            nonnegative_input: Whether no element of the input is below 0.

        Returns:
            True if it does for every such input; False also where that is not known.
        """
        return False

    def maps_zero_to_zero(self) -> bool:
        """Return whether zeros in give zeros out."""
        return self.preserves_zero or self.is_identity(nonnegative_input=False)

    def is_nonnegative(self, built: BuiltNetwork, *, nonnegative_input: bool) -> bool:
        """Return whether no element of the output is below 0.

        Args:
            built: This layer, built.
            nonnegative_input: Whether no element of the input is below 0.

        Returns:
            True if that holds for every such input; False also where it is not known.
        """
        return nonnegative_input and self.maps_zero_to_zero()

    def inherit(
        self,
        morphism: Morphism,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Set the child's weights from those of the parent's layer of the same class.

        Called only on classes that define it themselves: a subclass may compute something else.

        Args:
            morphism: The walk through both networks; `morphism.transfer` counts what is inherited.
            parent: This layer's counterpart in the parent.
            child: This layer in the child; its weights are set in place.
            input_map: Channels of the layer's input.
            target_map: Channels that the output should have, because something is added to it;
                None if any will do.

        Returns:
            Channels of the layer's output.
        """
        raise NotImplementedError

    def start_as_identity(
        self,
        morphism: Morphism,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap | None:
        """Make an inserted layer the identity, if weights can (Net2DeeperNet).

        Args:
            morphism: The walk through both networks.
            child: The inserted layer; its weights are set in place.
            input_map: Channels of the layer's input.
            target_map: Channels that the output should have; None if any will do.

        Returns:
            Channels of the layer's output; None if no weights make it the identity.
        """
        return None

    def layers_to_zero(
        self, built: BuiltNetwork, *, before_relu: bool
    ) -> list[ZeroInitLayer] | None:
        """Return the layers whose zeroed weights make the output 0.

        Args:
            built: This layer, built.
            before_relu: Whether an activation with a kink at 0 follows it.

        Returns:
            The layers, which all define `module_to_zero`; None if no weights make the output 0.
        """
        return None

    def module_to_zero(self, built: BuiltNetwork) -> nn.Module:
        """Return the last module with weights, for layers listed by `layers_to_zero`.

        Args:
            built: This layer, built.

        Returns:
            The module, whose parameters `weight` and `bias` are then set; a layer before ReLU needs
            the bias.

        Raises:
            NotImplementedError: The layer does not define it.
        """
        raise NotImplementedError


Network: TypeAlias = Layer | tuple["Network", ...]
Blocks: TypeAlias = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> how many tensors are stacked in it along each axis: see `Leaf.build`."""
AddPart: TypeAlias = Callable[[str, Network, Shape], Shape]
"""Declares a part by name, network and input shape, and returns the part's output shape."""


class Leaf(Layer, ABC):
    """Base of layers that build one module.

    A class attribute `cheap_to_run = True` promises that the module is cheap to run: no convolutions or
    matrix products except by kernels of size 1 on one pixel, and few weights whatever the shape.
    Its costs and shapes are then found by running it on one row on the CPU. Other leaves run on
    PyTorch's meta device, whose first use takes seconds of imports.

    Example:
        >>> @dataclass(frozen=True)
        ... class Sigmoid(Leaf):
        ...     cheap_to_run = True
        ...
        ...     def build(self, shape):
        ...         return nn.Sigmoid()
    """

    cheap_to_run: ClassVar[bool] = False

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """Return the module for rows of this shape.

        A tensor that stacks several, such as queries, keys and values, may be declared in the
        module's attribute `blocks`: name -> number of tensors along each axis. Shared weights are
        then sliced in each. For learning-rate factors and weight decay of single parameters see
        `training/param_groups.py`, for data-dependent initialisation
        `training/data_dependent_init.py`.

        Args:
            shape: Of a row, without the batch.

        Returns:
            A module that maps (batch, *shape) to (batch, ...).

        Raises:
            InfeasibleCandidate: The layer cannot take rows of this shape.
        """

    def infer_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape by formula.

        Args:
            shape: Of the input, without the batch.

        Returns:
            The shape without the batch; None if only a run tells.
        """
        return None


class Composite(Layer, ABC):
    """Base of layers made of other networks.

    A class attribute `is_residual = True` tells drawings that the input, through the part
    "shortcut" if there is one, is added to the output of the part "body".

    Example:
        >>> @dataclass(frozen=True)
        ... class Twice(Composite):
        ...     body: Network
        ...
        ...     def assemble(self, shape, add):
        ...         return add("second", self.body, add("first", self.body, shape))
        ...
        ...     def run(self, parts, x):
        ...         return parts["second"](parts["first"](x))
    """

    is_residual: ClassVar[bool] = False

    @abstractmethod
    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        """Declare the parts and return the output shape.

        Args:
            shape: Of the input, without the batch.
            add: Declares a part: ``add(name, network, input_shape) -> output_shape``.

        Returns:
            Shape of the output of `run`, without the batch.

        Raises:
            InfeasibleCandidate: The layer cannot take rows of this shape.
        """

    @abstractmethod
    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        """Run the forward pass.

        Args:
            parts: The modules of the parts by the names that `assemble` declared.
            x: (batch, ...).

        Returns:
            The output (batch, ...), of the shape that `assemble` returned.
        """

    def calls_per_row(self, name: str, shape: Shape) -> int:
        """Return how many rows of a part's input `run` makes of each row.

        FLOPs and activations of the part count as often. 1 unless a layer defines it.

        Args:
            name: Of the part.
            shape: Of the layer's input, without the batch.
        """
        return 1


@dataclass(frozen=True, eq=False)
class BuiltNetwork:
    """A network with the module that was built from it.

    Args:
        network: The description, a layer or a tuple.
        module: Its module.
        input_shape: Of rows, without the batch.
        output_shape: Of rows, without the batch.
        position: Path of the network, as in the errors of `build`: ``"1.body.0"``.
        parts: The networks inside: of a tuple by index, of a composite by name.
    """

    network: Network
    module: nn.Module
    input_shape: Shape
    output_shape: Shape
    position: str
    parts: Mapping[str, BuiltNetwork] = field(default_factory=dict)

    def submodule(self, name: str, module_type: type[M]) -> M:
        """Return a submodule of the module of a netwright layer.

        Args:
            name: As in `torch.nn.Module.get_submodule`.
            module_type: The class that it has.

        Returns:
            The submodule, typed as `module_type`.
        """
        module = self.module.get_submodule(name)
        assert isinstance(module, module_type)
        return module


class ZeroInitLayer(NamedTuple):
    """A layer whose last weights are zeroed to make a block output 0.

    Args:
        built: The layer.
        before_relu: Whether an activation with a kink at 0 follows it.
    """

    built: BuiltNetwork
    before_relu: bool


class Morphism(Protocol):
    """The walk through a parent and its child side by side, for layers that have parts."""

    @property
    def transfer(self) -> Transfer:
        """Record of what is inherited and what changes the function."""

    def inherit(
        self,
        parent: BuiltNetwork,
        child: BuiltNetwork,
        input_map: ChannelMap,
        target_map: ChannelMap | None = None,
    ) -> ChannelMap:
        """Set a network's weights from its counterpart in the parent.

        Args:
            parent: The network's counterpart in the parent.
            child: The network in the child; its weights are set in place.
            input_map: Channels of the network's input.
            target_map: Channels that the output should have; None if any will do.

        Returns:
            Channels of the network's output.
        """

    def inherit_sequence(
        self,
        pairs: Sequence[tuple[BuiltNetwork | None, BuiltNetwork | None]],
        input_map: ChannelMap,
        target_map: ChannelMap | None,
    ) -> ChannelMap:
        """Inherit networks one after the other, each from its counterpart in the parent.

        Args:
            pairs: (parent, child) in the order of the forward pass. None marks a missing
                counterpart: the child's network is inserted, or the parent's removed.
            input_map: Channels of the first network's input.
            target_map: Channels that the output should have; None if any will do.

        Returns:
            Channels of the last network's output.
        """

    def insert(
        self, child: BuiltNetwork, input_map: ChannelMap, target_map: ChannelMap | None
    ) -> ChannelMap:
        """Add a network that the parent lacks: the identity if possible.

        Args:
            child: The network in the child; its weights are set in place.
            input_map: Channels of the network's input.
            target_map: Channels that the output should have; None if any will do.

        Returns:
            Channels of the network's output.
        """

    def remove(self, parent: BuiltNetwork, input_map: ChannelMap) -> ChannelMap:
        """Skip a network that the child lacks.

        Args:
            parent: The network in the parent.
            input_map: Channels of the network's input.

        Returns:
            Channels after the network: of its output in the parent, of its input in the child.
        """

    def record_differences(
        self,
        position: str,
        input_maps: Sequence[ChannelMap],
        output_map: ChannelMap,
        n_changes: int,
    ) -> ChannelMap:
        """Record channels or sizes that are lost from inputs to output.

        Nothing is recorded if `transfer.changes` has grown beyond `n_changes` already, or if an
        input lacks channels of the parent itself.

        Args:
            position: Of the network in the child, as of `BuiltNetwork`.
            input_maps: Channels of each of the network's inputs.
            output_map: Channels of its output.
            n_changes: Length of `transfer.changes` before the network inherited.

        Returns:
            `output_map`, unchanged.
        """
