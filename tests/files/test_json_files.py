import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pytest

from netwright.errors import BrokenFile
from netwright.files.folder import Folder
from netwright.files.json_files import MAX_DEPTH, from_plain, parse, read_json


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"\xff{}", "must be text in UTF-8"),
        ("{", "must be JSON"),
        ("[" * 100_000, "must be nested at most 64 deep"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "must be nested at most 64 deep"),
        ("9" * 5_000, "must be JSON"),
        ("[1, {'a': 2}]", "must be JSON"),
        ('[1, {"a": 1' + "0" * 301 + "}]", "must be of numbers below 1e300"),
    ],
)
def test_a_text_that_is_no_plain_json_is_refused(text: str | bytes, sentence: str) -> None:
    with pytest.raises(BrokenFile, match=f"a.json {sentence}"):
        parse(text, "a.json")


def test_plain_json_is_parsed() -> None:
    value = {"a": [1, 2.5, None, True, "é\ud800"], "b": {"c": []}}
    assert parse(json.dumps(value), "a") == value
    assert parse(json.dumps(value).encode(), "a") == value
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH, "a") is not None
    assert parse("[Infinity]", "a") == [float("inf")]


def test_a_file_of_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    assert read_json(Folder(tmp_path), "a.json") == [1]
    with pytest.raises(BrokenFile, match=r"a\.json must be at most 2 bytes, got 3"):
        read_json(Folder(tmp_path), "a.json", 2)


class Step(Protocol):
    size: int


class Pair(NamedTuple):
    first: int
    second: float = 0.5


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Whole:
    name: str
    number: float
    flags: tuple[bool, ...] = ()
    corner: tuple[int, int] | None = None
    kind: Literal["a", "b"] = "a"
    inner: Inner | None = None
    pairs: tuple[Pair, ...] = ()
    by_name: Mapping[str, tuple[float, ...]] | None = None
    step: Step | None = None
    rest: Any = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("number must be at least 0")


def test_a_record_is_built_of_its_types() -> None:
    state = {
        "name": "x", "number": 3, "flags": [True], "corner": [1, 2], "kind": "b",
        "inner": {"size": 4}, "pairs": [[1], [2, 3]], "by_name": {"k": [1, 2.5]},
        "step": Inner(7), "rest": {"any": []},
    }  # fmt: skip
    whole = from_plain(state, Whole, "state")
    assert whole == Whole(
        "x", 3.0, (True,), (1, 2), "b", Inner(4), (Pair(1), Pair(2, 3.0)), {"k": (1.0, 2.5)},
        Inner(7), {"any": []},
    )  # fmt: skip
    assert isinstance(whole.number, float)
    assert from_plain({"name": "x", "number": 0}, Whole, "state") == Whole("x", 0.0)
    assert from_plain(whole, Whole, "state") is whole


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": 3}, "state.name must be a text, got 3"),
        ({"number": True}, "state.number must be a number, got True"),
        ({"number": "3"}, "state.number must be a number"),
        ({"number": -1}, "state cannot be used: number must be at least 0"),
        ({"flags": [1]}, r"state.flags\[0\] must be true or false, got 1"),
        ({"flags": "yes"}, "state.flags must be a list"),
        ({"corner": [1]}, "state.corner must be a list of 2"),
        ({"corner": [1.0, 2]}, r"state.corner\[0\] must be a whole number"),
        ({"kind": "c"}, "state.kind must be 'a' or 'b', got 'c'"),
        ({"inner": {"size": 4, "more": 1}}, "state.inner.more must be one of size"),
        ({"inner": {}}, "state.inner.size must be given, got nothing"),
        ({"inner": [4]}, "state.inner must be an object with size"),
        ({"pairs": [[1, 2, 3]]}, r"state.pairs\[0\] must be an object with first, second"),
        ({"by_name": []}, "state.by_name must be an object"),
        ({"step": 3}, "state.step must be a Step"),
        ({"more": 3}, "state.more must be one of name"),
    ],
)
def test_a_part_of_another_type_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BrokenFile, match=sentence):
        from_plain({"name": "x", "number": 1} | change, Whole, "state")
