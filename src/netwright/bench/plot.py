"""Plot a comparison: regret against what was spent, a curve for each strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netwright._optional import import_optional
from netwright.bench.summary import Curve, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Distinguishable by the colour-blind (Okabe & Ito, 2008); further strategies repeat them dashed."""
_LINE_STYLES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_REFERENCE_COLOUR = "#555555"
_ROUNDING_ERROR = 1e-12
"""Regret below it, relative to the optimum, is 0."""
_MIN_TICKS = 3
_MAX_BANDS = 8
"""With more strategies the intervals would hide the curves; they are in the table."""
_MIN_LABEL_GAP = 0.045
"""Between the names of curves, as a share of the axis: the height of a line of text."""


def plot_regret(summary: Summary, file: Path, title: str) -> None:
    """Write the plot as SVG or PNG, by the file's ending. Raises MissingExtra without matplotlib.

    The regret is on a logarithmic scale if it stays above 0; bands are the 95 % intervals.
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
        colour = _COLOURS[i % len(_COLOURS)]
        line_style = _LINE_STYLES[i // len(_COLOURS) % len(_LINE_STYLES)]
        if name == summary.reference:
            colour, line_style = _REFERENCE_COLOUR, "solid"
        axes.plot(grid, mean, color=colour, linestyle=line_style, linewidth=1.8, zorder=3)
        if len(regrets) <= _MAX_BANDS:
            axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)
        ends.append((name, float(mean[-1]), colour))
    _set_scale(axes, [mean for mean, _, _ in regrets.values()])
    _set_labels(axes, summary, title)
    _label_ends(axes, ends)
    figure.savefig(file, dpi=160, metadata={"Date": None} if file.suffix == ".svg" else None)


def _regret(summary: Summary, curve: Curve) -> tuple[NDArray[np.float64], ...]:
    """Return the mean and both ends of the interval as distances to the optimum, at least 0."""
    sign = 1.0 if summary.higher_is_better else -1.0
    distances = [
        sign * (summary.optimum - scores) for scores in (curve.mean, curve.low, curve.high)
    ]
    rounding = _ROUNDING_ERROR * max(1.0, abs(summary.optimum))
    return tuple(np.where(each <= rounding, 0.0, each) for each in distances)  # NaN stays


def _set_scale(axes: Axes, means: Sequence[NDArray[np.float64]]) -> None:
    """Set a logarithmic scale, linear near 0 if a curve reaches it."""
    regrets = np.concatenate(means)
    regrets = regrets[np.isfinite(regrets)]
    positive = regrets[regrets > 0]
    if not len(positive):
        axes.set_ylim(-0.05, 1.0)
        axes.set_yticks([0.0])  # every strategy reached the optimum: there is no other distance
        return
    from matplotlib.ticker import FixedLocator

    top = float(regrets.max())
    floor = max(float(positive.min()), top / 1000)
    if regrets.min() > floor / 1.001:
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
    """Return ticks at powers of ten, and at multiples of them if there would be few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for multiples in ((1,), (1, 2, 5), range(1, 10), np.arange(1, 10, 0.5), np.arange(1, 10, 0.1)):
        ticks = [
            float(m * 10.0**k) for k in decades for m in multiples if low <= m * 10.0**k <= high
        ]
        if len(ticks) >= _MIN_TICKS:
            return ticks
    return ticks


def _set_labels(axes: Axes, summary: Summary, title: str) -> None:
    settings = summary.settings
    is_clock = settings.axis == "clock"
    axes.set_xlabel("seconds of training (simulated)" if is_clock else "evaluations")
    single = len(settings.report) == 1
    axes.set_ylabel(f"regret of {settings.measure}" if single else "share of hypervolume missed")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlim(0, settings.budget)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.7, zorder=0)


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
    """Label the curves at their right ends, moving labels apart so that none overlap."""
    transform = axes.transAxes.inverted()
    end_of = {
        name: float(transform.transform(axes.transData.transform((0.0, regret)))[1])
        for name, regret, _ in ends
    }
    gap = min(_MIN_LABEL_GAP, 1.0 / max(1, len(ends)))
    heights = _spread([end_of[name] for name, _, _ in ends], gap)
    lead = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 1, "relpos": (0, 0.5)}
    for (name, _, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            xy=(1.0, end_of[name]),
            xytext=(1.03, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=colour,
            arrowprops=lead | {"color": colour},
            annotation_clip=False,
        )


def _spread(heights: Sequence[float], gap: float) -> NDArray[np.float64]:
    """Return the nearest heights in [0, 1] that are `gap` apart, in the same order (least squares)."""
    from scipy.optimize import isotonic_regression

    spread = np.empty(len(heights))
    if len(heights):
        order = np.argsort(heights, kind="stable")
        offsets = gap * np.arange(len(heights))
        moved = isotonic_regression(np.asarray(heights)[order] - offsets).x
        spread[order] = np.clip(moved, 0.0, 1.0 - offsets[-1]) + offsets
    return spread
