"""Default configurations of networks for images, which are compared before the search begins.

The first is the fixed fast recipe of Jordan (2024, 2404.00498), with fewer channels: a whitened
stem, three stages of two plain convolutions, Muon, label smoothing, shifts and alternating flips.
The others see the data in another way, or leave out what data may contradict; each with the recipe
that suits it.
"""

from __future__ import annotations

from netwright.automl.image.space import N_STAGES, has_codes
from netwright.automl.task_metadata import TaskMetadata
from netwright.space.candidate import Candidate, Value

SEARCH_WIDTH = 16
"""Channels of the first stage while candidates are compared, and where no clock is read: most epochs
in the same time."""

_RECIPE: dict[str, Value] = {
    "model.lr": 0.12, "model.batch_size": 125, "model.optimizer": "muon",
    "model.optimizer.muon.weight_decay": 0.0, "model.optimizer.muon.head_factor": 0.25,
    "model.schedule": "LinearDecay", "model.augment": "shift_flip", "model.label_smoothing": 0.2,
    "model.class_weight": "none",
}  # fmt: skip
_TOWER_RECIPE: dict[str, Value] = {
    "model.batch_size": 64, "model.label_smoothing": 0.0, "model.optimizer.muon.head_factor": 0.8,
}  # fmt: skip


def fast_config(width: int) -> dict[str, Value]:
    """Return the decisions of the default: stages of `width`, 4 and 4 times as many channels."""
    decisions = _RECIPE | {
        "view": "pixels", "activation": "silu", "normalisation": "batch_bias", "head": "max",
        "dropout": 0.0, "score_factor": "1/9", "view.pixels.0": "pixels",
        "view.pixels.1": "whitened", "view.channels.0.body.0": "whitened",
        "view.codes.1": "means", "axial_kernel": 5,
    }  # fmt: skip
    for stage in range(1, N_STAGES + 1):
        decisions |= {
            f"width_{stage}": width if stage == 1 else 4 * width,
            f"view.pixels.{stage + 1}.1.each": "plain",
        }
        repeats = (
            f"pixels.{stage + 1}.1", f"rows.{stage}.2", f"columns.{stage}.2",
            f"channels.0.body.{stage}.1", f"codes.{stage + 1}.1",
        )  # fmt: skip
        decisions |= {f"view.{repeat}.times": 1 for repeat in repeats}
    return decisions


RARE_CLASS_METRICS = ("balanced_accuracy", "f1")
"""Metrics to which all classes count the same, however rare they are."""


def image_configs(metadata: TaskMetadata, metric: str = "") -> list[dict[str, Value]]:
    """Return the configurations to compare: the default, then others by what they may change.

    Args:
        metadata: of the task.
        metric: the first objective; with one of `RARE_CLASS_METRICS` balanced classes are compared.
    """
    assert metadata.image is not None
    default = fast_config(SEARCH_WIDTH)
    configs = [
        default,
        default | {"model.augment": "shift"},
        default | {"model.augment": "none"},
        default | {"view": "rows", "model.augment": "none"},
        default | {"view": "columns", "model.augment": "none"},
    ]
    if metadata.image[2] > 1:  # half as wide, since it runs once for each channel
        tower = fast_config(SEARCH_WIDTH // 2) | _TOWER_RECIPE | {"view": "channels"}
        configs.insert(1, tower | {"view.channels.0.combine": "sum_product"})
    if metric in RARE_CLASS_METRICS:
        configs.insert(1, default | {"model.class_weight": "balanced"})
    if has_codes(metadata):
        configs.insert(1, default | {"view": "codes", "model.augment": "none"})
    return [
        *configs,
        default | {"head": "flatten", "score_factor": "1"},
        default | {"model.augment": "all_flips"},
    ]


_EDITS: dict[str, tuple[Value, ...]] = {
    "model.augment": ("all", "shift_cutout", "cutout", "shift_flip", "flip", "shift", "none"),
    "axial_kernel": (9,),
}
"""Path -> decisions to try once the view of the data is known. What pays late, such as depth, width
and smoothing, is not among them: short trainings say the wrong thing about it."""


def image_edits(candidate: Candidate) -> list[Candidate]:
    """Return candidates that differ from one by a single decision of `_EDITS`."""
    return [
        Candidate({**candidate.values, path: decision})
        for path, decisions in _EDITS.items()
        for decision in decisions
        if path in candidate.values and candidate.values[path] != decision
    ]
