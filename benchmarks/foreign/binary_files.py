"""Parquet and .npz files: cut, lying about their size, of types that no table has."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from foreign.case import LARGE, RNG, ROWS, Case, Make, write

_WIDE = LARGE // (8 * ROWS)
"""Columns of float64 with which the rows are too large."""


def _frame(rng: RNG) -> Any:
    import pandas as pd

    x = rng.normal(size=ROWS)
    return pd.DataFrame({"x": x, "z": rng.normal(size=ROWS), "y": np.where(x > 0, "yes", "no")})


def _parquet_bytes(rng: RNG) -> bytes:
    sink = io.BytesIO()
    _frame(rng).to_parquet(sink)
    return sink.getvalue()


def _parquet(change: Any) -> Make:
    """A good parquet file after `change(bytes, rng)`."""
    return lambda folder, rng: write(folder, "rows.parquet", change(_parquet_bytes(rng), rng))


def _garbled(raw: bytes, rng: RNG) -> bytes:
    middle = bytearray(raw)
    middle[8:200] = rng.integers(0, 256, 192).astype(np.uint8).tobytes()
    return bytes(middle)


def _arrow(make: Any) -> Make:
    """A parquet file of the arrow table that `make(frame, rng)` gives."""

    def made(folder: Path, rng: RNG) -> Path:
        from pyarrow import parquet

        parquet.write_table(make(_frame(rng), rng), folder / "rows.parquet")
        return folder / "rows.parquet"

    return made


def _nested(frame: Any, rng: RNG) -> Any:
    import pyarrow as pa

    lists = [[1, 2]] * len(frame)
    structs = [{"a": 1}] * len(frame)
    return pa.table({"x": frame["x"], "lists": lists, "structs": structs, "y": frame["y"]})


def _same_names(frame: Any, rng: RNG) -> Any:
    import pyarrow as pa

    arrays = [pa.array(frame["x"]), pa.array(frame["z"]), pa.array(frame["y"])]
    return pa.Table.from_arrays(arrays, names=["x", "x", "y"])


def _rowless(frame: Any, rng: RNG) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame[:0])


def _odd_types(frame: Any, rng: RNG) -> Any:
    import pyarrow as pa

    raw = pa.array([bytes([i, 255]) for i in range(len(frame))])
    times = pa.array(np.arange(len(frame)), pa.time64("us"))
    return pa.table({"x": frame["x"], "raw": raw, "times": times, "y": frame["y"]})


def _many_rows(folder: Path, rng: RNG) -> Path:
    """A few hundred kilobytes of constant columns, too large in memory."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = 10_000_000
    part = pa.table({"x": np.zeros(rows), "z": np.zeros(rows), "y": np.zeros(rows, np.int64)})
    with parquet.ParquetWriter(folder / "rows.parquet", part.schema) as writer:
        for _ in range(1 + LARGE // (24 * rows)):
            writer.write_table(part)
    return folder / "rows.parquet"


def _arrays(rng: RNG) -> dict[str, Any]:
    x = rng.normal(size=(ROWS, 3))
    return {"x": x, "y": np.where(x[:, 0] > 0, "yes", "no")}


def _npz(change: Any) -> Make:
    """An archive of the arrays that `change(arrays, rng)` leaves or gives."""

    def make(folder: Path, rng: RNG) -> Path:
        arrays = _arrays(rng)
        changed = change(arrays, rng)
        np.savez(folder / "rows.npz", **(arrays if changed is None else changed))
        return folder / "rows.npz"

    return make


def _npz_bytes(change: Any) -> Make:
    """A good archive after `change(bytes, rng)`."""

    def make(folder: Path, rng: RNG) -> Path:
        path = _npz(lambda arrays, _: None)(folder, rng)
        return write(folder, "rows.npz", change(Path(path).read_bytes(), rng))

    return make


def _declared(shape: tuple[int, ...], data_bytes: int = 64) -> Make:
    """An archive whose x declares this shape, and holds a few bytes, or many zeros."""

    def make(folder: Path, rng: RNG) -> Path:
        head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
        head += " " * (-(len(head) + 11) % 64) + "\n"
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
        path = folder / "rows.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("x.npy", "w", force_zip64=True) as member:
                member.write(start)
                for begin in range(0, data_bytes, 1 << 24):
                    member.write(bytes(min(1 << 24, data_bytes - begin)))
            sink = io.BytesIO()
            np.save(sink, np.arange(shape[0] if shape[0] < 10**6 else ROWS) % 2)
            archive.writestr("y.npy", sink.getvalue())
        return path

    return make


def _encrypted(raw: bytes, rng: RNG) -> bytes:
    """The flag of encryption set in each header of the archive."""
    changed = bytearray(raw)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(mark)
        while place >= 0:
            changed[place + offset] |= 1
            place = changed.find(mark, place + 4)
    return bytes(changed)


def _structured(arrays: dict[str, Any], rng: RNG) -> None:
    pairs = np.zeros(ROWS, [("a", "f8"), ("b", "i4")])
    pairs["a"] = arrays["x"][:, 0]
    arrays["x"] = pairs


def _objects(arrays: dict[str, Any], rng: RNG) -> None:
    arrays["x"] = arrays["x"].astype(object)


def _shape(shape: tuple[int, ...], low: float = 0, high: float = 255, dtype: str = "u1") -> Make:
    """Images, or what is nearly such, beside fitting labels."""

    def change(arrays: dict[str, Any], rng: RNG) -> dict[str, Any]:
        x = rng.uniform(low, high, shape).astype(dtype)
        return {"x": x, "y": np.arange(len(x) if x.ndim else 1) % 2}

    return _npz(change)


def _with(**arrays: Any) -> Make:
    return _npz(lambda good, rng: {**good, **arrays})


def _as_type(dtype: str) -> Make:
    return _npz(lambda arrays, rng: arrays | {"x": arrays["x"].astype(dtype)})


CASES: tuple[Case, ...] = (
    Case("parquet", "cut off", _parquet(lambda raw, rng: raw[: len(raw) // 2]), "refused"),
    Case("parquet", "another magic", _parquet(lambda raw, rng: b"PAR9" + raw[4:-4] + b"PAR9"),
         "refused"),
    Case("parquet", "garbled pages", _parquet(_garbled), "refused"),
    Case("parquet", "a footer of 2 GB", _parquet(lambda raw, rng: raw[:-8] + b"\xff\xff\xff\x7fPAR1"),
         "refused"),
    Case("parquet", "nothing", _parquet(lambda raw, rng: b""), "refused"),
    Case("parquet", "nested columns", _arrow(_nested)),
    Case("parquet", "one name twice", _arrow(_same_names), "refused"),
    Case("parquet", "no rows", _arrow(_rowless), "refused"),
    Case("parquet", "bytes and times of day", _arrow(_odd_types)),
    Case("parquet", "hundreds of millions of rows", _many_rows, "refused"),
    Case("npz", "a good one", _npz(lambda arrays, rng: None), "read", f"{ROWS} rows", target=""),
    Case("npz", "a header of 2^50", _declared((2**50,)), "refused", target=""),
    Case("npz", "a header of 2^50 in two axes", _declared((2**25, 2**25)), "refused", target=""),
    Case("npz", "a negative header", _declared((-1, 3)), "refused", target=""),
    Case("npz", "a bomb", _declared((ROWS, _WIDE), 8 * ROWS * _WIDE), "refused", target=""),
    Case("npz", "objects", _npz(_objects), "refused", target=""),
    Case("npz", "encrypted", _npz_bytes(_encrypted), "refused", target=""),
    Case("npz", "no y", _npz(lambda a, r: {"x": a["x"]}), "refused", target=""),
    Case("npz", "no zip", _npz_bytes(lambda raw, r: r.bytes(len(raw))), "refused", target=""),
    Case("npz", "cut off", _npz_bytes(lambda raw, r: raw[: len(raw) // 2]), "refused", target=""),
    Case("npz", "a broken checksum",
         _npz_bytes(lambda raw, r: raw[:300] + bytes(b ^ 255 for b in raw[300:340]) + raw[340:]),
         "refused", target=""),
    Case("npz", "y of another length", _with(y=np.arange(7) % 2), "refused", target=""),
    Case("npz", "Fortran order",
         _npz(lambda a, r: a | {"x": np.asfortranarray(a["x"])}), "read", f"{ROWS} rows", target=""),
    Case("npz", "big-endian", _as_type(">f4"), "read", f"{ROWS} rows", target=""),
    Case("npz", "float16", _as_type("f2"), "read", f"{ROWS} rows", target=""),
    Case("npz", "complex", _as_type("c16"), "refused", target=""),
    Case("npz", "fields", _npz(_structured), target=""),
    Case("npz", "a single number", _with(x=np.float64(3), y=np.float64(1)), "refused", target=""),
    Case("npz", "no rows", _with(x=np.zeros((0, 3)), y=np.zeros(0)), "refused", target=""),
    Case("npz", "no columns", _with(x=np.zeros((ROWS, 0)), y=np.arange(ROWS) % 2), "refused",
         target=""),
    Case("npz", "images of five axes", _shape((20, 3, 3, 3, 3)), "refused", target=""),
    Case("npz", "images below zero", _shape((20, 6, 6), -90, 90, "f4"), target=""),
    Case("npz", "images of no pixels", _shape((20, 0, 6)), "refused", target=""),
    Case("npz", "images of 80 channels", _shape((20, 6, 6, 80)), "refused", target=""),
    Case("npz", "images of 2^50 to predict", _declared((2**20, 2**15, 2**15)), "refused",
         target="", door="predict"),
    Case("npz", "a header of 2^50, by task", _declared((2**50,)), "refused", target="", door="task"),
)  # fmt: skip
