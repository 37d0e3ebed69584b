"""What a search is for: metrics to improve, and bounds to keep."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast, get_args

from netwright.errors import InputError, Phrase, expected
from netwright.trials.metrics import METRICS, Direction, metric
from netwright.trials.trial import Metrics


@dataclass(frozen=True)
class Objective:
    """A metric and the direction in which it is better."""

    metric: str
    direction: Direction

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            rule = f"'min' or 'max' for {self.metric}"
            raise InputError(expected("direction", rule, self.direction))

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

    def __post_init__(self) -> None:
        what = f"a limit on {self.metric}"
        bounds = (self.at_most, self.at_least)
        if not all(isinstance(one, int | float) and not math.isnan(one) for one in bounds):
            raise InputError(expected(what, "bounded by numbers", bounds))
        if self.at_most == math.inf and self.at_least == -math.inf:
            fix = "Give at_most or at_least."
            raise InputError(expected(what, "bounded on one side at least", Phrase("none"), fix))
        if self.at_most < self.at_least:
            got = Phrase(f"at_most {self.at_most:g} and at_least {self.at_least:g}")
            raise InputError(expected(what, "one that some value keeps", got))

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


def objective(name: str | Objective, measured: Collection[str] = ()) -> Objective:
    """The objective called `name`, in the metric's own direction; an Objective passes through.

    ``"loss:min"`` says the direction, which a metric that netwright does not know needs. Those are
    refused but for the `measured` ones, which the evaluator at hand has.
    """
    if isinstance(name, Objective):
        return name
    if not isinstance(name, str):
        rule = "an Objective, a metric's name, or one with its direction such as 'loss:min'"
        raise InputError(expected("an objective", rule, name))
    plain, colon, direction = (part.strip() for part in name.partition(":"))
    if plain not in measured:
        metric(plain)
    elif not colon and plain not in METRICS:
        fix = f"Write '{plain}:min' or '{plain}:max'."
        raise InputError(expected("an objective of your own", "given a direction", name, fix))
    return Objective(plain, cast("Direction", direction) if colon else metric(plain).direction)


def objectives(
    names: str | Objective | Sequence[str | Objective], measured: Collection[str] = ()
) -> tuple[Objective, ...]:
    """Several objectives by name, or one; at least one, none twice. `measured`: as in `objective`."""
    several = [names] if isinstance(names, str | Objective) else names
    if not isinstance(several, Sequence):
        raise InputError(expected("objectives", "a list of metrics", names))
    found = tuple(objective(name, measured) for name in several)
    if not found:
        raise InputError(expected("objectives", "at least one metric", list(several)))
    if len({one.metric for one in found}) < len(found):
        raise InputError(expected("objectives", "different metrics", [one.metric for one in found]))
    return found


_LIMIT = re.compile(r"^\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*$")


def parse_limit(text: str | Limit, what: str = "limit", measured: Collection[str] = ()) -> Limit:
    """``"latency<=2"`` as a Limit; InputError when it does not read so or the metric is unknown.

    Known are netwright's metrics, and those `measured` by the evaluator at hand.
    """
    if isinstance(text, Limit):
        return text
    found = _LIMIT.match(text) if isinstance(text, str) else None
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
    if name not in measured:
        metric(name)
    return Limit(name, at_most=bound) if sign[0] == "<" else Limit(name, at_least=bound)


def limits(
    texts: str | Limit | Sequence[str | Limit], what: str = "limit", measured: Collection[str] = ()
) -> tuple[Limit, ...]:
    """Several limits, or one, each as in `parse_limit`."""
    several = [texts] if isinstance(texts, str | Limit) else texts
    if not isinstance(several, Sequence):
        raise InputError(expected(what, "a list of limits", texts))
    return tuple(parse_limit(one, what, measured) for one in several)
