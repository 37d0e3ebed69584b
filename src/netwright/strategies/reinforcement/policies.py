"""Policies: distributions over the candidates of a space that can be sampled and updated.

Each decision has *choices*: the options of a OneOf, the subsets of a SubsetOf, the whole numbers of
a short range, and otherwise equal bins of a number's range. A policy gives every active decision a
softmax over its choices; the log probability of a candidate is the sum over its decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.strategy import RNG
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import SubsetOfChoice
from netwright.space.decision import Decision
from netwright.space.space import Space

if TYPE_CHECKING:
    from torch import Tensor

    LSTMState = tuple[Tensor, Tensor]

MAX_CHOICES = 32
"""Ranges of more numbers than this are divided into `N_BINS` equal bins."""
N_BINS = 12
_INITIAL_WEIGHT_BOUND = 0.1
"""Weights of the controller are uniform within this bound (ENAS, 1802.03268)."""
_MAX_GRADIENT_NORM = 5.0

Vector = NDArray[np.float64]


class PolicySample(NamedTuple):
    """A candidate to learn from, with its advantage and its log probability when it was sampled."""

    candidate: Candidate
    advantage: float
    log_probability: float


class UpdateSettings(NamedTuple):
    """Learning rate, entropy weight, and PPO's clip range (infinite: no clipping)."""

    lr: float
    entropy: float
    clip: float = math.inf


class Policy(Protocol):
    """A distribution over candidates. Sampling never changes it; updates are deterministic."""

    def sample(self, rng: RNG) -> tuple[Candidate, float]:
        """Return a random candidate and its log probability."""
        ...

    def log_probability(self, candidate: Candidate) -> float: ...

    def update(self, samples: Sequence[PolicySample], settings: UpdateSettings) -> None:
        """Take a step of gradient ascent on the advantages and the entropy."""
        ...


@dataclass(frozen=True)
class Choices:
    """The choices of one decision, by index, and how their logits depend on the parameters.

    Args:
        decision: The decision.
        membership: (choices, parameters) A choice's logit is the sum of its parameters: one
            parameter per choice, or for subsets those of its labels.
        is_binned: Whether the choices are bins of a number's range.
    """

    decision: Decision
    membership: Vector
    is_binned: bool

    @classmethod
    def for_decision(cls, decision: Decision) -> Choices:
        if isinstance(decision.choice, SubsetOfChoice):
            labels = decision.choice.labels
            subsets = [subset for subset in decision.values if isinstance(subset, tuple)]
            membership = np.array(
                [[float(label in subset) for label in labels] for subset in subsets]
            )
            return cls(decision, membership, is_binned=False)
        is_short = 0 < len(decision.values) <= MAX_CHOICES
        n_choices = len(decision.values) if is_short else N_BINS
        return cls(decision, np.eye(n_choices), is_binned=not is_short)

    def __len__(self) -> int:
        return len(self.membership)

    def index(self, value: Value) -> int:
        """Return the index of the choice that a decided value belongs to."""
        if not self.is_binned:
            return self.decision.index(value)
        return min(int(self.decision.to_unit(value) * len(self)), len(self) - 1)

    def sample_value(self, index: int, rng: RNG) -> Value:
        """Return the value of a choice; from a bin, draw one uniformly."""
        if not self.is_binned:
            return self.decision.values[index]
        return self.decision.from_unit((index + rng.random()) / len(self))


class IndependentPolicy:
    """An independent softmax for each decision (TuNAS, 2008.06120, section 3).

    Adam on the exact gradient; logits start at 0, where every choice is equally likely.
    """

    def __init__(self, space: Space[Any], seed: int = 0) -> None:
        self._choices = {
            decision.path: Choices.for_decision(decision) for decision in space.decisions
        }
        self._theta = {
            path: np.zeros(choices.membership.shape[1]) for path, choices in self._choices.items()
        }
        self._moments = {
            path: (np.zeros_like(theta), np.zeros_like(theta))
            for path, theta in self._theta.items()
        }
        self._n_updates = 0

    def sample(self, rng: RNG) -> tuple[Candidate, float]:
        values: dict[str, Value] = {}
        log_probability = 0.0
        for path, choices in self._choices.items():
            if choices.decision.is_active(values):
                probabilities = self.probabilities(path)
                index = sample_index(probabilities, rng)
                values[path] = choices.sample_value(index, rng)
                log_probability += math.log(probabilities[index])
        return Candidate(values), log_probability

    def probabilities(self, path: str) -> Vector:
        """Return the probabilities (choices,) of the decision at a path."""
        return softmax(self._choices[path].membership @ self._theta[path])

    def log_probability(self, candidate: Candidate) -> float:
        total = 0.0
        for path, value in candidate.values.items():
            total += math.log(self.probabilities(path)[self._choices[path].index(value)])
        return total

    def update(self, samples: Sequence[PolicySample], settings: UpdateSettings) -> None:
        gradient = {path: np.zeros_like(theta) for path, theta in self._theta.items()}
        for sample in samples:
            log_probability = self.log_probability(sample.candidate)
            weight = gradient_weight(sample, log_probability, settings.clip)
            for path, value in sample.candidate.values.items():
                choices, p = self._choices[path], self.probabilities(path)
                # d log p(chosen) / d theta = membership(chosen) - E[membership]
                score = choices.membership[choices.index(value)] - p @ choices.membership
                log_p = np.log(p)
                # d H / d logits = -p (log p + H)
                by_entropy = -p * (log_p - p @ log_p) @ choices.membership
                gradient[path] += (weight * score + settings.entropy * by_entropy) / len(samples)
        self._adam_step(gradient, settings.lr)

    def _adam_step(self, gradient: Mapping[str, Vector], lr: float) -> None:
        """Take one ascending step of Adam with its default settings (1412.6980, algorithm 1)."""
        self._n_updates += 1
        t = self._n_updates
        for path, g in gradient.items():
            m, v = self._moments[path]
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g**2
            self._moments[path] = m, v
            step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            self._theta[path] = self._theta[path] + lr * step


class RecurrentPolicy:
    """An LSTM controller that makes one decision after another (ENAS, 1802.03268).

    Its inputs are embeddings of the previous decision and its choice; each decision has its own
    linear head. Logits are squashed to tanh_constant * tanh(x / temperature), as in the paper.
    """

    hidden = 64
    temperature = 5.0
    tanh_constant = 2.5

    def __init__(self, space: Space[Any], seed: int = 0) -> None:
        import torch
        from torch import nn

        self._choices = {
            decision.path: Choices.for_decision(decision) for decision in space.decisions
        }
        first_tokens, n_tokens = {}, 1  # token 0 is the start
        for path, choices in self._choices.items():
            first_tokens[path] = n_tokens
            n_tokens += len(choices)
        self._first_tokens = first_tokens
        memberships = [choices.membership for choices in self._choices.values()]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._cell = nn.LSTMCell(self.hidden, self.hidden)
            self._embedding = nn.Embedding(n_tokens, self.hidden)
            self._heads = nn.ModuleList(
                nn.Linear(self.hidden, membership.shape[1]) for membership in memberships
            )
            self._parameters = [
                parameter
                for module in (self._cell, self._embedding, self._heads)
                for parameter in module.parameters()
            ]
            for parameter in self._parameters:
                nn.init.uniform_(parameter, -_INITIAL_WEIGHT_BOUND, _INITIAL_WEIGHT_BOUND)
        self._memberships = [
            torch.tensor(membership, dtype=torch.float32) for membership in memberships
        ]
        self._adam = torch.optim.Adam(self._parameters)

    def sample(self, rng: RNG) -> tuple[Candidate, float]:
        import torch

        values: dict[str, Value] = {}
        total = 0.0
        state, token = self._initial_state(1)
        with torch.no_grad():
            for i, (path, choices) in enumerate(self._choices.items()):
                if not choices.decision.is_active(values):
                    continue
                log_p, state = self._step(i, token, state)
                p = log_p[0].double().exp().numpy()
                index = sample_index(p / p.sum(), rng)
                values[path] = choices.sample_value(index, rng)
                total += float(log_p[0, index])
                token = torch.tensor([self._first_tokens[path] + index])
        return Candidate(values), total

    def log_probability(self, candidate: Candidate) -> float:
        import torch

        with torch.no_grad():
            return float(self._log_probabilities_and_entropies([candidate])[0])

    def update(self, samples: Sequence[PolicySample], settings: UpdateSettings) -> None:
        import torch

        for group in self._adam.param_groups:
            group["lr"] = settings.lr
        candidates = [sample.candidate for sample in samples]
        log_p, entropy = self._log_probabilities_and_entropies(candidates)  # (batch,) each
        weights = [
            gradient_weight(sample, log_probability, settings.clip)
            for sample, log_probability in zip(samples, log_p.tolist(), strict=True)
        ]
        loss = -(torch.tensor(weights) * log_p + settings.entropy * entropy).mean()
        self._adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, _MAX_GRADIENT_NORM)
        self._adam.step()

    def _log_probabilities_and_entropies(
        self, candidates: Sequence[Candidate]
    ) -> tuple[Tensor, Tensor]:
        """Return log probabilities (batch,) and the sums of the decisions' entropies (batch,)."""
        import torch

        n = len(candidates)
        total, entropy = torch.zeros(n), torch.zeros(n)
        state, token = self._initial_state(n)
        for i, (path, choices) in enumerate(self._choices.items()):
            is_active = [path in candidate.values for candidate in candidates]
            if not any(is_active):
                continue
            indices = torch.tensor(
                [
                    choices.index(candidate.values[path]) if active else 0
                    for candidate, active in zip(candidates, is_active, strict=True)
                ]
            )
            mask = torch.tensor(is_active)
            log_p, next_state = self._step(i, token, state)  # (batch, choices)
            total = total + mask * log_p.gather(1, indices[:, None])[:, 0]
            entropy = entropy - mask * (log_p.exp() * log_p).sum(1)
            # inactive decisions leave the controller's state unchanged
            hidden, cell = (
                torch.where(mask[:, None], after, before)
                for after, before in zip(next_state, state, strict=True)
            )
            state = hidden, cell
            token = torch.where(mask, self._first_tokens[path] + indices, token)
        return total, entropy

    def _initial_state(self, n: int) -> tuple[LSTMState, Tensor]:
        """Return the initial state, (n, hidden) each, and the start tokens (n,)."""
        import torch

        zeros = torch.zeros(n, self.hidden)
        return (zeros, zeros), torch.zeros(n, dtype=torch.int64)

    def _step(self, i: int, token: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Return log probabilities (n, choices) of the i-th decision, and the next state."""
        import torch

        state = self._cell(self._embedding(token), state)
        logits = self._heads[i](state[0]) @ self._memberships[i].T  # (n, choices)
        logits = self.tanh_constant * torch.tanh(logits / self.temperature)
        return torch.log_softmax(logits, 1), state


def sample_index(probabilities: Vector, rng: RNG) -> int:
    """Draw an index with the given probabilities."""
    index = int(np.searchsorted(np.cumsum(probabilities), rng.random(), side="right"))
    return min(index, len(probabilities) - 1)


def gradient_weight(sample: PolicySample, log_probability: float, clip: float) -> float:
    """Return the factor of grad log p in the policy gradient of a sample.

    The gradient of min(r A, clip(r, 1 - e, 1 + e) A) is r A grad log p, and 0 if clipped (PPO,
    1707.06347, eq. 7). Without clipping: A, as in REINFORCE (Williams 1992).
    """
    if math.isinf(clip):
        return sample.advantage
    ratio = math.exp(log_probability - sample.log_probability)
    is_clipped = ratio > 1 + clip if sample.advantage > 0 else ratio < 1 - clip
    return 0.0 if is_clipped else ratio * sample.advantage


def softmax(logits: Vector) -> Vector:
    """Return the probabilities (n,)."""
    p = np.exp(logits - logits.max())
    normalised: Vector = p / p.sum()
    return normalised
