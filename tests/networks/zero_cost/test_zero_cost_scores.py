"""Zero-cost scores, each against an independent computation."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.networks.build import build
from netwright.networks.layers.cells import nas_bench_201
from netwright.networks.zero_cost.probes import ProbeBatch
from netwright.networks.zero_cost.scores import ZERO_COST_SCORES, compute_scores
from netwright.space.space import Space


def images(rows: int = 8, channels: int = 3, size: int = 8, seed: int = 0) -> ProbeBatch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, channels, size, size, generator=g)
    return ProbeBatch(x, torch.randint(0, 4, (rows,), generator=g))


def columns(rows: int = 6, width: int = 4, seed: int = 0) -> ProbeBatch:
    g = torch.Generator().manual_seed(seed)
    return ProbeBatch(
        torch.randn(rows, width, generator=g), torch.randint(0, 3, (rows,), generator=g)
    )


def dense(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def convolutions(seed: int = 0, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), act(), nn.Conv2d(6, 6, 3, padding=1),
        nn.BatchNorm2d(6), act(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


@pytest.fixture(params=sorted(ZERO_COST_SCORES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_score_is_finite_reproducible_and_leaves_the_module_alone(name: str) -> None:
    module, probe = convolutions(), images()
    before = {
        key: tensor.clone() for key, tensor in module.state_dict().items() if "num" not in key
    }
    first = ZERO_COST_SCORES[name](convolutions(), probe)
    assert math.isfinite(first)
    assert ZERO_COST_SCORES[name](module, probe) == first
    for key, tensor in before.items():
        if "running" not in key:
            assert torch.equal(tensor, module.state_dict()[key])
    assert all(p.grad is None for p in module.parameters())


def test_scores_do_not_depend_on_each_other() -> None:
    together = compute_scores(convolutions(), images(), [*ZERO_COST_SCORES])
    assert together == {
        name: ZERO_COST_SCORES[name](convolutions(), images()) for name in ZERO_COST_SCORES
    }
    backwards = compute_scores(convolutions(), images(), [*reversed(ZERO_COST_SCORES)])
    assert together == backwards


def test_dropout_depends_on_the_probes_seed_alone(name: str) -> None:
    def module() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(*convolutions()[:3], nn.Dropout(0.5), *convolutions()[3:])

    first, again = ZERO_COST_SCORES[name](module(), images()), module()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert ZERO_COST_SCORES[name](again, images()) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_fisher_sums_over_tokens() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3))
    probe = ProbeBatch(torch.randn(5, 7, 4), torch.zeros(5))

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.inner(x)
            return output.pow(2).sum((1, 2))[:, None]

    a = module(probe.inputs)
    (gradient,) = torch.autograd.grad((a.pow(2).sum((1, 2)) ** 2).mean(), a)
    by_channel = (a * gradient).detach().sum(1)  # (b, c)
    score = ZERO_COST_SCORES["fisher"](Summed(), probe)
    assert score == pytest.approx(0.5 * float(by_channel.pow(2).mean(0).sum()), rel=1e-4)


def test_network_of_skips_has_a_finite_score(name: str) -> None:
    space = Space(nas_bench_201(channels=4, cells=1))
    skips = {decision.path: "skip_connect" for decision in space.decisions}
    network = space.fill(space.fix(skips).default())
    assert math.isfinite(ZERO_COST_SCORES[name](build(network, (3, 8, 8), outputs=4), images()))


def test_gradient_scores_match_autograd() -> None:
    module, probe = dense(), columns()
    weights = [module[0].weight, module[2].weight]
    loss = nn.functional.cross_entropy(module(probe.inputs), probe.targets)
    gradients = torch.autograd.grad(loss, weights)
    assert ZERO_COST_SCORES["grad_norm"](dense(), probe) == pytest.approx(
        sum(float(g.norm()) for g in gradients), rel=1e-5
    )
    products = [w.detach() * g for w, g in zip(weights, gradients, strict=True)]
    snip, plain = (ZERO_COST_SCORES[name](dense(), probe) for name in ("snip", "plain"))
    assert snip == pytest.approx(sum(float(p.abs().sum()) for p in products), rel=1e-5)
    assert plain == pytest.approx(sum(float(p.sum()) for p in products), rel=1e-4, abs=1e-6)


def test_grasp_matches_the_exact_hessian() -> None:
    module, probe = dense(), columns()
    shapes = [module[0].weight.shape, module[2].weight.shape]
    sizes = [shape.numel() for shape in shapes]

    def loss(flat: Tensor) -> Tensor:
        matrices = [p.reshape(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        weights = {"0.weight": matrices[0], "2.weight": matrices[1]}
        output = torch.func.functional_call(module, weights, (probe.inputs,))
        return nn.functional.cross_entropy(output, probe.targets)

    flat = torch.cat([module[0].weight.flatten(), module[2].weight.flatten()]).detach()
    hessian = torch.autograd.functional.hessian(loss, flat)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    assert ZERO_COST_SCORES["grasp"](dense(), probe) == pytest.approx(
        -float(flat @ (hessian @ gradient)), rel=1e-3
    )


def test_fisher_sums_over_pixels_before_squaring() -> None:
    module, probe = convolutions(), images()
    activations = []
    for layer in (module[0], module[3], module[8]):
        layer.register_forward_hook(lambda _, __, output: activations.append(output))
    loss = nn.functional.cross_entropy(module(probe.inputs), probe.targets)
    total = 0.0
    for a, g in zip(activations, torch.autograd.grad(loss, activations), strict=True):
        product = (a * g).detach()
        by_channel = product.sum((2, 3)) if product.dim() == 4 else product
        total += 0.5 * float((by_channel**2).sum() / len(probe.inputs))
    assert ZERO_COST_SCORES["fisher"](convolutions(), probe) == pytest.approx(total, rel=1e-4)


def test_zico_divides_gradients_by_their_std() -> None:
    probe = columns(8)
    halves = []
    for rows in (slice(0, 4), slice(4, 8)):
        module = dense()
        nn.functional.cross_entropy(module(probe.inputs[rows]), probe.targets[rows]).backward()
        halves.append([module[0].weight.grad, module[2].weight.grad])
    total = 0.0
    for a, b in zip(*halves, strict=True):
        g = np.stack([a.numpy(), b.numpy()]).astype(float)
        total += math.log((np.abs(g).mean(0) / g.std(0)).sum())
    assert ZERO_COST_SCORES["zico"](dense(), probe) == pytest.approx(total, rel=1e-3)


def test_synflow_is_layers_times_flow_without_overflow() -> None:
    """R is linear in each of L layers of weights, so that the sum of w dR/dw is L R (Euler)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(180, 4))
    nn.init.zeros_(net[3].bias)
    flow = nn.functional.conv2d(torch.ones(1, 3, 8, 8), net[0].weight.abs()).flatten()
    total = float((net[3].weight.abs() @ flow).detach().sum())
    assert ZERO_COST_SCORES["synflow"](net, images()) == pytest.approx(
        math.log(2 * total), rel=1e-5
    )
    deep = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(120)))
    for layer in deep:
        nn.init.constant_(layer.weight, 1.0)
    # 64^120 is beyond single precision
    score = ZERO_COST_SCORES["synflow"](deep, columns(width=64))
    assert score == pytest.approx(math.log(120) + 122 * math.log(64) - math.log(64), rel=1e-3)


def test_jacov_is_higher_for_less_correlated_gradients() -> None:
    torch.manual_seed(0)
    nonlinear = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
    linear = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 3))  # one Jacobian for all rows
    assert (
        ZERO_COST_SCORES["jacov"](nonlinear, columns())
        > ZERO_COST_SCORES["jacov"](linear, columns()) + 1e4
    )


def test_nwot_kernel_counts_equal_activation_bits() -> None:
    module, probe = convolutions(), images(4)
    codes = []
    for layer in (module[2], module[5]):
        layer.register_forward_hook(lambda _, x, __: codes.append((x[0] > 0).flatten(1)))
    module(probe.inputs)
    bits = torch.cat(codes, 1).numpy()
    kernel = np.array([[float((a == b).sum()) for b in bits] for a in bits])
    assert ZERO_COST_SCORES["nwot"](convolutions(), probe) == pytest.approx(
        np.linalg.slogdet(kernel)[1]
    )


def test_swap_counts_distinct_activation_patterns() -> None:
    module, probe = convolutions(), images(5)
    codes = []
    for layer in (module[2], module[5]):
        layer.register_forward_hook(lambda _, x, __: codes.append((x[0] > 0).flatten(1)))
    module(probe.inputs)
    patterns = {tuple(unit) for code in codes for unit in code.T.tolist()}
    assert ZERO_COST_SCORES["swap"](convolutions(), probe) == len(patterns)


def test_swap_uses_sixteen_rows() -> None:
    """With 64 rows nearly every unit has its own pattern, and the score counts units."""
    rows_64 = images(64)
    rows_16 = ProbeBatch(rows_64.inputs[:16], rows_64.targets[:16])
    assert ZERO_COST_SCORES["swap"](convolutions(), rows_64) == ZERO_COST_SCORES["swap"](
        convolutions(), rows_16
    )
    assert ZERO_COST_SCORES["swap"](convolutions(), rows_16) > ZERO_COST_SCORES["swap"](
        convolutions(), images(8)
    )


def test_zen_grows_with_the_variance_before_norms() -> None:
    """Sixteen times as many channels before a norm have 16 times the variance."""

    def net(n: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, n, 3, padding=1), nn.BatchNorm2d(n), nn.ReLU(),
            nn.Conv2d(n, 6, 3, padding=1), nn.BatchNorm2d(6),
        )  # fmt: skip

    small, large = (
        ZERO_COST_SCORES["zen"](net(4), images()),
        ZERO_COST_SCORES["zen"](net(64), images()),
    )
    assert large > small + 0.5 * math.log(64 / 4) - 0.5  # the second norm sums 16 times as many


def test_meco_is_zero_for_equal_channels() -> None:
    torch.manual_seed(0)
    different = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False))
    equal = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False))
    with torch.no_grad():
        equal[0].weight[1] = equal[0].weight[0]
    assert ZERO_COST_SCORES["meco"](equal, images()) == pytest.approx(0, abs=1e-9)
    assert ZERO_COST_SCORES["meco"](different, images()) > 0.01


class FixedMixing(nn.Module):
    """A block without parameters, so that scores do not redraw its weights."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", self.matrix, x)


def test_az_nas_scores_of_known_spectra_and_gains() -> None:
    channels = 4
    eye, flat = torch.eye(channels), torch.ones(channels, channels)
    noise = images(64, channels)
    full = nn.Sequential(FixedMixing(eye), FixedMixing(eye))
    assert ZERO_COST_SCORES["az_expressivity"](full, noise) == pytest.approx(
        2 * math.log(channels), abs=0.01
    )
    assert ZERO_COST_SCORES["az_progressivity"](full, noise) == pytest.approx(0, abs=0.01)
    narrow = nn.Sequential(FixedMixing(eye), FixedMixing(flat))
    assert ZERO_COST_SCORES["az_expressivity"](narrow, noise) == pytest.approx(
        math.log(channels), abs=0.01
    )
    assert ZERO_COST_SCORES["az_progressivity"](narrow, noise) == pytest.approx(
        -math.log(channels), abs=0.01
    )
    for gain in (1.0, 3.0, 0.2):
        net = nn.Sequential(FixedMixing(eye), FixedMixing(gain * eye.flip(0)))
        score = ZERO_COST_SCORES["az_trainability"](net, noise)
        assert score == pytest.approx(2 - gain - 1 / gain, abs=0.15 * max(gain, 1 / gain))


def test_identity_block_counts_as_untrainable() -> None:
    """Its gain is 1, the best possible, and cells of skips alone would lead the ranking."""
    eye, noise = torch.eye(4), images(8, 4)
    scores = [
        ZERO_COST_SCORES["az_trainability"](
            nn.Sequential(FixedMixing(eye), FixedMixing(matrix)), noise
        )
        for matrix in (eye, 1.01 * eye, 0 * eye)
    ]
    assert scores[1] > -1
    assert scores[0] == pytest.approx(scores[2])
    assert scores[2] < -1e5


def test_activations_and_norms_are_no_blocks() -> None:
    """A network's last activation has its own spectrum and gain, unrelated to its cells."""
    body = (FixedMixing(torch.eye(4)), FixedMixing(torch.eye(4).flip(0)))
    non_mixing = (nn.BatchNorm2d(4), nn.Identity(), nn.Dropout(0.5), nn.ReLU(), nn.Sequential())
    bare, extended = nn.Sequential(*body), nn.Sequential(*body, *non_mixing)
    for name in ("az_expressivity", "az_progressivity", "az_trainability"):
        assert ZERO_COST_SCORES[name](bare, images(8, 4)) == ZERO_COST_SCORES[name](
            extended, images(8, 4)
        )


@pytest.mark.parametrize("size", [7, 8])
def test_gain_of_strided_block_is_over_all_input_pixels(size: int) -> None:
    """Four quarters, as a vector of length 1/2; picking one pixel of four has a gain of 1."""
    mean, pick = nn.AvgPool2d(2, ceil_mode=True), nn.MaxPool2d(1, 2)
    for block, gain in ((mean, 0.5), (pick, 1.0)):
        net = nn.Sequential(FixedMixing(torch.eye(4)), block)
        score = ZERO_COST_SCORES["az_trainability"](net, images(256, 4, size))
        assert score == pytest.approx(2 - gain - 1 / gain, abs=0.15)


def test_convolutions_score_higher_than_skips() -> None:
    """The least that each of these scores must distinguish."""
    space = Space(nas_bench_201(channels=8, cells=1))
    strong = {decision.path: "nor_conv_3x3" for decision in space.decisions}
    weak = {decision.path: "skip_connect" for decision in space.decisions}

    def scores(values: dict[str, str]) -> dict[str, float]:
        network = space.fill(space.fix(values).default())

        torch.manual_seed(0)
        return compute_scores(
            build(network, (3, 16, 16), outputs=4), images(16, size=16), [*ZERO_COST_SCORES]
        )

    high, low = scores(strong), scores(weak)
    for name in ("synflow", "nwot", "swap", "zen", "zico", "meco", "az_expressivity", "snip"):
        assert high[name] > low[name], name


def test_swap_counts_patterns_of_any_number_of_rows() -> None:
    probe = images(9)
    relu = nn.Sequential(nn.Flatten(), nn.ReLU())
    units = (probe.inputs.flatten(1) > 0).T.numpy()
    pairs = sum(bool((a == b).all()) for a, b in combinations(units, 2))
    assert pairs < len(units)
    assert ZERO_COST_SCORES["swap"](relu, probe) == len({tuple(u) for u in units.tolist()})
