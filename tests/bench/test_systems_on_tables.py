"""The pure parts of `benchmarks/tables/`: the judge, the split, and what is said of results."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from table_scripts import script

comparison, data, scores = (script(name) for name in ("comparison", "data", "scores"))


def test_tied_systems_share_their_ranks_and_sums_in_another_order_are_ties() -> None:
    losses = np.array([[0.1 + 0.2, 0.3, 0.5], [3e5, 1e5, 2e5], [0.0, 0.0, 0.0]])
    expected = [[1.5, 1.5, 3], [3, 1, 2], [2, 2, 2]]
    assert comparison.ranks(losses).tolist() == expected


def test_scaled_scores_are_0_at_the_constant_or_worse_and_1_at_the_best() -> None:
    losses = np.array([[1.0, 2.0, 5.0], [2.0, 2.0, 2.0]])
    found = comparison.scaled(losses, np.array([3.0, 1.0]))
    assert found.tolist() == [[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]]


def test_the_interval_of_a_win_rate_is_wilsons() -> None:
    """8 of 10: .490 to .943 (Newcombe 1998's formula, method 3)."""
    rate = comparison.win_rate(np.arange(10.0), np.array([*np.arange(8) + 1.0, 0.0, 0.0]))
    assert (rate.wins, rate.ties, rate.losses, rate.value) == (8, 0, 2, 0.8)
    assert (rate.low, rate.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    none = comparison.win_rate(np.ones(5), np.ones(5))
    assert (none.ties, none.value, comparison.wilson(0, 5)[0]) == (5, 0.5, 0.0)


def test_the_critical_difference_is_that_of_demsars_table() -> None:
    """Table 5 of Demšar (2006): q of .05 is 2.343 for three systems, 3.164 for ten."""
    for systems, q in ((3, 2.343), (10, 3.164)):
        expected = q * np.sqrt(systems * (systems + 1) / (6 * 30))
        assert comparison.critical_difference(systems, 30) == pytest.approx(expected, rel=1e-3)


def test_only_the_longest_runs_of_systems_that_do_not_differ_are_drawn() -> None:
    assert comparison.cliques([1.0, 1.5, 2.5, 6.0], 1.2) == [(0, 1), (1, 2)]
    assert comparison.cliques([1.0, 4.0, 7.0], 2.0) == []


def test_systems_that_are_always_in_one_order_are_not_alike() -> None:
    losses = np.tile([1.0, 2.0, 3.0], (10, 1))
    shuffled = np.array([np.roll([1.0, 2.0, 3.0], i % 3) for i in range(9)])
    assert comparison.friedman(losses) < 1e-3
    assert comparison.friedman(shuffled) > 0.9


def test_the_judge_agrees_with_scikit_learn_and_halves_ties() -> None:
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 2, 200), rng.random(200).round(1)
    chances = np.stack([1 - said, said], 1)
    assert scores.score("auc", truth, chances) == pytest.approx(roc_auc_score(truth, said))
    three, wide = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    assert scores.score("log_loss", three, 5 * wide) == pytest.approx(log_loss(three, wide))
    assert scores.score("log_loss", np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(
        34.54, abs=0.01
    )


def test_the_constant_prediction_scores_what_knowing_nothing_scores() -> None:
    truth = np.array([0, 0, 0, 1])
    assert scores.trivial("auc", truth, (0.75, 0.25)) == 0.5
    assert scores.trivial("log_loss", truth, (0.75, 0.25)) == pytest.approx(0.5623, abs=1e-4)
    assert scores.trivial("rmse", np.array([1.0, 3.0]), 2.0) == 1.0


@pytest.mark.parametrize("said", [[0.1, np.nan, 0.2], [0.1, 0.2]], ids=["nan", "short"])
def test_predictions_that_are_no_predictions_are_refused(said: list[float]) -> None:
    with pytest.raises(ValueError, match="must be 3 finite rows"):
        scores.score("rmse", np.zeros(3), np.array(said))


def test_a_split_keeps_shares_and_rare_classes_on_both_sides() -> None:
    strata = np.array(["a"] * 800 + ["b"] * 190 + ["rare"] * 2)
    train, test = data.split(strata, 0, 0.2, 10_000)
    assert sorted([*train, *test]) == [*range(992)]
    assert [int((strata[test] == label).sum()) for label in ("a", "b", "rare")] == [160, 38, 1]
    again = data.split(strata, 0, 0.2, 10_000)
    assert [rows.tolist() for rows in again] == [train.tolist(), test.tolist()]
    assert data.split(strata, 1, 0.2, 10_000)[1].tolist() != test.tolist()


def test_more_rows_than_may_be_learnt_from_are_thinned_class_by_class() -> None:
    strata = np.array(["a"] * 900 + ["b"] * 100)
    train, test = data.split(strata, 0, 0.2, 400)
    assert len(test) == 200
    assert [int((strata[train] == label).sum()) for label in "ab"] == [360, 40]
    assert not set(train) & set(test)


def test_development_and_held_out_tables_are_apart_and_of_all_kinds() -> None:
    assert not data.DEVELOPMENT.keys() & data.HELD_OUT.keys()
    assert set(data.DEVELOPMENT.values()) == set(data.HELD_OUT.values()) == set(data.METRIC)
