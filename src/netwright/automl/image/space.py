"""The search space for images: views of the data, networks, their training and augmentation.

The default configuration of `default_configs` is one of its members.
"""

from __future__ import annotations

from typing import get_args

from netwright.automl.task_metadata import TaskMetadata, epochs
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.activations import ActivationName, NormName
from netwright.networks.layers.axial import AxialConv, AxialMixing
from netwright.networks.layers.basic import (
    Activation,
    Dropout,
    Flatten,
    GlobalPool,
    Multiply,
    Pool,
    Skip,
)
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.channel_tower import ChannelTower, CombineName
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.image_heads import AttentionPool
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import (
    AxisAsChannels,
    Coordinates,
    OneHotPixels,
    RowAndColumnMeans,
)
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, ImageAttention, PreActivation
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
N_STAGES = 3
MAX_CODES = 32
"""Pixels with at most so many values may be codes rather than intensities."""
_ADAMW_LR_FACTOR = 0.03
"""AdamW takes this part of the learning rate that suits Muon and SGD."""
_LOGITS_FACTOR = 1 / 9
"""Softens the first probabilities of a network whose head sees maxima (2404.00498)."""
_MAX_TOKENS = 256

_ACTIVATION: ActivationName = Shared(OneOf("relu", "silu", "hardswish", "gelu"), "activation")
_NORM: NormName = Shared(OneOf("batch", "batch_bias"), "normalisation")


def image_description(metadata: TaskMetadata) -> Pipeline:
    """Return a pipeline with a network for images, and its training."""
    assert metadata.image is not None
    side = min(metadata.image[:2])
    is_regression = metadata.kind == "regression"
    return ImagePipeline(
        Training(
            image_network(metadata),
            lr=Float(5e-3, 0.5, log=True),
            batch_size=OneOf(32, 64, 125, 250, 500),
            epochs=image_epochs(metadata),
            optimizer=OneOf(
                {
                    "muon": Muon(weight_decay=OneOf(0.0, 5e-4), head_factor=OneOf(0.25, 0.8)),
                    "sgd": SGD(weight_decay=OneOf(0.0, 5e-4, 5e-3)),
                    "adamw": AdamW(weight_decay=OneOf(0.0, 1e-2, 5e-2), lr_factor=_ADAMW_LR_FACTOR),
                }
            ),
            schedule=OneOf(LinearDecay(), Cosine(), OneCycle()),
            augment=OneOf(augmentations(side)),
            label_smoothing=0.0 if is_regression else OneOf(0.0, 0.1, 0.2),
            max_grad_norm=0.0,
            select="last",
            test_views="matching",
            class_weight="none" if is_regression else OneOf("none", "balanced"),
        )
    )


def image_epochs(metadata: TaskMetadata) -> int:
    """Return the passes over the training rows of a candidate at full fidelity."""
    return epochs(metadata.rows, max_epochs=30)


def augmentations(side: int) -> dict[str, tuple[Augmentation, ...]]:
    """Return the options of augmentation for images with this shorter side."""
    shift, flip, cutout = Shift(max(1, side // 16)), Flip(alternating=True), Cutout(side // 4)
    return {
        "none": (),
        "shift": (shift,),
        "flip": (flip,),
        "shift_flip": (shift, flip),
        "cutout": (cutout,),
        "shift_cutout": (shift, cutout),
        "all": (shift, flip, cutout),
        "all_flips": (shift, flip, Flip("vertical")),
        "trivial": (shift, flip, TrivialAugment()),
    }


def image_network(metadata: TaskMetadata) -> Network:
    """Return the choice among the views of the data, each with the network that suits it.

    ``pixels``: a convolutional network. ``rows`` and ``columns``: each row or column as a channel,
    with filters along what remains. ``channels``: the same network for each channel, whose features
    are then combined. ``codes``: each pixel value as a channel of zeros and ones.
    """
    assert metadata.image is not None
    h, w, c = metadata.image
    views: dict[str, Network] = {
        "pixels": _pixels(min(h, w)),
        "rows": (AxisAsChannels("rows"), *_axial_stages(w), *_head()),
        "columns": (AxisAsChannels("columns"), *_axial_stages(h), *_head()),
    }
    if c > 1:
        tower = (*_stem(min(h, w)), *_plain_stages(min(h, w)), GlobalPool("max"))
        combine: CombineName = OneOf(*get_args(CombineName))
        views["channels"] = (ChannelTower(tower, combine), Linear(), _scaled_scores())
    if has_codes(metadata):
        means: Network = OneOf({"none": Skip(), "means": RowAndColumnMeans()})
        codes = OneHotPixels(metadata.pixel_values)
        views["codes"] = (codes, means, *_plain_stages(min(h, w)), *_head())
    return OneOf(views, name="view")


def has_codes(metadata: TaskMetadata) -> bool:
    """Return whether the pixels have few enough values to be codes."""
    return 2 <= metadata.pixel_values <= MAX_CODES


def _pixels(side: int) -> Network:
    inputs: dict[str, Network] = {
        "pixels": Skip(),
        "coordinates": Coordinates(),
        "means": RowAndColumnMeans(),
        "axial": AxialMixing(),
    }
    body: list[Network] = []
    stage_side = side // stem_stride(side)
    for stage, pool in enumerate(stage_pools(stage_side), start=1):
        stage_side //= pool
        body.append(
            (_down(stage, pool), Repeat(_block(stage_side), times=Integer(0, 4), same=True))
        )
    return (OneOf(inputs), *_stem(side), *body, *_head())


def _block(side: int) -> Network:
    """Return the choice among blocks that preserve the shape of images with this shorter side."""
    blocks: dict[str, Network] = {
        "plain": Conv(normalisation=_NORM, activation=_ACTIVATION, init="identity"),
        "residual": Residual((Conv(activation=_ACTIVATION), Conv(activation="none"))),
        "preactivation": PreActivation(activation=_ACTIVATION, drop=OneOf(0.0, 0.1)),
        "mbconv": MBConv(
            expand=OneOf(2, 4),
            kernel=OneOf(3, 5),
            squeeze=OneOf(0.0, 0.25),
            activation=_ACTIVATION,
        ),
        "separable": Residual(Conv(kernel=OneOf(3, 5), separable=True, activation=_ACTIVATION)),
        "convnext": ConvNeXtBlock(kernel=OneOf(3, 7), expand=2, layer_scale=0.1),
    }
    if side * side <= _MAX_TOKENS:
        blocks["attention"] = ImageAttention(heads=4, max_tokens=2 * _MAX_TOKENS)
    return OneOf(blocks)


def _stem(side: int) -> tuple[Network, ...]:
    """Return the first layers, which reduce large images to 17 to 32 pixels a side at once.

    The cost of all later layers is proportional to the number of pixels.
    """
    stride = stem_stride(side)
    patch = min(side, max(2, stride + 1))
    stems: dict[str, Network] = {
        "whitened": (Whitening(patch, stride), Activation(_ACTIVATION)),
        "conv": Conv(
            OneOf(8, 16, 24, 32), max(3, stride // 2 * 2 + 1), stride, activation=_ACTIVATION
        ),
    }
    return (OneOf(stems),)


def _down(stage: int, pool: int) -> Conv:
    """Return the first convolution of a stage, with as many channels as in every other view."""
    return Conv(
        Shared(OneOf(*WIDTHS), f"width_{stage}"),
        pool=pool,
        normalisation=_NORM,
        activation=_ACTIVATION,
        init="identity",
    )


def _plain_stages(side: int) -> tuple[Network, ...]:
    """Return stages of plain convolutions."""
    stages: list[Network] = []
    plain = Conv(normalisation=_NORM, activation=_ACTIVATION, init="identity")
    stride = stem_stride(side)
    for stage, pool in enumerate(stage_pools(side // stride), start=1):
        stages.append((_down(stage, pool), Repeat(plain, times=Integer(0, 4), same=True)))
    return tuple(stages)


def _axial_stages(length: int) -> tuple[Network, ...]:
    """Return stages of filters along one axis of this length, which is halved after each."""
    kernel: int = Shared(OneOf(3, 5, 9), "axial_kernel")

    def conv(channels: int) -> Network:
        return AxialConv(channels, kernel, normalisation=_NORM, activation=_ACTIVATION)

    stages: list[Network] = []
    for stage, pool in enumerate(stage_pools(length), start=1):
        width: int = Shared(OneOf(*WIDTHS), f"width_{stage}")
        halve: Network = Pool("max", 3, stride=2) if pool > 1 else Skip()
        stages.append((conv(width), halve, Repeat(conv(0), times=Integer(0, 4), same=True)))
    return tuple(stages)


def _head() -> tuple[Network, ...]:
    """Return pooling over all pixels, dropout and the dense layer of scores."""
    pooling: dict[str, Network] = {
        "max": GlobalPool("max"),
        "avg": GlobalPool(),
        "flatten": Flatten(),
        "attention": AttentionPool(),
    }
    dropout = Dropout(Shared(OneOf(0.0, 0.1, 0.3), "dropout"))
    return (Shared(OneOf(pooling), "head"), dropout, Linear(), _scaled_scores())


def _scaled_scores() -> Network:
    return Multiply(Shared(OneOf({"1": 1.0, "1/9": _LOGITS_FACTOR}), "score_factor"))


def stem_stride(side: int) -> int:
    """Return the stride of the stem, which leaves 17 to 32 pixels a side; 1 for small images."""
    stride = 1
    while side > 32 * stride:
        stride *= 2
    return stride


def stage_pools(side: int) -> tuple[int, ...]:
    """Return the pooling of each stage: 2, or 1 where few pixels would be left.

    Args:
        side: pixels of the shorter side after the stem.
    """
    n_pools = sum(side >= smallest for smallest in (6, 10, 20))
    return tuple(2 if stage < n_pools else 1 for stage in range(N_STAGES))
