"""Perturbation-based architecture selection (DARTS-PT, Wang et al., 2021, 2108.04392).

For one decision after the other, each option is left out of the trained mixture in turn; the one
whose removal lowers the validation accuracy most is chosen, and the supernet is tuned before the
next decision. The size of the architecture parameters does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer

_ACCURACY_SCALE = 0.02
"""Difference in accuracy lost that makes an option e times as preferred. It orders the candidates
after the first only. Our choice: no paper gives one."""

ScoreWeights: TypeAlias = Callable[[Mapping[str, Tensor]], float]
"""Accuracy (or another score, higher better) of the supernet under weights."""


def select_by_perturbation(
    optimizer: AlternatingOptimizer,
    score_weights: ScoreWeights,
    order: Iterable[str],
    tune: Callable[[], None],
    is_out_of_time: Callable[[], bool] = lambda: False,
) -> dict[str, list[float]]:
    """Choose the options of each decision; return path -> a score of each, for `discretize`.

    Scores are above 0, and 1 for the option chosen first. `order`: paths of the decisions in the
    order in which they are made; `tune` trains the supernet between two of them. Once out of time,
    the remaining decisions get no scores. The chosen options are set in `optimizer.fixed_weights`.
    """
    scores: dict[str, list[float]] = {}
    for path in order:
        with torch.no_grad():
            mixture = optimizer.expected_weights()
        losses: list[float] = []
        for option in range(optimizer.supernet.options[path]):
            if is_out_of_time():
                return scores
            losses.append(-score_weights(mixture | {path: _without(mixture[path], option)}))
        scores[path] = [math.exp((loss - max(losses)) / _ACCURACY_SCALE) for loss in losses]
        ranked = sorted(range(len(losses)), key=lambda option: -losses[option])
        chosen = ranked[: optimizer.supernet.n_chosen[path]]
        optimizer.fixed_weights[path] = _indicator(mixture[path], chosen)
        tune()
    return scores


def _without(weights: Tensor, option: int) -> Tensor:
    """Set an option's weight to 0; the others do not make up for it."""
    remaining = weights.clone()
    remaining[option] = 0.0
    return remaining


def _indicator(weights: Tensor, options: Iterable[int]) -> Tensor:
    """Return weights of 1 for the options, and 0 for the others."""
    indicator = torch.zeros_like(weights)
    indicator[[*options]] = 1.0
    return indicator


def decision_order(
    options: Mapping[str, int], n_chosen: Mapping[str, int], generator: torch.Generator
) -> list[str]:
    """Return the decisions that leave options out, in random order, as the paper takes edges."""
    paths = [path for path, n_options in options.items() if n_options > n_chosen[path]]
    return [paths[i] for i in torch.randperm(len(paths), generator=generator).tolist()]
