"""Names that say nothing may only become fewer: see CONTRIBUTING.md, "Names and sentences"."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import netwright

SOURCE = Path(netwright.__file__).parent
VAGUE_NAMES = {
    "one", "found", "said", "told", "kept", "known", "wanted", "part", "place", "number", "item",
    "result", "value", "data", "obj", "many", "most", "least", "few",
}  # fmt: skip
VAGUE_CONSTANTS = {
    "_MOST", "_FEW", "_LEAST", "_MANY", "_FAR", "_SURE", "_SHARE", "_SHARES", "_SMALL", "_LARGE",
    "_LONG", "_SHORT", "_TINY", "_HUGE", "_EDGE", "_LOOK", "_SEEN", "_ONES", "_SAME", "_KEEPS",
    "_STEPS", "_TRIES", "_DRAWS",
}  # fmt: skip
LIMITS = {
    "automl": 156, "bench": 2, "catalog.py": 3, "cli": 51, "data": 31, "deploy": 61, "errors.py": 3, "evaluators": 152, "interfaces": 7, "networks": 9, "oneshot": 9, "pipelines": 1, "space": 23, "strategies": 7, "study": 82, "testing.py": 2,
}  # fmt: skip
"""Folder -> how often a variable or parameter may have a vague name. Lower it with the count."""
MAX_VAGUE_CONSTANTS = 36


def rooms() -> list[str]:
    return sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()) + [
        path.name for path in SOURCE.glob("*.py")
    ]


def trees(room: str) -> list[ast.Module]:
    path = SOURCE / room
    files = [path] if path.suffix else sorted(path.rglob("*.py"))
    return [ast.parse(file.read_text()) for file in files]


def bound_names(tree: ast.Module) -> list[str]:
    """Of variables and parameters."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.arg):
            names.append(node.arg)
    return names


@pytest.mark.parametrize("room", rooms())
def test_vague_names_become_no_more(room: str) -> None:
    counts = Counter(name for tree in trees(room) for name in bound_names(tree))
    vague = {name: count for name, count in counts.items() if name in VAGUE_NAMES}
    assert sum(vague.values()) <= LIMITS.get(room, 0), vague


def test_constants_without_a_meaning_become_no_more() -> None:
    names = [
        target.id
        for room in rooms()
        for tree in trees(room)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in ast.walk(node)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    ]
    assert sum(name in VAGUE_CONSTANTS for name in names) <= MAX_VAGUE_CONSTANTS
