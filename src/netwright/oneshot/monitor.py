"""Whether shared weights can be trusted: what is measured while a supernet trains, in plain words.

Gradient-based search fails in known ways: skips take over (Zela et al. 2020, 1909.09656), what was
good in the mixture is bad alone, and shared weights rank networks as chance would. Each has a
finding here, with an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.errors import plural
from netwright.networks.interfaces.layer import Layer
from netwright.networks.layers.basic import Skip
from netwright.space.candidate import Candidate
from netwright.space.choices import OneOfChoice
from netwright.space.space import Space

_WINDOW, _RATIO = 5, 1.3
"""Zela et al. 2020: stop when the eigenvalue's mean over 5 epochs has grown by so much."""
MIN_EIGENVALUE = 0.01
"""Below, moving an architecture parameter by 1 changes the loss by less than 0.005: whatever such
an eigenvalue has grown from, there is no cliff."""
_CHANCE = 0.05
_GAP = 0.5
_TRAINED = 0.1
_MOST_SKIPS = 0.5


OF_TRUST = ("ranking", "untrained")
"""Alarms that no other way of choosing by the same weights can answer."""


@dataclass(frozen=True)
class Finding:
    """One measurement, what it means, and whether it speaks against the shared weights."""

    name: str
    value: float
    message: str
    alarm: bool


def find_alarms(findings: Iterable[Finding]) -> list[Finding]:
    """Those that speak against the shared weights."""
    return [one for one in findings if one.alarm]


def is_trusted(findings: Iterable[Finding]) -> bool:
    """Whether no alarm says that the shared weights know nothing, so that they may choose."""
    return not any(one.name in OF_TRUST for one in find_alarms(findings))


def rank_correlation(shared: Sequence[float], alone: Sequence[float]) -> Finding:
    """Whether networks that shared weights find better are better when trained by themselves.

    Kendall's rank correlation of the two scores (networks,), higher better in both. An alarm unless
    so high a one is unlikely by chance (one-sided, 5 %; exact without ties): few networks prove
    little.
    """
    from scipy.stats import kendalltau

    found = kendalltau(shared, alone, alternative="greater")
    tau = float(found.statistic) if math.isfinite(found.statistic) else 0.0
    chance = float(found.pvalue) if math.isfinite(found.pvalue) else 1.0
    alarm = chance >= _CHANCE
    verdict = "may be chance: do not choose by shared weights" if alarm else "shared weights rank"
    says = (
        f"rank correlation with {plural(len(alone), 'network')} trained alone {tau:.2f}, {verdict}"
    )
    return Finding("ranking", tau, says, alarm)


def discretization_gap(mixture: float, alone: float, chance: float) -> Finding:
    """How much accuracy is lost when only the preferred options are kept, with their weights.

    `chance`: what guessing gives. An alarm when more than half of what was above it is gone; where
    the mixture is hardly above it, the finding is "untrained", and an alarm.
    """
    if mixture - chance < _TRAINED * (1 - chance):
        says = f"accuracy {mixture:.3f} as a mixture, {chance:.3f} by chance: hardly trained"
        return Finding("untrained", mixture, says, True)
    lost = (mixture - alone) / max(mixture - chance, 1e-9)
    alarm = lost > _GAP
    says = f"accuracy {mixture:.3f} as a mixture, {alone:.3f} with the preferred options only" + (
        ": what was trained is not what is kept" if alarm else ""
    )
    return Finding("gap", mixture - alone, says, alarm)


def skip_dominance(space: Space[Any], candidate: Candidate) -> Finding | None:
    """How many of the candidate's choices that could be a skip are one; more than half: an alarm.

    None where no choice could be a skip.
    """
    able = [
        (one.path, one.choice) for one in space.decisions
        if one.path in candidate.values and isinstance(one.choice, OneOfChoice)
        and any(map(_is_skip, one.choice.options)) and any(map(_is_layer, one.choice.options))
    ]  # fmt: skip
    if not able:
        return None
    count = sum(
        _is_skip(choice.options[choice.labels.index(candidate.values[path])])
        for path, choice in able
    )
    alarm = len(able) > 1 and count > _MOST_SKIPS * len(able)
    verb = "is a skip" if count == 1 else "are skips"
    says = f"{count} of {plural(len(able), 'choice')} {verb}" + (": collapse" if alarm else "")
    return Finding("skips", float(count), says, alarm)


def _is_skip(option: object) -> bool:
    return isinstance(option, Skip) or option == ()


def _is_layer(option: object) -> bool:
    return isinstance(option, Layer) or (isinstance(option, tuple) and any(map(_is_layer, option)))


def eigenvalue_growth(eigenvalues: Sequence[float]) -> Finding:
    """Whether the validation loss bends ever more with the architecture (eigenvalues of epochs).

    The mean of the last five over that of the five before: above 1.3 what is derived will fall far
    from the mixture (Zela et al. 2020). Silent until there are ten, and where the last are below
    `MIN_EIGENVALUE`.
    """
    if len(eigenvalues) < 2 * _WINDOW:
        value = eigenvalues[-1] if len(eigenvalues) else 0.0
        return Finding(
            "sharpness", 1.0, f"largest eigenvalue {value:.3g}, too early to tell", False
        )
    last = float(np.mean(np.abs(eigenvalues[-_WINDOW:])))
    before = float(np.mean(np.abs(eigenvalues[-2 * _WINDOW : -_WINDOW])))
    ratio = last / max(before, 1e-12)
    alarm = ratio > _RATIO and last >= MIN_EIGENVALUE
    says = f"largest eigenvalue {last:.3g}, {ratio:.2f} times what it was" + (
        ": the architecture is going over a cliff" if alarm else ""
    )
    return Finding("sharpness", ratio, says, alarm)


def largest_eigenvalue(
    loss: Callable[[], Tensor], alphas: Sequence[Tensor], random: torch.Generator,
    *, steps: int = 20, tolerance: float = 1e-3,
) -> float:  # fmt: skip
    """Of the Hessian of the loss by the architecture parameters: the one of largest size.

    Power iteration on products of the Hessian and a vector, each by differentiating twice.
    """
    found = torch.autograd.grad(loss(), alphas, create_graph=True, allow_unused=True)
    slopes = [torch.zeros_like(a) if s is None else s for a, s in zip(alphas, found, strict=True)]
    if not any(one.requires_grad for one in slopes):
        return 0.0  # the loss is linear in them
    vector = [torch.randn(a.shape, generator=random).to(a) for a in alphas]
    value = 0.0
    for _ in range(steps):
        size = float(torch.sqrt(sum(((v**2).sum() for v in vector), torch.zeros(()))))
        if size < 1e-12:
            return 0.0
        vector = [v / size for v in vector]
        along = torch.stack([(s * v).sum() for s, v in zip(slopes, vector, strict=True)]).sum()
        found = torch.autograd.grad(along, alphas, retain_graph=True, allow_unused=True)
        product = [
            torch.zeros_like(a) if h is None else h for a, h in zip(alphas, found, strict=True)
        ]
        now = float(
            torch.stack([(p * v).sum() for p, v in zip(product, vector, strict=True)]).sum()
        )
        if abs(now - value) <= tolerance * max(abs(now), 1e-12):
            return now
        value, vector = now, product
    return value
