"""The systems, by name; each file is imported in its own environment only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """The environment of a system, and the distribution whose version is recorded."""

    environment: str
    distribution: str


SYSTEMS: Mapping[str, System] = {
    "netwright": System("netwright", "netwright"),
    "netwright_trees": System("netwright", "netwright"),
    "netwright_fixed": System("netwright", "netwright"),
    "netwright_plain": System("netwright", "netwright"),
    "netwright_unseeded": System("netwright", "netwright"),
    "netwright_alone": System("netwright", "netwright"),
    "lightgbm": System("sklearn", "lightgbm"),
    "random_forest": System("sklearn", "scikit-learn"),
    "flaml": System("flaml", "flaml"),
    "autogluon_medium": System("autogluon", "autogluon.tabular"),
    "autogluon_high": System("autogluon", "autogluon.tabular"),
    "autogluon_best": System("autogluon", "autogluon.tabular"),
    "lightautoml": System("lightautoml", "lightautoml"),
    "mljar": System("mljar", "mljar-supervised"),
    "realmlp": System("pytabkit", "pytabkit"),
    "tabm": System("pytabkit", "pytabkit"),
}
