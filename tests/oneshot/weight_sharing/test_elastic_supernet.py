"""A candidate on slices of shared weights equals the network that `build` makes of it."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.errors import InfeasibleCandidate, InputError, InvalidCandidate, SpaceError
from netwright.networks.build import build
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import AddPart, Composite, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.axial import AxialConv, AxialMixing
from netwright.networks.layers.basic import (
    Activation,
    Dropout,
    Flatten,
    GlobalPool,
    Norm,
    Pool,
    Skip,
    Zero,
)
from netwright.networks.layers.blocks import ImageRows, MBConv, Recurrent, Residual, SelfAttention
from netwright.networks.layers.cells import darts, nas_bench_101, nas_bench_201
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.downsampling import Downsample, PatchStem
from netwright.networks.layers.graph import Chain, Graph, Node
from netwright.networks.layers.image_heads import AttentionPool
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import (
    AxisAsChannels,
    Coordinates,
    OneHotPixels,
    RowAndColumnMeans,
)
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, ImageAttention, PreActivation
from netwright.networks.tabular.columns import Columns, Embedding, OneHot, Periodic
from netwright.networks.training.recipe import Training
from netwright.oneshot.weight_sharing import elastic_supernet as sharing
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights, recalibrate_batch_norm
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared, SubsetOf
from netwright.space.space import Space

IMAGE = (3, 8, 8)
HEAD = (GlobalPool(), Linear())
BLOCK: Network = OneOf({"conv": Conv(), "res": Residual(Conv(kernel=OneOf(1, 3))), "skip": Skip()})


class _Ramp(nn.Module):
    """A constant that is no slice of a longer one, and a buffer that is replaced in training."""

    ramp: Tensor
    seen: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels))
        self.register_buffer("ramp", torch.linspace(-1, 1, channels))
        self.register_buffer("seen", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = self.seen + 1
        return x * (self.weight + self.ramp)[:, None, None]


@dataclass(frozen=True)
class Ramp(Leaf):
    def build(self, shape: Shape) -> nn.Module:
        return _Ramp(shape[0])


@dataclass(frozen=True)
class Stage(Composite):
    """A user-defined composite: a convolution, then a body, and both outputs concatenated."""

    body: Network
    width: int = 4
    act: str = "relu"
    stride: int = 1

    def assemble(self, shape: Shape, add: AddPart) -> Shape:
        first = add("first", (Conv(self.width, stride=self.stride), Activation(self.act)), shape)  # type: ignore[arg-type]  # a name
        out = add("body", self.body, first)
        return (first[0] + out[0], *out[1:])

    def run(self, parts: nn.ModuleDict, x: Tensor) -> Tensor:
        first = parts["first"](x)
        return torch.cat([first, parts["body"](first)], 1)


SPACES: dict[str, Network] = {
    "cells of operations": nas_bench_201(channels=4, cells=1),
    "cells of subsets": darts(channels=2, cells=3),
    "concatenated subsets": nas_bench_101(channels=4, cells=1, stages=2, inner=2),
    "widths, kernels, strides": (
        Conv(OneOf(4, 8, 6), kernel=OneOf(3, 1, 5), stride=OneOf(1, 2)),
        Conv(Integer(3, 20), separable=OneOf(True, False)), Conv(OneOf(8, 4), groups=OneOf(1, 2)),
        *HEAD,
    ),
    "blocks": (
        Conv(4),
        Repeat(
            OneOf({
                "mb": MBConv(
                    OneOf(4, 8), Integer(1, 4), OneOf(3, 5), OneOf(1, 2), OneOf(0.0, 0.25, 0.5)
                ),
                "res": Residual((Conv(OneOf(4, 8), stride=OneOf(1, 2)), Conv(OneOf(4, 8)))),
                "none": (),
            }),
            times=Integer(0, 3),
        ), *HEAD,
    ),
    "names": (
        Conv(4, normalisation=OneOf("batch", "layer", "none"), activation=OneOf("relu", "tanh")),
        Activation(OneOf("relu", "elu")), *HEAD,
    ),
    "numbers that are its own": (
        Conv(4), Dropout(Float(0.0, 0.5)), Flatten(), Linear(OneOf(4, 9)), Linear(),
    ),
    "attention": (
        Conv(OneOf(4, 8)), Residual((Norm("layer"), SelfAttention(OneOf(1, 2)))), *HEAD,
    ),
    "families of image blocks": (
        OneOf({"patches": PatchStem(OneOf(4, 8), patch=2), "conv": Conv(OneOf(4, 8), stride=2)}),
        OneOf({
            "pre": PreActivation(OneOf(0, 8), OneOf(3, 5), groups=OneOf(1, 2), drop=OneOf(0.0, 0.2)),
            "next": ConvNeXtBlock(OneOf(3, 7), Integer(1, 3), layer_scale=OneOf(0, 0.5)),
            "attention": ImageAttention(OneOf(1, 2)),
        }),
        Downsample(OneOf(4, 8), OneOf("conv", "max", "avg", "blur"), kernel=OneOf(1, 3)),
        OneOf({"attention": AttentionPool(OneOf(1, 2)), "mean": GlobalPool()}), Linear(),
    ),
    "sequences": (
        Conv(OneOf(2, 3)), ImageRows(),
        Recurrent(OneOf(4, 8), kind=OneOf("gru", "lstm"), bidirectional=OneOf(True, False)), *HEAD,
    ),
    "a row of some": (Conv(4), SubsetOf(Conv(), Conv(6), Residual(Conv(OneOf(4, 8)))), *HEAD),
    "same and shared": (
        Conv(Shared(OneOf(4, 8), "width")), Repeat(BLOCK, times=OneOf(0, 2), same=True),
        Shared(BLOCK, "block"), Shared(BLOCK, "block"), *HEAD,
    ),
    "an open node": (
        Graph({
            "1": Node(SubsetOf({"in": OneOf(Conv(3), Pool(), Zero())}, min_size=1), then=BLOCK),
            "2": Node(SubsetOf({"in": Skip(), "1": Conv(3)}, min_size=1), OneOf("add", "concat")),
        }), *HEAD,
    ),
    "views": (
        OneOf({
            "pixels": Skip(), "codes": OneHotPixels(OneOf(8, 5)), "place": Coordinates(),
            "means": RowAndColumnMeans(), "rows": AxisAsChannels(OneOf("rows", "columns")),
        }),
        AxialConv(OneOf(4, 6), OneOf(3, 5), OneOf("width", "both"), stride=OneOf(1, 2)),
        Repeat(AxialMixing(), Integer(0, 2)), Conv(OneOf(3, 5)), *HEAD,
    ),
    "towers": (
        ChannelTower(
            (Conv(OneOf(3, 4)), OneOf(Skip(), Coordinates()), Conv(OneOf(4, 5)), GlobalPool()),
            OneOf("sum", "product", "concat"), OneOf(0, 4, 6),
        ), Linear(),
    ),
    "a user's own": (
        Stage((Conv(OneOf(2, 4)), Ramp()), OneOf(4, 8), OneOf("relu", "tanh"), stride=OneOf(1, 2)),
        Ramp(), *HEAD,
    ),
}  # fmt: skip
COLUMNS: Network = (
    Columns(
        numeric=OneOf({"raw": Skip(), "waves": Periodic(OneOf(2, 4), Integer(3, 6))}),
        categorical=OneOf({"hot": OneHot(), "learnt": Embedding(Integer(2, 5))}),
    ),
    Linear(OneOf(8, 16), "batch", "relu"), Linear(),
)  # fmt: skip


def space_of(network: Network) -> Space[dict[str, Any]]:
    return Space({"network": network})


def weights(network: Network, seed: int = 0, shape: Shape = IMAGE, **given: Any) -> SharedWeights:
    torch.manual_seed(seed)
    return SharedWeights(network, shape, outputs=5, **given)


def rows(n: int = 6) -> Tensor:
    return torch.randn(n, *IMAGE, generator=torch.Generator().manual_seed(1))


def candidates(network: Network, shared: SharedWeights, n: int = 25) -> list[Candidate]:
    """Draw feasible candidates; check that `build` refuses all others."""
    space, rng = space_of(network), np.random.default_rng(0)
    feasible = []
    for candidate in (space.sample(rng) for _ in range(n)):
        if shared.is_feasible(candidate):
            feasible.append(candidate)
            continue
        with pytest.raises(InfeasibleCandidate):
            build(space.fill(candidate)["network"], shared.input_shape, outputs=5)
    assert len(feasible) >= n // 3
    return feasible


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def assert_equivalent(
    shared: SharedWeights, candidate: Candidate, standalone: nn.Module, x: Tensor
) -> None:
    """Compare outputs, statistics and gradients, in training and in evaluation mode."""
    shared.inherit(candidate, standalone)
    for training in (True, False):
        shared.train(training)
        standalone.train(training)
        shared.zero_grad()
        standalone.zero_grad()
        outs = []
        for run in (lambda: shared(x, candidate), lambda: standalone(x)):
            torch.manual_seed(0)  # dropout
            outs.append(run())
            outs[-1].square().sum().backward()
        assert torch.allclose(*outs, atol=1e-6)
        slices = shared.tensors(candidate)
        for name, buffer in standalone.named_buffers():
            assert torch.allclose(slices[name], buffer, atol=1e-6), name
    gradients = deepcopy(shared)
    with torch.no_grad():
        for gradient, weight in zip(gradients.parameters(), shared.parameters(), strict=True):
            gradient.copy_(torch.zeros_like(gradient) if weight.grad is None else weight.grad)
    slice_gradients = {
        name: tensor.detach() for name, tensor in gradients.tensors(candidate).items()
    }
    for name, weight in standalone.named_parameters():
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        assert torch.allclose(slice_gradients[name], expected, rtol=1e-4, atol=1e-4), name
    inside = sum(
        float(slice_gradients[name].abs().sum()) for name, _ in standalone.named_parameters()
    )
    total = sum(float(parameter.detach().abs().sum()) for parameter in gradients.parameters())
    assert total == pytest.approx(inside, rel=1e-4)  # none outside of the slices


@pytest.mark.parametrize("name", SPACES)
def test_candidate_on_slices_equals_its_built_network(name: str) -> None:
    network = SPACES[name]
    shared, space = weights(network), space_of(network)
    for candidate in candidates(network, shared, 12):
        standalone = build(space.fill(candidate)["network"], IMAGE, outputs=5)
        assert_equivalent(shared, candidate, standalone, rows())


def test_candidate_on_slices_equals_its_built_network_for_tables() -> None:
    given = {"cardinalities": (4, 3)}
    shared, space = weights(COLUMNS, shape=(5,), **given), space_of(COLUMNS)
    x = torch.cat([torch.randn(6, 3), torch.randint(0, 3, (6, 2)).float()], 1)
    rng = np.random.default_rng(0)
    for candidate in (space.sample(rng) for _ in range(25)):
        standalone = build(space.fill(candidate)["network"], (5,), outputs=5, **given)
        assert_equivalent(shared, candidate, standalone, x)


def test_number_of_weights_is_that_of_the_largest_network() -> None:
    def n(width: int, kernel: int, expand: int, times: int, features: int) -> int:
        row = (Conv(width, kernel), Repeat(MBConv(expand=expand, kernel=kernel), times=times))
        return parameters(weights((*row, GlobalPool(), Linear(features), Linear())))

    row = (Conv(16, 5), *[MBConv(expand=4, kernel=5)] * 3, GlobalPool(), Linear(32), Linear())
    largest = parameters(build(row, IMAGE, outputs=5))
    assert n(OneOf(8, 16), OneOf(3, 5), OneOf(2, 4), Integer(2, 3), OneOf(8, 32)) == largest
    ranges = (Integer(2, 16), OneOf(1, 3, 5), Integer(2, 4), Integer(0, 3), Integer(1, 32))
    assert n(*ranges) == largest


def test_only_chosen_operations_run() -> None:
    network = SPACES["cells of operations"]
    shared, space = weights(network).eval(), space_of(network)
    for candidate in candidates(network, shared, 9):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            shared(rows(2), candidate)
        alone = costs(space.fill(candidate)["network"], IMAGE, outputs=5)
        assert counter.get_total_flops() == 2 * alone.flops


def test_slices_are_first_channels_and_central_kernel() -> None:
    network = (Conv(6), Conv(OneOf(4, 8), kernel=OneOf(3, 5)), *HEAD)
    shared, space = weights(network), space_of(network)
    small = space.default()
    (whole,) = (
        parameter for parameter in shared.largest.parameters() if parameter.shape == (8, 6, 5, 5)
    )
    assert torch.equal(shared.tensors(small)["1.conv.weight"], whole[:4, :, 1:4, 1:4])


def test_running_statistics_change_in_their_slices_only() -> None:
    network = (Conv(OneOf(4, 8)), *HEAD)
    shared, space = weights(network), space_of(network)
    (mean,) = (buffer for name, buffer in shared.largest.named_buffers() if "running_mean" in name)
    shared(rows(), space.default())
    assert (mean[:4] != 0).all()
    assert (mean[4:] == 0).all()


def test_shallow_network_shares_the_first_layers_of_the_deep() -> None:
    network = (Conv(4), Repeat(Conv(), times=Integer(1, 3)), *HEAD)
    shared, space = weights(network), space_of(network)
    deep, shallow = (shared.tensors(space.fix({"network.1.times": n}).default()) for n in (3, 1))
    shared_names = [name for name in shallow if name.startswith("1.0.")]
    assert all(shallow[name].data_ptr() == deep[name].data_ptr() for name in shared_names)
    assert shared_names


@pytest.mark.parametrize(
    ("layer", "path", "values", "alike"),
    [
        (Conv(4, activation=OneOf("relu", "tanh")), "activation", ("relu", "tanh"), False),
        (Conv(4, normalisation=OneOf("batch", "none")), "normalisation", ("batch", "none"), False),
        (MBConv(expand=Integer(1, 3)), "expand", (1, 2), False),  # a part less
        (MBConv(expand=Integer(1, 3)), "expand", (2, 3), True),
        (MBConv(squeeze=OneOf(0.25, 0.5)), "squeeze", (0.25, 0.5), True),
        (Conv(4, stride=OneOf(1, 2)), "stride", (1, 2), True),
        (Conv(4, dilation=OneOf(1, 2)), "dilation", (1, 2), True),
    ],
)
def test_numbers_share_weights_and_names_do_not(
    layer: Network, path: str, values: tuple[Any, Any], alike: bool
) -> None:
    network = (Conv(3), layer, *HEAD)
    shared, space = weights(network), space_of(network)
    touched = []
    for setting in values:
        shared.zero_grad()
        shared(rows(), space.fix({f"network.1.{path}": setting}).default()).sum().backward()
        touched.append(
            {
                n
                for n, parameter in shared.named_parameters()
                if parameter.grad is not None and n[8] == "1"
            }
        )
    assert all(touched)
    assert (touched[0] == touched[1]) if alike else not (touched[0] & touched[1])


def test_attention_and_recurrent_blocks_are_sliced_separately() -> None:
    network = (Conv(OneOf(4, 8)), SelfAttention(2), *HEAD)
    shared = weights(network)
    (qkv,) = (parameter for parameter in shared.parameters() if parameter.shape == (24, 8))
    weight = shared.tensors(space_of(network).default())["1.qkv.weight"]
    assert torch.equal(weight, torch.cat([qkv[i : i + 4, :4] for i in (0, 8, 16)]))
    network = (ImageRows(), Recurrent(OneOf(4, 6)), *HEAD)
    shared = weights(network)
    (gates,) = (parameter for parameter in shared.parameters() if parameter.shape == (18, 6))
    weight = shared.tensors(space_of(network).default())["1.cell.weight_hh_l0"]
    assert torch.equal(weight, torch.cat([gates[i : i + 4, :4] for i in (0, 6, 12)]))


def test_shortcut_missing_in_the_widest_network_has_weights() -> None:
    network = (Conv(OneOf(4, 8)), Residual(Conv(OneOf(4, 8))), *HEAD)
    shared, space = weights(network), space_of(network)
    wide, narrowing = (
        space.fix({"network.0.channels": 8, "network.1.body.channels": n}).default() for n in (8, 4)
    )
    assert not any("shortcut" in name for name in shared.tensors(wide))
    weight = shared.tensors(narrowing)["1.parts.shortcut.conv.weight"]
    assert weight.shape == (4, 8, 1, 1)
    (whole,) = (parameter for parameter in shared.parameters() if parameter.shape == (8, 8, 1, 1))
    assert float(whole.detach().abs().min()) > 0  # drawn, and not what is left over


def test_constant_buffer_that_is_no_slice_is_the_candidates() -> None:
    network = (Conv(OneOf(2, 4)), Ramp(), *HEAD)
    shared, space = weights(network), space_of(network)
    for width in (2, 4):
        candidate = space.fix({"network.0.channels": width}).default()
        assert torch.equal(shared.tensors(candidate)["1.ramp"], torch.linspace(-1, 1, width))


def test_layer_weights_do_not_depend_on_its_body() -> None:
    network = (Stage(Residual(Conv(8)), OneOf(4, 8)), *HEAD)  # a shortcut in one of both
    shared = weights(network)
    assert sum(parameter.shape[1:] == (3, 3, 3) for parameter in shared.parameters()) == 1


def test_replaced_buffers_are_written_back() -> None:
    network = (Conv(OneOf(2, 4)), Ramp(), *HEAD)
    shared = weights(network)
    for _ in range(2):
        shared(rows(), space_of(network).default())
    (seen,) = (buffer for name, buffer in shared.named_buffers() if name.endswith("seen"))
    assert seen.tolist() == [2, 2, 0, 0]


@dataclass(frozen=True)
class Hump(Leaf):
    """A layer that is widest in the middle of its range."""

    at: int = 1

    def build(self, shape: Shape) -> nn.Module:
        return nn.Sequential(nn.Conv2d(shape[0], 30 - abs(self.at - 25), 1), nn.ReLU())


def test_tensor_larger_than_the_largest_is_refused_with_path() -> None:
    network = (Conv(4), OneOf({"hump": Hump(Integer(1, 50)), "skip": Skip()}), *HEAD)
    shared, space = weights(network), space_of(network)
    shared(rows(), space.fix({"network.1": "hump", "network.1.hump.at": 50}).default())
    middle = space.fix({"network.1": "hump", "network.1.hump.at": 25}).default()
    sentence = (
        r"weights of Hump at network.1.hump must be slices of the largest .* got 0.weight \(30"
    )
    with pytest.raises(InvalidCandidate, match=sentence) as refused:
        shared(rows(), middle)
    assert refused.value.path == "network.1.hump"


@dataclass(frozen=True)
class Scissors(Leaf):
    """A layer of which one tensor shrinks where the other grows."""

    cut: int = 1

    def build(self, shape: Shape) -> nn.Module:
        module = nn.Sequential(nn.Conv2d(shape[0], self.cut, 1), nn.Conv2d(self.cut, shape[0], 1))
        module.register_parameter("rest", nn.Parameter(torch.ones(9 - self.cut)))
        return module


def test_largest_tensors_of_several_layers_are_combined() -> None:
    network = (Conv(4), Scissors(OneOf(2, 8, 5)), *HEAD)
    shared, space = weights(network), space_of(network)
    tensors = {
        name.rpartition(":")[2]: parameter
        for name, parameter in shared.named_parameters()
        if ":rest" in name
    }
    assert tensors["rest"].tolist() == [1] * 7
    (first,) = (parameter for parameter in shared.parameters() if parameter.shape == (8, 4, 1, 1))
    assert (first != 0).all()
    for candidate in (space.fix({"network.1.cut": n}).default() for n in (2, 5, 8)):
        assert_equivalent(
            shared, candidate, build(space.fill(candidate)["network"], IMAGE, outputs=5), rows()
        )


def test_unanalysable_networks_are_refused() -> None:
    cells = [Graph({"1": Node({"in": Conv(kernel=kernel)})}) for kernel in (1, 3)]
    chain = (Chain((OneOf({"one": cells[0], "three": cells[1]}),)), *HEAD)
    with pytest.raises(SpaceError, match=r"Chain must take its parts .* at network.0.cells.0 that"):
        weights(chain)
    stage = Stage(Conv(), OneOf(*range(1, 9)), OneOf(*"abcdefghijklmnopqrstuvwxyz"), OneOf(1, 2, 3))
    with pytest.raises(SpaceError, match=r"layer at network.0 must be of at most 256 variants"):
        weights((stage, *HEAD))
    wide: Network = tuple(Conv(OneOf(*range(4, 12))) for _ in range(4))
    parallel = Graph({"1": Node({"in": wide}), **{
        str(i): Node({"in": wide}) for i in range(2, 6)
    }, "6": Node({str(i): Skip() for i in range(1, 6)}, "concat")})  # fmt: skip
    with pytest.raises(SpaceError, match="parts of Graph must give few shapes"):
        weights((parallel, *HEAD))
    with pytest.raises(InfeasibleCandidate, match="kernel must be odd"):
        weights((Conv(4, kernel=OneOf(2, 4)), *HEAD))


def test_candidate_of_another_network_is_refused() -> None:
    network = (Conv(OneOf(4, 8)), *HEAD)
    shared = weights(network)
    for values, sentence in (
        ({"network.0.channels": 5}, "network.0.channels must be one of 4, 8, got 5"),
        ({}, "network.0.channels must be decided"),
        ({"network.0.channels": 4, "network.0.kernel": 3}, "'network.0.kernel' must be a decision"),
    ):
        with pytest.raises(InvalidCandidate, match=sentence):
            shared(rows(), Candidate(values))  # type: ignore[arg-type]  # values
    narrow = space_of(network).default()
    with pytest.raises(
        InputError, match=r"0.conv.weight of the module must be of shape \(4, 3, 3, 3"
    ):
        shared.inherit(narrow, build((Conv(8), *HEAD), IMAGE, outputs=5))


def test_decisions_outside_the_network_are_ignored() -> None:
    network = (Conv(OneOf(4, 8)), *HEAD)
    space = Space({"recipe": Training(network, lr=Float(1e-3, 1e-1))})
    torch.manual_seed(0)
    shared = SharedWeights(network, IMAGE, "recipe.network", outputs=5)
    candidate = space.default()
    standalone = build(space.fill(candidate)["recipe"].network, IMAGE, outputs=5)
    shared.inherit(candidate, standalone)
    assert torch.equal(shared(rows(), candidate), standalone(rows()))


def test_seed_determines_weights_and_running_draws_nothing() -> None:
    network = SPACES["blocks"]
    first, second = weights(network).eval(), weights(network).eval()
    assert not torch.equal(next(first.parameters()), next(weights(network, 1).parameters()))
    feasible = candidates(network, first)
    before = torch.random.get_rng_state()
    outs = [first(rows(), candidate) for candidate in feasible]
    first.build_standalone(feasible[0])
    assert torch.equal(before, torch.random.get_rng_state())
    again = [second(rows(), candidate) for candidate in reversed(feasible)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(outs, again, strict=True))


def test_pickle_leaves_out_caches() -> None:
    network = SPACES["blocks"]
    shared = weights(network).eval()
    feasible = candidates(network, shared)
    size = len(pickle.dumps(weights(network)))
    again = pickle.loads(pickle.dumps(shared))
    assert len(pickle.dumps(shared)) == pytest.approx(size, rel=0.01)
    assert all(
        torch.equal(shared(rows(), candidate), again(rows(), candidate)) for candidate in feasible
    )


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_CACHED_SUBNETWORKS", 3)
    monkeypatch.setattr(sharing, "_CACHED_LEAVES", 5)
    network = SPACES["blocks"]
    shared, fresh = weights(network).eval(), weights(network).eval()
    for candidate in candidates(network, shared):
        shared(rows(), candidate)
        assert len(shared._subnetworks._entries) <= 3
        assert len(shared._leaves._entries) <= 5
        fresh._clear_caches()
        assert torch.equal(shared(rows(), candidate), fresh(rows(), candidate))


def test_recalibrated_statistics_are_means_over_the_batches() -> None:
    network = (Conv(OneOf(4, 8)), Dropout(0.5), Conv(3), *HEAD)
    shared, space = weights(network), space_of(network)
    for width in (8, 4):
        shared(10 * rows() + 5, space.fix({"network.0.channels": width}).default())
    before = {name: tensor.clone() for name, tensor in shared.state_dict().items()}
    batches = [rows()[:3], rows()[3:] + 1, 2 * rows()[:3]]
    module = recalibrate_batch_norm(shared, space.default(), batches)
    seen = [module[0].conv(batch) for batch in batches]
    mean = torch.stack([output.mean((0, 2, 3)) for output in seen]).mean(0)
    variance = torch.stack([output.var((0, 2, 3)) for output in seen]).mean(0)
    assert torch.allclose(module[0].norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(module[0].norm.running_var, variance, atol=1e-6)
    once = recalibrate_batch_norm(shared, space.default(), batches[:1])
    reaches = once[2].conv(by_the_batch(once[0], batches[0]))  # nothing is dropped on the way
    assert torch.allclose(once[2].norm.running_mean, reaches.mean((0, 2, 3)), atol=1e-5)
    assert not module.training
    assert module[0].norm.momentum == 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in shared.state_dict().items())


def by_the_batch(conv: nn.Module, batch: Tensor) -> Tensor:
    """Return the output of a convolution with batch statistics."""
    x: Tensor = conv.conv(batch)  # type: ignore[operator]  # a module
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    norm: Any = conv.norm
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    return torch.relu((x - mean) / (variance + norm.eps).sqrt() * scale + shift)
