"""A fixed number of killable workers, each with at most one trial."""

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
from netwright.study.workers.worker import GO
from netwright.trials.trial import Job, Metrics, Status

_BEAT = 0.1
"""Seconds between looks at clocks and memory."""
_STARTS = 3
"""So many workers may die one after the other before any of them is ready."""
_LOOK = 2.0
"""Seconds between looks at the processor time that trials have used."""
_NO_TIME = 0.1
"""Less processor time than this, in seconds, is none: a thread that only wakes up takes some."""
_PATIENCE = 5.0
"""Seconds after which a trial counts as ended though the kernel still holds a process of it."""


@dataclass(frozen=True)
class JobResult:
    """How a submitted trial ended; `seconds` is the wall time it ran, pauses left out.

    The status is RUNNING where the evaluator gave up because its deadline was too near.
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
    """Asked to end; `outcome`, if any, is handed over when everything is gone."""


class _Worker:
    """What the supervisor knows of one worker process."""

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.state = _State.STARTING
        self.pid = 0
        self.trial = 0
        self.jobs = 0
        self.began = 0.0
        self.limit = math.inf
        self.hangs_after = math.inf
        self.used = 0.0
        """Processor seconds when it was last seen to work, at `worked_at`."""
        self.worked_at = time.monotonic()
        self.stopped_at: float | None = None
        self.outcome: JobResult | None = None
        self.killed_at = math.inf

    def seconds(self, now: float) -> float:
        """How long the trial has run; `began` is moved on by every pause."""
        return (self.stopped_at or now) - self.began

    def idle(self, now: float) -> float:
        """Seconds for which it has used no processor time, as seen by regular calls."""
        used = self.process.processor_seconds()
        if abs(used - self.used) > _NO_TIME:  # less: a process of it has ended
            self.used, self.worked_at = used, now
        return now - self.worked_at

    def ended(self, status: Status, metrics: Metrics, error: str) -> JobResult:
        now = time.monotonic()
        return JobResult(self.trial, status, metrics, max(0.0, self.seconds(now)), error)


@dataclass(frozen=True)
class Rules:
    """What a worker may take: bytes of memory in all, and jobs until it is replaced.

    `grace` is how many seconds a trial may go over its time before it is killed, `idle` for how many
    it may use no processor time.
    """

    memory: float = math.inf
    jobs: int = 200
    grace: float = 2.0
    idle: float = 60.0


class Supervisor:
    """Starts workers, hands them jobs, and ends what breaks a rule.

    `warm_up`: ``module:function`` that they call while the evaluator is still to come.
    """

    def __init__(self, workers: int, threads: int, rules: Rules, warm_up: str = "") -> None:
        self._load: bytes | None = None
        self._warm_up = warm_up
        self._environment = environment(threads)
        self._rules = rules
        self._selector = selectors.DefaultSelector()
        self._alone: deque[_Worker] = deque()
        self._outcomes: list[JobResult] = []
        self._failed_starts = 0
        self._next_beat = 0.0
        self._next_look = 0.0
        self._wanted = self._places = workers
        self._workers: list[_Worker] = []
        self._staff()

    def use(self, evaluator: object, workers: int) -> None:
        """Hands the evaluator to so many workers.

        Those that are there already get it now; the others are hired once the first of those is
        ready, which they would only keep from it.
        """
        self._load, self._places = _pickled(evaluator), workers
        for worker in self._workers[workers:]:
            self._dismiss(worker)
        for worker in self._workers[:workers]:
            self._send_evaluator(worker)
        self._wanted = min(workers, len(self._workers)) or workers
        self._staff()

    @property
    def free(self) -> int:
        """How many jobs could start now; none while a trial is alone on the machine."""
        return 0 if self._alone else sum(one.state is _State.IDLE for one in self._workers)

    def submit(
        self, trial: int, job: Job, limit: float = math.inf, hangs_after: float = math.inf
    ) -> None:
        """Hands the job to a free worker; see `Executor.submit`."""
        worker = next(one for one in self._workers if one.state is _State.IDLE)
        worker.state, worker.trial, worker.limit = _State.BUSY, trial, limit
        worker.hangs_after = hangs_after
        worker.began = worker.worked_at = time.monotonic()
        worker.jobs += 1
        worker.process.trim_log(0)
        worker.process.mail.send(cloudpickle.dumps(replace(job, alone=nullcontext)))
        self._watch_writing(worker)

    def poll(self, timeout: float) -> list[JobResult]:
        """Waits until a trial ends, a worker becomes free, or `timeout` seconds have passed."""
        end = time.monotonic() + timeout
        free = self.free
        while True:
            wait = max(0.0, min(end - time.monotonic(), _BEAT))
            for key, _ in self._selector.select(wait):
                worker, hear = key.data
                if worker in self._workers:
                    hear(worker)
            if time.monotonic() >= self._next_beat:
                self._next_beat = time.monotonic() + _BEAT
                self._check_rules()
            if self._outcomes or self.free > free or time.monotonic() >= end:
                outcomes, self._outcomes = self._outcomes, []
                return outcomes

    def close(self) -> None:
        """Kills every worker with all it started, and waits for their end."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.close()
        self._workers.clear()
        self._alone.clear()
        self._selector.close()

    # Workers come and go

    def _staff(self) -> None:
        """Hires until all places are taken; not while a trial is alone on the machine."""
        while len(self._workers) < self._wanted and not self._alone:
            self._hire()

    def _hire(self) -> None:
        worker = _Worker(WorkerProcess(self._environment, self._warm_up))
        self._workers.append(worker)
        mail = worker.process.mail
        self._selector.register(mail.reading, selectors.EVENT_READ, (worker, self._hear))
        self._selector.register(
            worker.process.status_pipe, selectors.EVENT_READ, (worker, self._bury)
        )
        self._send_evaluator(worker)

    def _send_evaluator(self, worker: _Worker) -> None:
        """Where it is known yet."""
        if self._load is not None:
            worker.process.mail.send(self._load)
            self._watch_writing(worker)

    def _dismiss(self, worker: _Worker, outcome: JobResult | None = None) -> None:
        """Kills; the outcome follows when all is gone, so that nothing disturbs the next trial."""
        worker.state, worker.outcome = _State.DYING, outcome
        worker.killed_at = time.monotonic()
        worker.process.kill()

    def _bury(self, worker: _Worker) -> None:
        """The guard has said that everything is gone."""
        self._hear(worker)  # what it had said before it ended counts
        obituary = _obituary(worker.process.read_exit_status(), worker.process.last_words())
        if worker.state is _State.BUSY:
            worker.outcome = worker.ended(Status.FAILED, {}, obituary)
        if worker.outcome:
            self._outcomes.append(worker.outcome)
        self._failed_starts += worker.state is _State.STARTING
        self._forget(worker)
        if self._failed_starts >= _STARTS:
            raise RunError(
                f"workers must start, got {self._failed_starts} that did not: {obituary}."
            )
        self._staff()

    def _forget(self, worker: _Worker) -> None:
        self._leave(worker)
        mail = worker.process.mail
        for descriptor in (mail.reading, mail.writing, worker.process.status_pipe.fileno()):
            self._ignore(descriptor)
        self._workers.remove(worker)
        worker.process.close()

    # Messages

    def _hear(self, worker: _Worker) -> None:
        for kind, *rest in worker.process.messages():
            if kind == "ready":
                worker.pid, worker.state, self._failed_starts = rest[0], _State.IDLE, 0
                if self._wanted < self._places:
                    self._wanted = self._places
                    self._staff()
            elif kind == "broken":
                raise RunError(f"the evaluator must load in a worker process, got {rest[0]}.")
            elif kind == "alone" and worker.state is _State.BUSY:
                self._ask_alone(worker) if rest[0] else self._leave(worker)
            elif kind == "ended" and worker.state is _State.BUSY:
                self._end(worker, *rest)
        if worker.process.mail.ended:
            self._ignore(worker.process.mail.reading)

    def _end(self, worker: _Worker, status: str, metrics: dict[str, float], error: str) -> None:
        self._leave(worker)  # a broken evaluator may never have said that it had finished
        outcome = worker.ended(Status(status), metrics, error)
        worker.process.sweep(worker.pid)
        if worker.jobs >= self._rules.jobs:
            self._dismiss(worker, outcome)
        else:
            worker.state = _State.IDLE
            self._outcomes.append(outcome)

    def _watch_writing(self, worker: _Worker) -> None:
        mail = worker.process.mail
        if mail.has_unsent and mail.writing not in self._selector.get_map():
            self._selector.register(mail.writing, selectors.EVENT_WRITE, (worker, self._write))

    def _write(self, worker: _Worker) -> None:
        mail = worker.process.mail
        mail.flush()
        if not mail.has_unsent:
            self._ignore(mail.writing)

    def _ignore(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    # Rules

    def _check_rules(self) -> None:
        now = time.monotonic()
        look = now >= self._next_look
        if look:
            self._next_look = now + min(_LOOK, self._rules.idle / 4)
        for worker in self._workers:
            if worker.state is _State.DYING:
                self._give_up_waiting(worker, now)
            elif worker.state is _State.BUSY:
                worker.process.trim_log()
                self._check_trial(worker, now, look)
            elif look and worker.state is _State.STARTING and self._is_idle(worker, now):
                worker.process.kill()  # a start that failed, once it is buried

    def _give_up_waiting(self, worker: _Worker, now: float) -> None:
        """Hands over the outcome of a trial of which the kernel still holds a process."""
        if worker.outcome and now > worker.killed_at + _PATIENCE:
            self._outcomes.append(worker.outcome)
            worker.outcome = None

    def _check_trial(self, worker: _Worker, now: float, look: bool) -> None:
        """Ends a trial that is over its time or memory, or that hangs."""
        if worker.stopped_at is None:
            seconds = worker.seconds(now)
            if seconds > worker.limit + self._rules.grace:
                reason = f"took longer than {worker.limit:.3g} s"
                return self._refuse(worker, Status.INFEASIBLE, reason)
            if seconds > worker.hangs_after:
                reason = f"hung: it ran for more than {worker.hangs_after:,.0f} s"
                return self._refuse(worker, Status.FAILED, reason)
            if look and self._is_idle(worker, now):
                reason = f"hung: it used no processor time for {self._rules.idle:.0f} s"
                return self._refuse(worker, Status.FAILED, reason)
        if self._rules.memory < math.inf:
            taken = worker.process.memory()
            if taken > self._rules.memory:
                most = f"{self._rules.memory / 1e6:,.0f} MB"
                reason = f"took more memory than {most}: {taken / 1e6:,.0f} MB"
                return self._refuse(worker, Status.INFEASIBLE, reason)
        return None

    def _is_idle(self, worker: _Worker, now: float) -> bool:
        """Whether it has done nothing for too long; who waits to run alone does nothing rightly."""
        if worker.stopped_at or (worker in self._alone and worker is not self._alone[0]):
            worker.worked_at = now
        return worker.idle(now) > self._rules.idle

    def _refuse(self, worker: _Worker, status: Status, reason: str) -> None:
        self._dismiss(worker, worker.ended(status, {}, reason))

    # Alone on the machine: the first in the queue runs, the others stand still

    def _ask_alone(self, worker: _Worker) -> None:
        self._alone.append(worker)
        if len(self._alone) == 1:
            self._grant()

    def _leave(self, worker: _Worker) -> None:
        """The worker has finished being alone, no longer waits for it, or has died."""
        if worker not in self._alone:
            return
        held = self._alone[0] is worker
        self._alone.remove(worker)
        if held:
            for other in self._others(worker):
                self._go_on(other)
            if self._alone:
                self._grant()
            self._staff()

    def _grant(self) -> None:
        holder = self._alone[0]
        for other in self._others(holder):
            self._stop(other)
        holder.process.mail.send(GO)

    def _others(self, worker: _Worker) -> Iterator[_Worker]:
        return (one for one in self._workers if one is not worker and one.state is not _State.DYING)

    def _stop(self, worker: _Worker) -> None:
        worker.process.pause()
        worker.stopped_at = time.monotonic()

    def _go_on(self, worker: _Worker) -> None:
        if worker.stopped_at is not None:
            pause = time.monotonic() - worker.stopped_at
            worker.began += pause
            worker.worked_at += pause
            worker.stopped_at = None
            worker.process.resume()


def _pickled(evaluator: object) -> bytes:
    """By value where need be, so that objects of scripts and notebooks reach a worker too."""
    try:
        return bytes(cloudpickle.dumps(evaluator))
    except Exception as error:
        name, in_process = type(evaluator).__name__, ", or pass executor=InProcess()"
        raise InputError(
            f"the evaluator must pickle, to reach the worker processes, got {name}: {error}. "
            f"Open files and locks inside its call{wording(python=in_process, shell='')}."
        ) from error


def _obituary(status: int, words: str) -> str:
    """``the worker crashed (SIGSEGV): Fatal Python error ...``"""
    how = f"ended by itself (exit status {status})"
    if status < 0:
        number = signal.Signals(-status).name
        hint = "; often the machine ran out of memory" if number == "SIGKILL" else ""
        how = f"crashed ({number}{hint})"
    return f"the worker {how}" + (f": {words}" if words else "")
