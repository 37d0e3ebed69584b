"""Strategies and other things by name, for the command line; in Python, objects are passed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from netwright import catalog
from netwright.errors import InputError, closest, expected
from netwright.interfaces.checks import as_algorithm
from netwright.interfaces.strategy import Algorithm

SUPERNETS = tuple(row.name for row in catalog.SUPERNETS)
"""Those that train a network of shared weights first."""
BLACK_BOX = tuple(row.name for row in catalog.BLACK_BOX)
"""Those that see candidates and results only: on tables, too."""
STRATEGIES = {row.name: row.place for row in (*catalog.BLACK_BOX, *catalog.SUPERNETS)}
"""Name -> where the settings of the algorithm are; from here their defaults."""


def strategy(name: str) -> Algorithm:
    """The algorithm called `name`, or the one at ``module:Object`` in users' own code, where
    Object is one (see `Algorithm`), or the class of its settings.

    ``asha+evolution`` is asha over evolution: whatever tries many candidates with little effort
    takes them from any other. Raises InputError when there is none.
    """
    outer, plus, inner = name.partition("+")
    if plus:
        if outer not in catalog.WRAPPERS:
            known = ", ".join(catalog.WRAPPERS)
            raise InputError(f"strategy before + must be one of {known}, got {outer!r}.")
        if inner in SUPERNETS:
            rule = "one that needs no supernet"
            raise InputError(expected("strategy after +", rule, inner, "Try bayesian."))
        return as_algorithm(catalog.load(STRATEGIES[outer])(strategy(inner)))
    if name in SUPERNETS:
        return _one_shot(catalog.load(STRATEGIES[name]))
    if name in STRATEGIES:
        return as_algorithm(catalog.load(STRATEGIES[name]))
    if ":" not in name:
        fix = closest(name, STRATEGIES) or f"Known: {', '.join(STRATEGIES)}; or module:Object."
        raise InputError(f"strategy must be a known name or module:Object, got {name!r}. {fix}")
    return as_algorithm(imported(name, "strategy"))


def _one_shot(method: Any) -> Algorithm:
    """A strategy of shared weights: as it is, or from a relaxation or a sampler by itself."""
    from netwright.evaluators.one_shot.supernet_search import settings_of
    from netwright.strategies.oneshot import OneShot

    return method if isinstance(method, OneShot) else OneShot(settings_of(method()))


def imported(place: str, what: str) -> Any:
    """What ``module:Object`` names: in an installed package, or in a module of the working folder.

    The working folder comes last on the import path, and only for this: a file beside the data must
    not stand for a module of Python or of a package. Raises InputError when it cannot be imported.
    """
    module, _, attribute = place.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        fix = f"Write {Path(module).stem}:{attribute}." if module.endswith(".py") else ""
        raise InputError(expected(what, "module:Object, such as my_module:thing", place, fix))
    folder = str(Path.cwd())
    if not module.startswith("netwright.") and folder not in sys.path:
        sys.path.append(folder)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{what} {place!r} cannot be imported: {error}.") from error
    except Exception as error:  # whatever the module does when it is imported
        name = type(error).__name__
        raise InputError(f"{what} {place!r} cannot be imported: {name}: {error}.") from error
