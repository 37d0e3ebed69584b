import pytest

from netwright.report.tables import leaderboard, value
from netwright.space.candidate import Candidate
from netwright.trials.objective import Objective
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
    assert value(name, {name: number}) == text


def test_a_missing_value_is_blank() -> None:
    assert value("accuracy", {}) == ""


def test_trials_of_lower_fidelity_come_after_the_others_and_say_so() -> None:
    def trial(number: int, fidelity: float, accuracy: float) -> Trial:
        proposal = Proposal(Candidate({}), fidelity)
        return Trial(number, proposal, 0, Status.DONE, {"accuracy": accuracy})

    trials = [trial(1, 1.0, 0.8), trial(2, 1 / 3, 1.0), trial(3, 1.0, 0.9)]
    rows = leaderboard(trials, [Objective("accuracy", "max")], [], lambda candidate: ())
    assert [row.trial for row in rows] == [3, 1, 2]
    assert rows[-1].what.startswith("at 33 %: ")
    assert rows[-1].record()["fidelity"] == 1 / 3
