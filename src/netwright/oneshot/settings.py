"""What a gradient-based search is told: recipes for weights and architecture, and what is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netwright.errors import InputError, check_whole, expected
from netwright.oneshot.costs import CostTerm
from netwright.oneshot.relaxations import DrNAS, Relaxation
from netwright.oneshot.sampling import Sampled


@dataclass(frozen=True)
class WeightSteps:
    """How the shared weights are trained: by stochastic gradient descent, as DARTS trains them.

    The learning rate falls by half a cosine from `lr` to `least_lr`; `clip` is the largest norm of
    the gradient. `affine` lets normalisations inside of options scale what they give; without, the
    weight of an option is the one thing that says how much of it there is.
    """

    lr: float = 0.025
    least_lr: float = 0.001
    momentum: float = 0.9
    decay: float = 3e-4
    clip: float = 5.0
    affine: bool = False


@dataclass(frozen=True)
class ArchitectureSteps:
    """How the architecture parameters are trained: by Adam, on the other half of the rows.

    `order` 2 goes through one training step of the weights. `warm_up`: the share of the search in
    which weights are trained alone. `cost`: what large networks pay.
    """

    lr: float = 3e-4
    decay: float = 1e-3
    order: Literal[1, 2] = 1
    warm_up: float = 0.0
    cost: CostTerm | None = None

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise InputError(expected("order", "1 or 2", self.order))
        if not 0 <= self.warm_up < 1:
            raise InputError(expected("warm_up", "from 0 to below 1", self.warm_up))


@dataclass(frozen=True)
class Honesty:
    """What is watched while a supernet trains, and what an alarm switches on.

    `every`: epochs between two looks at the eigenvalue, 0 for none; `power`: steps of its power
    iteration. `stop`: a sharp rise ends the search where it was five epochs before (Zela et al.
    2020, 1909.09656). `decay`: an alarm of skips multiplies the weights' decay by this, at most
    twice, as the same paper's adaptive regularisation does; 1 for not. `perturb`: after an alarm
    options are chosen by what their loss costs, with so many epochs of tuning in all (Wang et al.
    2021, 2108.04392); 0 for not. `networks`: so many drawn at random are trained alone at the end,
    for `epochs`, to see whether shared weights rank them; 0 for none.
    """

    every: int = 1
    power: int = 8
    stop: bool = True
    decay: float = 3.0
    perturb: float = 2.0
    networks: int = 8
    epochs: int = 2

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("networks", 0), ("power", 1), ("epochs", 1)):
            check_whole(name, getattr(self, name), least)
        if not self.decay >= 1:
            raise InputError(expected("decay", "at least 1", self.decay))
        if not self.perturb >= 0:
            raise InputError(expected("perturb", "0 or more", self.perturb))


UNWATCHED = Honesty(every=0, stop=False, decay=1.0, perturb=0.0, networks=0)
"""Nothing is measured and nothing is done: the bare algorithms of the papers."""


@dataclass(frozen=True)
class Gradient:
    """A gradient-based search; the defaults of the steps are those of DARTS' search.

    `epochs`: passes over half of the rows, or as far as the time goes; the schedules then run their
    whole course in it. `partial`: one of so many parts of the channels goes through mixtures, and
    edges have weights (PC-DARTS, 1907.05737); 1 for all channels.
    """

    relaxation: Relaxation = DrNAS()  # noqa: RUF009  # frozen
    epochs: int = 50
    batch_size: int = 64
    partial: int = 1
    weights: WeightSteps = WeightSteps()  # frozen
    architecture: ArchitectureSteps = ArchitectureSteps()  # frozen
    honesty: Honesty = Honesty()  # frozen

    def __post_init__(self) -> None:
        if isinstance(self.relaxation, type) or not hasattr(self.relaxation, "penalty"):
            rule = "a relaxation, such as DrNAS()"
            raise InputError(expected("relaxation", rule, self.relaxation))
        for name in ("epochs", "batch_size", "partial"):
            check_whole(name, getattr(self, name), 1)


@dataclass(frozen=True)
class SinglePath:
    """Shared weights trained by sampled paths, then a search among their sub-networks.

    A strategy judges `evaluations` of them by the weights they inherit; where paths are drawn by the
    strategy itself (`ByPolicy`: ENAS, 1802.03268), it judges its share of these after each epoch. Of
    `honesty` only the ranking applies.
    """

    training: Sampled = Sampled()  # noqa: RUF009  # frozen
    evaluations: int = 500
    honesty: Honesty = Honesty()  # frozen

    def __post_init__(self) -> None:
        check_whole("evaluations", self.evaluations, 1)
