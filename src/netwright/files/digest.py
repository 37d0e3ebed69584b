"""Digests by which large files, and the code of objects, are told apart."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

from netwright.errors import InputError, expected

_DIGESTED_BYTES = 1 << 25
"""Bytes that the digest covers: enough to tell tables apart, and quick."""


def digest_of_beginning(file: Path) -> str:
    """Return the file's size, and the SHA-256 of its beginning; InputError if there is none."""
    if not file.is_file():
        raise InputError(expected("table", "a file that exists", str(file)))
    with file.open("rb") as opened:
        beginning = hashlib.sha256(opened.read(_DIGESTED_BYTES)).hexdigest()[:16]
    return f"{file.stat().st_size} {beginning}"


def digest_of_sources(coded: object) -> str:
    """Return 12 hex digits: hash of the source files of a class, a function or an object.

    With those of base classes and of callables among its attributes; empty if it has no files.
    """
    contents = [file.read_bytes() for file in sorted(_source_files(coded))]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:12] if contents else ""


def _source_files(coded: object, seen: frozenset[int] = frozenset()) -> set[Path]:
    """Return the source files of a class or function, its bases, and the callables inside it."""
    if id(coded) in seen:
        return set()
    if isinstance(coded, partial):
        coded = [coded.func, coded.args, coded.keywords]
    if isinstance(coded, Mapping):
        coded = [*coded.values()]
    if isinstance(coded, list | tuple):
        return set().union(*(_source_files(child, seen) for child in coded))
    if not callable(coded):
        return set()
    if isinstance(coded, type) or inspect.isroutine(coded):
        return _definition_files(coded)
    attributes = [*getattr(coded, "__dict__", {}).values()]
    own_files = _definition_files(type(coded))
    return own_files | _source_files(attributes, seen | {id(coded)})


def _definition_files(definition: object) -> set[Path]:
    """Return the files that a function, or a class and its bases, are defined in."""
    classes = getattr(definition, "__mro__", [definition])
    return {file for each in classes for file in _definition_file(each)}


def _definition_file(definition: object) -> list[Path]:
    """Return the file of one class or function; none if it is Python's own or has no file."""
    if str(definition.__module__).partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        return []
    try:
        file = Path(inspect.getsourcefile(cast(type, definition)) or "")
    except TypeError:  # compiled, or typed at a prompt
        return []
    return [file] if file.is_file() else []
