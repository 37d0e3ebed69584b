"""The end of a gradient-based search: what was found, whether to believe it, and the remedy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import nn

from netwright.networks.training.loop import Examples
from netwright.oneshot import monitor
from netwright.oneshot.epochs import half_cosine, seed_of
from netwright.oneshot.gradient.perturbation import decisions_to_make, perturbed
from netwright.oneshot.gradient.search import GradientSearch, pairs
from netwright.oneshot.gradient.supernet_scoring import judged
from netwright.oneshot.monitor import Finding, alarms
from netwright.oneshot.ranking import Short, chance, drawn_from, ranked
from netwright.space.candidate import Candidate

_FINAL = 2**31
"""In place of an epoch's number, for the draws made at the end."""


@dataclass(frozen=True)
class Conclusion:
    """What a search came to: scores of options for `derived`, and what speaks against them.

    `by`: "alpha", or "perturbation" after an alarm. `trusted`: whether shared weights may choose.
    """

    scores: Mapping[str, Sequence[float]]
    findings: tuple[Finding, ...]
    by: str
    candidates: tuple[Candidate, ...]

    @property
    def trusted(self) -> bool:
        """Whether no alarm says that the shared weights know nothing."""
        return monitor.trusted(self.findings)


def conclude(search: GradientSearch, number: int, deadline: float = inf) -> Conclusion:
    """Looks at the trained supernet, applies the remedies of its settings, and derives candidates.

    At most `number` of them, best first. The supernet is trained on by a remedy.
    """
    honesty = search.settings.honesty
    scores = search.scores_after(search.sound)
    findings = [*_of_the_training(search)]
    if first := search.preferred(scores, 1):
        findings += _of_the_choice(search, first[0])
    if honesty.networks:
        half = time.monotonic() + (deadline - time.monotonic()) / 2 if isfinite(deadline) else inf
        findings.append(_ranking(search, half))
    by = "alpha"
    collapsed = [one for one in alarms(findings) if one.name not in monitor.OF_TRUST]
    untrained = any(one.name == "untrained" for one in findings)
    if honesty.perturb and collapsed and not untrained:
        by, scores = "perturbation", dict(scores) | _perturbed(search, deadline)
    candidates = tuple(search.preferred(scores, number))
    return Conclusion(scores, tuple(findings), by, candidates)


def _of_the_training(search: GradientSearch) -> Iterator[Finding]:
    seen = [one.eigenvalue for one in search.record if one.eigenvalue is not None]
    if seen:
        yield monitor.sharpness(seen)


def _of_the_choice(search: GradientSearch, best: Candidate) -> Iterator[Finding]:
    valid, supernet = search.halves.valid, search.supernet
    with torch.no_grad():
        standing = search.steps.standing()
    mixture = judged(supernet, standing, valid, search.feed)
    alone = judged(supernet, supernet.one_hot(best), valid, search.feed)
    yield monitor.gap(mixture, alone, chance(valid.targets))
    if (skipped := monitor.skips(search.space, best)) is not None:
        yield skipped


def _ranking(search: GradientSearch, deadline: float) -> Finding:
    honesty, supernet = search.settings.honesty, search.supernet

    def shared(candidate: Candidate) -> float:
        return judged(supernet, supernet.one_hot(candidate), search.halves.valid, search.feed)

    def module(candidate: Candidate) -> nn.Module:
        return supernet.alone(search.space.fill(candidate))

    drawn = drawn_from(search.space, supernet.leads_through, honesty.networks, search.seed)
    short = Short(honesty.epochs, search.settings.batch_size, search.feed, search.seed)
    return ranked(drawn, shared, module, search.halves, short, deadline)


def _perturbed(search: GradientSearch, deadline: float) -> dict[str, list[float]]:
    """By perturbation, tuning between the decisions for so many epochs in all.

    A deadline leaves the decisions that are not reached to the architecture parameters.
    """
    random = torch.Generator().manual_seed(seed_of(search.seed, _FINAL))
    order = decisions_to_make(search.supernet.options, search.supernet.kept, random)
    batches = _endless(search, random)
    in_all = search.settings.honesty.perturb * len(search.halves.train) / search.settings.batch_size
    steps = max(1, round(in_all / max(1, len(order))))
    lr = search.settings.weights

    def tune() -> None:
        search.steps.optimizer.param_groups[0]["lr"] = half_cosine(lr.lr, lr.least_lr, 0.5)
        search.supernet.train()
        for _ in range(steps):
            if time.monotonic() > deadline:
                return
            rows = search.feed(next(batches), search.steps.device, random)
            search.steps.of_weights(rows, 1.0, random)

    valid = search.halves.valid
    return perturbed(
        search.steps, lambda weights: judged(search.supernet, weights, valid, search.feed),
        order, tune, lambda: time.monotonic() > deadline,
    )  # fmt: skip


def _endless(search: GradientSearch, random: torch.Generator) -> Iterator[Examples]:
    while True:
        for train_rows, _ in pairs(search.halves, search.settings.batch_size, random):
            yield train_rows
