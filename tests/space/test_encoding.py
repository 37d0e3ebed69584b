"""Candidates as rows, points and scores; as JSON; and the fingerprint of a space."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_tools import (
    EVERY,
    FINITE,
    Build,
    Conv,
    Net,
    Pool,
    bench201,
    even_sum,
    fixed_subset,
    nested,
    numbers,
    ordered,
    repeated,
    ruled,
    shared,
    skewed,
    subsets,
)

from netwright.errors import InvalidCandidate, SpaceError
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, OneOf, SubsetOf
from netwright.space.space import Space

FINITE_BUILDS = [build for build, _ in FINITE]
each_finite = pytest.mark.parametrize("build", FINITE_BUILDS, ids=lambda build: build.__name__)
each_build = pytest.mark.parametrize("build", EVERY, ids=lambda build: build.__name__)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Rows


@each_finite
def test_distinct_candidates_have_distinct_rows(build: Build) -> None:
    space = build()
    rows = space.encode(list(space))
    assert rows.shape == (space.size, len(space.columns))
    assert len(np.unique(rows, axis=0)) == space.size


@each_build
def test_row_does_not_depend_on_decision_order(build: Build) -> None:
    space = build()
    candidate = space.sample(rng())
    turned = Candidate(dict(reversed(list(candidate.values.items()))))
    rows = space.encode([candidate, turned, Candidate.from_json(candidate.json())])
    assert (rows == rows[0]).all()


def test_columns_are_named_by_path_and_label() -> None:
    space = nested()
    assert space.columns == (
        "stem=conv", "stem=pool", "stem=none", "stem.conv.kernel=3", "stem.conv.kernel=5",
        "stem.conv.kernel=7", "stem.conv.act=relu", "stem.conv.act=gelu", "stem.pool.size=2",
        "stem.pool.size=3", "stem.pool.size=4", "head=mean", "head=max",
    )  # fmt: skip
    row = space.encode([Candidate({"stem": "pool", "stem.pool.size": 3, "head": "max"})])[0]
    on = {name for name, value in zip(space.columns, row, strict=True) if value}
    assert on == {"stem=pool", "stem.pool.size=3", "head=max"}


def test_subset_is_multi_hot() -> None:
    space = subsets()
    row = space.encode([Candidate({"stem": ("pool", "skip")})])[0]
    assert dict(zip(space.columns, row, strict=True)) == {
        "stem=conv": 0, "stem=pool": 1, "stem=skip": 1, "stem.conv.kernel=3": 0,
        "stem.conv.kernel=5": 0,
    }  # fmt: skip


def test_numbers_are_in_unit_interval_and_inactive_ones_negative() -> None:
    space = numbers()
    candidates = [space.sample(rng(seed)) for seed in range(60)]
    rows = space.encode(candidates)
    early = rows[:, space.columns.index("stop.early")]
    assert [value == -1 for value in early] == [
        candidate.values["stop"] == "late" for candidate in candidates
    ]
    rest = np.delete(rows, space.columns.index("stop.early"), axis=1)
    assert rest.min() >= 0
    assert rest.max() <= 1
    rates = [float(str(candidate.values["rate"])) for candidate in candidates]
    assert np.array_equal(np.argsort(rates), np.argsort(rows[:, space.columns.index("rate")]))


def test_encoding_no_candidates_gives_no_rows() -> None:
    assert nested().encode([]).shape == (0, 13)


# Points of the unit cube


@each_finite
def test_from_unit_inverts_to_unit_for_every_candidate(build: Build) -> None:
    space = build()
    for candidate in list(space)[:300]:
        point = space.to_unit(candidate)
        assert point.shape == (len(space.decisions),)
        assert space.from_unit(point) == candidate


def test_from_unit_inverts_to_unit_for_numbers() -> None:
    space = numbers()
    for seed in range(40):
        candidate = space.sample(rng(seed))
        back = space.from_unit(space.to_unit(candidate))
        assert list(back.values) == list(candidate.values)
        assert [v for v in back.values.values() if isinstance(v, str)] == [
            v for v in candidate.values.values() if isinstance(v, str)
        ]
        for path in ("width", "depth"):
            assert back.values[path] == candidate.values[path]
        for path in ("rate", "drop"):
            assert back.values[path] == pytest.approx(candidate.values[path])


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(0, len(EVERY) - 1), st.data())
def test_every_point_of_the_cube_is_a_legal_candidate(index: int, data: st.DataObject) -> None:
    build = EVERY[index]
    space = build()
    width = len(space.decisions)
    point = data.draw(st.lists(st.floats(0, 1), min_size=width, max_size=width))
    candidate = space.from_unit(point)
    space.fill(candidate)
    again = space.from_unit(space.to_unit(candidate))
    assert list(again.values) == list(candidate.values)


def test_point_of_wrong_length_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"u must be of length 5, got 2\."):
        nested().from_unit([0.5, 0.5])


# Scores


@pytest.mark.parametrize(
    "build",
    [bench201, nested, shared, subsets, skewed, fixed_subset],
    ids=lambda build: build.__name__,
)
def test_argmax_inverts_one_hot(build: Build) -> None:
    space = build()
    for candidate in list(space)[:300]:
        assert space.argmax(space.one_hot(candidate)) == candidate


def test_one_hot_is_multi_hot_for_subsets() -> None:
    scores = subsets().one_hot(Candidate({"stem": ("conv", "skip"), "stem.conv.kernel": 5}))
    assert {path: w.tolist() for path, w in scores.items()} == {
        "stem": [1, 0, 1], "stem.conv.kernel": [0, 1],
    }  # fmt: skip


def test_argmax_without_scores_takes_the_default() -> None:
    space = nested()
    scores = {"stem": [0.1, 0.7, 0.2], "stem.pool.size": [-3.0, -2.0, -9.0]}
    assert space.argmax(scores).values == {"stem": "pool", "stem.pool.size": 3, "head": "mean"}
    assert space.argmax({}) == space.default()


def test_integers_are_scored_value_by_value() -> None:
    space = repeated()
    candidate = space.argmax({"stem.times": [0.1, 0.8, 0.3], "stem.1.kernel": [0.0, 1.0]})
    assert candidate.values["stem.times"] == 2
    assert candidate.values["stem.1.kernel"] == 5
    space.check(candidate)
    assert "stem.times" not in space.one_hot(candidate)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([0.5, 0.9, 0.1, 0.7], ("b", "d")),
        ([0.5, -1.0, -2.0, -3.0], ("a",)),
        ([-4.0, -1.0, -2.0, -3.0], ("b",)),
    ],
)
def test_subset_argmax_takes_positive_scores_within_its_size(
    scores: list[float], chosen: tuple[str, ...]
) -> None:
    space = Space({"ops": SubsetOf("a", "b", "c", "d", min_size=1, max_size=2)})
    assert space.argmax({"ops": scores}).values == {"ops": chosen}


def test_fixed_decisions_ignore_scores() -> None:
    space = fixed_subset()
    best = space.argmax({"stem": [0.0, 1.0, 0.0], "stem.conv.kernel": [0.0, 1.0]})
    assert best.values == {"stem": ("conv", "skip"), "stem.conv.kernel": 5}
    fixed = numbers().fix({"width": 64, "rate": 0.5})
    best = fixed.argmax({"width": [1.0] * 505, "stop": [0.0, 1.0]})
    assert (best.values["width"], best.values["rate"]) == (64, 0.5)


# JSON and keys

scalars = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False)
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=8), anything, max_size=5))
def test_candidates_survive_json_and_pickle(values: dict[str, Value]) -> None:
    candidate = Candidate(values)
    for back in (Candidate.from_json(candidate.json()), pickle.loads(pickle.dumps(candidate))):
        assert back == candidate
        assert dict(back.values) == values
        assert repr(dict(back.values)) == repr(values)


@each_build
def test_candidate_from_json_is_legal(build: Build) -> None:
    space = build()
    for seed in range(10):
        candidate = space.sample(rng(seed))
        space.check(Candidate.from_json(candidate.json()))


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=4), anything, max_size=6), st.randoms())
def test_key_does_not_depend_on_decision_order(values: dict[str, Value], order: Any) -> None:
    pairs = list(values.items())
    order.shuffle(pairs)
    a, b = Candidate(values), Candidate(dict(pairs))
    assert (a, a.key, hash(a)) == (b, b.key, hash(b))


def test_key_is_sixteen_stable_digits() -> None:
    assert Candidate({"b": (1, "x"), "a": None}).key == "c22cb7b0353770e2"


@pytest.mark.parametrize("pair", [(1, True), (1, 1.0), (1, "1"), (None, "null"), ((), None)])
def test_candidates_differ_by_type_of_value(pair: tuple[Value, Value]) -> None:
    a, b = (Candidate({"x": value}) for value in pair)
    assert a != b
    assert a.key != b.key


def test_candidate_equals_no_other_type() -> None:
    assert Candidate({}) != {}


@pytest.mark.parametrize("text", ["[1, 2]", "3", "null", '"x"', "{", "", "{'a': 1}"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidCandidate, match="a candidate must be a JSON object of decisions"):
        Candidate.from_json(text)


# Fingerprints


@each_build
def test_equal_descriptions_have_equal_fingerprints(build: Build) -> None:
    assert build().fingerprint == build().fingerprint
    assert len(build().fingerprint) == 32


def test_fingerprint_covers_the_whole_space() -> None:
    def conv(kernel: Any = None, **closed: Any) -> Space[Net]:
        return Space(Net(Conv(OneOf(3, 5) if kernel is None else kernel, **closed)))

    spaces: list[Space[Any]] = [
        conv(), conv(width=8), conv(OneOf(3, 7)), conv(OneOf(5, 3)), conv(OneOf(3, 5, 7)),
        conv(OneOf({"3": 3, "five": 5})), conv(OneOf(3, 5, name="kernel")), conv(Integer(3, 5)),
        conv(Integer(3, 5, log=True)), conv(Float(3, 5)), conv(SubsetOf(3, 5)),
        conv(SubsetOf(3, 5, min_size=1)), conv(3), conv(True), conv(1), conv(1.0),
        conv().fix({"stem.kernel": 3}), conv().fix({"stem.kernel": 5}),
        Space(Net(Conv(OneOf(3, 5)), Pool())), Space(Net(Pool(OneOf(3, 5)))),
        Space({"stem": Conv(OneOf(3, 5))}),
        Space(Net(partial(Conv, OneOf(3, 5)))), Space(Net(partial(Pool, OneOf(3, 5)))),
        ruled(), Space(ruled().description), Space(ruled().description, valid=ordered),
        Space(ruled().description, valid=ordered, rule=even_sum),
    ]  # fmt: skip
    assert len({space.fingerprint for space in spaces}) == len(spaces)


def test_fingerprint_does_not_depend_on_fixing_order() -> None:
    a = nested().fix({"stem": "conv", "head": "max"})
    b = nested().fix({"head": "max"}).fix({"stem": "conv"})
    assert a.fingerprint == b.fingerprint != nested().fingerprint


def test_fingerprints_are_equal_in_another_process() -> None:
    code = (
        "import json, space_tools as t; "
        "print(json.dumps({b.__name__: b().fingerprint for b in t.EVERY}))"
    )
    here = {build.__name__: build().fingerprint for build in EVERY}
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        shown = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(shown.stdout) == here


@pytest.mark.parametrize(
    "space",
    [
        Space({"x": OneOf(1, 2)}, rule=lambda values: True),
        Space({"f": lambda: 3}),
        Space({"x": OneOf({"a": lambda: 1, "b": None})}),
        Space({"x": {1, 2}}),
    ],
)
def test_fingerprint_refuses_objects_without_a_stable_name(space: Space[Any]) -> None:
    with pytest.raises(SpaceError, match=r"a description must be made of .*, got .* with def\."):
        _ = space.fingerprint


def test_candidates_differ_by_type_inside_tuples() -> None:
    integer, true, real = (Candidate({"x": x, "y": "a"}) for x in (1, True, 1.0))
    assert len({integer, true, real}) == 3
    assert integer != true != real != integer
    assert len({integer.key, true.key, real.key}) == 3
    assert Candidate({"y": "a", "x": 1}) == integer
    assert hash(Candidate({"y": "a", "x": 1})) == hash(integer)
    assert Candidate({"x": (1,)}) != Candidate({"x": (True,)})
    assert integer != {"x": 1, "y": "a"}


def test_illegal_candidates_can_be_hashed_and_compared() -> None:
    odd: Any = Candidate({"x": [1, 2]})
    assert odd in {odd}
    assert odd == Candidate({"x": [1, 2]})  # type: ignore[dict-item]  # what is tested
    assert odd != Candidate({"x": (1, 2)})
    assert not Space({"x": OneOf(1, 2)}).contains(odd)


def test_pickled_candidate_leaves_its_hash_behind() -> None:
    """Hashes of texts differ between processes."""
    candidate = Candidate({"x": "a"})
    hash(candidate)
    assert b"_hash" not in pickle.dumps(candidate)
