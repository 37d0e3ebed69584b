"""netwright with one part taken out, to see what the part adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netwright.automl import open_search
from netwright.automl.export import delivery
from netwright.automl.export.plan import ExportStep
from netwright.automl.tabular import families
from netwright.space.space import Space

NETWORKS = families.NETWORK_FAMILIES
TREES = tuple(name for name in families.installed_families() if name not in NETWORKS)


def fixed_networks() -> None:
    """RealMLP and TabM with their defaults, nothing of them open; no other network."""

    def closed(make: Callable[..., Any]) -> Callable[..., Any]:
        def filled(*args: Any, **told: Any) -> Any:
            space = Space(make(*args, **told))
            return space.fill(space.default())

        return filled

    recipes = families.recipes
    recipes.realmlp, recipes.tabm = closed(recipes.realmlp), closed(recipes.tabm)


def no_features() -> None:
    """No arithmetic, no crosses, no mean targets; dates and texts are still taken apart."""

    def plain(make: Callable[..., Any]) -> Callable[..., Any]:
        def found(brief: Any, *more: Any) -> Any:
            pipeline = make(brief, *more)
            coded = replace(pipeline.steps["categories"], crosses=0, encode="frequency")
            return replace(pipeline, steps={**pipeline.steps, "categories": coded})

        return found

    for name in ("_for_trees", "_for_forests"):
        setattr(families, name, plain(getattr(families, name)))
    families._arithmetic_features = lambda metadata: 0


def no_portfolio() -> None:
    """The strategy from the first trial on."""
    open_search.portfolio = lambda space, brief: []


def no_averages() -> None:
    """The best candidate by itself: the average of its own folds, nothing fitted again."""

    real = delivery.next_step

    def alone(search: Any, ensembles: Any, progress: Any, seconds_left: float) -> Any:
        if ensembles is None:
            return real(search, ensembles, progress, seconds_left)
        untried = [one for one in ensembles.best if one.id not in progress.attempted]
        return ExportStep(untried[0], "best") if untried else None

    delivery.next_step = alone
