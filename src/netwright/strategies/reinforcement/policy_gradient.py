"""Reinforcement learning: a policy proposes, and is pulled towards what came out well.

REINFORCE (Williams 1992; for architectures Zoph and Le 2017, 1611.01578) and PPO (Schulman et al.
2017, 1707.06347), each with a softmax of its own for every decision or with a recurrent controller.
The reward of a trial is its rank among the latest 500, so that scales, outliers and several objectives
do no harm; the baseline is a moving average of the rewards.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from netwright.errors import InputError, check_whole, expected
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.strategies.reinforcement.policies import Independent, Policy, Recurrent, Step, Update
from netwright.trials.selection import constrained_ranks
from netwright.trials.trial import Proposal, Status, Trial

Controller = Literal["independent", "recurrent"]

_CONTROLLERS: dict[str, type[Independent] | type[Recurrent]] = {
    "independent": Independent, "recurrent": Recurrent,
}  # fmt: skip
_TRIES = 100
_REWARDED = 500
"""Ranks are those among so many latest trials: the cost of an update is bounded."""
_BASELINE = 0.9
"""The moving average keeps this share of itself."""


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE: after each `batch` of trials one step up the gradient of the expected reward.

    `lr` None: 0.1 for the independent controller, 0.01 for the recurrent one. `entropy` keeps the
    policy from settling too early; its factor falls with the root of the updates. What has been
    paid for is not proposed again, but the policy hears of it when it draws it.
    """

    controller: Controller = "independent"
    lr: float | None = None
    batch_size: int = 4
    entropy: float = 0.05

    def __post_init__(self) -> None:
        _check(self.controller, self.lr, self.batch_size, self.entropy)

    def __call__(self, problem: Problem) -> Strategy:
        policy = _CONTROLLERS[self.controller](problem.space)
        lr = _rate(self.lr, self.controller, independent=0.1)
        how = _Learning(lr, self.batch_size, self.entropy)
        return _Gradient(how, policy, problem)


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation: `epochs` steps on each batch, none of them too far.

    A candidate stops counting once its probability has changed by more than the share `clip`.
    `lr` None: 0.05 for the independent controller, 0.01 for the recurrent one.
    """

    controller: Controller = "independent"
    lr: float | None = None
    batch_size: int = 8
    entropy: float = 0.05
    clip: float = 0.2
    epochs: int = 4

    def __post_init__(self) -> None:
        _check(self.controller, self.lr, self.batch_size, self.entropy)
        if not 0 < self.clip < 1:
            raise InputError(expected("clip", "between 0 and 1", self.clip))
        check_whole("epochs", self.epochs, 1)

    def __call__(self, problem: Problem) -> Strategy:
        policy = _CONTROLLERS[self.controller](problem.space)
        lr = _rate(self.lr, self.controller, independent=0.05)
        how = _Learning(lr, self.batch_size, self.entropy, self.clip, self.epochs)
        return _Gradient(how, policy, problem)


@dataclass(frozen=True)
class _Learning:
    """How a policy learns from a batch: REINFORCE in one step, PPO in several, clipped ones."""

    lr: float
    batch: int
    entropy: float
    clip: float = math.inf
    epochs: int = 1


class _Gradient:
    """The strategy of both: draws from the policy; learns whenever a batch of trials has ended."""

    def __init__(
        self,
        how: _Learning,
        policy: Policy,
        problem: Problem,
    ) -> None:
        self.how, self.policy, self.space = how, policy, problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self._told = ProposalTracker(problem)
        # a batch's trials are all ranked, however large it is
        self._ended: deque[Trial] = deque(maxlen=max(_REWARDED, how.batch))
        self._waiting: list[Trial] = []
        self._baseline = 0.0
        self._updates = 0

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        return self._told.batch(n, lambda known, _: self._drawn(known, rng))

    def tell(self, trial: Trial) -> None:
        self._told.record(trial)
        if trial.status in (Status.RUNNING, Status.FAILED):
            return
        self._ended.append(trial)
        self._waiting.append(trial)
        if len(self._waiting) >= self.how.batch:
            self._learn()
            self._waiting = []

    def _drawn(self, known: Set[Candidate], rng: RNG) -> Proposal | None:
        """A candidate of the policy that is not known and keeps the space's rule; else a random one."""
        for _ in range(_TRIES):
            candidate, log_p = self.policy.draw(rng)
            if candidate not in known and self.space.contains(candidate):
                note = {"log_probability": log_p}
                return Proposal(candidate, origin="policy", note=note)
        other = propose_unseen(self.space, known, rng)
        if other is None:
            return None
        note = {"log_probability": self.policy.log_probability(other.candidate)}
        return replace(other, note=note)

    def _learn(self) -> None:
        """A gradient step on the batch, and on what the policy draws that is paid for already."""
        reward = dict(zip((one.candidate for one in self._ended), self._rewards(), strict=True))
        batch = [(one.candidate, self._log_probability(one)) for one in self._waiting]
        rng = np.random.default_rng(self._updates)
        for _ in range(self.how.batch):
            again, log_p = self.policy.draw(rng)
            if again in reward:
                batch.append((again, log_p))
        steps = [Step(one, reward[one] - self._baseline, log_p) for one, log_p in batch]
        self._updates += 1
        entropy = self.how.entropy / self._updates**0.5
        for _ in range(self.how.epochs):
            self.policy.learn(steps, Update(self.how.lr, entropy, self.how.clip))
        mean = float(np.mean([reward[one] for one, _ in batch]))
        self._baseline = _BASELINE * self._baseline + (1 - _BASELINE) * mean

    def _log_probability(self, trial: Trial) -> float:
        """That of the policy which proposed it."""
        noted = trial.proposal.note.get("log_probability")
        if isinstance(noted, float) and math.isfinite(noted):
            return noted
        return self.policy.log_probability(trial.candidate)  # a baseline

    def _rewards(self) -> list[float]:
        """From 1 for the best to -1 for the worst of what ended; infeasible ones are the worst."""
        done = [one for one in self._ended if one.status is Status.DONE]
        rank = constrained_ranks(done, self.objectives, self.limits)
        order = np.unique(rank, return_inverse=True)[1].astype(float)
        counts = np.bincount(order.astype(int), minlength=1)
        before = np.cumsum(counts) - counts  # how many are better
        middle = before[order.astype(int)] + (counts[order.astype(int)] - 1) / 2 if done else order
        last = max(len(self._ended) - 1, 1)
        places = dict(zip((one.id for one in done), middle, strict=True))
        return [1 - 2 * float(places.get(one.id, last)) / last for one in self._ended]


def _rate(lr: float | None, controller: str, independent: float) -> float:
    return lr if lr is not None else 0.01 if controller == "recurrent" else independent


def _check(controller: str, lr: float | None, batch: int, entropy: float) -> None:
    if controller not in _CONTROLLERS:
        raise InputError(expected("controller", " or ".join(_CONTROLLERS), controller))
    if lr is not None and not lr > 0:
        raise InputError(expected("lr", "above 0", lr))
    check_whole("batch", batch, 1)
    if not entropy >= 0:
        raise InputError(expected("entropy", "at least 0", entropy))
