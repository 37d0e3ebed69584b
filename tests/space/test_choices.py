"""Open choices: labels, refusals, and the numbers they stand for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_tools import Conv, Net, Pool

from netwright.errors import SpaceError
from netwright.space.choices import Float, Integer, NumberChoice, OneOf, Repeat, SubsetOf, label
from netwright.space.space import Space


def named() -> None: ...


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, None),
        ("relu", "relu"),
        (3, 3),
        (0.5, 0.5),
        (True, True),
        (Conv(), "Conv"),
        (Conv(kernel=5), "Conv(kernel=5)"),
        (Conv(kernel=OneOf(3, 5), width=8), "Conv(width=8)"),
        (Net(Conv(kernel=5)), "Net(stem=Conv(kernel=5))"),
        (named, "named"),
        (Conv, "Conv"),
        (partial(Conv, kernel=OneOf(3, 5)), "Conv"),
    ],
)
def test_label_comes_from_the_option_alone(option: object, expected: object) -> None:
    named = label(option)
    assert named == expected
    assert type(named) is type(expected)


def labels(*options: object) -> tuple[object, ...]:
    return tuple(Space(OneOf(*options)).decisions[0].values)


def test_adding_an_option_keeps_other_labels() -> None:
    options = (Conv(), Conv(kernel=5), Pool(), None, "skip", 3)
    for added in (Conv(kernel=7), Pool(size=9), "none", 4):
        for position in range(len(options) + 1):
            longer = labels(*options[:position], added, *options[position:])
            assert tuple(name for name in longer if name != label(added)) == labels(*options)


def test_adding_an_open_field_keeps_the_label() -> None:
    assert labels(Conv(width=8), Pool()) == labels(Conv(OneOf(3, 5), width=8), Pool(OneOf(2, 3)))


@pytest.mark.parametrize("make", [OneOf, SubsetOf])
@pytest.mark.parametrize(
    ("options", "twice"),
    [
        ((3, 5, 3), "3"),
        ((1, True), "True"),
        ((Conv(OneOf(3, 5)), Conv(OneOf(7, 9))), "'Conv'"),
        ((partial(Conv, 3), partial(Conv, 5)), "'Conv'"),
    ],
)
def test_duplicate_labels_are_refused(
    make: Callable[..., Any], options: tuple[Any, ...], twice: str
) -> None:
    with pytest.raises(SpaceError, match=rf"must have different labels, got {twice} twice\. Name"):
        make(*options)


@pytest.mark.parametrize("make", [OneOf, SubsetOf])
@pytest.mark.parametrize("option", [lambda: 3, partial(lambda: 3), (1, 2), object()])
def test_option_without_a_name_is_refused(make: Callable[..., Any], option: object) -> None:
    kind = "function" if callable(option) else type(option).__name__
    with pytest.raises(
        SpaceError, match=rf"name of its own, got {kind}\..*OneOf\({{\"label\": opt"
    ):
        make(option, 3)


def test_labelled_options_may_be_any_object() -> None:
    space = Space(OneOf({"lambda": lambda: 3, "tuple": (1, 2)}))
    assert [space.fill(candidate) for candidate in space][1] == (1, 2)
    assert space.decisions[0].values == ("lambda", "tuple")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: OneOf(), r"a choice must have at least one option, got none\."),
        (lambda: OneOf({}), r"at least one option, got none\."),
        (lambda: Integer(5, 3), r"bounds must be finite and in order, got \(5, 3\)"),
        (lambda: Float(1.0, 0.5), r"bounds must be finite and in order, got \(1\.0, 0\.5\)"),
        (lambda: Float(0.0, math.inf), r"bounds must be finite and in order, got \(0\.0, inf\)"),
        (lambda: Float(math.nan, 1.0), r"bounds must be finite and in order, got \(nan, 1\.0\)"),
        (lambda: Float("0", 1.0), r"Float must be bounded by numbers, got '0'"),  # type: ignore[arg-type]
        (lambda: Integer(1, 2.5), r"must be bounded by whole numbers, got 2\.5\. Use Float"),  # type: ignore[arg-type]
        (lambda: Integer(False, 3), r"Integer must be bounded by whole numbers, got False"),
        (lambda: Integer(0, 8, log=True), r"low must be above 0 on a logarithmic scale, got 0"),
        (lambda: Float(-1.0, 8.0, log=True), r"low must be above 0 .*, got -1\.0"),
        (
            lambda: SubsetOf(1, 2, min_size=2, max_size=1),
            r"0 <= min_size <= max_size <= 2, got \(2, 1\)",
        ),
        (lambda: SubsetOf(1, 2, min_size=-1), r"0 <= min_size <= max_size <= 2, got \(-1, 2\)"),
        (lambda: SubsetOf(1, 2, max_size=3), r"0 <= min_size <= max_size <= 2, got \(0, 3\)"),
        (lambda: SubsetOf(*range(12)), r"at most 4,000 subsets, got 4,096\. Use one OneOf\(True"),
        (lambda: Repeat(Conv(), -1), r"times must be a whole number from 0 on.*, got -1"),
        (lambda: Repeat(Conv(), Integer(-2, 3)), r"times must be a whole number .*, got -2"),
        (lambda: Repeat(Conv(), OneOf(1, -3)), r"times must be a whole number from 0 on.*, got -3"),
        (lambda: Repeat(Conv(), "two"), r"times must be a whole .*, got 'two'"),  # type: ignore[arg-type]
        (lambda: Repeat(Conv(), Float(1.0, 2.0)), r"times must be a whole number.*, got "),  # type: ignore[arg-type]
        (lambda: Repeat(Conv(), OneOf(1, 2.5)), r"times must be a whole number.*, got 2\.5"),  # type: ignore[arg-type]
    ],
)
def test_invalid_choices_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(SpaceError, match=sentence):
        make()


def test_largest_subset_choice_is_allowed() -> None:
    assert Space(SubsetOf(*range(11))).size == 2048


bounds = st.tuples(st.integers(-50, 50), st.integers(0, 60)).map(lambda b: (b[0], b[0] + b[1]))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(bounds, st.booleans())
def test_to_unit_inverts_from_unit_for_integers(ends: tuple[int, int], log: bool) -> None:
    low, high = (ends[0] + 51, ends[1] + 51) if log else ends
    choice = NumberChoice(low, high, log=log, integer=True)
    units = [choice.to_unit(value) for value in range(low, high + 1)]
    assert [choice.from_unit(unit) for unit in units] == list(range(low, high + 1))
    assert all(0 <= unit < 1 for unit in units)
    assert units == sorted(units)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.floats(1e-6, 1e3), st.floats(1.0, 1e4), st.booleans(), st.floats(0, 1))
def test_from_unit_stays_within_the_bounds(
    low: float, factor: float, log: bool, unit: float
) -> None:
    choice = NumberChoice(low, low * factor, log=log)
    value = choice.from_unit(unit)
    assert choice.contains(value)
    assert choice.from_unit(choice.to_unit(value)) == pytest.approx(value)


def test_integers_have_equal_intervals() -> None:
    choice = NumberChoice(1, 4, integer=True)
    drawn = Counter(choice.from_unit((i + 0.5) / 4000) for i in range(4000))
    assert drawn == {1: 1000, 2: 1000, 3: 1000, 4: 1000}


def test_log_float_has_its_geometric_mean_at_one_half() -> None:
    assert NumberChoice(1e-4, 1.0, log=True).from_unit(0.5) == pytest.approx(1e-2)


@pytest.mark.parametrize(
    ("value", "held"), [(3, True), (1, True), (4, True), (0, False), (5, False), (3.0, False)]
)
def test_integer_contains_its_bounds_and_no_float(value: float, held: bool) -> None:
    assert NumberChoice(1, 4, integer=True).contains(value) is held


@pytest.mark.parametrize("value", [True, "3", None, (3,), math.nan])
def test_number_choice_contains_numbers_only(value: object) -> None:
    assert not NumberChoice(0, 4, integer=True).contains(value)
    assert not NumberChoice(0.0, 4.0).contains(value)


def test_float_with_integer_bounds_gives_floats() -> None:
    space = Space({"x": Float(0, 1), "y": Float(1, 10, log=True), "z": Float(2, 2)})
    for unit in (0.0, 0.3, 1.0):
        values = space.from_unit([unit] * 3).values
        assert [type(value) for value in values.values()] == [float, float, float]
    assert (
        space.fingerprint
        == Space(
            {"x": Float(0.0, 1.0), "y": Float(1.0, 10.0, log=True), "z": Float(2.0, 2.0)}
        ).fingerprint
    )


@pytest.mark.parametrize(
    "bounds", [(0, 2**53 + 1), (-(2**53) - 1, 0), (0, 10**30), (0, 10**400), (-(2**53), 2**53)]
)
def test_integers_beyond_float_precision_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(SpaceError, match=r"an Integer's bounds must be at most 2\*\*53 from 0"):
        Integer(*bounds)


def test_float_bounds_too_far_apart_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"bounds must be less than 1\.8e308 apart"):
        Float(-1e308, 1e308)


def test_widest_integer_range_is_sampled_end_to_end() -> None:
    space = Space({"n": Integer(0, 2**53 - 1)})
    rng = np.random.default_rng(0)
    drawn = np.array([float(str(space.sample(rng).values["n"])) for _ in range(400)]) / 2**53
    assert np.histogram(drawn, 4, (0, 1))[0].min() > 70
    assert space.size == 2**53


@pytest.mark.parametrize("bound", [10**400, -(10**400), 10**5000], ids=["large", "small", "huge"])
def test_bounds_beyond_a_float_are_refused(bound: int) -> None:
    for bounds in ((0, bound), (bound, 0)):
        with pytest.raises(
            SpaceError, match=r"Float must be bounded by numbers of at most 1\.8e\+"
        ):
            Float(*bounds)
    with pytest.raises(SpaceError, match="Float must be bounded by numbers"):
        Float(1, 10**400, log=True)
    with pytest.raises(SpaceError, match=r"an Integer's bounds must be"):
        Integer(*sorted((0, bound)))


@pytest.mark.parametrize("bound", [math.nan, math.inf, -math.inf])
def test_bounds_that_are_not_finite_are_refused(bound: float) -> None:
    with pytest.raises(SpaceError, match="bounds must be finite and in order, got"):
        Float(0, bound)
