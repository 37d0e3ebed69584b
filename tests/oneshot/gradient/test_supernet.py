"""A supernet under the weights of one candidate is that candidate's network, for every construct."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.errors import InputError, InvalidCandidate, SpaceError
from netwright.networks.build import build
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Activation, Dropout, GlobalPool, Pool, Skip
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.cells import darts, nas_bench_201
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
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


def rows(number: int = 6) -> Tensor:
    return torch.randn(number, *IMAGE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("training", [True, False])
def test_under_one_hot_weights_it_is_the_candidates_network(name: str, training: bool) -> None:
    network = SPACES[name]
    space, ours = space_of(network), supernet(network)
    rng = np.random.default_rng(0)
    with torch.no_grad():  # statistics of running batches are weights too
        ours.train()(rows(), {p: torch.ones(n) / n for p, n in ours.options.items()})
    for _ in range(12):
        candidate = space.sample(rng)
        try:
            theirs = build(space.fill(candidate)["network"], IMAGE, outputs=5)
        except Exception as error:
            assert "live route" in str(error)  # noqa: PT017  # some cells are dead
            continue
        ours.inherit(candidate, theirs)
        ours.train(training)
        theirs.train(training)
        with torch.no_grad():
            said = ours(rows(), ours.one_hot(candidate))
            assert torch.allclose(said, theirs(rows()), atol=1e-5)


def test_every_choice_that_can_be_mixed_has_weights() -> None:
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


def test_a_mixture_is_the_sum_of_the_options_by_weight() -> None:
    network = (OneOf({"a": Conv(3, kernel=1), "b": Conv(3), "c": Skip()}), GlobalPool(), Linear())
    ours = supernet(network)
    ours.eval()
    parts = ours.module[0].parts
    weights = torch.tensor([0.2, 0.3, 0.5])
    x = rows()
    mixed = sum(w * parts[str(i)](x) for i, w in enumerate(weights))
    wanted = ours.module[2](ours.module[1](mixed))
    assert torch.allclose(ours(x, {"network.0": weights}), wanted, atol=1e-6)


def test_weights_have_gradients_and_those_of_0_are_not_run() -> None:
    ours = supernet(SPACES["cell"])
    alpha = {p: torch.zeros(n, requires_grad=True) for p, n in ours.options.items()}
    ours(rows(), {p: a.softmax(0) for p, a in alpha.items()}).square().sum().backward()
    assert all(a.grad is not None and a.grad.abs().sum() > 0 for a in alpha.values())

    ran: list[nn.Module] = []
    for one in ours.modules():
        if isinstance(one, nn.Conv2d):
            one.register_forward_hook(lambda module, *_: ran.append(module))
    space = space_of(SPACES["cell"])
    skips = space.fix(dict.fromkeys(ours.options, "skip_connect")).default()
    ours(rows(), ours.one_hot(skips))
    outside = 1 + 3 + 3  # stem, and a shortcut and two convolutions in each of two reductions
    assert len(ran) == outside


def test_what_cannot_be_mixed_is_held_with_its_reason() -> None:
    network = (
        Conv(OneOf(4, 8), kernel=OneOf(1, 3)), Conv(8, stride=OneOf({"no": 1, "yes": 2})),
        Dropout(Float(0.1, 0.5)), GlobalPool(), Linear(),
    )  # fmt: skip
    ours = supernet(network)
    assert ours.options == {"network.0.kernel": 2}
    assert {"network.0.channels", "network.1.stride", "network.2.p"} == set(ours.held)
    assert "one shape, got (4, 8, 8) and (8, 8, 8)" in ours.held["network.0.channels"]
    space = space_of(network)
    ours.one_hot(space.default())
    wide = space.fix({"network.0.channels": 8}).default()
    with pytest.raises(InvalidCandidate, match=r"network.0.channels must be 4 here, got 8"):
        ours.one_hot(wide)


def test_inputs_put_side_by_side_are_held() -> None:
    node = Node(SubsetOf({"in": Skip(), "1": Skip()}, min_size=1), "concat", Conv(4))
    network = (Graph({"1": Node({"in": BLOCK}), "2": node}), GlobalPool(), Linear())
    ours = supernet(network)
    assert "side by side" in ours.held["network.0.2"]
    assert "network.0.1.in" in ours.options


def test_a_layer_of_many_variants_keeps_the_first_decisions_open() -> None:
    layer = MBConv(kernel=OneOf(3, 5, 7), expand=Integer(1, 5), squeeze=OneOf(0.0, 0.25, 0.5))
    ours = supernet((Conv(4), layer, GlobalPool(), Linear()))
    assert set(ours.options) == {"network.1.expand", "network.1.kernel"}
    assert "more than 16" in ours.held["network.1.squeeze"]


def test_without_a_choice_to_mix_there_is_no_supernet() -> None:
    with pytest.raises(SpaceError, match=r"open in a choice that can be mixed, got .*network.0.p"):
        supernet((Dropout(Float(0.0, 0.5)), GlobalPool(), Linear()))


def test_weights_that_are_all_0_are_refused() -> None:
    ours = supernet(SPACES["optional"])
    with pytest.raises(InputError, match=r"must not all be 0, got that for network.1"):
        ours(rows(), {"network.1": torch.zeros(2)})


def test_two_supernets_of_one_network_do_not_share_their_weights() -> None:
    """Layers are remembered by value: what they hold must not be."""
    a, b = supernet(SPACES["optional"], 0), supernet(SPACES["optional"], 0)
    one, two = {"network.1": torch.tensor([1.0, 0.0])}, {"network.1": torch.tensor([0.0, 1.0])}
    first = a(rows(), one)
    b(rows(), two)
    assert torch.equal(a(rows(), one), first)
    assert not torch.allclose(a(rows(), two), first)


def test_what_one_of_its_places_cannot_mix_is_held_in_all() -> None:
    """One decision for two nodes, of which one puts its inputs side by side."""
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
    ours = supernet(network)
    assert "pick" in ours.held
    assert "pick" not in ours.options
    space = space_of(network)
    candidate = space.fix({"pick": ("in",)}).default()
    theirs = build(space.fill(candidate)["network"], IMAGE, outputs=5)
    ours.inherit(candidate, theirs)
    with torch.no_grad():
        assert torch.allclose(ours(rows(), ours.one_hot(candidate)), theirs(rows()), atol=1e-5)


def test_weights_that_do_not_fit_are_refused_in_a_sentence() -> None:
    ours = supernet(SPACES["optional"])
    for weights, sentence in (
        ({"network.2": torch.ones(2)}, r"decisions that are mixed, got 'network.2'. Did you mean"),
        ({"network.1": torch.ones(3)}, r"weights of network.1 must be of shape \(2,\), got \(3,\)"),
    ):
        with pytest.raises(InputError, match=sentence):
            ours(rows(), weights)
    nested = supernet(SPACES["nested"])
    with pytest.raises(InputError, match=r"weights must be given for network.1.a, got"):
        nested(rows(), {"network.1": torch.tensor([1.0, 0.0])})


def test_a_dead_candidate_is_known_as_one() -> None:
    ours, space = supernet(SPACES["cell"]), space_of(SPACES["cell"])
    assert not ours.is_feasible(space.default())  # none everywhere
    through = space.fix(dict.fromkeys(ours.options, "skip_connect")).default()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    assert ours.is_feasible(through)
    assert ours.training
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())


def test_edges_that_pool_or_rectify_the_same_tensor_share_one_run_of_it() -> None:
    network = nas_bench_201(channels=4, cells=1)
    ours = supernet(network).train()
    weights = {path: w.requires_grad_() for path, w in ours.uniform_weights().items()}
    runs: list[nn.Module] = []
    hooks = [
        one.register_forward_hook(lambda module, *_: runs.append(module))
        for one in ours.modules() if isinstance(one, nn.AvgPool2d) and one.kernel_size == 3
    ]  # fmt: skip
    found = ours(rows(), weights)
    assert len(runs) == 3 * 3  # a cell has six edges, which leave three nodes
    gradients = torch.autograd.grad(found.square().sum(), [*weights.values()])
    runs.clear()
    ours._current.sharing = False
    apart = ours(rows(), weights)
    assert len(runs) == 6 * 3
    others = torch.autograd.grad(apart.square().sum(), [*weights.values()])
    torch.testing.assert_close(found, apart)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    for hook in hooks:
        hook.remove()


class Reference(nn.Module):
    """The channel sampling of PC-DARTS, written out."""

    def __init__(self, body: nn.Module, share: int) -> None:
        super().__init__()
        self.body, self.share = body, share

    def forward(self, x: Tensor) -> Tensor:
        part = x.shape[1] // self.share
        both = torch.cat([self.body(x[:, :part]), x[:, part:]], 1)
        groups = both.reshape(len(x), self.share, -1, *x.shape[2:])
        return torch.stack([groups[:, g] for g in range(self.share)], 2).flatten(1, 2)


def test_partial_channels_go_through_the_mixture_and_the_rest_past_it() -> None:
    network = (Conv(8), BLOCK, GlobalPool(), Linear())
    torch.manual_seed(0)
    ours = Supernet(network, IMAGE, channel_divisor=4, outputs=5).eval()
    weights = ours.uniform_weights()
    partial: Any = ours.module[1]  # type: ignore[index]
    assert {p.shape[0] for p in partial.parameters()} == {2}  # of 8 channels
    seen: list[tuple[Tensor, Tensor]] = []
    hook = partial.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    ours(rows(), weights)
    ((x, out),) = seen
    with ours.with_weights(weights):
        torch.testing.assert_close(out, Reference(partial.parts["body"], 4)(x))
    hook.remove()
    with pytest.raises(InputError, match="weights must be of whole channels to be inherited"):
        ours.inherit(space_of(network).default(), nn.Identity())


def test_partial_channels_weigh_edges_and_leave_alone_what_changes_the_channels() -> None:
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


def test_without_affine_only_the_weights_say_how_much_there_is_of_an_option() -> None:
    network = (Conv(4), BLOCK, GlobalPool(), Linear())
    ours = Supernet(network, IMAGE, affine=False, outputs=5)
    stem, mixed = ours.module[0], ours.module[1]  # type: ignore[index]
    assert all(p.requires_grad for p in stem.parameters())
    scales = [p for p in mixed.parameters() if p.dim() == 1]
    assert scales
    assert not any(p.requires_grad for p in scales)
    assert all(p.requires_grad for p in mixed.parameters() if p.dim() > 1)
