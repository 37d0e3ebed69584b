"""Mixup and CutMix: the mixed inputs, and the loss of both targets in the training loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from augmentation_tools import context, noise
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build
from netwright.networks.layers.basic import Flatten
from netwright.networks.layers.linear import Linear
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.augmentation.mixing import CutMix, Mixing, Mixture, Mixup
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import train
from netwright.networks.training.recipe import Training
from netwright.space.choices import Float, OneOf
from netwright.space.space import Space


@pytest.mark.parametrize("mix", [Mixup(1.0), CutMix()])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_shape_dtype_layout_and_input_are_preserved(
    mix: Mixing, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    images = noise(9, dtype).contiguous(memory_format=memory_format)
    mixed, mixture = mix(images, context(9))
    assert (mixed.shape, mixed.dtype, mixed.stride()) == (images.shape, dtype, images.stride())
    assert images.min() <= mixed.min() <= mixed.max() <= images.max()
    assert sorted(mixture.partners.tolist()) == list(range(9))
    assert torch.equal(images, noise(9, dtype))


@pytest.mark.parametrize("mix", [Mixup(1.0), CutMix()])
def test_draws_come_from_the_generator(mix: Mixing) -> None:
    images = noise(9)
    (first, mixture), (again, same), (other, another) = (
        mix(images, context(9, seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert mixture.share == same.share != another.share
    assert not torch.equal(first, other)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_of_mixup_follow_the_beta_distribution(alpha: float) -> None:
    batch = context(2)
    shares = [Mixup(alpha)(torch.zeros(2, 1), batch)[1].share for _ in range(3000)]
    expected = np.quantile(
        np.random.default_rng(0).beta(alpha, alpha, 30_000), [0.1, 0.3, 0.5, 0.8]
    )
    np.testing.assert_allclose(np.quantile(shares, [0.1, 0.3, 0.5, 0.8]), expected, atol=0.05)


@pytest.mark.parametrize("shape", [(3, 5, 4), (6,), (2, 3)])
def test_mixup_is_the_weighted_mean_of_rows_and_partners(shape: tuple[int, ...]) -> None:
    inputs = torch.randn(8, *shape)
    mixed, mixture = Mixup(1.0)(inputs, context(8))
    expected = mixture.share * inputs + (1 - mixture.share) * inputs[mixture.partners]
    torch.testing.assert_close(mixed, expected)


def test_mixup_of_uint8_images_is_rounded_to_the_nearest_level() -> None:
    images = noise(50)
    mixed, mixture = Mixup(1.0)(images, context(50))
    exact = mixture.share * images.float() + (1 - mixture.share) * images[mixture.partners].float()
    torch.testing.assert_close(mixed.float(), exact, rtol=0, atol=0.501)


def test_share_of_cutmix_is_one_minus_the_pasted_area() -> None:
    images = torch.arange(1, 31).float().view(30, 1, 1, 1).expand(30, 2, 12, 10).contiguous()
    shares = []
    for seed in range(60):
        mixed, mixture = CutMix()(images, context(30, seed))
        partners = images[mixture.partners]
        row = int((mixture.partners != torch.arange(30)).nonzero()[0])
        is_pasted = mixed[row, 0] == partners[row, 0]
        rows, columns = is_pasted.any(1), is_pasted.any(0)
        assert torch.equal(is_pasted, rows[:, None] & columns)  # one rectangle, in every image
        assert torch.equal(mixed, torch.where(is_pasted, partners, images))
        assert mixture.share == pytest.approx(1 - is_pasted.float().mean().item(), abs=1e-6)
        shares.append(mixture.share)
    assert min(shares) < 0.4
    assert max(shares) > 0.9


def test_sides_of_cutmix_are_roots_of_the_drawn_area() -> None:
    images = torch.arange(1, 31).float().view(30, 1, 1, 1).expand(30, 2, 12, 10).contiguous()
    sizes = set()
    for seed in range(200):  # Beta(1e6, 1e6) is 0.5: 12 and 10 times sqrt(0.5), where not cut off
        mixed, _ = CutMix(1e6)(images, context(30, seed))
        is_pasted = (mixed != images).any(0)[0]
        sizes.add((int(is_pasted.any(1).sum()), int(is_pasted.any(0).sum())))
    assert max(sizes) == (8, 7)
    assert min(h for h, _ in sizes) == 4  # the centre may lie at the edge
    assert min(w for _, w in sizes) == 4


@pytest.mark.parametrize("mix", [Mixup(0.0), CutMix(0.0)])
def test_alpha_of_0_mixes_nothing(mix: Mixing) -> None:
    mixed, mixture = mix(noise(9), context(9))
    assert torch.equal(mixed, noise(9))
    assert mixture.share == 1


@pytest.mark.parametrize("mix", [Mixup(-0.1), CutMix(-0.1)])
def test_negative_alpha_is_refused(mix: Mixing) -> None:
    with pytest.raises(InfeasibleCandidate, match=r"alpha must be at least 0, got -0\.1"):
        mix(noise(9), context(9))


def test_cutmix_refuses_rows_that_are_no_images() -> None:
    with pytest.raises(InfeasibleCandidate, match=r"inputs of CutMix must be images .* \(4, 3\)"):
        CutMix()(torch.zeros(4, 3), context(4))


@dataclass(frozen=True)
class FixedMixup(Mixing):
    """Mixes each row with the next, and keeps what it made."""

    made: list[tuple[Tensor, Tensor]]
    share: float = 0.7

    def __call__(self, inputs: Tensor, batch: BatchContext) -> tuple[Tensor, Mixture]:
        partners = torch.arange(len(inputs)).roll(-1)
        mixed = self.share * inputs + (1 - self.share) * inputs[partners]
        self.made.append((mixed, batch.rows))
        return mixed, Mixture(partners, self.share)


def classes() -> LabelledData:
    return LabelledData(torch.randn(12, 3, 4, 4), torch.arange(12) % 3)


def first_loss(recipe: Training, rows: LabelledData) -> tuple[float, nn.Module]:
    """The loss of the initial weights: the learning rate is 0."""
    torch.manual_seed(2)
    module = build(recipe.network, (3, 4, 4))
    curve = train(recipe, module, rows, rows.inputs, lambda out: 0.0, seed=0)
    return curve.points[0].loss, module


@pytest.mark.parametrize("weights", [None, torch.linspace(0.5, 1.5, 12)])
def test_loss_of_mixed_classes_is_that_of_mixed_one_hot_targets(weights: Tensor | None) -> None:
    rows = replace(classes(), weights=weights)
    mix = FixedMixup([])
    recipe = Training(
        (Flatten(), Linear(3)), lr=0.0, batch_size=12, epochs=1, label_smoothing=0.1, mix=mix
    )
    loss, module = first_loss(recipe, rows)
    (mixed, order), share = mix.made[0], mix.share
    log_probabilities = module(mixed).log_softmax(1)
    row_weights = torch.ones(12) if weights is None else weights[order]
    one_hot = nn.functional.one_hot(rows.targets[order], 3) * 0.9 + 0.1 / 3
    targets = row_weights[:, None] * one_hot  # each row's weight goes with its target
    targets = share * targets + (1 - share) * targets.roll(-1, 0)
    assert loss == pytest.approx(-(targets * log_probabilities).sum(1).mean().item(), rel=1e-5)


def test_loss_of_mixed_numbers_is_the_weighted_mean_of_both() -> None:
    rows = replace(classes(), targets=torch.randn(12))
    mix = FixedMixup([])
    recipe = Training((Flatten(), Linear(1)), lr=0.0, batch_size=12, epochs=1, mix=mix)
    loss, module = first_loss(recipe, rows)
    (mixed, order), share = mix.made[0], mix.share
    out, targets = module(mixed)[:, 0], rows.targets[order]
    errors = share * (out - targets) ** 2 + (1 - share) * (out - targets.roll(-1)) ** 2
    assert loss == pytest.approx(errors.mean().item(), rel=1e-5)


@pytest.mark.parametrize("mix", [Mixup(1.0), CutMix(1.0)])
def test_training_with_mixing_is_reproducible_and_differs(mix: Mixing) -> None:
    recipe = Training((Flatten(), Linear(3)), lr=0.01, batch_size=4, epochs=3)
    mixing = replace(recipe, mix=mix)
    rows = classes()
    (first, _), (again, _), (plain, _) = (first_loss(r, rows) for r in (mixing, mixing, recipe))
    assert first == again != plain


def test_mixing_may_be_an_open_choice() -> None:
    options = {"none": None, "mixup": Mixup(Float(0.1, 1.0)), "cutmix": CutMix()}
    space = Space(Training((Linear(),), mix=OneOf(options)))
    rng = np.random.default_rng(0)
    filled = [space.fill(space.sample(rng)).mix for _ in range(60)]
    assert {type(mix) for mix in filled} == {type(None), Mixup, CutMix}
    alphas = [mix.alpha for mix in filled if isinstance(mix, Mixup)]
    assert 0.1 <= min(alphas) < max(alphas) <= 1
