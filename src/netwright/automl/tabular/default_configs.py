"""Default configurations of the families of models for tables, most promising first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeAlias

from netwright.automl.tabular.families import REQUIRED_MODULES, check_families
from netwright.automl.task_metadata import TaskMetadata
from netwright.space.candidate import Value
from netwright.trials.trial import FAMILY

PartialCandidate: TypeAlias = Mapping[str, Value]
"""Path -> value of some of a candidate's decisions."""

WITH_EXTRAS, WITHOUT_EXTRAS = "all", "plain"
"""Keys of the portfolios chosen with the optional families, and without them."""

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
            "model.learning_rate": 0.08, "model.depth": 6, "model.l2_leaf_reg": 3.0,
            "model.subsample": 0.8, "model.random_strength": 1.0,
        },
        {
            "model.learning_rate": 0.06, "model.depth": 7, "model.l2_leaf_reg": 5.0,
            "model.subsample": 0.8, "model.random_strength": 1.0, "categories.encode": "target",
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
"""Hand-made configurations of each family.

The portfolio is chosen from these and from random configurations; a family that is not in the
portfolio starts with its first one here.
"""


def table_configs(metadata: TaskMetadata, leave_out_dataset: str = "") -> list[PartialCandidate]:
    """Return the decisions of the portfolio's candidates, most promising first.

    Args:
        metadata: of a table, with its families.
        leave_out_dataset: a development table; the portfolio is then the one that was chosen
            without it, so that it can be evaluated on it.
    """
    families, portfolio = check_families(metadata.families), _read_portfolio()
    extras = WITH_EXTRAS if set(REQUIRED_MODULES) <= set(families) else WITHOUT_EXTRAS
    dataset = leave_out_dataset if leave_out_dataset in portfolio["lists"] else ""
    configs = [portfolio["configs"][index] for index in portfolio["lists"][dataset][extras]]
    in_portfolio = {family for family, _ in configs}
    first_configs = [
        (family, DEFAULT_CONFIGS.get(family, ({},))[0])
        for family in families
        if family not in in_portfolio
    ]
    single_family = len(families) == 1
    return [
        dict(config) if single_family else _in_family(family, config)
        for family, config in [*configs, *first_configs]
        if family in families
    ]


@lru_cache(maxsize=1)
def _read_portfolio() -> Mapping[str, Any]:
    """Read the portfolio that ``benchmarks/tables/portfolio.py`` has chosen."""
    file = files("netwright.automl.tabular").joinpath("portfolio.json")
    portfolio: Mapping[str, Any] = json.loads(file.read_text())
    return portfolio


def _in_family(family: str, config: PartialCandidate) -> dict[str, Value]:
    """Return a pipeline's decisions as decisions of the space with a choice of families.

    Their paths get the prefix of the family, except for shared choices, which have their own names.
    """
    prefixed = {
        f"{FAMILY}.{family}.{path}" if "." in path else path: decision
        for path, decision in config.items()
    }
    return {FAMILY: family, **prefixed}
