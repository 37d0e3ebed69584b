"""Summarise the runs of a comparison: scores, regret, tests and curves of each strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netwright.bench import statistics
from netwright.bench.oracle import TableOracle
from netwright.bench.settings import ComparisonSettings
from netwright.bench.statistics import TimeToTarget
from netwright.errors import InputError, Phrase, expected

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

DEFAULT_STRATEGY = "bayesian"
"""Name of the default strategy in comparisons."""
_CLOCK_POINTS = 200
"""Points of a curve over the clock; a curve over evaluations has a point for each."""


@dataclass(frozen=True)
class Curve:
    """The reported score at each point of a grid: mean over seeds, with a 95 % interval.

    NaN as long as some seed has no incumbent.

    Args:
        grid: (points,) evaluations or seconds spent.
        mean: (points,).
        low: (points,) lower end of the interval.
        high: (points,) upper end.
    """

    grid: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class StrategySummary:
    """One strategy at the end of the budget, over the same seeds as all others.

    Args:
        strategy: its name.
        seeds: number of runs.
        mean: of the reported score.
        low: lower end of the mean's 95 % interval.
        high: upper end.
        deviation: standard deviation over seeds.
        regret: how far `mean` is from the best reported score in the table, which a search by
            other metrics need not choose.
        regret_p90: exceeded by one run in ten.
        p: of the hypothesis that it is no better than the reference, Holm-corrected; None for the
            reference itself.
        matches: when its mean curve reaches the reference's final mean; infinite if never.
        optimum: how soon the best by the searched metrics was evaluated.
        overhead: the strategy's own CPU milliseconds for a proposal, median.
        overhead_mean: the same, mean: some think once for many.
        repeated: share of evaluations that were asked for a second time.
        evaluations: mean number of evaluations.
        p_default: as `p`, against the default strategy; None for itself, or if it has not run.
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
    p_default: float | None = None

    def record(self) -> dict[str, str | float | None]:
        """Return the fields, flat for CSV and JSON; infinity and NaN are None."""
        fields = asdict(self)
        optimum = fields.pop("optimum")
        fields |= {f"optimum_{name}": entry for name, entry in optimum.items()}
        return {
            name: None if isinstance(entry, float) and not math.isfinite(entry) else entry
            for name, entry in fields.items()
        }


@dataclass(frozen=True)
class Summary:
    """A comparison at the end of its budget.

    Args:
        settings: of the comparison.
        optimum: the best reported score in the table; where it is unknown, of these runs.
        reference: the strategy that others are tested against.
        strategies: one summary each, lowest regret first.
        curves: strategy -> its curve.
        knows_optimum: whether it is known when a run has found the best searched metrics.
    """

    settings: ComparisonSettings
    optimum: float
    reference: str
    strategies: Sequence[StrategySummary]
    curves: Mapping[str, Curve]
    knows_optimum: bool = True

    @property
    def higher_is_better(self) -> bool:
        """Whether the reported score is maximised."""
        return _higher_is_better(self.settings)


def completed_strategies(file: str | Path, seeds: Sequence[int]) -> list[str]:
    """Return the names of strategies in `runs.csv` that have completed all of these seeds."""
    runs = _read_runs(file)[["strategy", "seed"]].drop_duplicates()
    counts = runs[runs["seed"].isin(list(seeds))]["strategy"].value_counts()
    return sorted(str(name) for name, count in counts.items() if count == len(seeds))


def summarise(
    file: str | Path, oracle: TableOracle, names: Sequence[str], seeds: Sequence[int]
) -> Summary:
    """Summarise the runs of a comparison.

    Args:
        file: the `runs.csv` that `compare` wrote.
        oracle: of the comparison's table and settings.
        names: the strategies to summarise. The reference is "random" if it is among them, else the
            first.
        seeds: the runs to summarise.

    Raises:
        InputError: a strategy has not run with each of the seeds.

    Example:
        >>> oracle = TableOracle(comparison.table, comparison.settings)
        >>> summary = summarise(runs.file, oracle, ["random", "mine"], range(100))
    """
    frame = _read_runs(file)
    frame = frame[frame["strategy"].isin(list(names)) & frame["seed"].isin(list(seeds))]
    present = {
        (str(name), int(seed)) for name, seed in zip(frame["strategy"], frame["seed"], strict=True)
    }
    if missing := [(name, seed) for name in names for seed in seeds if (name, seed) not in present]:
        name, seed = missing[0]
        got = Phrase(f"none of {name} with seed {seed}")
        raise InputError(expected(str(file), "of every strategy with every seed", got))
    if not names or not len(seeds):
        raise InputError(expected("a summary", "of at least one strategy and seed", Phrase("none")))
    grid = curve_grid(oracle.settings, float(frame[oracle.settings.axis].max()))
    optimum = _optimum(oracle, frame["reported"].to_numpy(float))
    runs = {
        name: _StrategyRuns(frame[frame["strategy"] == name], oracle, optimum, grid)
        for name in names
    }
    reference = "random" if "random" in runs else names[0]
    reference_runs = runs[reference]
    p, p_default = _better_than(reference, runs), _better_than(DEFAULT_STRATEGY, runs)
    strategies = [
        strategy.summarise(name, p.get(name), p_default.get(name), reference_runs)
        for name, strategy in runs.items()
    ]
    strategies.sort(key=lambda strategy: strategy.regret)
    curves = {each.strategy: runs[each.strategy].curve() for each in strategies}
    return Summary(oracle.settings, optimum, reference, strategies, curves, oracle.knows_optimum)


def _optimum(oracle: TableOracle, reported: Floats) -> float:
    """Return the best score: the oracle's, or where it knows none the best that a run reported."""
    if not math.isnan(oracle.optimum):
        return oracle.optimum
    scores = [*reported[np.isfinite(reported)], oracle.worst]
    return float(max(scores) if _higher_is_better(oracle.settings) else min(scores))


def _better_than(reference: str, runs: Mapping[str, _StrategyRuns]) -> dict[str, float]:
    """Return for each other strategy the corrected p that it is no better than the reference."""
    if reference not in runs:
        return {}
    reference_regret = runs[reference].final_regret
    p = {
        name: statistics.wilcoxon_p(strategy.final_regret, reference_regret)
        for name, strategy in runs.items()
        if name != reference
    }
    return statistics.holm_correction(p)


def _read_runs(file: str | Path) -> pd.DataFrame:
    import pandas as pd

    if not Path(file).is_file():
        raise InputError(expected("file", "the runs.csv of a comparison", str(file)))
    return pd.read_csv(file, dtype={"strategy": str})


class _StrategyRuns:
    """The runs of one strategy as arrays.

    Attributes:
        scores: (seeds, points) reported scores on the grid.
        final_regret: (seeds,) at the end of the budget.
        reached: (seeds,) whether the best by the searched metrics was evaluated.
        spent: (seeds,) budget spent until then, or in total if it never was.
    """

    def __init__(
        self, frame: pd.DataFrame, oracle: TableOracle, optimum: float, grid: Floats
    ) -> None:
        settings = oracle.settings
        self.frame, self.optimum = frame, optimum
        self.sign = (
            -1.0 if _higher_is_better(settings) else 1.0
        )  # regret = sign * (score - optimum)
        self.grid = grid
        runs = [run for _, run in frame.groupby("seed", sort=True)]
        spent = [run[settings.axis].to_numpy(float) for run in runs]
        reported = [run["reported"].to_numpy(float) for run in runs]
        self.scores = np.stack(
            [statistics.resample(s, r, self.grid) for s, r in zip(spent, reported, strict=True)]
        )
        last = self.scores[:, -1]
        last[np.isnan(last)] = oracle.worst
        regret = self.sign * (self.scores[:, -1] - self.optimum)
        self.final_regret = np.maximum(regret, 0.0)  # rounding may make it -1e-16
        hits = [run["reached"].to_numpy(bool) for run in runs]
        self.reached = np.array([hit.any() for hit in hits])
        self.spent = np.array(
            [s[hit.argmax()] if hit.any() else s[-1] for s, hit in zip(spent, hits, strict=True)]
        )

    def summarise(
        self, name: str, p: float | None, p_default: float | None, reference: _StrategyRuns
    ) -> StrategySummary:
        final = self.scores[:, -1]
        low, high = statistics.bootstrap_interval(final[:, None], np.random.default_rng(0))
        target = float(reference.final_regret.mean())
        mean_regret = self.sign * (self.scores.mean(0) - self.optimum)
        counts = self.frame.groupby("seed").size()
        return StrategySummary(
            strategy=name,
            seeds=len(final),
            mean=float(final.mean()),
            low=float(low[0]),
            high=float(high[0]),
            deviation=float(final.std(ddof=1)) if len(final) > 1 else 0.0,
            regret=float(self.final_regret.mean()),
            regret_p90=float(np.quantile(self.final_regret, 0.9)),
            p=p,
            p_default=p_default,
            matches=statistics.first_reaching(mean_regret, self.grid, target),
            optimum=statistics.time_to_target(self.spent, self.reached),
            overhead=float(self.frame["overhead_ms"].median()),
            overhead_mean=float(self.frame["overhead_ms"].mean()),
            repeated=float(self.frame["repeated"].mean()),
            evaluations=float(counts.mean()),
        )

    def curve(self) -> Curve:
        low, high = statistics.bootstrap_interval(self.scores, np.random.default_rng(0))
        return Curve(self.grid, self.scores.mean(0), low, high)


def curve_grid(settings: ComparisonSettings, spent: float = math.inf) -> Floats:
    """Return the grid of curves: each evaluation, or evenly spaced times.

    After `spent`, the most that any run spent, nothing changes until the end of the budget.
    """
    if settings.axis == "cost":
        last = min(settings.budget, math.ceil(spent) + 1) if spent < math.inf else settings.budget
        return np.unique(np.append(np.arange(1.0, last), settings.budget))
    return np.linspace(settings.budget / _CLOCK_POINTS, settings.budget, _CLOCK_POINTS)


def _higher_is_better(settings: ComparisonSettings) -> bool:
    return len(settings.report) > 1 or settings.report[0].direction == "max"
