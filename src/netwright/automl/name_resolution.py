"""Resolve names on the command line: strategies, and objects written as ``module:Object``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright import catalog
from netwright.errors import InputError, closest, expected
from netwright.interfaces.checks import as_algorithm
from netwright.interfaces.strategy import Algorithm

if TYPE_CHECKING:
    from netwright.strategies.oneshot import OneShot

SUPERNET_NAMES = tuple(row.name for row in catalog.SUPERNETS)
"""Strategies that train a supernet first."""
BLACK_BOX_NAMES = tuple(row.name for row in catalog.BLACK_BOX)
"""Strategies that see only candidates and metrics, and so also search tables of benchmarks."""
STRATEGY_REFERENCES = {
    row.name: row.import_path
    for row in (*catalog.BLACK_BOX, *catalog.SUPERNETS, *catalog.WITHOUT_SEARCH)
}
"""Name -> ``module:Object`` of the algorithm, whose settings have their defaults."""


def strategy_by_name(name: str) -> Algorithm:
    """Return the algorithm with this name.

    Args:
        name: a name of the catalog; ``asha+evolution``, a multi-fidelity algorithm that takes its
            candidates from another one; or ``module:Object``, an `Algorithm` or the class of its
            settings.

    Raises:
        InputError: There is no such algorithm.
    """
    outer, plus, inner = name.partition("+")
    if plus:
        if outer not in catalog.WRAPPERS:
            wrappers = ", ".join(catalog.WRAPPERS)
            raise InputError(f"strategy before + must be one of {wrappers}, got {outer!r}.")
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


def _one_shot(method: OneShot | Callable[[], object]) -> Algorithm:
    """Return a supernet strategy: a preset, or the default settings of a relaxation or sampler."""
    from netwright.evaluators.one_shot.supernet_search import as_one_shot_settings
    from netwright.strategies.oneshot import OneShot

    return method if isinstance(method, OneShot) else OneShot(as_one_shot_settings(method()))


def import_object(reference: str, what: str) -> Any:  # noqa: ANN401  # users' objects of any type
    """Import ``module:Object`` from an installed package or from the working folder.

    The working folder comes last on the import path, so that a file beside the data cannot shadow a
    module of Python or of a package.

    Args:
        reference: ``module:Object``.
        what: the option it was given for, which errors name.

    Raises:
        InputError: It cannot be imported.
    """
    module, _, attribute = reference.partition(":")
    if not all(name.isidentifier() for name in (*module.split("."), attribute)):
        fix = f"Write {Path(module).stem}:{attribute}." if module.endswith(".py") else ""
        raise InputError(expected(what, "module:Object, such as my_module:thing", reference, fix))
    folder = str(Path.cwd())
    if not module.startswith("netwright.") and folder not in sys.path:
        sys.path.append(folder)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{what} {reference!r} cannot be imported: {error}.") from error
    except Exception as error:  # importing runs the user's code
        name = type(error).__name__
        raise InputError(f"{what} {reference!r} cannot be imported: {name}: {error}.") from error
