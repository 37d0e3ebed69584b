import pytest

from netwright.space.candidate import Candidate
from netwright.trials.trial import Proposal, Status, Trial, as_told


@pytest.mark.parametrize("fidelity", [0.0, -1.0, 1.5])
def test_a_fidelity_outside_its_range_is_refused(fidelity: float) -> None:
    with pytest.raises(ValueError, match=r"fidelity must be in \(0, 1\]"):
        Proposal(Candidate({}), fidelity=fidelity)


def test_a_strategy_hears_of_no_score_on_test_data_unless_it_is_searched() -> None:
    metrics = {"accuracy": 0.9, "test_accuracy": 0.8}
    trial = Trial(1, Proposal(Candidate({})), 0, Status.DONE, metrics)
    assert as_told(trial, {"accuracy"}).metrics == {"accuracy": 0.9}
    assert as_told(trial, {"test_accuracy"}) is trial
    assert trial.metrics == metrics
