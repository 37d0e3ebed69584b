"""Sources of belief: ranks among reference candidates, never merged, and a user's own guess."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import rankdata

from netwright.errors import InputError
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.beliefs import (
    USER_BELIEF,
    Beliefs,
    Score,
    known_scores,
    user_score,
)
from netwright.trials.trial import Metrics


class Scored(DefaultKnowledge):
    """Two scores and, of some candidates, none."""

    def scores(self, candidate: Candidate) -> Metrics:
        x, y = candidate.values["x"], candidate.values["y"]
        assert isinstance(x, int)
        assert isinstance(y, int)
        return {} if x < 0 else {"zero_cost": float(y), "parameters": float(10**x)}


def candidates_at(*pairs: tuple[int, int]) -> list[Candidate]:
    return [Candidate({"x": x, "y": y}) for x, y in pairs]


GRID: Sequence[tuple[int, int]] = [(x, y) for x in range(10) for y in range(10)]


def beliefs_of(*pairs: tuple[int, int]) -> Beliefs:
    reference = candidates_at(*pairs)
    return Beliefs.from_reference(known_scores(Scored(), reference), reference)


def test_each_score_is_a_source_of_its_own() -> None:
    beliefs = beliefs_of(*GRID)
    assert beliefs.names == ("parameters", "zero_cost")  # sizes first
    large, high = beliefs.scores_of(candidates_at((9, 0), (0, 9)))
    assert large[0] > large[1]
    assert high[0] < high[1]
    assert beliefs.size is not None
    assert beliefs.size.name == "parameters"


def test_scores_are_standard_normal_on_the_reference() -> None:
    for scores in beliefs_of(*GRID).reference_scores:
        assert scores.mean() == pytest.approx(0, abs=0.02)
        assert scores.std() == pytest.approx(1, abs=0.1)
        assert np.median(scores) == pytest.approx(0, abs=0.15)


def test_candidates_without_a_score_rank_last() -> None:
    beliefs = beliefs_of(*GRID, (-1, 0))
    assert beliefs.scores_of(candidates_at((0, 0), (-1, 5), (3, 3))).argmin(1).tolist() == [1, 1]


def column(name: str) -> Score:
    """The value of a decision as a score."""
    return lambda some: np.array([float(str(candidate.values[name])) for candidate in some])


def test_sources_of_the_same_order_and_constants_are_left_out() -> None:
    reference = candidates_at(*GRID)
    scores = {
        "size": column("x"),
        "squared": lambda some: column("x")(some) ** 2,
        "constant": lambda some: np.ones(len(some)),
        "opposite": lambda some: -column("x")(some),
    }
    assert Beliefs.from_reference(scores, reference).names == ("size", "opposite")
    assert not Beliefs.from_reference({}, reference)
    assert Beliefs().scores_of(reference).shape == (0, 100)


def test_agreement_adds_log_ranks() -> None:
    beliefs = beliefs_of(*GRID)
    best, bad_in_one, middle, worst = beliefs.agreement(
        candidates_at((9, 9), (9, 0), (4, 4), (0, 0))
    )
    assert best > middle > bad_in_one > worst  # by the sum of ranks the middle two were equal
    shares = [rankdata([pair[i] for pair in GRID]) / 101 for i in (0, 1)]
    assert beliefs.reference_agreement == pytest.approx(np.log(shares[0]) + np.log(shares[1]))


def test_half_of_the_weight_is_that_of_no_belief() -> None:
    assert beliefs_of(*GRID).prior_weights == pytest.approx([0.5, 0.25, 0.25])
    assert Beliefs().prior_weights == pytest.approx([1.0])


SPACE = Space({"lr": Float(1e-4, 1e-1, log=True), "kernel": OneOf(3, 5)})


def test_a_users_guess_has_its_confidence() -> None:
    rng = np.random.default_rng(0)
    reference = [SPACE.sample(rng) for _ in range(50)]
    scores = {"size": column("lr"), USER_BELIEF: user_score(SPACE, {"lr": 1e-3})}
    both = Beliefs.from_reference(scores, reference, confidence=0.4)
    assert both.prior_weights == pytest.approx([0.3, 0.3, 0.4])
    alone = Beliefs.from_reference({USER_BELIEF: scores[USER_BELIEF]}, reference, confidence=0.4)
    assert alone.prior_weights == pytest.approx([0.6, 0.4])


def test_a_users_score_falls_with_the_distance_from_the_guess() -> None:
    score = user_score(SPACE, {"lr": 1e-3, "kernel": 5})

    def at(lr: float, kernel: int = 5) -> float:
        return float(score([Candidate({"lr": lr, "kernel": kernel})])[0])

    assert at(1e-3) == 0
    assert 0 > at(2e-3) > at(1e-2) > at(1e-1)
    assert at(1e-2) == pytest.approx(at(1e-4))  # on the scale of the space
    assert at(1e-3, 3) == -1
    assert score([Candidate({"lr": 1e-3})]) == [-1]  # it has no kernel


@pytest.mark.parametrize(
    ("guess", "sentence"),
    [
        ({"lrr": 1e-3}, "must be about decisions of the space, got 'lrr'.*lr"),
        ({"lr": 3.0}, r"prior\['lr'\] must be .*, got 3.0"),
        ({"kernel": 4}, r"prior\['kernel'\] must be .*, got 4"),
    ],
)
def test_a_guess_that_does_not_fit_the_space_is_an_error(
    guess: dict[str, float], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        user_score(SPACE, guess)
