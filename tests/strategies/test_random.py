from typing import Any

import numpy as np

from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.trials.trial import Proposal, Status, Trial


def test_a_small_space_is_proposed_once_completely(search: Any) -> None:
    space = Space({"x": Integer(0, 6), "y": Integer(0, 6)})
    events = search(RandomSearch()(Problem(space, [])), lambda trial: {}, n_trials=1000, workers=3)
    proposed = [trial.candidate for trial in events if trial.status is Status.RUNNING]
    assert len(proposed) == len(set(proposed)) == 49


def test_a_batch_has_at_most_n_distinct_candidates(space: Space[Any]) -> None:
    tiny = Space({"x": Integer(0, 3)})
    assert (
        len(
            {
                proposal.candidate
                for proposal in RandomSearch()(Problem(tiny, [])).ask(9, np.random.default_rng(0))
            }
        )
        == 4
    )
    assert len(RandomSearch()(Problem(space, [])).ask(9, np.random.default_rng(0))) == 9


def test_told_candidates_are_not_proposed(space: Space[Any]) -> None:
    tiny = Space({"x": Integer(0, 1)})
    strategy = RandomSearch()(Problem(tiny, []))
    strategy.tell(Trial(1, Proposal(Candidate({"x": 0})), seed=0))
    assert [
        proposal.candidate.values["x"] for proposal in strategy.ask(2, np.random.default_rng(0))
    ] == [1]


def test_draws_cover_the_space_uniformly(space: Space[Any]) -> None:
    drawn = RandomSearch()(Problem(space, [])).ask(2000, np.random.default_rng(0))
    quarters = [
        (proposal.candidate.values["x"] < 50, proposal.candidate.values["y"] < 50)
        for proposal in drawn
    ]
    counts = [quarters.count(quarter) for quarter in set(quarters)]
    assert len(counts) == 4
    assert min(counts) > 430
