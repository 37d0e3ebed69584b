import pytest

from netwright.networks.build import build
from netwright.networks.interfaces.layer import BuiltNetwork, Network
from netwright.networks.interfaces.morphism_rules import is_neutral, is_positive
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.basic import Activation, Dropout, GlobalPool, Norm, Pool, Skip
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.morphism.module_tree import opened, paired

SHAPE = (3, 8, 8)


def part(network: Network, shape: Shape = SHAPE) -> BuiltNetwork:
    return opened(network, build(network, shape), shape)


def test_parts_have_the_modules_shapes_and_positions_of_the_builder() -> None:
    net = (Conv(8, stride=2), Residual((Conv(16), Conv())), GlobalPool(), Linear(5))
    found = part(net)
    inner = found.parts["1"].parts["body"].parts["0"]
    assert inner.position == "1.body.0"
    assert (inner.input_shape, inner.output_shape) == ((8, 4, 4), (16, 4, 4))
    assert inner.module is found.module[1].parts["body"][0]  # type: ignore[index]  # a Sequential
    assert found.parts["1"].parts["shortcut"].network == Conv(16, 1, activation="none")
    assert found.output_shape == (5,)


def names(old: tuple[Network, ...], new: tuple[Network, ...]) -> list[tuple[str, str]]:
    return [
        (a.position if a else "", b.position if b else "") for a, b in paired(part(old), part(new))
    ]


def test_rows_are_paired_from_both_ends() -> None:
    a, b, c = Conv(4), Pool(), Conv(4, 1)
    assert names((a, b), (a, c, b)) == [("0", "0"), ("", "1"), ("1", "2")]
    assert names((a, c, b), (a, b)) == [("0", "0"), ("1", ""), ("2", "1")]
    assert names((a, b, c), (a, Conv(4, 5), c)) == [("0", "0"), ("1", "1"), ("2", "2")]
    assert names((a,), (a, a, a)) == [("0", "0"), ("", "1"), ("", "2")]
    assert names((), (a,)) == [("", "0")]


def test_a_layer_is_a_row_of_one() -> None:
    assert [(a is None, b is None) for a, b in paired(part(Pool()), part((Pool(), Pool())))] == [
        (False, False), (True, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "network",
    [
        Skip(), (), Dropout(0.5), Norm("none"), Activation("none"), (Skip(), Dropout()),
        Activation("relu"), Activation("leaky_relu"),
    ],
    ids=str,
)  # fmt: skip
def test_what_hands_on_what_is_not_below_0(network: Network) -> None:
    assert is_neutral(network, positive=True)


@pytest.mark.parametrize("network", [Activation("relu"), Norm("batch"), Pool(), Conv(4)], ids=str)
def test_what_does_not_hand_on_anything_at_all(network: Network) -> None:
    assert not is_neutral(network, positive=False)


@pytest.mark.parametrize(
    ("network", "before", "after"),
    [
        (Conv(4), False, True),
        (Conv(4, activation="silu"), True, False),
        (Conv(4, activation="none"), True, False),
        ((Conv(4), Pool(), GlobalPool()), False, True),
        ((Conv(4), Norm()), False, False),
        (Residual(Conv()), True, True),
        (Residual(Conv()), False, False),
        (Residual(Conv(activation="none")), True, False),
        (Residual(Conv(8)), True, False),  # its shortcut may say anything
        (Activation("gelu"), True, True),
        (Activation("gelu"), False, False),
    ],
    ids=str,
)
def test_whether_anything_is_below_0(network: Network, before: bool, after: bool) -> None:
    assert is_positive(part(network), before) is after


def test_relu_is_named_among_the_activations_alone() -> None:
    only: tuple[ActivationName, ...] = ("none", "gelu", "silu", "mish", "hardswish", "selu", "tanh")
    assert not any(is_positive(part(Activation(kind)), before=False) for kind in only)
