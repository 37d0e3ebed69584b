"""The training recipe, a description whose every field may be an open choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netwright.networks.interfaces.layer import Network
from netwright.networks.training.augmentation.batch_context import Augmentation
from netwright.networks.training.augmentation.geometry import Flip
from netwright.networks.training.augmentation.mixing import Mixing
from netwright.networks.training.optimizers import AdamW, Optimizer
from netwright.networks.training.schedules import Constant, Cosine, Schedule


@dataclass(frozen=True)
class Training:
    """A network and how it is trained. Any field may be an open choice.

    Args:
        network: The network.
        lr: Peak learning rate.
        batch_size: Rows of a batch, at least 1; batches of an epoch are of nearly equal size.
        epochs: Passes over the training rows. If a deadline ends the training earlier, schedules
            run their whole course in the time that there is.
        optimizer: `AdamW`, `SGD` or `Muon`.
        schedule: Factor of the learning rate.
        augment: Augmentations of images, applied in this order.
        label_smoothing: Of the cross-entropy, in [0, 1].
        l1: Factor of the sum of absolute weights in the loss; 0 for none.
        max_grad_norm: Gradients are clipped to this norm; 0 for no clipping.
        patience: Epochs without a better validation score after which the training ends; 0 for
            never.
        regularization_schedule: Factor of weight decay and dropout.
        select: "best" keeps the weights of the best validation score, "last" those of the end, for
            schedules that end at 0: it needs fewer validations.
        test_views: "mirror" predicts the mean scores of an image and of its mirror image, which
            takes twice the time; "none" those of the image alone; "matching" is "mirror" if images
            are flipped in training.
        mix: `Mixup` or `CutMix`: mixing of the rows of a batch and of their losses, after
            `augment`; None for none.
        class_weight: "balanced" multiplies the loss of each row by a factor in inverse proportion to
            the rows of its class, so that all classes weigh the same; "none" does not.

    Example:
        >>> recipe = Training((Linear(OneOf(32, 64)), Linear()), lr=Float(1e-4, 1e-2, log=True))
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
    select: Literal["best", "last"] = "best"
    test_views: Literal["none", "mirror", "matching"] = "none"
    mix: Mixing | None = None
    class_weight: Literal["none", "balanced"] = "none"

    @property
    def averages_mirror_image(self) -> bool:
        """Return whether an image's scores are averaged with those of its mirror image."""
        is_flipped = any(
            isinstance(augmentation, Flip) and augmentation.axis == "horizontal"
            for augmentation in self.augment
        )
        return self.test_views == "mirror" or (self.test_views == "matching" and is_flipped)
