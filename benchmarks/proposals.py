"""Time a proposal (ask, record the start, record the end, tell) against Optuna.

    python benchmarks/proposals.py [--sizes 100,1000,10000] [--strategies random,evolution,...]

The space has six choices of five options. A store (SQLite) is filled with random finished trials;
then 50 proposals are made and told, and the median wall time is printed in milliseconds. Optuna
gets the same trials, in its SQLite storage and in its journal file. Run it on an idle machine. Rows
already in the CSV are not measured again.
"""

from __future__ import annotations

import argparse
import csv
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from netwright.automl.name_resolution import BLACK_BOX_NAMES
from netwright.automl.name_resolution import strategy_by_name as by_name
from netwright.interfaces.strategy import Problem
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.study.journal import Journal, ReplayableStrategy
from netwright.study.storage.run_manifest import RunManifest
from netwright.study.storage.store import Store
from netwright.trials.objective import Objective
from netwright.trials.trial import Candidate, Proposal, Status, Trial

OPTIONS = tuple("abcde")
SPACE = Space({f"x{i}": OneOf(*OPTIONS) for i in range(6)})
LOSS = Objective("loss", "min")
IDENTITY = RunManifest(SPACE.fingerprint, 0, "any", (LOSS,))
N_PROPOSALS = 50
HEAD = ["who", "storage", "trials", "median_ms", "p90_ms"]


def loss_of(candidate: Candidate) -> float:
    digits = [OPTIONS.index(str(candidate.values[f"x{i}"])) for i in range(6)]
    return float(
        sum((digit - i % 5) ** 2 for i, digit in enumerate(digits)) + 0.1 * (digits[0] * digits[1])
    )


def random_candidates(n: int) -> list[Candidate]:
    """Return distinct random candidates, as random search proposes them."""
    rng = np.random.default_rng(1)
    distinct: dict[Candidate, None] = {}
    while len(distinct) < n:
        distinct[SPACE.sample(rng)] = None
    return list(distinct)


def fill(folder: Path, candidates: list[Candidate]) -> None:
    folder.mkdir()
    with Store.open_writable(folder, IDENTITY) as store:
        for trial_id, candidate in enumerate(candidates, start=1):
            trial = Trial(trial_id, Proposal(candidate), trial_id)
            store.record_start(trial, 0.0)
            metrics = {"loss": loss_of(candidate)}
            store.record_end(
                Trial(trial_id, trial.proposal, trial_id, Status.DONE, metrics, 1.0), 0.0
            )


def time_netwright(name: str, filled_run: Path) -> list[float]:
    """Return the milliseconds of each proposal."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "run"
        shutil.copytree(filled_run, folder)
        strategy = by_name(name)(Problem(SPACE, (LOSS,)))
        with Store.open_writable(folder, IDENTITY) as store:
            journal = Journal(
                store, ReplayableStrategy(strategy, SPACE, lambda trial: True), 0, (LOSS,), ()
            )
            return [_timed(lambda: _step(journal)) for _ in range(N_PROPOSALS)]


def _step(journal: Journal) -> None:
    (proposal,) = journal.ask(1)
    trial = journal.record_start(proposal, 0.0)
    metrics = {"loss": loss_of(proposal.candidate)}
    journal.record_end(Trial(trial.id, proposal, trial.seed, Status.DONE, metrics, 1.0), 0.0)


def time_optuna(sampler: str, storage: str, candidates: list[Candidate]) -> list[float]:
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    choices = optuna.distributions.CategoricalDistribution(OPTIONS)
    make = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}[sampler]
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            sampler=make(seed=0), storage=_optuna_storage(Path(folder), storage)
        )
        study.add_trials([
            optuna.trial.create_trial(
                params=dict(candidate.values), value=loss_of(candidate),
                distributions=dict.fromkeys(candidate.values, choices),
            )
            for candidate in candidates
        ])  # fmt: skip

        def step() -> None:
            trial = study.ask()
            values = {f"x{i}": trial.suggest_categorical(f"x{i}", OPTIONS) for i in range(6)}
            study.tell(trial, loss_of(Candidate(values)))

        return [_timed(step) for _ in range(N_PROPOSALS)]


def _optuna_storage(folder: Path, storage: str) -> Any:
    import optuna

    if storage == "sqlite":
        return f"sqlite:///{folder / 'optuna.db'}"
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    return optuna.storages.JournalStorage(backend)


def _timed(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - start)


def rows(names: list[str], size: int, done: set[tuple[str, ...]]) -> Iterator[list[str]]:
    candidates = random_candidates(size)
    with tempfile.TemporaryDirectory() as folder:
        filled_run = Path(folder) / "filled"
        fill(filled_run, candidates)
        for name in names:
            if (name, "sqlite", str(size)) not in done:
                yield _row(name, "sqlite", size, time_netwright(name, filled_run))
    try:
        import optuna  # noqa: F401
    except ImportError:
        print("optuna is not installed: its rows are left out")
        return
    for sampler in ("random", "tpe"):
        for storage in ("sqlite", "journal"):
            if (f"optuna-{sampler}", storage, str(size)) not in done:
                yield _row(
                    f"optuna-{sampler}", storage, size, time_optuna(sampler, storage, candidates)
                )


def _row(strategy: str, storage: str, size: int, times: list[float]) -> list[str]:
    median, p90 = statistics.median(times), float(np.quantile(times, 0.9))
    return [strategy, storage, str(size), f"{median:.3f}", f"{p90:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument("--strategies", default=",".join(BLACK_BOX_NAMES))
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "proposals.csv"
    )
    options = parser.parse_args()
    max_size = int(SPACE.size) - N_PROPOSALS  # all candidates are distinct
    sizes = [*map(int, options.sizes.split(","))]
    if wrong := [size for size in sizes if not 0 < size <= max_size]:
        parser.error(f"sizes must be from 1 to {max_size:,}, got {wrong[0]:,}")
    options.out.parent.mkdir(exist_ok=True)
    before = list(csv.reader(options.out.open())) if options.out.exists() else [HEAD]
    done = {(strategy, storage, size) for strategy, storage, size, *_ in before[1:]}
    with options.out.open("a", newline="") as file:
        writer = csv.writer(file)
        if not done:
            writer.writerow(HEAD)
        for size in sizes:
            for row in rows(options.strategies.split(","), size, done):
                writer.writerow(row)
                file.flush()
                print("{:<14} {:<8} {:>6} trials {:>9} ms (p90 {})".format(*row), flush=True)


if __name__ == "__main__":
    main()
