"""Feature crosses: which pairs are selected, and that ONNX joins them alike."""

from __future__ import annotations

import numpy as np
import pytest
from step_tools import agrees_with_onnx, categories, numbers, side_by_side

from netwright.data.task import Table
from netwright.errors import InputError
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.category_crosses import add_crosses, best_crosses, cross_name

N = 900


def random_table(rng: np.random.Generator, *letters: str) -> Table:
    return categories(**{f"c{i}": rng.choice(list(s), N).tolist() for i, s in enumerate(letters)})


def standardized(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / values.std())[:, None]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_interacting_columns_are_selected(rng: np.random.Generator) -> None:
    table = random_table(rng, "ab", "xyz", "kl", "mno")
    agree_on_first = (table["c0"] == "a") == (table["c2"] == "k")
    target = standardized(agree_on_first + 0.5 * (table["c1"] == "x") + rng.normal(size=N))
    assert best_crosses(table, list(table.keys()), target, 3) == (("c0", "c2"),)


def test_noise_and_additive_targets_give_no_crosses(rng: np.random.Generator) -> None:
    crosses: list[object] = []
    for _ in range(10):
        table = random_table(rng, "abcdefgh", "xyz", "kl", "mno")
        crosses += best_crosses(table, list(table.keys()), standardized(rng.normal(size=N)), 5)
    assert len(crosses) <= 1
    table = random_table(rng, "ab", "xyz", "kl")
    sums = 1.0 * (table["c0"] == "a") + 2.0 * (table["c1"] == "y") + (table["c2"] == "k")
    assert best_crosses(table, list(table.keys()), standardized(sums), 5) == ()
    names = categories(a=[f"v{i}" for i in range(N)], b=list("ab") * (N // 2))
    assert (
        best_crosses(names, ["a", "b"], standardized(rng.normal(size=N)), 5) == ()
    )  # too few rows per cell


@pytest.mark.parametrize("encode", ["codes", "frequency", "onehot", "target"])
def test_crosses_equal_their_onnx_and_are_added_once(encode: str, rng: np.random.Generator) -> None:
    table = side_by_side(random_table(rng, "abcd", "xyz"), numbers(n=rng.normal(size=N)))
    agree_on_first = np.array([a in "ab" for a in table["c0"]]) == (table["c1"] == "x")
    fitted = Categories(encode=encode, crosses=3).fit(table, standardized(1.0 * agree_on_first))  # type: ignore[arg-type]
    assert fitted.crosses == (("c0", "c1"),)
    unseen = side_by_side(categories(c0=["a", "", "zz"], c1=["", "x", "y"]), numbers(n=[1, 2, 3]))
    assert agrees_with_onnx(fitted, table, unseen)
    builder = OnnxGraphBuilder()
    fitted.to_onnx(builder)
    n_nodes = len(builder.nodes)
    fitted.to_onnx(builder)  # as for another member of an ensemble
    assert sum(cross_name(("c0", "c1")) in node.output for node in builder.nodes) == 1
    assert len(builder.nodes) == n_nodes


def test_joined_values_are_unambiguous_and_need_a_target_matrix() -> None:
    table = categories(a=["x", "xy"], b=["yz", "z"])
    first, second = add_crosses(table, [("a", "b")])[cross_name(("a", "b"))]
    assert first != second
    with pytest.raises(InputError, match="target_matrix must be given if Categories has crosses"):
        Categories(crosses=2).fit(table)
