"""Malformed and foreign files: read rightly, or refused in one line that names them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netwright as nw
from benchmark_scripts import benchmark_module
from netwright.cli.app import main
from netwright.data.task import summary

MODULES = ("text_files", "binary_files", "image_folders", "other_data")
CASES = {
    (case.kind, case.name): case
    for module in MODULES
    for case in benchmark_module("foreign", module).CASES
}
READ = (
    ("csv", "sep=; in the first line"),
    ("csv", "comments before the header"),
    ("csv", "UTF-16 with a mark"),
    ("gzip", "a good one"),
    ("npz", "big-endian"),
    ("image", ".jfif"),
    ("image", "AVIF"),
    ("folder", "links in a circle"),
    ("folder", "called data.csv"),
)
REFUSED = (
    ("csv", "a longer line"),
    ("csv", "nothing"),
    ("gzip", "cut off"),
    ("parquet", "another magic"),
    ("npz", "a header of 2^50"),
    ("npz", "encrypted"),
    ("npz", "objects"),
    ("image", "4 gigapixels declared"),
    ("folder", "one class"),
    ("other", ".xlsx"),
    ("other", ".json"),
    ("other", "a pattern of files"),
    ("other", "a pipe"),
    ("other", "/dev/zero"),
)
pytestmark = pytest.mark.timeout(60)  # a pipe or a device must not hold anybody up


@pytest.mark.parametrize("name", READ, ids=": ".join)
def test_foreign_files_are_read(name: tuple[str, str], tmp_path: Path) -> None:
    case, content = made(name, tmp_path)
    target = [case.target] if case.target else []
    assert case.shows in summary(nw.task(content, *target))


@pytest.mark.parametrize("name", REFUSED, ids=": ".join)
def test_malformed_files_are_refused_with_a_fix(name: tuple[str, str], tmp_path: Path) -> None:
    case, content = made(name, tmp_path)
    flags = ["--target", case.target] if case.target else []
    err = io.StringIO()
    with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main(["fit", str(content), *flags, "--trials", "1", "--run", str(tmp_path / "run")])
    assert end.value.code == 2, err.getvalue()
    assert not benchmark_module("foreign", "verdict").bad_sentence(
        err.getvalue(), case.named or Path(content).name
    )


def made(name: tuple[str, str], folder: Path) -> tuple[Any, Path | str]:
    """The case and its file, in a folder of its own."""
    case = CASES[name]
    (folder / "data").mkdir()
    return case, case.make(folder / "data", np.random.default_rng(19))
