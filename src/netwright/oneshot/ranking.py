"""Whether shared weights rank networks as training each by itself does, found by doing both."""

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
from netwright.networks.training.loop import LabelledData, train
from netwright.networks.training.recipe import Training
from netwright.oneshot import monitor
from netwright.oneshot.epoch_trainer import BatchTransform
from netwright.oneshot.monitor import Finding
from netwright.space.candidate import Candidate
from netwright.space.space import Space

_LEAST = 4
"""Networks: fewer tell nothing."""
_DRAWS = 20


@dataclass(frozen=True)
class ShortTraining:
    """How a network is trained by itself, for a while."""

    epochs: int
    batch_size: int
    feed: BatchTransform
    seed: int

    def __call__(
        self, module: nn.Module, rows: LabelledData, valid: LabelledData, deadline: float = inf
    ) -> float:
        """The best score on `valid` of the module, trained on `rows`."""
        recipe = Training(
            (), batch_size=self.batch_size, epochs=self.epochs, augment=self.feed.augment
        )
        curve = train(
            recipe, _Scaled(self.feed, module), rows, valid.inputs,
            lambda out: -validation_score(out, valid.targets), seed=self.seed, deadline=deadline,
        )  # fmt: skip
        return -curve.points[curve.best_index].validation_loss


class _Scaled(nn.Module):
    """A network behind the scaling of its inputs."""

    def __init__(self, feed: BatchTransform, network: nn.Module) -> None:
        super().__init__()
        self.scale, self.network = feed.scale, network

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(self.scale(x))
        return out


def validation_score(outputs: Tensor, targets: Tensor) -> float:
    """Accuracy of (n, classes), or the share of the variance that (n, 1) explains."""
    if targets.is_floating_point():
        error = (outputs[:, 0] - targets).square().mean() / targets.var().clamp_min(1e-12)
        return 1.0 - float(error)
    return float((outputs.argmax(1) == targets).float().mean())


def constant_prediction_score(targets: Tensor) -> float:
    """The score of who always says the same."""
    if targets.is_floating_point():
        return 0.0
    return float(torch.bincount(targets).max() / len(targets))


def sample_feasible(
    space: Space[Any], is_feasible: Callable[[Candidate], bool], n_candidates: int, seed: int
) -> list[Candidate]:
    """So many different candidates through which something leads, or fewer where there are few.

    None where the space's rule lets no draw pass.
    """
    rng = np.random.default_rng([seed, 2**31])
    found: dict[Candidate, None] = {}
    for _ in range(_DRAWS * n_candidates):
        try:
            candidate = space.sample(rng)
        except SpaceError:
            break
        new = len(found) < n_candidates and candidate not in found
        if new and is_feasible(candidate):
            found[candidate] = None
    return [*found]


def check_ranking(
    candidates: Sequence[Candidate], shared: Callable[[Candidate], float],
    module: Callable[[Candidate], nn.Module], rows: tuple[LabelledData, LabelledData], short: ShortTraining,
    deadline: float = inf,
) -> Finding:  # fmt: skip
    """The finding on these candidates: what shared weights say, and what training alone says.

    With a deadline each gets its share of the time. With fewer than four nothing is known, and the
    finding is an alarm.
    """
    scores: list[tuple[float, float]] = []
    for place, candidate in enumerate(candidates):
        now = time.monotonic()
        if now > deadline:
            break
        until = now + (deadline - now) / (len(candidates) - place) if isfinite(deadline) else inf
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(short.seed)
            alone = module(candidate)
        scores.append((shared(candidate), short(alone, *rows, until)))
    if len(scores) < _LEAST:
        trained = plural(len(scores), "network")
        says = f"only {trained} trained alone: whether shared weights rank is not known"
        return Finding("ranking", 0.0, says, alarm=True)
    return monitor.rank_correlation(*zip(*scores, strict=True))
