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

SUPERNET_NAMES = tuple(row.name for row in catalog.SUPERNETS)
"""Those that train a network of shared weights first."""
BLACK_BOX_NAMES = tuple(row.name for row in catalog.BLACK_BOX)
"""Those that see candidates and results only: on tables, too."""
STRATEGY_REFERENCES = {
    row.name: row.import_path for row in (*catalog.BLACK_BOX, *catalog.SUPERNETS)
}
"""Name -> where the settings of the algorithm are; from here their defaults."""


def strategy_by_name(name: str) -> Algorithm:
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
        if inner in SUPERNET_NAMES:
            rule = "one that needs no supernet"
            raise InputError(expected("strategy after +", rule, inner, "Try bayesian."))
        return as_algorithm(catalog.load(STRATEGY_REFERENCES[outer])(strategy_by_name(inner)))
    if name in SUPERNET_NAMES:
        return _one_shot(catalog.load(STRATEGY_REFERENCES[name]))
    if name in STRATEGY_REFERENCES:
        return as_algorithm(catalog.load(STRATEGY_REFERENCES[name]))
    if ":" not in name:
        fix = (
            closest(name, STRATEGY_REFERENCES)
            or f"Known: {', '.join(STRATEGY_REFERENCES)}; or module:Object."
        )
        raise InputError(f"strategy must be a known name or module:Object, got {name!r}. {fix}")
    return as_algorithm(import_object(name, "strategy"))


def _one_shot(method: Any) -> Algorithm:
    """A strategy of shared weights: as it is, or from a relaxation or a sampler by itself."""
    from netwright.evaluators.one_shot.supernet_search import as_one_shot_settings
    from netwright.strategies.oneshot import OneShot

    return method if isinstance(method, OneShot) else OneShot(as_one_shot_settings(method()))


def import_object(reference: str, what: str) -> Any:
    """What ``module:Object`` names: in an installed package, or in a module of the working folder.

    The working folder comes last on the import path, and only for this: a file beside the data must
    not stand for a module of Python or of a package. Raises InputError when it cannot be imported.
    """
    module, _, attribute = reference.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        fix = f"Write {Path(module).stem}:{attribute}." if module.endswith(".py") else ""
        raise InputError(expected(what, "module:Object, such as my_module:thing", reference, fix))
    folder = str(Path.cwd())
    if not module.startswith("netwright.") and folder not in sys.path:
        sys.path.append(folder)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{what} {reference!r} cannot be imported: {error}.") from error
    except Exception as error:  # whatever the module does when it is imported
        name = type(error).__name__
        raise InputError(f"{what} {reference!r} cannot be imported: {name}: {error}.") from error
