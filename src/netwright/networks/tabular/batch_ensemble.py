"""Members: one network that is many, which share most of their weights (TabM, 2410.24210).

Between `Members` and `MemberHeads` a row is (members, columns): whatever takes a sequence acts on
every member alike. While training the members' outputs come out apart, and each has a loss of its
own; else their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.networks.interfaces.layer import Given, Leaf
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName, activation
from netwright.networks.layers.checks import need_positive, whole
from netwright.networks.layers.linear import OUTPUTS
from netwright.networks.training.loop import ValidationLoss, predict
from netwright.space.visitor import children, map_children

ScalingInit = Literal["ones", "normal", "signs"]
N = TypeVar("N")


class _OfMembers(nn.Module):
    """A module some of whose parameters have the members as their first axis."""

    apart: tuple[str, ...]

    def keep(self, chosen: Tensor) -> None:
        """Forgets all members but these."""
        for name in self.apart:
            kept = getattr(self, name).detach()[chosen].clone()
            setattr(self, name, nn.Parameter(kept))


class _Members(_OfMembers):
    """(batch, columns) -> (batch, members, columns)."""

    apart = ("scaling",)
    undecayed = apart

    def __init__(self, members: int, columns: int, scaling: ScalingInit) -> None:
        super().__init__()
        self.scaling = nn.Parameter(_scaling(members, columns, scaling))

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) * self.scaling


@dataclass(frozen=True)
class ScaleEnsemble(Leaf):
    """A row becomes `members` rows, each column scaled by a learnt number of each member.

    Followed by ordinary layers this is TabM-mini: what tells the members apart is only here and in
    their heads. `scaling` is how the numbers start: normal, or 1 or -1 by chance.
    """

    members: int = 16
    scaling_init: ScalingInit = "normal"

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) != 1:
            raise InfeasibleCandidate(expected("input", "columns", shape))
        need_positive(self, "members")
        return _Members(self.members, shape[0], self.scaling_init)


class _MemberLinear(_OfMembers):
    """s (W (r x)) + b, with r, s and b of each member (BatchEnsemble, 2002.06715, eq. 5)."""

    undecayed = ("r", "s")
    r: nn.Parameter | None

    def __init__(self, members: int, into: int, out: int, act: str, before: bool) -> None:
        super().__init__()
        self.apart = ("r", "s", "bias") if before else ("s", "bias")
        bound = 1 / math.sqrt(into)
        self.weight = nn.Parameter(torch.empty(out, into).uniform_(-bound, bound))
        self.register_parameter("r", nn.Parameter(torch.ones(members, into)) if before else None)
        self.s = nn.Parameter(torch.ones(members, out))
        bias = torch.empty(out).uniform_(-bound, bound)  # all start alike
        self.bias = nn.Parameter(bias.expand(members, -1).clone())
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        scaled = x if self.r is None else x * self.r
        product = nn.functional.linear(scaled, self.weight)  # (batch, members, out)
        out: Tensor = self.act(torch.addcmul(self.bias, product, self.s))
        return out


@dataclass(frozen=True)
class LinearBatchEnsemble(Leaf):
    """A dense layer of (members, columns) that the members share, scaled by each before and after.

    All scalings start at 1: what tells the members apart comes from `Members` before it, after
    which one `before` the layer is not needed.
    """

    features: int
    activation: ActivationName = "relu"
    scale_inputs: bool = True

    def build(self, shape: Shape) -> nn.Module:
        members, columns = _members_and_columns(shape)
        need_positive(self, "features")
        return _MemberLinear(members, columns, self.features, self.activation, self.scale_inputs)


class _MemberHeads(_OfMembers):
    apart = ("weight", "bias")

    def __init__(self, members: int, into: int, out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(into)
        self.weight = nn.Parameter(torch.empty(members, into, out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, out).uniform_(-bound, bound))
        self.together = True

    def forward(self, x: Tensor) -> Tensor:
        each = torch.matmul(x.transpose(0, 1), self.weight).transpose(0, 1) + self.bias
        return combined(each) if self.together and not self.training else each


@dataclass(frozen=True)
class LinearEnsemble(Leaf):
    """A dense head for each of (members, columns), and the mean of what they say.

    Of classes it is the mean of probabilities, as its logarithm; of a single number the mean. While
    training every member's outputs (members, outputs) come out.
    """

    features: int | Given = OUTPUTS

    def build(self, shape: Shape) -> nn.Module:
        members, columns = _members_and_columns(shape)
        return _MemberHeads(members, columns, whole(self.features))


def combined(each: Tensor) -> Tensor:
    """Members' outputs (batch, members, outputs) -> those of the ensemble (batch, outputs)."""
    if each.shape[-1] == 1:
        return each.mean(1)
    return each.log_softmax(-1).logsumexp(1) - math.log(each.shape[1])


def predict_members(module: nn.Module, inputs: Tensor) -> Tensor:
    """(n, members, outputs) in evaluation mode, of a network whose last layer is `MemberHeads`."""
    heads = [one for one in module.modules() if isinstance(one, _MemberHeads)]
    if not heads:
        raise InputError("a network must have members to tell apart, got none. Use MemberHeads.")
    for head in heads:
        head.together = False
    try:
        return predict(module, inputs)
    finally:
        for head in heads:
            head.together = True


def select_members(outputs: Tensor, n_members: int, score: ValidationLoss) -> tuple[int, ...]:
    """The places of `keep` members of (n, members, outputs), chosen one by one.

    Each is the one with which the ensemble so far has the least `score`; the first of equal ones.
    """
    if not 1 <= n_members <= outputs.shape[1]:
        raise InputError(expected("keep", f"from 1 to {outputs.shape[1]}", n_members))
    chosen: list[int] = []
    while len(chosen) < n_members:
        left = [i for i in range(outputs.shape[1]) if i not in chosen]
        chosen.append(min(left, key=lambda i: score(combined(outputs[:, [*chosen, i]]))))
    return tuple(sorted(chosen))


def prune_members(module: nn.Module, chosen: Sequence[int]) -> None:
    """Leaves `module` with these members, in place: a smaller and faster ensemble.

    It is then the module of `with_members` of its network. What is kept of many trained together
    beats as many trained alone (2410.24210, sec. 5.2).
    """
    for one in module.modules():
        if isinstance(one, _OfMembers):
            one.keep(torch.tensor(chosen))


def count_members(part: Any) -> int:
    """The members that a network's description makes; 0 where it makes none."""
    if isinstance(part, ScaleEnsemble):
        return part.members
    return max((count_members(child) for _, child in children(part)), default=0)


def replace_n_members(network: N, members: int) -> N:
    """The description with so many members in place of its own."""
    told: N = _told(network, members)
    return told


def _told(part: Any, members: int) -> Any:
    if isinstance(part, ScaleEnsemble):
        return replace(part, members=members)
    return map_children(part, lambda child: _told(child, members))


def _scaling(members: int, columns: int, kind: ScalingInit) -> Tensor:
    if kind == "normal":
        return torch.randn(members, columns)
    if kind == "signs":
        return torch.randint(2, (members, columns)).float() * 2 - 1
    if kind == "ones":
        return torch.ones(members, columns)
    raise InfeasibleCandidate(expected("scaling", "ones, normal or signs", kind))


def _members_and_columns(shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        fix = "Put Members() before it."
        raise InfeasibleCandidate(expected("input", "(members, columns)", shape, fix))
    return shape[0], shape[1]
