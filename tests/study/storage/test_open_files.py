"""Files that a study writes to are there before they are recorded, and missed when they are gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from netwright.errors import RunError
from netwright.files.run_layout import DATABASE
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.study.storage.store import Store
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.trial import Job, Metrics, Proposal, Status, Trial

SPACE = Space({"x": Integer(0, 99)})


@dataclass
class Leaves:
    """Leaves two files in the job's folder, and calls `after` with the number of the trial."""

    after: Callable[[int], object] = lambda number: None
    metrics: tuple[str, ...] = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        (job.folder / "fold-0").mkdir()
        (job.folder / "fold-0" / "weights").write_text("weights")
        (job.folder / "held-out").write_text("predictions")
        self.after(int(job.folder.name))
        return {"loss": float(str(job.proposal.candidate.values["x"]))}


def study(run: Path, evaluator: Leaves) -> Study[object]:
    return Study(
        SPACE, evaluator, objectives="loss:min", strategy=RandomSearch(), run=run,
        executor=InProcess(),
    )  # fmt: skip


@pytest.mark.parametrize("name", [".", DATABASE, f"{DATABASE}-wal"])
def test_a_file_deleted_during_the_search_ends_it(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"

    def delete(trial: int) -> None:
        if trial == 3:
            path = run / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(RunError, match=r"was deleted or replaced during the search"):
        study(run, Leaves(delete)).run(trials=6)


def test_a_database_replaced_during_the_search_ends_it(tmp_path: Path) -> None:
    run = tmp_path / "run"

    def replace(trial: int) -> None:
        if trial == 2:
            shutil.copyfile(run / DATABASE, tmp_path / "copy")
            (tmp_path / "copy").replace(run / DATABASE)

    with pytest.raises(RunError, match=rf"{DATABASE} was deleted or replaced"):
        study(run, Leaves(replace)).run(trials=4)


def test_nothing_is_added_to_a_run_that_is_gone(tmp_path: Path) -> None:
    searched = study(tmp_path / "run", Leaves()).run(trials=2)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunError, match=r"was deleted or replaced"):
        searched.add_trial(Proposal(Candidate({}), origin="constant"), lambda folder: {"loss": 0.0})
    assert not (tmp_path / "run").exists()


def test_files_reach_the_disk_before_their_trial_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        happened.append(str(path.relative_to(run)))

    def end(store: Store, trial: Trial, seconds: float) -> None:
        happened.append(f"{trial.status}")
        record(store, trial, seconds)

    run, record = tmp_path / "run", Store.record_end
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Store, "record_end", end)
    study(run, Leaves()).run(trials=1)
    assert happened.pop() == Status.DONE
    assert set(happened) == {
        "trials", "trials/1", "trials/1/held-out", "trials/1/fold-0", "trials/1/fold-0/weights",
    }  # fmt: skip
