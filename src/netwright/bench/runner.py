"""Run every strategy with every seed, side by side in worker processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from numbers import Integral
from pathlib import Path

from netwright.bench.comparison_folder import ComparisonFolder, csv_rows, run_file_name
from netwright.bench.oracle import TableOracle
from netwright.bench.settings import ComparisonSettings, metric_names
from netwright.bench.single_run import run_strategy
from netwright.errors import InfeasibleCandidate, InputError, Phrase, expected
from netwright.files.folder import Folder
from netwright.interfaces.benchmark import Benchmark
from netwright.interfaces.checks import as_algorithm
from netwright.interfaces.strategy import Algorithm, searches
from netwright.space.candidate import Candidate
from netwright.strategies.multi_fidelity.rungs import MultiFidelity
from netwright.strategies.oneshot import OneShot
from netwright.study.storage.lock import FolderLock
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.trial import Job, Metrics, Proposal, Status

ProgressCallback = Callable[[int, int], None]
"""Called with the number of finished runs, and of all runs."""
Run = tuple[str, int]
"""A strategy's name and a seed."""
_MAX_SEEDS = 10_000
"""Guards against an endless iterable."""
_JOBS_PER_WORKER = 1_000_000
"""A worker is never replaced: it keeps the table in memory."""
_POLL_SECONDS = 1.0

_NOTHING_TO_COMPARE = "it proposes no candidates of its own"
_NOTHING_TO_TRAIN = "it trains networks of shared weights, and a table has none to train"


@dataclass(frozen=True)
class Comparison:
    """Strategies to compare on a benchmark.

    Args:
        table: evaluated candidates (`TableBenchmark`), or an evaluator (`EvaluatorBenchmark`).
        algorithms: strategies by name, without commas, quotes and line breaks.
        settings: metrics and budget, the same for all.
        seeds: each strategy runs once with each; up to 10,000 different integers from 0 on.

    Raises:
        InputError: a name, an algorithm or a seed cannot be used.

    Example:
        >>> settings = ComparisonSettings("accuracy", "test_accuracy", evaluations=200)
        >>> comparison = Comparison(table, {"random": RandomSearch()}, settings, range(100))
        >>> runs = compare(comparison, "bench/random", workers=4)
    """

    table: Benchmark
    algorithms: Mapping[str, Algorithm]
    settings: ComparisonSettings
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
                or any(character in name for character in ',"\r\n')
            ):
                rule = "a text without commas, quotes and line breaks"
                raise InputError(expected("a strategy's name", rule, name))
        algorithms = {name: as_algorithm(each) for name, each in self.algorithms.items()}
        object.__setattr__(self, "algorithms", algorithms)
        object.__setattr__(self, "seeds", _check_seeds(self.seeds))


def _check_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Iterable):
        raise InputError(expected("seeds", "a list or range of whole numbers", seeds))
    checked = tuple(islice(seeds, _MAX_SEEDS + 1))
    if not checked:
        raise InputError(expected("seeds", "at least 1", 0))
    if len(checked) > _MAX_SEEDS:
        raise InputError(expected("seeds", f"at most {_MAX_SEEDS:,}", Phrase("more")))
    if wrong := [seed for seed in checked if not isinstance(seed, Integral) or seed < 0]:
        raise InputError(expected("seeds", "whole numbers of at least 0", wrong[0]))
    if len(set(checked)) < len(checked):
        duplicate = next(seed for seed in checked if checked.count(seed) > 1)
        raise InputError(expected("seeds", "different ones", duplicate))
    return tuple(map(int, checked))


@dataclass(frozen=True)
class Runs:
    """The runs of a comparison.

    Args:
        file: the CSV file, a row for each evaluation.
        failures: strategy -> why it was left out.
    """

    file: Path
    failures: Mapping[str, str]


def compare(
    comparison: Comparison,
    folder: str | Path,
    *,
    workers: int = 1,
    fresh: bool = False,
    on_progress: ProgressCallback = lambda done, total: None,
    executor: Executor | None = None,
) -> Runs:
    """Make the runs of a comparison that its folder does not have yet.

    If it is killed, the same call resumes: finished runs are not repeated, and the results are
    those of an uninterrupted comparison (except for overheads, which are measured). A strategy that
    fails is not run further; one that needs several fidelities is not run if there is only one.

    Args:
        comparison: strategies, table, settings and seeds.
        folder: a new folder, or that of the same comparison.
        workers: number of processes.
        fresh: delete the earlier runs of these strategies.
        on_progress: called with the number of finished runs and of all runs.
        executor: how jobs run; None for supervised processes.

    Raises:
        InputError: the settings and the table do not fit each other.
        RunError: the folder is of another comparison, or in use.
    """
    folder = Path(folder)
    oracle = TableOracle(comparison.table, comparison.settings)
    oracle.check()  # before a folder is made
    failures = incompatible_algorithms(comparison.algorithms, oracle)
    compatible = [name for name in comparison.algorithms if name not in failures]
    runs = [(name, seed) for seed in comparison.seeds for name in compatible]
    with FolderLock(folder):
        files = ComparisonFolder(
            folder, comparison.table, comparison.settings, comparison.algorithms
        )
        files.open(fresh=fresh)
        finished = files.finished_runs()
        to_do = [run for run in runs if run not in finished]
        on_progress(len(runs) - len(to_do), len(runs))
        try:
            evaluator = _RunEvaluator(comparison, files.parts)
            executor = executor or Supervised(
                workers, threads=1, max_jobs_per_worker=_JOBS_PER_WORKER
            )
            for n_left in _execute(executor, evaluator, to_do, failures):
                on_progress(len(runs) - n_left, len(runs))
        finally:
            files.close()
    return Runs(files.runs_file, failures)


def incompatible_algorithms(
    algorithms: Mapping[str, Algorithm], oracle: TableOracle
) -> dict[str, str]:
    """Map the names of algorithms that cannot run with these settings to the reason."""
    incompatible = {
        name: _NOTHING_TO_TRAIN for name, each in algorithms.items() if isinstance(each, OneShot)
    }
    incompatible |= {
        name: _NOTHING_TO_COMPARE for name, each in algorithms.items() if not searches(each)
    }
    if len(oracle.fidelities) > 1:
        return incompatible
    reason = "it tries candidates at several fidelities, and "
    if oracle.settings.fidelity is not None:
        reason += "all evaluations are made at one"
    else:
        searched = metric_names(oracle.settings.search)
        reason += f"there is one with {searched} in {oracle.table.name}"
    multi_fidelity = {
        name: reason for name, each in algorithms.items() if isinstance(each, MultiFidelity)
    }
    return multi_fidelity | incompatible


def _execute(
    executor: Executor, evaluator: _RunEvaluator, to_do: Sequence[Run], failures: dict[str, str]
) -> Iterator[int]:
    """Submit the runs in order, and yield the number left after each poll."""
    waiting, running, job_ids = deque(to_do), dict[int, Run](), count()
    if waiting:
        executor.open(evaluator, len(waiting))
    try:
        while waiting or running:
            while waiting and executor.free_slots and len(running) < executor.capacity:
                job_id, run = next(job_ids), waiting.popleft()
                running[job_id] = run
                proposal = Proposal(Candidate({"strategy": run[0]}))
                executor.submit(job_id, Job(proposal, run[1], Path()))
            for outcome in executor.poll(_POLL_SECONDS):
                name, _ = running.pop(outcome.trial_id)
                if outcome.status is not Status.DONE:
                    failures.setdefault(name, outcome.error)
                    waiting = deque(run for run in waiting if run[0] != name)
            yield len(waiting) + len(running)
    finally:
        executor.close()


@dataclass(frozen=True)
class _RunEvaluator:
    """Evaluator whose job is a whole run; it writes the rows to a file in `parts`, atomically."""

    comparison: Comparison
    parts: Path
    oracles: list[TableOracle] = field(default_factory=list, compare=False)
    """At most one: made in the worker, which reads the table for itself."""
    metrics: tuple[str, ...] = ("evaluations",)

    def __call__(self, job: Job) -> Metrics:
        table, settings = self.comparison.table, self.comparison.settings
        if not self.oracles:
            self.oracles.append(TableOracle(table, settings))
        name = str(job.proposal.candidate.values["strategy"])
        algorithm = self.comparison.algorithms[name]
        evaluations = list(run_strategy(algorithm, self.oracles[0], job.seed))
        if not evaluations:
            raise InfeasibleCandidate("it proposed nothing that the budget allows")
        folder = Folder(self.parts.parent) / self.parts.name
        text = csv_rows(name, job.seed, evaluations, settings)
        folder.write(run_file_name(name, job.seed), text)
        return {"evaluations": float(len(evaluations))}

    def __reduce__(self) -> tuple[object, ...]:
        return (_RunEvaluator, (self.comparison, self.parts))
