import math
from typing import Any

import pytest

from netwright.errors import InputError
from netwright.trials.objective import Limit, Objective, limits, objective, objectives, parse_limit


def test_an_objective_turns_every_metric_into_a_loss() -> None:
    assert objective("accuracy").loss({"accuracy": 0.9}) == -0.9
    assert objective("latency").loss({"latency": 2.0}) == 2.0
    assert objective("latency").loss({}) == math.inf
    assert objective("latency").loss({"latency": math.nan}) == math.inf


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("latency<=2", Limit("latency", at_most=2)),
        ("accuracy >= 0.99", Limit("accuracy", at_least=0.99)),
        ("parameters<1e5", Limit("parameters", at_most=1e5)),
    ],
)
def test_a_limit_reads_from_text_and_back(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize("text", ["latency", "latency=2", "latency<=fast", "<=2", ""])
def test_invalid_limits_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"limit must be METRIC<=NUMBER .* For example latency<=2"):
        parse_limit(text)


def test_a_limit_counts_by_how_much_it_is_broken() -> None:
    limit = Limit("latency", at_most=2.0)
    assert limit.excess({"latency": 2.5}) == 0.5
    assert limit.keeps({"latency": 2.0})
    assert not limit.keeps({})
    assert not limit.keeps({"latency": math.nan})


def test_objectives_need_at_least_one_and_no_duplicates() -> None:
    with pytest.raises(InputError, match="at least one metric"):
        objectives([])
    with pytest.raises(InputError, match="different metrics"):
        objectives(["accuracy", Objective("accuracy", "max")])


def test_limits_that_differ_read_differently() -> None:
    bounds = [1_000_001.0, 1_000_002.0, 0.1, 0.1 + 1e-12, 2.0]
    texts = [str(Limit("parameters", at_most=bound)) for bound in bounds]
    assert len(set(texts)) == len(texts)
    assert texts[0] == "parameters<=1000001"
    assert texts[2] == "parameters<=0.1"
    assert [parse_limit(text).at_most for text in texts] == bounds


@pytest.mark.parametrize("direction", ["minimize", "up", "", None])
def test_a_direction_is_min_or_max(direction: Any) -> None:
    with pytest.raises(InputError, match=r"direction must be 'min' or 'max' for loss, got"):
        Objective("loss", direction)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((math.nan,), "bounded by numbers"),
        (("5",), "bounded by numbers"),
        ((1.0, 2.0), "one that some value keeps, got at_most 1 and at_least 2"),
        ((), "bounded on one side at least, got none"),
    ],
)
def test_a_limit_that_limits_nothing_or_everything_is_refused(bounds: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"a limit on loss must be {words}"):
        Limit("loss", *bounds)


def test_metrics_of_ones_own_are_accepted_where_they_are_measured() -> None:
    assert objective("mine:max", ["mine"]) == Objective("mine", "max")
    assert objectives("mine:min", ["mine"]) == (Objective("mine", "min"),)
    assert objectives(["accuracy", "latency:max"]) == (
        Objective("accuracy", "max"), Objective("latency", "max"),
    )  # fmt: skip
    assert parse_limit("mine<=3", measured=["mine"]) == Limit("mine", at_most=3)
    assert limits("mine<=3", measured=["mine"]) == (Limit("mine", at_most=3),)
    with pytest.raises(InputError, match="Write 'mine:min' or 'mine:max'"):
        objective("mine", ["mine"])
    with pytest.raises(InputError, match="'min' or 'max' for mine, got 'up'"):
        objective("mine:up", ["mine"])
    for refused in (lambda: objective("mine:min"), lambda: parse_limit("mine<=3")):
        with pytest.raises(InputError, match="one that netwright knows, got 'mine'"):
            refused()


@pytest.mark.parametrize("wrong", [3, None, {"loss": "min"}])
def test_objectives_must_be_a_list(wrong: Any) -> None:
    with pytest.raises(InputError, match="objectives must be a list of metrics"):
        objectives(wrong)
    with pytest.raises(InputError, match="limit must be a list of limits"):
        limits(wrong)
