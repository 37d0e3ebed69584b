"""Executors: run trials in this process, or in supervised workers that can be killed."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psutil

from netwright.errors import InputError, RunError, check_whole, expected, wording
from netwright.interfaces.evaluator import Evaluator
from netwright.study.workers.supervisor import JobResult, Supervisor, WorkerLimits
from netwright.study.workers.worker import evaluate
from netwright.trials.trial import Job, Status


class Executor(Protocol):
    """Runs jobs for one study at a time."""

    @property
    def capacity(self) -> int:
        """Number of jobs that run side by side."""
        ...

    @property
    def free_slots(self) -> int:
        """Number of jobs that `submit` accepts now; a worker that still starts is not free."""
        ...

    def open(self, evaluator: Evaluator, max_jobs: int | None = None) -> None:
        """Start what is needed to run jobs.

        Args:
            evaluator: is called with each job.
            max_jobs: at most so many jobs will be submitted; None for any number.
        """
        ...

    def submit(
        self,
        trial_id: int,
        job: Job,
        time_limit: float = math.inf,
        hang_timeout: float = math.inf,
    ) -> None:
        """Start a job.

        Args:
            trial_id: also the id of its result.
            job: what the evaluator is called with.
            time_limit: seconds from now that it may take; a candidate that takes more is infeasible.
            hang_timeout: seconds after which it counts as hung, and the trial as failed.
        """
        ...

    def poll(self, timeout: float) -> Sequence[JobResult]:
        """Return the jobs that have ended; wait for one, or for a free slot.

        Args:
            timeout: the longest wait, in seconds.

        Returns:
            A result for each job that has ended since the last call; empty if none has.
        """
        ...

    def close(self) -> None:
        """End all jobs at once, finished or not."""
        ...


class InProcess:
    """Runs one job at a time in this process: for short fits and for tests. Jobs cannot be killed.

    Example:
        >>> study = Study(space, evaluator, objectives="loss:min", executor=InProcess())
    """

    capacity = 1

    def __init__(self) -> None:
        self._evaluator: Evaluator | None = None
        self._waiting: tuple[int, Job] | None = None

    @property
    def free_slots(self) -> int:
        return int(self._waiting is None)

    def open(self, evaluator: Evaluator, max_jobs: int | None = None) -> None:
        """As `Executor.open`; `max_jobs` is ignored."""
        self._evaluator = evaluator

    def submit(
        self,
        trial_id: int,
        job: Job,
        time_limit: float = math.inf,
        hang_timeout: float = math.inf,
    ) -> None:
        """As `Executor.submit`, but `poll` runs the job, and nothing enforces the limits."""
        self._waiting = trial_id, job

    def poll(self, timeout: float) -> list[JobResult]:
        """As `Executor.poll`, but run the submitted job to its end: `timeout` is ignored."""
        if self._waiting is None or self._evaluator is None:
            return []
        trial_id, job = self._waiting
        started_at = time.monotonic()
        status, metrics, error = evaluate(self._evaluator, job)
        self._waiting = None
        seconds = time.monotonic() - started_at
        return [JobResult(trial_id, Status(status), metrics, seconds, error)]

    def close(self) -> None:
        self._evaluator = self._waiting = None


class Supervised:
    """Runs jobs in worker processes, which stay warm between trials.

    A worker that exceeds a limit is killed with all its children.

    Args:
        workers: number of worker processes; 0 is one.
        threads: threads of each worker; 0 shares out the cores.
        memory_limit: bytes for one worker and the processes it starts; 0 for its share of four
            fifths of the machine's memory.
        max_jobs_per_worker: a worker is replaced after so many jobs, so that leaks stay small.
        grace_period: seconds beyond its time limit after which a trial is killed.
        idle_timeout: seconds without CPU time after which a trial counts as hung, and fails;
            `math.inf` for evaluators that wait for another machine.
        owns_cores: whether threads of a worker may keep their cores busy while they wait for each
            other: faster, as long as nothing else computes there.

    Raises:
        InputError: an argument is out of range.
        RunError: the system is not POSIX.

    Example:
        >>> executor = Supervised(workers=4, memory_limit=2e9)
        >>> study = Study(space, evaluator, objectives="loss:min", executor=executor)
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        threads: int = 0,
        memory_limit: float = 0,
        max_jobs_per_worker: int = 200,
        grace_period: float = 2.0,
        idle_timeout: float = 60.0,
        owns_cores: bool = False,
    ) -> None:
        check_whole("workers", workers, 0, "0 is one worker.")
        check_whole("threads", threads, 0, "0 shares out the cores.")
        if not memory_limit >= 0:
            raise InputError(expected("memory_limit", "0 or more bytes", memory_limit))
        if not idle_timeout > 0:
            raise InputError(expected("idle_timeout", "above 0 seconds", idle_timeout))
        if os.name != "posix":
            fix = wording(python="Pass executor=InProcess().", shell="Use WSL on Windows.")
            raise RunError(expected("supervised workers", "on Linux or macOS", sys.platform, fix))
        self.capacity = workers or 1
        self.threads = threads or max(1, available_cores() // self.capacity)
        self.limits = WorkerLimits(
            memory_limit or 0.8 * total_memory() / self.capacity,
            max_jobs_per_worker,
            grace_period,
            idle_timeout,
            owns_cores,
        )
        self._supervisor: Supervisor | None = None

    def divided(self, workers: int, *, owns_cores: bool = False) -> Supervised:
        """Return an executor of so many workers that share the threads and memory of all of these.

        Args:
            workers: number of worker processes.
            owns_cores: as for `Supervised`.
        """
        return Supervised(
            workers,
            threads=max(1, self.threads * self.capacity // workers),
            memory_limit=self.limits.memory_bytes * self.capacity / workers,
            max_jobs_per_worker=self.limits.max_jobs,
            grace_period=self.limits.grace_period,
            idle_timeout=self.limits.idle_timeout,
            owns_cores=owns_cores,
        )

    @property
    def free_slots(self) -> int:
        return self._supervisor.free_slots if self._supervisor else 0

    @property
    def is_started(self) -> bool:
        """Whether workers have been started."""
        return self._supervisor is not None

    def start(self, warm_up: str = "") -> None:
        """Start the workers early, so that they import modules while this process reads its data.

        Ended by `close`.

        Args:
            warm_up: ``module:function``, called by the workers until the evaluator comes.
        """
        workers = max(1, min(self.capacity, available_cores() - 1))  # this process needs a core
        self._supervisor = Supervisor(workers, self.threads, self.limits, warm_up)

    def open(self, evaluator: Evaluator, max_jobs: int | None = None) -> None:
        """As `Executor.open`; no more workers than `max_jobs` remain.

        Raises:
            InputError: the evaluator does not pickle.
        """
        workers = self.capacity if max_jobs is None else min(self.capacity, max_jobs)
        if self._supervisor is None:
            self._supervisor = Supervisor(0, self.threads, self.limits)
        try:
            self._supervisor.load_evaluator(evaluator, workers)
        except BaseException:
            self.close()
            raise

    def submit(
        self,
        trial_id: int,
        job: Job,
        time_limit: float = math.inf,
        hang_timeout: float = math.inf,
    ) -> None:
        """As `Executor.submit`, to a free worker.

        Raises:
            RunError: the executor is not open.
        """
        self._opened().submit(trial_id, job, time_limit, hang_timeout)

    def poll(self, timeout: float) -> list[JobResult]:
        """As `Executor.poll`; workers that exceed a limit are killed meanwhile.

        Raises:
            RunError: the executor is not open.
        """
        return self._opened().poll(timeout)

    def close(self) -> None:
        if self._supervisor:
            self._supervisor.close()
        self._supervisor = None

    def _opened(self) -> Supervisor:
        if self._supervisor is None:
            raise RunError("an executor must be open before it takes jobs. Call open(evaluator).")
        return self._supervisor


def available_cores() -> int:
    """Return the number of cores that this process, or its container, may use."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no cgroup v2, or the quota is "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        n = min(n, max(1, math.ceil(int(quota) / int(period))))
    return n


def total_memory() -> float:
    """Return the bytes of memory that this machine, or its container, has."""
    n_bytes = float(psutil.virtual_memory().total)
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such cgroup, or the limit is "max"
            n_bytes = min(n_bytes, float(Path(file).read_text()))
    return n_bytes
