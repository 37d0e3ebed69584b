"""Time sampling, mutation, encoding and filling of candidates, in a small and in a vast space.

    python benchmarks/space.py --seconds 1

The small space is as large as NAS-Bench-201 (15,625); the vast one has the two cells of DARTS,
each node with two inputs and an operation for each. `sample` and `mutate` have to reach a rate,
which is printed beside them.
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
    """A cell of NAS-Bench-201: six edges with one of five operations each."""

    operations: tuple[str, ...]


@dataclass(frozen=True)
class Input:
    """An operation on the output of an earlier node."""

    node: int
    operation: str


@dataclass(frozen=True)
class Cell:
    """A cell of DARTS: each node sums its inputs."""

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
    return Cell(tuple(_node(index) for index in range(2, 6)))


def _node(index: int) -> tuple[Input, ...]:
    return SubsetOf(*(Input(i, OneOf(*OPERATIONS)) for i in range(index)), min_size=2, max_size=2)


def per_second(operation: Callable[[], object], seconds: float) -> float:
    """Return the calls per second, without the first call, which may fill caches."""
    operation()
    start, n_calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        for _ in range(20):
            operation()
        n_calls += 20
    return n_calls / elapsed


def measure(space: Space[Any], seconds: float) -> dict[str, float]:
    """Return the rate per second of each operation."""
    rng = np.random.default_rng(0)
    candidates = [space.sample(rng) for _ in range(ROWS)]
    random_candidates = iter(lambda: candidates[int(rng.integers(ROWS))], None)
    operations: dict[str, Callable[[], object]] = {
        "sample": lambda: space.sample(rng),
        "mutate": lambda: space.mutate(next(random_candidates), rng),
        "crossover": lambda: space.crossover(next(random_candidates), next(random_candidates), rng),
        "sample by leaf": lambda: space.sample(rng, by="leaf"),
        "fill": lambda: space.fill(next(random_candidates)),
        "check": lambda: space.check(next(random_candidates)),
        "key": lambda: Candidate(next(random_candidates).values).key,
    }
    rates = {name: per_second(operation, seconds) for name, operation in operations.items()}
    return rates | {"encode, rows": ROWS * per_second(lambda: space.encode(candidates), seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    options = parser.parse_args()
    for name, space, min_rate in (("small", small(), 20_000), ("vast", vast(), 5_000)):
        print(f"{name}: {space.size:,} candidates, {len(space.decisions)} decisions")
        for operation, rate in measure(space, options.seconds).items():
            print(f"  {operation:<16}{rate:>12,.0f} /s{verdict(operation, rate, min_rate)}")


def verdict(operation: str, rate: float, min_rate: int) -> str:
    """Return the verdict of an operation with a minimal rate; empty for all others."""
    if operation not in ("sample", "mutate"):
        return ""
    return f"   {'pass' if rate >= min_rate else 'FAIL'}: at least {min_rate:,}"


if __name__ == "__main__":
    main()
