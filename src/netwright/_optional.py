"""Optional dependencies fail late, once, with the line that installs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from netwright.errors import MissingExtra


def import_optional(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise MissingExtra: ``reading parquet needs pyarrow. Install ...``"""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs {module}, which is not installed. "
            f"Install it with: pip install 'netwright[{extra}]'"
        ) from error
