"""Ensembles whose members share weights: each member, all together, and after pruning."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError
from netwright.networks.build import build
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Dropout
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.batch_ensemble import (
    LinearBatchEnsemble,
    LinearEnsemble,
    ScaleEnsemble,
    average_members,
    predict_members,
    prune_members,
    replace_n_members,
    select_members,
)
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import predict, train
from netwright.networks.training.recipe import Training
from netwright.networks.training.train_step import training_loss

K, CLASSES = 4, 3
TABM = (
    ScaleEnsemble(K),
    LinearBatchEnsemble(8, scale_inputs=False),
    Dropout(0.2),
    LinearBatchEnsemble(6),
    LinearEnsemble(3),
)
MINI = (ScaleEnsemble(K, "signs"), Linear(8, activation="relu"), Linear(6), LinearEnsemble(3))
X, Y = torch.randn(50, 5, generator=torch.Generator().manual_seed(1)), torch.arange(50) % CLASSES


def negative_log_likelihood(outputs: Tensor) -> float:
    return nn.functional.cross_entropy(outputs, Y).item()


def trained(network: Network, epochs: int = 8) -> nn.Module:
    torch.manual_seed(2)
    module = build(network, (5,))
    recipe = Training(network, lr=1e-2, epochs=epochs, batch_size=25)
    train(recipe, module, LabelledData(X, Y), X, negative_log_likelihood, seed=0)
    return module


def test_equal_members_compute_the_plain_network() -> None:
    network = (
        ScaleEnsemble(K, "ones"),
        LinearBatchEnsemble(8),
        LinearBatchEnsemble(6, "none"),
        LinearEnsemble(CLASSES),
    )
    plain = (Linear(8, activation="relu"), Linear(6), Linear(CLASSES))
    ensemble, single = build(network, (5,)), build(plain, (5,))
    with torch.no_grad():
        for i in range(2):
            single[i].linear.weight.copy_(ensemble[i + 1].weight)
            single[i].linear.bias.copy_(ensemble[i + 1].bias[0])
        ensemble[3].weight.copy_(single[2].linear.weight.t())
        ensemble[3].bias.copy_(single[2].linear.bias)
    expected = single(X)
    assert ensemble.train()(X).shape == (50, K, CLASSES)
    for member in ensemble(X).unbind(1):
        torch.testing.assert_close(member, expected)
    torch.testing.assert_close(ensemble.eval()(X), expected.log_softmax(1))


def test_linear_batch_ensemble_matches_its_equation() -> None:
    layer, x = build(LinearBatchEnsemble(4, "none"), (K, 5)), torch.randn(7, K, 5)
    with torch.no_grad():
        for parameter in (layer.r, layer.s, layer.bias):
            parameter.normal_()
    for i in range(K):
        expected = ((x[:, i] * layer.r[i]) @ layer.weight.t()) * layer.s[i] + layer.bias[i]
        torch.testing.assert_close(layer(x)[:, i], expected)


def test_members_initially_differ_by_the_first_scaling_alone() -> None:
    layer = build(LinearBatchEnsemble(4), (K, 5))
    assert (layer.r == 1).all()
    assert (layer.s == 1).all()
    assert (layer.bias == layer.bias[0]).all()
    assert build(ScaleEnsemble(50), (20,)).scaling.std().item() == pytest.approx(1, abs=0.1)
    signs = build(ScaleEnsemble(50, "signs"), (20,)).scaling
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) < 0.15


def test_predictions_average_probabilities_not_logits() -> None:
    outputs = torch.randn(20, K, CLASSES) * 5
    torch.testing.assert_close(average_members(outputs).exp(), outputs.softmax(-1).mean(1))
    assert not torch.allclose(
        average_members(outputs).exp(), outputs.mean(1).softmax(-1), atol=0.05
    )
    numbers = torch.randn(20, K, 1)
    torch.testing.assert_close(average_members(numbers), numbers.mean(1))


def test_loss_is_the_mean_over_members() -> None:
    outputs, y = torch.randn(20, K, CLASSES) * 5, torch.arange(20) % CLASSES
    losses = torch.stack([nn.functional.cross_entropy(member, y) for member in outputs.unbind(1)])
    torch.testing.assert_close(training_loss(outputs, y), losses.mean())
    assert training_loss(average_members(outputs), y) < training_loss(outputs, y) - 0.1
    numbers, z = torch.randn(20, K, 1), torch.randn(20)
    errors = torch.stack([nn.functional.mse_loss(member[:, 0], z) for member in numbers.unbind(1)])
    torch.testing.assert_close(training_loss(numbers, z), errors.mean())
    assert training_loss(average_members(numbers), z) < training_loss(numbers, z) - 0.1


def test_row_weights_apply_to_every_member() -> None:
    outputs, y, weights = torch.randn(20, K, CLASSES), torch.arange(20) % CLASSES, torch.rand(20)
    losses = [training_loss(member, y, weights=weights) for member in outputs.unbind(1)]
    torch.testing.assert_close(
        training_loss(outputs, y, weights=weights), torch.stack(losses).mean()
    )


@pytest.mark.parametrize("network", [TABM, MINI], ids=["tabm", "mini"])
def test_ensemble_beats_its_members_on_average(network: Network) -> None:
    module = trained(network)
    outputs = predict_members(module, X)
    torch.testing.assert_close(predict(module, X), average_members(outputs))
    assert outputs.std(1).mean() > 0.01
    alone = [negative_log_likelihood(member) for member in outputs.unbind(1)]
    assert negative_log_likelihood(predict(module, X)) < sum(alone) / K
    untrained = build(network, (5,))
    assert negative_log_likelihood(predict(module, X)) < negative_log_likelihood(
        predict(untrained, X)
    )


@pytest.mark.parametrize("network", [TABM, MINI], ids=["tabm", "mini"])
@pytest.mark.parametrize("indices", [(2,), (0, 3), (0, 1, 2, 3)])
def test_pruned_network_averages_the_remaining_members(
    network: Network, indices: tuple[int, ...]
) -> None:
    module = trained(network, epochs=2)
    outputs = predict_members(module, X)
    prune_members(module, indices)
    torch.testing.assert_close(predict(module, X), average_members(outputs[:, list(indices)]))
    smaller = build(replace_n_members(network, len(indices)), (5,))
    smaller.load_state_dict(module.state_dict())
    assert torch.equal(predict(smaller, X), predict(module, X))


def test_members_are_selected_by_the_ensembles_loss() -> None:
    right = torch.eye(CLASSES)[Y] * 4
    outputs = torch.stack([-right, right, right.roll(1, 1), right * 0.5], 1)
    assert select_members(outputs, 1, negative_log_likelihood) == (1,)
    assert select_members(outputs, 2, negative_log_likelihood) == (1, 3)
    assert select_members(outputs, 4, negative_log_likelihood) == (0, 1, 2, 3)
    noisy = torch.randn(50, 5, CLASSES) + right[:, None] * 0.2
    selected = select_members(noisy, 3, negative_log_likelihood)
    scores = [
        negative_log_likelihood(average_members(noisy[:, list(members)]))
        for members in combinations(range(5), 3)
    ]
    greedy = negative_log_likelihood(average_members(noisy[:, list(selected)]))
    assert greedy <= sorted(scores)[len(scores) // 2]


def test_training_is_reproducible() -> None:
    first, again = trained(TABM), trained(TABM)
    weights = [nn.utils.parameters_to_vector(module.parameters()) for module in (first, again)]
    assert torch.equal(*weights)


def test_invalid_ensembles_are_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match="input must be columns"):
        build(ScaleEnsemble(), (3, 4))
    with pytest.raises(InfeasibleCandidate, match="members must be at least 1, got 0"):
        build(ScaleEnsemble(0), (3,))
    with pytest.raises(InfeasibleCandidate, match="scaling_init must be ones, normal or signs"):
        build(ScaleEnsemble(2, "zeros"), (3,))  # type: ignore[arg-type]
    for layer in (LinearBatchEnsemble(3), LinearEnsemble(3)):
        with pytest.raises(InfeasibleCandidate, match="Put ScaleEnsemble\\(\\) before it"):
            build(layer, (3,))
    with pytest.raises(InputError, match="must have members"):
        predict_members(build(Linear(3), (5,)), X)
    with pytest.raises(InputError, match="n_members must be from 1 to 4, got 5"):
        select_members(torch.randn(50, 4, 3), 5, negative_log_likelihood)
