from __future__ import annotations

import pytest

from netwright.automl.portfolio import portfolio
from netwright.automl.spaces import space_for
from netwright.automl.task_metadata import TaskMetadata
from netwright.pipelines.interfaces import Learner
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.trees.boosting import CatBoost, HistogramBoosting, LightGBM, XGBoost
from netwright.pipelines.trees.forests import ExtraTrees
from netwright.report.describe import summary


@pytest.mark.parametrize(
    ("learner", "text"),
    [
        (LightGBM(num_leaves=63), "LightGBM, leaves 63, rate 0.05"),
        (XGBoost(), "XGBoost, depth 6, rate 0.1"),
        (CatBoost(depth=7), "CatBoost, depth 7, rate 0.05"),
        (HistogramBoosting(), "HistogramBoosting, leaves 31, rat…"),
        (ExtraTrees(), "ExtraTrees"),
        (LinearModel(), "LinearModel"),
    ],
)
def test_learners_are_described_by_size_and_rate(learner: Learner, text: str) -> None:
    assert summary(learner) == text


def test_images_are_described_by_view_augmentation_and_sizes() -> None:
    metadata = TaskMetadata("multiclass", 4000, (28, 28, 3), pixel_values=20)
    space = space_for(metadata)
    candidates = portfolio(space, metadata, metric="f1")
    texts = [summary(space.fill(candidate)) for candidate in candidates]
    assert texts == [
        "shift, flip, 2 conv 16, 4 conv 64",
        "codes, unaugmented, 2 conv 16, 4…",
        "balanced classes, shift, flip, 2…",
        "channel tower, shift, flip, 2 con…",
        "shift, 2 conv 16, 4 conv 64",
        "unaugmented, 2 conv 16, 4 conv 64",
        "rows as channels, unaugmented, 2…",
        "columns as channels, unaugmented…",
        "shift, flip, 2 conv 16, 4 conv 64…",
        "shift, flip, vertical flip, 2 con…",
    ]
    assert summary(space.fill(candidates[-2]), 50).endswith("4 conv 64, flatten")
