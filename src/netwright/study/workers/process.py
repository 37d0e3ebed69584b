"""One guarded worker process, seen from the study: start, messages, pause, memory, death."""

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
from netwright.study.workers.pipes import Mailbox

LOG_BYTES = 1 << 20
"""What a worker prints is kept up to here; then it starts anew."""

_START = (
    "import sys; sys.path[:] = {path!r}; from netwright.study.workers.worker import main; "
    "main({requests}, {answers}, {warm_up!r})"
)
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def environment(threads: int) -> dict[str, str]:
    """The variables of a worker: so many threads, and none that spins while it waits."""
    fixed = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    return os.environ | dict.fromkeys(_THREADS, str(threads)) | fixed


class WorkerProcess:
    """A guard, the worker below it, and the pipes to both."""

    def __init__(self, env: Mapping[str, str], warm_up: str = "") -> None:
        requests, to_worker = os.pipe()
        from_worker, answers = os.pipe()
        lifeline, self._lifeline = os.pipe()
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115  # open as long as the worker
        self.mail = Mailbox(from_worker, to_worker)
        start = _START.format(path=sys.path, requests=requests, answers=answers, warm_up=warm_up)
        self._guard = subprocess.Popen(
            [
                *_guard_command(), str(os.getpid()), str(lifeline), f"{requests},{answers}",
                sys.executable, "-P", "-c", start,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log,
            pass_fds=(lifeline, requests, answers), start_new_session=True, env=env,
        )  # fmt: skip
        for theirs in (requests, answers, lifeline):
            os.close(theirs)
        assert self._guard.stdout is not None  # PIPE
        self.status_pipe = self._guard.stdout
        self._open = True

    @property
    def pid(self) -> int:
        """The guard's process id: everything of this worker is below it."""
        return self._guard.pid

    def messages(self) -> Iterator[list[Any]]:
        """What the worker has said since last asked."""
        return map(json.loads, self.mail.receive())

    def read_exit_status(self) -> int:
        """How the worker ended, once `status_pipe` is readable: nothing of it is left then."""
        said = os.read(self.status_pipe.fileno(), 64).strip()
        # nothing said: the guard itself was killed, and the kernel killed the worker with it
        return int(said) if said else -signal.SIGKILL

    def kill(self) -> None:
        """Asks the guard to kill everything; returns at once."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def close(self, patience: float = 5.0) -> None:
        """Kills if need be, waits for the end, gives the pipes back."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(patience)
        if self._open:
            self._open = False
            self.mail.close()
            self.status_pipe.close()
            self._log.close()

    def pause(self, patience: float = 0.5) -> None:
        """Stops everything below the guard; returns when it stands still."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            found = descendants(self.pid)  # none yet: the worker is just being started
            moving = [pid for pid in found if not _stands_still(pid)]
            if found and not moving:
                return
            for pid in moving:
                _signal(pid, signal.SIGSTOP)
            time.sleep(0.001)

    def resume(self) -> None:
        """Lets everything below the guard go on."""
        for pid in descendants(self.pid):
            _signal(pid, signal.SIGCONT)

    def sweep(self, worker: int) -> None:
        """Kills what a trial left behind: the worker's orphans, but not its helpers."""
        for orphan in set(guard.children(self.pid)) - {worker}:
            for pid in (orphan, *descendants(orphan)):
                _signal(pid, signal.SIGKILL)

    def memory(self) -> int:
        """Bytes that the worker and what it started hold in memory."""
        return sum(map(_resident, descendants(self.pid)))

    def processor_seconds(self) -> float:
        """Of the worker and what it started, those that have ended and were waited for included."""
        return sum(map(_processor_seconds, descendants(self.pid)))

    def trim_log(self, most: int = LOG_BYTES) -> None:
        """Forgets what was printed when it is more than `most` bytes."""
        if os.fstat(self._log.fileno()).st_size > most:
            os.ftruncate(self._log.fileno(), 0)

    def last_words(self) -> str:
        """What explains an unexpected end: a fatal error and where, else the last line printed."""
        with contextlib.suppress(OSError):
            size = os.fstat(self._log.fileno()).st_size
            tail = os.pread(self._log.fileno(), 8192, max(0, size - 8192))
            lines = [line.strip() for line in tail.decode(errors="replace").splitlines()]
            fatal = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error")]
            if fatal:
                places = [line for line in lines[fatal[-1] :] if line.startswith("File ")]
                return ", ".join([lines[fatal[-1]], *places[:1]])
            return next((line for line in reversed(lines) if line), "")
        return ""


def _guard_command() -> list[str]:
    """Isolated and without site-packages it starts fastest; only Linux can do without psutil."""
    flags = ["-I", "-S"] if sys.platform.startswith("linux") else []
    return [sys.executable, *flags, str(Path(guard.__file__))]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _stands_still(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _processor_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
