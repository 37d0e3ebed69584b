"""Strategies by name, for the command line; in Python, objects are passed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netwright.errors import InputError, closest, expected
from netwright.interfaces.checks import as_algorithm
from netwright.interfaces.strategy import Algorithm

SUPERNETS: Mapping[str, str] = {
    "darts": "netwright.automl.supernet_methods:DARTS",
    "darts2": "netwright.automl.supernet_methods:DARTS2",
    "pcdarts": "netwright.automl.supernet_methods:PCDARTS",
    "betadarts": "netwright.automl.supernet_methods:BETADARTS",
    "gdas": "netwright.automl.supernet_methods:GDAS",
    "snas": "netwright.automl.supernet_methods:SNAS",
    "drnas": "netwright.automl.supernet_methods:DRNAS",
    "fairdarts": "netwright.automl.supernet_methods:FAIRDARTS",
    "fbnet": "netwright.automl.supernet_methods:FBNET",
    "proxyless": "netwright.automl.supernet_methods:PROXYLESS",
    "spos": "netwright.automl.supernet_methods:SPOS",
    "fairnas": "netwright.automl.supernet_methods:FAIRNAS",
    "sandwich": "netwright.automl.supernet_methods:SANDWICH",
    "enas": "netwright.automl.supernet_methods:ENAS",
}
"""Those that train a network of shared weights first."""

STRATEGIES: Mapping[str, str] = {
    "bayesian": "netwright.strategies.bayesian.search:Bayesian",
    "random": "netwright.strategies.random:RandomSearch",
    "evolution": "netwright.strategies.evolution.regularized:RegularizedEvolution",
    "genetic": "netwright.strategies.evolution.genetic:Genetic",
    "nsga2": "netwright.strategies.evolution.genetic:NSGA2",
    "differential": "netwright.strategies.evolution.differential:DifferentialEvolution",
    "local": "netwright.strategies.local:LocalSearch",
    "reinforce": "netwright.strategies.reinforcement.policy_gradient:Reinforce",
    "ppo": "netwright.strategies.reinforcement.policy_gradient:PPO",
    "tpe": "netwright.strategies.bayesian.tpe:TPE",
    "bananas": "netwright.strategies.bayesian.bananas:Bananas",
    "npenas": "netwright.strategies.bayesian.bananas:Npenas",
    "halving": "netwright.strategies.multi_fidelity.halving:SuccessiveHalving",
    "asha": "netwright.strategies.multi_fidelity.asha:ASHA",
    "hyperband": "netwright.strategies.multi_fidelity.halving:Hyperband",
    "bohb": "netwright.strategies.multi_fidelity.halving:BOHB",
    "dehb": "netwright.strategies.multi_fidelity.halving:DEHB",
    **SUPERNETS,
}
"""Name -> where the settings of the algorithm are; from here their defaults."""

BLACK_BOX = tuple(name for name in STRATEGIES if name not in SUPERNETS)
"""Those that see candidates and results only: on tables, too."""

WRAPPERS = ("halving", "asha", "hyperband")
"""Those that take their candidates from another: ``asha+evolution``."""

DEFAULT = "bayesian"


def strategy(name: str) -> Algorithm:
    """The algorithm called `name`, or the one at ``module:Object`` in users' own code, where
    Object is one (see `Algorithm`), or the class of its settings.

    ``asha+evolution`` is asha over evolution: whatever tries many candidates with little effort
    takes them from any other. Raises InputError when there is none.
    """
    outer, plus, inner = name.partition("+")
    if plus:
        if outer not in WRAPPERS:
            known = ", ".join(WRAPPERS)
            raise InputError(f"strategy before + must be one of {known}, got {outer!r}.")
        if inner in SUPERNETS:
            rule = "one that needs no supernet"
            raise InputError(expected("strategy after +", rule, inner, "Try bayesian."))
        return as_algorithm(imported(STRATEGIES[outer], "strategy")(strategy(inner)))
    place = STRATEGIES.get(name, name)
    if ":" not in place:
        fix = closest(name, STRATEGIES) or f"Known: {', '.join(STRATEGIES)}; or module:Object."
        raise InputError(f"strategy must be a known name or module:Object, got {name!r}. {fix}")
    return as_algorithm(imported(place, "strategy"))


def imported(place: str, what: str) -> Any:
    """What ``module:Object`` names: in an installed package, or in a module of the working folder.

    The working folder comes last on the import path, and only for this: a file beside the data must
    not stand for a module of Python or of a package. Raises InputError when it cannot be imported.
    """
    module, _, attribute = place.partition(":")
    folder = str(Path.cwd())
    if not module.startswith("netwright.") and folder not in sys.path:
        sys.path.append(folder)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{what} {place!r} cannot be imported: {error}.") from error
