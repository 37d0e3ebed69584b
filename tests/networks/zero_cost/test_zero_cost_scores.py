"""Zero-cost scores, each against its definition worked out another way."""

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


def test_every_score_is_finite_the_same_twice_and_leaves_the_module_as_it_was(name: str) -> None:
    module, probe = convolutions(), images()
    before = {key: value.clone() for key, value in module.state_dict().items() if "num" not in key}
    first = ZERO_COST_SCORES[name](convolutions(), probe)
    assert math.isfinite(first)
    assert ZERO_COST_SCORES[name](module, probe) == first
    for key, value in before.items():
        if "running" not in key:
            assert torch.equal(value, module.state_dict()[key])
    assert all(p.grad is None for p in module.parameters())


def test_what_one_measure_does_changes_no_other() -> None:
    together = compute_scores(convolutions(), images(), [*ZERO_COST_SCORES])
    assert together == {
        one: ZERO_COST_SCORES[one](convolutions(), images()) for one in ZERO_COST_SCORES
    }
    backwards = compute_scores(convolutions(), images(), [*reversed(ZERO_COST_SCORES)])
    assert together == backwards


def test_dropout_draws_from_the_probes_seed_alone(name: str) -> None:
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
            out: Tensor = self.inner(x)
            return out.pow(2).sum((1, 2))[:, None]

    a = module(probe.inputs)
    (slope,) = torch.autograd.grad((a.pow(2).sum((1, 2)) ** 2).mean(), a)
    by_channel = (a * slope).detach().sum(1)  # (b, c)
    said = ZERO_COST_SCORES["fisher"](Summed(), probe)
    assert said == pytest.approx(0.5 * float(by_channel.pow(2).mean(0).sum()), rel=1e-4)


def test_a_network_without_weights_between_its_ends_has_a_score_too(name: str) -> None:
    space = Space(nas_bench_201(channels=4, cells=1))
    skips = {one.path: "skip_connect" for one in space.decisions}
    network = space.fill(space.fix(skips).default())
    assert math.isfinite(ZERO_COST_SCORES[name](build(network, (3, 8, 8), outputs=4), images()))


def test_gradients_of_the_loss() -> None:
    module, probe = dense(), columns()
    weights = [module[0].weight, module[2].weight]
    loss = nn.functional.cross_entropy(module(probe.inputs), probe.targets)
    found = torch.autograd.grad(loss, weights)
    assert ZERO_COST_SCORES["grad_norm"](dense(), probe) == pytest.approx(
        sum(float(g.norm()) for g in found), rel=1e-5
    )
    products = [w.detach() * g for w, g in zip(weights, found, strict=True)]
    said = [ZERO_COST_SCORES[n](dense(), probe) for n in ("snip", "plain")]
    assert said[0] == pytest.approx(sum(float(p.abs().sum()) for p in products), rel=1e-5)
    assert said[1] == pytest.approx(sum(float(p.sum()) for p in products), rel=1e-4, abs=1e-6)


def test_grasp_is_by_the_exact_hessian() -> None:
    module, probe = dense(), columns()
    shapes = [module[0].weight.shape, module[2].weight.shape]
    sizes = [shape.numel() for shape in shapes]

    def loss(flat: Tensor) -> Tensor:
        parts = [p.reshape(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        given = {"0.weight": parts[0], "2.weight": parts[1]}
        output = torch.func.functional_call(module, given, (probe.inputs,))
        return nn.functional.cross_entropy(output, probe.targets)

    flat = torch.cat([module[0].weight.flatten(), module[2].weight.flatten()]).detach()
    hessian = torch.autograd.functional.hessian(loss, flat)
    slope = torch.autograd.functional.jacobian(loss, flat)
    assert ZERO_COST_SCORES["grasp"](dense(), probe) == pytest.approx(
        -float(flat @ (hessian @ slope)), rel=1e-3
    )


def test_fisher_sums_over_a_map_before_it_squares() -> None:
    module, probe = convolutions(), images()
    seen = []
    for one in (module[0], module[3], module[8]):
        one.register_forward_hook(lambda _, __, out: seen.append(out))
    loss = nn.functional.cross_entropy(module(probe.inputs), probe.targets)
    total = 0.0
    for a, g in zip(seen, torch.autograd.grad(loss, seen), strict=True):
        product = (a * g).detach()
        by_channel = product.sum((2, 3)) if product.dim() == 4 else product
        total += 0.5 * float((by_channel**2).sum() / len(probe.inputs))
    assert ZERO_COST_SCORES["fisher"](convolutions(), probe) == pytest.approx(total, rel=1e-4)


def test_zico_weighs_gradients_by_their_steadiness() -> None:
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


def test_synflow_is_the_flow_times_the_layers_and_no_depth_overflows_it() -> None:
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
    for one in deep:
        nn.init.constant_(one.weight, 1.0)
    # 64^120 is beyond single precision
    said = ZERO_COST_SCORES["synflow"](deep, columns(width=64))
    assert said == pytest.approx(math.log(120) + 122 * math.log(64) - math.log(64), rel=1e-3)


def test_jacov_is_higher_where_rows_pull_the_inputs_in_different_ways() -> None:
    torch.manual_seed(0)
    bent = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
    straight = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 3))  # one Jacobian for all rows
    assert (
        ZERO_COST_SCORES["jacov"](bent, columns())
        > ZERO_COST_SCORES["jacov"](straight, columns()) + 1e4
    )


def test_the_kernel_of_nwot_counts_equal_bits() -> None:
    module, probe = convolutions(), images(4)
    codes = []
    for one in (module[2], module[5]):
        one.register_forward_hook(lambda _, x, __: codes.append((x[0] > 0).flatten(1)))
    module(probe.inputs)
    bits = torch.cat(codes, 1).numpy()
    kernel = np.array([[float((a == b).sum()) for b in bits] for a in bits])
    assert ZERO_COST_SCORES["nwot"](convolutions(), probe) == pytest.approx(
        np.linalg.slogdet(kernel)[1]
    )


def test_swap_counts_units_that_differ_over_the_rows() -> None:
    module, probe = convolutions(), images(5)
    codes = []
    for one in (module[2], module[5]):
        one.register_forward_hook(lambda _, x, __: codes.append((x[0] > 0).flatten(1)))
    module(probe.inputs)
    patterns = {tuple(unit) for part in codes for unit in part.T.tolist()}
    assert ZERO_COST_SCORES["swap"](convolutions(), probe) == len(patterns)


def test_swap_looks_at_sixteen_rows() -> None:
    """With 64 nearly every unit has a pattern of its own, and it counts units."""
    many = images(64)
    few = ProbeBatch(many.inputs[:16], many.targets[:16])
    assert ZERO_COST_SCORES["swap"](convolutions(), many) == ZERO_COST_SCORES["swap"](
        convolutions(), few
    )
    assert ZERO_COST_SCORES["swap"](convolutions(), few) > ZERO_COST_SCORES["swap"](
        convolutions(), images(8)
    )


def test_zen_grows_by_what_the_norms_divide_by() -> None:
    """Sixteen times as many channels into a norm: its variance is so many times as large."""

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


def test_meco_is_low_where_channels_say_the_same() -> None:
    torch.manual_seed(0)
    apart = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False))
    alike = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False))
    with torch.no_grad():
        alike[0].weight[1] = alike[0].weight[0]
    assert ZERO_COST_SCORES["meco"](alike, images()) == pytest.approx(0, abs=1e-9)
    assert ZERO_COST_SCORES["meco"](apart, images()) > 0.01


class Fixed(nn.Module):
    """A block that is no layer with weights, so that they are not drawn anew."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", self.matrix, x)


def test_az_nas_sees_spectra_their_rise_and_gains_far_from_one() -> None:
    channels = 4
    eye, flat = torch.eye(channels), torch.ones(channels, channels)
    noise = images(64, channels)
    full = nn.Sequential(Fixed(eye), Fixed(eye))
    assert ZERO_COST_SCORES["az_expressivity"](full, noise) == pytest.approx(
        2 * math.log(channels), abs=0.01
    )
    assert ZERO_COST_SCORES["az_progressivity"](full, noise) == pytest.approx(0, abs=0.01)
    narrow = nn.Sequential(Fixed(eye), Fixed(flat))
    assert ZERO_COST_SCORES["az_expressivity"](narrow, noise) == pytest.approx(
        math.log(channels), abs=0.01
    )
    assert ZERO_COST_SCORES["az_progressivity"](narrow, noise) == pytest.approx(
        -math.log(channels), abs=0.01
    )
    for gain in (1.0, 3.0, 0.2):
        net = nn.Sequential(Fixed(eye), Fixed(gain * eye.flip(0)))
        said = ZERO_COST_SCORES["az_trainability"](net, noise)
        assert said == pytest.approx(2 - gain - 1 / gain, abs=0.15 * max(gain, 1 / gain))


def test_a_block_that_hands_its_input_on_as_it_is_cannot_be_trained() -> None:
    """Its gain is 1, the best there is, and cells of nothing but skips would lead the ranking."""
    eye, noise = torch.eye(4), images(8, 4)
    told = [ZERO_COST_SCORES["az_trainability"](nn.Sequential(Fixed(eye), Fixed(matrix)), noise)
            for matrix in (eye, 1.01 * eye, 0 * eye)]  # fmt: skip
    assert told[1] > -1
    assert told[0] == pytest.approx(told[2])
    assert told[2] < -1e5


def test_only_what_mixes_is_a_block() -> None:
    """A network's last activation has its own spectrum and gain, which say nothing of its cells."""
    body = (Fixed(torch.eye(4)), Fixed(torch.eye(4).flip(0)))
    beside = (nn.BatchNorm2d(4), nn.Identity(), nn.Dropout(0.5), nn.ReLU(), nn.Sequential())
    bare, dressed = nn.Sequential(*body), nn.Sequential(*body, *beside)
    for name in ("az_expressivity", "az_progressivity", "az_trainability"):
        assert ZERO_COST_SCORES[name](bare, images(8, 4)) == ZERO_COST_SCORES[name](
            dressed, images(8, 4)
        )


@pytest.mark.parametrize("size", [7, 8])
def test_a_strided_blocks_gain_is_over_all_the_pixels_it_comes_from(size: int) -> None:
    """Four quarters, as a vector of length 1/2; picking one pixel of four has a gain of 1."""
    mean, pick = nn.AvgPool2d(2, ceil_mode=True), nn.MaxPool2d(1, 2)
    for block, gain in ((mean, 0.5), (pick, 1.0)):
        net = nn.Sequential(Fixed(torch.eye(4)), block)
        said = ZERO_COST_SCORES["az_trainability"](net, images(256, 4, size))
        assert said == pytest.approx(2 - gain - 1 / gain, abs=0.15)


def test_larger_cells_have_higher_scores_in_most() -> None:
    """What every one of these is meant to see: convolutions against pooling and skips."""
    space = Space(nas_bench_201(channels=8, cells=1))
    strong = {one.path: "nor_conv_3x3" for one in space.decisions}
    weak = {one.path: "skip_connect" for one in space.decisions}

    def scores(values: dict[str, str]) -> dict[str, float]:
        network = space.fill(space.fix(values).default())

        torch.manual_seed(0)
        return compute_scores(
            build(network, (3, 16, 16), outputs=4), images(16, size=16), [*ZERO_COST_SCORES]
        )

    high, low = scores(strong), scores(weak)
    for name in ("synflow", "nwot", "swap", "zen", "zico", "meco", "az_expressivity", "snip"):
        assert high[name] > low[name], name


def test_equal_patterns_are_found_whatever_the_number_of_rows() -> None:
    probe = images(9)
    relu = nn.Sequential(nn.Flatten(), nn.ReLU())
    units = (probe.inputs.flatten(1) > 0).T.numpy()
    pairs = sum(bool((a == b).all()) for a, b in combinations(units, 2))
    assert pairs < len(units)
    assert ZERO_COST_SCORES["swap"](relu, probe) == len({tuple(u) for u in units.tolist()})
