"""Guard one worker: no process that it starts outlives it, or the study.

Runs as a script, with the standard library only, so that it starts in a few hundredths of a second.
The guard is a process between the study and the worker, in a session of its own. It holds the
reading end of the lifeline, a pipe to which the study never writes. When the lifeline closes (the
study asks for the end, or was killed), when the study is no longer its parent, or when the worker
ends, it kills every descendant until none is left. On Linux it adopts orphans
(PR_SET_CHILD_SUBREAPER), so that neither a double fork nor a new session hides them.

It then writes the worker's exit status, negative for a signal, to standard output and exits: that
tells the study that all processes are gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform.startswith("linux")


def main(study: int, lifeline: int, worker_pipes: list[int], command: list[str]) -> None:
    """Start a worker and guard it until all of its processes are gone.

    Args:
        study: process id of the study, the guard's parent.
        lifeline: descriptor of its reading end.
        worker_pipes: descriptors that only the worker keeps open.
        command: path and arguments of the worker.
    """
    os.set_inheritable(lifeline, False)
    signals = _open_signal_pipe()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    worker = _start(command)
    for descriptor in worker_pipes:
        os.close(descriptor)
    status = _wait(worker, study, lifeline, signals)
    status = _kill_all(worker, status)
    with contextlib.suppress(OSError):  # nobody may be left to read it
        os.write(1, f"{status}\n".encode())


def _open_signal_pipe() -> int:
    """Return a descriptor that becomes readable when a child ends, or a signal asks for the end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    for signal_number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(signal_number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _start(command: list[str]) -> int:
    """Fork and execute the worker; on Linux the kernel kills it if the guard is killed."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:
            os.execv(command[0], command)
    finally:
        os._exit(127)


def _wait(worker: int, study: int, lifeline: int, signals: int) -> int | None:
    """Wait until it is time to kill; return the worker's exit status if it ended by itself."""
    while os.getppid() == study:
        ready, _, _ = select.select([lifeline, signals], [], [], 0.5)
        if lifeline in ready:
            return None
        if signals in ready and set(os.read(signals, 4096)) - {signal.SIGCHLD}:
            return None
        status = _reap(worker)
        if status is not None:
            return status
    return None


def _reap(worker: int) -> int | None:
    """Reap every child that ended; return the worker's exit status if it was among them."""
    exit_status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid == worker:
                exit_status = os.waitstatus_to_exitcode(status)
    return exit_status


def _kill_all(worker: int, status: int | None) -> int:
    """Kill until no descendant is left, since some may fork meanwhile; return the exit status."""
    pause_seconds = 0.001
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        exit_status = _reap(worker)
        status = status if exit_status is None else exit_status
        if not _has_children() and not descendants(os.getpid()):
            return -signal.SIGKILL if status is None else status
        time.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, 0.05)


def _has_children() -> bool:
    """Return whether the kernel knows a child; /proc may not show all."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def descendants(root: int) -> list[int]:
    """Return the processes below `root`, parents before their children; zombies until reaped."""
    if not _LINUX:
        return _descendants_by_psutil(root)
    pids, queue = [], [root]
    while queue:
        child_pids = children(queue.pop(0))
        pids += child_pids
        queue += child_pids
    return pids


def children(pid: int) -> list[int]:
    """Return the children of every thread of a process; none if it is gone.

    The kernel may skip some while others end, so call it again until it stays empty.
    """
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            try:
                pids += map(int, (thread / "children").read_bytes().split())
            except FileNotFoundError:
                if thread.exists():  # a kernel without CONFIG_PROC_CHILDREN
                    return _children_by_parent(pid)
            except OSError:
                pass  # the thread ended just now
    return pids


def _children_by_parent(pid: int) -> list[int]:
    """Return the children of a process by asking every process for its parent."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # "123 (name, with any ) in it) S parent ..."
            parent = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == pid:
                pids.append(int(process.name))
    return pids


def _descendants_by_psutil(root: int) -> list[int]:
    """Return the descendants without /proc; orphans escape, since the guard cannot adopt them."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(root).children(recursive=True)]
    return []


def _prctl(option: int, argument: int) -> None:
    """Call Linux's prctl; do nothing on other systems."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


if __name__ == "__main__":
    main(
        study=int(sys.argv[1]),
        lifeline=int(sys.argv[2]),
        worker_pipes=[int(descriptor) for descriptor in sys.argv[3].split(",")],
        command=sys.argv[4:],
    )
