"""From architecture parameters to the weights of a supernet: where the gradient methods differ.

Each takes `alpha`, path of a decision -> (options,), and gives weights of the same shapes. A
decision that keeps `k` of its options (inputs of a node) has weights that sum to k, so that the
mixture is as large as what is left of it; only sigmoids have a sum of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from netwright.errors import InputError, expected

Alpha = Mapping[str, Tensor]
ChosenCounts = Mapping[str, int]
"""Path -> how many of the options are kept: 1, or the most of a `SubsetOf`."""


class Relaxation(Protocol):
    """One method's hooks; everything else is shared by all of them."""

    def weights(
        self, alpha: Alpha, n_chosen: ChosenCounts, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The weights of one step at `progress`, the share in [0, 1] of the search that is over."""
        ...

    def mean(self, alpha: Alpha, n_chosen: ChosenCounts) -> dict[str, Tensor]:
        """The mixture around which the weights are drawn: how much each option is preferred."""
        ...

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        """What is added to the loss of the architecture parameters."""
        ...


@dataclass(frozen=True)
class DARTS:
    """A softmax over the options (Liu et al. 2019, 1806.09055, section 2.2)."""

    def weights(
        self, alpha: Alpha, kept: ChosenCounts, progress: float, random: torch.Generator
    ) -> dict[str, Tensor]:
        return self.mean(alpha, kept)

    def mean(self, alpha: Alpha, kept: ChosenCounts) -> dict[str, Tensor]:
        return {path: kept.get(path, 1) * a.softmax(0) for path, a in alpha.items()}

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        return torch.zeros(())


@dataclass(frozen=True)
class BetaDARTS(DARTS):
    """DARTS with a pull on the logarithm of the softmax's denominator (Ye et al. 2022, 2203.01665).

    The pull grows from 0 to `most` over the search: it keeps alpha from running away, and with
    that skips from taking over.
    """

    max_coefficient: float = 50.0

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        smooth = torch.stack([a.logsumexp(0) for a in alpha.values()]).mean()
        return self.max_coefficient * progress * smooth


@dataclass(frozen=True)
class _Annealed(DARTS):
    """Draws at a temperature that falls from `first` to `last`."""

    initial_temperature: float = 1.0
    final_temperature: float = 0.03

    def __post_init__(self) -> None:
        for name, value in (("first", self.initial_temperature), ("last", self.final_temperature)):
            if not value > 0:
                raise InputError(expected(name, "above 0", value))


@dataclass(frozen=True)
class GDAS(_Annealed):
    """One path a step, drawn by the Gumbel-max trick; gradients are those of the softmax at
    temperature tau (Dong and Yang 2019, 1910.04465), which falls from `first` to `last`.
    """

    initial_temperature: float = 10.0
    final_temperature: float = 0.1

    def weights(
        self, alpha: Alpha, kept: ChosenCounts, progress: float, random: torch.Generator
    ) -> dict[str, Tensor]:
        tau = (
            self.initial_temperature
            + (self.final_temperature - self.initial_temperature) * progress
        )
        found = {}
        for path, a in alpha.items():
            k = kept.get(path, 1)
            noisy = a.log_softmax(0) + _gumbel(a, random)
            soft = k * (noisy / tau).softmax(0)
            hard = torch.zeros_like(soft).scatter(0, noisy.topk(k).indices, 1.0)
            found[path] = hard - soft.detach() + soft  # 0 stays exactly 0
        return found


@dataclass(frozen=True)
class SNAS(_Annealed):
    """Draws from the concrete distribution at temperature tau (Xie et al. 2019, 1812.09926),
    which falls from `first` to `last`."""

    def weights(
        self, alpha: Alpha, kept: ChosenCounts, progress: float, random: torch.Generator
    ) -> dict[str, Tensor]:
        tau = (
            self.initial_temperature
            * (self.final_temperature / self.initial_temperature) ** progress
        )
        return {
            path: kept.get(path, 1) * ((a.log_softmax(0) + _gumbel(a, random)) / tau).softmax(0)
            for path, a in alpha.items()
        }


_HARDLY = 1e-12
"""A weight that changes nothing, but keeps its option running: a gate needs a gradient."""


@dataclass(frozen=True)
class ProxylessNAS(DARTS):
    """Binary gates (Cai et al. 2019, 1812.00332, section 3.2.2): two options are drawn by their
    probabilities, and one of the two is open; the gradient of the gates goes to the two.

    The paper also scales the two after each step so that the others keep their probabilities; Adam
    moves the others as well, so here it is left to the softmax.
    """

    def weights(
        self, alpha: Alpha, kept: ChosenCounts, progress: float, random: torch.Generator
    ) -> dict[str, Tensor]:
        found = {}
        for path, a in alpha.items():
            k = kept.get(path, 1)
            if len(a) <= k:
                found[path] = torch.ones_like(a)
                continue
            drawn = (a.detach().log_softmax(0) + _gumbel(a, random)).topk(k + 1).indices
            sure, two = drawn[: k - 1], drawn[k - 1 :]
            p = a[two].softmax(0)  # (2,)
            first_is_open = float(torch.rand((), generator=random)) < float(p[0].detach())
            gates = torch.tensor([1.0, _HARDLY] if first_is_open else [_HARDLY, 1.0]).to(a)
            gates = gates + (p - p.detach())  # the difference is 0, its gradient is not
            found[path] = torch.zeros_like(a).scatter(0, sure, 1.0).scatter(0, two, gates)
        return found


@dataclass(frozen=True)
class DrNAS(DARTS):
    """Weights drawn from a Dirichlet distribution, whose concentrations are learnt by the pathwise
    gradient, with a pull of each towards 1 (Chen et al. 2021, 2006.10355)."""

    anchor_coefficient: float = 1e-3

    def weights(
        self, alpha: Alpha, kept: ChosenCounts, progress: float, random: torch.Generator
    ) -> dict[str, Tensor]:
        seed = int(torch.randint(2**62, (), generator=random))
        with torch.random.fork_rng(devices=[]):  # Dirichlet draws take no generator
            torch.manual_seed(seed)
            return {
                path: kept.get(path, 1)
                * torch.distributions.Dirichlet(_concentration(a), validate_args=False).rsample()
                for path, a in alpha.items()
            }

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        far = [(_concentration(a) - 1).square().sum() for a in alpha.values()]
        return self.anchor_coefficient * torch.stack(far).sum()

    def mean(self, alpha: Alpha, kept: ChosenCounts) -> dict[str, Tensor]:
        found = {path: _concentration(a) for path, a in alpha.items()}
        return {path: kept.get(path, 1) * one / one.sum() for path, one in found.items()}


@dataclass(frozen=True)
class FairDARTS(DARTS):
    """A sigmoid for each option, so that none gains by another's loss, and a loss that drives each
    to 0 or 1 (Chu et al. 2020, 1911.12126)."""

    zero_one_coefficient: float = 10.0

    def mean(self, alpha: Alpha, kept: ChosenCounts) -> dict[str, Tensor]:
        return {path: a.sigmoid() for path, a in alpha.items()}

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        far = torch.cat([(a.sigmoid() - 0.5).square() for a in alpha.values()])
        return -self.zero_one_coefficient * far.mean()


def _concentration(a: Tensor) -> Tensor:
    """Above 0, and 1 at 0."""
    return torch.nn.functional.elu(a) + 1 + 1e-6


def _gumbel(like: Tensor, random: torch.Generator) -> Tensor:
    """-log -log u, u uniform: the largest of logits and such noise is drawn by their softmax."""
    u = torch.rand(like.shape, generator=random).clamp(1e-12, 1 - 1e-7)
    return -(-u.log()).log().to(like)
