"""Settings of differentiable NAS: the training of weights and of architecture parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netwright.errors import InputError, check_whole, expected
from netwright.oneshot.gradient.expected_cost import CostTerm
from netwright.oneshot.gradient.relaxations import DrNAS, Relaxation
from netwright.oneshot.safeguards import SupernetSafeguards


@dataclass(frozen=True)
class WeightTraining:
    """Training of the shared weights, by SGD with momentum; the defaults are those of DARTS.

    Args:
        lr: Learning rate at the start.
        min_lr: Learning rate at the end, reached by half a cosine.
        momentum: Momentum of SGD.
        weight_decay: L2 penalty of SGD.
        max_grad_norm: Largest norm of the gradient.
        affine: Whether normalisations inside options scale and shift their outputs. False, as in
            DARTS, so that only an option's weight determines how much it contributes.
    """

    lr: float = 0.025
    min_lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    max_grad_norm: float = 5.0
    affine: bool = False


@dataclass(frozen=True)
class ArchitectureTraining:
    """Training of the architecture parameters, by Adam on the other half of the rows.

    Args:
        lr: Learning rate of Adam.
        weight_decay: L2 penalty of Adam.
        order: 1 takes the weights as they are, 2 differentiates through one training step of the
            weights (Liu et al., 2019, 1806.09055, section 2.3).
        warmup: Share of the search, in [0, 1), in which only the weights are trained.
        cost: Penalty on large networks; None for none.

    Raises:
        InputError: `order` or `warmup` is out of its range.
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
            raise InputError(expected("warmup", "from 0 to below 1", self.warmup))


@dataclass(frozen=True)
class DifferentiableNAS:
    """Differentiable NAS: a supernet's weights and architecture parameters, trained in turns.

    Args:
        relaxation: From architecture parameters to weights of options: `DARTS`, `GDAS`, `SNAS`,
            `DrNAS`, `BetaDARTS`, `FairDARTS`, `ProxylessNAS` or your own.
        epochs: Passes over one half of the rows. If a deadline comes first, the schedules run
            their whole course in the time there is.
        batch_size: Rows of each half in a step.
        channel_divisor: K of PC-DARTS (1907.05737): one channel in K goes through the mixtures, and
            edges have weights; 1 for all channels.
        weight_training: How the shared weights are trained.
        architecture_training: How the architecture parameters are trained.
        safeguards: Checks during the search, and remedies.

    Raises:
        InputError: A setting is out of its range, or `relaxation` is none.

    Example:
        >>> method = nw.DifferentiableNAS(nw.DrNAS(), epochs=50)
        >>> nw.Study(space, task=task, strategy=nw.OneShot(method), objectives=["accuracy"])
    """

    relaxation: Relaxation = DrNAS()  # noqa: RUF009  # frozen
    epochs: int = 50
    batch_size: int = 64
    channel_divisor: int = 1
    weight_training: WeightTraining = WeightTraining()  # frozen
    architecture_training: ArchitectureTraining = ArchitectureTraining()  # frozen
    safeguards: SupernetSafeguards = SupernetSafeguards()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        if isinstance(self.relaxation, type) or not hasattr(self.relaxation, "penalty"):
            rule = "a relaxation, such as DrNAS()"
            raise InputError(expected("relaxation", rule, self.relaxation))
        for name in ("epochs", "batch_size", "channel_divisor"):
            check_whole(name, getattr(self, name), 1)
