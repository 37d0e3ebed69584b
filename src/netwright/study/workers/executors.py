"""Where trials run: in this process, or in supervised workers that can be killed."""

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
from netwright.study.workers.supervisor import JobResult, Rules, Supervisor
from netwright.study.workers.worker import evaluate
from netwright.trials.trial import Job, Status


class Executor(Protocol):
    """Runs jobs for one study at a time."""

    @property
    def capacity(self) -> int:
        """How many jobs run side by side."""
        ...

    @property
    def free_slots(self) -> int:
        """How many jobs `submit` takes now: a worker that still starts is not free."""
        ...

    def open(self, evaluator: Evaluator, max_jobs: int | None = None) -> None:
        """Gets ready; there will be at most `most` jobs."""
        ...

    def submit(
        self, trial_id: int, job: Job, time_limit: float = math.inf, hang_timeout: float = math.inf
    ) -> None:
        """Starts a job.

        Args:
            trial: its number, that of its outcome.
            job: what the evaluator is called with.
            limit: the seconds from now that it may take; a candidate that takes more is infeasible.
            hangs_after: the seconds after which it is taken for a hang: the trial has failed.
        """
        ...

    def poll(self, timeout: float) -> Sequence[JobResult]:
        """The jobs that have ended; waits up to `timeout` seconds for one, or for a free place."""
        ...

    def close(self) -> None:
        """Ends everything at once, finished or not."""
        ...


class InProcess:
    """One job after the other, in this process: for small fits and tests. Nothing can be killed."""

    capacity = 1

    def __init__(self) -> None:
        self._evaluator: Evaluator | None = None
        self._waiting: tuple[int, Job] | None = None

    @property
    def free_slots(self) -> int:
        return int(self._waiting is None)

    def open(self, evaluator: Evaluator, max_jobs: int | None = None) -> None:
        self._evaluator = evaluator

    def submit(
        self, trial_id: int, job: Job, time_limit: float = math.inf, hang_timeout: float = math.inf
    ) -> None:
        self._waiting = trial_id, job

    def poll(self, timeout: float) -> list[JobResult]:
        if self._waiting is None or self._evaluator is None:
            return []
        trial, job = self._waiting
        began = time.monotonic()
        status, metrics, error = evaluate(self._evaluator, job)
        self._waiting = None
        return [JobResult(trial, Status(status), metrics, time.monotonic() - began, error)]

    def close(self) -> None:
        self._evaluator = self._waiting = None


class Supervised:
    """Worker processes: warm between trials, killed with their children when one goes too far.

    `workers` and `threads` 0: one worker, and the cores shared out among the workers. `memory`:
    bytes for one worker with all it starts; 0: its share of four fifths of the machine's.
    `jobs`: after so many a worker is replaced. `grace`: seconds over its time until a trial is
    killed. `idle`: seconds without processor time after which a trial counts as hanging, and fails;
    `math.inf` for evaluators that wait for another machine.
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
    ) -> None:
        check_whole("workers", workers, 0, "0 is one worker.")
        check_whole("threads", threads, 0, "0 shares out the cores.")
        if not memory_limit >= 0:
            raise InputError(expected("memory", "0 or more bytes", memory_limit))
        if not idle_timeout > 0:
            raise InputError(expected("idle", "above 0 seconds", idle_timeout))
        if os.name != "posix":
            fix = wording(python="Pass executor=InProcess().", shell="Use WSL on Windows.")
            raise RunError(expected("supervised workers", "on Linux or macOS", sys.platform, fix))
        self.capacity = workers or 1
        self.threads = threads or max(1, available_cores() // self.capacity)
        self.rules = Rules(
            memory_limit or 0.8 * machine_memory() / self.capacity,
            max_jobs_per_worker,
            grace_period,
            idle_timeout,
        )
        self._supervisor: Supervisor | None = None

    @property
    def free_slots(self) -> int:
        return self._supervisor.free if self._supervisor else 0

    def start(self, warm_up: str = "") -> None:
        """Starts the workers before the evaluator is known, so that they load what they need while
        this process reads its data. Ended by `close`.

        Args:
            warm_up: ``module:function``, which they call meanwhile.
        """
        early = max(
            1, min(self.capacity, available_cores() - 1)
        )  # this process has work of its own
        self._supervisor = Supervisor(early, self.threads, self.rules, warm_up)

    def open(self, evaluator: Evaluator, max_jobs: int | None = None) -> None:
        workers = self.capacity if max_jobs is None else min(self.capacity, max_jobs)
        if self._supervisor is None:
            self._supervisor = Supervisor(0, self.threads, self.rules)
        try:
            self._supervisor.use(evaluator, workers)
        except BaseException:
            self.close()
            raise

    def submit(
        self, trial_id: int, job: Job, time_limit: float = math.inf, hang_timeout: float = math.inf
    ) -> None:
        self._opened().submit(trial_id, job, time_limit, hang_timeout)

    def poll(self, timeout: float) -> list[JobResult]:
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
    """The cores that this process may use, or its container."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # another system, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        able = min(able, max(1, math.ceil(int(quota) / int(period))))
    return able


def machine_memory() -> float:
    """Bytes that this machine has, or the container that this process is in."""
    total = float(psutil.virtual_memory().total)
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # another system, or "max"
            total = min(total, float(Path(file).read_text()))
    return total
