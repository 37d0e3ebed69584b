"""Every strategy with every seed, side by side in worker processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from numbers import Integral
from pathlib import Path
from typing import Any

from netwright.bench.comparison_folder import ComparisonFolder, part_name, rows
from netwright.bench.settings import ComparisonSettings, TableOracle
from netwright.bench.single_run import run_strategy
from netwright.errors import InfeasibleCandidate, InputError, Phrase, expected
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.files.folder import Folder
from netwright.interfaces.checks import as_algorithm
from netwright.interfaces.strategy import Algorithm
from netwright.space.candidate import Candidate
from netwright.strategies.multi_fidelity.rungs import MultiFidelity
from netwright.strategies.oneshot import OneShot
from netwright.study.storage.lock import FolderLock
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.trial import Job, Metrics, Proposal, Status

ProgressCallback = Callable[[int, int], None]
"""Hears how many runs are done, and of how many."""
Pair = tuple[str, int]
"""An entrant and a seed."""
_MOST_SEEDS = 10_000


_NOTHING_TO_TRAIN = "it trains networks of shared weights, and a table has none to train"


@dataclass(frozen=True)
class Comparison:
    """Who runs on which table, on what terms, with which seeds."""

    table: TableBenchmark
    algorithms: Mapping[str, Algorithm]
    protocol: ComparisonSettings
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        if not isinstance(self.algorithms, Mapping):
            got = Phrase(type(self.algorithms).__name__)
            raise InputError(expected("strategies", "a mapping of names to algorithms", got))
        if not self.algorithms:
            raise InputError(expected("strategies", "at least one", []))
        for name in self.algorithms:
            if (
                not isinstance(name, str)
                or not name.strip()
                or any(one in name for one in ',"\r\n')
            ):
                rule = "a text without commas, quotes and line breaks"
                raise InputError(expected("a strategy's name", rule, name))
        made = {name: as_algorithm(one) for name, one in self.algorithms.items()}
        object.__setattr__(self, "entrants", made)
        object.__setattr__(self, "seeds", _seeds(self.seeds))


def _seeds(given: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(given, Iterable):
        raise InputError(expected("seeds", "a list or range of whole numbers", given))
    found = tuple(islice(given, _MOST_SEEDS + 1))
    if not found:
        raise InputError(expected("seeds", "at least 1", 0))
    if len(found) > _MOST_SEEDS:
        raise InputError(expected("seeds", f"at most {_MOST_SEEDS:,}", Phrase("more")))
    if wrong := [one for one in found if not isinstance(one, Integral) or one < 0]:
        raise InputError(expected("seeds", "whole numbers of at least 0", wrong[0]))
    if len(set(found)) < len(found):
        twice = next(one for one in found if found.count(one) > 1)
        raise InputError(expected("seeds", "different ones", twice))
    return tuple(map(int, found))


@dataclass(frozen=True)
class Runs:
    """What was run: the CSV file, and why entrants that failed are left out."""

    file: Path
    failures: Mapping[str, str]


def compare(
    comparison: Comparison,
    folder: str | Path,
    *,
    workers: int = 1,
    fresh: bool = False,
    on_progress: ProgressCallback = lambda done, of: None,
    executor: Executor | None = None,
) -> Runs:
    """Makes the runs that the folder does not hold yet.

    Killed at any moment, the same call goes on: no run that has ended is made again, and the
    results are those of one that was left alone (overheads are measured, and differ). `fresh`
    forgets the runs of these entrants. An entrant that fails is not run further, and one that needs
    several fidelities not at all where there is one. Raises InputError where the terms and the
    table do not fit, RunError when the folder is of another comparison or in use.
    """
    folder = Path(folder)
    judge = TableOracle(comparison.table, comparison.protocol)
    judge.check()  # what is wrong is said before all else
    failures = incompatible_algorithms(comparison.algorithms, judge)
    able = [name for name in comparison.algorithms if name not in failures]
    wanted = [(name, seed) for seed in comparison.seeds for name in able]
    with FolderLock(folder):
        files = ComparisonFolder(
            folder, comparison.table, comparison.protocol, comparison.algorithms
        )
        files.open(fresh)
        done = files.pairs()
        todo = [pair for pair in wanted if pair not in done]
        on_progress(len(wanted) - len(todo), len(wanted))
        try:
            racing = _Racing(comparison, files.parts)
            chosen = executor or Supervised(workers, threads=1, max_jobs_per_worker=1_000_000)
            for left in _run(chosen, racing, todo, failures):
                on_progress(len(wanted) - left, len(wanted))
        finally:
            files.close()
    return Runs(files.file, failures)


def incompatible_algorithms(
    entrants: Mapping[str, Algorithm], judge: TableOracle
) -> dict[str, str]:
    """Those that could not run on these terms -> why."""
    absent = {name: _NOTHING_TO_TRAIN for name, one in entrants.items() if isinstance(one, OneShot)}
    if len(judge.fidelities) > 1:
        return absent
    searched = ", ".join(one.metric for one in judge.protocol.search)
    reason = (
        "it tries candidates at several fidelities, and there is one with "
        f"{searched} in {judge.table.path.name}"
    )
    if judge.protocol.fidelity is not None:
        reason = "it tries candidates at several fidelities, and all evaluations are made at one"
    several = {name: reason for name, one in entrants.items() if isinstance(one, MultiFidelity)}
    return absent | several


def _run(
    executor: Executor, racing: _Racing, todo: Sequence[Pair], failures: dict[str, str]
) -> Iterator[int]:
    """Hands out the runs in order; yields how many are left whenever some have ended."""
    waiting, running, numbers = deque(todo), dict[int, Pair](), count()
    if waiting:
        executor.open(racing, len(waiting))
    try:
        while waiting or running:
            while waiting and executor.free_slots and len(running) < executor.capacity:
                number, pair = next(numbers), waiting.popleft()
                running[number] = pair
                proposal = Proposal(Candidate({"strategy": pair[0]}))
                executor.submit(number, Job(proposal, pair[1], Path()))
            for outcome in executor.poll(1.0):
                name, _ = running.pop(outcome.trial_id)
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
    judges: list[TableOracle] = field(default_factory=list, compare=False)
    metrics: tuple[str, ...] = ("evaluations",)

    def __call__(self, job: Job) -> Metrics:
        if not self.judges:
            self.judges.append(TableOracle(self.comparison.table, self.comparison.protocol))
        name = str(job.proposal.candidate.values["strategy"])
        steps = list(run_strategy(self.comparison.algorithms[name], self.judges[0], job.seed))
        if not steps:
            raise InfeasibleCandidate("it proposed nothing that the budget allows")
        parts = Folder(self.parts.parent) / self.parts.name
        text = rows(name, job.seed, steps, self.comparison.protocol)
        parts.write(part_name(name, job.seed), text)
        return {"evaluations": float(len(steps))}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Racing, (self.comparison, self.parts))  # a worker reads the table for itself
