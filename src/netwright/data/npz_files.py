"""Read arrays from .npz files, checking their headers before anything is allocated."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import join_names
from netwright.data.memory import check_fits_in_memory
from netwright.errors import InputError, expected, quoted

_SUFFIX = ".npy"
_MAX_HEADER_BYTES = 10_000
"""numpy's own limit, which it checks only after reading the header."""
_ENCRYPTED_FLAG = 0x1
"""In the flag bits of a zip member."""


@dataclass(frozen=True)
class _Member:
    """An array in an archive, as described by its own header."""

    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(
    path: Path, names: Collection[str], expected_unused: Collection[str] = ()
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Read some arrays of a file.

    Args:
        path: Of the .npz file.
        names: Of the arrays to read, in lower case; those not in the file are skipped.
        expected_unused: Arrays whose presence needs no note.

    Returns:
        Name -> array, and notes on what is not used.

    Raises:
        InputError: One of these arrays is broken, holds objects, or is too large; with the file's
            name. The other arrays are not opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = _array_infos(archive.infolist(), path)
            members = {name: _member(archive, infos[name], path) for name in infos if name in names}
            n_bytes = sum(member.n_bytes for member in members.values())
            check_fits_in_memory(n_bytes, f"{path} unpacked", "Use fewer of its rows.")
            arrays = {name: _array(archive, member) for name, member in members.items()}
    except InputError:
        raise
    except zipfile.BadZipFile:
        raise _not_an_archive_error(path) from None
    except Exception as error:  # zip and its decompressors raise nearly anything on broken files
        raise _unreadable_error(path, error) from None
    unused = [name for name in infos if name not in arrays and name not in expected_unused]
    other_entries = [info.filename for info in archive.infolist() if not _is_array(info)]
    return arrays, _unused_notes(path, unused, other_entries)


def npz_array_names(path: Path) -> list[str]:
    """Return the names of the arrays in a file, in lower case."""
    try:
        with zipfile.ZipFile(path) as archive:
            return list(_array_infos(archive.infolist(), path))
    except InputError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError):
        raise _not_an_archive_error(path) from None


def _array_infos(infos: Iterable[zipfile.ZipInfo], path: Path) -> Mapping[str, zipfile.ZipInfo]:
    """Return the members that are arrays by their names in lower case."""
    by_name: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if not _is_array(info):
            continue
        name = info.filename[: -len(_SUFFIX)].lower()
        if name in by_name:
            fix = "Two have the same name but for upper and lower case."
            raise InputError(expected(f"arrays of {path}", "of different names", name, fix))
        by_name[name] = info
    return by_name


def _is_array(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(_SUFFIX) and "/" not in info.filename


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Member:
    """Read a member's header; raise InputError if it holds objects or contradicts its size."""
    what = f"the array {info.filename[: -len(_SUFFIX)]} of {path}"
    if info.flag_bits & _ENCRYPTED_FLAG:
        raise InputError(f"{what} must not be encrypted. Save it again without a password.")
    with archive.open(info) as file:
        _check_header_length(file, what)
    with archive.open(info) as file:
        shape, dtype = _read_header(file)
        start = file.tell()
    if dtype.hasobject or dtype.names or dtype.subdtype:
        fix = "Save plain arrays, such as x.astype(np.float32)."
        raise InputError(
            f"{what} must hold plain numbers or texts, got {quoted(str(dtype))}. {fix}"
        )
    member = _Member(info, shape, dtype)
    check_fits_in_memory(
        member.n_bytes, f"{what}, of shape {_shape_text(shape)},", "Use fewer of its rows."
    )
    if member.n_bytes != info.file_size - start:
        raise InputError(
            f"{what} must hold as many bytes as its header states ({member.n_bytes:,}), got "
            f"{info.file_size - start:,}. Save the file again."
        )
    return member


def _check_header_length(file: IO[bytes], what: str) -> None:
    """Raise InputError for a header longer than any plain array's; numpy would read it whole."""
    major, _ = np.lib.format.read_magic(file)
    length = int.from_bytes(file.read(2 if major == 1 else 4), "little")
    if length > _MAX_HEADER_BYTES:
        raise InputError(
            f"{what} must have a header of at most {_MAX_HEADER_BYTES:,} bytes, got {length:,}. "
            "Save the file again."
        )


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"a shape of {shape}")
    return shape, dtype


def _array(archive: zipfile.ZipFile, member: _Member) -> NDArray[Any]:
    with archive.open(member.info) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        file.read()  # to the end, where the checksum is compared
    return array


def _unused_notes(path: Path, unused: list[str], other_entries: list[str]) -> tuple[str, ...]:
    notes = []
    if unused:
        arrays = "array" if len(unused) == 1 else "arrays"
        notes.append(f"Skipped {len(unused):,} {arrays} of {path.name} ({join_names(unused)}).")
    if other_entries:
        entries = "entry" if len(other_entries) == 1 else "entries"
        notes.append(
            f"Skipped {len(other_entries):,} {entries} of {path.name} that are no arrays "
            f"({join_names(other_entries)})."
        )
    return tuple(notes)


def _not_an_archive_error(path: Path) -> InputError:
    return InputError(
        f"{path} must be an .npz file of plain arrays, got {_actual_content(path)}. Save it again "
        "with numpy.savez."
    )


def _actual_content(path: Path) -> str:
    """Describe a file that is no zip archive."""
    with path.open("rb") as file:
        head = file.read(6)
    if head == b"\x93NUMPY":
        return "a single array. Save x and y together: np.savez(file, x=x, y=y)"
    if head[:1] == b"\x80":
        return "a pickle, which could run code. Save plain arrays with np.savez"
    return "a broken archive" if head[:2] == b"PK" else "no archive" if head else "an empty file"


def _unreadable_error(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} must be an .npz file of plain arrays, got one that cannot be read "
        f"({quoted(str(error))}). Save it again with numpy.savez."
    )


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{length:,}" for length in shape) or "one number"
