"""What is written to a deleted file vanishes without an error: a study looks after its own."""

from __future__ import annotations

from pathlib import Path

from netwright.errors import RunError
from netwright.study.storage.run_manifest import new_run_hint


class OpenFiles:
    """The files that a study writes to, to notice when somebody deletes or replaces one."""

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
        f"Leave a run folder alone until its search has ended. {new_run_hint()}"
    )


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
