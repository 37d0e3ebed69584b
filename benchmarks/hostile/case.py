"""What a hostile case is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """`make` turns a copy of the good folder into a hostile one, by its own random generator.

    The folder holds `run/`, `model.onnx`, `images.zip` and `table.csv`. `command`: the arguments of
    `netwright`, with paths relative to the folder.
    """

    name: str
    make: Callable[[Path, random.Random], None]
    command: tuple[str, ...]
