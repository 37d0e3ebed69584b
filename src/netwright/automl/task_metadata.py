"""What a space and a schedule need to know of a task."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images, Task, TaskKind
from netwright.errors import BrokenFile, expected
from netwright.files.json_files import from_plain, parse
from netwright.pipelines.weighted_ensemble import MAX_FOLDS

SMALL_TABLE_ROWS = 3_000
"""Below, folds are cheap, estimates poor, and networks do well."""
_SKEWED = 1.0
_MAX_COUNT = 10**12
"""Rows, columns and classes of a task; memory bounds them long before."""
_MAX_SIDE = 65_535
"""Pixels of a side of an image, and its channels."""


@dataclass(frozen=True)
class TaskMetadata:
    """What a space and a schedule need to know of a task; kept with the run, to be read alone.

    `rows`: training rows; `image`: height, width and channels, None for a table. Of a table:
    `columns`, how many are `categorical`, `classes` (0 for regression), whether logarithms of the
    target are worth a try (`logs`), and what the search was told: `folds`, `families`, empty
    for all there are, and `space`, a name of the user's own, empty for the one that suits the task.
    """

    kind: TaskKind
    rows: int
    image: tuple[int, int, int] | None = None
    columns: int = 0
    categorical: int = 0
    classes: int = 0
    logs: bool = False
    folds: int = 0
    space: str = ""
    families: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Task) -> TaskMetadata:
        if isinstance(task.features, Images):
            return cls(task.kind, len(task.train), task.features.shape)
        kinds = [column.kind for column in task.features.columns]
        return cls(
            task.kind, len(task.train), columns=len(kinds),
            categorical=sum(kind in ("category", "boolean") for kind in kinds),
            classes=len(task.classes), logs=task.kind == "regression" and _skewed(task.target),
        )  # fmt: skip

    def json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, what: str = "the run") -> TaskMetadata:
        """The inverse of `json`. Raises RunError, which names `what`, for anything else."""
        name = f"the task of {what}"
        brief = from_plain(parse(text, name), cls, name)
        counts = [brief.rows, brief.columns, brief.categorical, brief.classes, *(brief.image or ())]
        if (
            not all(0 <= count <= _MAX_COUNT for count in counts)
            or not 0 <= brief.folds <= MAX_FOLDS
        ):
            raise BrokenFile(expected(name, "of plausible sizes", brief))
        if brief.image and not all(1 <= side <= _MAX_SIDE for side in brief.image):
            raise BrokenFile(expected(f"image of {name}", "of plausible sizes", brief.image))
        return brief


def _skewed(target: NDArray[np.float64]) -> bool:
    """Whether the target is positive with a long tail above, that logarithms would shorten."""
    if target.min() <= 0 or target.std() == 0:
        return False
    return float((((target - target.mean()) / target.std()) ** 3).mean()) > _SKEWED


def epochs(rows: int, most: int) -> int:
    """Passes over the rows: some 600,000 rows in all, within 4 to `most` passes.

    Small data takes more than `most`: 25,000 rows in all, at most 400 passes.
    """
    many = min(400, round(25_000 / max(1, rows)))
    return max(4, min(most, round(6e5 / max(1, rows))), many)


def patience(passes: int) -> int:
    """Epochs to wait for a better one: a quarter of them."""
    return max(12, passes // 4)
