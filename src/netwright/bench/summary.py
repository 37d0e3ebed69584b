"""From the rows of a comparison to what can be said of each strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netwright.bench import statistics
from netwright.bench.settings import ComparisonSettings, TableOracle
from netwright.bench.statistics import TimeToTarget
from netwright.errors import InputError, Phrase, expected

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

_POINTS = 200
"""Of a curve over the clock; one over evaluations has a point for each."""


@dataclass(frozen=True)
class Curve:
    """What is reported after each point of `grid`, mean of the seeds, with a 95 % interval.

    NaN as long as some seed has no incumbent.
    """

    grid: Floats  # (points,)
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class StrategySummary:
    """One strategy at the end of the budget; everything over the same seeds.

    `regret`: how far `mean` is from the best in the table by what is reported, which a search by
    other metrics need not choose; `regret_p90`: exceeded by one run in ten. `p`: that it is not
    better than the reference, Holm-corrected; None of the reference. `matches`: when its mean curve
    comes to the reference's final mean, infinite if never. `optimum`: how soon the best by the
    searched metrics was evaluated. `overhead`: its own CPU milliseconds for a proposal, median (and
    mean: some think once for many). `repeated`: share of evaluations asked for a second time.
    """

    strategy: str
    seeds: int
    mean: float
    low: float
    high: float
    deviation: float
    regret: float
    regret_p90: float
    p: float | None
    matches: float
    optimum: TimeToTarget
    overhead: float
    overhead_mean: float
    repeated: float
    evaluations: float

    def record(self) -> dict[str, Any]:
        """Flat, for CSV and JSON; what is infinite or unknown is None."""
        fields = asdict(self)
        optimum = fields.pop("optimum")
        fields |= {f"optimum_{name}": value for name, value in optimum.items()}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in fields.items()
        }


@dataclass(frozen=True)
class Summary:
    """All strategies, best mean first, against a reference; and what the table's best is."""

    protocol: ComparisonSettings
    optimum: float
    reference: str
    strategies: Sequence[StrategySummary]
    curves: Mapping[str, Curve]

    @property
    def higher_is_better(self) -> bool:
        """Whether more of what is reported is better."""
        return _rises(self.protocol)


def completed_strategies(file: str | Path, seeds: Sequence[int]) -> list[str]:
    """Those that have run with each of these seeds, by name."""
    pairs = _frame(file)[["strategy", "seed"]].drop_duplicates()
    counts = pairs[pairs["seed"].isin(list(seeds))]["strategy"].value_counts()
    return sorted(str(name) for name, count in counts.items() if count == len(seeds))


def summarise(
    file: str | Path, judge: TableOracle, names: Sequence[str], seeds: Sequence[int]
) -> Summary:
    """Reads `runs.csv`; the reference is random search where it is among the names, else the first.

    InputError where a strategy has not run with each of the seeds.
    """
    frame = _frame(file)
    frame = frame[frame["strategy"].isin(list(names)) & frame["seed"].isin(list(seeds))]
    there = {
        (str(name), int(seed)) for name, seed in zip(frame["strategy"], frame["seed"], strict=True)
    }
    if missing := [(name, seed) for name in names for seed in seeds if (name, seed) not in there]:
        name, seed = missing[0]
        got = Phrase(f"none of {name} with seed {seed}")
        raise InputError(expected(str(file), "of every strategy with every seed", got))
    if not names or not len(seeds):
        raise InputError(expected("a summary", "of at least one strategy and seed", Phrase("none")))
    grid = curve_grid(judge.protocol, float(frame[judge.protocol.axis].max()))
    runs = {name: _Strategy(frame[frame["strategy"] == name], judge, grid) for name in names}
    reference = "random" if "random" in runs else names[0]
    yardstick = runs[reference]
    p = {
        name: statistics.wilcoxon_p(run.final, yardstick.final)
        for name, run in runs.items()
        if name != reference
    }
    p = statistics.holm_correction(p)
    results = [run.result(name, p.get(name), yardstick) for name, run in runs.items()]
    results.sort(key=lambda one: one.regret)
    curves = {one.strategy: runs[one.strategy].curve() for one in results}
    return Summary(judge.protocol, judge.optimum, reference, results, curves)


def _frame(file: str | Path) -> pd.DataFrame:
    import pandas as pd

    if not Path(file).is_file():
        raise InputError(expected("file", "the runs.csv of a comparison", str(file)))
    return pd.read_csv(file, dtype={"strategy": str})


class _Strategy:
    """The runs of one strategy as arrays: regrets (seeds, points) and times."""

    def __init__(self, frame: pd.DataFrame, judge: TableOracle, grid: Floats) -> None:
        protocol = judge.protocol
        self.frame, self.optimum = frame, judge.optimum
        self.sign = -1.0 if _rises(protocol) else 1.0  # regret = sign * (reported - optimum)
        self.grid = grid
        rows = [one for _, one in frame.groupby("seed", sort=True)]
        spent = [one[protocol.axis].to_numpy(float) for one in rows]
        reported = [one["reported"].to_numpy(float) for one in rows]
        self.values = np.stack(
            [statistics.resample(s, r, self.grid) for s, r in zip(spent, reported, strict=True)]
        )
        last = self.values[:, -1]
        last[np.isnan(last)] = judge.worst
        regret = self.sign * (self.values[:, -1] - self.optimum)
        self.final = np.maximum(regret, 0.0)  # (seeds,): sums in another order may differ by 1e-16
        hits = [one["reached"].to_numpy(bool) for one in rows]
        self.reached = np.array([hit.any() for hit in hits])
        self.spent = np.array(
            [s[hit.argmax()] if hit.any() else s[-1] for s, hit in zip(spent, hits, strict=True)]
        )

    def result(self, name: str, p: float | None, reference: _Strategy) -> StrategySummary:
        final = self.values[:, -1]
        low, high = statistics.bootstrap_interval(final[:, None], np.random.default_rng(0))
        goal = float(reference.final.mean())
        mean_regret = self.sign * (self.values.mean(0) - self.optimum)
        counts = self.frame.groupby("seed").size()
        return StrategySummary(
            name,
            len(final),
            float(final.mean()),
            float(low[0]),
            float(high[0]),
            float(final.std(ddof=1)) if len(final) > 1 else 0.0,
            float(self.final.mean()),
            float(np.quantile(self.final, 0.9)),
            p,
            statistics.first_reaching(mean_regret, self.grid, goal),
            statistics.time_to_target(self.spent, self.reached),
            float(self.frame["overhead_ms"].median()),
            float(self.frame["overhead_ms"].mean()),
            float(self.frame["repeated"].mean()),
            float(counts.mean()),
        )

    def curve(self) -> Curve:
        low, high = statistics.bootstrap_interval(self.values, np.random.default_rng(0))
        return Curve(self.grid, self.values.mean(0), low, high)


def curve_grid(protocol: ComparisonSettings, spent: float = math.inf) -> Floats:
    """Where curves are read: after each evaluation, or at even times.

    After what was `spent` at most nothing changes until the end of the budget.
    """
    if protocol.axis == "cost":
        last = min(protocol.budget, math.ceil(spent) + 1) if spent < math.inf else protocol.budget
        return np.unique(np.append(np.arange(1.0, last), protocol.budget))
    return np.linspace(protocol.budget / _POINTS, protocol.budget, _POINTS)


def _rises(protocol: ComparisonSettings) -> bool:
    return len(protocol.report) > 1 or protocol.report[0].direction == "max"
