"""BatchEnsemble layers: one network that is an ensemble whose members share most weights (TabM).

Gorishniy et al. 2025 (2410.24210). Between `ScaleEnsemble` and `LinearEnsemble` a row is (members,
columns): layers that take a sequence act on every member alike. In training mode the members'
outputs are returned separately, and each has its own loss; in evaluation mode their mean is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.networks.interfaces.layer import Given, Leaf
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName, make_activation
from netwright.networks.layers.checks import check_positive, require_given
from netwright.networks.layers.linear import OUTPUTS
from netwright.networks.training.loop import ValidationLoss, predict
from netwright.space.visitor import children, map_children

ScalingInit = Literal["ones", "normal", "signs"]
N = TypeVar("N")


class _EnsembleModule(nn.Module):
    """A module some of whose parameters have the members as their first axis."""

    member_parameters: tuple[str, ...]

    def keep_members(self, indices: Tensor) -> None:
        """Drop all members except these, in place."""
        for name in self.member_parameters:
            parameter = getattr(self, name).detach()[indices].clone()
            setattr(self, name, nn.Parameter(parameter))


class _ScaleEnsemble(_EnsembleModule):
    """(batch, columns) -> (batch, members, columns)."""

    member_parameters = ("scaling",)
    no_weight_decay = member_parameters

    def __init__(self, members: int, columns: int, scaling_init: ScalingInit) -> None:
        super().__init__()
        self.scaling = nn.Parameter(_initial_scaling(members, columns, scaling_init))

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) * self.scaling


@dataclass(frozen=True)
class ScaleEnsemble(Leaf):
    """Repeat a row for each member, with a learnt factor for each member and column.

    (columns,) -> (members, columns). Followed by ordinary layers this is TabM-mini: the members
    differ only here and in their heads.

    Args:
        members: Members of the ensemble.
        scaling_init: Initial factors: "normal", "signs" (1 or -1 at random) or "ones".
    """

    members: int = 16
    scaling_init: ScalingInit = "normal"

    def build(self, shape: Shape) -> nn.Module:
        if len(shape) != 1:
            raise InfeasibleCandidate(expected("input", "columns", shape))
        check_positive(self, "members")
        return _ScaleEnsemble(self.members, shape[0], self.scaling_init)


class _LinearBatchEnsemble(_EnsembleModule):
    """s (W (r x)) + b, with r, s and b of each member (BatchEnsemble, 2002.06715, eq. 5)."""

    no_weight_decay = ("r", "s")
    r: nn.Parameter | None

    def __init__(
        self, members: int, inputs: int, outputs: int, activation: str, *, scale_inputs: bool
    ) -> None:
        super().__init__()
        self.member_parameters = ("r", "s", "bias") if scale_inputs else ("s", "bias")
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        r = nn.Parameter(torch.ones(members, inputs)) if scale_inputs else None
        self.register_parameter("r", r)
        self.s = nn.Parameter(torch.ones(members, outputs))
        bias = torch.empty(outputs).uniform_(-bound, bound)  # equal for all members at first
        self.bias = nn.Parameter(bias.expand(members, -1).clone())
        self.act = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        scaled = x if self.r is None else x * self.r
        product = nn.functional.linear(scaled, self.weight)  # (batch, members, outputs)
        outputs: Tensor = self.act(torch.addcmul(self.bias, product, self.s))
        return outputs


@dataclass(frozen=True)
class LinearBatchEnsemble(Leaf):
    """A dense layer that members share, with input and output factors of each (BatchEnsemble).

    (members, columns) -> (members, features). All factors start at 1: the members differ by the
    `ScaleEnsemble` before it.

    Args:
        features: Outputs of each member.
        activation: A name in `ACTIVATIONS`.
        scale_inputs: Whether inputs have factors too; not needed right after a `ScaleEnsemble`.
    """

    features: int
    activation: ActivationName = "relu"
    scale_inputs: bool = True

    def build(self, shape: Shape) -> nn.Module:
        members, columns = _members_and_columns(shape)
        check_positive(self, "features")
        return _LinearBatchEnsemble(
            members, columns, self.features, self.activation, scale_inputs=self.scale_inputs
        )


class _LinearEnsemble(_EnsembleModule):
    """A dense layer for each member, and in evaluation mode the mean of their predictions."""

    member_parameters = ("weight", "bias")

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))
        self.averages_members = True

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.matmul(x.transpose(0, 1), self.weight).transpose(0, 1) + self.bias
        return average_members(outputs) if self.averages_members and not self.training else outputs


@dataclass(frozen=True)
class LinearEnsemble(Leaf):
    """A dense head for each member, and the mean of their predictions.

    (members, columns) -> (features,): the logarithm of the mean probabilities, or the mean of a
    single output. In training mode it returns every member's outputs (members, features).

    Args:
        features: Outputs of each member; by default as many as the task has.
    """

    features: int | Given = OUTPUTS

    def build(self, shape: Shape) -> nn.Module:
        members, columns = _members_and_columns(shape)
        return _LinearEnsemble(members, columns, require_given(self.features))


def average_members(outputs: Tensor) -> Tensor:
    """Average members' outputs (batch, members, outputs) to the ensemble's (batch, outputs)."""
    if outputs.shape[-1] == 1:
        return outputs.mean(1)
    return outputs.log_softmax(-1).logsumexp(1) - math.log(outputs.shape[1])


def predict_members(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return each member's outputs (n, members, outputs) in evaluation mode.

    Raises InputError unless the last layer is a `LinearEnsemble`.
    """
    heads = [submodule for submodule in module.modules() if isinstance(submodule, _LinearEnsemble)]
    if not heads:
        raise InputError(
            "a network must have members to predict with, got none. Use LinearEnsemble."
        )
    for head in heads:
        head.averages_members = False
    try:
        return predict(module, inputs)
    finally:
        for head in heads:
            head.averages_members = True


def select_members(
    outputs: Tensor, n_members: int, validation_loss: ValidationLoss
) -> tuple[int, ...]:
    """Select members greedily: each time the one whose addition gives the smallest loss.

    Args:
        outputs: (n, members, outputs) of the validation rows.
        n_members: How many are selected, without replacement.
        validation_loss: Loss of the ensemble's outputs (n, outputs). Ties go to the first member.

    Returns:
        The sorted indices of the selected members.

    Raises:
        InputError: There are not so many members.
    """
    if not 1 <= n_members <= outputs.shape[1]:
        raise InputError(expected("n_members", f"from 1 to {outputs.shape[1]}", n_members))
    selected: list[int] = []
    while len(selected) < n_members:
        remaining = [i for i in range(outputs.shape[1]) if i not in selected]
        selected.append(
            min(
                remaining,
                key=lambda i: validation_loss(average_members(outputs[:, [*selected, i]])),
            )
        )
    return tuple(sorted(selected))


def prune_members(module: nn.Module, indices: Sequence[int]) -> None:
    """Drop all members except these, in place: a smaller and faster ensemble.

    The module is then that of `replace_n_members` of its network. Members selected from many that
    were trained together beat as many trained alone (2410.24210, sec. 5.2).
    """
    for submodule in module.modules():
        if isinstance(submodule, _EnsembleModule):
            submodule.keep_members(torch.tensor(indices))


def count_members(description: object) -> int:
    """Return the members of the ensemble in a description; 0 if there is none."""
    if isinstance(description, ScaleEnsemble):
        return description.members
    return max((count_members(child) for _, child in children(description)), default=0)


def replace_n_members(network: N, members: int) -> N:
    """Return the description with another number of members."""
    return cast("N", _replace_n_members(network, members))


def _replace_n_members(description: object, members: int) -> object:
    if isinstance(description, ScaleEnsemble):
        return replace(description, members=members)
    replaced: object = map_children(description, lambda child: _replace_n_members(child, members))
    return replaced


def _initial_scaling(members: int, columns: int, scaling_init: ScalingInit) -> Tensor:
    if scaling_init == "normal":
        return torch.randn(members, columns)
    if scaling_init == "signs":
        return torch.randint(2, (members, columns)).float() * 2 - 1
    if scaling_init == "ones":
        return torch.ones(members, columns)
    raise InfeasibleCandidate(expected("scaling_init", "ones, normal or signs", scaling_init))


def _members_and_columns(shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        fix = "Put ScaleEnsemble() before it."
        raise InfeasibleCandidate(expected("input", "(members, columns)", shape, fix))
    return shape[0], shape[1]
