from typing import Any

import numpy as np

from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.trials.trial import Proposal, Status, Trial


def test_every_candidate_of_a_small_space_is_proposed_once_and_then_it_is_over(search: Any) -> None:
    space = Space({"x": Integer(0, 6), "y": Integer(0, 6)})
    events = search(RandomSearch()(Problem(space, [])), lambda trial: {}, n_trials=1000, workers=3)
    proposed = [trial.candidate for trial in events if trial.status is Status.RUNNING]
    assert len(proposed) == len(set(proposed)) == 49


def test_a_batch_holds_no_candidate_twice_and_at_most_n(space: Space[Any]) -> None:
    tiny = Space({"x": Integer(0, 3)})
    assert (
        len(
            {
                one.candidate
                for one in RandomSearch()(Problem(tiny, [])).ask(9, np.random.default_rng(0))
            }
        )
        == 4
    )
    assert len(RandomSearch()(Problem(space, [])).ask(9, np.random.default_rng(0))) == 9


def test_what_was_told_is_not_proposed(space: Space[Any]) -> None:
    tiny = Space({"x": Integer(0, 1)})
    strategy = RandomSearch()(Problem(tiny, []))
    strategy.tell(Trial(1, Proposal(Candidate({"x": 0})), seed=0))
    assert [one.candidate.values["x"] for one in strategy.ask(2, np.random.default_rng(0))] == [1]


def test_draws_spread_over_the_space(space: Space[Any]) -> None:
    drawn = RandomSearch()(Problem(space, [])).ask(2000, np.random.default_rng(0))
    quarters = [(one.candidate.values["x"] < 50, one.candidate.values["y"] < 50) for one in drawn]
    counts = [quarters.count(one) for one in set(quarters)]
    assert len(counts) == 4
    assert min(counts) > 430
