"""Images: each channel at mean 0 and deviation 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import floats


@dataclass(frozen=True)
class Scale:
    """Pixels: each channel to mean 0 and standard deviation 1 over the training images."""

    def fit(self, images: Images) -> FittedScale:
        pixels = images.pixels  # (rows, h, w, c) uint8
        mean, std = [], []
        for channel in range(pixels.shape[3]):  # counting needs no copy as floats
            counts = np.bincount(pixels[..., channel].ravel(), minlength=256).astype(np.float64)
            levels = np.arange(256.0)
            m = float((counts * levels).sum() / counts.sum())
            mean.append(m)
            std.append(float(np.sqrt((counts * (levels - m) ** 2).sum() / counts.sum())) or 1.0)
        return FittedScale(floats(np.array(mean)), floats(np.array(std)))


@dataclass(frozen=True)
class FittedScale:
    """Mean and standard deviation of each channel, in levels of 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def transform(self, images: Images) -> NDArray[np.uint8]:
        """(rows, c, h, w), still uint8: the network's first layer scales, batch by batch."""
        return np.ascontiguousarray(images.pixels.transpose(0, 3, 1, 2))

    def to_onnx(self, nodes: OnnxGraphBuilder, name: str) -> str:
        return nodes.cast(nodes.add("Transpose", [name], perm=[0, 3, 1, 2]), np.float32)
