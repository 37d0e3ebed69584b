"""End of a gradient-based search: findings about the supernet, remedies, and the best candidates."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf, isfinite

import torch
from torch import nn

from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.labelled_data import LabelledData
from netwright.oneshot import monitor
from netwright.oneshot.epoch_trainer import cosine_annealing, epoch_seed
from netwright.oneshot.gradient.perturbation import decision_order, select_by_perturbation
from netwright.oneshot.gradient.search import GradientSearch, paired_batches
from netwright.oneshot.gradient.supernet_scoring import score_supernet
from netwright.oneshot.monitor import Finding, find_alarms
from netwright.oneshot.ranking import (
    ShortTraining,
    check_ranking,
    constant_prediction_score,
    sample_feasible,
)
from netwright.space.candidate import Candidate

_TUNING_EPOCH = 2**31
"""In place of an epoch's number, in the seed of the draws made at the end."""


@dataclass(frozen=True)
class SupernetResult:
    """Result of a gradient-based search.

    `scores`: option scores for `discretize`. `selected_by`: "alpha", or "perturbation" after an
    alarm. `candidates`: best first.
    """

    scores: Mapping[str, Sequence[float]]
    findings: tuple[Finding, ...]
    selected_by: str
    candidates: tuple[Candidate, ...]

    @property
    def trusted(self) -> bool:
        """Whether shared weights may choose: no alarm shows that they rank by chance."""
        return monitor.is_trusted(self.findings)


def finalize_search(
    search: GradientSearch, n_candidates: int, deadline: float = inf
) -> SupernetResult:
    """Check the trained supernet, apply remedies, and return at most `n_candidates` candidates.

    The remedy of perturbation-based selection trains the supernet further.
    """
    safeguards = search.settings.safeguards
    scores = search.scores_after(search.last_sound_epoch)
    findings = [*_eigenvalue_findings(search)]
    if top := search.top_candidates(scores, 1):
        findings += _candidate_findings(search, top[0])
    if safeguards.n_ranking_networks:
        half = time.monotonic() + (deadline - time.monotonic()) / 2 if isfinite(deadline) else inf
        findings.append(_ranking_finding(search, half))
    selected_by = "alpha"
    collapse_alarms = [
        finding
        for finding in find_alarms(findings)
        if finding.name not in monitor.DISTRUST_FINDINGS
    ]
    is_untrained = any(finding.name == "untrained" for finding in findings)
    if safeguards.perturbation_epochs and collapse_alarms and not is_untrained:
        selected_by, scores = "perturbation", dict(scores) | _perturbation_scores(search, deadline)
    candidates = tuple(search.top_candidates(scores, n_candidates))
    return SupernetResult(scores, tuple(findings), selected_by, candidates)


def _eigenvalue_findings(search: GradientSearch) -> Iterator[Finding]:
    eigenvalues = [record.eigenvalue for record in search.history if record.eigenvalue is not None]
    if eigenvalues:
        yield monitor.eigenvalue_growth(eigenvalues)


def _candidate_findings(search: GradientSearch, best: Candidate) -> Iterator[Finding]:
    valid, supernet, transform = search.split.valid, search.supernet, search.transform
    with torch.no_grad():
        expected_weights = search.optimizer.expected_weights()
    mixture = score_supernet(supernet, expected_weights, valid, transform)
    discrete = score_supernet(supernet, supernet.one_hot(best), valid, transform)
    chance = constant_prediction_score(valid.targets)
    yield monitor.discretization_gap(mixture, discrete, chance)
    if (skips := monitor.skip_dominance(search.space, best)) is not None:
        yield skips


def _ranking_finding(search: GradientSearch, deadline: float) -> Finding:
    safeguards, supernet = search.settings.safeguards, search.supernet

    def shared_score(candidate: Candidate) -> float:
        weights = supernet.one_hot(candidate)
        return score_supernet(supernet, weights, search.split.valid, search.transform)

    def build_module(candidate: Candidate) -> nn.Module:
        return supernet.build_standalone(search.space.fill(candidate))

    candidates = sample_feasible(
        search.space, supernet.is_feasible, safeguards.n_ranking_networks, search.seed
    )
    short_training = ShortTraining(
        safeguards.ranking_epochs, search.settings.batch_size, search.transform, search.seed
    )
    return check_ranking(
        candidates, shared_score, build_module, search.split, short_training, deadline
    )


def _perturbation_scores(search: GradientSearch, deadline: float) -> dict[str, list[float]]:
    """Select by perturbation, with the tuning epochs shared out over the decisions.

    Decisions not reached before the deadline are left to the architecture parameters.
    """
    generator = torch.Generator().manual_seed(epoch_seed(search.seed, _TUNING_EPOCH))
    order = decision_order(search.supernet.options, search.supernet.n_chosen, generator)
    batches = _endless_batches(search, generator)
    epochs = search.settings.safeguards.perturbation_epochs
    n_steps = epochs * len(search.split.train) / search.settings.batch_size
    steps_per_decision = max(1, round(n_steps / max(1, len(order))))
    settings = search.settings.weight_training

    def tune() -> None:
        group = search.optimizer.weight_optimizer.param_groups[0]
        group["lr"] = cosine_annealing(settings.lr, settings.min_lr, 0.5)
        search.supernet.train()
        for _ in range(steps_per_decision):
            if time.monotonic() > deadline:
                return
            search.optimizer.weight_step(next(batches), 1.0, generator)

    return select_by_perturbation(
        search.optimizer,
        lambda weights: score_supernet(
            search.supernet, weights, search.split.valid, search.transform
        ),
        order,
        tune,
        lambda: time.monotonic() > deadline,
    )


def _endless_batches(search: GradientSearch, generator: torch.Generator) -> Iterator[LabelledData]:
    for epoch in count(len(search.history)):
        for batch, _ in paired_batches(search.split, search.settings.batch_size, generator):
            context = BatchContext(generator, batch.rows, epoch)
            yield search.transform(batch.labelled, search.optimizer.device, context)
