"""The search space for images: convolutional networks, their training and their augmentation.

The default configuration of `default_configs` is one of its members.
"""

from __future__ import annotations

from netwright.automl.task_metadata import TaskMetadata, epochs
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.activations import ActivationName, NormName
from netwright.networks.layers.basic import Activation, Dropout, GlobalPool, Multiply
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.whitening import Whitening
from netwright.networks.training.augmentation.batch_context import Augmentation
from netwright.networks.training.augmentation.erasing import Cutout
from netwright.networks.training.augmentation.geometry import Flip, Shift
from netwright.networks.training.augmentation.policies import TrivialAugment
from netwright.networks.training.muon import Muon
from netwright.networks.training.optimizers import SGD, AdamW
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Cosine, LinearDecay, OneCycle
from netwright.pipelines.pipeline import ImagePipeline, Pipeline
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared

WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
"""Channels of a stage."""
_ADAMW_LR_FACTOR = 0.03
"""AdamW takes this part of the learning rate that suits Muon and SGD."""
_LOGITS_FACTOR = 1 / 9
"""Softens the first probabilities of a network whose head sees maxima (2404.00498)."""


def image_description(metadata: TaskMetadata) -> Pipeline:
    """Return a pipeline with a convolutional network in stages, and its training."""
    assert metadata.image is not None
    side = min(metadata.image[:2])
    return ImagePipeline(
        Training(
            image_network(side),
            lr=Float(5e-3, 0.5, log=True),
            batch_size=OneOf(32, 64, 125, 250, 500),
            epochs=epochs(metadata.rows, max_epochs=30),
            optimizer=OneOf(
                {
                    "muon": Muon(weight_decay=OneOf(0.0, 5e-4)),
                    "sgd": SGD(weight_decay=OneOf(0.0, 5e-4, 5e-3)),
                    "adamw": AdamW(weight_decay=OneOf(0.0, 1e-2, 5e-2), lr_factor=_ADAMW_LR_FACTOR),
                }
            ),
            schedule=OneOf(LinearDecay(), Cosine(), OneCycle()),
            augment=OneOf(augmentations(side)),
            label_smoothing=0.0 if metadata.kind == "regression" else OneOf(0.0, 0.1, 0.2),
            max_grad_norm=0.0,
            select="last",
            test_views="matching",
        )
    )


def augmentations(side: int) -> dict[str, tuple[Augmentation, ...]]:
    """Return the options of augmentation for images with this shorter side."""
    shift, flip, cutout = Shift(max(1, side // 16)), Flip(alternating=True), Cutout(side // 4)
    return {
        "none": (),
        "shift": (shift,),
        "flip": (flip,),
        "shift_flip": (shift, flip),
        "cutout": (shift, cutout),
        "all": (shift, flip, cutout),
        "all_flips": (shift, flip, Flip(axis="vertical")),
        "trivial": (shift, flip, TrivialAugment()),
    }


def image_network(side: int) -> Network:
    """Return stem, three to five stages and head of a network.

    Pooling follows the first convolution of a stage, as long as some pixels are left. The stem
    reduces large images to 12 to 32 pixels at once, since the cost of all later layers is
    proportional to the number of pixels.

    Args:
        side: pixels of the images' shorter side.
    """
    stride = stem_stride(side)
    activation: ActivationName = Shared(OneOf("relu", "silu", "hardswish", "gelu"), "activation")
    norm: NormName = Shared(OneOf("batch", "batch_bias"), "normalisation")
    plain = Conv(normalisation=norm, activation=activation, init="identity")
    block = OneOf(
        {
            "plain": plain,
            "residual": Residual((Conv(activation=activation), Conv(activation="none"))),
            "mbconv": MBConv(
                expand=OneOf(2, 4),
                kernel=OneOf(3, 5),
                squeeze=OneOf(0.0, 0.25),
                activation=activation,
            ),
            "separable": Residual(Conv(kernel=OneOf(3, 5), separable=True, activation=activation)),
        }
    )
    stems: dict[str, Network] = {
        "whitened": (Whitening(max(2, stride + 1), stride), Activation(activation)),
        "conv": Conv(
            OneOf(8, 16, 24, 32), max(3, stride // 2 * 2 + 1), stride, activation=activation
        ),
    }
    body: list[Network] = []
    for pool in stage_pools(side // stride):
        down = Conv(
            OneOf(*WIDTHS), pool=pool, normalisation=norm, activation=activation, init="identity"
        )
        body.append((down, Repeat(block, times=Integer(0, 4))))
    factor: float = OneOf({"1": 1.0, "1/9": _LOGITS_FACTOR})
    head = (
        GlobalPool(OneOf("avg", "max")),
        Dropout(OneOf(0.0, 0.1, 0.3)),
        Linear(),
        Multiply(factor),
    )
    return (OneOf(stems), *body, *head)


def stem_stride(side: int) -> int:
    """Return the stride of the stem, which leaves 17 to 32 pixels a side; 1 for small images."""
    stride = 1
    while side > 32 * stride:
        stride *= 2
    return stride


def stage_pools(side: int) -> tuple[int, ...]:
    """Return the pooling of each of the three stages: 2, or 1 where few pixels would be left.

    Args:
        side: pixels of the shorter side after the stem.
    """
    n_pools = sum(side >= smallest for smallest in (6, 10, 20))
    return tuple(2 if stage < n_pools else 1 for stage in range(3))
