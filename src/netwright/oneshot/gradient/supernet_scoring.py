"""Score of a supernet under given weights, on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.training.labelled_data import LabelledData
from netwright.oneshot.epoch_trainer import BatchTransform
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.ranking import constant_prediction_score, validation_score

_BATCH_ROWS = 256
_MAX_SCORED_ROWS = 2048
"""The standard error of an accuracy is then 0.011 at most."""


@contextmanager
def use_batch_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch normalisations use each batch's own statistics within a context.

    Running statistics are those of the whole mixture, and wrong for other weights; they are
    neither used nor updated.
    """
    was_training = module.training
    module.eval()
    norms = [
        submodule
        for submodule in module.modules()
        if isinstance(submodule, nn.modules.batchnorm._BatchNorm)
    ]
    tracking = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.train()
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracked in zip(norms, tracking, strict=True):
            norm.track_running_stats = tracked
        module.train(was_training)


@torch.no_grad()
def score_supernet(
    supernet: Supernet, weights: Mapping[str, Tensor], rows: LabelledData, transform: BatchTransform
) -> float:
    """Return the `validation_score` of the supernet under the weights, on the first rows.

    Where nothing leads through the network, it is the score of a constant prediction.
    """
    device = next(supernet.parameters()).device
    outputs = []
    try:
        with use_batch_statistics(supernet):
            for batch in _batches(rows):
                transformed = transform(batch, device)
                outputs.append(supernet(transformed.inputs, weights).float().cpu())
    except InfeasibleCandidate:
        return constant_prediction_score(rows.targets)
    return validation_score(torch.cat(outputs), rows.targets[:_MAX_SCORED_ROWS])


def _batches(rows: LabelledData) -> Iterator[LabelledData]:
    """Yield batches of nearly equal size, so that no batch statistics come from a few rows."""
    n_batches = max(1, round(min(len(rows), _MAX_SCORED_ROWS) / _BATCH_ROWS))
    inputs = rows.inputs[:_MAX_SCORED_ROWS].tensor_split(n_batches)
    targets = rows.targets[:_MAX_SCORED_ROWS].tensor_split(n_batches)
    for batch_inputs, batch_targets in zip(inputs, targets, strict=True):
        yield LabelledData(batch_inputs, batch_targets)
