"""The picture of a comparison: regret against what was spent, a curve for each strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright._optional import import_optional
from netwright.bench.summary import Curve, Summary

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by the colour-blind, too (Okabe & Ito 2008); further strategies repeat them dashed."""
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_GREY = "#555555"
_NOISE = 1e-12
_FEWEST_TICKS = 3
_MOST_BANDS = 8
"""With more strategies the intervals would hide the curves; they are in the table."""


def plot_regret(summary: Summary, file: Path, title: str) -> None:
    """Writes an SVG or PNG, by the file's ending. MissingExtra without matplotlib.

    The regret is on a logarithmic scale where it stays above 0; bands are the 95 % intervals.
    """
    import_optional("matplotlib", "plots", "a picture of the comparison")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    regrets = {name: _regret(summary, curve) for name, curve in summary.curves.items()}
    ends = []
    for i, (name, (mean, low, high)) in enumerate(regrets.items()):
        grid = summary.curves[name].grid
        colour, dash = _COLOURS[i % len(_COLOURS)], _DASHES[i // len(_COLOURS) % len(_DASHES)]
        if name == summary.reference:
            colour, dash = _GREY, "solid"
        axes.plot(grid, mean, color=colour, linestyle=dash, linewidth=1.8, zorder=3)
        if len(regrets) <= _MOST_BANDS:
            axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)
        ends.append((name, float(mean[-1]), colour))
    _scale(axes, [mean for mean, _, _ in regrets.values()])
    _axes(axes, summary, title)
    _label_ends(axes, ends)
    figure.savefig(file, dpi=160, metadata={"Date": None} if file.suffix == ".svg" else None)


def _regret(summary: Summary, curve: Curve) -> tuple[NDArray[np.float64], ...]:
    """Mean and both ends of the interval, as distances to the best; never below 0, and 0 where only
    sums in another order differ."""
    signs = 1.0 if summary.higher_is_better else -1.0
    found = [signs * (summary.optimum - values) for values in (curve.mean, curve.low, curve.high)]
    noise = _NOISE * max(1.0, abs(summary.optimum))
    return tuple(np.where(one <= noise, 0.0, one) for one in found)  # NaN stays


def _scale(axes: Any, means: Sequence[NDArray[np.float64]]) -> None:
    """Logarithmic down to a thousandth of the largest; linear below, where a curve comes to 0."""
    values = np.concatenate(means)
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if not len(positive):
        axes.set_ylim(-0.05, 1.0)
        axes.set_yticks([0.0])  # all have found the best: there is no other distance
        return
    from matplotlib.ticker import FixedLocator

    top = float(values.max())
    floor = max(float(positive.min()), top / 1000)
    if values.min() > floor / 1.001:
        low, high = floor / 1.25, top * 1.15
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.yaxis.set_minor_formatter("")
        axes.yaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    else:
        low, high = -floor * 0.1, top * 1.15
        axes.set_yscale("symlog", linthresh=floor, linscale=0.6)
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(FixedLocator([0.0, *_ticks(floor, high)]))
    axes.yaxis.set_major_formatter("{x:g}")


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten; with 2 and 5 times them, or all multiples, where those would be few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for multiples in ((1,), (1, 2, 5), range(1, 10), np.arange(1, 10, 0.5), np.arange(1, 10, 0.1)):
        found = [
            float(m * 10.0**k) for k in decades for m in multiples if low <= m * 10.0**k <= high
        ]
        if len(found) >= _FEWEST_TICKS:
            return found
    return found


def _axes(axes: Any, summary: Summary, title: str) -> None:
    protocol = summary.protocol
    spent = "seconds of training (simulated)" if protocol.axis == "clock" else "evaluations"
    axes.set_xlabel(spent)
    single = len(protocol.report) == 1
    axes.set_ylabel(f"regret of {protocol.measure}" if single else "share of hypervolume missed")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlim(0, protocol.budget)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.7, zorder=0)


def _label_ends(axes: Any, ends: Sequence[tuple[str, float, str]]) -> None:
    """Names right of the curves, moved apart so that none covers another; thin lines lead to them."""
    transform = axes.transAxes.inverted()
    places = {
        name: float(transform.transform(axes.transData.transform((0.0, value)))[1])
        for name, value, _ in ends
    }
    gap = min(0.045, 1.0 / max(1, len(ends)))
    heights = _spread([places[name] for name, _, _ in ends], gap)
    lead = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 1, "relpos": (0, 0.5)}
    for (name, _, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name, xy=(1.0, places[name]), xytext=(1.03, height), xycoords="axes fraction",
            textcoords="axes fraction", va="center", fontsize=9, color=colour,
            arrowprops=lead | {"color": colour},
            annotation_clip=False,
        )  # fmt: skip


def _spread(places: Sequence[float], gap: float) -> NDArray[np.float64]:
    """The nearest heights in [0, 1] that are `gap` apart, in the same order (least squares)."""
    from scipy.optimize import isotonic_regression

    heights = np.empty(len(places))
    if len(places):
        order = np.argsort(places, kind="stable")
        steps = gap * np.arange(len(places))
        moved = isotonic_regression(np.asarray(places)[order] - steps).x
        heights[order] = np.clip(moved, 0.0, 1.0 - steps[-1]) + steps
    return heights
