"""Strategies by name, for the command line; in Python, objects are passed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

from netwright.errors import InputError, closest
from netwright.strategies.base import Algorithm, as_algorithm

STRATEGIES: Mapping[str, str] = {
    "random": "netwright.strategies.random:RandomSearch",
    "evolution": "netwright.strategies.evolution:RegularizedEvolution",
    "genetic": "netwright.strategies.genetic:Genetic",
    "nsga2": "netwright.strategies.genetic:NSGA2",
    "differential": "netwright.strategies.differential:DifferentialEvolution",
    "local": "netwright.strategies.local:LocalSearch",
    "reinforce": "netwright.strategies.reinforce:Reinforce",
    "ppo": "netwright.strategies.reinforce:PPO",
    "tpe": "netwright.strategies.tpe:TPE",
    "halving": "netwright.strategies.halving:SuccessiveHalving",
    "asha": "netwright.strategies.asha:ASHA",
    "hyperband": "netwright.strategies.halving:Hyperband",
    "bohb": "netwright.strategies.halving:BOHB",
    "dehb": "netwright.strategies.halving:DEHB",
}
"""Name -> where the settings of the algorithm are; from here their defaults."""

DEFAULT = "evolution"


def strategy(name: str) -> Algorithm:
    """The algorithm called `name`, or the one at ``module:Object`` in users' own code, where
    Object is one (see `Algorithm`), or the class of its settings.

    Raises InputError when there is none.
    """
    place = STRATEGIES.get(name, name)
    if ":" not in place:
        fix = closest(name, STRATEGIES) or f"Known: {', '.join(STRATEGIES)}; or module:Object."
        raise InputError(f"strategy must be a known name or module:Object, got {name!r}. {fix}")
    module, _, attribute = place.partition(":")
    if str(Path.cwd()) not in sys.path:  # a console script does not look there by itself
        sys.path.insert(0, str(Path.cwd()))
    try:
        return as_algorithm(getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise InputError(f"strategy {name!r} cannot be imported: {error}.") from error
