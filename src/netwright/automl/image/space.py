"""The search space for images: convolutional networks and their training."""

from __future__ import annotations

from netwright.automl.task_metadata import TaskMetadata, epochs, patience
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.basic import Dropout, GlobalPool
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.augmentation.erasing import Cutout
from netwright.networks.training.augmentation.geometry import Crop, Flip
from netwright.networks.training.optimizers import AdamW
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Cosine, OneCycle
from netwright.pipelines.pipeline import ImagePipeline, Pipeline
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared


def image_description(metadata: TaskMetadata) -> Pipeline:
    """Return a pipeline with a convolutional network in stages, each of half the resolution."""
    assert metadata.image is not None
    side = min(metadata.image[:2])
    crop = max(1, side // 8)
    max_epochs = epochs(metadata.rows, max_epochs=30)
    recipe = Training(
        image_network(side),
        lr=Float(5e-4, 2e-2, log=True),
        batch_size=OneOf(32, 64, 128),
        epochs=max_epochs,
        optimizer=AdamW(weight_decay=OneOf(0.0, 1e-2, 5e-2)),
        schedule=OneOf(Cosine(), OneCycle()),
        augment=OneOf(
            {
                "none": (),
                "shift": (Crop(crop),),
                "flip": (Crop(crop), Flip()),
                "cutout": (Crop(crop), Cutout(2 * crop)),
                "all": (Crop(crop), Flip(), Cutout(2 * crop)),
            }
        ),
        label_smoothing=0.0 if metadata.kind == "regression" else OneOf(0.0, 0.05, 0.1),
        patience=patience(max_epochs),
    )
    return ImagePipeline(recipe)


def image_network(side: int) -> Network:
    """Return stem, stages and head of a network whose last stage has about 4 to 7 pixels a side.

    The stem reduces large images to 12 to 32 pixels at once, since the cost of all later layers is
    proportional to the number of pixels.

    Args:
        side: pixels of the images' shorter side.
    """
    activation: ActivationName = Shared(OneOf("relu", "silu", "hardswish", "gelu"), "activation")
    block = OneOf(
        {
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
    strides = stem_strides(side)
    kernels = (3, 5) if strides[-1] <= 2 else tuple(stride + 1 for stride in strides)
    n_stages = max(1, min(3, (side // strides[0] // 4).bit_length() - 1))
    stem = Conv(OneOf(8, 16, 24, 32), OneOf(*kernels), OneOf(*strides), activation=activation)
    widths = [(16, 24, 32, 48, 64), (24, 32, 48, 64, 96), (32, 64, 96, 128)]
    body: list[Network] = []
    for i in range(n_stages):
        down = Conv(OneOf(*widths[i]), kernel=3, stride=2, activation=activation)
        body.append((down, Repeat(block, times=Integer(0, 3))))
    head = (GlobalPool(), Dropout(OneOf(0.0, 0.1, 0.3)), Linear())
    return (stem, *body, *head)


def stem_strides(side: int) -> tuple[int, ...]:
    """Return strides that leave 12 to 32 pixels a side, the smallest first; 1 for small images."""
    stride = 1
    while side > 32 * stride:
        stride *= 2
    if side >= 2 * stride * 12:
        return (stride, 2 * stride)
    return (stride,)
