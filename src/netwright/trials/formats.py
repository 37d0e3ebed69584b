"""Numbers as a person reads them: metrics, sizes, counts, times."""

from __future__ import annotations

import re
from collections.abc import Mapping

from netwright.trials.metrics import METRICS


def value(name: str, metrics: Mapping[str, float]) -> str:
    """A metric as a person reads it: ``.9324``, ``1,210``, ``0.91 ms``, ``1.9 MB``."""
    if name not in metrics:
        return ""
    number = metrics[name]
    unit = METRICS[name].unit if name in METRICS else ""
    if unit == "byte":
        return size(number)
    if name in ("parameters", "flops"):
        return count(number)
    if METRICS.get(name) and METRICS[name].kinds and unit != "target" and abs(number) <= 1:
        return f"{number:.4f}".replace("0.", ".", 1)
    return significant(number)


def size(number: float) -> str:
    """Bytes as ``412 kB`` or ``1.9 MB``."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def count(number: float) -> str:
    """Large numbers as ``37,218``, ``1.26 M`` or ``2.4 G``."""
    if number < 999_999.5:
        return f"{number:,.0f}"
    return f"{number / 1e6:.3g} M" if number < 999.5e6 else f"{number / 1e9:.3g} G"


def significant(number: float) -> str:
    """Four digits that count: ``45,734``, ``3.528``, ``0.09123``, ``1.2e+30``."""
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e9 else f"{number:.4g}"


def clock(seconds: float) -> str:
    """Seconds as ``0:42`` or ``1:05:00``."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def folder_name(text: str) -> str:
    """``Adult Income`` -> ``adult-income``: letters and digits of a name, fit for a folder's; may be
    empty."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()
