"""What a search is for: metrics to improve, and bounds to keep."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from netwright.errors import InputError, expected
from netwright.trials.metrics import Direction, metric
from netwright.trials.trial import Metrics


@dataclass(frozen=True)
class Objective:
    """A metric and the direction in which it is better."""

    metric: str
    direction: Direction

    def loss(self, metrics: Metrics) -> float:
        """The metric turned so that less is better; infinite when missing or NaN."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return math.inf
        return value if self.direction == "min" else -value


@dataclass(frozen=True)
class Limit:
    """Bounds on a metric, an objective or not; both ends are allowed values."""

    metric: str
    at_most: float = math.inf
    at_least: float = -math.inf

    def excess(self, metrics: Metrics) -> float:
        """By how much the bounds are broken, 0 when kept; infinite when the metric is missing."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return math.inf
        return max(0.0, value - self.at_most, self.at_least - value)

    def keeps(self, metrics: Metrics) -> bool:
        """Whether the bounds are kept."""
        return self.excess(metrics) == 0.0

    def __str__(self) -> str:
        bounds = [f"{self.metric}<={_exact(self.at_most)}"] * (self.at_most < math.inf)
        bounds += [f"{self.metric}>={_exact(self.at_least)}"] * (self.at_least > -math.inf)
        return ", ".join(bounds)


def _exact(bound: float) -> str:
    """All its digits: two limits that differ must not read alike."""
    return str(int(bound)) if float(bound).is_integer() and abs(bound) < 1e15 else repr(bound)


def objective(name: str | Objective) -> Objective:
    """The objective called `name`, in the metric's own direction; an Objective passes through."""
    if isinstance(name, Objective):
        return name
    return Objective(name, metric(name).direction)


def objectives(names: Sequence[str | Objective]) -> tuple[Objective, ...]:
    """Several objectives by name; at least one, none twice."""
    found = tuple(objective(name) for name in names)
    if not found:
        raise InputError(expected("objectives", "at least one metric", list(names)))
    if len({one.metric for one in found}) < len(found):
        raise InputError(expected("objectives", "different metrics", [one.metric for one in found]))
    return found


_LIMIT = re.compile(r"^\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*$")


def parse_limit(text: str | Limit, what: str = "limit") -> Limit:
    """``"latency<=2"`` as a Limit; InputError when it does not read so or the metric is unknown."""
    if isinstance(text, Limit):
        return text
    found = _LIMIT.match(text)
    try:
        name, sign, bound = found.group(1), found.group(2), float(found.group(3))  # type: ignore[union-attr]  # None is the error below
    except (AttributeError, ValueError):
        raise InputError(
            expected(
                what,
                "METRIC<=NUMBER or METRIC>=NUMBER",
                text,
                "For example latency<=2 or accuracy>=0.9.",
            )
        ) from None
    metric(name)
    return Limit(name, at_most=bound) if sign[0] == "<" else Limit(name, at_least=bound)
