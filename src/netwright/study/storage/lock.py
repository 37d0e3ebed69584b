"""Lock a run folder for one writer; the lock is released when its process ends."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Self

from netwright.errors import RunError
from netwright.study.storage.run_manifest import other_folder_hint


class FolderLock:
    """An exclusive lock, held from creation to `close`, or to the end of the process.

    On POSIX the folder itself is locked, so that no lock file is left behind; on Windows, where a
    folder cannot be opened, a file inside it.

    Args:
        folder: made if it does not exist.

    Raises:
        RunError: another study holds the lock, or the folder cannot be locked.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = _open(folder)
        except OSError as error:
            raise RunError(
                f"{folder} cannot be used: {error.strerror}. {other_folder_hint()}"
            ) from error
        try:
            _lock(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
                reason = f"its file system has no locks ({error.strerror})"
                raise RunError(f"{folder} cannot be used: {reason}. Use a local disk.") from error
            raise RunError(
                f"{folder} is in use by another study that is running. "
                f"Wait for it, or stop it. {other_folder_hint()}"
            ) from error

    def close(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if sys.platform == "win32":
    import msvcrt

    def _open(folder: Path) -> int:
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT)

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _open(folder: Path) -> int:
        return os.open(folder, os.O_RDONLY)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
