"""Format metrics, sizes, counts and times for people."""

from __future__ import annotations

import re
from collections.abc import Mapping

from netwright.trials.metrics import METRICS


def format_metric(name: str, metrics: Mapping[str, float]) -> str:
    """Format a metric by its unit: ``.9324``, ``1,210``, ``0.91 ms``, ``1.9 MB``; empty if missing."""
    if name not in metrics:
        return ""
    metric = metrics[name]
    unit = METRICS[name].unit if name in METRICS else ""
    if unit == "byte":
        return format_bytes(metric)
    if name in ("parameters", "flops"):
        return format_count(metric)
    if METRICS.get(name) and METRICS[name].kinds and unit != "target" and abs(metric) <= 1:
        return f"{metric:.4f}".replace("0.", ".", 1)
    return format_significant(metric)


def format_bytes(n_bytes: float) -> str:
    """Format a number of bytes: ``412 kB``, ``1.9 MB`` (decimal units)."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def format_count(n: float) -> str:
    """Format a count: ``37,218``, ``1.26 M``, ``2.4 G``."""
    if n < 999_999.5:
        return f"{n:,.0f}"
    return f"{n / 1e6:.3g} M" if n < 999.5e6 else f"{n / 1e9:.3g} G"


def format_significant(x: float) -> str:
    """Format with four significant digits: ``45,734``, ``3.528``, ``0.09123``, ``1.2e+30``."""
    return f"{x:,.0f}" if 1000 <= abs(x) < 1e9 else f"{x:.4g}"


def format_duration(seconds: float) -> str:
    """Format a duration: ``0:42``, ``1:05:00``."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def folder_name(text: str) -> str:
    """Turn a name into one that is safe for a folder: ``Adult Income`` -> ``adult-income``.

    Only letters and digits are kept, so the result may be empty.
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()
