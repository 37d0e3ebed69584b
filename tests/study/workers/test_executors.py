"""How executors share out cores and memory."""

from __future__ import annotations

import math
import os

import pytest

from netwright.study.workers.executors import Supervised, available_cores, total_memory

pytestmark = pytest.mark.skipif(os.name != "posix", reason="supervised workers need POSIX")


def test_workers_share_cores_and_memory() -> None:
    executor = Supervised(4)
    assert executor.capacity == 4
    assert executor.threads == max(1, available_cores() // 4)
    assert executor.limits.memory_bytes == pytest.approx(0.8 * total_memory() / 4)


def test_divided_executor_has_all_threads_and_memory_of_the_first() -> None:
    executor = Supervised(
        4, threads=2, memory_limit=1e9, max_jobs_per_worker=7, grace_period=0.5, idle_timeout=9.0
    )
    for workers, threads in ((1, 8), (2, 4), (3, 2), (16, 1)):
        divided = executor.divided(workers)
        assert (divided.capacity, divided.threads) == (workers, threads)
        assert divided.limits.memory_bytes == pytest.approx(4e9 / workers)
        assert (divided.limits.max_jobs, divided.limits.grace_period) == (7, 0.5)
        assert divided.limits.idle_timeout == 9.0
    assert (executor.capacity, executor.threads, executor.limits.memory_bytes) == (4, 2, 1e9)


def test_divided_executor_has_workers_of_its_own() -> None:
    executor = Supervised(2, idle_timeout=math.inf)
    executor.start()
    try:
        divided = executor.divided(1)
        assert divided.free_slots == 0  # not started
        divided.close()
        assert executor._supervisor is not None
    finally:
        executor.close()
