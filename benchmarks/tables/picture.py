"""Critical-difference diagram (Demšar 2006): mean ranks, and bars over systems that do not differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from comparison import cliques

OURS, OTHERS, BAR = "#D55E00", "#222222", "#0072B2"


def draw(
    file: Path, mean_ranks: Mapping[str, float], difference: float, ours: str, title: str
) -> None:
    """Write an SVG or PNG, by the file's extension. The better half is on the left."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted(mean_ranks, key=lambda name: mean_ranks[name])
    k, half = len(names), (len(names) + 1) // 2
    figure = Figure(figsize=(8.0, 1.5 + 0.3 * half), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    runs = cliques([mean_ranks[name] for name in names], difference)
    below = 0.35 + 0.22 * len(runs)  # depth of the first name, under the bars
    for i, (first, last) in enumerate(runs):
        ends = [mean_ranks[names[first]] - 0.04, mean_ranks[names[last]] + 0.04]
        axes.plot(ends, [-0.25 - 0.22 * i] * 2, color=BAR, linewidth=3.5, solid_capstyle="butt")
    for i, name in enumerate(names):
        is_left = i < half
        depth = -below - 0.42 * (i if is_left else k - 1 - i)
        side = 0.6 if is_left else k + 0.4
        colour = OURS if name == ours else OTHERS
        axes.plot([mean_ranks[name]] * 2 + [side], [0, depth, depth], color=colour, linewidth=0.9)
        axes.text(
            side + (-0.05 if is_left else 0.05), depth, f"{name}  {mean_ranks[name]:.2f}",
            ha="right" if is_left else "left", va="center", fontsize=9, color=colour,
            fontweight="bold" if name == ours else "normal",
        )  # fmt: skip
    _scale(axes, k, difference)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylim(-below - 0.42 * half, 1.1)
    figure.savefig(file, dpi=160, metadata={"Date": None} if file.suffix == ".svg" else None)


def _scale(axes: object, k: int, difference: float) -> None:
    """Draw the axis of ranks, and above it the critical difference."""
    axes.plot([1, k], [0, 0], color=OTHERS, linewidth=1.2)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, 0.12], color=OTHERS, linewidth=1.2)
        axes.text(rank, 0.18, str(rank), ha="center", va="bottom", fontsize=9)
    axes.plot([1, 1 + difference], [0.8, 0.8], color=BAR, linewidth=2, marker="|")
    axes.text(1 + difference + 0.1, 0.8, f"critical difference {difference:.2f}", va="center",
              fontsize=8, color=BAR)  # fmt: skip
    axes.set_xlim(-1.6, k + 2.6)
    axes.axis("off")
