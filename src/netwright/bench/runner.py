"""Every strategy with every seed, side by side in worker processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from netwright.bench.files import Files, part_name, rows
from netwright.bench.protocol import Judge, Protocol
from netwright.bench.race import race
from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.evaluators.table import TableBenchmark
from netwright.space.candidate import Candidate
from netwright.strategies.base import Algorithm
from netwright.study.executors import Executor, Supervised
from netwright.study.lock import FolderLock
from netwright.trials.trial import Job, Metrics, Proposal, Status

Watch = Callable[[int, int], None]
"""Hears how many runs are done, and of how many."""
Pair = tuple[str, int]
"""An entrant and a seed."""


@dataclass(frozen=True)
class Comparison:
    """Who runs on which table, on what terms, with which seeds."""

    table: TableBenchmark
    entrants: Mapping[str, Algorithm]
    protocol: Protocol
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        if not self.entrants:
            raise InputError(expected("strategies", "at least one", []))
        if not self.seeds:
            raise InputError(expected("seeds", "at least 1", 0))


@dataclass(frozen=True)
class Runs:
    """What was run: the CSV file, and why entrants that failed are left out."""

    file: Path
    failures: Mapping[str, str]


def compare(
    comparison: Comparison,
    folder: Path,
    *,
    workers: int = 1,
    fresh: bool = False,
    watch: Watch = lambda done, of: None,
    executor: Executor | None = None,
) -> Runs:
    """Makes the runs that the folder does not hold yet.

    Killed at any moment, the same call goes on: no run that has ended is made again, and the
    results are those of one that was left alone (overheads are measured, and differ). `fresh`
    forgets the runs of these entrants. An entrant that fails is not run further. Raises RunError
    when the folder is of another comparison or in use.
    """
    Judge(comparison.table, comparison.protocol).check()  # what is wrong is said before all else
    wanted = [(name, seed) for seed in comparison.seeds for name in comparison.entrants]
    failures: dict[str, str] = {}
    with FolderLock(folder):
        files = Files(folder, comparison.table, comparison.protocol, comparison.entrants)
        files.open(fresh)
        done = files.pairs()
        todo = [pair for pair in wanted if pair not in done]
        watch(len(wanted) - len(todo), len(wanted))
        try:
            racing = _Racing(comparison, files.parts)
            chosen = executor or Supervised(workers, threads=1, jobs=1_000_000)
            for left in _run(chosen, racing, todo, failures):
                watch(len(wanted) - left, len(wanted))
        finally:
            files.close()
    return Runs(files.file, failures)


def _run(
    executor: Executor, racing: _Racing, todo: Sequence[Pair], failures: dict[str, str]
) -> Iterator[int]:
    """Hands out the runs in order; yields how many are left whenever some have ended."""
    waiting, running, numbers = deque(todo), dict[int, Pair](), count()
    if waiting:
        executor.open(racing, len(waiting))
    try:
        while waiting or running:
            while waiting and executor.free and len(running) < executor.capacity:
                number, pair = next(numbers), waiting.popleft()
                running[number] = pair
                proposal = Proposal(Candidate({"strategy": pair[0]}))
                executor.submit(number, Job(proposal, pair[1], Path()))
            for outcome in executor.poll(1.0):
                name, _ = running.pop(outcome.trial)
                if outcome.status is not Status.DONE:
                    failures.setdefault(name, outcome.error)
                    waiting = deque(pair for pair in waiting if pair[0] != name)
            yield len(waiting) + len(running)
    finally:
        executor.close()


@dataclass(frozen=True)
class _Racing:
    """A run as a job: writes its rows into a file of `parts`, whole or not at all."""

    comparison: Comparison
    parts: Path
    judges: list[Judge] = field(default_factory=list, compare=False)
    metrics: tuple[str, ...] = ("evaluations",)

    def __call__(self, job: Job) -> Metrics:
        if not self.judges:
            self.judges.append(Judge(self.comparison.table, self.comparison.protocol))
        name = str(job.proposal.candidate.values["strategy"])
        steps = list(race(self.comparison.entrants[name], self.judges[0], job.seed))
        if not steps:
            raise InfeasibleCandidate("it proposed nothing that the budget allows")
        part = self.parts / part_name(name, job.seed)
        writing = part.with_suffix(".writing")
        writing.write_text(rows(name, job.seed, steps, self.comparison.protocol))
        writing.replace(part)
        return {"evaluations": float(len(steps))}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Racing, (self.comparison, self.parts))  # a worker reads the table for itself
