"""Ablations: netwright with one component removed."""

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
    """Close all choices of RealMLP and TabM at their defaults."""

    def closed(make: Callable[..., Any]) -> Callable[..., Any]:
        def filled(*args: Any, **settings: Any) -> Any:
            space = Space(make(*args, **settings))
            return space.fill(space.default())

        return filled

    recipes = families.realmlp_and_tabm
    recipes.realmlp, recipes.tabm = closed(recipes.realmlp), closed(recipes.tabm)


def no_features() -> None:
    """Remove arithmetic features, crosses and target encoding; dates and texts are still split."""

    def plain(make: Callable[..., Any]) -> Callable[..., Any]:
        def without_features(metadata: Any, *more: Any) -> Any:
            pipeline = make(metadata, *more)
            coded = replace(pipeline.steps["categories"], crosses=0, encode="frequency")
            return replace(pipeline, steps={**pipeline.steps, "categories": coded})

        return without_features

    for name in ("_for_trees", "_for_forests"):
        setattr(families, name, plain(getattr(families, name)))
    families._arithmetic_features = lambda metadata: 0


def no_portfolio() -> None:
    """Remove the portfolio, so that the strategy proposes from the first trial on."""
    open_search.portfolio = lambda space, metadata, metric: []


def no_averages() -> None:
    """Deliver the best candidate alone: the average of its folds, without a refit."""

    original = delivery.next_step

    def best_only(search: Any, ensembles: Any, progress: Any, seconds_left: float) -> Any:
        if ensembles is None:
            return original(search, ensembles, progress, seconds_left)
        untried = [trial for trial in ensembles.best_singles if trial.id not in progress.attempted]
        return ExportStep(untried[0], "best") if untried else None

    delivery.next_step = best_only
