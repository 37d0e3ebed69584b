"""RandAugment and TrivialAugment draw an operation of the right strength for each image."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from augmentation_tools import applied, noise
from torch import Tensor

from netwright.networks.training.augmentation import policies
from netwright.networks.training.augmentation.batch_context import Augmentation
from netwright.networks.training.augmentation.policies import RandAugment, TrivialAugment

N_OPERATIONS = 14


def calls(
    monkeypatch: pytest.MonkeyPatch, augmentation: Augmentation, images: Tensor
) -> list[tuple[int, float]]:
    """The operation of each image and its strength: all operations are replaced by recorders."""
    seen: list[tuple[int, float]] = []
    original = policies._operations

    def recorder(index: int):  # type: ignore[no-untyped-def]
        def apply(group: Tensor, strengths: Tensor) -> Tensor:
            seen.extend((index, float(strength)) for strength in strengths)
            return group

        return apply

    def recording(images: Tensor, ranges: policies._Ranges) -> policies._Operations:
        operations = original(images, ranges)
        every = (*operations.affine, *operations.pixel)
        pixel = tuple(
            policies._PixelOperation(recorder(i), operation.strength, operation.signed)
            for i, operation in enumerate(every)
        )
        return policies._Operations((), pixel)

    monkeypatch.setattr(policies, "_operations", recording)
    assert torch.equal(applied(augmentation, images), images)
    return seen


# affine: two shears, two translations, a rotation; pixels: identity, brightness, saturation,
# contrast, sharpness, posterize, solarize, autocontrast, equalize
RAND_STRENGTHS = [0.3, 0.3, 150 / 331 * 40, 150 / 331 * 50, 30, 1, 0.9, 0.9, 0.9, 0.9, 4, 1, 1, 1]
WIDE_STRENGTHS = [0.99, 0.99, 32, 32, 135, 1, 0.99, 0.99, 0.99, 0.99, 6, 1, 1, 1]
SIGNED = {0, 1, 2, 3, 4, 6, 7, 8, 9}


def test_randaugment_applies_all_operations_at_its_magnitude(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = noise(3000, shape=(1, 50, 40))
    seen = calls(monkeypatch, RandAugment(2, 5.0), images)
    counts = Counter(index for index, _ in seen)
    assert sum(counts.values()) == 6000
    assert len(counts) == N_OPERATIONS
    assert min(counts.values()) > 0.8 * 6000 / 14
    for index, full in enumerate(RAND_STRENGTHS):
        strengths = [strength for i, strength in seen if i == index]
        assert {round(abs(s), 4) for s in strengths} == {round(full / 2, 4)}
        n_negative = sum(s < 0 for s in strengths)
        if index in SIGNED:
            assert 0.35 < n_negative / len(strengths) < 0.65
        else:
            assert n_negative == 0


def test_trivialaugment_draws_one_operation_and_one_of_31_strengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = calls(monkeypatch, TrivialAugment(), noise(6000, shape=(1, 50, 40)))
    counts = Counter(index for index, _ in seen)
    assert sum(counts.values()) == 6000
    assert len(counts) == N_OPERATIONS
    levels = [abs(strength) / WIDE_STRENGTHS[index] * 30 for index, strength in seen]
    assert all(abs(level - round(level)) < 1e-3 for level in levels)
    level_counts = Counter(map(round, levels))
    assert sorted(level_counts) == list(range(31))
    assert min(level_counts.values()) > 0.6 * 6000 / 31


def test_trivialaugment_translates_small_images_by_their_side_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = calls(monkeypatch, TrivialAugment(), noise(2000, shape=(1, 12, 8)))
    assert max(abs(strength) for index, strength in seen if index == 2) == 8
    assert max(abs(strength) for index, strength in seen if index == 3) == 12


def test_images_keep_their_places_in_the_batch() -> None:
    """Geometry moves pixels within an image: each value occurs in its own image alone."""
    values = torch.arange(1, 201).byte().view(-1, 1, 1, 1).expand(-1, 3, 9, 9).contiguous()
    out = applied(RandAugment(1, 3.0), values)
    is_unchanged = (out == values).flatten(1).all(1)
    assert 0.1 < is_unchanged.float().mean() < 0.9
    for row, image in enumerate(out):
        assert image.max() > 0 or row < 3
    centre = out[:, 0, 4, 4].float()
    assert torch.corrcoef(torch.stack([centre, values[:, 0, 4, 4].float()]))[0, 1] > 0.3


def test_each_operation_is_applied_twice_as_often_with_n_of_2() -> None:
    images = noise(1000)
    unchanged = [
        (applied(RandAugment(n, 8.0), images) == images).flatten(1).all(1).float().mean()
        for n in (1, 2)
    ]
    assert unchanged[0] > 2 * unchanged[1]


@pytest.mark.parametrize("policy", [RandAugment(2, 10.0), TrivialAugment()])
@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_tiny_batches_work_whatever_is_drawn(
    policy: Augmentation, rows: int, memory_format: torch.memory_format
) -> None:
    images = noise(rows).contiguous(memory_format=memory_format)
    for seed in range(40):
        out = applied(policy, images, seed)
        assert out.stride() == images.stride()


def test_affine_operations_are_those_of_the_table() -> None:
    """A batch in which every image draws one operation equals that operation by itself."""
    images = noise(64, shape=(3, 16, 16))
    operations = policies._operations(images, policies._AUTOAUGMENT)
    planes = images[..., None]
    strengths = torch.linspace(-1, 1, 64)
    for i, operation in enumerate(operations.affine):
        counts = [0] * N_OPERATIONS
        counts[i] = 64
        out = policies._apply_in_order(operations, planes, operation.strength * strengths, counts)
        expected = policies.affine.warp(images, operation.matrices(operation.strength * strengths))
        assert torch.equal(out.squeeze(-1), expected)
        assert not torch.equal(expected, images)
