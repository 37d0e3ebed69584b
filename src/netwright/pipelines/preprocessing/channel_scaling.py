"""Standardization of image channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import as_float32_tuple


@dataclass(frozen=True)
class Scale:
    """Standardize each image channel to mean 0 and standard deviation 1 over the training images.

    Example:
        >>> pipeline = ImagePipeline(Training(network), scale=Scale())
    """

    def fit(self, images: Images) -> FittedScale:
        """Compute mean and standard deviation of each channel.

        Args:
            images: the training images.

        Returns:
            The statistics; the standard deviation of a constant channel is 1.
        """
        pixels = images.pixels  # (rows, h, w, c) uint8
        means, stds = [], []
        for channel in range(pixels.shape[3]):  # a histogram needs no float copy of the pixels
            counts = np.bincount(pixels[..., channel].ravel(), minlength=256).astype(np.float64)
            levels = np.arange(256.0)
            mean = float((counts * levels).sum() / counts.sum())
            variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
            means.append(mean)
            stds.append(float(np.sqrt(variance)) or 1.0)
        return FittedScale(as_float32_tuple(np.array(means)), as_float32_tuple(np.array(stds)))


@dataclass(frozen=True)
class FittedScale:
    """Statistics of the channels.

    Args:
        mean: mean of each channel, in levels of 0 to 255.
        std: standard deviation of each channel, in levels of 0 to 255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def transform(self, images: Images) -> NDArray[np.uint8]:
        """Return (rows, c, h, w), still uint8: the network standardizes each batch itself.

        It is a view, whose channels lie side by side in memory, as convolutions run fastest. Pixels
        that PyTorch cannot share, in reversed order or read-only, are copied.
        """
        pixels = np.require(images.pixels, requirements=("C", "W"))
        return pixels.transpose(0, 3, 1, 2)

    def to_onnx(self, builder: OnnxGraphBuilder, name: str) -> str:
        """Add the nodes of `transform` for the image tensor `name`, in float32."""
        return builder.cast(builder.add("Transpose", [name], perm=[0, 3, 1, 2]), np.float32)
