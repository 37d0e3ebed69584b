import pytest

from netwright.space.candidate import Candidate
from netwright.trials.trial import Proposal


@pytest.mark.parametrize("fidelity", [0.0, -1.0, 1.5])
def test_a_fidelity_outside_its_range_is_refused(fidelity: float) -> None:
    with pytest.raises(ValueError, match=r"fidelity must be in \(0, 1\]"):
        Proposal(Candidate({}), fidelity=fidelity)
