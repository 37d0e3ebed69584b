"""Rank check: do shared weights order networks as training each by itself does?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.errors import SpaceError, plural
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import train
from netwright.networks.training.recipe import Training
from netwright.oneshot import monitor
from netwright.oneshot.epoch_trainer import BatchTransform
from netwright.oneshot.monitor import Finding
from netwright.space.candidate import Candidate
from netwright.space.space import Space

_MIN_NETWORKS = 4
"""With 3 networks the exact one-sided p-value of Kendall's tau is never below 1/6."""
_MAX_DRAWS_PER_CANDIDATE = 20
"""Draws for each candidate asked for, after which fewer are returned."""


@dataclass(frozen=True)
class ShortTraining:
    """Short training of a single network by itself."""

    epochs: int
    batch_size: int
    transform: BatchTransform
    seed: int

    def __call__(
        self, module: nn.Module, rows: LabelledData, valid: LabelledData, deadline: float = inf
    ) -> float:
        """Train the module on `rows`; return its best score on `valid`."""
        recipe = Training(
            (), batch_size=self.batch_size, epochs=self.epochs, augment=self.transform.augment
        )
        curve = train(
            recipe,
            _ScaledInputs(self.transform, module),
            rows,
            valid.inputs,
            lambda outputs: -validation_score(outputs, valid.targets),
            seed=self.seed,
            deadline=deadline,
        )
        return -curve.points[curve.best_index].validation_loss


class _ScaledInputs(nn.Module):
    """A network after the scaling of its inputs."""

    def __init__(self, transform: BatchTransform, network: nn.Module) -> None:
        super().__init__()
        self.scale, self.network = transform.scale, network

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(self.scale(x))
        return out


def validation_score(outputs: Tensor, targets: Tensor) -> float:
    """Return the accuracy of outputs (n, classes), or R2 of (n, 1) for float targets."""
    if targets.is_floating_point():
        error = (outputs[:, 0] - targets).square().mean() / targets.var().clamp_min(1e-12)
        return 1.0 - float(error)
    return float((outputs.argmax(1) == targets).float().mean())


def constant_prediction_score(targets: Tensor) -> float:
    """Return the score of a constant prediction: the most frequent class, or the mean."""
    if targets.is_floating_point():
        return 0.0
    return float(torch.bincount(targets).max() / len(targets))


def sample_feasible(
    space: Space[Any], is_feasible: Callable[[Candidate], bool], n_candidates: int, seed: int
) -> list[Candidate]:
    """Draw up to `n_candidates` different feasible candidates.

    There are fewer where feasible candidates are rare, none where no draw keeps the space's rule.
    """
    rng = np.random.default_rng([seed, 2**31])
    candidates: dict[Candidate, None] = {}
    for _ in range(_MAX_DRAWS_PER_CANDIDATE * n_candidates):
        try:
            candidate = space.sample(rng)
        except SpaceError:
            break
        is_new = len(candidates) < n_candidates and candidate not in candidates
        if is_new and is_feasible(candidate):
            candidates[candidate] = None
    return [*candidates]


def check_ranking(
    candidates: Sequence[Candidate],
    shared_score: Callable[[Candidate], float],
    build_module: Callable[[Candidate], nn.Module],
    rows: tuple[LabelledData, LabelledData],
    short_training: ShortTraining,
    deadline: float = inf,
) -> Finding:
    """Compare the candidates' scores under shared weights with those after standalone training.

    `rows`: for training and for validation. With a deadline the time is shared out evenly. With
    fewer than four networks the ranking is unknown, which is an alarm.
    """
    scores: list[tuple[float, float]] = []
    for i, candidate in enumerate(candidates):
        now = time.monotonic()
        if now > deadline:
            break
        end = now + (deadline - now) / (len(candidates) - i) if isfinite(deadline) else inf
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(short_training.seed)
            module = build_module(candidate)
        scores.append((shared_score(candidate), short_training(module, *rows, end)))
    if len(scores) < _MIN_NETWORKS:
        networks = plural(len(scores), "network")
        message = f"only {networks} trained alone: whether shared weights rank networks is unknown"
        return Finding("ranking", 0.0, message, alarm=True)
    return monitor.rank_correlation(*zip(*scores, strict=True))
