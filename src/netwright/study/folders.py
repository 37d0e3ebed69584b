"""What lies in a run folder beside the log: the trials' own folders, and what becomes of them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from pathlib import Path

from netwright.errors import RunError
from netwright.study.identity import goes_on
from netwright.study.lock import FolderLock
from netwright.study.preparing import FOLDER as SUPERNET
from netwright.study.store import FILE
from netwright.trials.trial import ABOUT


def used_folders(run: Path) -> set[int]:
    """The trials that have left something."""
    place = run / "trials"
    names = [folder.name for folder in place.iterdir()] if place.is_dir() else []
    return {int(name) for name in names if name.isdigit()}


def empty(folder: Path) -> None:
    """Deletes what a trial has left, but for `ABOUT`."""
    with contextlib.suppress(OSError):  # it may stay: only room is lost
        for path in list(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != ABOUT:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def clear(run: str | Path) -> None:
    """Forgets a run: its log and its trials' folders; what others put there stays.

    RunError when a study is running there.
    """
    folder = Path(run)
    if not folder.exists():
        return
    with FolderLock(folder):
        for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
            (folder / name).unlink(missing_ok=True)
        for name in ("trials", SUPERNET):
            shutil.rmtree(folder / name, ignore_errors=True)


def fresh_folder(folder: Path) -> Path:
    """An empty folder, whatever an execution that was killed has left there."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be made: {error.strerror}. Finished trials are kept; "
            f"{goes_on()} once there is room."
        ) from error
    return folder


def temporary_folder(owner: object) -> Path:
    """A run folder that goes with its owner."""
    folder = Path(tempfile.mkdtemp(prefix="netwright-"))
    weakref.finalize(owner, shutil.rmtree, folder, True)
    return folder
