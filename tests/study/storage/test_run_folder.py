"""Run folders that come from strangers: what is outside stays as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from study_tools import Hill

from netwright.errors import RunError
from netwright.files.run_layout import ABOUT, FINAL_TRAINING, SUPERNET, TRAINING_CHECKPOINT
from netwright.study.storage.run_folder import (
    delete_run,
    empty_trial_folder,
    fresh_folder,
    trials_with_folders,
)
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.objective import Objective
from netwright.trials.trial import Status

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links are made")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    return folder


def study(space: Any, run: Path) -> Study[Any]:
    loss = Objective("loss", "min")
    return Study(space, Hill(), objectives=[loss], run=run, executor=InProcess())


def test_a_link_among_the_trials_is_not_emptied(space: Any, tmp_path: Path, outside: Path) -> None:
    run = tmp_path / "run"
    study(space, run).run(trials=2)
    for number in ("3", "999"):
        (run / "trials" / number).symlink_to(outside)
    trials = study(space, run).run(trials=4).trials
    assert [trial.status for trial in trials] == [Status.DONE] * 4
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert not (run / "trials" / "3").is_symlink()
    assert (run / "trials" / "999").is_symlink()  # nobody needs its name


def test_a_link_in_place_of_all_trials_is_refused(
    space: Any, tmp_path: Path, outside: Path
) -> None:
    run = tmp_path / "run"
    study(space, run).run(trials=1)
    (run / "trials").rename(tmp_path / "before")
    (run / "trials").symlink_to(outside)
    with pytest.raises(RunError, match=r"run/trials must be a folder, got a link. Remove it"):
        study(space, run).run(trials=2)
    assert [path.name for path in outside.iterdir()] == ["precious"]
    delete_run(run)
    assert not (run / "trials").is_symlink()
    assert study(space, run).run(trials=2).trials[1].status is Status.DONE


def test_a_run_on_another_disk_is_reached_by_a_link(space: Any, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to("disk")
    study(space, tmp_path / "runs" / "a").run(trials=2)
    assert len(study(space, tmp_path / "runs" / "a").run(trials=3).trials) == 3
    assert (tmp_path / "disk" / "a" / "study.sqlite").is_file()


def test_only_folders_of_trials_are_used(tmp_path: Path) -> None:
    for name in ("1", "23", "0", "-1", "007", "²", "٣", "9" * 30, "notes"):
        (tmp_path / "trials" / name).mkdir(parents=True)
    assert trials_with_folders(tmp_path) == {1, 23}
    assert trials_with_folders(tmp_path / "trials") == set()


def test_emptying_a_trial_folder_keeps_about_json(tmp_path: Path, outside: Path) -> None:
    folder = tmp_path / "trials" / "1"
    (folder / "fold-0").mkdir(parents=True)
    (folder / "fold-0" / "away").symlink_to(outside)
    (folder / ABOUT).write_text("{}")
    empty_trial_folder(folder)
    assert [path.name for path in folder.iterdir()] == [ABOUT]
    (folder / ABOUT).unlink()
    empty_trial_folder(folder)
    assert not folder.exists()
    assert (outside / "precious").exists()


def test_a_fresh_folder_is_no_link(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "1").symlink_to(outside)
    (tmp_path / "trials" / "2").write_text("a file")
    for number in ("1", "2", "3"):
        folder = fresh_folder(tmp_path / "trials" / number)
        assert folder.is_dir()
        assert not folder.is_symlink()
        assert [*folder.iterdir()] == []
    assert (outside / "precious").exists()


def test_deleted_run_leaves_nothing_but_other_files(
    space: Any, tmp_path: Path, outside: Path
) -> None:
    run = tmp_path / "run"
    study(space, run).run(trials=1)
    for name in (FINAL_TRAINING, SUPERNET):
        (run / name).mkdir(exist_ok=True)
        (run / name / "away").symlink_to(outside)
    (run / FINAL_TRAINING / TRAINING_CHECKPOINT).write_bytes(b"weights")
    (run / "notes.txt").write_text("mine")
    delete_run(run)
    left = {path.name for path in run.iterdir()}
    assert left - {".lock"} == {"notes.txt"}
    assert (outside / "precious").exists()
