"""Arrays of .npz files, judged by their headers before anything is allocated."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import listed
from netwright.data.memory import refuse_if_larger
from netwright.errors import InputError, expected, quoted

_ENDING = ".npy"
_MAX_HEADER_BYTES = 10_000
"""numpy's own bound; it reads a header before it compares."""
_ENCRYPTED = 0x1
"""The bit of a zip member's flags that says so."""


@dataclass(frozen=True)
class _Member:
    """An array in an archive, as the header inside its file describes it."""

    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(
    path: Path, names: Collection[str], expected_unused: Collection[str] = ()
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The arrays called `names`, of those that the file holds, and a note of what is not used.

    Nothing is said of `expected_unused`. Names are compared in small letters. Raises InputError,
    naming the file, where one of these arrays is broken, not plain, or does not fit into the bound
    of memory; others are not opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = _infos(archive.infolist(), path)
            members = {name: _member(archive, infos[name], path) for name in infos if name in names}
            total = sum(member.nbytes for member in members.values())
            refuse_if_larger(total, f"{path} unpacked", "Take a part of its rows.")
            arrays = {name: _array(archive, member, path) for name, member in members.items()}
    except InputError:
        raise
    except zipfile.BadZipFile:
        raise InputError(
            f"{path} must be an .npz file of plain arrays, got {_what_else(path)}. Save it again "
            "with numpy.savez."
        ) from None
    except Exception as error:  # zip and its packers raise nearly anything on broken files
        raise _unreadable(path, error) from None
    unused = [name for name in infos if name not in arrays and name not in expected_unused]
    foreign = [info.filename for info in archive.infolist() if not _is_array(info)]
    return arrays, _unused_notes(path, unused, foreign)


def npz_names(path: Path) -> list[str]:
    """The names of the arrays in a file, in small letters."""
    try:
        with zipfile.ZipFile(path) as archive:
            return list(_infos(archive.infolist(), path))
    except InputError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError):
        raise InputError(
            f"{path} must be an .npz file of plain arrays, got {_what_else(path)}. Save it again "
            "with numpy.savez."
        ) from None


def _infos(infos: Iterable[zipfile.ZipInfo], path: Path) -> Mapping[str, zipfile.ZipInfo]:
    """The members that are arrays, by their names in small letters."""
    by_name: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if not _is_array(info):
            continue
        name = info.filename[: -len(_ENDING)].lower()
        if name in by_name:
            raise InputError(
                expected(f"arrays of {path}", "called differently", name, "Two have this name.")
            )
        by_name[name] = info
    return by_name


def _is_array(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(_ENDING) and "/" not in info.filename


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Member:
    """A member by its header; InputError where it is not plain or disagrees with its size."""
    what = f"the array {info.filename[: -len(_ENDING)]} of {path}"
    if info.flag_bits & _ENCRYPTED:
        raise InputError(f"{what} must not be encrypted. Save it again without a password.")
    with archive.open(info) as file:
        _refuse_long_header(file, what)
    with archive.open(info) as file:
        shape, dtype = _header(file)
        begins = file.tell()
    if dtype.hasobject or dtype.names or dtype.subdtype:
        fix = "Save plain arrays, such as x.astype(np.float32)."
        raise InputError(
            f"{what} must hold plain numbers or texts, got {quoted(str(dtype))}. {fix}"
        )
    member = _Member(info, shape, dtype)
    refuse_if_larger(member.nbytes, f"{what}, of shape {_shape_text(shape)},", "Take a part of it.")
    if member.nbytes != info.file_size - begins:
        raise InputError(
            f"{what} must hold as many bytes as its header says ({member.nbytes:,}), got "
            f"{info.file_size - begins:,}. Save the file again."
        )
    return member


def _refuse_long_header(file: IO[bytes], what: str) -> None:
    """InputError where a header is longer than that of any plain array: it would be read whole."""
    major, _ = np.lib.format.read_magic(file)
    length = int.from_bytes(file.read(2 if major == 1 else 4), "little")
    if length > _MAX_HEADER_BYTES:
        raise InputError(
            f"{what} must have a header of at most {_MAX_HEADER_BYTES:,} bytes, got {length:,}. "
            "Save the file again."
        )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    if any(side < 0 for side in shape):
        raise ValueError(f"a shape of {shape}")
    return shape, dtype


def _array(archive: zipfile.ZipFile, member: _Member, path: Path) -> NDArray[Any]:
    with archive.open(member.info) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        file.read()  # to the end, where the checksum is compared
    return array


def _unused_notes(path: Path, unused: list[str], foreign: list[str]) -> tuple[str, ...]:
    notes = []
    if unused:
        arrays = "array" if len(unused) == 1 else "arrays"
        notes.append(f"Left out: {len(unused):,} {arrays} of {path.name} ({listed(unused)}).")
    if foreign:
        entries = "entry" if len(foreign) == 1 else "entries"
        notes.append(
            f"Left out: {len(foreign):,} {entries} of {path.name} that are no arrays "
            f"({listed(foreign)})."
        )
    return tuple(notes)


def _what_else(path: Path) -> str:
    """What a file is that is no archive."""
    with path.open("rb") as file:
        head = file.read(6)
    if head == b"\x93NUMPY":
        return "a single array. Save x and y together: np.savez(file, x=x, y=y)"
    if head[:1] == b"\x80":
        return "a pickle, which could run code. Save plain arrays with np.savez"
    return "a broken archive" if head[:2] == b"PK" else "no archive" if head else "an empty file"


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} must be an .npz file of plain arrays, got one that cannot be read "
        f"({quoted(str(error))}). Save it again with np.savez."
    )


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{side:,}" for side in shape) or "one number"
