"""Shared weights of all candidates: each network runs on slices of the largest tensors.

Weights are shared as in slimmable networks (Yu and Huang, 2019, 1903.05134) and once-for-all (Cai
et al., 2020, 1908.09791): a narrower layer takes the first channels of the widest, a smaller kernel
the centre of the largest, a shallower network the first layers of the deepest.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, InvalidCandidate, Phrase, expected
from netwright.networks.build import build, build_resolved, replace_given
from netwright.networks.interfaces.layer import Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.oneshot.weight_sharing.choice_placeholders import (
    PlaceholderInserter,
    nested,
    part_at,
)
from netwright.oneshot.weight_sharing.weight_slicing import (
    LayerAtShape,
    TensorSignature,
    TensorSpec,
    build_without_weights,
    constant_buffers,
    draw_largest,
    fits,
    signatures,
    slice_to,
    tensor_specs,
)
from netwright.oneshot.weight_sharing.weight_slots import weight_slots
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.space.visitor import join_path

T = TypeVar("T")

_CACHED_SUBNETWORKS = 64
_CACHED_LEAVES = 4096
"""Modules without weights that are cached: the least recently used are dropped."""
_SLOT_MARKS = re.compile(r"@|\.?~[0-9a-f]{8}(?=\.|$)")
"""Marks in slot names that paths of decisions do not have."""


class SharedWeights(nn.Module):
    """Shared weights of every candidate of an open network; its parameters are the largest tensors.

    A candidate is the module that `build` makes of it, run on slices of them: only what was chosen
    is run, and whatever training changes, running statistics included, is changed in the slices.
    Numbers are *elastic*: widths, kernels, expansions, depths and the like take slices of one
    tensor. Options that are layers or names (a normalisation), and numbers that change which
    tensors there are, have weights of their own. Decisions outside the network (a learning rate)
    are ignored. Weights are drawn from torch's global generator.

    Args:
        network: The open network.
        input_shape: Shape of a row, without the batch.
        prefix: Path of the network in the description of the space.
        **given: Numbers that only the task knows, as for `build`.

    Raises:
        SpaceError: The open network cannot be analysed.
        InfeasibleCandidate: None of its candidates can be built.

    Example:
        >>> shared = nw.SharedWeights(network, (3, 32, 32), outputs=10)  # the space's "network"
        >>> outputs = shared(torch.randn(4, 3, 32, 32), candidate)  # (4, 10)
    """

    def __init__(
        self,
        network: Network,
        input_shape: Shape,
        prefix: str = "network",
        **given: object,
    ) -> None:
        super().__init__()
        self.input_shape, self._prefix = input_shape, prefix
        network = replace_given(network, given)
        self._space: Space[Any] = Space(nested(network, prefix))
        self._paths = {decision.path for decision in self._space.decisions}
        self._placeholders = PlaceholderInserter(network, prefix)
        self._clear_caches()
        self.largest = nn.Module()  # holds all tensors, by the names of their slots
        self._names: dict[tuple[str, tuple[TensorSignature, ...]], str] = {}
        self._constants: dict[str, Tensor] = {}
        slots = weight_slots(self._placeholders.insert(None), input_shape)
        for slot, occupants in slots.items():
            self._add_slot(slot, [*occupants])

    def forward(self, x: Tensor, candidate: Candidate) -> Tensor:
        """Return the output of the candidate's network.

        Args:
            x: A batch (rows, ...).
            candidate: A candidate of the space.

        Returns:
            The output (rows, ...).

        Raises:
            InfeasibleCandidate: The network cannot be built.
            InvalidCandidate: The candidate is one of another network.
        """
        sub = self._subnetwork(candidate)
        sub.weightless_module.train(self.training)
        tensors = self._slices(sub)
        buffers = {
            weight.name: tensors[weight.name]
            for weight in sub.slices
            if not weight.tensor_spec.signature.is_parameter
        }
        out: Tensor = torch.func.functional_call(sub.weightless_module, tensors, (x,))
        with torch.no_grad():  # some layers replace a buffer instead of changing it
            for name, buffer in buffers.items():
                if tensors[name] is not buffer:
                    buffer.copy_(tensors[name])
        return out

    def network_of(self, candidate: Candidate) -> Network:
        """Return the candidate's network, filled.

        Args:
            candidate: A candidate of the space; decisions outside the network are ignored.

        Returns:
            The network; what the task gives is filled in, too.

        Raises:
            InvalidCandidate: The candidate is one of another network.
        """
        below = f"{self._prefix}." if self._prefix else ""
        values = {
            path: value
            for path, value in candidate.values.items()
            if path in self._paths or path.startswith(below)
        }
        return cast("Network", part_at(self._space.fill(Candidate(values)), self._prefix))

    def is_feasible(self, candidate: Candidate) -> bool:
        """Return whether the candidate's network can be built, and anything leads through it.

        Args:
            candidate: A candidate of the space.

        Raises:
            InvalidCandidate: The candidate is one of another network.
        """
        try:
            self._subnetwork(candidate)
        except InfeasibleCandidate:
            return False
        return True

    def tensors(self, candidate: Candidate) -> dict[str, Tensor]:
        """Return the candidate's slices of the shared tensors.

        Args:
            candidate: A candidate of the space.

        Returns:
            Name of a parameter or buffer in the module of `build` -> its slice, a view where
            possible.

        Raises:
            InfeasibleCandidate: The network cannot be built.
            InvalidCandidate: The candidate is one of another network.
        """
        return self._slices(self._subnetwork(candidate))

    def build_standalone(self, candidate: Candidate) -> nn.Module:
        """Build the candidate's module with copies of its weights.

        Args:
            candidate: A candidate of the space.

        Returns:
            The module, on the same device and in the same mode (training or evaluation) as this.

        Raises:
            InfeasibleCandidate: The network cannot be built.
            InvalidCandidate: The candidate is one of another network.
        """
        with torch.random.fork_rng(devices=[]):
            module = build(self.network_of(candidate), self.input_shape)
        parameter = next(self.parameters(), None)
        if parameter is not None:
            module.to(parameter.device, parameter.dtype)
        self.inherit(candidate, module)
        return module.train(self.training)

    @torch.no_grad()
    def inherit(self, candidate: Candidate, module: nn.Module) -> None:
        """Copy the candidate's weights into the module that `build` made of it.

        Args:
            candidate: A candidate of the space.
            module: Its module; changed in place.

        Raises:
            InfeasibleCandidate: The network cannot be built.
            InputError: The module is not the candidate's.
            InvalidCandidate: The candidate is one of another network.
        """
        source = self.tensors(candidate)
        target = dict(module.named_parameters()) | dict(module.named_buffers())
        for name, tensor in source.items():
            if name not in target or target[name].shape != tensor.shape:
                got = tuple(target[name].shape) if name in target else Phrase("none")
                rule = f"of shape {tuple(tensor.shape)}, as in the candidate"
                fix = "Build the module from the candidate."
                raise InputError(expected(f"{name} of the module", rule, got, fix))
            target[name].copy_(tensor)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    # Internals

    def _clear_caches(self) -> None:
        self._subnetworks: _LRUCache[_Subnetwork] = _LRUCache(_CACHED_SUBNETWORKS)
        self._leaves: _LRUCache[nn.Module] = _LRUCache(_CACHED_LEAVES)

    def __getstate__(self) -> dict[str, object]:
        rebuilt = ("_subnetworks", "_leaves", "_placeholders")  # by __setstate__
        return {name: content for name, content in self.__dict__.items() if name not in rebuilt}

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's
        network = cast("Network", part_at(self._space.description, self._prefix))
        self._placeholders = PlaceholderInserter(network, self._prefix)
        self._clear_caches()

    def _add_slot(self, slot: str, occupants: Sequence[LayerAtShape]) -> None:
        """Register the largest tensors of a slot, once for each set of signatures."""
        by_signatures: dict[tuple[TensorSignature, ...], list[LayerAtShape]] = {}
        for occupant in occupants:
            by_signatures.setdefault(signatures(*occupant), []).append(occupant)
        for i, (slot_signatures, layers) in enumerate(by_signatures.items()):
            name = self._names[slot, slot_signatures] = f"{slot}/{i}" if i else slot
            for signature, tensor, requires_grad in draw_largest(layers):
                key = _key(name, signature)
                if signature.is_parameter:
                    self.largest.register_parameter(key, nn.Parameter(tensor, requires_grad))
                    continue
                self.largest.register_buffer(key, tensor)
                if not signature.is_statistic:
                    self._constants[key] = tensor.clone()

    def _subnetwork(self, candidate: Candidate) -> _Subnetwork:
        return self._subnetworks.get(candidate, lambda: self._build_subnetwork(candidate))

    def _build_subnetwork(self, candidate: Candidate) -> _Subnetwork:
        """Build the candidate's module, and match its leaves with slots: both have one order."""
        weighted_leaves: list[tuple[nn.Module, LayerAtShape]] = []

        def make(leaf: Leaf, shape: Shape, position: str) -> nn.Module:
            key = (position, leaf, shape)
            module = self._leaves.get(key, lambda: build_without_weights(leaf, shape))
            if tensor_specs(leaf, shape):
                weighted_leaves.append((module, (leaf, shape)))
            return module

        with torch.random.fork_rng(devices=[]):
            module = build_resolved(self.network_of(candidate), self.input_shape, make)
        names = {
            submodule: f"{name}." if name else "" for name, submodule in module.named_modules()
        }
        slots = weight_slots(self._placeholders.insert(candidate.values), self.input_shape)
        slices: list[_WeightSlice] = []
        constants: dict[str, Tensor] = {}
        for (submodule, layer), slot in zip(weighted_leaves, slots, strict=True):
            key_of = partial(self._key_of, slot, layer)
            for spec in tensor_specs(*layer):
                name, key = names[submodule] + spec.signature.name, key_of(spec)
                constant = self._constant_of(key, spec, layer)
                if constant is None:
                    slices.append(_WeightSlice(name, key, spec))
                else:
                    constants[name] = constant
        return _Subnetwork(module, tuple(slices), constants)

    def _key_of(self, slot: str, layer: LayerAtShape, spec: TensorSpec) -> str:
        """Return the key of the largest tensor that the candidate's tensor is a slice of."""
        name = self._names.get((slot, signatures(*layer)))
        key = "" if name is None else _key(name, spec.signature)
        if name is None or not fits(spec, self._tensor(key)):
            path = join_path(self._prefix, _SLOT_MARKS.sub("", slot))
            largest = Phrase("none" if name is None else tuple(self._tensor(key).shape))
            raise InvalidCandidate(
                f"the weights of {type(layer[0]).__name__} at {path} must be slices of the largest "
                f"weights found, {largest}, got {spec.signature.name} {spec.shape}. Leave the "
                "choices there closed, or make the first and the last numbers need the largest.",
                path,
            )
        return key

    def _constant_of(self, key: str, spec: TensorSpec, layer: LayerAtShape) -> Tensor | None:
        """Return a buffer that follows from the layer alone, if it is no slice of the largest."""
        if key not in self._constants:
            return None
        constant = constant_buffers(*layer).get(spec.signature.name)
        if constant is None or torch.equal(slice_to(self._constants[key], spec), constant):
            return None
        return constant.clone()

    def _slices(self, sub: _Subnetwork) -> dict[str, Tensor]:
        tensors = {
            weight.name: slice_to(self._tensor(weight.key), weight.tensor_spec)
            for weight in sub.slices
        }
        if sub.constants:
            tensors |= {name: constant.to(self.device) for name, constant in sub.constants.items()}
        return tensors

    def _tensor(self, key: str) -> Tensor:
        parameter = self.largest._parameters.get(key)
        tensor = self.largest._buffers[key] if parameter is None else parameter
        assert tensor is not None  # never registered as None
        return tensor


@dataclass(frozen=True)
class _WeightSlice:
    """Name of a tensor in a module, and the key of the largest tensor it is a slice of."""

    name: str
    key: str
    tensor_spec: TensorSpec


@dataclass(frozen=True)
class _Subnetwork:
    """A candidate's module without weights, the slices it runs on, and its constant buffers."""

    weightless_module: nn.Module
    slices: tuple[_WeightSlice, ...]
    constants: Mapping[str, Tensor]


class _LRUCache(Generic[T]):
    """Least-recently-used cache."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._entries: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the entry of the key; make it if it is missing."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        made = self._entries[key] = make()
        if len(self._entries) > self._max_size:
            self._entries.popitem(last=False)
        return made


def recalibrate_batch_norm(
    shared: SharedWeights, candidate: Candidate, batches: Iterable[Tensor]
) -> nn.Module:
    """Build the candidate's module in evaluation mode, with running statistics of its own.

    The statistics of the shared weights are a mixture over all trained candidates. Those of the
    batches are averaged with equal weight (Guo et al., 2020, 1904.00420); 20 to 40 batches are
    enough. Only normalisations are in training mode meanwhile; the shared weights do not change.
    """
    module = shared.build_standalone(candidate).eval()
    norms = [
        submodule
        for submodule in module.modules()
        if isinstance(submodule, nn.modules.batchnorm._NormBase)
    ]
    norms = [norm for norm in norms if norm.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average of all batches
        norm.train()
    with torch.no_grad():
        for batch in batches if norms else ():
            module(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return module.eval()


def _key(slot: str, signature: TensorSignature) -> str:
    """Return a tensor's name without dots, which torch does not allow."""
    return f"{slot}:{signature.name}".replace(".", ":").removeprefix(":")
