from kill_study import compare


def test_a_study_killed_at_random_moments_is_the_study_left_alone() -> None:
    killed, trials = compare(kills=3, seed=1)
    assert killed >= 2
    assert trials == 46
