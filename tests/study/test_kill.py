import pytest
from kill_study import compare


@pytest.mark.parametrize("kind", ["plain", "heirs"])
def test_study_killed_at_random_equals_uninterrupted_study(kind: str) -> None:
    killed, trials = compare(kills=3, seed=1, kind=kind)
    assert killed >= 2
    assert trials == 46
