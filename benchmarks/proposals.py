"""What a proposal costs: ask, record the start, record the end, tell; beside Optuna in the same run.

    python benchmarks/proposals.py [--sizes 100,1000,10000] [--strategies random,evolution,...]

Six choices of five options. A store (SQLite) is filled with random finished trials; then 50
proposals are made and told, and the median is printed in milliseconds of wall time. Optuna gets the
same trials, in its SQLite and in its journal file. Run it alone on the machine. A row that is in
the CSV is not measured again.
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
PROPOSALS = 50
HEAD = ["who", "storage", "trials", "median_ms", "p90_ms"]


def loss_of(candidate: Candidate) -> float:
    places = [OPTIONS.index(str(candidate.values[f"x{i}"])) for i in range(6)]
    return float(
        sum((p - i % 5) ** 2 for i, p in enumerate(places)) + 0.1 * (places[0] * places[1])
    )


def random_candidates(number: int) -> list[Candidate]:
    """Different ones, as random search proposes them."""
    rng = np.random.default_rng(1)
    found: dict[Candidate, None] = {}
    while len(found) < number:
        found[SPACE.sample(rng)] = None
    return list(found)


def fill(folder: Path, candidates: list[Candidate]) -> None:
    folder.mkdir()
    with Store.open_writable(folder, IDENTITY) as store:
        for number, candidate in enumerate(candidates, start=1):
            trial = Trial(number, Proposal(candidate), number)
            store.record_start(trial, 0.0)
            metrics = {"loss": loss_of(candidate)}
            store.record_end(Trial(number, trial.proposal, number, Status.DONE, metrics, 1.0), 0.0)


def ours(name: str, filled: Path) -> list[float]:
    """Milliseconds of each proposal."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        shutil.copytree(filled, folder)
        strategy = by_name(name)(Problem(SPACE, (LOSS,)))
        with Store.open_writable(folder, IDENTITY) as store:
            journal = Journal(
                store, ReplayableStrategy(strategy, SPACE, lambda trial: True), 0, (LOSS,), ()
            )
            return [_timed(lambda: _step(journal)) for _ in range(PROPOSALS)]


def _step(journal: Journal) -> None:
    (proposal,) = journal.ask(1)
    trial = journal.record_start(proposal, 0.0)
    metrics = {"loss": loss_of(proposal.candidate)}
    journal.record_end(Trial(trial.id, proposal, trial.seed, Status.DONE, metrics, 1.0), 0.0)


def optunas(sampler: str, storage: str, candidates: list[Candidate]) -> list[float]:
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    choices = optuna.distributions.CategoricalDistribution(OPTIONS)
    make = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}[sampler]
    with tempfile.TemporaryDirectory() as place:
        study = optuna.create_study(
            sampler=make(seed=0), storage=_optuna_storage(Path(place), storage)
        )
        study.add_trials([
            optuna.trial.create_trial(
                params=dict(one.values), value=loss_of(one),
                distributions=dict.fromkeys(one.values, choices),
            )
            for one in candidates
        ])  # fmt: skip

        def step() -> None:
            trial = study.ask()
            values = {f"x{i}": trial.suggest_categorical(f"x{i}", OPTIONS) for i in range(6)}
            study.tell(trial, loss_of(Candidate(values)))

        return [_timed(step) for _ in range(PROPOSALS)]


def _optuna_storage(place: Path, storage: str) -> Any:
    import optuna

    if storage == "sqlite":
        return f"sqlite:///{place / 'optuna.db'}"
    backend = optuna.storages.journal.JournalFileBackend(str(place / "journal.log"))
    return optuna.storages.JournalStorage(backend)


def _timed(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - start)


def rows(names: list[str], size: int, done: set[tuple[str, ...]]) -> Iterator[list[str]]:
    candidates = random_candidates(size)
    with tempfile.TemporaryDirectory() as place:
        filled = Path(place) / "filled"
        fill(filled, candidates)
        for name in names:
            if (name, "sqlite", str(size)) not in done:
                yield _row(name, "sqlite", size, ours(name, filled))
    try:
        import optuna  # noqa: F401
    except ImportError:
        print("optuna is not installed: its rows are left out")
        return
    for sampler in ("random", "tpe"):
        for storage in ("sqlite", "journal"):
            if (f"optuna-{sampler}", storage, str(size)) not in done:
                yield _row(
                    f"optuna-{sampler}", storage, size, optunas(sampler, storage, candidates)
                )


def _row(who: str, storage: str, size: int, times: list[float]) -> list[str]:
    median, p90 = statistics.median(times), float(np.quantile(times, 0.9))
    return [who, storage, str(size), f"{median:.3f}", f"{p90:.3f}"]


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
    most = int(SPACE.size) - PROPOSALS  # the filled ones differ, and so do those that follow
    sizes = [*map(int, options.sizes.split(","))]
    if wrong := [size for size in sizes if not 0 < size <= most]:
        parser.error(f"sizes must be from 1 to {most:,}, got {wrong[0]:,}")
    options.out.parent.mkdir(exist_ok=True)
    before = list(csv.reader(options.out.open())) if options.out.exists() else [HEAD]
    done = {(who, storage, size) for who, storage, size, *_ in before[1:]}
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
