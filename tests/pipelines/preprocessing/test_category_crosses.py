"""Pairs of categories: what is found, what is not, and that the file joins them alike."""

from __future__ import annotations

import numpy as np
import pytest
from step_tools import agree, both, categories, numbers

from netwright.data.task import Table
from netwright.errors import InputError
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.category_crosses import best_crosses, crossed, name_of

N = 900


def drawn(rng: np.random.Generator, *letters: str) -> Table:
    return categories(**{f"c{i}": rng.choice(list(s), N).tolist() for i, s in enumerate(letters)})


def standard(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / values.std())[:, None]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_two_columns_that_say_something_together_are_found(rng: np.random.Generator) -> None:
    table = drawn(rng, "ab", "xyz", "kl", "mno")
    same = (table["c0"] == "a") == (table["c2"] == "k")
    target = standard(same + 0.5 * (table["c1"] == "x") + rng.normal(size=N))
    assert best_crosses(table, list(table.keys()), target, 3) == (("c0", "c2"),)


def test_noise_and_sums_of_single_columns_have_none(rng: np.random.Generator) -> None:
    found: list[object] = []
    for _ in range(10):
        table = drawn(rng, "abcdefgh", "xyz", "kl", "mno")
        found += best_crosses(table, list(table.keys()), standard(rng.normal(size=N)), 5)
    assert len(found) <= 1
    table = drawn(rng, "ab", "xyz", "kl")
    sums = 1.0 * (table["c0"] == "a") + 2.0 * (table["c1"] == "y") + (table["c2"] == "k")
    assert best_crosses(table, list(table.keys()), standard(sums), 5) == ()
    names = categories(a=[f"v{i}" for i in range(N)], b=list("ab") * (N // 2))
    assert best_crosses(names, ["a", "b"], standard(rng.normal(size=N)), 5) == ()  # tiny cells


@pytest.mark.parametrize("encode", ["codes", "frequency", "onehot", "target"])
def test_the_file_joins_the_same_values(encode: str, rng: np.random.Generator) -> None:
    table = both(drawn(rng, "abcd", "xyz"), numbers(n=rng.normal(size=N)))
    same = np.array([a in "ab" for a in table["c0"]]) == (table["c1"] == "x")
    fitted = Categories(encode=encode, crosses=3).fit(table, standard(1.0 * same))  # type: ignore[arg-type]
    assert fitted.crosses == (("c0", "c1"),)
    unseen = both(categories(c0=["a", "", "zz"], c1=["", "x", "y"]), numbers(n=[1, 2, 3]))
    assert agree(fitted, table, unseen)
    nodes = OnnxGraphBuilder()
    fitted.to_onnx(nodes)
    many = len(nodes.nodes)
    fitted.to_onnx(nodes)  # of another part of an average
    assert sum(name_of(("c0", "c1")) in node.output for node in nodes.nodes) == 1
    assert len(nodes.nodes) == many


def test_joined_values_are_told_apart() -> None:
    table = categories(a=["x", "xy"], b=["yz", "z"])
    first, second = crossed(table, [("a", "b")])[name_of(("a", "b"))]
    assert first != second
    with pytest.raises(InputError, match="the target must be given to crosses"):
        Categories(crosses=2).fit(table)
