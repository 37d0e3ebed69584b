"""Candidates by the scores of their options, best first."""

from __future__ import annotations

import itertools
import math

import numpy as np

from netwright.oneshot.gradient.discretize import discretize
from netwright.space.choices import Float, Integer, OneOf, Repeat, SubsetOf
from netwright.space.space import Space

SCORES = {"0": [0.1, 0.7, 0.2], "1": [0.45, 0.55], "2": [0.3, 0.3, 0.4]}
SPACE = Space((OneOf("a", "b", "c"), OneOf("x", "y"), OneOf(1, 2, 3)))


def test_candidates_are_sorted_by_loss() -> None:
    candidates = discretize(SPACE, SCORES, 18)
    assert len(candidates) == len(set(candidates)) == 18
    places = [("a", "b", "c"), ("x", "y"), (1, 2, 3)]
    by_hand = sorted(
        itertools.product(*map(range, (3, 2, 3))),
        key=lambda at: -sum(math.log(SCORES[str(i)][option]) for i, option in enumerate(at)),
    )
    for candidate, at in zip(candidates[:4], by_hand, strict=False):
        assert [*candidate.values.values()] == [places[i][p] for i, p in enumerate(at)]


def test_first_candidate_is_the_argmax() -> None:
    rng = np.random.default_rng(0)
    space = Space(
        OneOf({"deep": Repeat(OneOf("a", "b"), times=Integer(1, 3)), "flat": OneOf("p", "q", "r")})
    )
    for _ in range(20):
        scores = {
            decision.path: rng.dirichlet(np.ones(len(decision.values))).tolist()
            for decision in space.decisions
        }
        assert discretize(space, scores, 1) == [space.argmax(scores)]


def test_deeper_candidates_lose_nothing_by_more_decisions() -> None:
    space = Space(Repeat(OneOf("a", "b"), times=Integer(1, 3)))
    even = {f"{i}": [0.5, 0.5] for i in range(3)}
    (best,) = discretize(space, {"times": [0.3, 0.3, 0.4], **even}, 1)
    assert best.values["times"] == 3


def test_subsets_have_the_best_members() -> None:
    space = Space(SubsetOf("a", "b", "c", min_size=1, max_size=2))
    candidates = [candidate.values[""] for candidate in discretize(space, {"": [0.6, 0.1, 0.3]}, 3)]
    assert candidates == [("a",), ("a", "c"), ("c",)]
    exactly = Space(SubsetOf("a", "b", "c", min_size=2, max_size=2))
    assert [
        candidate.values[""] for candidate in discretize(exactly, {"": [0.6, 0.1, 0.3]}, 1)
    ] == [("a", "c")]


def test_discretize_keeps_rules_and_defaults_decisions_without_scores() -> None:
    space = Space(
        (OneOf("a", "b", "c"), OneOf("x", "y"), Float(0.5, 1.0)),
        rule=lambda values: values["0"] != "b",
    )
    (best,) = discretize(space, {"0": SCORES["0"]}, 1)
    assert best.values == {"0": "c", "1": "x", "2": 0.5}
