from __future__ import annotations

import pytest

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
