"""Messages between a study and its workers: bytes, each led by its length."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

_LENGTH = struct.Struct(">Q")
_CHUNK = 1 << 16


def frame(message: bytes) -> bytes:
    """A message as it crosses the pipe."""
    return _LENGTH.pack(len(message)) + message


def read_message(descriptor: int) -> bytes | None:
    """Waits for the next message; None at the end of the pipe."""
    head = _read_exactly(descriptor, _LENGTH.size)
    return None if head is None else _read_exactly(descriptor, _LENGTH.unpack(head)[0])


def write_message(descriptor: int, message: bytes) -> None:
    """Writes a message whole, however long that takes."""
    rest = memoryview(frame(message))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_exactly(descriptor: int, length: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < length:
        part = os.read(descriptor, min(length - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


class Mailbox:
    """The study's end of a worker's two pipes; it never waits, as a worker may be stopped."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self.ended = False
        self._received = bytearray()
        self._unsent: list[memoryview] = []

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` has something to do once `writing` takes more."""
        return bool(self._unsent)

    def send(self, *parts: bytes) -> None:
        """Queues one message, given in parts so that a large one is not copied."""
        self._unsent.append(memoryview(_LENGTH.pack(sum(map(len, parts)))))
        self._unsent += map(memoryview, parts)
        self.flush()

    def flush(self) -> None:
        """Writes what the pipe takes now; a worker that is gone takes everything."""
        try:
            while self._unsent:
                part = self._unsent[0]
                self._unsent[0] = part[os.write(self.writing, part) :]
                if not self._unsent[0]:
                    self._unsent.pop(0)
        except BlockingIOError:
            pass
        except OSError:  # the guard will tell
            self._unsent.clear()

    def receive(self) -> Iterator[bytes]:
        """The messages that have arrived whole."""
        with contextlib.suppress(OSError):  # BlockingIOError: nothing more for now
            while part := os.read(self.reading, _CHUNK):
                self._received += part
            self.ended = True
        while len(self._received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            message = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            yield message

    def close(self) -> None:
        """Closes both ends here."""
        self._unsent.clear()
        os.close(self.reading)
        os.close(self.writing)
