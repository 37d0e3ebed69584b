"""Exact sizes, complete lists, and draws in which each candidate is equally likely."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_tools import (
    FINITE,
    Build,
    Net,
    even_sum,
    judged,
    nested,
    numbers,
    repeated,
    ruled,
    shared,
    skewed,
    subsets,
)

from netwright.errors import SpaceError
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared, SubsetOf
from netwright.space.space import Space

FAR_TAIL: dict[float, float] = {8: 26.1, 9: 27.9, 19: 43.8}
"""Degrees of freedom -> chi-square that one draw in a thousand exceeds."""


def chi_square(space: Space[Any], by: Literal["choice", "leaf"], draws: int = 4000) -> float:
    """How far the counts of all candidates are from equal ones."""
    rng = np.random.default_rng(1)
    everyone = list(space)
    counts = Counter(space.sample(rng, by=by) for _ in range(draws))
    assert set(counts) <= set(everyone)
    mean = draws / len(everyone)
    return sum((counts[candidate] - mean) ** 2 / mean for candidate in everyone)


@pytest.mark.parametrize(("build", "size"), FINITE, ids=[build.__name__ for build, _ in FINITE])
def test_size_equals_the_number_of_listed_candidates(build: Build, size: int) -> None:
    listed = list(build())
    assert build().size == len(listed) == len(set(listed)) == size


def test_size_ignores_the_rule_and_listing_applies_it() -> None:
    assert (ruled().size, len(list(ruled()))) == (100, 50)
    assert (judged().size, len(list(judged()))) == (100, 55)


def test_open_float_makes_the_size_infinite() -> None:
    assert numbers().size == math.inf
    closed = numbers().fix({"rate": 0.1, "drop": 0.25, "width": 9, "depth": 0})
    assert closed.size == len(list(closed)) == 10
    assert Space({"x": Float(0.5, 0.5)}).size == 1


@pytest.mark.parametrize("act", [list, lambda space: space.sample(np.random.default_rng(), "leaf")])
def test_listing_and_leaf_sampling_refuse_an_open_float(act: Any) -> None:
    with pytest.raises(SpaceError, match=r"must have no open Float.*, got 'rate'"):
        act(numbers())


def test_size_of_a_large_space_is_exact() -> None:
    assert Space(tuple(OneOf(*range(7)) for _ in range(40))).size == 7**40
    deep: Any = Repeat(Net(OneOf(*range(5)), Integer(1, 4)), times=Integer(0, 30))
    assert Space(deep).size == sum(20**times for times in range(31))


@pytest.mark.parametrize(
    "build", [nested, shared, subsets, skewed], ids=lambda build: build.__name__
)
def test_leaf_samples_are_uniform(build: Build) -> None:
    assert chi_square(build(), "leaf") < FAR_TAIL[build().size - 1]


def test_leaf_samples_are_uniform_over_valid_candidates() -> None:
    space = Space({"a": Integer(0, 2), "b": OneOf(0, 1, 2, 3, 4, 5)}, rule=even_sum)
    assert len(list(space)) == 9
    assert chi_square(space, "leaf") < FAR_TAIL[8]


def test_leaf_samples_are_uniform_over_many_leaves() -> None:
    space = repeated()
    degrees = space.size - 1
    assert chi_square(space, "leaf", 28_000) < degrees + 3.3 * math.sqrt(2 * degrees)


def test_sampling_by_choice_is_not_uniform_over_candidates() -> None:
    assert chi_square(skewed(), "choice") > 100 * FAR_TAIL[8]


def test_leaf_samples_weight_options_by_their_leaves() -> None:
    big: Any = tuple(OneOf(*range(10)) for _ in range(30))
    space = Space({"top": OneOf({"big": big, "one": None})})
    rng = np.random.default_rng(0)
    assert {space.sample(rng, by="leaf").values["top"] for _ in range(50)} == {"big"}


def test_same_seed_samples_the_same_leaves() -> None:
    def draws(seed: int) -> list[Candidate]:
        rng = np.random.default_rng(seed)
        return [repeated().sample(rng, by="leaf") for _ in range(5)]

    assert draws(3) == draws(3)
    assert draws(3) != draws(4)


leaves = st.builds(lambda n: OneOf(*range(n)), st.integers(1, 3)) | st.builds(
    Integer, st.just(0), st.integers(0, 2)
)


def twice(description: Any) -> tuple[Any, ...]:
    """The part in two places, one of them optional, under a name of its own."""
    description = Shared(description, f"s{zlib.crc32(repr(description).encode())}")
    return (OneOf({"on": description, "off": None}), OneOf({"on": description, "off": None}))


def described(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    options = st.lists(inner, min_size=1, max_size=3).map(
        lambda p: dict(zip("abc", p, strict=False))
    )
    return (
        options.map(OneOf)
        | options.map(SubsetOf)
        | st.builds(Repeat, inner, leaves, same=st.booleans())
        | inner.map(twice)
    )


descriptions = st.recursive(leaves, described, max_leaves=5)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(descriptions)
def test_count_equals_listing_for_any_description(description: Any) -> None:
    space = Space({"root": description})
    if space.size > 2000:
        return
    listed = list(space)
    assert space.size == len(listed) == len(set(listed))
    for candidate in listed[:20]:
        space.check(candidate)
        space.fill(candidate)
    rng = np.random.default_rng(0)
    assert {space.sample(rng, by="leaf") for _ in range(10)} <= set(listed)
