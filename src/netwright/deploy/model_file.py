"""Read model files: regular files alone, without waiting for a pipe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from netwright.errors import InputError, Phrase, expected

MAX_BYTES = 2**31 - 1
"""Largest model file: the limit of protocol buffers."""

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_model(path: Path) -> bytes:
    """Return the bytes of a model file; raise InputError, without waiting, for anything else."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)  # a pipe without a writer would block otherwise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        raise InputError(
            expected("model", "an ONNX file or a run folder with one", str(path))
        ) from None
    except OSError as error:
        got = Phrase(f"one that cannot be read ({error.strerror})")
        raise InputError(expected(str(path), "an ONNX file", got)) from error
    with open(descriptor, "rb") as file:  # noqa: PTH123  # of a descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            got = Phrase("something that is not a regular file")
            raise InputError(expected(str(path), "an ONNX file or a run folder with one", got))
        if status.st_size > MAX_BYTES:
            got = Phrase(f"{status.st_size:,} bytes")
            raise InputError(expected(str(path), "an ONNX file of less than 2 GB", got))
        return file.read(status.st_size)
