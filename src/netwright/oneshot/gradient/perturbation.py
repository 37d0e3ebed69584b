"""Options chosen by what their loss costs, not by the size of their architecture parameter.

Wang et al. 2021 (2108.04392): one decision after the other, each option is left out of the trained
mixture in turn; the one whose loss hurts the validation accuracy most is kept, and the supernet is
tuned before the next decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer

_SCALE = 0.02
"""Of accuracy: so much more lost makes an option e times as preferred, for the candidates after
the first."""

Judge = Callable[[Mapping[str, Tensor]], float]
"""The accuracy (or another score, higher better) of the supernet under weights."""


def perturbed(
    steps: AlternatingOptimizer, judge: Judge, order: Iterable[str], tune: Callable[[], None],
    late: Callable[[], bool] = lambda: False,
) -> dict[str, list[float]]:  # fmt: skip
    """Path -> a score above 0 of each option, 1 for the one kept, for `derived`.

    `order`: the decisions, as they are to be made; `tune` trains on for a while. When it is `late`,
    the decisions that are left have no scores. In place: `steps.fixed` has the decisions.
    """
    scores: dict[str, list[float]] = {}
    for path in order:
        with torch.no_grad():
            mixture = steps.standing()
        lost: list[float] = []
        for place in range(steps.supernet.options[path]):
            if late():
                return scores
            lost.append(-judge(mixture | {path: _without(mixture[path], place)}))
        scores[path] = [math.exp((one - max(lost)) / _SCALE) for one in lost]
        best = sorted(range(len(lost)), key=lambda place: -lost[place])
        steps.fixed[path] = _only(mixture[path], best[: steps.supernet.n_chosen[path]])
        tune()
    return scores


def _without(weights: Tensor, place: int) -> Tensor:
    """The others as they are: the operation is left out, nothing takes its place."""
    left = weights.clone()
    left[place] = 0.0
    return left


def _only(weights: Tensor, places: Iterable[int]) -> Tensor:
    kept = torch.zeros_like(weights)
    kept[[*places]] = 1.0
    return kept


def decisions_to_make(
    options: Mapping[str, int], kept: Mapping[str, int], random: torch.Generator
) -> list[str]:
    """Those that leave something out, in random order, as the paper takes the edges."""
    paths = [path for path, number in options.items() if number > kept[path]]
    return [paths[i] for i in torch.randperm(len(paths), generator=random).tolist()]
