"""Model files on disk: read as regular files alone, written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from netwright.errors import InputError, Phrase, expected

MAX_BYTES = 2**31 - 1
"""Of a file: what protocol buffers can hold."""

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_CREATE |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def read_model(path: Path) -> bytes:
    """The bytes of a model file. InputError for whatever else has that name, without waiting."""
    try:
        handle = os.open(path, _READ)  # a pipe without a writer would block otherwise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        raise InputError(
            expected("model", "an ONNX file or a run folder with one", str(path))
        ) from None
    except OSError as error:
        got = Phrase(f"one that cannot be read ({error.strerror})")
        raise InputError(expected(str(path), "an ONNX file", got)) from error
    with open(handle, "rb") as file:  # noqa: PTH123  # of a descriptor
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            got = Phrase("something that is no regular file")
            raise InputError(expected(str(path), "an ONNX file or a run folder with one", got))
        if status.st_size > MAX_BYTES:
            got = Phrase(f"{status.st_size:,} bytes")
            raise InputError(expected(str(path), "an ONNX file of less than 2 GB", got))
        return file.read(status.st_size)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut.

    The bytes are on disk before the file has its name, and the name before this returns. The
    file in the making is created anew: a link in its place is not followed.
    """
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    handle = os.open(part, _CREATE, 0o666)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123  # of a descriptor
            file.write(data)
            file.flush()
            os.fsync(handle)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk; Windows opens no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
