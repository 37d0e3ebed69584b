"""A process and its children: how long, how much processor time and memory, and an end by force.

For POSIX systems: `wait4` gives the processor time of all that was waited for.
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

_PERIOD = 0.25


@dataclass(frozen=True)
class Watched:
    """What a process took. `memory`: bytes, the highest sum over the tree of what each process has
    in memory, pages shared by several counted once where the system tells. `code`: negative for a
    signal; `killed`: why it was ended by force, if it was."""

    seconds: float
    processor_seconds: float
    memory: int
    code: int
    killed: str


@dataclass
class _Tree:
    """All processes that were ever seen below one, and what they took."""

    root: psutil.Process
    seen: dict[psutil.Process, float] = field(default_factory=dict)  # processor seconds
    memory: int = 0

    def look(self) -> None:
        try:
            alive = [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        total = 0
        for process in alive:
            try:
                times = process.cpu_times()
                self.seen[process] = times.user + times.system
                total += _resident(process)
            except psutil.Error:  # it ended between two lines
                continue
        self.memory = max(self.memory, total)

    def kill(self) -> None:
        """Ends all that are left, those too that made sessions of their own."""
        for process in self.seen:
            try:
                process.kill()  # psutil looks at the start time: never another with the same number
            except psutil.Error:
                continue


def watch(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str],
    overdue: Callable[[], str],
) -> Watched:  # fmt: skip
    """Runs a command, its output in `log`; it is killed when `overdue` gives a reason."""
    start = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
    tree, killed = _Tree(psutil.Process(process.pid)), ""
    try:
        while True:
            tree.look()
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if not killed and (killed := overdue()):
                tree.kill()
            time.sleep(_PERIOD)
    finally:
        seconds = time.monotonic() - start
        tree.kill()
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    waited = usage.ru_utime + usage.ru_stime
    # killed processes are missing in what was waited for, short ones in what was seen
    spent = max(waited, sum(tree.seen.values()))
    return Watched(seconds, spent, tree.memory, process.returncode, killed)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (AttributeError, psutil.AccessDenied):
        return int(process.memory_info().rss)
