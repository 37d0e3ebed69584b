"""The end of a gradient-based search: what was found, whether to believe it, and the remedy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import nn

from netwright.networks.training.loop import LabelledData
from netwright.oneshot import monitor
from netwright.oneshot.epoch_trainer import cosine_annealing, epoch_seed
from netwright.oneshot.gradient.perturbation import decisions_to_make, perturbed
from netwright.oneshot.gradient.search import GradientSearch, paired_batches
from netwright.oneshot.gradient.supernet_scoring import judged
from netwright.oneshot.monitor import Finding, find_alarms
from netwright.oneshot.ranking import (
    ShortTraining,
    check_ranking,
    constant_prediction_score,
    sample_feasible,
)
from netwright.space.candidate import Candidate

_FINAL = 2**31
"""In place of an epoch's number, for the draws made at the end."""


@dataclass(frozen=True)
class SupernetResult:
    """What a search came to: scores of options for `derived`, and what speaks against them.

    `by`: "alpha", or "perturbation" after an alarm. `trusted`: whether shared weights may choose.
    """

    scores: Mapping[str, Sequence[float]]
    findings: tuple[Finding, ...]
    selected_by: str
    candidates: tuple[Candidate, ...]

    @property
    def trusted(self) -> bool:
        """Whether no alarm says that the shared weights know nothing."""
        return monitor.is_trusted(self.findings)


def finalize_search(
    search: GradientSearch, n_candidates: int, deadline: float = inf
) -> SupernetResult:
    """Looks at the trained supernet, applies the remedies of its settings, and derives candidates.

    At most `number` of them, best first. The supernet is trained on by a remedy.
    """
    honesty = search.settings.safeguards
    scores = search.scores_after(search.sound)
    findings = [*_of_the_training(search)]
    if first := search.top_candidates(scores, 1):
        findings += _of_the_choice(search, first[0])
    if honesty.n_ranking_networks:
        half = time.monotonic() + (deadline - time.monotonic()) / 2 if isfinite(deadline) else inf
        findings.append(_ranking(search, half))
    by = "alpha"
    collapsed = [one for one in find_alarms(findings) if one.name not in monitor.OF_TRUST]
    untrained = any(one.name == "untrained" for one in findings)
    if honesty.perturbation_epochs and collapsed and not untrained:
        by, scores = "perturbation", dict(scores) | _perturbed(search, deadline)
    candidates = tuple(search.top_candidates(scores, n_candidates))
    return SupernetResult(scores, tuple(findings), by, candidates)


def _of_the_training(search: GradientSearch) -> Iterator[Finding]:
    seen = [one.eigenvalue for one in search.history if one.eigenvalue is not None]
    if seen:
        yield monitor.eigenvalue_growth(seen)


def _of_the_choice(search: GradientSearch, best: Candidate) -> Iterator[Finding]:
    valid, supernet = search.split.valid, search.supernet
    with torch.no_grad():
        standing = search.optimizer.standing()
    mixture = judged(supernet, standing, valid, search.transform)
    alone = judged(supernet, supernet.one_hot(best), valid, search.transform)
    yield monitor.discretization_gap(mixture, alone, constant_prediction_score(valid.targets))
    if (skipped := monitor.skip_dominance(search.space, best)) is not None:
        yield skipped


def _ranking(search: GradientSearch, deadline: float) -> Finding:
    honesty, supernet = search.settings.safeguards, search.supernet

    def shared(candidate: Candidate) -> float:
        return judged(supernet, supernet.one_hot(candidate), search.split.valid, search.transform)

    def module(candidate: Candidate) -> nn.Module:
        return supernet.build_standalone(search.space.fill(candidate))

    drawn = sample_feasible(
        search.space, supernet.is_feasible, honesty.n_ranking_networks, search.seed
    )
    short = ShortTraining(
        honesty.ranking_epochs, search.settings.batch_size, search.transform, search.seed
    )
    return check_ranking(drawn, shared, module, search.split, short, deadline)


def _perturbed(search: GradientSearch, deadline: float) -> dict[str, list[float]]:
    """By perturbation, tuning between the decisions for so many epochs in all.

    A deadline leaves the decisions that are not reached to the architecture parameters.
    """
    random = torch.Generator().manual_seed(epoch_seed(search.seed, _FINAL))
    order = decisions_to_make(search.supernet.options, search.supernet.n_chosen, random)
    batches = _endless(search, random)
    in_all = (
        search.settings.safeguards.perturbation_epochs
        * len(search.split.train)
        / search.settings.batch_size
    )
    steps = max(1, round(in_all / max(1, len(order))))
    lr = search.settings.weights

    def tune() -> None:
        search.optimizer.weight_optimizer.param_groups[0]["lr"] = cosine_annealing(
            lr.lr, lr.min_lr, 0.5
        )
        search.supernet.train()
        for _ in range(steps):
            if time.monotonic() > deadline:
                return
            rows = search.transform(next(batches), search.optimizer.device, random)
            search.optimizer.weight_step(rows, 1.0, random)

    valid = search.split.valid
    return perturbed(
        search.optimizer, lambda weights: judged(search.supernet, weights, valid, search.transform),
        order, tune, lambda: time.monotonic() > deadline,
    )  # fmt: skip


def _endless(search: GradientSearch, random: torch.Generator) -> Iterator[LabelledData]:
    while True:
        for train_rows, _ in paired_batches(search.split, search.settings.batch_size, random):
            yield train_rows
