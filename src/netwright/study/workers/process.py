"""One guarded worker process, as the study sees it: start, messages, pause, memory, exit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from netwright.study.workers import guard
from netwright.study.workers.guard import descendants
from netwright.study.workers.pipes import WorkerPipes

MAX_LOG_BYTES = 1 << 20
"""The log of what a worker prints is emptied when it is larger."""

_WORKER_CODE = (
    "import sys; sys.path[:] = {path!r}; from netwright.study.workers.worker import main; "
    "main({requests}, {answers}, {warm_up!r})"
)
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def environment(threads: int, *, owns_cores: bool = False) -> dict[str, str]:
    """Return a worker's environment variables.

    Args:
        threads: number of its threads.
        owns_cores: whether threads that wait for each other may keep their cores busy for a while, as
            is the libraries' default. It saves a third of the time of small steps, and costs others
            a multiple.
    """
    passive_waiting = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    variables = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return variables if owns_cores else variables | passive_waiting


class WorkerProcess:
    """A guard, its child the worker, and the pipes to both.

    Args:
        env: environment variables of the worker.
        warm_up: ``module:function`` that the worker calls first; empty for none.
    """

    def __init__(self, env: Mapping[str, str], warm_up: str = "") -> None:
        requests, to_worker = os.pipe()
        from_worker, answers = os.pipe()
        lifeline, self._lifeline = os.pipe()
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115  # open as long as the worker
        self.pipes = WorkerPipes(from_worker, to_worker)
        code = _WORKER_CODE.format(
            path=sys.path, requests=requests, answers=answers, warm_up=warm_up
        )
        guard_arguments = [str(os.getpid()), str(lifeline), f"{requests},{answers}"]
        worker_command = [sys.executable, "-P", "-c", code]
        self._guard = subprocess.Popen(
            [*_guard_command(), *guard_arguments, *worker_command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            pass_fds=(lifeline, requests, answers),
            start_new_session=True,
            env=env,
        )
        for descriptor in (requests, answers, lifeline):
            os.close(descriptor)
        assert self._guard.stdout is not None  # PIPE
        self.status_pipe = self._guard.stdout
        self._open = True

    @property
    def pid(self) -> int:
        """The guard's process id; all of the worker's processes are its descendants."""
        return self._guard.pid

    def messages(self) -> Iterator[list[Any]]:
        """Yield the worker's new messages: a kind, and its details."""
        return map(json.loads, self.pipes.receive())

    def read_exit_status(self) -> int:
        """Return the worker's exit status, once `status_pipe` is readable and all is gone."""
        status = os.read(self.status_pipe.fileno(), 64).strip()
        # empty: the guard itself was killed, and the kernel killed the worker with it
        return int(status) if status else -signal.SIGKILL

    def kill(self) -> None:
        """Ask the guard to kill everything; return at once."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def close(self, timeout: float = 5.0) -> None:
        """Kill the worker if it runs, wait up to `timeout` seconds for its end, close the pipes."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(timeout)
        if self._open:
            self._open = False
            self.pipes.close()
            self.status_pipe.close()
            self._log.close()

    def pause(self, timeout: float = 0.5) -> None:
        """Stop all processes below the guard; return when all stand still, or after `timeout`."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            pids = descendants(self.pid)  # empty while the worker is being started
            running = [pid for pid in pids if not _is_stopped(pid)]
            if pids and not running:
                return
            for pid in running:
                _signal(pid, signal.SIGSTOP)
            time.sleep(0.001)

    def resume(self) -> None:
        """Let all processes below the guard continue."""
        for pid in descendants(self.pid):
            _signal(pid, signal.SIGCONT)

    def kill_orphans(self, worker: int) -> None:
        """Kill processes that a trial left behind; the worker (its pid) and its children stay."""
        for orphan in set(guard.children(self.pid)) - {worker}:
            for pid in (orphan, *descendants(orphan)):
                _signal(pid, signal.SIGKILL)

    def memory_bytes(self) -> int:
        """Return the resident memory of the worker and all its processes."""
        return sum(map(_resident_bytes, descendants(self.pid)))

    def cpu_seconds(self) -> float:
        """Return the CPU time of the worker and all its processes, reaped ones included."""
        return sum(map(_cpu_seconds, descendants(self.pid)))

    def trim_log(self, max_bytes: int = MAX_LOG_BYTES) -> None:
        """Empty the log of what was printed if it is larger than `max_bytes`."""
        if os.fstat(self._log.fileno()).st_size > max_bytes:
            os.ftruncate(self._log.fileno(), 0)

    def explain_exit(self) -> str:
        """Return what explains an unexpected exit: a fatal error with its line, else the last line."""
        with contextlib.suppress(OSError):
            size = os.fstat(self._log.fileno()).st_size
            tail = os.pread(self._log.fileno(), 8192, max(0, size - 8192))
            lines = [line.strip() for line in tail.decode(errors="replace").splitlines()]
            fatal = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error")]
            if fatal:
                locations = [line for line in lines[fatal[-1] :] if line.startswith("File ")]
                return ", ".join([lines[fatal[-1]], *locations[:1]])
            return next((line for line in reversed(lines) if line), "")
        return ""


def _guard_command() -> list[str]:
    """Return the guard's command; without site-packages, which only Linux does not need (psutil)."""
    flags = ["-I", "-S"] if sys.platform.startswith("linux") else []
    return [sys.executable, *flags, str(Path(guard.__file__))]


def _signal(pid: int, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal_number)


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
