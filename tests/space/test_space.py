"""Drawing, changing, checking and filling candidates."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_tools import (
    EVERY,
    FINITE,
    Build,
    Cell,
    Conv,
    Net,
    Pool,
    bench201,
    even_sum,
    fixed_inner,
    fixed_numbers,
    fixed_option,
    fixed_subset,
    fixed_times,
    judged,
    nested,
    numbers,
    repeated,
    ruled,
    shared,
    subsets,
)

from netwright.errors import InputError, InvalidCandidate, SpaceError
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared, SubsetOf, inline, is_open
from netwright.space.space import Space

SPACES = [build() for build in EVERY]
NAMES = [build.__name__ for build in EVERY]
FIXED: dict[Build, Mapping[str, Value]] = {
    fixed_option: {"stem": "conv", "stem.conv.act": "gelu"},
    fixed_inner: {"stem.conv.kernel": 7},
    fixed_times: {"stem.times": 2, "body.0.size": 4},
    fixed_subset: {"stem": ("conv", "skip")},
    fixed_numbers: {"rate": 0.01, "width": 64, "stop.early": 7},
}

each_space = pytest.mark.parametrize("space", SPACES, ids=NAMES)
quick = settings(derandomize=True, max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(space: Space[Any], count: int, seed: int = 0) -> list[Candidate]:
    draws = rng(seed)
    return [space.sample(draws) for _ in range(count)]


def legal(space: Space[Any], candidate: Candidate) -> None:
    space.check(candidate)
    assert not is_open(space.fill(candidate))


def parents(space: Space[Any]) -> dict[str, set[str]]:
    return {
        decision.path: {path for path, _ in decision.conditions or ()}
        for decision in space.decisions
    }


def below(space: Space[Any], path: str) -> set[str]:
    """The decision and all that it may switch on, directly or not."""
    ancestors = {path}
    for path, above in parents(space).items():
        if above & ancestors:
            ancestors.add(path)
    return ancestors


def changed(a: Candidate, b: Candidate) -> set[str]:
    paths = {*a.values, *b.values}
    return {p for p in paths if a.values.get(p, "absent") != b.values.get(p, "absent")}


# Every way to a candidate


@each_space
@quick
@given(seeds)
def test_sampled_mutated_and_crossed_candidates_are_legal(space: Space[Any], seed: int) -> None:
    draws = rng(seed)
    a, b = space.sample(draws), space.sample(draws)
    for candidate in (a, b, space.mutate(a, draws), space.crossover(a, b, draws)):
        legal(space, candidate)


@each_space
def test_neighbours_are_legal_and_one_decision_away(space: Space[Any]) -> None:
    for candidate in samples(space, 5):
        neighbours = list(space.neighbours(candidate))
        assert len(set(neighbours)) == len(neighbours) > 0
        for neighbour in neighbours:
            legal(space, neighbour)
            moved = changed(candidate, neighbour)
            assert any(moved <= below(space, path) for path in moved & {*candidate.values})


@pytest.mark.parametrize("build", [build for build, _ in FINITE], ids=NAMES[: len(FINITE)])
def test_neighbours_cover_every_other_value(build: Build) -> None:
    space = build()
    for candidate in samples(space, 5):
        active = [decision for decision in space.decisions if decision.path in candidate.values]
        expected = sum(len(decision.values) - 1 for decision in active)
        assert len(list(space.neighbours(candidate))) == expected


def test_newly_active_decisions_of_neighbours_take_defaults() -> None:
    pool = Candidate({"stem": "pool", "stem.pool.size": 3, "head": "max"})
    conv: dict[str, Value] = {
        "stem": "conv",
        "stem.conv.kernel": 3,
        "stem.conv.act": "relu",
        "head": "max",
    }
    assert Candidate(conv) in set(nested().neighbours(pool))


def test_real_neighbours_are_a_tenth_of_the_range_away() -> None:
    space = Space({"x": Float(0.0, 10.0), "rate": Float(1e-4, 1.0, log=True)})
    values = {"x": 9.5, "rate": 1e-2}
    neighbours = [values.values for values in space.neighbours(Candidate(values))]
    assert neighbours[0] == {"x": pytest.approx(8.5), "rate": 1e-2}
    assert [values["rate"] for values in neighbours[1:]] == pytest.approx([10**-2.4, 10**-1.6])
    assert {values["x"] for values in neighbours[1:]} == {9.5}


@each_space
def test_the_same_seed_gives_the_same_candidates(space: Space[Any]) -> None:
    def story(seed: int) -> list[Candidate]:
        draws = rng(seed)
        a, b = space.sample(draws), space.sample(draws)
        return [a, b, space.mutate(a, draws), space.crossover(a, b, draws), space.sample(draws)]

    assert story(7) == story(7)
    assert any(story(7) != story(seed) for seed in range(20))


def test_options_are_sampled_uniformly() -> None:
    drawn = [candidate.values["stem"] for candidate in samples(nested(), 6000)]
    shares = [drawn.count(name) / 6000 for name in ("conv", "pool", "none")]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.025)


def test_default_takes_first_options_and_lowest_numbers() -> None:
    assert nested().default().values == {
        "stem": "conv", "stem.conv.kernel": 3, "stem.conv.act": "relu", "head": "mean",
    }  # fmt: skip
    assert numbers().default().values == {
        "rate": 1e-4, "width": 8, "drop": 0.0, "depth": -2, "stop": "early", "stop.early": 1,
    }  # fmt: skip


# Mutation


@each_space
@quick
@given(seeds)
def test_mutation_changes_one_decision_and_what_it_activates(space: Space[Any], seed: int) -> None:
    draws = rng(seed)
    parent = space.sample(draws)
    moved = changed(parent, space.mutate(parent, draws))
    assert any(moved <= below(space, path) for path in moved & {*parent.values})


def test_mutation_reaches_every_value() -> None:
    space, draws = nested(), rng()
    parent = Candidate({"stem": "none", "head": "mean"})
    reached = {space.mutate(parent, draws) for _ in range(600)}
    with_other_stem = [candidate for candidate in space if candidate.values["stem"] != "none"]
    assert reached == {
        Candidate({"stem": "none", "head": "max"}),
        *(candidate for candidate in with_other_stem if candidate.values["head"] == "mean"),
    }


@pytest.mark.parametrize(
    ("build", "under"),
    [(nested, "stem"), (nested, "stem.conv"), (repeated, "body"), (repeated, "stem.0"),
     (bench201, "edges.1")],
)  # fmt: skip
def test_a_mutation_stays_under_its_prefix(build: Build, under: str) -> None:
    space, draws = build(), rng()
    parent = space.default()
    for _ in range(60):
        moved = changed(parent, space.mutate(parent, draws, under=under))
        assert moved
        assert all(path == under or path.startswith(f"{under}.") for path in moved)


def test_mutation_prefix_is_a_whole_name() -> None:
    space = Space({"a": OneOf(1, 2), "ab": OneOf(1, 2)})
    moved = {next(iter(changed(space.default(), space.mutate(space.default(), rng(s), "a"))))
             for s in range(20)}  # fmt: skip
    assert moved == {"a"}


@pytest.mark.parametrize(
    ("space", "under", "where"),
    [
        (nested(), "stem.pool", r" below 'stem\.pool', got none"),
        (nested().fix({"head": "max"}), "head", r" below 'head', got none"),
        (Space({"x": OneOf(1), "y": Integer(3, 3), "z": 4}), "", r" to change, got none"),
    ],
)
def test_mutation_without_mutable_decisions_is_refused(
    space: Space[Any], under: str, where: str
) -> None:
    with pytest.raises(SpaceError, match=f"a mutation must have a decision.*{where}"):
        space.mutate(space.default(), rng(), under=under)


# Crossover


@each_space
@quick
@given(seeds)
def test_crossover_takes_each_decision_from_a_parent(space: Space[Any], seed: int) -> None:
    draws = rng(seed)
    a, b = space.sample(draws), space.sample(draws)
    child = space.crossover(a, b, draws)
    for path, value in child.values.items():
        theirs = [parent.values[path] for parent in (a, b) if path in parent.values]
        assert not theirs or value in theirs


def test_crossover_of_equal_parents_gives_them() -> None:
    for space in SPACES:
        parent = space.sample(rng(3))
        assert space.crossover(parent, parent, rng()) == parent


def test_crossover_keeps_inner_choices_with_their_option() -> None:
    conv: Any = Net(OneOf(1, 2, 3), OneOf(1, 2, 3), OneOf(1, 2, 3))
    space = Space({"op": OneOf({"conv": conv, "pool": Pool(OneOf(2, 3))}), "width": Integer(1, 9)})
    inside: dict[str, Value] = {f"op.conv.{name}": 2 for name in ("stem", "body", "head")}
    a = Candidate({"op": "conv", **inside, "width": 1})
    b = Candidate({"op": "pool", "op.pool.size": 3, "width": 9})
    children = [space.crossover(a, b, rng(seed)).values for seed in range(40)]
    assert {child["op"] for child in children} == {"conv", "pool"}
    for child in children:
        parent = a if child["op"] == "conv" else b
        assert {p: v for p, v in child.items() if p != "width"} == {
            p: v for p, v in parent.values.items() if p != "width"
        }
    assert {(child["op"], child["width"]) for child in children} == {
        ("conv", 1), ("conv", 9), ("pool", 1), ("pool", 9),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("space", "a", "b"),
    [
        (
            Space(Repeat(Pool(OneOf(2, 3)), times=Integer(2, 3))),
            {"times": 2, "0.size": 2, "1.size": 2},
            {"times": 3, "0.size": 3, "1.size": 3, "2.size": 3},
        ),
        (
            Space({"ops": SubsetOf({"x": Net(OneOf(1, 2), OneOf(1, 2)), "y": None}, min_size=1)}),
            {"ops": ("x",), "ops.x.stem": 1, "ops.x.body": 1},
            {"ops": ("x", "y"), "ops.x.stem": 2, "ops.x.body": 2},
        ),
    ],
)
def test_shared_inner_choices_follow_the_differing_option(
    space: Space[Any], a: dict[str, Value], b: dict[str, Value]
) -> None:
    parent, other = Candidate(a), Candidate(b)
    assert {space.crossover(parent, other, rng(seed)) for seed in range(40)} == {parent, other}


def test_crossover_mixes_inner_choices_of_equal_options() -> None:
    space = nested()
    same: dict[str, Value] = {"stem": "conv", "head": "max"}
    a = Candidate({**same, "stem.conv.kernel": 3, "stem.conv.act": "relu"})
    b = Candidate({**same, "stem.conv.kernel": 7, "stem.conv.act": "gelu"})
    children = {space.crossover(a, b, rng(seed)) for seed in range(60)}
    mixed = {
        (candidate.values["stem.conv.kernel"], candidate.values["stem.conv.act"])
        for candidate in children
    }
    assert mixed == {(3, "relu"), (3, "gelu"), (7, "relu"), (7, "gelu")}


def test_nested_inner_choices_follow_the_differing_option() -> None:
    deep: Any = OneOf({"on": OneOf({"x": OneOf(1, 2), "y": OneOf(1, 2)}), "off": None})
    space = Space({"top": deep})
    a = Candidate({"top": "on", "top.on": "x", "top.on.x": 2})
    b = Candidate({"top": "off"})
    assert {space.crossover(a, b, rng(seed)) for seed in range(40)} == {a, b}


# Fixing


@pytest.mark.parametrize("build", FIXED, ids=[build.__name__ for build in FIXED])
def test_a_fixed_decision_never_changes(build: Build) -> None:
    space, draws = build(), rng()
    for a, b in zip(samples(space, 20), samples(space, 20, seed=1), strict=True):
        children = [space.mutate(a, draws), space.crossover(a, b, draws), space.default()]
        for candidate in (a, *children, *space.neighbours(a), space.from_unit(space.to_unit(b))):
            for path, value in FIXED[build].items():
                assert candidate.values.get(path, value) == value


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (fixed_option, nested), (fixed_inner, nested), (fixed_times, repeated),
        (fixed_subset, subsets), (fixed_numbers, numbers),
    ],
)  # fmt: skip
def test_candidates_of_a_fixed_space_are_legal_in_the_original(narrow: Build, wide: Build) -> None:
    whole = wide()
    for candidate in samples(narrow(), 20):
        whole.check(candidate)


def test_fixed_space_equals_the_filtered_original() -> None:
    expected = {
        candidate for candidate in nested() if candidate.values.get("stem.conv.kernel", 7) == 7
    }
    assert expected == set(fixed_inner())


@pytest.mark.parametrize(
    ("build", "path", "value", "sentence"),
    [
        (fixed_option, "stem", "pool", r"stem must be one of 'conv', got 'pool'"),
        (fixed_numbers, "rate", 0.02, r"rate must be one of 0\.01, got 0\.02"),
        (fixed_numbers, "width", 65, r"width must be one of 64, got 65"),
    ],
)
def test_another_value_of_a_fixed_decision_is_refused(
    build: Build, path: str, value: Value, sentence: str
) -> None:
    space = build()
    with pytest.raises(InvalidCandidate, match=sentence):
        space.check(Candidate({**space.default().values, path: value}))
    with pytest.raises(InvalidCandidate, match=sentence):
        space.fix({path: value})
    assert space.fix(FIXED[build]).fingerprint == space.fingerprint


@pytest.mark.parametrize(
    ("values", "path", "sentence"),
    [
        ({"stem.conv.kernal": 3}, "stem.conv.kernal", r"Did you mean 'stem\.conv\.kernel'\?"),
        ({"stem": "dense"}, "stem", r"stem must be one of 'conv', 'pool', 'none', got 'dense'"),
        ({"stem.conv.kernel": 3.0}, "stem.conv.kernel", r"one of 3, 5, 7, got 3\.0"),
    ],
)
def test_fixing_illegal_values_is_refused(
    values: dict[str, Value], path: str, sentence: str
) -> None:
    with pytest.raises(InvalidCandidate, match=sentence) as caught:
        nested().fix(values)
    assert caught.value.path == path


# Rules


def test_rule_gets_decisions_and_valid_gets_the_description() -> None:
    assert len(list(ruled())) == 50
    assert all(even_sum(candidate.values) for candidate in ruled())
    filled = [judged().fill(candidate) for candidate in judged()]
    assert len(filled) == 55
    assert all(description["a"] <= description["b"] for description in filled)


def test_candidate_must_pass_both_rule_and_valid() -> None:
    both = Space(judged().description, valid=lambda d: d["a"] <= d["b"], rule=even_sum)
    assert len(list(both)) == 30
    assert len(list(both.fix({"a": 0}))) == 5


def test_candidate_that_breaks_the_rule_is_refused() -> None:
    for space in (ruled(), judged()):
        with pytest.raises(InvalidCandidate, match=r"must pass the space's rule, got one that do"):
            space.check(Candidate({"a": 4, "b": 3}))


@pytest.mark.parametrize(
    "act",
    [
        lambda space, candidate: space.sample(rng()),
        lambda space, candidate: space.sample(rng(), by="leaf"),
        lambda space, candidate: space.mutate(candidate, rng()),
        lambda space, candidate: space.crossover(candidate, candidate, rng()),
    ],
)
def test_unsatisfiable_rule_raises_instead_of_hanging(
    act: Callable[[Space[Any], Candidate], object],
) -> None:
    space = Space({"a": Integer(0, 9), "b": OneOf(1, 2)}, rule=lambda values: False)
    with pytest.raises(SpaceError, match=r"rule must hold for some draws, got none among 1000\."):
        act(space, Candidate({"a": 0, "b": 1}))
    assert list(space) == []


# Checking


FULL: dict[str, Value] = {
    "stem": "conv", "stem.conv.kernel": 3, "stem.conv.act": "relu", "head": "max",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "path", "value", "sentence"),
    [
        ({"hed": "max"}, "hed", None,
         r"'hed' must be a decision of the space, got none of that name\. Did you mean 'head'\?"),
        ({"zzz": 1}, "zzz", None, r"'zzz' must be a decision .* none of that name\.$"),
        ({"head": ...}, "head", None, r"head must be decided, got nothing\. Use one of 'mean', 'max'"),
        ({"stem.conv.act": ...}, "stem.conv.act", None, r"stem\.conv\.act must be decided, got noth"),
        ({"head": "median"}, "head", "median", r"head must be one of 'mean', 'max', got 'median'"),
        ({"stem.conv.kernel": 3.0}, "stem.conv.kernel", 3.0, r"must be one of 3, 5, 7, got 3\.0"),
        ({"stem": ["conv"]}, "stem", ["conv"], r"stem must be one of 'conv', .*, got \['conv'\]"),
        ({"stem": None}, "stem", None, r"stem must be one of 'conv', 'pool', 'none', got None"),
        ({"stem.pool.size": 2}, "stem.pool.size", 2,
         r"stem\.pool\.size must be left out, got 2: stem does not activate it\."),
    ],
)  # fmt: skip
def test_misfit_candidates_are_refused_with_the_path(
    change: dict[str, Any], path: str, value: object, sentence: str
) -> None:
    values = {p: v for p, v in {**FULL, **change}.items() if v is not ...}
    with pytest.raises(InvalidCandidate, match=sentence) as caught:
        nested().check(Candidate(values))
    assert (caught.value.path, caught.value.value) == (path, value)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("width", 7, r"width must be a whole number from 8 to 512, got 7\."),
        ("width", 8.0, r"width must be a whole number from 8 to 512, got 8\.0"),
        ("depth", True, r"depth must be a whole number from -2 to 5, got True"),
        ("rate", 2.0, r"rate must be a number from 0\.0001 to 1, got 2\.0"),
        ("rate", "0.1", r"rate must be a number .*, got '0\.1'"),
        ("rate", float("nan"), r"rate must be a number .*, got nan"),
    ],
)
def test_a_number_outside_its_range_is_refused(path: str, value: Value, sentence: str) -> None:
    with pytest.raises(InvalidCandidate, match=sentence):
        numbers().check(Candidate({**numbers().default().values, path: value}))


@pytest.mark.parametrize(
    "value", [(), ("skip", "conv"), ("conv", "pool", "skip"), ("conv", "conv"), "conv", ["skip"]]
)
def test_illegal_subsets_are_refused(value: Any) -> None:
    with pytest.raises(InvalidCandidate, match=r"stem must be one of \('conv',\), "):
        subsets().check(Candidate({"stem": value}))


def test_long_lists_of_options_are_shortened_in_errors() -> None:
    space = Space({"x": OneOf(*range(40))})
    with pytest.raises(InvalidCandidate, match=r"10, 11, \.\.\., got 99"):
        space.check(Candidate({"x": 99}))


@pytest.mark.parametrize(
    ("build", "values"),
    [
        (nested, {**FULL, "stem": "dense"}),
        (nested, {"stem": "conv", "head": "max"}),
        (nested, {**FULL, "stem": ["conv"]}),
        (subsets, {"stem": ("dense",)}),
        (subsets, {"stem": ["skip"]}),
        (repeated, {"stem.times": "2", "body.times": 1}),
    ],
)
def test_filling_a_misfit_candidate_is_refused(build: Build, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidCandidate):
        build().fill(Candidate(values))


# Filling


def test_fill_puts_decisions_into_the_description() -> None:
    assert nested().fill(Candidate(FULL)) == Net(Conv(3, act="relu"), head="max")
    pool = Candidate({"stem": "pool", "stem.pool.size": 4, "head": "mean"})
    assert nested().fill(pool) == Net(Pool(4), head="mean")


def test_distinct_candidates_give_distinct_descriptions() -> None:
    for build in (nested, repeated, subsets, fixed_times):
        filled = [repr(build().fill(candidate)) for candidate in build()]
        assert len(set(filled)) == len(filled)


def test_subset_of_a_mapping_is_filled_as_a_mapping() -> None:
    pool = Candidate({"stem": ("pool", "skip")})
    assert subsets().fill(pool).stem == {"pool": Pool(), "skip": None}
    plain = Space({"ops": SubsetOf(Conv(OneOf(3, 5)), Pool(), min_size=2)})
    assert plain.fill(plain.default()) == {"ops": (Conv(3), Pool())}


def test_copies_decide_independently_unless_same() -> None:
    own = Space(Repeat(Conv(OneOf(3, 5)), times=2))
    assert {tuple(conv.kernel for conv in own.fill(candidate)) for candidate in own} == {
        (3, 3), (3, 5), (5, 3), (5, 5),
    }  # fmt: skip
    same = Space({"b": Repeat(Conv(OneOf(3, 5)), times=OneOf(0, 2), same=True)})
    assert [tuple(conv.kernel for conv in same.fill(candidate)["b"]) for candidate in same] == [
        (), (3, 3), (5, 5),
    ]  # fmt: skip


def test_closed_copies_have_one_decision() -> None:
    space = Space(Repeat(Conv(), times=Integer(0, 2)))
    assert [space.fill(candidate) for candidate in space] == [(), (Conv(),), (Conv(), Conv())]


def test_number_of_copies_may_be_labelled_or_named() -> None:
    count: Any = OneOf({"few": 1, "many": 3})
    labelled = Space({"b": Repeat(Pool(OneOf(2, 4)), times=count)})
    assert labelled.size == len(list(labelled)) == 2 + 8
    assert {len(labelled.fill(candidate)["b"]) for candidate in labelled} == {1, 3}
    named = Space({"b": Repeat(Pool(OneOf(2, 4)), times=Integer(1, 2, name="depth"))})
    assert {decision.path for decision in named.decisions} == {"depth", "b.0.size", "b.1.size"}
    assert {len(named.fill(candidate)["b"]) for candidate in named} == {1, 2}


def test_shared_choices_are_active_if_either_parent_is() -> None:
    space = shared()
    on = Candidate({"stem": "on", "body": "on", "conv.kernel": 5})
    assert space.fill(on) == Net(Conv(5), Conv(5))
    assert space.fill(Candidate({"stem": "off", "body": "on", "conv.kernel": 7})).body == Conv(7)
    with pytest.raises(InvalidCandidate, match=r"conv\.kernel must be left out, got 3: stem or bo"):
        space.check(Candidate({"stem": "off", "body": "off", "conv.kernel": 3}))


def test_choices_of_one_name_decide_together() -> None:
    space = Space(Net(Integer(1, 3, name="depth"), Integer(1, 3, name="depth")))
    assert {(space.fill(candidate).stem, space.fill(candidate).body) for candidate in space} == {
        (1, 1), (2, 2), (3, 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        (Net(OneOf(1, 2, name="k"), OneOf(1, 3, name="k")), r"k must name one choice, got two"),
        (Net(Shared(OneOf(1, 2), "p"), Shared(OneOf(3, 4), "p")), r"p must name one choice"),
    ],
)
def test_different_choices_of_one_name_are_refused(description: Net, sentence: str) -> None:
    with pytest.raises(SpaceError, match=sentence):
        Space(description)


def test_cyclic_conditions_are_refused() -> None:
    def count(name: str) -> int:
        return Integer(1, 2, name=name)

    each: Any = (Repeat(count("a"), times=count("b")), Repeat(count("b"), times=count("a")))
    with pytest.raises(SpaceError, match=r"[ab] must not depend on itself\. Rename one of"):
        Space(OneOf({"both": each, "none": None}))


@dataclass(frozen=True)
class Stage:
    depth: int
    body: Any = inline(default=None)  # noqa: RUF009  # `inline` is a field
    doubled: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if isinstance(self.depth, int):
            object.__setattr__(self, "doubled", 2 * self.depth)


def test_derived_fields_are_recomputed() -> None:
    space = Space(Stage(OneOf(1, 4)))
    assert [space.fill(candidate).doubled for candidate in space] == [2, 8]


def test_paths_join_fields_indices_keys_and_labels() -> None:
    cell = Cell((OneOf("a", "b"), "c", OneOf("a", "b")))
    call = partial(Conv, OneOf(3, 5), act=OneOf("relu", "gelu"))
    stage = Stage(Integer(1, 3), body=(OneOf({"x": Pool(OneOf(2, 3))}), 1))
    space = Space({"cell": cell, "call": call, "stage": stage})
    assert [decision.path for decision in space.decisions] == [
        "cell.edges.0", "cell.edges.2", "call.0", "call.act",
        "stage.depth", "stage.0", "stage.0.x.size",
    ]  # fmt: skip
    filled = space.fill(space.default())
    assert filled["call"]() == Conv(3, act="relu")  # type: ignore[operator]
    assert filled["stage"] == Stage(1, (Pool(2), 1))


def test_a_description_may_be_one_choice() -> None:
    space: Space[Any] = Space(OneOf({"conv": Conv(OneOf(3, 5)), "none": None}))
    assert [space.fill(candidate) for candidate in space] == [Conv(3), Conv(5), None]
    assert [decision.path for decision in space.decisions] == ["", "conv.kernel"]


def test_a_closed_description_is_one_candidate() -> None:
    space = Space(Net(Conv(), Pool()))
    assert list(space) == [Candidate({})] == [space.sample(rng())]
    assert space.size == 1
    assert space.fill(Candidate({})) == space.description


def test_decisions_follow_those_they_depend_on() -> None:
    for space in SPACES:
        met: set[str] = set()
        for path, above in parents(space).items():
            assert above <= met
            met.add(path)


def test_description_is_not_modified() -> None:
    space = nested()
    before = repr(space.description)
    for candidate in samples(space, 5):
        space.fill(candidate)
    assert repr(space.description) == before


def test_wide_integer_range_needs_no_memory() -> None:
    space = Space({"seed": Integer(0, 10**12), "stop": OneOf(True, False)})
    candidate = space.sample(rng())
    assert space.size == 2 * (10**12 + 1)
    assert space.mutate(candidate, rng(), under="seed").values["seed"] != candidate.values["seed"]
    legal(space, space.sample(rng(), by="leaf"))


def test_a_list_with_choices_is_refused() -> None:
    with pytest.raises(SpaceError, match="must hold tuples, got a list with choices at layers"):
        Space({"layers": [OneOf(1, 2)]})
    assert Space({"sizes": [1, 2], "a": OneOf(1, 2)}).size == 2


def test_fixed_float_stays_a_float() -> None:
    space = Space({"lr": Float(0.0, 2.0)})
    assert space.fix({"lr": 1}).default() == space.fix({"lr": 1.0}).default()


def test_contains_agrees_with_check() -> None:
    space = Space({"x": Integer(0, 9)}, rule=lambda values: values["x"] != 3)
    assert space.contains(Candidate({"x": 4}))
    assert not space.contains(Candidate({"x": 3}))
    assert not space.contains(Candidate({"y": 4}))


# What is made once for many candidates


def test_shared_description_is_filled_as_one_object() -> None:
    cell = Shared(Conv(OneOf(3, 5)), "cell")
    space: Space[Any] = Space((Repeat(cell, 3), Net(cell, Conv(OneOf(3, 5)))))
    for again in (space, pickle.loads(pickle.dumps(space))):
        (first, two, three), net = again.fill(Candidate({"cell.kernel": 5, "1.body.kernel": 5}))
        assert first is two is three is net.stem
        assert net.body == first  # equal by chance, and not shared
        assert net.body is not first
    # and another candidate has an object of its own
    assert space.fill(Candidate({"cell.kernel": 3, "1.body.kernel": 5}))[1].stem == Conv(3)


def test_every_kind_of_choice_is_filled() -> None:
    space: Space[Any] = Space({
        "one": OneOf({"conv": Conv(OneOf(3, 5)), "none": None}),
        "some": SubsetOf("p", "q", "r"),
        "named": SubsetOf({"a": Conv(OneOf(3, 5)), "b": 2}),
        "row": Repeat(Pool(OneOf(2, 4)), times=Integer(0, 2)),
        "call": partial(pow, Integer(2, 3), exp=Integer(1, 2)),
        "closed": (1, "text"),
    })  # fmt: skip
    values = {
        "one": "conv", "one.conv.kernel": 5, "some": ("p", "r"), "named": ("a",),
        "named.a.kernel": 3, "row.times": 2, "row.0.size": 2, "row.1.size": 4,
        "call.0": 3, "call.exp": 2,
    }  # fmt: skip
    for again in (space, pickle.loads(pickle.dumps(space))):
        filled = again.fill(Candidate(values))
        call = filled.pop("call")
        assert (call.func, call.args, call.keywords) == (pow, (3,), {"exp": 2})
        assert filled == {
            "one": Conv(5), "some": ("p", "r"), "named": {"a": Conv(3)},
            "row": (Pool(2), Pool(4)), "closed": (1, "text"),
        }  # fmt: skip
        assert space.fill(Candidate(values))["one"] == Conv(5)  # nothing is left of a fill


def test_closed_descriptions_are_not_copied() -> None:
    big = Net(Conv(3), Conv(5))
    assert Space({"net": big, "x": OneOf(1, 2)}).fill(Candidate({"x": 2}))["net"] is big  # type: ignore[comparison-overlap]


def adds_up(values: Mapping[str, Value]) -> bool:
    return sum(int(str(value)) for value in values.values()) == 6


def test_mutation_changes_more_decisions_under_a_coupling_rule() -> None:
    space = Space({"a": Integer(0, 6), "b": Integer(0, 6), "c": Integer(0, 6)}, rule=adds_up)
    parent = Candidate({"a": 1, "b": 2, "c": 3})
    children = [space.mutate(parent, rng(seed)) for seed in range(30)]
    changed = {sum(child.values[p] != parent.values[p] for p in "abc") for child in children}
    assert all(space.contains(child) for child in children)
    assert changed == {2}
    again = Space(space.description, rule=adds_up)  # what was found out before does not show
    assert children == [again.mutate(parent, rng(seed)) for seed in range(30)]
    assert children == [space.mutate(parent, rng(seed)) for seed in range(30)]


def one_of_a_kind(values: Mapping[str, Value]) -> bool:
    return values["a"] == values["b"] == 3


def test_mutation_without_valid_child_redraws_all() -> None:
    space = Space({"a": Integer(0, 4), "b": Integer(0, 4)}, rule=one_of_a_kind)
    parent = Candidate({"a": 3, "b": 3})
    assert space.mutate(parent, rng()) == parent


@pytest.mark.parametrize("wrong", [0, None, random.Random(0), np.random.RandomState(0)])
def test_rng_must_be_a_generator(wrong: Any) -> None:
    space = bench201()
    for draw in (
        lambda: space.sample(wrong),
        lambda: space.mutate(space.default(), wrong),
        lambda: space.crossover(space.default(), space.default(), wrong),
    ):
        with pytest.raises(InputError, match=r"rng must be a numpy\.random\.Generator"):
            draw()


def test_sampled_neighbours_vary_every_decision() -> None:
    space = Space({"n": Integer(0, 10**15), "a": OneOf("x", "y", "z"), "r": Float(0, 1)})
    here = Candidate({"n": 5, "a": "x", "r": 0.5})
    assert space.n_neighbours(here) == 10**15 + 2 + 2
    neighbours = space.sample_neighbours(here, 30, rng())
    assert len(set(neighbours)) == len(neighbours) == 30
    changed = [
        [p for p in here.values if neighbour.values[p] != here.values[p]]
        for neighbour in neighbours
    ]
    assert {tuple(paths) for paths in changed} == {("n",), ("a",), ("r",)}
    assert neighbours == space.sample_neighbours(here, 30, rng())
    small = bench201()
    assert set(small.sample_neighbours(small.default(), 99, rng())) == set(
        small.neighbours(small.default())
    )


def test_repr_shows_decisions() -> None:
    assert repr(Space({"a": Integer(0, 4), "b": OneOf(1, 2)})) == "Space(2 decisions: a, b)"
    assert repr(Space({"a": Integer(0, 4)})) == "Space(1 decision: a)"
    assert repr(Space({"a": 3})) == "Space(0 decisions)"
    assert repr(bench201()).endswith("edges.4, ...)")
