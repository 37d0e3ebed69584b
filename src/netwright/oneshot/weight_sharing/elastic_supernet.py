"""One set of weights for all candidates: each is its own network over slices of the largest weights.

Weights are shared as by slimmable networks (Yu and Huang 2019, 1903.05134) and once-for-all (Cai et
al. 2020, 1908.09791): a narrower layer has the first channels of the widest, a smaller kernel the
middle of the largest, a shallower network the first layers of the deepest.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, InvalidCandidate, Phrase, expected
from netwright.networks.build import build, build_resolved, replace_given
from netwright.networks.interfaces.layer import Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.oneshot.weight_sharing.choice_placeholders import Marking, nested, part_at
from netwright.oneshot.weight_sharing.weight_slicing import (
    Form,
    Spec,
    Stand,
    constants,
    cut,
    fits,
    forms,
    largest,
    specs,
    without_weights,
)
from netwright.oneshot.weight_sharing.weight_slots import places
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.space.visitor import join_path

T = TypeVar("T")

_CANDIDATES = 64
_LEAVES = 4096
"""So many are kept, built and without weights, for when they come again."""
_MARKS = re.compile(r"@|\.?~[0-9a-f]{8}(?=\.|$)")
"""What places have in their names that paths do not."""


class SharedWeights(nn.Module):
    """The weights of every candidate of an open network; its parameters are the largest tensors.

    A candidate is the module that `build` makes of it, run on slices of them: only what was chosen
    is run, and what training changes, running statistics included, is changed in the slices.
    Numbers are *elastic*: widths, kernels, expansions, depths and the like take slices of one
    tensor. Options that are layers or names (a normalisation), and numbers that change which
    tensors there are, have weights of their own. Decisions outside the network (a learning rate)
    are left alone.

    Where weights belong to is their place in the open description; `prefix`: where the network
    stands in that of the space. `given` as for `build`. Weights are drawn from torch's global
    generator. Raises SpaceError for an open network that it cannot look through,
    InfeasibleCandidate where none of its candidates can be built.
    """

    def __init__(
        self, network: Network, input_shape: Shape, prefix: str = "network", **given: Any
    ) -> None:
        super().__init__()
        self.input_shape, self._prefix = input_shape, prefix
        network = replace_given(network, given)
        self._space: Space[Any] = Space(nested(network, prefix))
        self._paths = {one.path for one in self._space.decisions}
        self._marking = Marking(network, prefix)
        self._forget()
        self.largest = nn.Module()  # holds all tensors, by the names of their places
        self._names: dict[tuple[str, tuple[Form, ...]], str] = {}
        self._constants: dict[str, Tensor] = {}
        for place, stands in places(self._marking.of(None), input_shape).items():
            self._add(place, [*stands])

    def forward(self, x: Tensor, candidate: Candidate) -> Tensor:
        """What the candidate's network gives for x.

        Raises InfeasibleCandidate as `build` does, InvalidCandidate for one of another network.
        """
        sub = self._sub(candidate)
        sub.module.train(self.training)
        tensors = self._slices(sub)
        before = {one.name: tensors[one.name] for one in sub.slices if not one.spec.form.learnt}
        out: Tensor = torch.func.functional_call(sub.module, tensors, (x,))
        with torch.no_grad():  # layers that replace a buffer instead of changing it
            for name, slice_ in before.items():
                if tensors[name] is not slice_:
                    slice_.copy_(tensors[name])
        return out

    def network_of(self, candidate: Candidate) -> Network:
        """The candidate's network."""
        below = f"{self._prefix}." if self._prefix else ""
        values = {
            path: value for path, value in candidate.values.items()
            if path in self._paths or path.startswith(below)
        }  # fmt: skip
        return cast("Network", part_at(self._space.fill(Candidate(values)), self._prefix))

    def is_feasible(self, candidate: Candidate) -> bool:
        """Whether the candidate's network can be built, and anything comes out of it."""
        try:
            self._sub(candidate)
        except InfeasibleCandidate:
            return False
        return True

    def tensors(self, candidate: Candidate) -> dict[str, Tensor]:
        """Name in the module of `build` -> the slice that is the candidate's; views where possible."""
        return self._slices(self._sub(candidate))

    def build_standalone(self, candidate: Candidate) -> nn.Module:
        """The candidate's module by itself, with copies of its weights and in the same mode."""
        with torch.random.fork_rng(devices=[]):
            module = build(self.network_of(candidate), self.input_shape)
        of = next(self.parameters(), None)
        if of is not None:
            module.to(of.device, of.dtype)
        self.inherit(candidate, module)
        return module.train(self.training)

    @torch.no_grad()
    def inherit(self, candidate: Candidate, module: nn.Module) -> None:
        """Copies the candidate's weights into the module that `build` made of it."""
        ours = self.tensors(candidate)
        theirs = dict(module.named_parameters()) | dict(module.named_buffers())
        for name, tensor in ours.items():
            if name not in theirs or theirs[name].shape != tensor.shape:
                got = tuple(theirs[name].shape) if name in theirs else Phrase("none")
                rule = f"of shape {tuple(tensor.shape)}, as in the candidate"
                raise InputError(expected(f"{name} of the module", rule, got, "Build it of it."))
            theirs[name].copy_(tensor)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((one.device for one in self.parameters()), torch.device("cpu"))

    # Inside

    def _forget(self) -> None:
        self._subs: _Latest[_Sub] = _Latest(_CANDIDATES)
        self._leaves: _Latest[nn.Module] = _Latest(_LEAVES)

    def __getstate__(self) -> dict[str, Any]:
        gone = ("_subs", "_leaves", "_marking")  # they are found again
        return {name: value for name, value in self.__dict__.items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's
        self._marking = Marking(part_at(self._space.description, self._prefix), self._prefix)
        self._forget()

    def _add(self, place: str, stands: Sequence[Stand]) -> None:
        """The largest tensors of a place; where some have other forms, they are others."""
        alike: dict[tuple[Form, ...], list[Stand]] = {}
        for stand in stands:
            alike.setdefault(forms(*stand), []).append(stand)
        for i, (same, some) in enumerate(alike.items()):
            name = self._names[place, same] = f"{place}/{i}" if i else place
            for form, tensor, trained in largest(some):
                key = _key(name, form)
                if form.learnt:
                    self.largest.register_parameter(key, nn.Parameter(tensor, trained))
                    continue
                self.largest.register_buffer(key, tensor)
                if not form.statistic:
                    self._constants[key] = tensor.clone()

    def _sub(self, candidate: Candidate) -> _Sub:
        return self._subs.get(candidate, lambda: self._made(candidate))

    def _made(self, candidate: Candidate) -> _Sub:
        """The builder's module, and beside it the places of its leaves, in the same order."""
        weighted: list[tuple[nn.Module, Stand]] = []

        def make(leaf: Leaf, shape: Shape, position: str) -> nn.Module:
            stand = (position, leaf, shape)
            module = self._leaves.get(stand, lambda: without_weights(leaf, shape))
            if specs(leaf, shape):
                weighted.append((module, (leaf, shape)))
            return module

        with torch.random.fork_rng(devices=[]):
            module = build_resolved(self.network_of(candidate), self.input_shape, make)
        names = {one: f"{name}." if name else "" for name, one in module.named_modules()}
        found = places(self._marking.of(candidate.values), self.input_shape)
        slices: list[_Slice] = []
        own: dict[str, Tensor] = {}
        for (part, stand), place in zip(weighted, found, strict=True):
            key_of = partial(self._key_of, place, stand)
            for spec in specs(*stand):
                name, key = names[part] + spec.form.name, key_of(spec)
                constant = self._own_constant(key, spec, stand)
                if constant is None:
                    slices.append(_Slice(name, key, spec))
                else:
                    own[name] = constant
        return _Sub(module, tuple(slices), own)

    def _key_of(self, place: str, stand: Stand, spec: Spec) -> str:
        """Of the largest tensor that one of a candidate is a slice of."""
        name = self._names.get((place, forms(*stand)))
        key = "" if name is None else _key(name, spec.form)
        if name is None or not fits(spec, self._tensor(key)):
            where = join_path(self._prefix, _MARKS.sub("", place))
            have = Phrase("none" if name is None else tuple(self._tensor(key).shape))
            raise InvalidCandidate(
                f"the weights of {type(stand[0]).__name__} at {where} must be slices of the largest "
                f"that were found, {have}, got {spec.form.name} {spec.shape}. Leave the choices there "
                "closed, or make the first and the last numbers need the largest.",
                where,
            )
        return key

    def _own_constant(self, key: str, spec: Spec, stand: Stand) -> Tensor | None:
        """A buffer that is no slice of the largest, but follows from the layer alone."""
        if key not in self._constants:
            return None
        one = constants(*stand).get(spec.form.name)
        if one is None or torch.equal(cut(self._constants[key], spec), one):
            return None
        return one.clone()

    def _slices(self, sub: _Sub) -> dict[str, Tensor]:
        found = {one.name: cut(self._tensor(one.key), one.spec) for one in sub.slices}
        if sub.own:
            found |= {name: one.to(self.device) for name, one in sub.own.items()}
        return found

    def _tensor(self, key: str) -> Tensor:
        learnt = self.largest._parameters.get(key)
        tensor = self.largest._buffers[key] if learnt is None else learnt
        assert tensor is not None  # registered with numbers
        return tensor


@dataclass(frozen=True)
class _Slice:
    """A tensor of a module, and of which of the largest it is a slice."""

    name: str
    key: str
    spec: Spec


@dataclass(frozen=True)
class _Sub:
    """A candidate's module, built without weights, and where those come from."""

    module: nn.Module
    slices: tuple[_Slice, ...]
    own: Mapping[str, Tensor]


class _Latest(Generic[T]):
    """What was asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Any, T] = OrderedDict()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        made = self._known[key] = make()
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return made


def recalibrate_batch_norm(
    shared: SharedWeights, candidate: Candidate, batches: Iterable[Tensor]
) -> nn.Module:
    """The candidate by itself, in evaluation mode, with statistics of its own.

    Those of the shared weights are a mixture over all that was trained. Means and variances of the
    batches are averaged, each batch counting the same (Guo et al. 2020, 1904.00420);
    20 to 40 are enough. Nothing but normalisation is in training mode meanwhile; the shared
    weights are not changed.
    """
    module = shared.build_standalone(candidate).eval()
    norms = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._NormBase)]
    norms = [one for one in norms if one.track_running_stats]
    momenta = [one.momentum for one in norms]
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


def _key(place: str, form: Form) -> str:
    """A tensor's name, without dots: those are torch's own."""
    return f"{place}:{form.name}".replace(".", ":").removeprefix(":")
