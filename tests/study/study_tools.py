"""A space, an objective and evaluators that worker processes load without torch."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from netwright.errors import InfeasibleCandidate
from netwright.interfaces.evaluator import Capabilities
from netwright.trials.trial import Job, Metrics


@dataclass(frozen=True)
class Hill:
    """A smooth hill over x and y, with the seed's own noise; writes one file into the folder."""

    seconds: float = 0.0
    metrics: tuple[str, ...] = ("loss", "cost")

    def __call__(self, job: Job) -> Metrics:
        x, y = (job.proposal.candidate.values[name] for name in "xy")
        assert isinstance(x, int)
        assert isinstance(y, int)
        time.sleep(self.seconds)
        (job.folder / "here.txt").write_text(f"{x} {y}")
        noise = job.seed / 2**32
        return {"loss": (x - 61) ** 2 + (y - 17) ** 2 + noise, "cost": float(x + y)}


@dataclass(frozen=True)
class Restless(Hill):
    """Takes as long as chance will have it."""

    def __call__(self, job: Job) -> Metrics:
        time.sleep(0.06 * os.urandom(1)[0] / 255)
        return super().__call__(job)


@dataclass(frozen=True)
class Heirs:
    """Children go on from the number that their parent has left, if it is there."""

    parents_kept: int = 0
    seconds: float = 0.0
    metrics: tuple[str, ...] = ("loss", "inherited")
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(keeps=self.parents_kept, fingerprint=self.settings)

    def __call__(self, job: Job) -> Metrics:
        x, y = (float(str(job.proposal.candidate.values[name])) for name in "xy")
        time.sleep(self.seconds)
        left = [job.folder.parent / str(number) / "left.txt" for number in job.proposal.parents]
        found = [float(path.read_text()) for path in left if path.exists()]
        bonus = found[0] + 1 if found else 0.0
        (job.folder / "left.txt").write_text(str(bonus))
        return {"loss": (x - 61) ** 2 + (y - 17) ** 2 - 20 * bonus, "inherited": float(bool(found))}


@dataclass(frozen=True)
class Hostile:
    """Does `what` when x is even; `place` is where it says whom it started."""

    what: str
    place: Path = Path()
    metrics: tuple[str, ...] = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        x = job.proposal.candidate.values["x"]
        assert isinstance(x, int)
        (self.place / f"worker-{os.getpid()}").touch()
        if x % 2 == 0:
            getattr(self, self.what)()
        return {"loss": float(x)}

    def sleep(self) -> None:
        time.sleep(600)

    def allocate(self) -> None:
        held = []
        while True:
            held.append(b"x" * 20_000_000)  # 20 MB written, so that they are resident
            time.sleep(0.01)

    def abort(self) -> None:
        os.abort()

    def segfault(self) -> None:
        ctypes.string_at(0)

    def leave(self) -> None:
        os._exit(3)

    def exit(self) -> None:
        sys.exit(4)

    def fail(self) -> None:
        raise ValueError("the code is at fault")

    def refuse(self) -> None:
        raise InfeasibleCandidate("3 channels cannot be halved")

    def fall_short(self) -> None:
        raise MemoryError("no 9 GB")

    def orphan(self) -> None:
        """A grandchild in its own session, deaf to signals and busy; then hangs."""
        self.breed()
        self.sleep()

    def breed(self) -> None:
        code = (
            "import os, signal, sys, time\n"
            "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
            "    signal.signal(number, signal.SIG_IGN)\n"
            "if os.fork(): os._exit(0)\n"
            "os.setsid()\n"
            "if os.fork(): os._exit(0)\n"
            "open(os.path.join(sys.argv[1], f'orphan-{os.getpid()}'), 'w').close()\n"
            "while True: pass\n"
        )
        subprocess.run([sys.executable, "-c", code, str(self.place)], check=True)
        wait_for(lambda: any(self.place.glob("orphan-*")))

    def chatter(self) -> None:
        print("x" * 100_000)
        os.write(1, b"\x00\xff not JSON \n")


@dataclass(frozen=True)
class Infinite:
    """Not a number where x is even."""

    metrics: tuple[str, ...] = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        x = job.proposal.candidate.values["x"]
        assert isinstance(x, int)
        return {"loss": float(x) if x % 2 else math.nan}


@dataclass(frozen=True)
class Clocked:
    """Trial 1 is alone for a while and looks at the others; the others count as fast as they can.

    Its metrics: how many other workers stood still, and by how much their counters moved.
    """

    place: Path
    metrics: tuple[str, ...] = ("still", "moved")

    def __call__(self, job: Job) -> Metrics:
        trial = int(job.folder.name)
        if trial > 1:
            return self.count(job, until=self.place / "done")
        wait_for(lambda: len(list(self.place.glob("count-*"))) == 2)
        with job.alone(), job.alone():
            before, status = self.counts(), self.others()
            time.sleep(0.4)
            moved = self.counts() - before
        (self.place / "done").touch()
        return {"still": status, "moved": moved}

    def count(self, job: Job, until: Path) -> Metrics:
        file = self.place / f"count-{os.getpid()}"
        number = 0
        while not until.exists():
            number += 1
            file.write_text(str(number))
        return {"still": 0.0, "moved": float(number)}

    def counts(self) -> float:
        return sum(float(file.read_text() or 0) for file in self.place.glob("count-*"))

    def others(self) -> float:
        pids = [int(file.name.split("-")[1]) for file in self.place.glob("count-*")]
        return float(sum(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in pids))


@dataclass(frozen=True)
class DiesAlone:
    """Trial 1 crashes while it is alone; trial 2 goes on after that."""

    place: Path
    metrics: tuple[str, ...] = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        if job.folder.name == "1":
            wait_for((self.place / "second").exists)
            with job.alone():
                os.kill(os.getpid(), signal.SIGKILL)
        (self.place / "second").touch()
        time.sleep(0.5)
        return {"loss": 1.0}


def wait_for(happened: object, seconds: float = 10.0) -> None:
    """Until it is true; AssertionError when that takes too long."""
    end = time.monotonic() + seconds
    while not happened():  # type: ignore[operator]  # a callable
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def alive(place: Path, kind: str) -> list[int]:
    """The processes that announced themselves as `kind` and have not ended."""
    pids = [int(file.name.split("-")[1]) for file in place.glob(f"{kind}-*")]
    return [pid for pid in pids if psutil.pid_exists(pid) and not _zombie(pid)]


def _zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass
class Warmed:
    """Says whether it was warmed up before its first job, and how often."""

    metrics: tuple[str, ...] = ("loss",)
    times: int = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(warm_up=self._warm_up)

    def _warm_up(self) -> None:
        self.times += 1

    def __call__(self, job: Job) -> Metrics:
        return {"loss": float(self.times)}


@dataclass(frozen=True)
class Steps:
    """A preparation in ten steps, kept as a number in a file; `what` goes wrong at the fifth."""

    place: Path
    what: str = ""
    seconds: float = 0.0
    metrics: tuple[str, ...] = ("steps",)

    def __call__(self, job: Job) -> Metrics:
        with (self.place / "calls").open("a") as calls:
            calls.write(f"{job.folder} {job.deadline}\n")
        while (done := self.done()) < 10:
            if done == 5 and self.what:
                getattr(Hostile(self.what, self.place), self.what)()
            time.sleep(self.seconds)
            (self.place / "steps").write_text(str(done + 1))
        (self.place / "over").write_text("ten steps")
        return {"steps": 10.0}

    def done(self) -> int:
        file = self.place / "steps"
        return int(file.read_text() or 0) if file.exists() else 0

    @property
    def is_over(self) -> bool:
        return (self.place / "over").exists()

    def give_up(self, reason: str) -> None:
        (self.place / "over").write_text(f"given up: {reason}")

    def progress(self) -> str:
        return f"step {self.done()}"

    def report(self) -> list[str]:
        return [(self.place / "over").read_text()]
