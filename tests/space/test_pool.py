import pickle

import numpy as np
import pandas as pd
import pytest

from netwright.errors import InputError, InvalidCandidate, SpaceError
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import PoolSpace, Space

FRAME = pd.DataFrame({
    "op": ["conv", "conv", "pool", "pool", "conv"],
    "lr": [1e-4, 1e-3, 1e-2, 1e-1, 1e-1],
    "width": [16, 32, 64, 64, 128],
    "norm": [True, False, True, False, True],
})  # fmt: skip


@pytest.fixture
def space() -> PoolSpace:
    return Space.from_candidates(FRAME)


def rows(space: PoolSpace) -> dict[Candidate, int]:
    return {candidate: i for i, candidate in enumerate(space.candidates)}


def test_each_column_is_a_decision_of_its_kind(space: PoolSpace) -> None:
    choices = {decision.path: decision.choice for decision in space.decisions}
    assert choices == {
        "op": OneOf("conv", "pool"),
        "lr": Float(1e-4, 1e-1, log=True),
        "width": Integer(16, 128, log=True),
        "norm": OneOf(False, True),
    }
    even = Space.from_candidates(pd.DataFrame({"x": [1, 2, 3, 4, 5], "only": "a"}))
    assert [decision.choice for decision in even.decisions] == [Integer(1, 5), OneOf("a")]
    assert repr(space) == "PoolSpace(5 candidates of 4 decisions: op, lr, width, norm)"


def test_candidates_have_the_values_of_the_rows(space: PoolSpace) -> None:
    assert [dict(candidate.values) for candidate in space] == FRAME.to_dict("records")
    first = space.candidates[0].values
    assert [type(value) for value in first.values()] == [str, float, int, bool]
    assert space.fill(space.candidates[2])["width"] == 64
    assert Space.from_candidates(FRAME.to_dict("records")).fingerprint == space.fingerprint


def test_everything_drawn_is_a_known_candidate(space: PoolSpace) -> None:
    rng = np.random.default_rng(0)
    known = set(space)
    parent, other = space.candidates[0], space.candidates[3]
    for _ in range(50):
        drawn = [
            space.sample(rng),
            space.mutate(parent, rng),
            space.crossover(parent, other, rng),
            space.from_unit(rng.random(4)),
            *space.neighbours(space.sample(rng)),
            *space.sample_neighbours(parent, 2, rng),
        ]
        assert known.issuperset(drawn)
        assert drawn[1] != parent
        assert drawn[2] not in (parent, other)
    assert {space.sample(rng) for _ in range(100)} == known
    assert not space.contains(Candidate({**parent.values, "width": 17}))
    assert space.contains(parent)
    assert space.size == 5


def test_a_neighbour_is_the_nearest_with_another_value(space: PoolSpace) -> None:
    index = rows(space)
    first = {index[candidate] for candidate in space.neighbours(space.candidates[0])}
    # another operation: 2 (lr .67, width .67), not 3; a larger rate or width, no norm: 1
    assert first == {1, 2}
    assert space.n_neighbours(space.candidates[0]) == 2
    grid = pd.DataFrame([{"a": a, "b": b} for a in "xyz" for b in "pq"])
    whole = Space.from_candidates(grid)
    for candidate in whole:
        differing = [
            [path for path, value in other.values.items() if value != candidate.values[path]]
            for other in whole.neighbours(candidate)
        ]
        assert sorted(differing) == [["a"], ["a"], ["b"]]


def test_a_mutation_changes_a_decision_below(space: PoolSpace) -> None:
    rng = np.random.default_rng(0)
    parent = space.candidates[0]
    assert {space.mutate(parent, rng, "op").values["op"] for _ in range(9)} == {"pool"}
    single = Space.from_candidates(FRAME[:1])
    with pytest.raises(SpaceError, match="a mutation must have a decision to change, got none"):
        single.mutate(single.candidates[0], rng)


def test_points_of_the_unit_cube_lead_back(space: PoolSpace) -> None:
    for candidate in space:
        assert space.from_unit(space.to_unit(candidate)) == candidate


def test_fixed_values_leave_fewer(space: PoolSpace) -> None:
    assert [candidate.values["lr"] for candidate in space.fix({"op": "pool"})] == [1e-2, 1e-1]
    with pytest.raises(SpaceError, match="fixed values must be of a known candidate"):
        space.fix({"op": "pool", "width": 17})
    with pytest.raises(InvalidCandidate, match="op must be one of 'conv', 'pool', got 'dense'"):
        space.fix({"op": "dense"})


def test_the_fingerprint_tells_pools_apart(space: PoolSpace) -> None:
    again = Space.from_candidates(FRAME[::-1])
    assert again.fingerprint == space.fingerprint
    assert Space.from_candidates(FRAME[[*FRAME]].drop(1)).fingerprint != space.fingerprint
    assert pickle.loads(pickle.dumps(space)).fingerprint == space.fingerprint


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ([1.0, None], r"column 'c' must be filled in each row, got an empty cell\. Fill it"),
        ([1.0, float("inf")], "column 'c' must be of finite numbers"),
        ([1, "a"], "column 'c' must be of one type"),
        ([1, True], "column 'c' must be of one type"),
        ([[1], [2]], "column 'c' must be of texts, numbers or booleans, got "),
    ],
)
def test_wrong_columns_are_refused(column: list[object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Space.from_candidates(pd.DataFrame({"c": column}))


def test_empty_pools_are_refused() -> None:
    with pytest.raises(InputError, match="columns of a pool must be different ones, at least one"):
        Space.from_candidates([])
    with pytest.raises(SpaceError, match="a pool must have at least one candidate, got none"):
        Space.from_candidates(FRAME[:0])
