"""Notice that a study's files were deleted: writing to a deleted file raises no error."""

from __future__ import annotations

from pathlib import Path

from netwright.errors import RunError
from netwright.study.storage.run_manifest import new_run_hint


class DeletionWatch:
    """The inodes of files that a study writes to, to notice when one is deleted or replaced."""

    def __init__(self) -> None:
        self._inodes: dict[Path, tuple[int, int]] = {}

    def add(self, path: Path) -> None:
        """Watch a file from now on; do nothing if it does not exist yet."""
        if path not in self._inodes and (inode := _inode(path)):
            self._inodes[path] = inode

    def check(self) -> None:
        """Raise RunError if a watched file was deleted or replaced."""
        for path, inode in self._inodes.items():
            if _inode(path) != inode:
                raise deleted_error(path)


def deleted_error(path: Path) -> RunError:
    """Return the error for a file that was there when the study began."""
    return RunError(
        f"{path} was deleted or replaced during the search, so results can no longer be kept. "
        f"Leave a run folder alone until its search has ended. {new_run_hint()}"
    )


def _inode(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, or None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
