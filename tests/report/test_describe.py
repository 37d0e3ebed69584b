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


def test_images_are_described_by_view_sizes_and_augmentation() -> None:
    metadata = TaskMetadata("multiclass", 4000, (28, 28, 3), pixel_values=20)
    space = space_for(metadata)
    texts = [summary(space.fill(candidate), 80) for candidate in portfolio(space, metadata)]
    assert texts[:4] == [
        "2 conv 16, 4 conv 64, shift, flip",
        "codes, 2 conv 16, 4 conv 64, unaugmented",
        "channels by sum and product, 2 conv 8, 4 conv 32, shift, flip",
        "2 conv 16, 4 conv 64, shift",
    ]
    assert "rows as channels, 2 conv 16, 4 conv 64, unaugmented" in texts
    assert "2 conv 16, 4 conv 64, shift, flip, vertical flip" in texts
    assert len(set(texts)) == len(texts)
