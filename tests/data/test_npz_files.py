import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.data.npz_files import npz_array_names, read_npz
from netwright.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 255, (20, 4, 4), dtype=np.uint8)
LABELS = np.arange(20) % 2


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    file = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


def archive(path: Path, packing: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def encrypted(path: Path) -> Path:
    """An archive of which every member claims to be encrypted."""
    content = bytearray(archive(path, x=npy(IMAGES), y=npy(LABELS)).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = content.find(signature)
        while position >= 0:
            content[position + offset] |= 1
            position = content.find(signature, position + 1)
    path.write_bytes(content)
    return path


def test_reads_only_requested_arrays(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", x=npy(IMAGES), y=b"broken", z=header((2**60,)))
    arrays, notes = read_npz(path, {"x"})
    np.testing.assert_array_equal(arrays["x"], IMAGES)
    assert notes == ("Skipped 2 arrays of a.npz (y, z).",)


def test_notes_count_entries_that_are_no_arrays(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", x=npy(IMAGES), y=npy(LABELS))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../x.npy", npy(LABELS))
        file.writestr("run.sh", "exit")
    assert npz_array_names(path) == ["x", "y"]
    assert read_npz(path, {"x", "y"})[1] == (
        "Skipped 2 entries of a.npz that are no arrays (../x.npy, run.sh).",
    )


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_reads_every_zip_compression(packing: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", packing, X=npy(IMAGES), Y=npy(LABELS))
    assert len(task(path).target) == 20


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"x": header((2**50,)) + b"0" * 9}, "of shape 1,125,899,906,842,624, must take at most"),
    ({"x": header((2**25, 2**25), "<f8")}, "must take at most .*GB"),
    ({"x": header((20, 4, 4)) + b"0" * 9}, r"as its header states \(320\), got 9"),
    ({"x": header((20, -4, 4))}, r"cannot be read \('a shape of"),
    ({"x": b"no array"}, "cannot be read .*magic string"),
    ({"x": npy(np.zeros(20, [("a", "f4")]))}, "the array x of .*bad.npz must hold plain numbers"),
    ({"x": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 9}, "got 2,147,483,648"),
    ({"x": npy(IMAGES), "X": npy(IMAGES)}, "of different names, got 'x'"),
]


@pytest.mark.parametrize(("members", "sentence"), BROKEN)
def test_broken_archive_error_names_the_file(
    members: dict[str, bytes], sentence: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "bad.npz", **members, y=npy(LABELS))
    with pytest.raises(InputError, match=sentence) as raised:
        task(path)
    assert "bad.npz" in str(raised.value)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES, y=np.array(["a", None] * 10, object))
    with pytest.raises(
        InputError, match=r"the array y of .*a.npz must hold plain numbers or texts"
    ):
        task(tmp_path / "a.npz")


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"of .*a.npz must not be encrypted"):
        task(encrypted(tmp_path / "a.npz"))


NO_ARCHIVES = [
    (b"", "got an empty file"), (b"hello", "got no archive"), (npy(IMAGES), "got a single array"),
    (pickle.dumps(IMAGES), "got a pickle, which could run code"),
    (b"PK\x03\x04" + bytes(99), "got a broken archive"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), NO_ARCHIVES)
def test_error_says_what_a_non_archive_is(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=f"a.npz must be an .npz file of plain arrays, {sentence}"):
        task(tmp_path / "a.npz")


@pytest.mark.parametrize("offset", range(40, 400, 60))
def test_damaged_archive_raises_input_error(offset: int, tmp_path: Path) -> None:
    content = bytearray(archive(tmp_path / "a.npz", x=npy(IMAGES), y=npy(LABELS)).read_bytes())
    content[offset] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz"):
        task(tmp_path / "a.npz")


SHAPES = [
    ({"x": IMAGES}, "must hold the arrays x_train and y_train, or x and y, got x"),
    (
        {"x": IMAGES, "y": LABELS[:3]},
        "y of a.npz must have one value for each of the 20 rows, got 3",
    ),
    ({"x": IMAGES, "y": np.eye(2)[LABELS]}, r"y of a.npz must be one value .*y.argmax\(1\)"),
    ({"x": LABELS, "y": LABELS}, r"x of a.npz must be a table or images, .*\(20,\)"),
    ({"x": IMAGES[:0], "y": LABELS[:0]}, "a.npz must have rows to learn from"),
    ({"x": IMAGES, "y": np.int64(3)}, "y of a.npz must be one value for each row"),
]


@pytest.mark.parametrize(("arrays", "sentence"), SHAPES)
def test_unsuitable_shapes_are_refused(
    arrays: dict[str, np.ndarray], sentence: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=sentence):
        task(tmp_path / "a.npz")
