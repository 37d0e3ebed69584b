"""Make, find and empty the folders of trials, and delete runs.

A run folder may not be trusted: a link whose name is needed is removed, but never its target.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import weakref
from pathlib import Path

from netwright.errors import RunError
from netwright.files.folder import Folder
from netwright.files.run_layout import ABOUT, DATABASE, FINAL_TRAINING, SUPERNET, TRIALS
from netwright.study.storage.lock import FolderLock
from netwright.study.storage.run_manifest import resume_hint
from netwright.study.storage.schema import SIDE_FILES

_TRIAL_FOLDER_NAME = re.compile("[1-9][0-9]{0,7}")


def trial_path(run: Path, trial_id: int) -> Path:
    """Return the path of the folder where a trial's evaluator leaves its files."""
    return run / TRIALS / str(trial_id)


def trial_folder(run: Path, trial_id: int) -> Folder:
    """Return a trial's folder for reading its files, which may not be trusted."""
    return Folder(run) / TRIALS / str(trial_id)


def trials_with_folders(run: Path) -> set[int]:
    """Return the ids of the trials that have a folder."""
    return {
        int(name) for name in (Folder(run) / TRIALS).names() if _TRIAL_FOLDER_NAME.fullmatch(name)
    }


def empty_trial_folder(folder: Path) -> None:
    """Delete a trial's files except `ABOUT`, and the folder if nothing is left in it."""
    subfolder = _as_run_subfolder(folder)
    with contextlib.suppress(OSError):  # only disk space is lost
        subfolder.clear(keep={ABOUT})
        if subfolder.is_there and not subfolder.names():
            folder.rmdir()


def delete_run(run: str | Path) -> None:
    """Delete a run's log and its trials' folders; other files in the folder stay.

    Raises:
        RunError: a study is running there.
    """
    folder = Path(run)
    if not folder.exists():
        return
    with FolderLock(folder):
        for name in (DATABASE, *SIDE_FILES, TRIALS, SUPERNET, FINAL_TRAINING):
            Folder(folder).remove(name)


def fresh_folder(folder: Path) -> Path:
    """Make an empty folder for a trial, deleting what a killed execution left there.

    Raises:
        RunError: it cannot be made, such as on a full disk.
    """
    subfolder = _as_run_subfolder(folder)
    try:
        subfolder.clear()
        subfolder.make(replaces_links=True)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be made: {error.strerror}. Finished trials are kept. "
            f"Free some disk space, then {resume_hint()}."
        ) from error
    return folder


def temporary_folder(owner: object) -> Path:
    """Make a run folder that is deleted together with its owner."""
    folder = Path(tempfile.mkdtemp(prefix="netwright-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def _as_run_subfolder(folder: Path) -> Folder:
    """Return a trial's folder below its run: neither it nor its parent may be a link."""
    return Folder(folder.parents[1]) / folder.parent.name / folder.name
