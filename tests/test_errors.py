import pickle

import pytest

from netwright import _optional, errors


def test_the_sentence_says_what_was_expected_what_came_and_the_fix() -> None:
    sentence = errors.expected("kernel", "odd", 4, "Use 3 or 5.")
    assert sentence == "kernel must be odd, got 4. Use 3 or 5."
    assert errors.expected("kernel", "odd", 4) == "kernel must be odd, got 4."


def test_the_nearest_name_is_suggested_and_a_far_one_is_not() -> None:
    assert errors.closest("incom", ["age", "income"]) == "Did you mean 'income'?"
    assert errors.closest("zzz", ["age", "income"]) == ""


def test_exceptions_that_carry_data_survive_the_pipe_from_a_worker() -> None:
    error = errors.InvalidCandidate("a.b must be 3, got 4.", "a.b", 4)
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.path, back.value) == (str(error), "a.b", 4)


def test_users_can_catch_by_meaning() -> None:
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.MissingExtra, ImportError)
    assert issubclass(errors.InvalidCandidate, errors.SpaceError)


def test_a_missing_extra_names_the_line_that_installs_it() -> None:
    with pytest.raises(errors.MissingExtra, match=r"pip install 'netwright\[parquet\]'"):
        _optional.require("no_such_module_here", "parquet", "reading parquet")
    assert _optional.require("json", "parquet", "reading parquet").loads("1") == 1
