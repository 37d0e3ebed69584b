"""A supernet under one-hot weights computes the candidate's network, for every construct."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InputError, InvalidCandidate, SpaceError
from netwright.networks.build import build
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.axial import AxialConv, AxialMixing
from netwright.networks.layers.basic import Activation, Dropout, GlobalPool, Pool, Skip
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.cells import darts, nas_bench_201
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.downsampling import Downsample
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.image_heads import AttentionPool
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.views import Coordinates, OneHotPixels
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, ImageAttention, PreActivation
from netwright.oneshot.gradient.supernet import Supernet
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared, SubsetOf
from netwright.space.space import Space

IMAGE = (3, 8, 8)
BLOCK: Network = OneOf({"conv": Conv(), "res": Residual(Conv(kernel=OneOf(1, 3))), "skip": Skip()})
SPACES: dict[str, Network] = {
    "cell": nas_bench_201(channels=4, cells=2),
    "subsets": darts(channels=2, cells=3),
    "values": (
        Conv(4, kernel=OneOf(1, 3, 5), activation=OneOf("relu", "tanh")),
        MBConv(expand=Integer(1, 3), squeeze=OneOf(0.0, 0.5)), GlobalPool(), Linear(),
    ),
    "depth": (Conv(4), Repeat(BLOCK, times=Integer(1, 3)), GlobalPool(), Linear()),
    "no depth": (Conv(4), Repeat(BLOCK, times=OneOf(0, 2), same=True), GlobalPool(), Linear()),
    "shared": (
        Conv(4), Shared(BLOCK, "block"), Pool(kernel=2, stride=2, padding=0),
        Shared(BLOCK, "block"), Conv(activation=Shared(OneOf("relu", "elu"), "act")),
        Conv(activation=Shared(OneOf("relu", "elu"), "act")), GlobalPool(), Linear(),
    ),
    "optional": (Conv(4), OneOf({"none": (), "two": (Conv(), Activation())}), GlobalPool(), Linear()),
    "nested": (
        Conv(4),
        OneOf({"a": OneOf({"b": Conv(kernel=1), "c": Pool()}), "d": Repeat(BLOCK, times=2)}),
        GlobalPool(), Linear(),
    ),
    "families of image blocks": (
        Conv(4, stride=2),
        OneOf({
            "pre": PreActivation(kernel=OneOf(3, 5)), "next": ConvNeXtBlock(expand=Integer(1, 3)),
            "attention": ImageAttention(OneOf(1, 2)),
        }),
        Downsample(8, OneOf("conv", "max", "avg", "blur")),
        OneOf({"attention": AttentionPool(), "mean": GlobalPool()}), Linear(),
    ),
    "axes": (
        Conv(4), OneOf(AxialConv(axis=OneOf("width", "both")), AxialMixing(), Skip()), GlobalPool(),
        Linear(),
    ),
    "tower": (
        OneHotPixels(4), ChannelTower((Conv(4), BLOCK, GlobalPool()), OneOf("sum", "concat")), Linear(),
    ),
    "then": (
        Graph({
            "1": Node(SubsetOf({"in": OneOf(Conv(3), Pool())}, min_size=1), then=BLOCK),
            "2": Node(SubsetOf({"in": Skip(), "1": Conv(3)}, min_size=1)),
        }),
        GlobalPool(), Linear(),
    ),
}  # fmt: skip


def space_of(network: Network) -> Space[dict[str, Any]]:
    return Space({"network": network})


def supernet(network: Network, seed: int = 0) -> Supernet:
    torch.manual_seed(seed)
    return Supernet(network, IMAGE, outputs=5)


def rows(n_rows: int = 6) -> Tensor:
    return torch.randn(n_rows, *IMAGE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("training", [True, False])
def test_one_hot_weights_compute_the_candidates_network(name: str, training: bool) -> None:
    network = SPACES[name]
    space, net = space_of(network), supernet(network)
    rng = np.random.default_rng(0)
    with torch.no_grad():  # statistics of running batches are weights too
        net.train()(rows(), {p: torch.ones(n) / n for p, n in net.options.items()})
    for _ in range(12):
        candidate = space.sample(rng)
        try:
            standalone = build(space.fill(candidate)["network"], IMAGE, outputs=5)
        except Exception as error:
            assert "live route" in str(error)  # noqa: PT017  # some cells are dead
            continue
        net.inherit(candidate, standalone)
        net.train(training)
        standalone.train(training)
        with torch.no_grad():
            output = net(rows(), net.one_hot(candidate))
            assert torch.allclose(output, standalone(rows()), atol=1e-5)


def test_every_mixable_choice_has_weights() -> None:
    cell = supernet(SPACES["cell"])
    assert cell.options == {f"cell.{j}.{i}": 5 for j in (1, 2, 3) for i in range(j)}
    assert not cell.held
    subsets = supernet(SPACES["subsets"])
    assert subsets.options["normal.3"] == 3
    assert subsets.options["normal.3.1"] == 7
    depth = supernet(SPACES["depth"])
    assert depth.options["network.1.times"] == 3
    assert depth.options["network.1.2.res.body.kernel"] == 2
    values = supernet(SPACES["values"])
    assert values.options["network.1.expand"] == 3


def test_mixture_is_the_weighted_sum_of_options() -> None:
    network = (OneOf({"a": Conv(3, kernel=1), "b": Conv(3), "c": Skip()}), GlobalPool(), Linear())
    net = supernet(network)
    net.eval()
    parts = net.module[0].parts
    weights = torch.tensor([0.2, 0.3, 0.5])
    x = rows()
    mixed = sum(w * parts[str(i)](x) for i, w in enumerate(weights))
    expected = net.module[2](net.module[1](mixed))
    assert torch.allclose(net(x, {"network.0": weights}), expected, atol=1e-6)


def test_weights_have_gradients_and_options_of_weight_0_do_not_run() -> None:
    net = supernet(SPACES["cell"])
    alpha = {p: torch.zeros(n, requires_grad=True) for p, n in net.options.items()}
    net(rows(), {p: a.softmax(0) for p, a in alpha.items()}).square().sum().backward()
    assert all(a.grad is not None and a.grad.abs().sum() > 0 for a in alpha.values())

    ran: list[nn.Module] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda conv, *_: ran.append(conv))
    space = space_of(SPACES["cell"])
    skips = space.fix(dict.fromkeys(net.options, "skip_connect")).default()
    net(rows(), net.one_hot(skips))
    outside = 1 + 3 + 3  # stem, and a shortcut and two convolutions in each of two reductions
    assert len(ran) == outside


def test_unmixable_decisions_are_held_with_a_reason() -> None:
    network = (
        Conv(OneOf(4, 8), kernel=OneOf(1, 3)), Conv(8, stride=OneOf({"no": 1, "yes": 2})),
        Dropout(Float(0.1, 0.5)), GlobalPool(), Linear(),
    )  # fmt: skip
    net = supernet(network)
    assert net.options == {"network.0.kernel": 2}
    assert {"network.0.channels", "network.1.stride", "network.2.p"} == set(net.held)
    assert "one output shape, got (4, 8, 8) and (8, 8, 8)" in net.held["network.0.channels"]
    space = space_of(network)
    net.one_hot(space.default())
    wide = space.fix({"network.0.channels": 8}).default()
    with pytest.raises(InvalidCandidate, match=r"network.0.channels must be 4 here, got 8"):
        net.one_hot(wide)


def test_views_that_change_the_channels_are_held() -> None:
    view: Network = OneOf({"pixels": Skip(), "place": Coordinates(), "codes": OneHotPixels(4)})
    net = supernet((view, Conv(4, kernel=OneOf(1, 3)), GlobalPool(), Linear()))
    assert "one output shape, got (3, 8, 8) and (5, 8, 8)" in net.held["network.0"]
    assert net.options == {"network.1.kernel": 2}


def test_concatenated_inputs_are_held() -> None:
    node = Node(SubsetOf({"in": Skip(), "1": Skip()}, min_size=1), "concat", Conv(4))
    network = (Graph({"1": Node({"in": BLOCK}), "2": node}), GlobalPool(), Linear())
    net = supernet(network)
    assert "concatenated inputs" in net.held["network.0.2"]
    assert "network.0.1.in" in net.options


def test_layer_with_many_variants_mixes_its_first_decisions() -> None:
    layer = MBConv(kernel=OneOf(3, 5, 7), expand=Integer(1, 5), squeeze=OneOf(0.0, 0.25, 0.5))
    net = supernet((Conv(4), layer, GlobalPool(), Linear()))
    assert set(net.options) == {"network.1.expand", "network.1.kernel"}
    assert "more than 16" in net.held["network.1.squeeze"]


def test_network_without_mixable_choice_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"open in a choice that can be mixed, got .*network.0.p"):
        supernet((Dropout(Float(0.0, 0.5)), GlobalPool(), Linear()))


def test_all_zero_weights_are_refused() -> None:
    net = supernet(SPACES["optional"])
    with pytest.raises(InputError, match=r"weights of network.1 must not all be 0, got 0 for each"):
        net(rows(), {"network.1": torch.zeros(2)})


def test_two_supernets_of_one_network_are_independent() -> None:
    """Layers are cached by value; the weights that they refer to must not be."""
    a, b = supernet(SPACES["optional"], 0), supernet(SPACES["optional"], 0)
    first_weights, second_weights = (
        {"network.1": torch.tensor([1.0, 0.0])},
        {"network.1": torch.tensor([0.0, 1.0])},
    )
    first_output = a(rows(), first_weights)
    b(rows(), second_weights)
    assert torch.equal(a(rows(), first_weights), first_output)
    assert not torch.allclose(a(rows(), second_weights), first_output)


def test_shared_decision_is_held_if_one_position_cannot_mix_it() -> None:
    """One decision for two nodes, of which one concatenates its inputs."""
    inputs = Shared(SubsetOf({"in": Skip(), "1": Skip()}, min_size=1), "pick")
    network = (
        Graph({
            "1": Node({"in": BLOCK}),
            "2": Node(inputs),
            "3": Node({"2": Skip(), "in": Skip()}, then=BLOCK),
            "4": Node(inputs, "concat"),
            "5": Node({"3": Skip(), "4": Conv(3)}),
        }),
        GlobalPool(), Linear(),
    )  # fmt: skip
    net = supernet(network)
    assert "pick" in net.held
    assert "pick" not in net.options
    space = space_of(network)
    candidate = space.fix({"pick": ("in",)}).default()
    standalone = build(space.fill(candidate)["network"], IMAGE, outputs=5)
    net.inherit(candidate, standalone)
    with torch.no_grad():
        assert torch.allclose(net(rows(), net.one_hot(candidate)), standalone(rows()), atol=1e-5)


def test_weights_of_wrong_path_or_shape_are_refused() -> None:
    net = supernet(SPACES["optional"])
    for weights, sentence in (
        ({"network.2": torch.ones(2)}, r"decisions that are mixed, got 'network.2'. Did you mean"),
        ({"network.1": torch.ones(3)}, r"weights of network.1 must be of shape \(2,\), got \(3,\)"),
    ):
        with pytest.raises(InputError, match=sentence):
            net(rows(), weights)
    nested = supernet(SPACES["nested"])
    with pytest.raises(InputError, match=r"weights must be given for network.1.a, got"):
        nested(rows(), {"network.1": torch.tensor([1.0, 0.0])})


def test_is_feasible_detects_dead_candidates() -> None:
    net, space = supernet(SPACES["cell"]), space_of(SPACES["cell"])
    assert not net.is_feasible(space.default())  # none everywhere
    through = space.fix(dict.fromkeys(net.options, "skip_connect")).default()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert net.is_feasible(through)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_edges_share_pooling_and_activation_of_one_tensor() -> None:
    network = nas_bench_201(channels=4, cells=1)
    net = supernet(network).train()
    weights = {path: w.requires_grad_() for path, w in net.uniform_weights().items()}
    runs: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: runs.append(module))
        for module in net.modules() if isinstance(module, nn.AvgPool2d) and module.kernel_size == 3
    ]  # fmt: skip
    output = net(rows(), weights)
    assert len(runs) == 3 * 3  # a cell has six edges, which leave three nodes
    gradients = torch.autograd.grad(output.square().sum(), [*weights.values()])
    runs.clear()
    net._active.share_outputs = False
    output_apart = net(rows(), weights)
    assert len(runs) == 6 * 3
    others = torch.autograd.grad(output_apart.square().sum(), [*weights.values()])
    torch.testing.assert_close(output, output_apart)
    for gradient, other_gradient in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, other_gradient, rtol=1e-3, atol=1e-4)
    for hook in hooks:
        hook.remove()


class Reference(nn.Module):
    """Reference implementation of the channel sampling of PC-DARTS."""

    def __init__(self, body: nn.Module, share: int) -> None:
        super().__init__()
        self.body, self.share = body, share

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1] // self.share
        both = torch.cat([self.body(x[:, :channels]), x[:, channels:]], 1)
        groups = both.reshape(len(x), self.share, -1, *x.shape[2:])
        return torch.stack([groups[:, g] for g in range(self.share)], 2).flatten(1, 2)


def test_partial_channels_match_a_reference_implementation() -> None:
    network = (Conv(8), BLOCK, GlobalPool(), Linear())
    torch.manual_seed(0)
    net = Supernet(network, IMAGE, channel_divisor=4, outputs=5).eval()
    weights = net.uniform_weights()
    partial: Any = net.module[1]  # type: ignore[index]
    assert {p.shape[0] for p in partial.parameters()} == {2}  # of 8 channels
    seen: list[tuple[Tensor, Tensor]] = []
    hook = partial.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    net(rows(), weights)
    ((x, out),) = seen
    with net.with_weights(weights):
        torch.testing.assert_close(out, Reference(partial.parts["body"], 4)(x))
    hook.remove()
    with pytest.raises(InputError, match="weights must be of all channels to be inherited"):
        net.inherit(space_of(network).default(), nn.Identity())


def test_partial_channels_weigh_edges_and_skip_channel_changing_choices() -> None:
    cell = Supernet(nas_bench_201(channels=8, cells=1), IMAGE, "", channel_divisor=4, outputs=5)
    edges = {path: size for path, size in cell.options.items() if path.endswith("edges")}
    assert {path: cell.n_chosen[path] for path in edges} == edges
    assert sorted(edges.values()) == [2, 3]  # one edge alone needs no weight
    space = Space(nas_bench_201(channels=8, cells=1))
    assert cell.one_hot(space.default()).keys() >= edges.keys()
    even, odd = cell.uniform_weights(), cell.uniform_weights()
    (path, *_) = edges
    odd[path] = torch.tensor([2.0, *[0.0] * (edges[path] - 1)])
    assert not torch.equal(cell.eval()(rows(), even), cell(rows(), odd))
    wide: Network = (Conv(8), OneOf(Conv(16), Conv(16, kernel=1)), GlobalPool(), Linear())
    assert Supernet(wide, IMAGE, channel_divisor=4, outputs=5)(
        rows(), {"network.1": torch.ones(2)}
    ).shape
    halved: Network = (
        Conv(8), OneOf(Conv(stride=2), Pool(stride=2)), GlobalPool(), Linear()
    )  # fmt: skip
    assert Supernet(halved, IMAGE, channel_divisor=4, outputs=5)(
        rows(), {"network.1": torch.ones(2)}
    ).shape


def test_affine_false_fixes_norms_inside_options_only() -> None:
    network = (Conv(4), BLOCK, GlobalPool(), Linear())
    net = Supernet(network, IMAGE, affine=False, outputs=5)
    stem, mixed = net.module[0], net.module[1]  # type: ignore[index]
    assert all(p.requires_grad for p in stem.parameters())
    scales = [p for p in mixed.parameters() if p.dim() == 1]
    assert scales
    assert not any(p.requires_grad for p in scales)
    assert all(p.requires_grad for p in mixed.parameters() if p.dim() > 1)
