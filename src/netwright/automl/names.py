"""Strategies by name, for the command line; in Python, objects are passed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netwright.errors import InputError, closest

STRATEGIES: Mapping[str, str] = {
    "evolution": "netwright.strategies.evolution:RegularizedEvolution",
    "random": "netwright.strategies.random:RandomSearch",
}
"""Name -> where the factory is, called with (space, objectives=, limits=)."""

DEFAULT = "evolution"


def strategy(name: str) -> Any:
    """The factory called `name`, or the one at ``module:Object`` in users' own code.

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
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"strategy {name!r} cannot be imported: {error}.") from error
