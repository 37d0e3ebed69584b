"""Metadata of a task that search spaces and time allocation depend on."""

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
"""Below this many rows folds are cheap, single-split scores are noisy, and networks do well."""
_MIN_SKEWNESS = 1.0
"""Skewness of a positive target from which its logarithm is worth trying."""
_MAX_COUNT = 10**12
"""Rows, columns and classes of a task; memory runs out long before."""
_MAX_SIDE = 65_535
"""Pixels of a side of an image, and its channels."""


@dataclass(frozen=True)
class TaskMetadata:
    """Metadata of a task; a run keeps it, so that it can be read without the data.

    Args:
        kind: kind of the task.
        rows: number of training rows.
        image: height, width and channels; None for a table.
        pixel_values: number of different levels of the training images; 0 for a table.
        columns: number of columns of a table.
        categorical: how many of the columns are categorical or boolean.
        classes: number of classes; 0 for regression.
        logs: whether predicting the logarithm of the target is worth trying.
        folds: number of folds; 0 for the task's own split, 1 for a holdout.
        space: name of the user's own space; empty for the default space of the task.
        families: families of models to search; empty for all.
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
    pixel_values: int = 0

    @classmethod
    def from_task(cls, task: Task) -> TaskMetadata:
        """Return the metadata of a task, without folds, space and families."""
        if isinstance(task.features, Images):
            counts = np.bincount(task.features.pixels[task.train].ravel(), minlength=256)
            n_classes, n_values = len(task.classes), int((counts > 0).sum())
            return cls(
                task.kind,
                len(task.train),
                task.features.shape,
                classes=n_classes,
                pixel_values=n_values,
            )
        kinds = [column.kind for column in task.features.columns]
        return cls(
            task.kind,
            len(task.train),
            columns=len(kinds),
            categorical=sum(kind in ("category", "boolean") for kind in kinds),
            classes=len(task.classes),
            logs=task.kind == "regression" and _is_skewed(task.target),
        )

    def json(self) -> str:
        """Return the metadata as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, what: str = "the run") -> TaskMetadata:
        """Parse the output of `json`.

        Args:
            text: a JSON object.
            what: where it comes from, which errors name.

        Raises:
            BrokenFile: It is something else, or has implausible sizes.
        """
        name = f"the task of {what}"
        metadata = from_plain(parse(text, name), cls, name)
        counts = [metadata.rows, metadata.columns, metadata.categorical, metadata.classes]
        counts += metadata.image or ()
        if (
            not all(0 <= count <= _MAX_COUNT for count in counts)
            or not 0 <= metadata.folds <= MAX_FOLDS
        ):
            raise BrokenFile(expected(name, "of plausible sizes", metadata))
        if metadata.image and not all(1 <= side <= _MAX_SIDE for side in metadata.image):
            raise BrokenFile(expected(f"image of {name}", "of plausible sizes", metadata.image))
        return metadata


def _is_skewed(target: NDArray[np.float64]) -> bool:
    """Return whether the target is positive with a long right tail, which a logarithm shortens."""
    if target.min() <= 0 or target.std() == 0:
        return False
    skewness = (((target - target.mean()) / target.std()) ** 3).mean()
    return float(skewness) > _MIN_SKEWNESS


def epochs(rows: int, max_epochs: int) -> int:
    """Return the epochs to train on so many rows: about 600,000 rows in all, 4 to `max_epochs`.

    Small data is trained for longer than `max_epochs`: for 25,000 rows in all, at most 400 epochs.
    """
    epochs_of_small_data = min(400, round(25_000 / max(1, rows)))
    return max(4, min(max_epochs, round(6e5 / max(1, rows))), epochs_of_small_data)


def patience(epochs: int) -> int:
    """Return the epochs to wait for an improvement: a quarter of all, at least 12."""
    return max(12, epochs // 4)
