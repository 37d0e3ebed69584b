"""The tensors of a leaf, and how the smaller are slices of the larger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.interfaces.layer import Blocks, Leaf
from netwright.networks.interfaces.shapes import Shape

Stand: TypeAlias = tuple[Leaf, Shape]
"""A leaf, and the shape that reaches it."""

_TRIED = 256
"""Leaves of one place, to find one that has all of the largest tensors."""


class Form(NamedTuple):
    """What a tensor is, but for its sizes: slices are taken of tensors of one form.

    `learnt`: a parameter, else a buffer; `statistic`: a running one. `centred`: a kernel, whose
    slices are cut from the middle. `blocks`: so many tensors lie side by side along each axis, and
    each is sliced.
    """

    name: str
    axes: int
    dtype: torch.dtype
    learnt: bool
    statistic: bool
    centred: bool
    blocks: tuple[int, ...]


class Spec(NamedTuple):
    """A tensor of a leaf's module."""

    form: Form
    shape: Shape


class Drawn(NamedTuple):
    """A tensor as its layer draws it at the start, and whether it is trained."""

    form: Form
    tensor: Tensor
    trained: bool


@lru_cache(maxsize=65536)
def specs(leaf: Leaf, shape: Shape) -> tuple[Spec, ...]:
    """The tensors of the leaf's module: parameters first, then buffers."""
    device = torch.device("cpu" if leaf.light else "meta")
    with torch.random.fork_rng(devices=[]), device:
        module = leaf.build(shape)
    return tuple(
        Spec(_form(module, name, one, learnt), tuple(one.shape))
        for learnt, tensors in ((True, module.named_parameters()), (False, module.named_buffers()))
        for name, one in tensors
    )


def forms(leaf: Leaf, shape: Shape) -> tuple[Form, ...]:
    """What the tensors of the leaf's module are, but for their sizes."""
    return tuple(one.form for one in specs(leaf, shape))


def _form(module: nn.Module, name: str, tensor: Tensor, learnt: bool) -> Form:
    owner, axes = module.get_submodule(name.rpartition(".")[0]), tensor.dim()
    kernel = isinstance(owner, nn.modules.conv._ConvNd) or axes > 3
    statistic = isinstance(owner, nn.modules.batchnorm._NormBase) and not learnt
    said: Blocks = getattr(module, "blocks", {})
    blocks = said.get(name, (1,) * axes)
    if isinstance(owner, nn.RNNBase):  # its gates
        blocks = ({"GRU": 3, "LSTM": 4}.get(owner.mode, 1), *blocks[1:])
    return Form(name, axes, tensor.dtype, learnt, statistic, kernel, blocks)


def cut(whole: Tensor, spec: Spec) -> Tensor:
    """The slice of a tensor that another of the same form is; a view, but for blocks."""
    if whole.shape == spec.shape:
        return whole
    return window(whole, spec).reshape(spec.shape)


def window(whole: Tensor, spec: Spec) -> Tensor:
    """As `cut`, always a view: with an axis more where there are blocks."""
    axis = 0
    for i, (size, blocks) in enumerate(zip(spec.shape, spec.form.blocks, strict=True)):
        have = whole.shape[axis]
        if blocks > 1:  # the first of each
            whole = whole.unflatten(axis, (blocks, have // blocks))
            axis += 1
            whole = whole.narrow(axis, 0, size // blocks)
        elif have != size:
            start = (have - size) // 2 if spec.form.centred and i > 1 else 0
            whole = whole.narrow(axis, start, size)
        axis += 1
    return whole


def fits(spec: Spec, whole: Tensor) -> bool:
    """Whether there is such a slice."""
    return all(size <= have for size, have in zip(spec.shape, whole.shape, strict=True))


def largest(stands: Sequence[Stand]) -> list[Drawn]:
    """The largest of each tensor of leaves of one form, drawn from torch's global generator."""
    every = [specs(*stand) for stand in stands]
    sizes = [
        tuple(map(max, zip(*(one.shape for one in same), strict=True)))
        for same in zip(*every, strict=True)
    ]
    whole = _with_sizes(stands, sizes)
    if whole is not None:
        return _drawn(*whole)
    # no one layer has all of the largest: larger layers are laid over smaller ones
    found = [
        torch.zeros(size, dtype=one.form.dtype) for one, size in zip(every[0], sizes, strict=True)
    ]
    drawn: list[Drawn] = []
    for stand in sorted(stands, key=_numbers):
        drawn = _drawn(*stand)
        for full, spec, one in zip(found, specs(*stand), drawn, strict=True):
            over = window(full, spec)
            over.copy_(one.tensor.view_as(over))
    return [one._replace(tensor=full) for one, full in zip(drawn, found, strict=True)]


def _with_sizes(stands: Sequence[Stand], sizes: Sequence[Shape]) -> Stand | None:
    """A leaf and a shape that give tensors of these sizes, where there are any."""
    leaves, shapes = (dict.fromkeys(parts) for parts in zip(*stands, strict=True))
    pairs: list[Stand] = [*stands, *[*product(leaves, shapes)][:_TRIED]]
    for leaf, shape in pairs:
        try:
            found = specs(leaf, shape)
        except (InfeasibleCandidate, RuntimeError, ValueError):  # these two never met
            continue
        if [one.shape for one in found] == [*sizes] and forms(leaf, shape) == forms(*stands[0]):
            return leaf, shape
    return None


def _numbers(stand: Stand) -> int:
    """How many numbers its tensors hold."""
    return sum(torch.Size(one.shape).numel() for one in specs(*stand))


def _drawn(leaf: Leaf, shape: Shape) -> list[Drawn]:
    """In the order of `specs`."""
    module = leaf.build(shape)
    tensors = [*module.parameters(), *module.buffers()]
    return [
        Drawn(form, one.detach().clone(), one.requires_grad)
        for form, one in zip(forms(leaf, shape), tensors, strict=True)
    ]


@lru_cache(maxsize=1024)
def constants(leaf: Leaf, shape: Shape) -> Mapping[str, Tensor]:
    """The buffers that follow from the layer alone: no seed changes them."""
    seeded = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            seeded.append(dict(leaf.build(shape).named_buffers()))
    return {name: one for name, one in seeded[0].items() if torch.equal(one, seeded[1][name])}


def without_weights(leaf: Leaf, shape: Shape) -> nn.Module:
    """The leaf's module, to be run with weights from elsewhere.

    Built for real, since a layer may keep numbers that are neither parameters nor buffers.
    """
    return leaf.build(shape).to("meta")
