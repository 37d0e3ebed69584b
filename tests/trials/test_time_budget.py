"""What is left of a search, and the part of it that a supernet may take."""

from __future__ import annotations

import math

from netwright.trials.time_budget import TimeBudget


def test_supernet_gets_its_share_of_the_time_left() -> None:
    budget = TimeBudget(search=100.0, supernet=60.0)
    assert budget.supernet_within(100.0) == 60.0
    assert budget.supernet_within(50.0) == 30.0


def test_supernet_without_a_budget_gets_half() -> None:
    assert TimeBudget().supernet_within(80.0) == 40.0
    assert TimeBudget().supernet_within(math.inf) == math.inf
    assert TimeBudget(search=100.0, supernet=60.0).supernet_within(math.inf) == math.inf
