"""Access to files below an untrusted folder: no link below it is ever followed.

Paths are resolved name by name relative to a descriptor of the folder (``openat``), each name with
``O_NOFOLLOW``; only regular files are read. Where the system has no such calls (Windows), links are
refused by looking at each name first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from netwright.errors import BrokenFile, Phrase, expected

MAX_FILE_BYTES = 1 << 31
"""The default limit on files that are read whole: 2 GiB."""
MAX_NAMES = 1_000_000
"""Entries of one folder that are listed; a folder with more is refused."""

_BY_DESCRIPTOR = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NEVER_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# a pipe or a device must not block; O_BINARY is Windows's
_READ_FLAGS = (
    os.O_RDONLY | _NEVER_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NEVER_FOLLOW | getattr(os, "O_BINARY", 0)
_COPY_BUFFER_BYTES = 1 << 20

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"), (stat.S_ISBLK, "a device"), (stat.S_ISCHR, "a device"),
)  # fmt: skip


@dataclass(frozen=True)
class _Opened:
    """An open folder: names are given to the system relative to it."""

    descriptor: int | None
    path: Path

    def at(self, name: str) -> str:
        """Return the name as system calls take it together with `descriptor`."""
        return name if self.descriptor is not None else str(self.path / name)

    def look(self, name: str) -> os.stat_result:
        """Return the status of an entry, of a link itself and not its target."""
        return os.stat(self.at(name), dir_fd=self.descriptor, follow_symlinks=False)

    def list(self) -> list[str]:
        where = self.path if self.descriptor is None else self.descriptor
        return os.listdir(where)  # noqa: PTH208  # pathlib takes no descriptors


@dataclass(frozen=True)
class Folder:
    """A folder whose contents are not trusted.

    Args:
        root: Its path; may be reached through links.
        below: Names from there on, none of which may be a link.
    """

    root: Path
    below: tuple[str, ...] = ()

    @classmethod
    def of(cls, path_or_folder: Path | Folder) -> Folder:
        """Return a folder as it is, and a path as the root of one."""
        return path_or_folder if isinstance(path_or_folder, Folder) else cls(path_or_folder)

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.root, (*self.below, _plain(name)))

    @property
    def path(self) -> Path:
        """The path, for messages, and for writers into a new folder."""
        return self.root.joinpath(*self.below)

    def __str__(self) -> str:
        return str(self.path)

    # Looking

    @property
    def is_there(self) -> bool:
        """Whether it exists and is a folder, not a link."""
        try:
            with self._opened():
                return True
        except OSError:
            return False

    def has(self, name: str) -> bool:
        """Return whether the folder has an entry of this name, even a link or a pipe."""
        return self._look(name) is not None

    def has_file(self, name: str) -> bool:
        """Return whether `name` is a regular file."""
        status = self._look(name)
        return status is not None and stat.S_ISREG(status.st_mode)

    def names(self) -> list[str]:
        """Return the sorted names in it; none if the folder is missing or a link."""
        try:
            with self._opened() as opened:
                entries = opened.list()
        except OSError:
            return []
        if len(entries) > MAX_NAMES:
            rule = f"a folder of at most {MAX_NAMES:,} files"
            raise BrokenFile(expected(str(self), rule, Phrase("more")))
        return sorted(entries)

    def size(self, name: str) -> int:
        """Return the size of a regular file in bytes; 0 if there is none."""
        status = self._look(name)
        return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0

    def links(self, name: str) -> int:
        """Return the number of hard links to a regular file; 0 if there is none."""
        status = self._look(name)
        return status.st_nlink if status is not None and stat.S_ISREG(status.st_mode) else 0

    def ends_with(self, name: str, ending: bytes) -> bool:
        """Return whether a regular file ends with these bytes. Raises BrokenFile as `read` does."""
        with self._file(name) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - len(ending)))
            return file.read(len(ending)) == ending

    def check(self, name: str) -> None:
        """Raise BrokenFile unless `name` is absent or a regular file."""
        status = self._look(name)
        if status is not None:
            self._refuse(name, status.st_mode)

    # Reading

    def read(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the bytes of a regular file.

        Raises:
            BrokenFile: It is missing, empty, not a regular file, larger than `max_bytes`, or cannot
                be read.
        """
        with self._file(name) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                content = file.read(max_bytes + 1) if size <= max_bytes else b""
            except OSError as error:
                reason = error.strerror or str(error)
                raise BrokenFile(f"{self.path / name} cannot be read: {reason}.") from error
        if size > max_bytes or len(content) > max_bytes:
            rule = f"at most {max_bytes:,} bytes"
            raise BrokenFile(expected(str(self.path / name), rule, Phrase(f"{size:,}")))
        if not content:
            raise BrokenFile(
                expected(str(self.path / name), "a whole file", Phrase("an empty one"))
            )
        return content

    def copy(self, name: str, target: Folder, new_name: str, *, sync: bool = False) -> None:
        """Copy a regular file; the copy is complete or does not exist."""
        with self._file(name) as file:

            def fill(new: BinaryIO) -> None:
                shutil.copyfileobj(file, new, _COPY_BUFFER_BYTES)

            target.write_with(new_name, fill, sync=sync)

    # Writing

    def make(self, *, replaces_links: bool = False) -> None:
        """Create the folder and those above it.

        Args:
            replaces_links: delete a link of the folder's own name; its target is left alone.

        Raises:
            BrokenFile: A link or a file has the name.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        for depth, name in enumerate(self.below):
            above, is_last = Folder(self.root, self.below[:depth]), depth == len(self.below) - 1
            with above._opened() as opened:
                with contextlib.suppress(FileNotFoundError):
                    mode = opened.look(name).st_mode
                    if replaces_links and is_last and not stat.S_ISDIR(mode):
                        os.unlink(opened.at(name), dir_fd=opened.descriptor)
                    elif not stat.S_ISDIR(mode):
                        fix = "Remove it, or use another run folder."
                        got = Phrase(_kind(mode))
                        raise BrokenFile(expected(str(above.path / name), "a folder", got, fix))
                with contextlib.suppress(FileExistsError):
                    os.mkdir(opened.at(name), dir_fd=opened.descriptor)

    def write(self, name: str, content: bytes | str, *, sync: bool = False) -> None:
        """Replace a file atomically: readers see the old file or the new one.

        Args:
            name: of the file.
            content: texts are encoded as UTF-8.
            sync: wait until it is on the disk.
        """
        encoded = content.encode() if isinstance(content, str) else content
        self.write_with(name, lambda file: file.write(encoded), sync=sync)

    def write_with(
        self, name: str, fill: Callable[[BinaryIO], object], *, sync: bool = False
    ) -> None:
        """Replace a file as `write` does, with what `fill` writes to the new file."""
        with self._opened() as opened:
            new = f".{_plain(name)}.part"
            with contextlib.suppress(FileNotFoundError):  # of a write that was killed
                os.unlink(opened.at(new), dir_fd=opened.descriptor)
            descriptor = os.open(opened.at(new), _NEW_FLAGS, 0o666, dir_fd=opened.descriptor)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    fill(file)
                    if sync:
                        file.flush()
                        os.fsync(file.fileno())
                    written = os.fstat(file.fileno())
                _refuse_other(written, opened.look(new), name)
                os.replace(  # pathlib takes no descriptors
                    opened.at(new),
                    opened.at(name),
                    src_dir_fd=opened.descriptor,
                    dst_dir_fd=opened.descriptor,
                )
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(opened.at(new), dir_fd=opened.descriptor)
                raise
        if sync:
            self._sync_names()

    def sync(self) -> None:
        """Flush all files in it to disk, and its own name; links are not followed.

        Does not wait for a folder without files.
        """
        if self._sync_files() and self.below:
            Folder(self.root, self.below[:-1])._sync_names()

    def _sync_files(self) -> bool:
        """Flush all files; return whether there was one, at any depth."""
        holds_files = False
        for name in self.names():
            if self.has_file(name):
                holds_files = True
                with contextlib.suppress(BrokenFile), self._file(name) as file:  # deleted meanwhile
                    os.fsync(file.fileno())
            else:
                holds_files |= (self / name)._sync_files()
        if holds_files:
            self._sync_names()
        return holds_files

    def _sync_names(self) -> None:
        """Flush the folder's list of names; impossible on Windows, which opens no folders."""
        with contextlib.suppress(FileNotFoundError), self._opened() as opened:
            if opened.descriptor is not None:
                os.fsync(opened.descriptor)

    # Deleting

    def remove(self, name: str) -> None:
        """Delete an entry: a folder with its contents, a link itself but not its target."""
        with contextlib.suppress(FileNotFoundError), self._opened() as opened:
            if stat.S_ISDIR(opened.look(name).st_mode):
                shutil.rmtree(opened.at(name), ignore_errors=True, dir_fd=opened.descriptor)
            else:
                os.unlink(opened.at(name), dir_fd=opened.descriptor)

    def clear(self, keep: Collection[str] = ()) -> None:
        """Delete everything in it except the names in `keep`; do nothing if it is a link."""
        for name in self.names():
            if name not in keep:
                self.remove(name)

    # Inside

    @contextlib.contextmanager
    def _opened(self) -> Iterator[_Opened]:
        """Open the folder name by name; raise OSError if one of them is a link or missing."""
        if not _BY_DESCRIPTOR:
            path = self.root
            for name in self.below:
                path /= name
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
            yield _Opened(None, path)
            return
        descriptor = os.open(self.root, _FOLDER_FLAGS)
        try:
            for name in self.below:
                deeper = os.open(name, _FOLDER_FLAGS | _NEVER_FOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
            yield _Opened(descriptor, self.path)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[BinaryIO]:
        """Open a regular file for reading; raise BrokenFile for anything else."""
        path = self.path / _plain(name)
        try:
            with self._opened() as opened:
                self._refuse(name, opened.look(name).st_mode)  # opening a device may do something
                file = os.fdopen(
                    os.open(opened.at(name), _READ_FLAGS, dir_fd=opened.descriptor), "rb"
                )
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                reason = "it is reached through a link or a file"
            raise BrokenFile(f"{path} cannot be read: {reason}.") from error
        with file:
            self._refuse(name, os.fstat(file.fileno()).st_mode)
            yield file

    def _look(self, name: str) -> os.stat_result | None:
        try:
            with self._opened() as opened:
                return opened.look(_plain(name))
        except OSError:
            return None

    def _refuse(self, name: str, mode: int) -> None:
        if not stat.S_ISREG(mode):
            raise BrokenFile(expected(str(self.path / name), "a file", Phrase(_kind(mode))))


def _refuse_other(written: os.stat_result, present: os.stat_result, name: str) -> None:
    """Raise OSError if another process has begun to write the same file."""
    if not os.path.samestat(written, present):
        raise FileExistsError(errno.EEXIST, "another process is writing it", name)


def _plain(name: str) -> str:
    """Return the name of one entry; raise ValueError for a path that leads elsewhere."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or os.sep in name:
        raise ValueError(expected("a file's name", "one name", name))
    return name


def _kind(mode: int) -> str:
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "a file")
