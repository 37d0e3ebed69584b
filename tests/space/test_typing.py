"""What a type checker says about descriptions."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETTINGS = """
[mypy]
strict = true
follow_imports = silent
[mypy-numpy.*,torch.*,pandas.*,netwright]
follow_imports = skip
"""

SNIPPET = """
from collections.abc import Mapping
from dataclasses import dataclass
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared, SubsetOf
from netwright.space.space import Space

@dataclass(frozen=True)
class Conv:
    kernel: int
    rate: float = 0.5

@dataclass(frozen=True)
class Net:
    layers: tuple[Conv, ...]

"""

FINE = """
Conv(OneOf(3, 5), rate=Float(0, 1))
Conv(Integer(1, 9), rate=OneOf(0.1, 0.5))
Conv(OneOf({"small": 3, "large": 5}))
Net(Repeat(Conv(OneOf(3, 5)), times=Integer(1, 3)))
Net(Repeat(Shared(Conv(3), "conv"), times=OneOf(1, 3)))
Net(SubsetOf(Conv(3), Conv(5), min_size=1))
chosen: Mapping[str, Conv] = SubsetOf({"a": Conv(3), "b": Conv(5)})
filled: Net = Space(Net((Conv(OneOf(3, 5)),))).fill(Candidate({"layers.0.kernel": 3}))
"""

WRONG = """
Conv(OneOf("a", "b"))
Conv(OneOf(3, "b"))
Conv(OneOf({"small": "3", "large": "5"}))
Conv(Float(0.1, 0.5))
Conv(SubsetOf(3, 5))
Net(Conv(OneOf(3, 5)))
Net(Repeat(3, times=2))
Net(Repeat(Conv(3), times=OneOf("1", "3")))
number: int = Space(Net((Conv(3),))).fill(Candidate({}))
"""


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """The lines of both snippets that mypy objects to."""
    folder = tmp_path_factory.mktemp("typing")
    file = folder / "described.py"
    file.write_text(SNIPPET + FINE + WRONG)
    settings = folder / "mypy.ini"
    settings.write_text(SETTINGS)
    command = [sys.executable, "-m", "mypy", f"--config-file={settings}", f"--cache-dir={folder}"]
    shown = subprocess.run([*command, file.name], cwd=folder, capture_output=True, text=True)
    assert not shown.stderr
    lines = shown.stdout.splitlines()
    return sorted({int(line.split(":")[1]) for line in lines if ": error:" in line})


def lines_of(part: str, before: str) -> list[int]:
    """The numbers of the lines of a part of the file, its first empty one left out."""
    start = before.count("\n") + 2
    return list(range(start, start + part.count("\n") - 1))


def test_an_open_choice_fits_a_field_of_its_options_type(errors: list[int]) -> None:
    assert not set(lines_of(FINE, SNIPPET)) & set(errors)


def test_options_of_another_type_are_type_errors(errors: list[int]) -> None:
    assert errors == lines_of(WRONG, SNIPPET + FINE)
