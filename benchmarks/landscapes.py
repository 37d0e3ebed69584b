"""Judge priors: strategies on seeded landscapes in which size tells much, nothing, or the wrong thing.

    python benchmarks/landscapes.py [--draws 20] [--evaluations 50] [--strategies default,random,...]
        [--out CSV]
    python benchmarks/landscapes.py --report CSV

On a space of cells and on a mixed space, the quality of a candidate is a x (size, as a normal score) +
sqrt(1 - a^2) x (a draw of a Gaussian process over the decisions), for a from -1 to 1; or a peak at a
quantile of the size, plus a draw. Strategies know the number of parameters and FLOPs, which is all
that the prior of the default goes by. Regret is the distance to the best known candidate, relative to
that of the mean candidate. Other work on the machine does not matter; each finished run is a row of the
CSV, and the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from csv_rows import append_runs, read_rows
from numpy.typing import NDArray
from scipy.special import ndtri

from netwright.bench.peers import PEERS, peer
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.interfaces.strategy import Algorithm, Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.random import RandomSearch
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics, Status

Array = NDArray[np.float64]

N_EDGES, OPERATIONS = 6, ("none", "skip", "conv1", "conv3", "pool")
CELL = Space({f"edge{i}": OneOf(*OPERATIONS) for i in range(N_EDGES)})
MIXED = Space(
    {
        "depth": Integer(1, 8),
        "width": Integer(8, 128, log=True),
        "kernel": OneOf(1, 3, 5),
        "operation": OneOf("plain", "separable", "residual"),
        "activation": OneOf("relu", "silu", "tanh"),
        "lr": Float(1e-4, 1e-1, log=True),
        "dropout": Float(0.0, 0.5),
    }
)
SPACES: Mapping[str, Space[Any]] = {"cell": CELL, "mixed": MIXED}
SLOPES, PEAKS = (-1.0, -0.5, 0.0, 0.5, 1.0), (0.1, 0.5, 0.9)
LANDSCAPES = (*(f"slope {a:g}" for a in SLOPES), *(f"peak {q:g}" for q in PEAKS))
PEAK_HEIGHT, PEAK_WIDTH = 2.0, 0.15
"""Of a peak, in standard deviations of the draw, and in quantiles of the size."""
N_FEATURES = 400
"""Cosines of which a draw is made."""
LENGTH_SCALE = 0.7
"""Of the process, in mean distances of two candidates."""
N_REFERENCE = 20_000
"""Random candidates of the mixed space that give size quantiles, the mean and the best candidate."""
CHECKPOINTS = (5, 10, 20, 50)
ACCURACY = Objective("accuracy", "max")


def size_of(space: str, candidate: Candidate) -> tuple[float, float]:
    """Return parameters and FLOPs, as a network of these decisions would have them."""
    values = candidate.values
    if space == "cell":
        cost = {"none": (0, 0), "skip": (0, 1), "conv1": (1, 2), "conv3": (9, 18), "pool": (0, 3)}
        pairs = [cost[str(values[f"edge{i}"])] for i in range(N_EDGES)]
        return 1.0 + sum(p for p, _ in pairs), 1.0 + sum(f for _, f in pairs)
    depth, width, kernel = (int(str(values[name])) for name in ("depth", "width", "kernel"))
    per_layer = width * kernel**2 if values["operation"] == "separable" else width**2 * kernel**2
    parameters = float(depth * per_layer + 10 * width)
    return parameters, parameters * 64 / (1 + depth)  # deeper networks see smaller images


class Sizes(DefaultKnowledge):
    """Knowledge of parameters and FLOPs alone."""

    def __init__(self, space: str) -> None:
        self._space = space

    def scores(self, candidate: Candidate) -> Metrics:
        parameters, flops = size_of(self._space, candidate)
        return {"parameters": parameters, "flops": flops}


@lru_cache(maxsize=2)
def reference(space: str) -> tuple[Candidate, ...]:
    """All candidates of the cell space; many random ones of the mixed space."""
    if space == "cell":
        combinations = itertools.product(OPERATIONS, repeat=N_EDGES)
        return tuple(
            Candidate({f"edge{i}": op for i, op in enumerate(ops)}) for ops in combinations
        )
    rng = np.random.default_rng(0)
    return tuple(MIXED.sample(rng) for _ in range(N_REFERENCE))


@lru_cache(maxsize=2)
def reference_sizes(space: str) -> Array:
    """Sorted numbers of parameters of the reference."""
    return np.sort([size_of(space, candidate)[0] for candidate in reference(space)])


def quantiles(space: str, candidates: Sequence[Candidate]) -> Array:
    """Return the share of the reference that is smaller than each candidate, ties by half."""
    known = reference_sizes(space)
    sizes = np.array([size_of(space, candidate)[0] for candidate in candidates])
    below = np.searchsorted(known, sizes, "left") + np.searchsorted(known, sizes, "right")
    return np.asarray((below / 2 + 0.5) / (len(known) + 1))


@dataclass(frozen=True)
class Landscape:
    """The quality of every candidate of a space; `seed` decides the draw of the process."""

    space: str
    kind: str
    seed: int

    @cached_property
    def _cosines(self) -> tuple[Array, Array]:
        """Frequencies (columns, features) and phases (features,): Rahimi and Recht 2007."""
        place = LANDSCAPES.index(self.kind), list(SPACES).index(self.space)
        rng = np.random.default_rng([self.seed, *place])
        sample = self._encode(reference(self.space)[:: max(1, len(reference(self.space)) // 500)])
        distances = ((sample[:, None] - sample[None]) ** 2).sum(-1)
        length = LENGTH_SCALE * math.sqrt(distances.mean())
        frequencies = rng.standard_normal((sample.shape[1], N_FEATURES)) / length
        return frequencies, rng.uniform(0, 2 * math.pi, N_FEATURES)

    def _encode(self, candidates: Sequence[Candidate]) -> Array:
        return SPACES[self.space].encode(candidates)

    @cached_property
    def _weights(self) -> Array:
        return np.random.default_rng([self.seed, 7]).standard_normal(N_FEATURES)

    @cached_property
    def _draw_statistics(self) -> tuple[float, float]:
        draw = self._raw_draw(reference(self.space))
        return float(draw.mean()), float(draw.std())

    def _raw_draw(self, candidates: Sequence[Candidate]) -> Array:
        frequencies, phases = self._cosines
        return np.cos(self._encode(candidates) @ frequencies + phases) @ self._weights

    def quality(self, candidates: Sequence[Candidate]) -> Array:
        """Return the quality (n,) of candidates."""
        mean, std = self._draw_statistics
        draw = (self._raw_draw(candidates) - mean) / std
        share, name = quantiles(self.space, candidates), self.kind.split()
        if name[0] == "slope":
            a = float(name[1])
            return np.asarray(a * ndtri(share) + math.sqrt(1 - a**2) * draw)
        distance = (share - float(name[1])) / PEAK_WIDTH
        return np.asarray(PEAK_HEIGHT * np.exp(-(distance**2) / 2) + draw)

    @cached_property
    def scale(self) -> tuple[float, float]:
        """The best and the mean quality of the reference."""
        quality = self.quality(reference(self.space))
        return float(quality.max()), float(quality.mean())


def algorithm(name: str, evaluations: int) -> Algorithm:
    """Return a strategy of ours, or a peer by its name."""
    ours: dict[str, Callable[[], Algorithm]] = {
        "default": Bayesian,
        "no_prior": lambda: Bayesian(prior=False),
        "random": RandomSearch,
    }
    return ours[name]() if name in ours else peer(name, evaluations)


@dataclass(frozen=True)
class Run:
    """A row of the CSV: the regret after each evaluation of the run, and their mean.

    `regrets` has them separated by spaces.
    """

    space: str
    kind: str
    seed: int
    strategy: str
    regrets: str
    mean_regret: float

    @property
    def at_checkpoints(self) -> list[float]:
        """The regrets after each number of `CHECKPOINTS` that the run has reached."""
        regrets = self.regrets.split()
        return [float(regrets[n - 1]) for n in CHECKPOINTS if n <= len(regrets)]


def run(space: str, kind: str, seed: int, strategy: str, evaluations: int) -> Run:
    """Run a strategy on a landscape."""
    landscape = Landscape(space, kind, seed)
    problem = Problem(SPACES[space], [ACCURACY], knowledge=Sizes(space))

    def measure(candidate: Candidate) -> Metrics:
        return {"accuracy": float(landscape.quality([candidate])[0])}

    made = algorithm(strategy, evaluations)(problem)
    events = simulate(made, measure, evaluations, seed=seed)
    qualities = [e.metrics["accuracy"] for e in events if e.status is Status.DONE]
    qualities += [max(qualities)] * (evaluations - len(qualities))  # a finished search stays there
    best, mean = landscape.scale
    regret = np.maximum(0.0, (best - np.maximum.accumulate(qualities)) / (best - mean))
    regrets = " ".join(f"{each:.5f}" for each in regret)
    return Run(space, kind, seed, strategy, regrets, float(regret.mean()))


def report(runs: Sequence[Run]) -> Iterable[str]:
    """Yield a line for each landscape: the mean over evaluations and draws of each one's regret."""
    strategies = list(dict.fromkeys(row.strategy for row in runs))
    yield f"{'mean regret':18}" + "".join(f"{name:>12}" for name in strategies)
    for space, kind in itertools.product(SPACES, LANDSCAPES):
        cells = []
        for strategy in strategies:
            here = (space, kind, strategy)
            values = [r.mean_regret for r in runs if (r.space, r.kind, r.strategy) == here]
            cells.append(f"{np.mean(values):12.3f}" if values else f"{'-':>12}")
        yield f"{space + ', ' + kind:18}" + "".join(cells)
    for i, n in enumerate(CHECKPOINTS[: min(len(row.at_checkpoints) for row in runs)]):
        means = [
            np.mean([r.at_checkpoints[i] for r in runs if r.strategy == s]) for s in strategies
        ]
        yield f"{f'all, {n} evaluations':18}" + "".join(f"{mean:12.3f}" for mean in means)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--strategies", default="default,no_prior,random,optuna-gp")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    default_out = Path(__file__).parent / "results/landscapes.csv"
    parser.add_argument("--out", type=Path, default=default_out)
    parser.add_argument("--report", type=Path)
    settings = parser.parse_args()
    if settings.report:
        print(*report(read_rows(settings.report, Run)), sep="\n")
        return
    names = settings.strategies.split(",")
    if unknown := set(names) - {"default", "no_prior", "random", *PEERS}:
        parser.error(f"strategies must be known, got {', '.join(sorted(unknown))}.")
    done = {(row.space, row.kind, row.seed, row.strategy) for row in read_rows(settings.out, Run)}
    wanted = itertools.product(SPACES, LANDSCAPES, range(settings.draws), names)
    missing = [settings_of for settings_of in wanted if settings_of not in done]
    append_runs(
        settings.out, run, [(*each, settings.evaluations) for each in missing], settings.workers
    )
    print(*report(read_rows(settings.out, Run)), sep="\n")


if __name__ == "__main__":
    main()
