"""Run a process with its children: wall time, CPU time, memory, and a forced end.

For POSIX systems: `wait4` returns the CPU time of all children that were waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Watched:
    """The resources of a process. `memory`: peak bytes, summed over the process tree, shared pages
    counted once if the system reports them. `code`: negative for a signal; `killed`: the reason if it
    was killed.
    """

    seconds: float
    processor_seconds: float
    memory: int
    code: int
    killed: str


@dataclass
class _Tree:
    """All processes ever seen below a root, and their resources."""

    root: psutil.Process
    seen: dict[psutil.Process, float] = field(default_factory=dict)  # processor seconds
    memory: int = 0

    def poll(self) -> None:
        try:
            processes = [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        total = 0
        for process in processes:
            try:
                times = process.cpu_times()
                self.seen[process] = times.user + times.system
                total += _resident(process)
            except psutil.Error:  # it has ended meanwhile
                continue
        self.memory = max(self.memory, total)

    def kill(self) -> None:
        """Kill all remaining processes, also those with their own sessions."""
        for process in self.seen:
            try:
                process.kill()  # psutil checks the start time: never another process with the same pid
            except psutil.Error:
                continue


def watch(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str],
    overdue: Callable[[], str],
) -> Watched:  # fmt: skip
    """Run a command with its output in `log`; kill it once `overdue` returns a reason."""
    start = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
    tree, killed = _Tree(psutil.Process(process.pid)), ""
    try:
        while True:
            tree.poll()
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if not killed and (killed := overdue()):
                tree.kill()
            time.sleep(_POLL_SECONDS)
    finally:
        seconds = time.monotonic() - start
        tree.kill()
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    waited_seconds = usage.ru_utime + usage.ru_stime
    # `wait4` misses killed processes, polling misses short ones
    cpu_seconds = max(waited_seconds, sum(tree.seen.values()))
    return Watched(seconds, cpu_seconds, tree.memory, process.returncode, killed)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (AttributeError, psutil.AccessDenied):
        return int(process.memory_info().rss)
