"""The whitened stem: fixed filters that decorrelate the pixels of patches."""

from __future__ import annotations

import pytest
import torch
from network_tools import batch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.build import build, infer_output_shape
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers import whitening
from netwright.networks.layers.basic import Activation, GlobalPool
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.whitening import Whitening
from netwright.networks.morphism.morph import morph
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import train
from netwright.networks.training.recipe import Training


def smooth_images(n: int = 300, side: int = 10) -> Tensor:
    """Images (n, 3, side, side) whose neighbouring pixels and channels are alike."""
    noise = torch.randn(n, 3, side + 4, side + 4)
    blurred = nn.functional.avg_pool2d(noise, 5, stride=1)
    images = blurred + 0.5 * blurred.mean(1, keepdim=True)
    return images / images.std()


def initialised(layer: Whitening, images: Tensor) -> nn.Module:
    module = build(layer, tuple(images.shape[1:]))
    nn.init.zeros_(module.bias)  # so that outputs are what the filters give
    initialize_from_data(module, LabelledData(images, torch.zeros(len(images))), seed=0)
    return module


def second_moments(outputs: Tensor) -> Tensor:
    """(channels, channels) means of products over rows and positions."""
    channels = outputs.transpose(0, 1).flatten(1)
    return channels @ channels.T / channels.shape[1]


def test_outputs_on_training_patches_are_uncorrelated_with_variance_one() -> None:
    images = smooth_images()
    outputs = initialised(Whitening(), images)(images)
    moments = second_moments(outputs[:, :12])
    before = second_moments(nn.functional.unfold(images, 2))
    assert (before / before.diagonal().mean() - torch.eye(12)).abs().max() > 0.5
    # the floor of the variances leaves directions of little variance a bit below 1
    torch.testing.assert_close(moments, torch.eye(12), rtol=0, atol=0.15)


def test_second_half_are_the_negatives_of_the_first() -> None:
    images = smooth_images(20)
    components, negatives = initialised(Whitening(), images)(images).chunk(2, dim=1)
    assert torch.equal(negatives, -components)
    assert components.abs().min() > 0


def test_components_of_most_variance_are_kept() -> None:
    images = smooth_images()
    all_filters = initialised(Whitening(), images).weight
    few_filters = initialised(Whitening(max_components=4), images).weight
    torch.testing.assert_close(few_filters[:4], all_filters[:4])
    norms = all_filters[:12].flatten(1).norm(dim=1)  # 1 / standard deviation
    assert (norms[1:] > norms[:-1]).all()


def test_directions_without_variance_stay_finite() -> None:
    images = smooth_images()[:, :1].expand(-1, 3, -1, -1)  # three equal channels
    module = initialised(Whitening(), images)
    assert module.weight.isfinite().all()
    assert module(images).abs().max() < 30
    assert initialised(Whitening(), torch.zeros(4, 3, 5, 5)).weight.isfinite().all()


def test_filters_copy_pixels_before_images_are_seen() -> None:
    module, x = build(Whitening(max_components=4), (2, 5, 5)), batch((2, 5, 5), 3)
    nn.init.zeros_(module.bias)
    # the four pixels of a patch of the first channel
    pixels = [x[:, 0, i : i + 4, j : j + 4] for i in (0, 1) for j in (0, 1)]
    torch.testing.assert_close(module(x)[:, :4], torch.stack(pixels, 1))


def test_filters_depend_on_images_and_seed_alone() -> None:
    images = smooth_images()
    module = build(Whitening(), (3, 10, 10))
    generator_state, filters = torch.get_rng_state(), []
    for _ in range(2):
        initialize_from_data(module, LabelledData(images, torch.zeros(len(images))), seed=0)
        filters.append(module.weight.clone())
    assert torch.equal(*filters)
    assert torch.equal(torch.get_rng_state(), generator_state)


@pytest.mark.parametrize("n_components", [3, 8])
def test_child_with_other_components_inherits_the_shared_ones(n_components: int) -> None:
    images = smooth_images(60)
    head = (GlobalPool(), Linear(2))
    old, new = ((Whitening(max_components=n), *head) for n in (5, n_components))
    shape = (3, 10, 10)
    parent = build(old, shape)
    initialize_from_data(parent, LabelledData(images, torch.zeros(60)), seed=0)
    child, inheritance = morph(parent, old, new, shape, seed=0)
    n_shared = min(5, n_components)
    parent_filters, filters = (m[0].weight.unflatten(0, (2, -1)) for m in (parent, child))
    assert torch.equal(filters[:, :n_shared], parent_filters[:, :n_shared])
    parent_biases, biases = (m[0].bias.unflatten(0, (2, -1)) for m in (parent, child))
    assert torch.equal(biases[:, :n_shared], parent_biases[:, :n_shared])
    assert inheritance.preserves_function == (n_components > 5)
    n_new = 2 * (n_components - n_shared)  # a component that the parent has not brings its own bias
    n_parameters = sum(weight.numel() for weight in child.parameters())
    n_inherited = inheritance.inherited_share * n_parameters
    assert n_inherited == pytest.approx(n_parameters - n_new)
    if inheritance.preserves_function:
        torch.testing.assert_close(child.eval()(images), parent.eval()(images))


def test_few_patches_of_all_images_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    images = smooth_images()
    images[:150] *= 0.1  # a sample of these alone would have other variances
    whole = initialised(Whitening(), images)
    monkeypatch.setattr(whitening, "_MAX_PATCHES", 6000)  # 20 of 81 positions
    sampled = initialised(Whitening(), images)
    assert not torch.equal(sampled.weight, whole.weight)
    moments = second_moments(sampled(images)[:, :12])
    torch.testing.assert_close(moments, torch.eye(12), rtol=0, atol=0.4)


def test_bias_is_trained_and_filters_are_not() -> None:
    images = smooth_images(40)
    # nothing normalises what the activation lets through, so that the bias matters
    network = (Whitening(), Activation("silu"), GlobalPool(), Linear(2))
    module = build(network, (3, 10, 10))
    rows = LabelledData(images, torch.arange(40) % 2)
    initialize_from_data(module, rows, seed=0)
    assert [name for name, _ in module[0].named_parameters()] == ["bias"]
    filters, biases = module[0].weight.clone(), module[0].bias.detach().clone()
    assert biases.std() > 0.1  # other components are let through at other contrasts
    train(Training(network, epochs=2, lr=0.1), module, rows, images, lambda out: 0.0, seed=0)
    assert torch.equal(module[0].weight, filters)
    assert (module[0].bias != biases).all()
    loaded = build(network, (3, 10, 10))
    loaded.load_state_dict(module.state_dict())
    torch.testing.assert_close(loaded.eval()(images), module(images))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Whitening(), (3, 8, 9), (24, 7, 8)),
        (Whitening(3), (3, 8, 9), (54, 6, 7)),
        (Whitening(3), (8, 8, 9), (64, 6, 7)),
        (Whitening(3, stride=2, max_components=5), (3, 8, 9), (10, 3, 4)),
        (Whitening(8), (1, 8, 8), (64, 1, 1)),
    ],
)
def test_output_shape_is_inferred(layer: Whitening, shape: Shape, expected: Shape) -> None:
    assert layer.infer_shape(shape) == infer_output_shape(layer, shape) == expected
    assert build(layer, shape)(batch(shape, 2)).shape[1:] == expected


def test_patches_larger_than_the_image_are_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match=r"Whitening cannot take \(3, 4, 9\)"):
        build(Whitening(5), (3, 4, 9))


@pytest.mark.parametrize("field", ["kernel", "stride", "max_components"])
def test_sizes_below_one_are_refused(field: str) -> None:
    with pytest.raises(InfeasibleCandidate, match=f"{field} must be at least 1, got 0"):
        build(Whitening(**{field: 0}), (3, 8, 8))
    with pytest.raises(InfeasibleCandidate, match="must be images"):
        build(Whitening(), (8,))
