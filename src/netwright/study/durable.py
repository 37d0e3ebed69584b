"""What has been recorded must be there afterwards: through a power cut, and under the same name."""

from __future__ import annotations

import os
from pathlib import Path

from netwright.errors import RunError
from netwright.study.identity import new_run


def sync_tree(folder: Path) -> None:
    """Forces a folder with all that is in it to the disk; an empty one has nothing to lose.

    A trial is recorded only after this, so a power cut leaves no record of files that are not there.
    Links are not followed.
    """
    places = list(os.walk(folder, topdown=False))
    if not any(files for _, _, files in places):
        return
    for place, _, files in places:
        for path in (Path(place) / name for name in files):
            if path.is_file() and not path.is_symlink():
                sync_file(path)
        sync_file(Path(place))
    sync_file(folder.parent)


def sync_file(path: Path) -> None:
    """Forces a file, or the names in a folder, to the disk; no link is followed.

    Nothing where it is gone: who deletes a run folder meanwhile is noticed by `OpenFiles`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class OpenFiles:
    """The files that a study writes to, to notice when somebody deletes or replaces one.

    What is written to a deleted file vanishes without an error.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}

    def add(self, path: Path) -> None:
        """From now on the file has to be there; nothing where it is not there yet."""
        if path not in self._known and (inode := _inode(path)):
            self._known[path] = inode

    def check(self) -> None:
        """RunError for a file that is gone, or is another one by now."""
        for path, inode in self._known.items():
            if _inode(path) != inode:
                raise deleted(path)


def deleted(path: Path) -> RunError:
    """Of a file that was there when the study began."""
    return RunError(
        f"{path} was deleted or replaced during the search, so results can no longer be kept. "
        f"Leave a run folder alone until its search has ended. {new_run()}"
    )


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
