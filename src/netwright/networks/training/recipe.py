"""The training recipe, as a description whose every field may be an open choice."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.networks.interfaces.layer import Network
from netwright.networks.training.augmentation import Augmentation
from netwright.networks.training.optimizers import AdamW, Optimizer
from netwright.networks.training.schedules import Constant, Cosine, Schedule


@dataclass(frozen=True)
class Training:
    """A network and how it is trained. Any field may hold an open choice.

    `lr` is the peak learning rate, `epochs` counts passes over the training rows (cut short by a
    deadline: the schedule then runs its whole course in the time there is), `augment` is applied
    in order to images, `l1` is the factor of the absolute weights in the loss, `clip` the largest
    norm of the gradient (0: none), `patience` the epochs without a better validation score after
    which the training ends (0: never), `easing` the factor of weight decay and dropout on the way.
    """

    network: Network
    lr: float = 2e-3
    batch_size: int = 64
    epochs: int = 20
    optimizer: Optimizer = AdamW()  # noqa: RUF009  # frozen
    schedule: Schedule = Cosine()  # noqa: RUF009  # frozen
    augment: tuple[Augmentation, ...] = ()
    label_smoothing: float = 0.0
    l1: float = 0.0
    max_grad_norm: float = 1.0
    patience: int = 0
    regularization_schedule: Schedule = Constant()  # noqa: RUF009  # frozen
