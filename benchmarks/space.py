"""How fast candidates are drawn, changed, encoded and filled, in a small and in a vast space.

    python benchmarks/space.py --seconds 1

The small space is as large as NAS-Bench-201 (15,625); the vast one has the two cells of DARTS,
each node with two inputs and an operation for each. Beside `sample` and `mutate` stands the rate
they have to reach.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.space.candidate import Candidate
from netwright.space.choices import OneOf, SubsetOf
from netwright.space.space import Space

OPERATIONS = ("skip", "max_3", "avg_3", "sep_3", "sep_5", "dil_3", "dil_5")
ROWS = 256


@dataclass(frozen=True)
class Edges:
    """A cell of NAS-Bench-201: six edges of five operations."""

    operations: tuple[str, ...]


@dataclass(frozen=True)
class Input:
    """An operation on one of the nodes before."""

    node: int
    operation: str


@dataclass(frozen=True)
class Cell:
    """A cell of DARTS: each node adds up its inputs."""

    nodes: tuple[tuple[Input, ...], ...]


@dataclass(frozen=True)
class Darts:
    normal: Cell
    reduction: Cell


def small() -> Space[Edges]:
    names = ("none", "skip", "conv_1", "conv_3", "pool_3")
    return Space(Edges(tuple(OneOf(*names) for _ in range(6))))


def vast() -> Space[Darts]:
    return Space(Darts(_cell(), _cell()))


def _cell() -> Cell:
    return Cell(tuple(_node(place) for place in range(2, 6)))


def _node(place: int) -> tuple[Input, ...]:
    return SubsetOf(*(Input(i, OneOf(*OPERATIONS)) for i in range(place)), min_size=2, max_size=2)


def per_second(act: Callable[[], object], seconds: float) -> float:
    """How often it runs in a second; the first run, which may fill caches, is not counted."""
    act()
    start, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        for _ in range(20):
            act()
        done += 20
    return done / passed


def measure(space: Space[Any], seconds: float) -> dict[str, float]:
    """Each act and its rate per second."""
    rng = np.random.default_rng(0)
    some = [space.sample(rng) for _ in range(ROWS)]
    turn = iter(lambda: some[int(rng.integers(ROWS))], None)
    acts: dict[str, Callable[[], object]] = {
        "sample": lambda: space.sample(rng),
        "mutate": lambda: space.mutate(next(turn), rng),
        "crossover": lambda: space.crossover(next(turn), next(turn), rng),
        "sample by leaf": lambda: space.sample(rng, by="leaf"),
        "fill": lambda: space.fill(next(turn)),
        "check": lambda: space.check(next(turn)),
        "key": lambda: Candidate(next(turn).values).key,
    }
    found = {name: per_second(act, seconds) for name, act in acts.items()}
    return found | {"encode, rows": ROWS * per_second(lambda: space.encode(some), seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    options = parser.parse_args()
    for name, space, floor in (("small", small(), 20_000), ("vast", vast(), 5_000)):
        print(f"{name}: {space.size:,} candidates, {len(space.decisions)} decisions")
        for act, rate in measure(space, options.seconds).items():
            print(f"  {act:<16}{rate:>12,.0f} /s{verdict(act, rate, floor)}")


def verdict(act: str, rate: float, floor: int) -> str:
    """The mark against the floor, for the acts that have one."""
    if act not in ("sample", "mutate"):
        return ""
    return f"   {'pass' if rate >= floor else 'FAIL'}: at least {floor:,}"


if __name__ == "__main__":
    main()
