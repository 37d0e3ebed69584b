"""The scripts of `benchmarks/tables/`, which are no package, as modules."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "benchmarks" / "tables"


def script(name: str) -> ModuleType:
    """The one at ``name.py``."""
    unique = f"systems_on_tables_{name.replace('/', '_')}"
    spec = util.spec_from_file_location(unique, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[unique] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
