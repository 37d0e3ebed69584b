"""The picture: what it shows, and that names do not cover each other."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from netwright.bench.plot import _regret, _spread, plot_regret
from netwright.bench.settings import ComparisonSettings
from netwright.bench.statistics import TimeToTarget
from netwright.bench.summary import Curve, StrategySummary, Summary
from netwright.errors import MissingExtra
from netwright.trials.objective import Objective

ACCURACY = Objective("accuracy", "max")


def summary(names: int, touching: bool = False) -> Summary:
    grid = np.arange(1.0, 41)
    curves, results = {}, []
    for i in range(names):
        mean = 0.9 - 0.3 / (grid + i)
        if touching and i == 0:
            mean[20:] = 0.9
        curves[f"name{i}"] = Curve(grid, mean, mean - 0.01, np.minimum(mean + 0.01, 0.9))
        optimum = TimeToTarget(0, np.inf, np.inf, np.inf)
        results.append(
            StrategySummary(f"name{i}", 3, *[0.5] * 6, None, np.inf, optimum, 1.0, 1.0, 0.0, 40)
        )
    terms = ComparisonSettings((ACCURACY,), (ACCURACY,), evaluations=40)
    return Summary(terms, 0.9, "name0", results, curves)


@pytest.mark.parametrize(("names", "touching"), [(1, False), (3, True), (20, False)])
def test_every_strategy_is_plotted_and_labelled(tmp_path: Path, names: int, touching: bool) -> None:
    pytest.importorskip("matplotlib")
    plot_regret(summary(names, touching), tmp_path / "a.svg", "a title")
    text = (tmp_path / "a.svg").read_text()
    ElementTree.fromstring(text)
    for i in range(names):
        assert f"<!-- name{i} -->" in text
    plot_regret(summary(names, touching), tmp_path / "a.png", "a title")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_missing_matplotlib_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'netwright\[plots\]'"):
        plot_regret(summary(2), tmp_path / "a.svg", "a title")


@pytest.mark.parametrize("places", [[0.5] * 9, [0.99, 1.0, 0.98, 0.1], [0.0, 0.01, 0.02], []])
def test_spread_keeps_order_and_gap(places: list[float]) -> None:
    heights = _spread(places, 0.05)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(heights)[order]) >= 0.05 - 1e-12).all()
    assert max(heights, default=1.0) <= 1.0 + 1e-12
    if len(places) == 9:
        assert np.mean(heights) == pytest.approx(0.5)


def drawn(curve: Curve, file: Path) -> str:
    optimum = TimeToTarget(0, np.inf, np.inf, np.inf)
    results = [StrategySummary("one", 3, *[0.5] * 6, None, np.inf, optimum, 1.0, 1.0, 0.0, 40)]
    terms = ComparisonSettings((ACCURACY,), (ACCURACY,), clock=40.0)
    plot_regret(Summary(terms, 0.9, "one", results, {"one": curve}), file, "a title")
    return file.read_text()


@pytest.mark.parametrize("last", [0.05, 0.01, 0.0065, 0.033, 0.069, 0.0, 0.00001])
def test_regret_axis_has_at_least_three_ticks(tmp_path: Path, last: float) -> None:
    pytest.importorskip("matplotlib")
    grid = np.arange(1.0, 41)
    mean = 0.9 - np.geomspace(0.07, max(last, 0.006), 40)
    mean[-5:] = 0.9 - last
    text = drawn(Curve(grid, mean, mean, mean), tmp_path / "a.svg")
    axis = text[text.index('id="matplotlib.axis_2"') :]
    labels = re.findall(r"<!-- (\S+) -->", axis[: axis.index("regret of")])
    assert len(labels) >= 3
    assert len(set(labels)) == len(labels)


def test_constant_scores_show_no_rounding_error(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    grid = np.arange(1.0, 41)
    mean = 0.9 - np.abs(np.random.default_rng(0).normal(size=40)) * 1e-16
    mean[:2] = np.nan
    assert not np.nanmax(_regret(summary(1), Curve(grid, mean, mean, mean))[0])
    text = drawn(Curve(grid, mean, mean, mean), tmp_path / "a.svg")
    axis = text[text.index('id="matplotlib.axis_2"') :]
    assert re.findall(r"<!-- (\S+) -->", axis[: axis.index("regret of")]) == ["0"]
