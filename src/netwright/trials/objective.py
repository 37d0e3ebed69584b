"""Objectives (metrics to optimise) and limits (bounds on metrics)."""

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
    """A metric to optimise.

    Args:
        metric: its name.
        direction: "min" or "max".

    Raises:
        InputError: the direction is another.

    Example:
        >>> objective = Objective("accuracy", "max")
    """

    metric: str
    direction: Direction

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            rule = f"'min' or 'max' for {self.metric}"
            raise InputError(expected("direction", rule, self.direction))

    def loss(self, metrics: Metrics) -> float:
        """Return the metric as a loss: negated if it is maximised.

        Args:
            metrics: metric -> value, of a trial.

        Returns:
            The loss, lower is better; infinity if the metric is missing or NaN.
        """
        metric = metrics.get(self.metric, math.nan)
        if math.isnan(metric):
            return math.inf
        return metric if self.direction == "min" else -metric


@dataclass(frozen=True)
class Limit:
    """Inclusive bounds on a metric, whether or not it is an objective.

    Args:
        metric: its name.
        at_most: upper bound; infinity for none.
        at_least: lower bound; minus infinity for none.

    Raises:
        InputError: there is no bound, or no value satisfies both.

    Example:
        >>> limit = Limit("latency", at_most=2.0)
    """

    metric: str
    at_most: float = math.inf
    at_least: float = -math.inf

    def __post_init__(self) -> None:
        what = f"a limit on {self.metric}"
        bounds = (self.at_most, self.at_least)
        if not all(isinstance(bound, int | float) and not math.isnan(bound) for bound in bounds):
            raise InputError(expected(what, "bounded by numbers", bounds))
        if self.at_most == math.inf and self.at_least == -math.inf:
            fix = "Give at_most or at_least."
            raise InputError(expected(what, "bounded on one side at least", Phrase("none"), fix))
        if self.at_most < self.at_least:
            got = Phrase(f"at_most {self.at_most:g} and at_least {self.at_least:g}")
            raise InputError(expected(what, "one that some value keeps", got))

    def excess(self, metrics: Metrics) -> float:
        """Return how far the metric is outside the bounds.

        Args:
            metrics: metric -> value, of a trial.

        Returns:
            The distance to the bound it breaks, in the metric's unit: 0 inside, infinity if the
            metric is missing or NaN.
        """
        metric = metrics.get(self.metric, math.nan)
        if math.isnan(metric):
            return math.inf
        return max(0.0, metric - self.at_most, self.at_least - metric)

    def keeps(self, metrics: Metrics) -> bool:
        """Return whether the metric is within the bounds.

        Args:
            metrics: metric -> value, of a trial.

        Returns:
            False if the metric is missing or NaN, too.
        """
        return self.excess(metrics) == 0.0

    def __str__(self) -> str:
        bounds = []
        if self.at_most < math.inf:
            bounds.append(f"{self.metric}<={_exact(self.at_most)}")
        if self.at_least > -math.inf:
            bounds.append(f"{self.metric}>={_exact(self.at_least)}")
        return ", ".join(bounds)


def _exact(bound: float) -> str:
    """Format a bound with all digits, so that different limits never look the same."""
    return str(int(bound)) if float(bound).is_integer() and abs(bound) < 1e15 else repr(bound)


def objective(name: str | Objective, measured: Collection[str] = ()) -> Objective:
    """Return the objective of a metric's name; an Objective passes through.

    Args:
        name: the metric, optimised in its own direction; ``"loss:min"`` to state the direction, as a
            metric that netwright does not know needs.
        measured: the metrics of the evaluator, which netwright need not know.

    Raises:
        InputError: the metric is unknown, or needs a direction.
    """
    if isinstance(name, Objective):
        return name
    if not isinstance(name, str):
        rule = "an Objective, a metric's name, or one with its direction such as 'loss:min'"
        raise InputError(expected("an objective", rule, name))
    plain, colon, direction = (text.strip() for text in name.partition(":"))
    if plain not in measured:
        metric(plain)
    elif not colon and plain not in METRICS:
        fix = f"Write '{plain}:min' or '{plain}:max'."
        raise InputError(expected("an objective of your own", "given a direction", name, fix))
    return Objective(plain, cast("Direction", direction) if colon else metric(plain).direction)


def objectives(
    names: str | Objective | Sequence[str | Objective], measured: Collection[str] = ()
) -> tuple[Objective, ...]:
    """Parse one objective or several; at least one, and no metric twice. See `objective`."""
    several = [names] if isinstance(names, str | Objective) else names
    if not isinstance(several, Sequence):
        raise InputError(expected("objectives", "a list of metrics", names))
    parsed = tuple(objective(name, measured) for name in several)
    if not parsed:
        raise InputError(expected("objectives", "at least one metric", list(several)))
    metrics = [objective.metric for objective in parsed]
    if len(set(metrics)) < len(metrics):
        raise InputError(expected("objectives", "different metrics", metrics))
    return parsed


_LIMIT = re.compile(r"^\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*$")


def parse_limit(text: str | Limit, what: str = "limit", measured: Collection[str] = ()) -> Limit:
    """Parse ``"latency<=2"`` as a Limit; a Limit passes through.

    Args:
        text: ``METRIC<=NUMBER`` or ``METRIC>=NUMBER``.
        what: the name of the text in errors.
        measured: the metrics of the evaluator, which netwright need not know.

    Raises:
        InputError: the text does not match, or the metric is unknown.
    """
    if isinstance(text, Limit):
        return text
    match = _LIMIT.match(text) if isinstance(text, str) else None
    try:
        name, sign, bound = match.group(1), match.group(2), float(match.group(3))  # type: ignore[union-attr]  # None is the error below
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
    """Parse one limit or several; see `parse_limit`."""
    several = [texts] if isinstance(texts, str | Limit) else texts
    if not isinstance(several, Sequence):
        raise InputError(expected(what, "a list of limits", texts))
    return tuple(parse_limit(text, what, measured) for text in several)


def searched_metrics(objectives: Sequence[Objective], limits: Sequence[Limit]) -> frozenset[str]:
    """Return the metrics that objectives and limits are about."""
    return frozenset({o.metric for o in objectives} | {limit.metric for limit in limits})
