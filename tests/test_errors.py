import pickle

import pytest

from netwright import _optional, errors


def test_message_has_expectation_value_and_fix() -> None:
    sentence = errors.expected("kernel", "odd", 4, "Use 3 or 5.")
    assert sentence == "kernel must be odd, got 4. Use 3 or 5."
    assert errors.expected("kernel", "odd", 4) == "kernel must be odd, got 4."


def test_closest_suggests_similar_names_only() -> None:
    assert errors.closest("incom", ["age", "income"]) == "Did you mean 'income'?"
    assert errors.closest("zzz", ["age", "income"]) == ""


def test_numbers_have_no_misspellings() -> None:
    for number in ("99", "-9", "9.9"):
        assert errors.closest(number, [9, 99.5, 19]) == ""
    assert errors.closest("v99", ["v9"]) == "Did you mean 'v9'?"


def test_counts_have_their_noun_in_the_right_number() -> None:
    assert errors.plural(1, "trial") == "1 trial"
    assert errors.plural(0, "trial") == "0 trials"
    assert errors.plural(1_200, "trial") == "1,200 trials"
    assert errors.plural(2.5, "evaluation") == "2.5 evaluations"
    assert errors.plural(2, "class", "classes") == "2 classes"


def test_a_number_too_long_to_write_is_quoted_in_words() -> None:
    sentence = errors.expected("bound", "a float", 10**5000)
    assert sentence == "bound must be a float, got a int of too many digits."


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
        _optional.import_optional("no_such_module_here", "parquet", "reading parquet")
    assert _optional.import_optional("json", "parquet", "reading parquet").loads("1") == 1


def test_messages_show_control_characters_and_have_an_end() -> None:
    error = errors.InputError(f"evil\x1b[2J\u202e.csv must be a table, got {'x' * 10**6}.")
    assert "\x1b" not in str(error)
    assert "evil\\x1b[2J\\u202e.csv" in str(error)
    assert len(str(error)) <= errors.MAX_SENTENCE + 20
    assert errors.printable("größe\t✓ 日本") == "größe\t✓ 日本"
    assert str(errors.InputError("a\nb.csv is no table.")) == "a\\nb.csv is no table."


def test_a_quoted_value_is_short_and_its_ends_are_seen() -> None:
    sentence = errors.expected("target", "a column", "a" * 500 + "z")
    assert len(sentence) < 200
    assert "..." in sentence
    assert "z'" in sentence


def test_advice_speaks_to_its_reader() -> None:
    assert errors.wording(python="kind='regression'", shell="--kind regression").startswith("kind=")
    errors.speak_to("shell")
    try:
        assert errors.wording(python="run=", shell="--run") == "--run"
    finally:
        errors.speak_to("python")
