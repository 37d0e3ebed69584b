"""The dispatch over kinds of parts, and paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared, SubsetOf, inline
from netwright.space.space import Space
from netwright.space.visitor import (
    Visitor,
    children,
    copy_paths,
    count_path,
    counts_by_value,
    join_path,
    labelled_options,
    map_children,
    with_children,
)


@dataclass(frozen=True)
class Pair:
    left: Any = 1
    right: Any = 2
    named: Any = inline(default_factory=dict)  # noqa: RUF009  # a field


class Paths(Visitor[list[str], None]):
    """Kind and path of every part, in the order met."""

    def _options(self, kind: str, description: Any, path: str) -> list[str]:
        visited = [f"{kind} {path}"]
        for _, option, below in labelled_options(description, path):
            visited += self.visit(option, below, None)
        return visited

    def visit_one_of(self, description: Any, path: str, context: None) -> list[str]:
        return self._options("one", description, path)

    def visit_subset(self, description: Any, path: str, context: None) -> list[str]:
        return self._options("some", description, path)

    def visit_number(self, description: Any, path: str, context: None) -> list[str]:
        return [f"number {path}"]

    def visit_repeat(self, description: Any, path: str, context: None) -> list[str]:
        visited = [f"repeat {path}", f"count {count_path(description, path)}"]
        for below in copy_paths(description, path):
            visited += self.visit(description.block, below, None)
        return visited

    def visit_container(self, description: Any, path: str, context: None) -> list[str]:
        return [
            line for name, child in children(description)
            for line in self.visit(child, join_path(path, name), None)
        ]  # fmt: skip

    def visit_constant(self, description: Any, path: str, context: None) -> list[str]:
        return [f"closed {path}"]


def test_visitor_dispatches_every_kind_with_its_path() -> None:
    described = (
        Pair(OneOf("a", "b"), named={"x": Float(0, 1)}),
        Repeat(Shared(Integer(1, 3), "width"), times=OneOf(1, 2)),
        partial(Pair, SubsetOf("p", "q"), right=Integer(0, 9, name="mine")),
    )
    assert Paths().visit(described, "", None) == [
        "one 0.left", "closed 0.left.a", "closed 0.left.b", "closed 0.right", "number 0.x",
        "repeat 1", "count 1.times", "number width", "number width",
        "some 2.0", "closed 2.0.p", "closed 2.0.q", "number mine",
    ]  # fmt: skip


def test_visited_paths_cover_the_decisions() -> None:
    described = Pair(Repeat(Float(0, 1), times=Integer(1, 2)), OneOf(1, 2))
    numbers = {line.partition(" ")[2] for line in Paths().visit(described, "", None)}
    assert {decision.path for decision in Space(described).decisions} <= numbers


def test_counts_by_value_pairs_values_and_counts() -> None:
    assert counts_by_value(Repeat(1, times=OneOf({"few": 1, "many": 4}))) == [
        ("few", 1),
        ("many", 4),
    ]  # type: ignore[arg-type, comparison-overlap]
    assert counts_by_value(Repeat(1, times=Integer(1, 3))) == [(1, 1), (2, 2), (3, 3)]  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize(
    "description", [(1, 2), {"a": 1, "b": 2}, Pair(3, 4, {"c": 5}), partial(Pair, 1, right=2)]
)
def test_with_children_inverts_children(description: Any) -> None:
    again = with_children(description, [child for _, child in children(description)])
    assert [*children(again)] == [*children(description)]
    assert type(again) is type(description)


def test_map_children_keeps_an_unchanged_object() -> None:
    pair = Pair((1, 2), field)
    assert map_children(pair, lambda child: child) is pair
    assert map_children(pair, lambda child: 7 if child is field else child).right == 7
