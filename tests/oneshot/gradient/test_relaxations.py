"""Weights and penalties of each relaxation, by its defining property."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from netwright.errors import InputError
from netwright.oneshot.gradient.relaxations import (
    DARTS,
    GDAS,
    SNAS,
    BetaDARTS,
    DrNAS,
    FairDARTS,
    ProxylessNAS,
    Relaxation,
)

N_CHOSEN = {"pair": 2}


def parameters() -> dict[str, Tensor]:
    return {
        "one": torch.tensor([0.5, -1.0, 1.5, 0.0], requires_grad=True),
        "pair": torch.tensor([0.2, 1.0, -0.5], requires_grad=True),
    }


def seeded_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(method: Relaxation, n_draws: int, progress: float = 0.0, path: str = "one") -> Tensor:
    """Return drawn weights (n_draws, options)."""
    alpha, g = parameters(), seeded_generator()
    with torch.no_grad():
        return torch.stack(
            [method.weights(alpha, N_CHOSEN, progress, g)[path] for _ in range(n_draws)]
        )


@pytest.mark.parametrize("method", [DARTS(), BetaDARTS(), GDAS(), SNAS(), DrNAS()])
def test_weights_sum_to_n_chosen_and_have_gradients(method: Relaxation) -> None:
    alpha = parameters()
    weights = method.weights(alpha, N_CHOSEN, 0.3, seeded_generator())
    assert float(weights["one"].detach().sum()) == pytest.approx(1, abs=1e-5)
    assert float(weights["pair"].detach().sum()) == pytest.approx(2, abs=1e-5)
    (weights["one"] * torch.arange(4.0)).sum().backward()
    assert alpha["one"].grad is not None
    assert float(alpha["one"].grad.abs().sum()) > 0


def test_equal_seeds_draw_equal_weights() -> None:
    for method in (GDAS(), SNAS(), DrNAS()):
        first, second = (
            method.weights(parameters(), N_CHOSEN, 0.5, seeded_generator(s))["one"] for s in (3, 3)
        )
        assert torch.equal(first, second)
        assert not torch.equal(
            first, method.weights(parameters(), N_CHOSEN, 0.5, seeded_generator(4))["one"]
        )


def test_darts_is_a_softmax() -> None:
    assert torch.allclose(draws(DARTS(), 1)[0], parameters()["one"].softmax(0))
    assert float(DARTS().penalty(parameters(), 1.0)) == 0


def test_beta_darts_penalty_grows_with_progress() -> None:
    alpha = parameters()
    BetaDARTS().penalty(alpha, 0.5).backward()
    # the slope of the logarithm of a sum of exponentials is the softmax; two decisions share it
    assert torch.allclose(alpha["one"].grad, 25 / 2 * alpha["one"].detach().softmax(0))  # type: ignore[arg-type]  # it has one
    assert float(BetaDARTS().penalty(alpha, 0.0).detach()) == 0


def test_gdas_draws_paths_by_softmax_probabilities() -> None:
    weights = draws(GDAS(), 4000)
    assert ((weights > 0.5).sum(1) == 1).all()
    assert ((weights == 0).sum(1) == 3).all()  # exactly, so that nothing else is run
    frequencies = (weights > 0.5).float().mean(0)
    assert torch.allclose(frequencies, parameters()["one"].softmax(0), atol=0.03)
    pairs = draws(GDAS(), 200, path="pair")
    assert ((pairs > 0.5).sum(1) == 2).all()


def test_gdas_gradient_is_that_of_the_tempered_softmax() -> None:
    """At high temperatures gradients are small and reach all options."""

    def slope(tau: float) -> Tensor:
        alpha = parameters()
        weights = GDAS(initial_temperature=tau, final_temperature=tau).weights(
            alpha, N_CHOSEN, 0.0, seeded_generator(1)
        )
        (weights["one"] * torch.arange(4.0)).sum().backward()
        assert alpha["one"].grad is not None
        return alpha["one"].grad

    noisy = (
        parameters()["one"].log_softmax(0)
        - (-torch.rand(4, generator=seeded_generator(1)).log()).log()
    )
    noisy = noisy.detach().requires_grad_()
    ((noisy / 3.0).softmax(0) * torch.arange(4.0)).sum().backward()
    assert torch.allclose(slope(3.0), noisy.grad, atol=1e-4)  # type: ignore[arg-type]  # it has one
    assert float(slope(10.0).abs().sum()) < float(slope(1.0).abs().sum())


def test_snas_weights_become_one_hot_as_temperature_falls() -> None:
    hot, cold = draws(SNAS(), 500, 0.0), draws(SNAS(), 500, 1.0)
    assert float(hot.max(1).values.mean()) < 0.85
    assert float(cold.max(1).values.mean()) > 0.97
    frequencies = torch.nn.functional.one_hot(cold.argmax(1), 4).float().mean(0)
    assert torch.allclose(frequencies, parameters()["one"].softmax(0), atol=0.08)


def test_drnas_draws_around_its_mean_narrower_with_larger_concentrations() -> None:
    method = DrNAS()
    assert torch.allclose(
        draws(method, 6000).mean(0), method.mean(parameters(), N_CHOSEN)["one"].detach(), atol=0.02
    )
    flat, sharp = ({"one": torch.full((4,), a)} for a in (0.0, 20.0))
    spread = [
        torch.stack([method.weights(a, {}, 0.0, seeded_generator(s))["one"] for s in range(200)])
        .std(0)
        .mean()
        for a in (flat, sharp)
    ]
    assert spread[0] > 3 * spread[1]
    # flat is uniform over the simplex: far from the mean that DARTS would always give
    assert spread[0] == pytest.approx(0.194, abs=0.03)


def test_drnas_penalty_pulls_concentrations_to_one() -> None:
    alpha = {"one": torch.tensor([2.0, 0.0, -0.5], requires_grad=True)}
    DrNAS().penalty(alpha, 0.0).backward()
    slope = alpha["one"].grad
    assert slope is not None
    assert slope[0] > 0
    assert float(slope[1]) == pytest.approx(0, abs=1e-6)
    assert slope[2] < 0


def test_fair_darts_options_are_independent_and_pushed_to_0_or_1() -> None:
    alpha = parameters()
    weights = FairDARTS().weights(alpha, N_CHOSEN, 0.0, seeded_generator())["one"]
    weights[0].backward()
    assert alpha["one"].grad is not None
    assert alpha["one"].grad[0] > 0
    assert (alpha["one"].grad[1:] == 0).all()
    alpha = {"one": torch.tensor([1.0, -1.0], requires_grad=True)}
    FairDARTS().penalty(alpha, 0.0).backward()
    assert alpha["one"].grad is not None
    assert alpha["one"].grad[0] < 0  # descending raises what is above a half
    assert alpha["one"].grad[1] > 0


def test_temperatures_must_be_above_0() -> None:
    with pytest.raises(InputError, match="final_temperature must be above 0, got 0"):
        GDAS(final_temperature=0)
    with pytest.raises(InputError, match="initial_temperature must be above 0, got -1"):
        SNAS(initial_temperature=-1)


def test_proxyless_opens_one_of_two_gates_and_trains_both() -> None:
    gates = draws(ProxylessNAS(), 500)
    assert ((gates > 0.5).sum(1) == 1).all()
    assert ((gates > 0).sum(1) == 2).all()  # the closed one runs too: a gate needs its output
    assert gates[(gates > 0) & (gates < 0.5)].max() < 1e-6
    pairs = draws(ProxylessNAS(), 100, path="pair")
    assert ((pairs > 0.5).sum(1) == 2).all()
    alpha = parameters()
    weights = ProxylessNAS().weights(alpha, N_CHOSEN, 0.0, seeded_generator())["one"]
    values = torch.arange(4.0) ** 2
    (weights * values).sum().backward()
    slope = alpha["one"].grad
    assert slope is not None
    two = (weights > 0).nonzero().flatten()
    p = alpha["one"].detach()[two].softmax(0)
    expected = p * (values[two] - (p * values[two]).sum())  # of the softmax of the two
    assert torch.allclose(slope[two], expected, atol=1e-5)
    assert (slope != 0).sum() == 2


def test_proxyless_opens_all_gates_when_all_options_are_chosen() -> None:
    alpha = {"all": torch.zeros(2, requires_grad=True)}
    assert ProxylessNAS().weights(alpha, {"all": 2}, 0.0, seeded_generator())["all"].tolist() == [
        1,
        1,
    ]
