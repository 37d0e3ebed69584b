"""Alarms sound on planted failures, and not for faithful shared weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from netwright.networks.layers.basic import GlobalPool, Pool
from netwright.networks.layers.cells import nas_bench_201
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.augmentation.geometry import Flip
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.monitor import (
    MIN_EIGENVALUE,
    Finding,
    discretization_gap,
    eigenvalue_growth,
    find_alarms,
    largest_eigenvalue,
    rank_correlation,
    skip_dominance,
)
from netwright.space.choices import OneOf
from netwright.space.space import Space


def test_ranking_alarm_only_for_shuffled_scores() -> None:
    rng = np.random.default_rng(0)
    heard, missed = 0, 0
    for _ in range(100):
        alone = rng.normal(size=10)
        faithful = alone + 0.3 * rng.normal(size=10)
        missed += not rank_correlation(rng.permutation(faithful).tolist(), alone.tolist()).alarm
        heard += rank_correlation(faithful.tolist(), alone.tolist()).alarm
    assert missed <= 12  # one in twenty is expected
    assert heard <= 3
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).alarm  # equal for all: ranks nothing
    assert rank_correlation([1, 2], [1, 2]).alarm  # two networks prove nothing
    assert "do not select by shared weights" in rank_correlation([3, 2, 1, 0], [0, 1, 2, 3]).message


def test_discretization_gap_alarm_when_half_the_accuracy_is_lost() -> None:
    assert not discretization_gap(0.8, 0.7, 0.1).alarm
    assert discretization_gap(0.8, 0.2, 0.1).alarm
    assert not discretization_gap(0.5, 0.55, 0.1).alarm  # better alone
    assert discretization_gap(0.8, 0.2, 0.1).value == pytest.approx(0.6)


def test_skip_dominance_counts_choices_with_a_skip_option() -> None:
    space = Space(nas_bench_201(channels=4, cells=1))
    paths = [decision.path for decision in space.decisions]

    def with_skips(n_skips: int) -> Finding:
        ops = ["skip_connect"] * n_skips + ["nor_conv_3x3"] * (6 - n_skips)
        finding = skip_dominance(space, space.fix(dict(zip(paths, ops, strict=True))).default())
        assert finding is not None
        return finding

    assert [with_skips(n).value for n in (0, 3, 6)] == [0, 3, 6]
    assert [with_skips(n).alarm for n in (0, 3, 4, 6)] == [False, False, True, True]
    assert "4 of 6" in with_skips(4).message
    recipe = Space({"network": OneOf({"conv": Conv(), "none": ()}),
                    "augment": OneOf({"none": (), "flip": (Flip(),)})})  # fmt: skip
    none = recipe.fix({"network": "none"}).default()
    finding = skip_dominance(recipe, none)
    assert finding is not None
    assert finding.message == "1 of 1 choice is a skip"  # no augmentation is no skip


def test_skip_dominance_is_none_without_a_skip_option() -> None:
    space = Space({"network": OneOf(Conv(8), Conv(16))})
    assert skip_dominance(space, space.default()) is None


def test_eigenvalue_growth_alarm_compares_five_epochs_with_five_before() -> None:
    assert not eigenvalue_growth([0.1] * 9).alarm
    assert not eigenvalue_growth([0.1] * 10).alarm
    assert not eigenvalue_growth([0.3] * 5 + [0.1] * 5).alarm
    risen = eigenvalue_growth([0.1] * 5 + [0.14] * 5)
    assert risen.alarm
    assert risen.value == pytest.approx(1.4)
    assert find_alarms([risen, eigenvalue_growth([])]) == [risen]


def test_growth_of_a_tiny_eigenvalue_is_no_alarm() -> None:
    tiny = eigenvalue_growth([1e-9] * 5 + [1e-6] * 5)
    assert not tiny.alarm
    assert tiny.message.endswith("times that of five epochs before")
    assert not eigenvalue_growth([0.0] * 5 + [MIN_EIGENVALUE * 0.99] * 5).alarm
    assert eigenvalue_growth([0.0] * 5 + [MIN_EIGENVALUE] * 5).alarm


def test_largest_eigenvalue_matches_the_full_hessian() -> None:
    torch.manual_seed(0)
    op = {
        "one": Conv(3, 1, activation="tanh"),
        "three": Conv(3, activation="tanh"),
        "pool": Pool("avg"),
    }
    net = Supernet((OneOf(op), OneOf(op), GlobalPool(), Linear()), (3, 5, 5), outputs=3).double()
    x, y = torch.randn(8, 3, 5, 5, dtype=torch.float64), torch.randint(0, 3, (8,))
    alphas = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def loss_of(first: Tensor, second: Tensor) -> Tensor:
        weights = {"network.0": first.softmax(0), "network.1": second.softmax(0)}
        return torch.nn.functional.cross_entropy(net(x, weights), y)

    blocks = torch.autograd.functional.hessian(loss_of, tuple(alphas))
    hessian = torch.cat([torch.cat([*row], 1) for row in blocks])
    values = torch.linalg.eigvalsh(hessian)
    largest = float(values[values.abs().argmax()])
    eigenvalue = largest_eigenvalue(
        lambda: loss_of(*alphas),
        alphas,
        torch.Generator().manual_seed(0),
        steps=200,
        tolerance=1e-7,
    )
    assert eigenvalue == pytest.approx(largest, rel=1e-2)
    flat = largest_eigenvalue(
        lambda: (alphas[0] ** 2).sum() * 0, alphas[:1], torch.Generator().manual_seed(0)
    )
    assert flat == 0


def test_eigenvalue_ignores_parameters_the_loss_does_not_depend_on() -> None:
    used, idle = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))

    def value(loss: Tensor) -> float:
        return largest_eigenvalue(lambda: loss, [used, idle], torch.Generator().manual_seed(0))

    assert value((3 * used**2).sum()) == pytest.approx(6, rel=1e-3)
    assert value(used.sum()) == 0  # no slope changes with anything
