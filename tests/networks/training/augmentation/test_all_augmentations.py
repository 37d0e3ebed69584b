"""What all augmentations have in common: layout, range, draws, and no effect without strength."""

from __future__ import annotations

import pytest
import torch
from augmentation_tools import applied, noise, numbered

from netwright import catalog
from netwright.errors import InfeasibleCandidate
from netwright.networks.training.augmentation.affine import Rotate, Shear, Translate
from netwright.networks.training.augmentation.batch_context import Augmentation
from netwright.networks.training.augmentation.colour import (
    AutoContrast,
    Brightness,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Saturation,
    Sharpness,
    Solarize,
)
from netwright.networks.training.augmentation.erasing import Cutout
from netwright.networks.training.augmentation.geometry import Crop, Flip, Shift
from netwright.networks.training.augmentation.policies import RandAugment, TrivialAugment

AUGMENTATIONS = (
    Flip(), Flip("vertical"), Flip(alternating=True), Crop(2), Shift(3), Shift(2, "zeros"),
    Cutout(3), Rotate(40), Shear(0.5), Translate(0.3), Brightness(1.0), Contrast(1.0),
    Saturation(1.0), Sharpness(1.0), Posterize(7), Solarize(1.0), Invert(), AutoContrast(),
    Equalize(), RandAugment(2, 10), TrivialAugment(),
)  # fmt: skip
IDENTITIES = (
    Crop(0), Shift(0), Shift(0, "zeros"), Rotate(0), Shear(0), Translate(0), Brightness(0),
    Contrast(0), Saturation(0), Sharpness(0), Posterize(0), Solarize(0), Invert(0),
    AutoContrast(0), Equalize(0), RandAugment(0),
)  # fmt: skip
DTYPES = (torch.uint8, torch.float32, torch.float16)
every_augmentation = pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_format = pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last]
)


def test_every_augmentation_of_the_catalog_is_tested_here() -> None:
    names = {type(augmentation).__name__ for augmentation in AUGMENTATIONS}
    assert {row.name for row in catalog.AUGMENTATIONS} == names | {"Mixup", "CutMix"}


@every_augmentation
@every_dtype
@every_format
@pytest.mark.parametrize("shape", [(3, 17, 16), (1, 7, 7), (2, 9, 12)])
def test_shape_dtype_layout_range_and_input_are_preserved(
    augmentation: Augmentation,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    shape: tuple[int, int, int],
) -> None:
    if isinstance(augmentation, Saturation) and shape[0] != 3:
        pytest.skip("needs three channels")
    images = noise(40, dtype, shape).contiguous(memory_format=memory_format)
    out = applied(augmentation, images)
    assert (out.shape, out.dtype, out.device) == (images.shape, dtype, images.device)
    assert out.stride() == images.stride()
    white = 255 if dtype == torch.uint8 else 1
    assert torch.isfinite(out.float()).all()
    assert 0 <= out.min() <= out.max() <= white
    assert torch.equal(images, noise(40, dtype, shape))


@every_augmentation
@every_dtype
def test_both_memory_formats_give_the_same_images(
    augmentation: Augmentation, dtype: torch.dtype
) -> None:
    images = noise(40, dtype)
    out = applied(augmentation, images)
    as_channels_last = applied(augmentation, images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(
        as_channels_last, out, rtol=0, atol=1 if out.dtype == torch.uint8 else 1e-3
    )


@every_augmentation
def test_uint8_and_float_images_change_alike(augmentation: Augmentation) -> None:
    images = noise(60)
    out = applied(augmentation, images).float() / 255
    of_floats = applied(augmentation, images.float() / 255)
    is_close = (out - of_floats).abs() <= 1.5 / 255
    assert is_close.float().mean() > 0.995  # a threshold may fall between the two


@every_augmentation
def test_each_image_has_its_own_draw_from_the_generator(augmentation: Augmentation) -> None:
    images = noise(1).repeat(40, 1, 1, 1)
    out = applied(augmentation, images)
    assert len(out.unique(dim=0)) > 1
    torch.manual_seed(99)
    assert torch.equal(applied(augmentation, images), out)
    if augmentation != Flip(alternating=True):
        assert not torch.equal(applied(augmentation, images, seed=1), out)


@every_augmentation
@every_dtype
def test_images_change_at_full_strength(augmentation: Augmentation, dtype: torch.dtype) -> None:
    images = noise(200, dtype)
    is_changed = (applied(augmentation, images) != images).flatten(1).any(1)
    assert is_changed.float().mean() > 0.35


@pytest.mark.parametrize("augmentation", IDENTITIES, ids=str)
@every_dtype
def test_no_strength_changes_nothing(augmentation: Augmentation, dtype: torch.dtype) -> None:
    images = noise(40, dtype)
    assert torch.equal(applied(augmentation, images), images)


@pytest.mark.parametrize(
    ("augmentation", "sentence"),
    [
        (Shift(7), "padding by reflection must be less than the image's 7 x 9, got 7"),
        (Brightness(1.1), "strength must be from 0 to 1, got 1.1"),
        (Solarize(-0.1), "strength must be from 0 to 1, got -0.1"),
        (Invert(2), "probability must be from 0 to 1, got 2"),
        (Posterize(9), "bits must be from 0 to 8, got 9"),
        (RandAugment(-1), "n must be at least 0, got -1"),
        (RandAugment(1, 11), "magnitude must be from 0 to 10, got 11"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(augmentation: Augmentation, sentence: str) -> None:
    with pytest.raises(InfeasibleCandidate, match=sentence):
        applied(augmentation, numbered(2))


def test_saturation_refuses_images_without_three_channels() -> None:
    with pytest.raises(InfeasibleCandidate, match="channels for Saturation must be 3, got 1"):
        applied(Saturation(), noise(2, shape=(1, 4, 4)))
