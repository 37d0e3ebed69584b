"""Optional dependencies are imported on first use; the error has the command that installs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from netwright.errors import MissingExtra


def import_optional(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: to import.
        extra: of netwright, which installs it.
        purpose: begins the error: ``reading parquet needs pyarrow, which is not installed...``

    Raises:
        MissingExtra: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs {module}, which is not installed. "
            f"Install it with: pip install 'netwright[{extra}]'"
        ) from error
