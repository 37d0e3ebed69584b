"""Checks on shared weights: can they be trusted to choose architectures?

Differentiable search fails in known ways: skip connections dominate (Zela et al., 2020,
1909.09656), the discretized architecture is much worse than the mixture it was taken from, and
shared weights rank networks no better than chance. Each failure has a finding here, with an alarm.
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

_WINDOW_EPOCHS, _MAX_GROWTH = 5, 1.3
"""Early stopping of Zela et al. (2020): the eigenvalue's mean over 5 epochs has grown by 1.3."""
MIN_EIGENVALUE = 0.01
"""Below, moving an architecture parameter by 1 changes the loss by less than 0.005 (half the
eigenvalue): growth from a tiny eigenvalue does no harm."""
_SIGNIFICANCE = 0.05
"""Largest p-value at which a rank correlation counts: the usual 5 %."""
_MAX_LOST_SHARE = 0.5
"""Share of the accuracy above chance that discretization may lose. Our choice: no paper gives one."""
_MIN_LEARNT_SHARE = 0.1
"""Share of the way from chance to 1 below which a mixture counts as untrained. Our choice."""
_MAX_SKIP_SHARE = 0.5
"""Share of the choices with a skip option that may be skips. Our choice: no paper gives one."""

DISTRUST_FINDINGS = ("ranking", "untrained")
"""Names of the alarms that no other selection by the same shared weights can answer."""


@dataclass(frozen=True)
class Finding:
    """One measurement, its meaning in a sentence, and whether it is an alarm."""

    name: str
    value: float
    message: str
    alarm: bool


def find_alarms(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that are alarms."""
    return [finding for finding in findings if finding.alarm]


def is_trusted(findings: Iterable[Finding]) -> bool:
    """Return whether shared weights may choose: no alarm shows that they rank by chance."""
    return not any(finding.name in DISTRUST_FINDINGS for finding in find_alarms(findings))


def rank_correlation(shared_scores: Sequence[float], standalone_scores: Sequence[float]) -> Finding:
    """Return Kendall's tau between scores under shared weights and after standalone training.

    Both are (networks,), higher better. It is an alarm unless the correlation is significant
    (one-sided test at 5 %; exact without ties): a few networks prove little.
    """
    from scipy.stats import kendalltau

    test = kendalltau(shared_scores, standalone_scores, alternative="greater")
    tau = float(test.statistic) if math.isfinite(test.statistic) else 0.0
    p_value = float(test.pvalue) if math.isfinite(test.pvalue) else 1.0
    alarm = p_value >= _SIGNIFICANCE
    verdict = (
        "which may be chance: do not select by shared weights"
        if alarm
        else "so shared weights rank networks"
    )
    networks = plural(len(standalone_scores), "network")
    message = f"the rank correlation with {networks} trained alone is {tau:.2f}, {verdict}"
    return Finding("ranking", tau, message, alarm)


def discretization_gap(mixture: float, discrete: float, chance: float) -> Finding:
    """Return the accuracy lost when only the preferred options remain, weights unchanged.

    It is an alarm when more than half of the accuracy above `chance`, that of a constant
    prediction, is lost. Where the mixture itself is hardly above chance, the finding is
    "untrained", an alarm.
    """
    if mixture - chance < _MIN_LEARNT_SHARE * (1 - chance):
        message = f"the mixture's accuracy is {mixture:.3f}, chance is {chance:.3f}: hardly trained"
        return Finding("untrained", mixture, message, alarm=True)
    lost = (mixture - discrete) / max(mixture - chance, 1e-9)
    alarm = lost > _MAX_LOST_SHARE
    message = (
        f"the mixture's accuracy is {mixture:.3f}, that of the preferred options alone is "
        f"{discrete:.3f}" + (": discretization loses most of what was learnt" if alarm else "")
    )
    return Finding("gap", mixture - discrete, message, alarm)


def skip_dominance(space: Space[Any], candidate: Candidate) -> Finding | None:
    """Count the candidate's choices that are skips, among those with a skip option.

    It is an alarm when more than half are skips. None where no choice has a skip option.
    """
    skippable = [
        (decision.path, decision.choice)
        for decision in space.decisions
        if decision.path in candidate.values
        and isinstance(decision.choice, OneOfChoice)
        and any(map(_is_skip, decision.choice.options))
        and any(map(_is_layer, decision.choice.options))
    ]
    if not skippable:
        return None
    n_skips = sum(
        _is_skip(choice.options[choice.labels.index(candidate.values[path])])
        for path, choice in skippable
    )
    alarm = len(skippable) > 1 and n_skips > _MAX_SKIP_SHARE * len(skippable)
    verb = "is a skip" if n_skips == 1 else "are skips"
    message = f"{n_skips} of {plural(len(skippable), 'choice')} {verb}" + (
        ": the architecture has collapsed" if alarm else ""
    )
    return Finding("skips", float(n_skips), message, alarm)


def _is_skip(option: object) -> bool:
    return isinstance(option, Skip) or option == ()


def _is_layer(option: object) -> bool:
    return isinstance(option, Layer) or (isinstance(option, tuple) and any(map(_is_layer, option)))


def eigenvalue_growth(eigenvalues: Sequence[float]) -> Finding:
    """Return the growth of the Hessian's largest eigenvalue (Zela et al., 2020).

    `eigenvalues`, one an epoch. The finding is the mean size of the last five divided by that of
    the five before; above 1.3 discretization will lose much accuracy, which is an alarm. There is
    none with fewer than ten, or where the mean of the last five is below `MIN_EIGENVALUE`.
    """
    if len(eigenvalues) < 2 * _WINDOW_EPOCHS:
        latest = eigenvalues[-1] if len(eigenvalues) else 0.0
        message = f"the largest eigenvalue is {latest:.3g}, too early to tell"
        return Finding("sharpness", 1.0, message, alarm=False)
    mean = float(np.mean(np.abs(eigenvalues[-_WINDOW_EPOCHS:])))
    previous_mean = float(np.mean(np.abs(eigenvalues[-2 * _WINDOW_EPOCHS : -_WINDOW_EPOCHS])))
    growth = mean / max(previous_mean, 1e-12)
    alarm = growth > _MAX_GROWTH and mean >= MIN_EIGENVALUE
    message = (
        f"the largest eigenvalue is {mean:.3g}, {growth:.2f} times that of five epochs before"
        + (": the discretized architecture will probably lose accuracy" if alarm else "")
    )
    return Finding("sharpness", growth, message, alarm)


def largest_eigenvalue(
    loss: Callable[[], Tensor],
    alphas: Sequence[Tensor],
    generator: torch.Generator,
    *,
    steps: int = 20,
    tolerance: float = 1e-3,
) -> float:
    """Return the eigenvalue of largest size of the loss's Hessian with respect to `alphas`.

    Power iteration on Hessian-vector products, each by differentiating twice. It ends after
    `steps`, or when the relative change is at most `tolerance`.
    """
    raw_gradients = torch.autograd.grad(loss(), alphas, create_graph=True, allow_unused=True)
    gradients = [
        torch.zeros_like(a) if g is None else g for a, g in zip(alphas, raw_gradients, strict=True)
    ]
    if not any(gradient.requires_grad for gradient in gradients):
        return 0.0  # the loss is linear in alphas
    vector = [torch.randn(a.shape, generator=generator).to(a) for a in alphas]
    eigenvalue = 0.0
    for _ in range(steps):
        norm = float(torch.sqrt(sum(((v**2).sum() for v in vector), torch.zeros(()))))
        if norm < 1e-12:
            return 0.0
        vector = [v / norm for v in vector]
        slope = torch.stack([(g * v).sum() for g, v in zip(gradients, vector, strict=True)]).sum()
        raw_product = torch.autograd.grad(slope, alphas, retain_graph=True, allow_unused=True)
        product = [  # Hessian times vector
            torch.zeros_like(a) if h is None else h
            for a, h in zip(alphas, raw_product, strict=True)
        ]
        rayleigh = float(
            torch.stack([(p * v).sum() for p, v in zip(product, vector, strict=True)]).sum()
        )
        if abs(rayleigh - eigenvalue) <= tolerance * max(abs(rayleigh), 1e-12):
            return rayleigh
        eigenvalue, vector = rayleigh, product
    return eigenvalue
