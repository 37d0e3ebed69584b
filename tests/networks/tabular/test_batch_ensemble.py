"""Members that share weights: what they are one by one, together, and after some are gone."""

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
    combined,
    predict_members,
    prune_members,
    replace_n_members,
    select_members,
)
from netwright.networks.training.loop import LabelledData, predict, train, training_loss
from netwright.networks.training.recipe import Training

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


def negative_log_likelihood(out: Tensor) -> float:
    return nn.functional.cross_entropy(out, Y).item()


def trained(network: Network, epochs: int = 8) -> nn.Module:
    torch.manual_seed(2)
    module = build(network, (5,))
    recipe = Training(network, lr=1e-2, epochs=epochs, batch_size=25)
    train(recipe, module, LabelledData(X, Y), X, negative_log_likelihood, seed=0)
    return module


def test_equal_members_are_the_plain_network() -> None:
    network = (
        ScaleEnsemble(K, "ones"),
        LinearBatchEnsemble(8),
        LinearBatchEnsemble(6, "none"),
        LinearEnsemble(CLASSES),
    )
    plain = (Linear(8, activation="relu"), Linear(6), Linear(CLASSES))
    ours, theirs = build(network, (5,)), build(plain, (5,))
    with torch.no_grad():
        for i in range(2):
            theirs[i].linear.weight.copy_(ours[i + 1].weight)
            theirs[i].linear.bias.copy_(ours[i + 1].bias[0])
        ours[3].weight.copy_(theirs[2].linear.weight.t())
        ours[3].bias.copy_(theirs[2].linear.bias)
    wanted = theirs(X)
    assert ours.train()(X).shape == (50, K, CLASSES)
    for member in ours(X).unbind(1):
        torch.testing.assert_close(member, wanted)
    torch.testing.assert_close(ours.eval()(X), wanted.log_softmax(1))


def test_scalings_and_biases_are_those_of_batch_ensembles() -> None:
    layer, x = build(LinearBatchEnsemble(4, "none"), (K, 5)), torch.randn(7, K, 5)
    with torch.no_grad():
        for each in (layer.r, layer.s, layer.bias):
            each.normal_()
    for i in range(K):
        wanted = ((x[:, i] * layer.r[i]) @ layer.weight.t()) * layer.s[i] + layer.bias[i]
        torch.testing.assert_close(layer(x)[:, i], wanted)


def test_members_start_apart_by_the_first_scaling_alone() -> None:
    layer = build(LinearBatchEnsemble(4), (K, 5))
    assert (layer.r == 1).all()
    assert (layer.s == 1).all()
    assert (layer.bias == layer.bias[0]).all()
    assert build(ScaleEnsemble(50), (20,)).scaling.std().item() == pytest.approx(1, abs=0.1)
    signs = build(ScaleEnsemble(50, "signs"), (20,)).scaling
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) < 0.15


def test_predictions_are_mean_probabilities_and_not_mean_scores() -> None:
    each = torch.randn(20, K, CLASSES) * 5
    torch.testing.assert_close(combined(each).exp(), each.softmax(-1).mean(1))
    assert not torch.allclose(combined(each).exp(), each.mean(1).softmax(-1), atol=0.05)
    numbers = torch.randn(20, K, 1)
    torch.testing.assert_close(combined(numbers), numbers.mean(1))


def test_the_loss_is_the_mean_of_losses_and_not_the_loss_of_the_mean() -> None:
    each, y = torch.randn(20, K, CLASSES) * 5, torch.arange(20) % CLASSES
    losses = torch.stack([nn.functional.cross_entropy(one, y) for one in each.unbind(1)])
    torch.testing.assert_close(training_loss(each, y), losses.mean())
    assert training_loss(combined(each), y) < training_loss(each, y) - 0.1
    numbers, z = torch.randn(20, K, 1), torch.randn(20)
    errors = torch.stack([nn.functional.mse_loss(one[:, 0], z) for one in numbers.unbind(1)])
    torch.testing.assert_close(training_loss(numbers, z), errors.mean())
    assert training_loss(combined(numbers), z) < training_loss(numbers, z) - 0.1


def test_a_row_weighs_the_same_in_every_member() -> None:
    each, y, weights = torch.randn(20, K, CLASSES), torch.arange(20) % CLASSES, torch.rand(20)
    losses = [training_loss(one, y, weights=weights) for one in each.unbind(1)]
    torch.testing.assert_close(training_loss(each, y, weights=weights), torch.stack(losses).mean())


@pytest.mark.parametrize("network", [TABM, MINI], ids=["tabm", "mini"])
def test_members_are_trained_apart_and_judged_together(network: Network) -> None:
    module = trained(network)
    each = predict_members(module, X)
    torch.testing.assert_close(predict(module, X), combined(each))
    assert each.std(1).mean() > 0.01
    alone = [negative_log_likelihood(one) for one in each.unbind(1)]
    assert negative_log_likelihood(predict(module, X)) < sum(alone) / K
    untrained = build(network, (5,))
    assert negative_log_likelihood(predict(module, X)) < negative_log_likelihood(
        predict(untrained, X)
    )


@pytest.mark.parametrize("network", [TABM, MINI], ids=["tabm", "mini"])
@pytest.mark.parametrize("kept", [(2,), (0, 3), (0, 1, 2, 3)])
def test_what_is_pruned_is_the_mean_of_those_kept(network: Network, kept: tuple[int, ...]) -> None:
    module = trained(network, epochs=2)
    each = predict_members(module, X)
    prune_members(module, kept)
    torch.testing.assert_close(predict(module, X), combined(each[:, list(kept)]))
    smaller = build(replace_n_members(network, len(kept)), (5,))
    smaller.load_state_dict(module.state_dict())
    assert torch.equal(predict(smaller, X), predict(module, X))


def test_members_are_chosen_by_what_they_say_together() -> None:
    right = torch.eye(CLASSES)[Y] * 4
    each = torch.stack([-right, right, right.roll(1, 1), right * 0.5], 1)
    assert select_members(each, 1, negative_log_likelihood) == (1,)
    assert select_members(each, 2, negative_log_likelihood) == (1, 3)
    assert select_members(each, 4, negative_log_likelihood) == (0, 1, 2, 3)
    noisy = torch.randn(50, 5, CLASSES) + right[:, None] * 0.2
    found = select_members(noisy, 3, negative_log_likelihood)
    scores = [
        negative_log_likelihood(combined(noisy[:, list(some)]))
        for some in combinations(range(5), 3)
    ]
    greedy = negative_log_likelihood(combined(noisy[:, list(found)]))
    assert greedy <= sorted(scores)[len(scores) // 2]


def test_a_seed_repeats_members() -> None:
    first, again = trained(TABM), trained(TABM)
    weights = [nn.utils.parameters_to_vector(one.parameters()) for one in (first, again)]
    assert torch.equal(*weights)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InfeasibleCandidate, match="input must be columns"):
        build(ScaleEnsemble(), (3, 4))
    with pytest.raises(InfeasibleCandidate, match="members must be at least 1, got 0"):
        build(ScaleEnsemble(0), (3,))
    with pytest.raises(InfeasibleCandidate, match="scaling must be ones, normal or signs"):
        build(ScaleEnsemble(2, "zeros"), (3,))  # type: ignore[arg-type]
    for layer in (LinearBatchEnsemble(3), LinearEnsemble(3)):
        with pytest.raises(InfeasibleCandidate, match="Put Members\\(\\) before it"):
            build(layer, (3,))
    with pytest.raises(InputError, match="must have members"):
        predict_members(build(Linear(3), (5,)), X)
    with pytest.raises(InputError, match="keep must be from 1 to 4, got 5"):
        select_members(torch.randn(50, 4, 3), 5, negative_log_likelihood)
