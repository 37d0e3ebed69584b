import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from netwright.errors import BrokenFile
from netwright.files.arrays import read_array, read_tensors
from netwright.files.folder import Folder


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)), np.arange(6.0).reshape(2, 3), np.array(5, np.int32),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), np.array([True, False]),
    ],
)  # fmt: skip
def test_an_array_comes_back(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_array(Folder(tmp_path), "a.npy")
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert (found == array).all()


def head(dtype: str, shape: str) -> bytes:
    return header(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}")


def header(text: str) -> bytes:
    line = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not an array", "numpy's format"),
        (head("<f8", "(3,)"), "24 bytes of numbers, got 0"),
        (head("<f8", "(-3,)"), "an array of a shape"),
        (head("<f8", "(0, 1" + 30 * "0" + ")"), "an array of a shape"),
        (head("|O", "(0,)"), "an array of numbers, got one of object"),
        (head("<U9", "(0,)"), "an array of numbers"),
        (header("__import__('os').getcwd()"), "numpy's format"),
        (header("(" * 118), "numpy's format"),
        (b"\x93NUMPY\x03\x00" + bytes(64), "numpy's format"),
    ],
)  # fmt: skip
def test_invalid_arrays_are_refused(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(BrokenFile, match=f"a.npy must be .*{sentence}"):
        read_array(Folder(tmp_path), "a.npy")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(BrokenFile, match="must be an array of numbers, got one of object"):
        read_array(Folder(tmp_path), "a.npy")


def test_bytes_after_the_array_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with (tmp_path / "a.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BrokenFile, match="must be 24 bytes of numbers, got 28"):
        read_array(Folder(tmp_path), "a.npy")


def test_tensors_come_back(tmp_path: Path) -> None:
    arrays = {"a": np.arange(3.0), "b": np.zeros((2, 0), np.int64), "c": np.array([True])}
    (tmp_path / "a.safetensors").write_bytes(save(arrays, metadata={"record": "[]"}))
    file = read_tensors(Folder(tmp_path), "a.safetensors")
    assert file.metadata == {"record": "[]"}
    found = load(file.content)
    assert found.keys() == arrays.keys()
    assert all((found[name] == arrays[name]).all() for name in arrays)


def tensor(dtype: str, shape: list[object], ends: list[int], length: int = 0) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": ends}
    return tensors({"a": entry}, bytes(length))


def tensors(entries: object, data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"1234", "a safetensors file, got one that is cut off"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "a safetensors file, got one that is cut off"),
        (tensors([]), "a safetensors file"),
        (tensors({"__metadata__": {"a": 1}}), "a safetensors file, got other metadata"),
        (tensors({"a": 3}), "a: a tensor|a must be a tensor"),
        (tensor("X", [1], [0, 4]), "one of F64"),
        (tensor("F32", [True], [0, 4]), "a tensor of numbers"),
        (tensor("F32", [9], [0, 4], 4), "as long as its shape"),
        (tensor("F32", [1], [0, 4], 9), "4 bytes of tensors, got 9"),
        (tensor("F32", [1], [4, 8], 8), "contiguous tensors"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_their_header_are_refused(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(BrokenFile, match=sentence):
        read_tensors(Folder(tmp_path), "a.safetensors")
