"""Limit the memory that data from outside may take, before anything is allocated."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from netwright.errors import InputError

MAX_MEMORY_FRACTION = 0.25
"""Fraction of memory for the data; its copy in training and the workers need the rest."""

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Files in which Linux states the memory limit of a container: cgroup version 2, then 1."""
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


@cache
def max_data_bytes() -> int:
    """Return the most bytes that one file or array may take: a quarter of the machine's memory.

    In a container, a quarter of the container's limit.
    """
    import psutil

    total_bytes = int(psutil.virtual_memory().total)
    return int(MAX_MEMORY_FRACTION * min([total_bytes, *_container_limits()]))


def check_fits_in_memory(n_bytes: int, what: str, fix: str) -> None:
    """Raise InputError if `n_bytes` exceed `max_data_bytes`; `what` names the file."""
    limit = max_data_bytes()
    if n_bytes > limit:
        raise InputError(
            f"{what} must take at most {format_bytes(limit)} (a quarter of the memory), "
            f"got {format_bytes(n_bytes)}. {fix}"
        )


def format_bytes(n_bytes: int) -> str:
    """Format a size, such as ``5.9 GB``; beyond all units as a power of ten."""
    if n_bytes >= 10**18:
        return f"10^{len(str(n_bytes)) - 1} bytes"
    power = 0
    while n_bytes >= 1000 ** (power + 1) and power < len(_UNITS) - 1:
        power += 1
    return f"{n_bytes / 1000**power:.3g} {_UNITS[power]}" if power else f"{n_bytes} bytes"


def _container_limits() -> list[int]:
    limits = []
    for path in _CGROUP_LIMITS:
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdecimal():  # "max" where there is no limit
            limits.append(int(text))
    return limits
