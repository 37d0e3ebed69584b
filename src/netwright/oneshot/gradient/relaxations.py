"""Relaxations: from architecture parameters to a supernet's weights, where the methods differ.

Each takes `alpha`, decision path -> (options,), and returns weights of the same shapes. For a
decision that chooses k options (inputs of a node) the weights sum to k, so that the mixture is as
large as the discretized network; only FairDARTS' sigmoids have no fixed sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from netwright.errors import InputError, expected

Alpha: TypeAlias = Mapping[str, Tensor]
"""Decision path -> architecture parameters (options,)."""
ChosenCounts: TypeAlias = Mapping[str, int]
"""Decision path -> number of options chosen: 1, or the largest size of a `SubsetOf`."""


class Relaxation(Protocol):
    """Hooks in which differentiable NAS methods differ; they share everything else."""

    def weights(
        self, alpha: Alpha, n_chosen: ChosenCounts, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the weights of one step.

        Args:
            alpha: Decision path -> architecture parameters (options,).
            n_chosen: Decision path -> number of options chosen; 1 where it is missing.
            progress: Share in [0, 1] of the search that is over.
            generator: Source of all draws.

        Returns:
            Decision path -> weights (options,), with gradients to `alpha`.
        """
        ...

    def mean(self, alpha: Alpha, n_chosen: ChosenCounts) -> dict[str, Tensor]:
        """Return the mean of the weights: how much each option is preferred.

        Args:
            alpha: Decision path -> architecture parameters (options,).
            n_chosen: Decision path -> number of options chosen; 1 where it is missing.

        Returns:
            Decision path -> mean weights (options,).
        """
        ...

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        """Return a penalty to add to the loss of the architecture parameters.

        Args:
            alpha: Decision path -> architecture parameters (options,).
            progress: Share in [0, 1] of the search that is over.

        Returns:
            A scalar (); 0 for no penalty.
        """
        ...


@dataclass(frozen=True)
class DARTS:
    """Softmax over the options (Liu et al., 2019, 1806.09055, equation 2)."""

    def weights(
        self, alpha: Alpha, n_chosen: ChosenCounts, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """As `Relaxation.weights`: the softmax, nothing is drawn."""
        return self.mean(alpha, n_chosen)

    def mean(self, alpha: Alpha, n_chosen: ChosenCounts) -> dict[str, Tensor]:
        """As `Relaxation.mean`: the softmax, times the number of options chosen."""
        return {path: n_chosen.get(path, 1) * a.softmax(0) for path, a in alpha.items()}

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        """As `Relaxation.penalty`: 0."""
        return torch.zeros(())


@dataclass(frozen=True)
class BetaDARTS(DARTS):
    """DARTS with beta-decay: a penalty on the log-sum-exp of alpha (Ye et al., 2022, 2203.01665).

    It keeps the parameters from drifting apart, and so skip connections from dominating.

    Args:
        max_coefficient: Coefficient of the penalty at the end of the search; it grows from 0.
    """

    max_coefficient: float = 50.0

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        """Return the mean log-sum-exp, times the coefficient at `progress`."""
        smooth_max = torch.stack([a.logsumexp(0) for a in alpha.values()]).mean()
        return self.max_coefficient * progress * smooth_max


@dataclass(frozen=True)
class _Annealed(DARTS):
    """Draws at a temperature that falls from `initial_temperature` to `final_temperature`."""

    initial_temperature: float = 1.0
    final_temperature: float = 0.03

    def __post_init__(self) -> None:
        for name in ("initial_temperature", "final_temperature"):
            if not getattr(self, name) > 0:
                raise InputError(expected(name, "above 0", getattr(self, name)))


@dataclass(frozen=True)
class GDAS(_Annealed):
    """One path a step, drawn by the Gumbel-max trick (Dong and Yang, 2019, 1910.04465).

    Gradients are those of the softmax at a temperature (straight-through).

    Args:
        initial_temperature: Temperature at the start, above 0.
        final_temperature: Temperature at the end, above 0; it changes linearly.
    """

    initial_temperature: float = 10.0
    final_temperature: float = 0.1

    def weights(
        self, alpha: Alpha, n_chosen: ChosenCounts, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return drawn weights of 0 and 1, with the gradient of the softmax."""
        tau = (
            self.initial_temperature
            + (self.final_temperature - self.initial_temperature) * progress
        )
        weights = {}
        for path, a in alpha.items():
            k = n_chosen.get(path, 1)
            noisy = a.log_softmax(0) + _gumbel_noise(a, generator)
            soft = k * (noisy / tau).softmax(0)
            hard = torch.zeros_like(soft).scatter(0, noisy.topk(k).indices, 1.0)
            weights[path] = hard - soft.detach() + soft  # in this order 0 stays exactly 0
        return weights


@dataclass(frozen=True)
class SNAS(_Annealed):
    """Weights drawn from the concrete distribution (Xie et al., 2019, 1812.09926).

    Args:
        initial_temperature: Temperature at the start, above 0.
        final_temperature: Temperature at the end, above 0; it falls exponentially.
    """

    def weights(
        self, alpha: Alpha, n_chosen: ChosenCounts, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return weights drawn by the Gumbel-softmax."""
        ratio = self.final_temperature / self.initial_temperature
        tau = self.initial_temperature * ratio**progress
        return {
            path: n_chosen.get(path, 1)
            * ((a.log_softmax(0) + _gumbel_noise(a, generator)) / tau).softmax(0)
            for path, a in alpha.items()
        }


_CLOSED_GATE = 1e-12
"""Weight of a closed gate: too small to matter, above 0 so that its option runs and its gate has a
gradient."""


@dataclass(frozen=True)
class ProxylessNAS(DARTS):
    """Binary gates on two sampled options (Cai et al., 2019, 1812.00332, section 3.2.2).

    Two options are drawn by their probabilities, one of the two gates is open, and both gates get
    gradients. The paper also rescales the two parameters after each step, so that the other
    options keep their probabilities; Adam moves the others as well, so here the softmax
    renormalises.
    """

    def weights(
        self, alpha: Alpha, n_chosen: ChosenCounts, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return gates of two drawn options, and 0 for the others."""
        weights = {}
        for path, a in alpha.items():
            k = n_chosen.get(path, 1)
            if len(a) <= k:
                weights[path] = torch.ones_like(a)
                continue
            drawn = (a.detach().log_softmax(0) + _gumbel_noise(a, generator)).topk(k + 1).indices
            chosen, pair = drawn[: k - 1], drawn[k - 1 :]
            p = a[pair].softmax(0)  # (2,)
            is_first_open = float(torch.rand((), generator=generator)) < float(p[0].detach())
            open_gates = [1.0, _CLOSED_GATE] if is_first_open else [_CLOSED_GATE, 1.0]
            gates = torch.tensor(open_gates).to(a)
            gates = gates + (p - p.detach())  # adds 0, but a gradient
            weights[path] = torch.zeros_like(a).scatter(0, chosen, 1.0).scatter(0, pair, gates)
        return weights


@dataclass(frozen=True)
class DrNAS(DARTS):
    """Weights drawn from a Dirichlet distribution with learnt concentrations.

    Chen et al. (2021, 2006.10355): the gradient is pathwise, and a penalty holds the concentrations
    near an anchor of 1.

    Args:
        anchor_coefficient: Coefficient of the penalty.
    """

    anchor_coefficient: float = 1e-3

    def weights(
        self, alpha: Alpha, n_chosen: ChosenCounts, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return weights drawn from the Dirichlet distribution."""
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):  # Dirichlet draws take no generator
            torch.manual_seed(seed)
            return {
                path: n_chosen.get(path, 1)
                * torch.distributions.Dirichlet(_concentration(a), validate_args=False).rsample()
                for path, a in alpha.items()
            }

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        """Return the squared distance of the concentrations from 1, times the coefficient."""
        distances = [(_concentration(a) - 1).square().sum() for a in alpha.values()]
        return self.anchor_coefficient * torch.stack(distances).sum()

    def mean(self, alpha: Alpha, n_chosen: ChosenCounts) -> dict[str, Tensor]:
        """Return the mean of the distribution, times the number of options chosen."""
        concentrations = {path: _concentration(a) for path, a in alpha.items()}
        return {path: n_chosen.get(path, 1) * c / c.sum() for path, c in concentrations.items()}


@dataclass(frozen=True)
class FairDARTS(DARTS):
    """A sigmoid for each option, so that options do not compete (Chu et al., 2020, 1911.12126).

    A zero-one loss drives each weight to 0 or 1.

    Args:
        zero_one_coefficient: Coefficient of the zero-one loss.
    """

    zero_one_coefficient: float = 10.0

    def mean(self, alpha: Alpha, n_chosen: ChosenCounts) -> dict[str, Tensor]:
        """Return the sigmoids."""
        return {path: a.sigmoid() for path, a in alpha.items()}

    def penalty(self, alpha: Alpha, progress: float) -> Tensor:
        """Return the zero-one loss, smallest for weights of 0 and 1."""
        distances = torch.cat([(a.sigmoid() - 0.5).square() for a in alpha.values()])
        return -self.zero_one_coefficient * distances.mean()


def _concentration(a: Tensor) -> Tensor:
    """Map alpha to Dirichlet concentrations: above 0, and 1 where alpha is 0."""
    return torch.nn.functional.elu(a) + 1 + 1e-6


def _gumbel_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel noise: the argmax of logits plus noise is a draw from their softmax."""
    u = torch.rand(like.shape, generator=generator).clamp(1e-12, 1 - 1e-7)
    return -(-u.log()).log().to(like)
