"""Strong candidates that are tried before anything is searched: there is always an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.automl.brief import Brief
from netwright.automl.recipes import table_wishes
from netwright.automl.spaces import stem_strides
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space

_IMAGE_RECIPE: dict[str, Value] = {
    "activation": "relu", "model.lr": 4e-3, "model.batch_size": 64,
    "model.optimizer.weight_decay": 1e-2, "model.schedule": "OneCycle", "model.augment": "shift",
}  # fmt: skip


def portfolio(space: Space[Any], brief: Brief, without: str = "") -> list[Candidate]:
    """Complete candidates of `space_for(brief)`: the cheapest, then by what they promise.

    `without`: as `table_wishes`.
    """
    wishes = _images(min(brief.image[:2])) if brief.image else table_wishes(brief, without)
    return _cheapest_first(list(dict.fromkeys(completed(space, wish) for wish in wishes)))


_CHEAPEST = (
    "linear", "lightgbm", "histogram", "xgboost", "extra_trees", "forest", "catboost", "network",
    "tabm", "realmlp",
)  # fmt: skip
"""Families by how soon a first model is there, on most tables."""


def _cheapest_first(candidates: list[Candidate]) -> list[Candidate]:
    """With one of the cheapest family in front: however little time there is, there is an answer."""
    families = {candidate.values.get("") for candidate in candidates}
    cheapest = next((family for family in _CHEAPEST if family in families), None)
    first = next((c for c in candidates if c.values.get("") == cheapest), candidates[0])
    return [first, *(candidate for candidate in candidates if candidate is not first)]


def completed(space: Space[Any], wishes: Mapping[str, Value]) -> Candidate:
    """The default candidate with these decisions, where they are active and legal."""
    values: dict[str, Value] = {}
    for decision in space.decisions:
        if decision.path in wishes and decision.holds(wishes[decision.path]):
            values[decision.path] = wishes[decision.path]
    return space.fix(values).default()


def _images(side: int) -> list[dict[str, Value]]:
    """A tiny residual network, one of middling size, then others: a first sketch of the front."""
    stride = stem_strides(side)[-1]
    stem: dict[str, Value] = {
        "model.network.0.stride": stride, "model.network.0.kernel": max(3, stride + 1)
    }  # fmt: skip
    recipe = _IMAGE_RECIPE | stem
    return [
        recipe | _stages(8, (16, 24, 32), times=0),
        recipe | _stages(16, (32, 64, 96), times=1),
        recipe | _stages(8, (32, 64, 64), times=0),
        recipe | _stages(8, (24, 48, 64), times=1),
        recipe | _stages(32, (64, 96, 128), times=2) | {"model.label_smoothing": 0.05},
    ]


def _stages(stem: int, widths: Sequence[int], times: int) -> dict[str, Value]:
    """Decisions for every stage that the space may have."""
    found: dict[str, Value] = {"model.network.0.channels": stem}
    for stage, width in enumerate(widths, start=1):
        found |= {
            f"model.network.{stage}.0.channels": width,
            f"model.network.{stage}.1.times": times,
        }
    return found
