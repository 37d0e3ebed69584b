"""Strong configurations of the families of models for tables, in the order in which they are tried."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from netwright.automl.tabular.families import REQUIRED_MODULES, check_families
from netwright.automl.task_metadata import TaskMetadata
from netwright.space.candidate import Value
from netwright.trials.trial import FAMILY

PartialCandidate = Mapping[str, Value]

WITH_EXTRAS, WITHOUT_EXTRAS = "all", "plain"
"""Lists that were chosen with the families that an extra brings, and without them."""

_LIGHTGBM: dict[str, Value] = {
    "model.learning_rate": 0.05, "model.num_leaves": 31, "model.min_child_samples": 20,
    "model.colsample_bytree": 0.8, "model.subsample": 0.8, "model.reg_lambda": 0.1,
}  # fmt: skip
DEFAULT_CONFIGS: Mapping[str, Sequence[PartialCandidate]] = {
    "lightgbm": [
        _LIGHTGBM,
        _LIGHTGBM | {"model.extra_trees": True, "model.num_leaves": 63, "model.min_child_samples": 5},
        _LIGHTGBM | {"model.num_leaves": 128, "model.learning_rate": 0.03, "model.min_child_samples": 3},
        _LIGHTGBM | {"model.num_leaves": 8, "model.min_child_samples": 5, "model.colsample_bytree": 0.5},
    ],
    "catboost": [
        {
            "model.learning_rate": 0.08, "model.depth": 6, "model.l2_leaf_reg": 3.0, "model.subsample": 0.8,
            "model.random_strength": 1.0,
        },
        {
            "model.learning_rate": 0.06, "model.depth": 7, "model.l2_leaf_reg": 5.0, "model.subsample": 0.8,
            "model.random_strength": 1.0, "categories.encode": "target",
        },
    ],
    "xgboost": [
        {
            "model.learning_rate": 0.06, "model.max_depth": 6, "model.min_child_weight": 1.0,
            "model.colsample_bytree": 0.8, "model.subsample": 0.8, "model.reg_lambda": 1.0,
        },
    ],
    "histogram": [{"model.learning_rate": 0.08, "model.max_leaf_nodes": 31}],
    "extra_trees": [{}, {"model.min_samples_leaf": 2, "model.max_features": 0.4}],
    "forest": [{}],
    "linear": [{"numeric.scale": "robust"}, {"numeric.scale": "quantile"}],
    "realmlp": [
        {},
        {"realmlp_dropout": 0.0, "model.network.0.numeric.sigma": 0.3},
        {"realmlp_activation": "relu", "realmlp_width": 384, "realmlp_dropout": 0.3},
    ],
    "tabm": [{}, {"model.network.0.numeric": "periodic"}],
    "network": [
        {
            "activation": "silu", "model.lr": 2e-3, "model.batch_size": 256,
            "model.optimizer.weight_decay": 1e-2, "model.schedule": "Cosine",
            "numeric.scale": "robust", "model.network.0.numeric": "periodic",
            "model.network.0.numeric.periodic.size": 8, "model.network.0.categorical": "embed",
            "model.network.0.categorical.embed.size": 8, "model.network.1.times": 2,
            "model.network.1.0.0.features": 256, "model.network.1.0.1.p": 0.1,
            "model.network.1.1.0.features": 256, "model.network.1.1.1.p": 0.1,
        },
    ],
}  # fmt: skip
"""Of each family, by hand: what the portfolio is chosen from beside random configurations, and what
a family begins with that has no other."""


def table_configs(brief: TaskMetadata, leave_out_dataset: str = "") -> list[PartialCandidate]:
    """Decisions for candidates of the table's space, the first to be tried first.

    `without`: a development table; what is chosen then was chosen without it.
    """
    known, made = check_families(brief.families), _made()
    extras = WITH_EXTRAS if set(REQUIRED_MODULES) <= set(known) else WITHOUT_EXTRAS
    chosen = made["lists"][leave_out_dataset if leave_out_dataset in made["lists"] else ""][extras]
    found = [made["configs"][number] for number in chosen]
    rest = [
        (name, DEFAULT_CONFIGS.get(name, ({},))[0])
        for name in known
        if name not in {f for f, _ in found}
    ]
    found = [(name, wishes) for name, wishes in [*found, *rest] if name in known]
    return [_wishes(name, wishes, alone=len(known) == 1) for name, wishes in found]


@lru_cache(maxsize=1)
def _made() -> Mapping[str, Any]:
    """What ``benchmarks/tables/portfolio.py`` has made."""
    file = files("netwright.automl.tabular").joinpath("portfolio.json")
    found: Mapping[str, Any] = json.loads(file.read_text())
    return found


def _wishes(name: str, wishes: PartialCandidate, alone: bool) -> dict[str, Value]:
    """As decisions of the space: `alone` it is that of the one pipeline."""
    return dict(wishes) if alone else {FAMILY: name, **_of_family(name, wishes)}


def _of_family(name: str, wishes: PartialCandidate) -> dict[str, Value]:
    """Paths begin with the family, but for choices that are shared and have names of their own."""
    return {
        f"{FAMILY}.{name}.{path}" if "." in path else path: value for path, value in wishes.items()
    }
