"""How good a supernet is under weights, on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.training.loop import LabelledData
from netwright.oneshot.epoch_trainer import BatchTransform
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.ranking import constant_prediction_score, validation_score

_BATCH = 256
_MOST = 2048
"""Rows that judge: the deviation of an accuracy is then a hundredth at most."""


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """A context in which batch normalisations use each batch's own statistics and learn nothing.

    Their running statistics are those of the whole mixture, and wrong for a part of it.
    """
    before = module.training
    module.eval()
    norms = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    tracking = [one.track_running_stats for one in norms]
    for norm in norms:
        norm.train()
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracked in zip(norms, tracking, strict=True):
            norm.track_running_stats = tracked
        module.train(before)


@torch.no_grad()
def judged(
    supernet: Supernet, weights: Mapping[str, Tensor], rows: LabelledData, feed: BatchTransform
) -> float:
    """The score of the supernet under these weights on the first of the rows, higher better; see
    `score`. What nothing leads through scores as chance does.
    """
    device = next(supernet.parameters()).device
    parts = []
    try:
        with batch_statistics(supernet):
            for batch in _batches(rows):
                fed = feed(batch, device)
                parts.append(supernet(fed.inputs, weights).float().cpu())
    except InfeasibleCandidate:
        return constant_prediction_score(rows.targets)
    return validation_score(torch.cat(parts), rows.targets[:_MOST])


def _batches(rows: LabelledData) -> Iterator[LabelledData]:
    """Of nearly one size, so that no batch's statistics are of a few rows."""
    number = max(1, round(min(len(rows), _MOST) / _BATCH))
    inputs = rows.inputs[:_MOST].tensor_split(number)
    targets = rows.targets[:_MOST].tensor_split(number)
    for one, other in zip(inputs, targets, strict=True):
        yield LabelledData(one, other)
