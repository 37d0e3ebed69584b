"""How much memory data from outside may take, judged before anything is allocated."""

from __future__ import annotations

from pathlib import Path

from netwright.errors import InputError

MEMORY_SHARE = 0.25
"""Share of the machine's memory: the data, its copy in training and the workers need the rest."""

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux says what a container may use: cgroup version 2, then 1."""
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def memory_allowance() -> int:
    """Bytes that one thing from outside may take: a quarter of the machine or container."""
    import psutil

    total = int(psutil.virtual_memory().total)
    return int(MEMORY_SHARE * min([total, *_container_limits()]))


def refuse_if_larger(nbytes: int, what: str, fix: str) -> None:
    """InputError when `nbytes` are above `memory_allowance`; `what` names the file."""
    limit = memory_allowance()
    if nbytes > limit:
        raise InputError(
            f"{what} must take at most {readable(limit)} (a quarter of the memory), "
            f"got {readable(nbytes)}. {fix}"
        )


def readable(nbytes: int) -> str:
    """``5.9 GB``; sizes that no unit describes as a power of ten."""
    if nbytes >= 10**18:
        return f"10^{len(str(nbytes)) - 1} bytes"
    power = 0
    while nbytes >= 1000 ** (power + 1) and power < len(_UNITS) - 1:
        power += 1
    return f"{nbytes / 1000**power:.3g} {_UNITS[power]}" if power else f"{nbytes} bytes"


def _container_limits() -> list[int]:
    limits = []
    for path in _CGROUP_LIMITS:
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdecimal():  # "max" where there is none
            limits.append(int(text))
    return limits
