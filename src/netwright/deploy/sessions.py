"""onnxruntime's sessions: on the CPU, without telemetry, with a bound on the memory of strangers."""

from __future__ import annotations

import os
from functools import cache
from typing import Final

import onnxruntime

MAX_MEMORY: Final = 4 * 2**30
"""Bytes of what all models together may allocate that `load` opens, at the most."""
_MEMORY_SHARE = 0.25
"""Of the machine's memory, where that is less."""

onnxruntime.disable_telemetry_events()  # of who imported onnxruntime before netwright


def make_session(
    data: bytes, threads: int = 0, *, limit_memory: bool = False
) -> onnxruntime.InferenceSession:
    """A session of a file's bytes; `threads` 0 takes all cores.

    `bounded`: its tensors come from an arena that all such sessions share and that has an end, so
    that a small file cannot take gigabytes. Raises whatever onnxruntime does.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4 if limit_memory else 3  # errors only; refusals are told by us
    if threads == 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    if limit_memory:
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def is_out_of_memory(error: Exception) -> bool:
    """Whether a run ended because the arena has no more to give."""
    return "BFCArena" in str(error) or isinstance(error, MemoryError)


@cache
def _share_arena() -> None:
    """Registers the arena, once for the process."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0,
        onnxruntime.OrtMemType.DEFAULT,
    )  # fmt: skip
    bounds = onnxruntime.OrtArenaCfg({"max_mem": _memory_bound()})
    onnxruntime.create_and_register_allocator(memory, bounds)


def _memory_bound() -> int:
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(names):
        return MAX_MEMORY
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(MAX_MEMORY, int(_MEMORY_SHARE * total))
