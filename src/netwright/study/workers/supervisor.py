"""Supervise a fixed number of killable worker processes, each with at most one trial."""

from __future__ import annotations

import math
import selectors
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum, auto

import cloudpickle

from netwright.errors import InputError, RunError, wording
from netwright.study.workers.process import WorkerProcess, environment
from netwright.study.workers.worker import ALONE_GRANTED
from netwright.trials.trial import Job, Metrics, Status

_CHECK_SECONDS = 0.1
"""Interval between checks of time and memory limits."""
_MAX_FAILED_STARTS = 3
"""So many workers may die in a row before one is ready: more would die the same way."""
_CPU_CHECK_SECONDS = 2.0
"""Interval between checks of the CPU time that trials have used, which cost more."""
_MIN_CPU_SECONDS = 0.1
"""Less CPU time than this counts as none: a thread that only wakes up uses some."""
_KILL_TIMEOUT_SECONDS = 5.0
"""After so long a killed trial counts as ended, even if the kernel still holds a process of it."""


@dataclass(frozen=True)
class JobResult:
    """Outcome of a submitted job.

    Args:
        trial_id: of the trial, or of the preparation.
        status: RUNNING if the evaluator gave up because its deadline was too near.
        metrics: empty unless the status is DONE.
        seconds: wall time that it ran, without pauses.
        error: why it did not finish.
    """

    trial_id: int
    status: Status
    metrics: Metrics
    seconds: float
    error: str = ""


class _State(Enum):
    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    DYING = auto()
    """Asked to end; its `result`, if any, follows when all its processes are gone."""


class _Worker:
    """The supervisor's record of one worker process and its trial."""

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.state = _State.STARTING
        self.pid = 0
        self.trial_id = 0
        self.n_jobs = 0
        self.started_at = 0.0
        """When the trial started, moved forward by its pauses."""
        self.time_limit = math.inf
        self.hang_timeout = math.inf
        self.cpu_seconds = 0.0
        """CPU time used when it last did some work, at `worked_at`."""
        self.worked_at = time.monotonic()
        self.paused_at: float | None = None
        self.result: JobResult | None = None
        self.killed_at = math.inf

    def seconds(self, now: float) -> float:
        """Return how long the trial has run, without pauses."""
        return (self.paused_at or now) - self.started_at

    def idle_seconds(self, now: float) -> float:
        """Return for how long it has used no CPU time; only right if called regularly."""
        cpu_seconds = self.process.cpu_seconds()
        # the sum falls when one of its processes ends, so that any change counts as work
        if abs(cpu_seconds - self.cpu_seconds) > _MIN_CPU_SECONDS:
            self.cpu_seconds, self.worked_at = cpu_seconds, now
        return now - self.worked_at

    def make_result(self, status: Status, metrics: Metrics, error: str) -> JobResult:
        """Return the result of its trial, which ends now."""
        now = time.monotonic()
        return JobResult(self.trial_id, status, metrics, max(0.0, self.seconds(now)), error)


@dataclass(frozen=True)
class WorkerLimits:
    """Resource and time limits of a worker process.

    Args:
        memory_bytes: memory of the worker and all processes that it starts.
        max_jobs: number of jobs after which the worker is replaced.
        grace_period: seconds beyond its time limit after which a trial is killed.
        idle_timeout: seconds without CPU time after which a trial counts as hung.
        owns_cores: whether its waiting threads may keep their cores busy.
    """

    memory_bytes: float = math.inf
    max_jobs: int = 200
    grace_period: float = 2.0
    idle_timeout: float = 60.0
    owns_cores: bool = False


class Supervisor:
    """Starts workers, hands them jobs, and kills those that exceed a limit.

    Args:
        workers: number of workers to start now.
        threads: of each worker.
        limits: of each worker.
        warm_up: ``module:function``, which workers call before the evaluator comes.
    """

    def __init__(self, workers: int, threads: int, limits: WorkerLimits, warm_up: str = "") -> None:
        self._pickled_evaluator: bytes | None = None
        self._warm_up = warm_up
        self._environment = environment(threads, owns_cores=limits.owns_cores)
        self._limits = limits
        self._selector = selectors.DefaultSelector()
        self._alone: deque[_Worker] = deque()
        """Workers that run alone or wait to: the first runs, while all others are paused."""
        self._results: list[JobResult] = []
        self._n_failed_starts = 0
        self._next_check_at = 0.0
        self._next_cpu_check_at = 0.0
        self._n_workers = self._n_final_workers = workers
        """Workers to have now, and once the first of them is ready."""
        self._workers: list[_Worker] = []
        self._start_workers()

    def load_evaluator(self, evaluator: object, workers: int) -> None:
        """Send the evaluator to so many workers.

        Workers that run already get it at once. The others start only when the first of these is
        ready: starting them earlier would slow it down.
        """
        self._pickled_evaluator, self._n_final_workers = _pickle_evaluator(evaluator), workers
        for worker in self._workers[workers:]:
            self._kill(worker)
        for worker in self._workers[:workers]:
            self._send_evaluator(worker)
        self._n_workers = min(workers, len(self._workers)) or workers
        self._start_workers()

    @property
    def free_slots(self) -> int:
        """Number of jobs that could start now; 0 while a trial runs alone."""
        if self._alone:
            return 0
        return sum(worker.state is _State.IDLE for worker in self._workers)

    def submit(
        self, trial_id: int, job: Job, time_limit: float = math.inf, hang_timeout: float = math.inf
    ) -> None:
        """Send the job to a free worker; see `Executor.submit`."""
        worker = next(worker for worker in self._workers if worker.state is _State.IDLE)
        worker.state, worker.trial_id, worker.time_limit = _State.BUSY, trial_id, time_limit
        worker.hang_timeout = hang_timeout
        worker.started_at = worker.worked_at = time.monotonic()
        worker.n_jobs += 1
        worker.process.trim_log(0)
        worker.process.pipes.send(cloudpickle.dumps(replace(job, alone=nullcontext)))
        self._watch_writing(worker)

    def poll(self, timeout: float) -> list[JobResult]:
        """Wait until a trial ends, a worker becomes free, or `timeout` seconds have passed."""
        end = time.monotonic() + timeout
        free_slots = self.free_slots
        while True:
            wait_seconds = max(0.0, min(end - time.monotonic(), _CHECK_SECONDS))
            for key, _ in self._selector.select(wait_seconds):
                worker, handle = key.data
                if worker in self._workers:
                    handle(worker)
            if time.monotonic() >= self._next_check_at:
                self._next_check_at = time.monotonic() + _CHECK_SECONDS
                self._check_limits()
            if self._results or self.free_slots > free_slots or time.monotonic() >= end:
                results, self._results = self._results, []
                return results

    def close(self) -> None:
        """Kill every worker with all its processes, and wait for their end."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.close()
        self._workers.clear()
        self._alone.clear()
        self._selector.close()

    # Start and end of workers

    def _start_workers(self) -> None:
        """Start the workers that are missing; not while a trial runs alone."""
        while len(self._workers) < self._n_workers and not self._alone:
            self._start_worker()

    def _start_worker(self) -> None:
        worker = _Worker(WorkerProcess(self._environment, self._warm_up))
        self._workers.append(worker)
        pipes = worker.process.pipes
        self._selector.register(pipes.reading, selectors.EVENT_READ, (worker, self._read_messages))
        self._selector.register(
            worker.process.status_pipe, selectors.EVENT_READ, (worker, self._handle_exit)
        )
        self._send_evaluator(worker)

    def _send_evaluator(self, worker: _Worker) -> None:
        """Send the evaluator, if there is one yet."""
        if self._pickled_evaluator is not None:
            worker.process.pipes.send(self._pickled_evaluator)
            self._watch_writing(worker)

    def _kill(self, worker: _Worker, job_result: JobResult | None = None) -> None:
        """Kill a worker; the result follows when all is gone, so as not to disturb the next trial."""
        worker.state, worker.result = _State.DYING, job_result
        worker.killed_at = time.monotonic()
        worker.process.kill()

    def _handle_exit(self, worker: _Worker) -> None:
        """Handle the guard's message that all of the worker's processes are gone."""
        self._read_messages(worker)  # messages sent before it ended still count
        reason = _describe_exit(worker.process.read_exit_status(), worker.process.explain_exit())
        if worker.state is _State.BUSY:
            worker.result = worker.make_result(Status.FAILED, {}, reason)
        if worker.result:
            self._results.append(worker.result)
        if worker.state is _State.STARTING:
            self._n_failed_starts += 1
        self._remove(worker)
        if self._n_failed_starts >= _MAX_FAILED_STARTS:
            raise RunError(
                f"workers must start, got {self._n_failed_starts} that did not: {reason}."
            )
        self._start_workers()

    def _remove(self, worker: _Worker) -> None:
        self._end_alone(worker)
        pipes = worker.process.pipes
        for descriptor in (pipes.reading, pipes.writing, worker.process.status_pipe.fileno()):
            self._unregister(descriptor)
        self._workers.remove(worker)
        worker.process.close()

    # Messages

    def _read_messages(self, worker: _Worker) -> None:
        for kind, *details in worker.process.messages():
            if kind == "ready":
                worker.pid, worker.state, self._n_failed_starts = details[0], _State.IDLE, 0
                if self._n_workers < self._n_final_workers:
                    self._n_workers = self._n_final_workers
                    self._start_workers()
            elif kind == "broken":
                raise RunError(f"the evaluator must load in a worker process, got {details[0]}.")
            elif kind == "alone" and worker.state is _State.BUSY:
                if details[0]:
                    self._request_alone(worker)
                else:
                    self._end_alone(worker)
            elif kind == "ended" and worker.state is _State.BUSY:
                self._end_trial(worker, *details)
        if worker.process.pipes.ended:
            self._unregister(worker.process.pipes.reading)

    def _end_trial(
        self, worker: _Worker, status: str, metrics: dict[str, float], error: str
    ) -> None:
        self._end_alone(worker)  # a broken evaluator may not have said so itself
        job_result = worker.make_result(Status(status), metrics, error)
        worker.process.kill_orphans(worker.pid)
        if worker.n_jobs >= self._limits.max_jobs:
            self._kill(worker, job_result)
        else:
            worker.state = _State.IDLE
            self._results.append(job_result)

    def _watch_writing(self, worker: _Worker) -> None:
        pipes = worker.process.pipes
        if pipes.has_unsent and pipes.writing not in self._selector.get_map():
            self._selector.register(pipes.writing, selectors.EVENT_WRITE, (worker, self._write))

    def _write(self, worker: _Worker) -> None:
        pipes = worker.process.pipes
        pipes.flush()
        if not pipes.has_unsent:
            self._unregister(pipes.writing)

    def _unregister(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    # Limits

    def _check_limits(self) -> None:
        now = time.monotonic()
        checks_cpu = now >= self._next_cpu_check_at
        if checks_cpu:
            self._next_cpu_check_at = now + min(_CPU_CHECK_SECONDS, self._limits.idle_timeout / 4)
        for worker in self._workers:
            if worker.state is _State.DYING:
                self._check_killed(worker, now)
            elif worker.state is _State.BUSY:
                worker.process.trim_log()
                self._check_trial(worker, now, checks_cpu=checks_cpu)
            elif checks_cpu and worker.state is _State.STARTING and self._is_idle(worker, now):
                worker.process.kill()  # `_handle_exit` counts it as a failed start

    def _check_killed(self, worker: _Worker, now: float) -> None:
        """Return a killed trial's result though the kernel still holds a process of it."""
        if worker.result and now > worker.killed_at + _KILL_TIMEOUT_SECONDS:
            self._results.append(worker.result)
            worker.result = None

    def _check_trial(self, worker: _Worker, now: float, *, checks_cpu: bool) -> None:
        """Kill a trial that exceeds its time or memory limit, or that hangs."""
        limits = self._limits
        if worker.paused_at is None:
            seconds = worker.seconds(now)
            if seconds > worker.time_limit + limits.grace_period:
                reason = f"took longer than {worker.time_limit:.3g} s"
                return self._kill_trial(worker, Status.INFEASIBLE, reason)
            if seconds > worker.hang_timeout:
                reason = f"hung: it ran for more than {worker.hang_timeout:,.0f} s"
                return self._kill_trial(worker, Status.FAILED, reason)
            if checks_cpu and self._is_idle(worker, now):
                reason = f"hung: it used no processor time for {limits.idle_timeout:.0f} s"
                return self._kill_trial(worker, Status.FAILED, reason)
        if limits.memory_bytes < math.inf:
            n_bytes = worker.process.memory_bytes()
            if n_bytes > limits.memory_bytes:
                limit = f"{limits.memory_bytes / 1e6:,.0f} MB"
                reason = f"took more memory than {limit}: {n_bytes / 1e6:,.0f} MB"
                return self._kill_trial(worker, Status.INFEASIBLE, reason)
        return None

    def _is_idle(self, worker: _Worker, now: float) -> bool:
        """Return whether it has used no CPU time for too long; paused and waiting trials may."""
        if worker.paused_at or (worker in self._alone and worker is not self._alone[0]):
            worker.worked_at = now
        return worker.idle_seconds(now) > self._limits.idle_timeout

    def _kill_trial(self, worker: _Worker, status: Status, reason: str) -> None:
        self._kill(worker, worker.make_result(status, {}, reason))

    # Trials that run alone on the machine: the first in the queue runs, all others are paused

    def _request_alone(self, worker: _Worker) -> None:
        self._alone.append(worker)
        if len(self._alone) == 1:
            self._grant_alone()

    def _end_alone(self, worker: _Worker) -> None:
        """Take a worker out of the queue: it no longer runs alone, or waits to, or has died."""
        if worker not in self._alone:
            return
        ran_alone = self._alone[0] is worker
        self._alone.remove(worker)
        if ran_alone:
            for other in self._others(worker):
                self._resume(other)
            if self._alone:
                self._grant_alone()
            self._start_workers()

    def _grant_alone(self) -> None:
        first = self._alone[0]
        for other in self._others(first):
            self._pause(other)
        first.process.pipes.send(ALONE_GRANTED)

    def _others(self, worker: _Worker) -> Iterator[_Worker]:
        return (
            other
            for other in self._workers
            if other is not worker and other.state is not _State.DYING
        )

    def _pause(self, worker: _Worker) -> None:
        worker.process.pause()
        worker.paused_at = time.monotonic()

    def _resume(self, worker: _Worker) -> None:
        if worker.paused_at is not None:
            pause_seconds = time.monotonic() - worker.paused_at
            worker.started_at += pause_seconds
            worker.worked_at += pause_seconds
            worker.paused_at = None
            worker.process.resume()


def _pickle_evaluator(evaluator: object) -> bytes:
    """Pickle by value if needed, so that objects of scripts and notebooks reach a worker too."""
    try:
        return bytes(cloudpickle.dumps(evaluator))
    except Exception as error:
        name, in_process = type(evaluator).__name__, ", or pass executor=InProcess()"
        raise InputError(
            f"the evaluator must pickle, to reach the worker processes, got {name}: {error}. "
            f"Open files and locks inside its call{wording(python=in_process, shell='')}."
        ) from error


def _describe_exit(status: int, explanation: str) -> str:
    """Describe an unexpected exit: ``the worker crashed (SIGSEGV): Fatal Python error ...``"""
    how = f"ended by itself (exit status {status})"
    if status < 0:
        signal_name = signal.Signals(-status).name
        hint = "; often the machine ran out of memory" if signal_name == "SIGKILL" else ""
        how = f"crashed ({signal_name}{hint})"
    return f"the worker {how}" + (f": {explanation}" if explanation else "")
