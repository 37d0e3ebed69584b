import pytest

from netwright.networks.layers.conv import Conv
from netwright.report.describe import summary
from netwright.report.tables import leaderboard
from netwright.space.candidate import Candidate
from netwright.trials.formats import format_metric
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Proposal, Status, Trial


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("accuracy", 0.93241, ".9324"),
        ("accuracy", 1.0, "1.0000"),
        ("log_loss", 0.02561, ".0256"),
        ("rmse", 45733.6, "45,734"),
        ("rmse", 0.4567, "0.4567"),
        ("rmse", 1.168e29, "1.168e+29"),
        ("parameters", 37218, "37,218"),
        ("flops", 3.8e6, "3.8 M"),
        ("memory", 212_000, "212 kB"),
        ("size", 1.93e6, "1.93 MB"),
        ("latency", 0.91234, "0.9123"),
    ],
)
def test_values_read_as_a_person_would_write_them(name: str, number: float, text: str) -> None:
    assert format_metric(name, {name: number}) == text


def test_a_missing_value_is_blank() -> None:
    assert format_metric("accuracy", {}) == ""


ACCURACY = Objective("accuracy", "max")


def trial(
    number: int, accuracy: float | None = None, status: Status = Status.DONE, fidelity: float = 1.0,
    **metrics: float,
) -> Trial:  # fmt: skip
    measured = metrics if accuracy is None else {"accuracy": accuracy, **metrics}
    return Trial(number, Proposal(Candidate({}), fidelity), 0, status, measured)


def test_leaderboard_sorts_groups_by_the_first_objective() -> None:
    trials = [
        trial(1, status=Status.RUNNING),
        trial(2, status=Status.FAILED),
        trial(3, status=Status.INFEASIBLE),
        trial(4, 0.99, latency=9.0),
        trial(5, 0.995, latency=9.0, fidelity=0.5),
        trial(6, 0.97, latency=1.0, fidelity=0.5),
        trial(7, 0.98, latency=1.0, fidelity=0.1),
        trial(8, 0.7, latency=1.0),
        trial(9, 0.8, latency=1.0),
        trial(10, 0.9),  # without the limited metric nobody knows that the limit is kept
        trial(11, status=Status.INFEASIBLE),
    ]
    rows = leaderboard(trials, [ACCURACY], [Limit("latency", at_most=2)], lambda candidate: ())
    groups = [9, 8], [7, 6], [5, 4, 10], [3, 11], [2], [1]
    assert [row.trial for row in rows] == [number for group in groups for number in group]


def test_a_loss_is_best_where_it_is_least() -> None:
    trials = [trial(n, rmse=value) for n, value in enumerate([3.0, 1.0, 2.0], 1)]
    rows = leaderboard(trials, [Objective("rmse", "min")], [], lambda candidate: ())
    assert [row.trial for row in rows] == [2, 3, 1]


def test_trials_that_missed_folds_are_of_partial_fidelity() -> None:
    trials = [trial(1, 0.9, folds=2), trial(2, 0.8, folds=8)]
    rows = leaderboard(trials, [ACCURACY], [], lambda candidate: ())
    assert [(row.trial, row.fidelity) for row in rows] == [(2, 1.0), (1, 0.25)]


def test_delivered_trial_is_marked() -> None:
    trials = [trial(1, 0.9), trial(2, 0.8)]
    rows = leaderboard(trials, [ACCURACY], [], lambda candidate: (), delivered=2, front=[1, 2])
    assert [row.record()["delivered"] for row in rows] == [False, True]
    assert [row.record()["front"] for row in rows] == [True, True]
    assert not any(row.delivered for row in leaderboard(trials, [ACCURACY], [], lambda _: ()))


def test_partial_fidelity_trials_come_later_and_are_labelled() -> None:
    trials = [trial(1, 0.8), trial(2, 1.0, fidelity=1 / 3), trial(3, 0.9)]
    rows = leaderboard(trials, [ACCURACY], [], lambda candidate: ())
    assert [row.trial for row in rows] == [3, 1, 2]
    assert rows[-1].what.startswith("at 33 %: ")
    assert rows[-1].record()["fidelity"] == 1 / 3


@pytest.mark.parametrize(
    ("origin", "prefix"),
    [("baseline", "baseline: "), ("supernet", "supernet: "), ("supernet, model", "supernet: "),
     ("final training", "final: "),
     ("model", "")],
)  # fmt: skip
def test_rows_label_baselines_and_supernet_trials(origin: str, prefix: str) -> None:
    one = Trial(1, Proposal(Candidate({}), origin=origin), 0, Status.DONE, {"accuracy": 0.5})
    (row,) = leaderboard([one], [ACCURACY], (), lambda candidate: Conv(8))
    assert row.what == f"{prefix}{summary(Conv(8))}"
