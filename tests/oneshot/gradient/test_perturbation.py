"""Options are kept for what their loss costs, whatever their architecture parameter says."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from netwright.networks.layers.basic import GlobalPool, Pool, Skip
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer
from netwright.oneshot.gradient.perturbation import decisions_to_make, perturbed
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.space.choices import OneOf, SubsetOf

OPTIONS = {"pool": Pool("avg"), "conv": Conv(), "skip": Skip()}
NETWORK = (Conv(4), OneOf(OPTIONS), OneOf(OPTIONS), GlobalPool(), Linear())
FIRST, SECOND = "network.1", "network.2"


def steps_of(network: object = NETWORK) -> AlternatingOptimizer:
    supernet = Supernet(network, (1, 6, 6), outputs=2)  # type: ignore[arg-type]  # a network
    return AlternatingOptimizer(supernet, DifferentiableNAS(DARTS()), 0)


def needs(place: int) -> object:
    def judge(weights: Mapping[str, Tensor]) -> float:
        """As good as there is of one option of each decision."""
        return sum(min(1.0, float(one[place]) * 10) for one in weights.values()) / len(weights)

    return judge


def test_what_is_needed_is_kept_against_its_parameter() -> None:
    steps = steps_of()
    with torch.no_grad():
        for alpha in steps.alpha.values():
            alpha.copy_(torch.tensor([0.0, -1.0, 2.0]))  # DARTS would take the skip
    scores = perturbed(steps, needs(1), [SECOND, FIRST], lambda: None)  # type: ignore[arg-type]
    assert [max(range(3), key=one.__getitem__) for one in scores.values()] == [1, 1]
    assert all(max(one) == 1 for one in scores.values())
    assert steps.fixed[FIRST].tolist() == [0, 1, 0]


def test_each_decision_is_made_and_tuned_before_the_next() -> None:
    steps, asked = steps_of(), []

    def judge(weights: Mapping[str, Tensor]) -> float:
        asked.append({path: one.tolist() for path, one in weights.items()})
        return 1.0 if float(weights[SECOND][2]) else 0.0

    tuned: list[set[str]] = []
    perturbed(steps, judge, [SECOND, FIRST], lambda: tuned.append({*steps.fixed}))
    assert tuned == [{SECOND}, {SECOND, FIRST}]
    for place, weights in enumerate(asked[:3]):
        assert weights[SECOND][place] == 0  # left out
        assert sum(weights[SECOND]) < 0.9  # and nothing takes its place
    assert all(one[SECOND] == [0, 0, 1] for one in asked[3:])


def test_when_it_is_late_what_is_left_is_not_decided() -> None:
    steps, asked = steps_of(), iter([False] * 4 + [True])
    scores = perturbed(steps, needs(1), [SECOND, FIRST], lambda: None, lambda: next(asked))  # type: ignore[arg-type]
    assert [*scores] == [*steps.fixed] == [SECOND]


def test_of_inputs_as_many_are_kept_as_a_candidate_has() -> None:
    inputs = {"in": Conv(3), "1": Skip(), "2": Skip()}
    nodes = {"1": Node({"in": Conv(3)}), "2": Node({"in": Skip()})}
    graph = Graph({**nodes, "3": Node(SubsetOf(inputs, min_size=2, max_size=2))})
    steps = steps_of((Conv(3), graph, GlobalPool(), Linear()))
    (path,) = steps.alpha

    def judge(weights: Mapping[str, Tensor]) -> float:
        return float(weights[path][0] > 0) + 2 * float(weights[path][2] > 0)

    scores = perturbed(steps, judge, [path], lambda: None)
    assert steps.fixed[path].tolist() == [1, 0, 1]
    assert scores[path][2] == 1 > scores[path][0] > scores[path][1]


def test_the_order_is_drawn_and_leaves_out_what_is_decided() -> None:
    options = {"a": 3, "b": 1, "c": 2, "d": 4, "all": 3}
    kept = {"a": 1, "b": 1, "c": 1, "d": 2, "all": 3}
    orders = {
        tuple(decisions_to_make(options, kept, torch.Generator().manual_seed(seed)))
        for seed in range(20)
    }
    assert len(orders) > 3
    assert all(sorted(one) == ["a", "c", "d"] for one in orders)
