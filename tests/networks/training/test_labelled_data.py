"""Labelled rows in memory."""

from __future__ import annotations

import pytest
import torch

from netwright.errors import InfeasibleCandidate
from netwright.networks.training.labelled_data import LabelledData

ROWS = LabelledData(torch.arange(8.0).view(4, 2), torch.arange(4), torch.tensor([1.0, 2, 3, 6]))


def test_rows_are_taken_with_their_targets_and_weights() -> None:
    taken = ROWS.take(torch.tensor([3, 0]))
    assert torch.equal(taken.inputs, torch.tensor([[6.0, 7.0], [0.0, 1.0]]))
    assert taken.targets.tolist() == [3, 0]
    assert taken.weights is not None
    assert taken.weights.tolist() == [6, 1]
    assert len(taken) == 2
    assert len(ROWS.take(slice(1, None))) == 3


def test_normalised_weights_have_the_mean_one() -> None:
    weights = ROWS.with_normalized_weights().weights
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([1.0, 2, 3, 6]) / 3)
    assert ROWS.weights is not None
    assert ROWS.weights.tolist() == [1, 2, 3, 6]


def test_rows_without_weights_stay_without() -> None:
    rows = LabelledData(ROWS.inputs, ROWS.targets)
    assert rows.with_normalized_weights() is rows


@pytest.mark.parametrize("weights", [[1, -1, 1, 1], [1, float("nan"), 1, 1], [0, 0, 0, 0]])
def test_unusable_weights_are_refused(weights: list[float]) -> None:
    rows = LabelledData(ROWS.inputs, ROWS.targets, torch.tensor(weights))
    with pytest.raises(InfeasibleCandidate, match="weights must be finite, at least 0"):
        rows.with_normalized_weights()


def test_balanced_classes_have_equal_total_weights() -> None:
    rows = LabelledData(torch.zeros(5, 1), torch.tensor([0, 2, 2, 2, 2]))
    weights = rows.with_balanced_classes().weights
    assert weights is not None
    assert weights[0] == pytest.approx(float(weights[1:].sum()))
    weighted = LabelledData(rows.inputs, rows.targets, torch.tensor([5.0, 1, 1, 1, 0]))
    weights = weighted.with_balanced_classes().weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0])


def test_numbers_have_no_classes_to_balance() -> None:
    rows = LabelledData(torch.zeros(2, 1), torch.tensor([0.5, 1.5]))
    with pytest.raises(InfeasibleCandidate, match='class_weight must be "none" for a regression'):
        rows.with_balanced_classes()
