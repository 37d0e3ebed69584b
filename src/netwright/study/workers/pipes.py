"""Messages between a study and its workers: bytes with a length prefix."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

_LENGTH_PREFIX = struct.Struct(">Q")
_CHUNK_BYTES = 1 << 16
"""Bytes read at once: the capacity of a pipe on Linux."""


def frame(message: bytes) -> bytes:
    """Return a message with its length before it, as it crosses the pipe."""
    return _LENGTH_PREFIX.pack(len(message)) + message


def read_message(descriptor: int) -> bytes | None:
    """Wait for the next message and return it; None at the end of the pipe."""
    prefix = _read_exactly(descriptor, _LENGTH_PREFIX.size)
    return None if prefix is None else _read_exactly(descriptor, _LENGTH_PREFIX.unpack(prefix)[0])


def write_message(descriptor: int, message: bytes) -> None:
    """Write a whole message; wait until the pipe has taken it."""
    unsent = memoryview(frame(message))
    while unsent:
        unsent = unsent[os.write(descriptor, unsent) :]


def _read_exactly(descriptor: int, length: int) -> bytes | None:
    received = bytearray()
    while len(received) < length:
        chunk = os.read(descriptor, min(length - len(received), 1 << 20))
        if not chunk:
            return None
        received += chunk
    return bytes(received)


class WorkerPipes:
    """The study's ends of a worker's two pipes; they never block, since workers may be paused.

    Args:
        reading: descriptor for the worker's messages.
        writing: descriptor for messages to the worker.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self.ended = False
        self._received = bytearray()
        self._unsent: list[memoryview] = []

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` has bytes to write once `writing` is ready."""
        return bool(self._unsent)

    def send(self, *chunks: bytes) -> None:
        """Queue one message, in chunks so that a large one is not copied."""
        self._unsent.append(memoryview(_LENGTH_PREFIX.pack(sum(map(len, chunks)))))
        self._unsent += map(memoryview, chunks)
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe takes now; discard everything if the worker is gone."""
        try:
            while self._unsent:
                chunk = self._unsent[0]
                self._unsent[0] = chunk[os.write(self.writing, chunk) :]
                if not self._unsent[0]:
                    self._unsent.pop(0)
        except BlockingIOError:
            pass
        except OSError:  # the guard reports the worker's end
            self._unsent.clear()

    def receive(self) -> Iterator[bytes]:
        """Yield the messages that have arrived whole."""
        with contextlib.suppress(OSError):  # BlockingIOError: nothing more for now
            while chunk := os.read(self.reading, _CHUNK_BYTES):
                self._received += chunk
            self.ended = True
        while len(self._received) >= _LENGTH_PREFIX.size:
            end = _LENGTH_PREFIX.size + _LENGTH_PREFIX.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            message = bytes(self._received[_LENGTH_PREFIX.size : end])
            del self._received[:end]
            yield message

    def close(self) -> None:
        """Close the study's ends."""
        self._unsent.clear()
        os.close(self.reading)
        os.close(self.writing)
