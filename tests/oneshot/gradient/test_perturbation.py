"""Perturbation keeps the options whose removal costs accuracy, whatever alpha is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from netwright.networks.layers.basic import GlobalPool, Pool, Skip
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer
from netwright.oneshot.gradient.perturbation import decision_order, select_by_perturbation
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.space.choices import OneOf, SubsetOf

OPTIONS = {"pool": Pool("avg"), "conv": Conv(), "skip": Skip()}
NETWORK = (Conv(4), OneOf(OPTIONS), OneOf(OPTIONS), GlobalPool(), Linear())
FIRST, SECOND = "network.1", "network.2"


def make_optimizer(network: object = NETWORK) -> AlternatingOptimizer:
    supernet = Supernet(network, (1, 6, 6), outputs=2)  # type: ignore[arg-type]  # a network
    return AlternatingOptimizer(supernet, DifferentiableNAS(DARTS()), 0)


def rewards_option(option: int) -> object:
    def score_weights(weights: Mapping[str, Tensor]) -> float:
        """Return the mean weight of one option, saturating at 0.1."""
        return sum(min(1.0, float(options[option]) * 10) for options in weights.values()) / len(
            weights
        )

    return score_weights


def test_perturbation_keeps_the_needed_option_whatever_its_alpha() -> None:
    optimizer = make_optimizer()
    with torch.no_grad():
        for alpha in optimizer.alpha.values():
            alpha.copy_(torch.tensor([0.0, -1.0, 2.0]))  # DARTS would take the skip
    scores = select_by_perturbation(optimizer, rewards_option(1), [SECOND, FIRST], lambda: None)  # type: ignore[arg-type]
    assert [max(range(3), key=option_scores.__getitem__) for option_scores in scores.values()] == [
        1,
        1,
    ]
    assert all(max(option_scores) == 1 for option_scores in scores.values())
    assert optimizer.fixed_weights[FIRST].tolist() == [0, 1, 0]


def test_each_decision_is_tuned_before_the_next() -> None:
    optimizer, asked_weights = make_optimizer(), []

    def score_weights(weights: Mapping[str, Tensor]) -> float:
        asked_weights.append({path: options.tolist() for path, options in weights.items()})
        return 1.0 if float(weights[SECOND][2]) else 0.0

    tuned: list[set[str]] = []
    select_by_perturbation(
        optimizer, score_weights, [SECOND, FIRST], lambda: tuned.append({*optimizer.fixed_weights})
    )
    assert tuned == [{SECOND}, {SECOND, FIRST}]
    for option, weights in enumerate(asked_weights[:3]):
        assert weights[SECOND][option] == 0  # left out
        assert sum(weights[SECOND]) < 0.9  # and nothing takes its place
    assert all(weights[SECOND] == [0, 0, 1] for weights in asked_weights[3:])


def test_out_of_time_leaves_the_remaining_decisions_open() -> None:
    optimizer, asked_weights = make_optimizer(), iter([False] * 4 + [True])
    scores = select_by_perturbation(
        optimizer, rewards_option(1), [SECOND, FIRST], lambda: None, lambda: next(asked_weights)
    )  # type: ignore[arg-type]
    assert [*scores] == [*optimizer.fixed_weights] == [SECOND]


def test_perturbation_keeps_as_many_inputs_as_candidates_have() -> None:
    inputs = {"in": Conv(3), "1": Skip(), "2": Skip()}
    nodes = {"1": Node({"in": Conv(3)}), "2": Node({"in": Skip()})}
    graph = Graph({**nodes, "3": Node(SubsetOf(inputs, min_size=2, max_size=2))})
    optimizer = make_optimizer((Conv(3), graph, GlobalPool(), Linear()))
    (path,) = optimizer.alpha

    def score_weights(weights: Mapping[str, Tensor]) -> float:
        return float(weights[path][0] > 0) + 2 * float(weights[path][2] > 0)

    scores = select_by_perturbation(optimizer, score_weights, [path], lambda: None)
    assert optimizer.fixed_weights[path].tolist() == [1, 0, 1]
    assert scores[path][2] == 1 > scores[path][0] > scores[path][1]


def test_decision_order_is_random_and_skips_forced_decisions() -> None:
    options = {"a": 3, "b": 1, "c": 2, "d": 4, "all": 3}
    n_chosen = {"a": 1, "b": 1, "c": 1, "d": 2, "all": 3}
    orders = {
        tuple(decision_order(options, n_chosen, torch.Generator().manual_seed(seed)))
        for seed in range(20)
    }
    assert len(orders) > 3
    assert all(sorted(order) == ["a", "c", "d"] for order in orders)
