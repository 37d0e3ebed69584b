"""Policy-gradient reinforcement learning: REINFORCE and PPO.

REINFORCE (Williams 1992; for architectures Zoph and Le 2017, 1611.01578) and PPO (Schulman et al.
2017, 1707.06347), each with an independent softmax for every decision or a recurrent controller.
The reward of a trial is its rank among the latest 500, which makes it independent of scales and
outliers and allows several objectives; the baseline is a moving average of the rewards.
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
from netwright.strategies.reinforcement.policies import (
    IndependentPolicy,
    Policy,
    PolicySample,
    RecurrentPolicy,
    UpdateSettings,
)
from netwright.trials.selection import constrained_ranks
from netwright.trials.trial import Proposal, Status, Trial

Controller = Literal["independent", "recurrent"]

_CONTROLLERS: dict[str, type[IndependentPolicy] | type[RecurrentPolicy]] = {
    "independent": IndependentPolicy,
    "recurrent": RecurrentPolicy,
}
_MAX_DRAWS = 100
"""Draws from the policy until one is unseen and legal; then a random candidate is proposed."""
_MAX_RANKED_TRIALS = 500
"""Rewards are ranks among the latest trials, so that the cost of an update is bounded."""
_BASELINE_DECAY = 0.9
"""Share of its old value that the moving average of the rewards keeps."""
_RECURRENT_LR = 0.01


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE (Williams, 1992): one policy-gradient step after each batch of trials.

    Candidates are proposed only once, but a policy that draws a finished candidate again learns
    from it.

    Args:
        controller: "independent" (a softmax per decision) or "recurrent" (the LSTM of ENAS).
        lr: Learning rate. None: 0.1 for the independent controller, 0.01 for the recurrent one.
        batch_size: Trials per update.
        entropy: Weight of the entropy bonus, which delays convergence; it falls with the square
            root of the number of updates.

    Raises:
        InputError: A setting is out of range.
    """

    controller: Controller = "independent"
    lr: float | None = None
    batch_size: int = 4
    entropy: float = 0.05

    def __post_init__(self) -> None:
        _check_settings(self.controller, self.lr, self.batch_size, self.entropy)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        policy = _CONTROLLERS[self.controller](problem.space)
        lr = _default_lr(self.lr, self.controller, independent=0.1)
        settings = _LearningSettings(lr, self.batch_size, self.entropy)
        return PolicyGradientStrategy(settings, policy, problem)


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation (Schulman et al., 2017): several clipped steps per batch.

    Args:
        controller: "independent" (a softmax per decision) or "recurrent" (the LSTM of ENAS).
        lr: Learning rate. None: 0.05 for the independent controller, 0.01 for the recurrent one.
        batch_size: Trials per update.
        entropy: Weight of the entropy bonus, which delays convergence; it falls with the square
            root of the number of updates.
        clip: A candidate is ignored once its probability has changed by more than this share.
        epochs: Gradient steps per batch.

    Raises:
        InputError: A setting is out of range.
    """

    controller: Controller = "independent"
    lr: float | None = None
    batch_size: int = 8
    entropy: float = 0.05
    clip: float = 0.2
    epochs: int = 4

    def __post_init__(self) -> None:
        _check_settings(self.controller, self.lr, self.batch_size, self.entropy)
        if not 0 < self.clip < 1:
            raise InputError(expected("clip", "between 0 and 1", self.clip))
        check_whole("epochs", self.epochs, 1)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        policy = _CONTROLLERS[self.controller](problem.space)
        lr = _default_lr(self.lr, self.controller, independent=0.05)
        settings = _LearningSettings(lr, self.batch_size, self.entropy, self.clip, self.epochs)
        return PolicyGradientStrategy(settings, policy, problem)


@dataclass(frozen=True)
class _LearningSettings:
    """Settings of a policy update from a batch; the defaults are those of REINFORCE."""

    lr: float
    batch_size: int
    entropy: float
    clip: float = math.inf
    epochs: int = 1


class PolicyGradientStrategy:
    """The strategy made by `Reinforce` and `PPO`: samples a policy, updates it after each batch."""

    def __init__(self, settings: _LearningSettings, policy: Policy, problem: Problem) -> None:
        self.settings, self.policy, self.space = settings, policy, problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self._tracker = ProposalTracker(problem)
        # at least a whole batch, so that all of its trials have a rank
        self._ended: deque[Trial] = deque(maxlen=max(_MAX_RANKED_TRIALS, settings.batch_size))
        self._pending: list[Trial] = []
        self._baseline = 0.0
        self._n_updates = 0

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        return self._tracker.fill_batch(n, lambda seen, _: self._propose(seen, rng))

    def tell(self, trial: Trial) -> None:
        self._tracker.record(trial)
        if trial.status in (Status.RUNNING, Status.FAILED):
            return
        self._ended.append(trial)
        self._pending.append(trial)
        if len(self._pending) >= self.settings.batch_size:
            self._update_policy()
            self._pending = []

    def _propose(self, seen: Set[Candidate], rng: RNG) -> Proposal | None:
        """Propose an unseen, legal candidate of the policy; a random one if none is drawn."""
        for _ in range(_MAX_DRAWS):
            candidate, log_probability = self.policy.sample(rng)
            if candidate not in seen and self.space.contains(candidate):
                note = {"log_probability": log_probability}
                return Proposal(candidate, origin="policy", note=note)
        proposal = propose_unseen(self.space, seen, rng)
        if proposal is None:
            return None
        note = {"log_probability": self.policy.log_probability(proposal.candidate)}
        return replace(proposal, note=note)

    def _update_policy(self) -> None:
        """Take gradient steps on the batch, and on draws of the policy that have ended already."""
        candidates = (trial.candidate for trial in self._ended)
        rewards = dict(zip(candidates, self._rewards(), strict=True))
        batch = [(trial.candidate, self._log_probability(trial)) for trial in self._pending]
        rng = np.random.default_rng(self._n_updates)
        for _ in range(self.settings.batch_size):
            candidate, log_probability = self.policy.sample(rng)
            if candidate in rewards:
                batch.append((candidate, log_probability))
        samples = [
            PolicySample(candidate, rewards[candidate] - self._baseline, log_probability)
            for candidate, log_probability in batch
        ]
        self._n_updates += 1
        entropy = self.settings.entropy / self._n_updates**0.5
        update_settings = UpdateSettings(self.settings.lr, entropy, self.settings.clip)
        for _ in range(self.settings.epochs):
            self.policy.update(samples, update_settings)
        mean_reward = float(np.mean([rewards[candidate] for candidate, _ in batch]))
        self._baseline = _BASELINE_DECAY * self._baseline + (1 - _BASELINE_DECAY) * mean_reward

    def _log_probability(self, trial: Trial) -> float:
        """Return the log probability when the trial was proposed."""
        noted = trial.proposal.note.get("log_probability")
        if isinstance(noted, float) and math.isfinite(noted):
            return noted
        return self.policy.log_probability(trial.candidate)  # a baseline

    def _rewards(self) -> list[float]:
        """Return ranks scaled to 1 (best) to -1 (worst) of ended trials; infeasible ones get -1."""
        done = [trial for trial in self._ended if trial.status is Status.DONE]
        worst_rank = max(len(self._ended) - 1, 1)
        ranks = dict(zip((trial.id for trial in done), self._mean_ranks(done), strict=True))
        return [
            1 - 2 * float(ranks.get(trial.id, worst_rank)) / worst_rank for trial in self._ended
        ]

    def _mean_ranks(self, done: list[Trial]) -> list[float]:
        """Return ranks from 0 by front, tied trials at their mean rank."""
        front_ranks = constrained_ranks(done, self.objectives, self.limits)
        _, fronts, sizes = np.unique(front_ranks, return_inverse=True, return_counts=True)
        n_better = np.cumsum(sizes) - sizes
        return [float(rank) for rank in (n_better + (sizes - 1) / 2)[fronts]]


def _default_lr(lr: float | None, controller: str, independent: float) -> float:
    if lr is not None:
        return lr
    return _RECURRENT_LR if controller == "recurrent" else independent


def _check_settings(controller: str, lr: float | None, batch_size: int, entropy: float) -> None:
    if controller not in _CONTROLLERS:
        raise InputError(expected("controller", " or ".join(_CONTROLLERS), controller))
    if lr is not None and not lr > 0:
        raise InputError(expected("lr", "above 0", lr))
    check_whole("batch_size", batch_size, 1)
    if not entropy >= 0:
        raise InputError(expected("entropy", "at least 0", entropy))
