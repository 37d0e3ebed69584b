"""What lies in a run folder beside the log: the trials' own folders, and what becomes of them.

A run folder may come from a stranger: links in it are removed themselves, where their names are
needed, and what they point to is left alone.
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
from netwright.files.run_layout import ABOUT, DATABASE, SUPERNET, TRIALS
from netwright.study.storage.lock import FolderLock
from netwright.study.storage.run_manifest import resume_hint
from netwright.study.storage.schema import BESIDE

_TRIAL = re.compile("[1-9][0-9]{0,7}")


def path_of_trial(run: Path, trial: int) -> Path:
    """Where the evaluator of a trial leaves its files."""
    return run / TRIALS / str(trial)


def trial_folder(run: Path, trial: int) -> Folder:
    """The folder of a trial, for what is read back from it."""
    return Folder(run) / TRIALS / str(trial)


def used_folders(run: Path) -> set[int]:
    """The trials that have left something."""
    return {int(name) for name in (Folder(run) / TRIALS).names() if _TRIAL.fullmatch(name)}


def empty(folder: Path) -> None:
    """Delete what a trial has left, but for `ABOUT`."""
    place = _below_run(folder)
    with contextlib.suppress(OSError):  # it may stay: only room is lost
        place.clear(keep={ABOUT})
        if place.is_there and not place.names():
            folder.rmdir()


def delete_run(run: str | Path) -> None:
    """Forget a run: its log and its trials' folders; what others put there stays.

    RunError when a study is running there.
    """
    folder = Path(run)
    if not folder.exists():
        return
    with FolderLock(folder):
        for name in (DATABASE, *BESIDE, TRIALS, SUPERNET):
            Folder(folder).remove(name)


def fresh_folder(folder: Path) -> Path:
    """An empty folder, whatever an execution that was killed has left there."""
    place = _below_run(folder)
    try:
        place.clear()
        place.make(replaces_links=True)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be made: {error.strerror}. Finished trials are kept; "
            f"{resume_hint()} once there is room."
        ) from error
    return folder


def temporary_folder(owner: object) -> Path:
    """A run folder that goes with its owner."""
    folder = Path(tempfile.mkdtemp(prefix="netwright-"))
    weakref.finalize(owner, shutil.rmtree, folder, True)
    return folder


def _below_run(folder: Path) -> Folder:
    """A trial's folder as one of a run: neither it nor the one above may be a link."""
    return Folder(folder.parents[1]) / folder.parent.name / folder.name
