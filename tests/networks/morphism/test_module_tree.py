import pytest

from netwright.networks.build import build
from netwright.networks.interfaces.layer import BuiltNetwork, Network
from netwright.networks.interfaces.morphism_rules import is_identity, is_nonnegative
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.basic import Activation, Dropout, GlobalPool, Norm, Pool, Skip
from netwright.networks.layers.blocks import Residual
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.morphism.module_tree import align_sequences, match_modules

SHAPE = (3, 8, 8)


def match(network: Network, shape: Shape = SHAPE) -> BuiltNetwork:
    return match_modules(network, build(network, shape), shape)


def test_parts_have_modules_shapes_and_positions_of_build() -> None:
    network = (Conv(8, stride=2), Residual((Conv(16), Conv())), GlobalPool(), Linear(5))
    built = match(network)
    inner = built.parts["1"].parts["body"].parts["0"]
    assert inner.position == "1.body.0"
    assert (inner.input_shape, inner.output_shape) == ((8, 4, 4), (16, 4, 4))
    assert inner.module is built.module[1].parts["body"][0]  # type: ignore[index]  # a Sequential
    assert built.parts["1"].parts["shortcut"].network == Conv(16, 1, activation="none")
    assert built.output_shape == (5,)


def paired_positions(
    parent: tuple[Network, ...], child: tuple[Network, ...]
) -> list[tuple[str, str]]:
    return [
        (old.position if old else "", new.position if new else "")
        for old, new in align_sequences(match(parent), match(child))
    ]


def test_sequences_are_aligned_from_both_ends() -> None:
    a, b, c = Conv(4), Pool(), Conv(4, 1)
    assert paired_positions((a, b), (a, c, b)) == [("0", "0"), ("", "1"), ("1", "2")]
    assert paired_positions((a, c, b), (a, b)) == [("0", "0"), ("1", ""), ("2", "1")]
    assert paired_positions((a, b, c), (a, Conv(4, 5), c)) == [("0", "0"), ("1", "1"), ("2", "2")]
    assert paired_positions((a,), (a, a, a)) == [("0", "0"), ("", "1"), ("", "2")]
    assert paired_positions((), (a,)) == [("", "0")]


def test_a_layer_is_a_sequence_of_one() -> None:
    pairs = align_sequences(match(Pool()), match((Pool(), Pool())))
    assert [(parent is None, child is None) for parent, child in pairs] == [
        (False, False),
        (True, False),
    ]


@pytest.mark.parametrize(
    "network",
    [
        Skip(), (), Dropout(0.5), Norm("none"), Activation("none"), (Skip(), Dropout()),
        Activation("relu"), Activation("leaky_relu"),
    ],
    ids=str,
)  # fmt: skip
def test_identity_on_nonnegative_input(network: Network) -> None:
    assert is_identity(network, nonnegative_input=True)


@pytest.mark.parametrize("network", [Activation("relu"), Norm("batch"), Pool(), Conv(4)], ids=str)
def test_not_the_identity_on_any_input(network: Network) -> None:
    assert not is_identity(network, nonnegative_input=False)


@pytest.mark.parametrize(
    ("network", "nonnegative_input", "nonnegative_output"),
    [
        (Conv(4), False, True),
        (Conv(4, activation="silu"), True, False),
        (Conv(4, activation="none"), True, False),
        ((Conv(4), Pool(), GlobalPool()), False, True),
        ((Conv(4), Norm()), False, False),
        (Residual(Conv()), True, True),
        (Residual(Conv()), False, False),
        (Residual(Conv(activation="none")), True, False),
        (Residual(Conv(8)), True, False),  # its shortcut may output anything
        (Activation("gelu"), True, True),
        (Activation("gelu"), False, False),
    ],
    ids=str,
)
def test_sign_of_the_output(
    network: Network, *, nonnegative_input: bool, nonnegative_output: bool
) -> None:
    nonnegative = is_nonnegative(match(network), nonnegative_input=nonnegative_input)
    assert nonnegative is nonnegative_output


def test_relu_alone_of_activations_makes_output_nonnegative() -> None:
    others: tuple[ActivationName, ...] = (
        "none", "gelu", "silu", "mish", "hardswish", "selu", "tanh",
    )  # fmt: skip
    assert not any(
        is_nonnegative(match(Activation(kind)), nonnegative_input=False) for kind in others
    )
