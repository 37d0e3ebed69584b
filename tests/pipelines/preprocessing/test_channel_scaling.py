"""Standardization of image channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netwright.data.task import Images, Task
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.augmentation.geometry import Flip, Shift
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import FittedPipeline, ImagePipeline, fit
from netwright.pipelines.preprocessing.channel_scaling import FittedScale, Scale

PIXELS = np.random.default_rng(0).integers(0, 200, (30, 7, 6, 3)).astype(np.uint8)


def test_statistics_are_those_of_each_channel() -> None:
    fitted = Scale().fit(Images(PIXELS))
    assert fitted.mean == pytest.approx(PIXELS.mean((0, 1, 2)))
    assert fitted.std == pytest.approx(PIXELS.std((0, 1, 2)))


def test_constant_channel_has_the_deviation_one() -> None:
    fitted = Scale().fit(Images(np.full((4, 3, 3, 1), 9, np.uint8)))
    assert fitted == FittedScale((9.0,), (1.0,))


def test_transformed_images_are_a_view_with_channels_last_in_memory() -> None:
    inputs = FittedScale((0.0,) * 3, (1.0,) * 3).transform(Images(PIXELS))
    assert inputs.shape == (30, 3, 7, 6)
    assert np.shares_memory(inputs, PIXELS)
    assert inputs.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(inputs[4, 2], PIXELS[4, :, :, 2])


PIPELINE = ImagePipeline(
    Training(
        (Conv(4), Conv(6, stride=2), GlobalPool("max"), Linear()), epochs=3, batch_size=16,
        augment=(Flip(), Shift(1)),
    )
)  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
def test_view_and_contiguous_copy_train_and_predict_alike(
    channels: int, image_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(image_task.features, Images)
    pixels = np.repeat(image_task.features.pixels, channels, axis=3)
    pixels[..., -1] //= 2
    task = replace(image_task, features=Images(pixels))

    def fitted() -> tuple[FittedPipeline, NDArray[Any]]:
        pipeline = fit(PIPELINE, task, seed=0)
        return pipeline, pipeline.predict(task.features)

    _, by_view = fitted()
    transform = FittedScale.transform
    monkeypatch.setattr(
        FittedScale, "transform", lambda self, images: transform(self, images).copy(order="C")
    )
    _, by_copy = fitted()
    assert np.ptp(by_copy, axis=0).max() > 0.05  # it has learnt something
    np.testing.assert_allclose(by_view, by_copy, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", ["reversed", "read-only"])
def test_images_of_any_layout_are_predicted(change: str, image_task: Task) -> None:
    pipeline = fit(PIPELINE, image_task, seed=0)
    assert isinstance(image_task.features, Images)
    pixels = image_task.features.pixels.copy()
    expected = pipeline.predict(Images(pixels))
    if change == "reversed":
        mirrored = np.ascontiguousarray(pixels[::-1, :, ::-1])[::-1, :, ::-1]
        assert min(mirrored.strides) < 0
        pixels = mirrored
    else:
        pixels.flags.writeable = False
    np.testing.assert_allclose(pipeline.predict(Images(pixels)), expected, rtol=1e-5, atol=1e-6)
