"""How much memory data from outside may take, judged before it is allocated."""

from __future__ import annotations

from netwright.errors import InputError

_SHARE = 4
"""Data may take a quarter of the machine's memory: reading, converting and training copy it."""


def memory_allowance() -> int:
    """Bytes that data from outside may take."""
    import psutil

    return int(psutil.virtual_memory().total) // _SHARE


def refuse_if_larger(nbytes: int, what: str, fix: str) -> None:
    """InputError where `what` (a file's name first) would take more than `memory_allowance`."""
    allowed = memory_allowance()
    if nbytes > allowed:
        raise InputError(
            f"{what} must fit into a quarter of this machine's memory ({_gigabytes(allowed)}), "
            f"got {_gigabytes(nbytes)}. {fix}"
        )


def _gigabytes(nbytes: int) -> str:
    return f"{nbytes / 1e9:,.1f} GB" if nbytes < 1e15 else f"{nbytes / 1e9:.1e} GB"
