"""Policies: distributions over the candidates of a space that can be drawn from and learn.

Each decision has *choices*: the options of a OneOf, the subsets of a SubsetOf, the whole numbers of
a short range, and otherwise equal shares of a number's range. A policy gives every active decision
a softmax over its choices; the logarithm of a candidate's probability is the sum over them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.strategy import RNG
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import SubsetOfChoice
from netwright.space.decision import Decision
from netwright.space.space import Space

MOST_CHOICES = 32
"""A longer range of numbers is cut into `SHARES` equal ones."""
SHARES = 12

Vector = NDArray[np.float64]


class Step(NamedTuple):
    """One candidate to learn from: its advantage, and its log probability when it was drawn."""

    candidate: Candidate
    advantage: float
    log_probability: float


class Update(NamedTuple):
    """How to learn: learning rate, factor of the entropy, PPO's clip (infinite: none)."""

    lr: float
    entropy: float
    clip: float = math.inf


class Policy(Protocol):
    """A distribution over candidates. Drawing never changes it; `learn` does, reproducibly."""

    def draw(self, rng: RNG) -> tuple[Candidate, float]:
        """A candidate and the logarithm of its probability."""
        ...

    def log_probability(self, candidate: Candidate) -> float: ...

    def learn(self, steps: Sequence[Step], update: Update) -> None:
        """One step of gradient ascent on the advantages and the entropy."""
        ...


@dataclass(frozen=True)
class Choices:
    """The choices of one decision, by number, and how each is made of the policy's parameters.

    `members` (choices, parameters): a choice's logit is the sum of its members' parameters; one
    parameter a choice, and for a subset those of its labels.
    """

    decision: Decision
    members: Vector
    shares: bool

    @classmethod
    def of(cls, decision: Decision) -> Choices:
        if isinstance(decision.choice, SubsetOfChoice):
            labels = decision.choice.labels
            chosen = [value for value in decision.values if isinstance(value, tuple)]
            members = np.array([[float(label in subset) for label in labels] for subset in chosen])
            return cls(decision, members, shares=False)
        short = 0 < len(decision.values) <= MOST_CHOICES
        return cls(decision, np.eye(len(decision.values) if short else SHARES), shares=not short)

    def __len__(self) -> int:
        return len(self.members)

    def place(self, value: Value) -> int:
        """Which choice a decided value is."""
        if not self.shares:
            return self.decision.index(value)
        return min(int(self.decision.to_unit(value) * len(self)), len(self) - 1)

    def value(self, place: int, rng: RNG) -> Value:
        """The value of a choice; from a share of a range, one drawn evenly."""
        if not self.shares:
            return self.decision.values[place]
        return self.decision.from_unit((place + rng.random()) / len(self))


class Independent:
    """A softmax for each decision, by itself: the tabular policy (TuNAS, 2008.06120, section 3).

    Adam on the exact gradient; logits start at 0, where every choice is equally likely.
    """

    def __init__(self, space: Space[Any], seed: int = 0) -> None:
        self._choices = {one.path: Choices.of(one) for one in space.decisions}
        self._theta = {p: np.zeros(c.members.shape[1]) for p, c in self._choices.items()}
        self._moments = {p: (np.zeros_like(t), np.zeros_like(t)) for p, t in self._theta.items()}
        self._updates = 0

    def draw(self, rng: RNG) -> tuple[Candidate, float]:
        values: dict[str, Value] = {}
        total = 0.0
        for path, choices in self._choices.items():
            if choices.decision.is_active(values):
                p = self.probabilities(path)
                place = pick(p, rng)
                values[path] = choices.value(place, rng)
                total += math.log(p[place])
        return Candidate(values), total

    def probabilities(self, path: str) -> Vector:
        """(choices,) of the decision at a path."""
        return softmax(self._choices[path].members @ self._theta[path])

    def log_probability(self, candidate: Candidate) -> float:
        total = 0.0
        for path, value in candidate.values.items():
            total += math.log(self.probabilities(path)[self._choices[path].place(value)])
        return total

    def learn(self, steps: Sequence[Step], update: Update) -> None:
        gradient = {path: np.zeros_like(theta) for path, theta in self._theta.items()}
        for step in steps:
            weight = surrogate_weight(step, self.log_probability(step.candidate), update.clip)
            for path, value in step.candidate.values.items():
                choices, p = self._choices[path], self.probabilities(path)
                # d log p(chosen) / d theta = members(chosen) - E[members]
                score = choices.members[choices.place(value)] - p @ choices.members
                log_p = np.log(p)
                # d H / d logits = -p (log p + H)
                towards_even = -p * (log_p - p @ log_p) @ choices.members
                gradient[path] += (weight * score + update.entropy * towards_even) / len(steps)
        self._adam(gradient, update.lr)

    def _adam(self, gradient: Mapping[str, Vector], lr: float) -> None:
        """One step of Adam (1412.6980, algorithm 1), uphill."""
        self._updates += 1
        t = self._updates
        for path, g in gradient.items():
            m, v = self._moments[path]
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g**2
            self._moments[path] = m, v
            step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            self._theta[path] = self._theta[path] + lr * step


class Recurrent:
    """An LSTM that decides one after the other and sees what it has decided (ENAS, 1802.03268).

    Inputs are embeddings of the decision before and its choice; each decision has its own linear
    layer over the state. Logits are squashed to `tanh_constant` tanh(x / temperature), as there.
    """

    hidden = 64
    temperature = 5.0
    tanh_constant = 2.5

    def __init__(self, space: Space[Any], seed: int = 0) -> None:
        import torch
        from torch import nn

        self._choices = {one.path: Choices.of(one) for one in space.decisions}
        starts, total = {}, 1  # the first embedding stands for the beginning
        for path, choices in self._choices.items():
            starts[path], total = total, total + len(choices)
        self._starts = starts
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._cell = nn.LSTMCell(self.hidden, self.hidden)
            self._embedding = nn.Embedding(total, self.hidden)
            self._heads = nn.ModuleList(
                nn.Linear(self.hidden, c.members.shape[1]) for c in self._choices.values()
            )
            for module in (self._cell, self._embedding, self._heads):
                for parameter in module.parameters():
                    nn.init.uniform_(parameter, -0.1, 0.1)
        self._parameters = [
            p for m in (self._cell, self._embedding, self._heads) for p in m.parameters()
        ]
        self._members = [
            torch.tensor(c.members, dtype=torch.float32) for c in self._choices.values()
        ]
        self._adam = torch.optim.Adam(self._parameters)

    def draw(self, rng: RNG) -> tuple[Candidate, float]:
        import torch

        values: dict[str, Value] = {}
        total = 0.0
        state, token = self._start(1)
        with torch.no_grad():
            for i, (path, choices) in enumerate(self._choices.items()):
                if not choices.decision.is_active(values):
                    continue
                rows, state = self._step(i, token, state)
                p = rows[0].double().exp().numpy()
                place = pick(p / p.sum(), rng)
                values[path] = choices.value(place, rng)
                total += float(rows[0, place])
                token = torch.tensor([self._starts[path] + place])
        return Candidate(values), total

    def log_probability(self, candidate: Candidate) -> float:
        import torch

        with torch.no_grad():
            return float(self._judge([candidate])[0])

    def learn(self, steps: Sequence[Step], update: Update) -> None:
        import torch

        for group in self._adam.param_groups:
            group["lr"] = update.lr
        log_p, entropy = self._judge([step.candidate for step in steps])  # (batch,) each
        weights = [
            surrogate_weight(step, now, update.clip)
            for step, now in zip(steps, log_p.tolist(), strict=True)
        ]
        loss = -(torch.tensor(weights) * log_p + update.entropy * entropy).mean()
        self._adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 5.0)
        self._adam.step()

    def _judge(self, candidates: Sequence[Candidate]) -> tuple[Any, Any]:
        """(batch,) log probabilities, and (batch,) sums of the entropies on the way."""
        import torch

        n = len(candidates)
        total, entropy = torch.zeros(n), torch.zeros(n)
        state, token = self._start(n)
        for i, (path, choices) in enumerate(self._choices.items()):
            asked = [path in one.values for one in candidates]
            if not any(asked):
                continue
            places = torch.tensor(
                [choices.place(one.values[path]) if is_ else 0
                 for one, is_ in zip(candidates, asked, strict=True)]
            )  # fmt: skip
            active = torch.tensor(asked)
            rows, after = self._step(i, token, state)  # (batch, choices)
            total = total + active * rows.gather(1, places[:, None])[:, 0]
            entropy = entropy - active * (rows.exp() * rows).sum(1)
            # where a decision is not asked, the controller has not moved
            state = tuple(
                torch.where(active[:, None], a, b) for a, b in zip(after, state, strict=True)
            )
            token = torch.where(active, self._starts[path] + places, token)
        return total, entropy

    def _start(self, n: int) -> tuple[Any, Any]:
        """The first state, of (n, hidden) each, and the tokens (n,) of the beginning."""
        import torch

        zeros = torch.zeros(n, self.hidden)
        return (zeros, zeros), torch.zeros(n, dtype=torch.int64)

    def _step(self, i: int, token: Any, state: Any) -> tuple[Any, Any]:
        """(n, choices) log probabilities of the i-th decision, and the next state."""
        import torch

        state = self._cell(self._embedding(token), state)
        logits = self._heads[i](state[0]) @ self._members[i].T  # (n, choices)
        logits = self.tanh_constant * torch.tanh(logits / self.temperature)
        return torch.log_softmax(logits, 1), state


def pick(p: Vector, rng: RNG) -> int:
    """A place drawn with these probabilities."""
    return min(int(np.searchsorted(np.cumsum(p), rng.random(), side="right")), len(p) - 1)


def surrogate_weight(step: Step, log_probability: float, clip: float) -> float:
    """What the gradient of a step's log probability is multiplied by.

    The gradient of min(r A, clip(r, 1 - e, 1 + e) A) is r A d log p, and 0 where the clip holds
    (PPO, 1707.06347, eq. 7). Without a clip: A, REINFORCE (Williams 1992).
    """
    if math.isinf(clip):
        return step.advantage
    ratio = math.exp(log_probability - step.log_probability)
    held = ratio > 1 + clip if step.advantage > 0 else ratio < 1 - clip
    return 0.0 if held else ratio * step.advantage


def softmax(logits: Vector) -> Vector:
    """(n,) probabilities."""
    p = np.exp(logits - logits.max())
    normalised: Vector = p / p.sum()
    return normalised
