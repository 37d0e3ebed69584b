"""The modules of `benchmarks/hostile/`, which is no package of ours, under a name of their own."""

from __future__ import annotations

import importlib
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).parents[2] / "benchmarks" / "hostile"


def hostile(name: str) -> ModuleType:
    """The one at ``name.py``."""
    if "hostile" not in sys.modules:
        spec = util.spec_from_file_location(
            "hostile", _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = sys.modules["hostile"] = util.module_from_spec(spec)
        spec.loader.exec_module(package)
    return importlib.import_module(f"hostile.{name}")
