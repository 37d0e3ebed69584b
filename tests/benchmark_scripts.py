"""The modules of a folder below `benchmarks/`, which is no package of ours."""

from __future__ import annotations

import importlib
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def benchmark_module(package: str, name: str) -> ModuleType:
    """The module at ``benchmarks/PACKAGE/NAME.py``, as ``PACKAGE.NAME``."""
    if package not in sys.modules:
        folder = _BENCHMARKS / package
        spec = util.spec_from_file_location(
            package, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[package] = util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return importlib.import_module(f"{package}.{name}")
