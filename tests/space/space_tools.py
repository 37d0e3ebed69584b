"""Descriptions and spaces that the tests of spaces share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netwright.space.candidate import Value
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared, SubsetOf
from netwright.space.space import Space


@dataclass(frozen=True)
class Conv:
    kernel: int = 3
    width: int = 16
    act: str = "relu"


@dataclass(frozen=True)
class Pool:
    size: int = 2


@dataclass(frozen=True)
class Cell:
    """Six edges of five operations each, as in NAS-Bench-201."""

    edges: tuple[str, ...]


@dataclass(frozen=True)
class Net:
    stem: Any
    body: Any = None
    head: Any = None


def bench201() -> Space[Cell]:
    names = ("none", "skip", "conv1", "conv3", "pool3")
    return Space(Cell(tuple(OneOf(*names) for _ in range(6))))


def nested() -> Space[Net]:
    """(3 * 2 + 3 + 1) * 2 = 20 candidates."""
    convs = Conv(kernel=OneOf(3, 5, 7), act=OneOf("relu", "gelu"))
    stem: Any = OneOf({"conv": convs, "pool": Pool(OneOf(2, 3, 4)), "none": None})
    return Space(Net(stem, head=OneOf("mean", "max")))


def repeated() -> Space[Net]:
    """(2 + 4 + 8) * (2 + 8) = 140 candidates."""
    few = Repeat(Conv(kernel=OneOf(3, 5)), times=Integer(1, 3))
    odd = Repeat(Pool(OneOf(2, 4)), times=OneOf(1, 3))
    return Space(Net(few, odd))


def shared() -> Space[Net]:
    """3 * 3 + 1 = 10 candidates: the kernel is asked for when either part is there."""
    conv = Shared(Conv(kernel=OneOf(3, 5, 7)), "conv")
    maybe: Any = OneOf({"on": conv, "off": None})
    return Space(Net(maybe, maybe))


def subsets() -> Space[Net]:
    """1 or 2 of three parts, one of them with two kernels: 4 + 5 = 9 candidates."""
    parts: Any = {"conv": Conv(kernel=OneOf(3, 5)), "pool": Pool(), "skip": None}
    return Space(Net(SubsetOf(parts, min_size=1, max_size=2)))


def numbers() -> Space[Mapping[str, Any]]:
    return Space(
        {
            "rate": Float(1e-4, 1.0, log=True),
            "width": Integer(8, 512, log=True),
            "drop": Float(0.0, 0.5),
            "depth": Integer(-2, 5),
            "stop": OneOf({"early": Integer(1, 9), "late": None}),
        }
    )


def even_sum(values: Mapping[str, Value]) -> bool:
    return (int(str(values["a"])) + int(str(values["b"]))) % 2 == 0


def ruled() -> Space[Mapping[str, int]]:
    """50 of 100 candidates have an even sum."""
    return Space({"a": Integer(0, 9), "b": Integer(0, 9)}, rule=even_sum)


def ordered(description: Mapping[str, int]) -> bool:
    return description["a"] <= description["b"]


def judged() -> Space[Mapping[str, int]]:
    """55 of 100 candidates are in order."""
    return Space({"a": Integer(0, 9), "b": Integer(0, 9)}, valid=ordered)


def skewed() -> Space[Any]:
    """One option with 8 candidates below it and one with none: 9 candidates."""
    many = Net(OneOf(1, 2), OneOf(1, 2), OneOf(1, 2))
    return Space({"top": OneOf({"many": many, "one": None})})


def fixed_option() -> Space[Net]:
    return nested().fix({"stem": "conv", "stem.conv.act": "gelu"})


def fixed_inner() -> Space[Net]:
    return nested().fix({"stem.conv.kernel": 7})


def fixed_times() -> Space[Net]:
    return repeated().fix({"stem.times": 2, "body.0.size": 4})


def fixed_subset() -> Space[Net]:
    return subsets().fix({"stem": ("conv", "skip")})


def fixed_numbers() -> Space[Mapping[str, Any]]:
    return numbers().fix({"rate": 0.01, "width": 64, "stop.early": 7})


Build = Callable[[], Space[Any]]

FINITE: tuple[tuple[Build, int], ...] = (
    (bench201, 15_625),
    (nested, 20),
    (repeated, 140),
    (shared, 10),
    (subsets, 9),
    (skewed, 9),
    (fixed_option, 6),
    (fixed_inner, 12),
    (fixed_times, 20),
    (fixed_subset, 2),
)
"""Finite spaces without a rule, and their sizes by hand."""

EVERY: tuple[Build, ...] = (
    *(build for build, _ in FINITE),
    numbers,
    ruled,
    judged,
    fixed_numbers,
)
