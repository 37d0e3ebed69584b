"""The end of a gradient-based search: what was found, whether to believe it, and the remedy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
import torch
from torch import Tensor, nn

from netwright.networks.training import Examples, Training, train
from netwright.oneshot import monitor
from netwright.oneshot.checkpoints import seed_of
from netwright.oneshot.judging import chance, judged, score
from netwright.oneshot.monitor import Finding, alarms
from netwright.oneshot.perturbation import decisions_to_make, perturbed
from netwright.oneshot.search import GradientSearch, half_cosine, pairs
from netwright.space.candidate import Candidate

_FINAL = 2**31
"""In place of an epoch's number, for the draws made at the end."""


_OF_TRUST = ("ranking", "untrained")
"""Alarms that no other way of choosing by the same weights can answer."""


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
        return not any(one.name in _OF_TRUST for one in alarms(self.findings))


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
        findings += _ranking(search, half)
    by = "alpha"
    collapsed = [one for one in alarms(findings) if one.name not in _OF_TRUST]
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
    yield monitor.skips(search.space, best)


def _ranking(search: GradientSearch, deadline: float) -> Iterator[Finding]:
    """Of some candidates drawn at random: under shared weights, and trained alone for a while.

    With a deadline each gets its share of the time; fewer than four of them tell nothing.
    """
    rng = np.random.default_rng([search.seed, _FINAL])
    number = search.settings.honesty.networks
    drawn = _drawn(search, number, rng)
    shared, alone = [], []
    for place, candidate in enumerate(drawn):
        now = time.monotonic()
        if now > deadline:
            break
        until = now + (deadline - now) / (len(drawn) - place) if isfinite(deadline) else inf
        weights = search.supernet.one_hot(candidate)
        shared.append(judged(search.supernet, weights, search.halves.valid, search.feed))
        alone.append(_alone(search, candidate, until))
    if len(alone) >= 4:
        yield monitor.ranking(shared, alone)


def _drawn(search: GradientSearch, number: int, rng: np.random.Generator) -> list[Candidate]:
    """Different candidates through which something leads, what is held at its default."""
    default = search.space.default().values
    space = search.space.fix(
        {one.path: default[one.path] for one in search.space.decisions
         if one.path not in search.supernet.options and one.path in default}
    )  # fmt: skip
    found: dict[Candidate, None] = {}
    for _ in range(20 * number):
        candidate = space.sample(rng)
        new = len(found) < number and candidate not in found
        if new and search.supernet.leads_through(candidate):
            found[candidate] = None
    return [*found]


class _Scaled(nn.Module):
    """A network behind the scaling of its inputs."""

    def __init__(self, search: GradientSearch, network: nn.Module) -> None:
        super().__init__()
        self.scale, self.network = search.feed.scale, network

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(self.scale(x))
        return out


def _alone(search: GradientSearch, candidate: Candidate, deadline: float) -> float:
    """The score on the validation half of the candidate's network, trained on the other."""
    rows, valid = search.halves
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(search.seed)
        module = _Scaled(search, search.supernet.alone(search.space.fill(candidate)))
    epochs, size = search.settings.honesty.epochs, search.settings.batch_size
    recipe = Training((), batch_size=size, epochs=epochs, augment=search.feed.augment)
    curve = train(
        recipe, module, rows, valid.inputs, lambda out: -score(out, valid.targets),
        seed=search.seed, deadline=deadline,
    )  # fmt: skip
    return -curve.epochs[curve.best].score


def _perturbed(search: GradientSearch, deadline: float) -> dict[str, list[float]]:
    """By perturbation, tuning between the decisions for so many epochs in all.

    A deadline leaves the decisions that are not reached to the architecture parameters.
    """
    random = torch.Generator().manual_seed(seed_of(search.seed, _FINAL))
    order = decisions_to_make(search.supernet.options, random)
    batches = _endless(search, random)
    in_all = search.settings.honesty.perturb * len(search.halves.train) / search.settings.batch_size
    steps = max(1, round(in_all / max(1, len(order))))
    lr = search.settings.weights

    def tune() -> None:
        search.steps.optimizer.param_groups[0]["lr"] = half_cosine(lr.lr, lr.least_lr, 0.5)
        search.supernet.train()
        for _ in range(steps):
            rows = search.feed(next(batches), search.steps.device, random)
            search.steps.of_weights(rows, 1.0, random)

    def in_time() -> Iterator[str]:
        for path in order:
            if time.monotonic() > deadline:
                return
            yield path

    valid = search.halves.valid
    return perturbed(
        search.steps, lambda weights: judged(search.supernet, weights, valid, search.feed),
        in_time(), tune,
    )  # fmt: skip


def _endless(search: GradientSearch, random: torch.Generator) -> Iterator[Examples]:
    while True:
        for train_rows, _ in pairs(search.halves, search.settings.batch_size, random):
            yield train_rows
