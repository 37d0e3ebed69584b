"""onnxruntime's sessions: on the CPU, without telemetry, with a memory limit for untrusted files."""

from __future__ import annotations

import os
from functools import cache
from typing import Final

import onnxruntime

MAX_MEMORY: Final = 4 * 2**30
"""Bytes that all models which `load` opens may allocate together, at most."""
_MEMORY_SHARE = 0.25
"""Fraction of the machine's memory that replaces `MAX_MEMORY` if it is smaller."""

onnxruntime.disable_telemetry_events()  # also if a user imported onnxruntime before netwright


def make_session(
    model: bytes, threads: int = 0, *, limit_memory: bool = False
) -> onnxruntime.InferenceSession:
    """Return a session of a model file; raises whatever onnxruntime does.

    Args:
        model: the bytes of the file.
        threads: 0 takes all cores.
        limit_memory: allocate tensors from an arena that all such sessions share and that has a
            limit, so that a small file cannot take gigabytes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4 if limit_memory else 3  # errors only; refusals are our own
    if threads == 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    if limit_memory:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a run failed because the arena reached its limit."""
    return "BFCArena" in str(error) or isinstance(error, MemoryError)


@cache
def _register_arena() -> None:
    """Register a memory arena that all sessions of the process share."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    limits = onnxruntime.OrtArenaCfg({"max_mem": _memory_limit()})
    onnxruntime.create_and_register_allocator(memory, limits)


def _memory_limit() -> int:
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(names):
        return MAX_MEMORY
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(MAX_MEMORY, int(_MEMORY_SHARE * total))
