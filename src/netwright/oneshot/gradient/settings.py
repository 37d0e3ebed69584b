"""What a gradient-based search is told: recipes for weights and architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netwright.errors import InputError, check_whole, expected
from netwright.oneshot.gradient.expected_cost import CostTerm
from netwright.oneshot.gradient.relaxations import DrNAS, Relaxation
from netwright.oneshot.safeguards import SupernetSafeguards


@dataclass(frozen=True)
class WeightTraining:
    """How the shared weights are trained: by stochastic gradient descent, as DARTS trains them.

    The learning rate falls by half a cosine from `lr` to `least_lr`; `clip` is the largest norm of
    the gradient. `affine` lets normalisations inside of options scale what they give; without, the
    weight of an option is the one thing that says how much of it there is.
    """

    lr: float = 0.025
    min_lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    affine: bool = False


@dataclass(frozen=True)
class ArchitectureTraining:
    """How the architecture parameters are trained: by Adam, on the other half of the rows.

    `order` 2 goes through one training step of the weights. `warm_up`: the share of the search in
    which weights are trained alone. `cost`: what large networks pay.
    """

    lr: float = 3e-4
    weight_decay: float = 1e-3
    order: Literal[1, 2] = 1
    warmup: float = 0.0
    cost: CostTerm | None = None

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise InputError(expected("order", "1 or 2", self.order))
        if not 0 <= self.warmup < 1:
            raise InputError(expected("warm_up", "from 0 to below 1", self.warmup))


@dataclass(frozen=True)
class DifferentiableNAS:
    """A gradient-based search; the defaults of the steps are those of DARTS' search.

    `epochs`: passes over half of the rows, or as far as the time goes; the schedules then run their
    whole course in it. `partial`: one of so many parts of the channels goes through mixtures, and
    edges have weights (PC-DARTS, 1907.05737); 1 for all channels.
    """

    relaxation: Relaxation = DrNAS()  # noqa: RUF009  # frozen
    epochs: int = 50
    batch_size: int = 64
    channel_divisor: int = 1
    weights: WeightTraining = WeightTraining()  # frozen
    architecture: ArchitectureTraining = ArchitectureTraining()  # frozen
    safeguards: SupernetSafeguards = SupernetSafeguards()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        if isinstance(self.relaxation, type) or not hasattr(self.relaxation, "penalty"):
            rule = "a relaxation, such as DrNAS()"
            raise InputError(expected("relaxation", rule, self.relaxation))
        for name in ("epochs", "batch_size", "partial"):
            check_whole(name, getattr(self, name), 1)
