"""Guards one worker: nothing that the worker starts outlives it, or the study.

Run as a script, with the standard library only, so that it starts in a few hundredths of a
second. It sits between the study and the worker in a session of its own, and holds the reading
end of a pipe that the study never writes to, the lifeline. When the lifeline closes (the study
asks for the end, or was killed), when the study is no longer the parent, or when the worker ends,
every descendant is killed until none is left. On Linux orphans fall to the guard
(PR_SET_CHILD_SUBREAPER), so neither a double fork nor a session of their own hides them.

The worker's exit status, negative for a signal, is then written to standard output, which closes:
by that the study knows that all is gone.
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


def main(study: int, lifeline: int, private: list[int], command: list[str]) -> None:
    """Starts `command`, which alone keeps the `private` descriptors, and guards it."""
    os.set_inheritable(lifeline, False)
    woken = _wake_on_signals()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    worker = _start(command)
    for descriptor in private:
        os.close(descriptor)
    status = _watch(worker, study, lifeline, woken)
    status = _kill_all(worker, status)
    with contextlib.suppress(OSError):  # nobody may be left to read it
        os.write(1, f"{status}\n".encode())


def _wake_on_signals() -> int:
    """A descriptor that becomes readable when a child ends or the guard is asked to."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _start(command: list[str]) -> int:
    """Forks and executes; on Linux the kernel kills the worker should the guard be killed."""
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


def _watch(worker: int, study: int, lifeline: int, woken: int) -> int | None:
    """Returns when it is time to kill, with the worker's exit status if it ended by itself."""
    while os.getppid() == study:
        ready, _, _ = select.select([lifeline, woken], [], [], 0.5)
        if lifeline in ready:
            return None
        if woken in ready and set(os.read(woken, 4096)) - {signal.SIGCHLD}:
            return None
        status = _reap(worker)
        if status is not None:
            return status
    return None


def _reap(worker: int) -> int | None:
    """Buries every child that ended; the worker's exit status if it was among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid == worker:
                found = os.waitstatus_to_exitcode(status)
    return found


def _kill_all(worker: int, status: int | None) -> int:
    """Kills until there is no descendant; what is forked meanwhile is found in the next round."""
    pause = 0.001
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        found = _reap(worker)
        status = status if found is None else found
        if not _has_children() and not descendants(os.getpid()):
            return -signal.SIGKILL if status is None else status
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _has_children() -> bool:
    """What the kernel says, whatever /proc shows."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def descendants(root: int) -> list[int]:
    """The processes below `root`, parents before their children; zombies count until buried."""
    if not _LINUX:
        return _descendants_by_psutil(root)
    found, queue = [], [root]
    while queue:
        below = children(queue.pop(0))
        found += below
        queue += below
    return found


def children(pid: int) -> list[int]:
    """The children of every thread of a process; none when it is gone.

    The kernel may skip some while others end: who needs them all looks again.
    """
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            try:
                found += map(int, (thread / "children").read_bytes().split())
            except FileNotFoundError:
                if thread.exists():  # a kernel without these lists
                    return _children_by_parent(pid)
            except OSError:
                pass  # it ended just now
    return found


def _children_by_parent(pid: int) -> list[int]:
    """The same, by asking every process for its parent."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # "123 (name, with any ) in it) S parent ..."
            parent = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == pid:
                found.append(int(process.name))
    return found


def _descendants_by_psutil(root: int) -> list[int]:
    """Without /proc; here an orphan escapes, since no process adopts it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(root).children(recursive=True)]
    return []


def _prctl(option: int, value: int) -> None:
    """Linux's prctl; elsewhere nothing."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(
        int(sys.argv[1]), int(sys.argv[2]), [int(one) for one in sys.argv[3].split(",")],
        sys.argv[4:],
    )  # fmt: skip
