"""Gradient-based search: weights and architecture parameters are trained in turns.

Liu et al. 2019 (1806.09055): half of the rows train the weights, the other half the architecture
parameters. What the methods differ in is a `Relaxation`; everything else is here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.networks.training import Examples, loss_of
from netwright.oneshot.bilevel import first_order, second_order
from netwright.oneshot.checkpoints import Checkpoint, shuffled
from netwright.oneshot.checkpoints import seed_of as _seed_of
from netwright.oneshot.derive import derived
from netwright.oneshot.relaxations import DrNAS, Relaxation
from netwright.oneshot.supernet import Supernet
from netwright.space.candidate import Candidate
from netwright.space.space import Space

_START = 1e-3
"""Deviation of architecture parameters at the start."""
_LOOKED_AT = 64
"""Candidates at least, to find some through which something leads."""
_DRAWS = 20
"""So often a path is drawn again when nothing leads through it."""


@dataclass(frozen=True)
class Gradient:
    """The settings of a gradient-based search; the defaults are those of DARTS' search.

    `order` 2 goes through one training step of the weights. `warm_up`: the share of the epochs in
    which weights are trained alone. Learning rates fall by half a cosine from `lr` to `least_lr`.
    """

    relaxation: Relaxation = DrNAS()  # noqa: RUF009  # frozen
    order: Literal[1, 2] = 1
    epochs: int = 50
    batch_size: int = 64
    lr: float = 0.025
    least_lr: float = 0.001
    momentum: float = 0.9
    decay: float = 3e-4
    clip: float = 5.0
    alpha_lr: float = 3e-4
    alpha_decay: float = 1e-3
    warm_up: float = 0.0

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise InputError(expected("order", "1 or 2", self.order))
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(expected(name, "at least 1", getattr(self, name)))
        if not 0 <= self.warm_up < 1:
            raise InputError(expected("warm_up", "from 0 to below 1", self.warm_up))


class Halves(NamedTuple):
    """Rows that weights are trained on, and rows that the architecture is judged by."""

    train: Examples
    valid: Examples


class EpochRecord(NamedTuple):
    """What an epoch left behind: mean losses, and the scores of every option after it."""

    train_loss: float
    valid_loss: float
    scores: Mapping[str, Sequence[float]]


@dataclass
class GradientSearch:
    """A supernet and its architecture parameters in training.

    `candidates(epoch, number)` is a function of what the search was made of and the epoch alone: it
    trains up to there if need be, and answers from the record if that is further on. With a
    `folder` every epoch ends in a checkpoint, and a search that was killed goes on there, bit for
    bit (on a CPU). Raises RunError when the folder is of another search.
    """

    space: Space[Any]
    supernet: Supernet
    halves: Halves
    settings: Gradient
    seed: int = 0
    folder: Path | None = None
    record: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = torch.Generator().manual_seed(self.seed)
        self.alpha = {
            path: (_START * torch.randn(size, generator=random)).requires_grad_()
            for path, size in self.supernet.options.items()
        }
        s = self.settings
        self._first_scores = self._scores()
        self._weights = [*self.supernet.parameters()]
        self._optimizer = torch.optim.SGD(
            self._weights, lr=s.lr, momentum=s.momentum, weight_decay=s.decay
        )
        self._alpha_optimizer = torch.optim.Adam(
            [*self.alpha.values()], lr=s.alpha_lr, betas=(0.5, 0.999), weight_decay=s.alpha_decay
        )
        if self.folder is not None and (saved := self._checkpoint(self.folder)).exists:
            self.record = [EpochRecord(*one) for one in saved.load()]

    def candidates(self, epoch: int, number: int = 1) -> list[Candidate]:
        """The candidates that the supernet prefers after `epoch` epochs, best first.

        Those through which nothing leads are left out: fewer than `number` where too many are.
        """
        self.train_to(epoch)
        scores = self.record[epoch - 1].scores if epoch else self._first_scores
        preferred = derived(self.space, scores, max(_LOOKED_AT, 4 * number))
        return [*islice(filter(self.supernet.leads_through, preferred), number)]

    def train_to(self, epoch: int) -> None:
        """Trains until so many epochs are over; nothing where they are."""
        if not 0 <= epoch <= self.settings.epochs:
            rule = f"from 0 to the {self.settings.epochs} of the settings"
            raise InputError(expected("epoch", rule, epoch))
        while len(self.record) < epoch:
            self.record.append(self._epoch(len(self.record)))
            if self.folder is not None:
                self._checkpoint(self.folder).save(self.record)

    def _scores(self) -> dict[str, list[float]]:
        found = self.settings.relaxation.scores(self.alpha)
        return {path: [float(x) for x in scores] for path, scores in found.items()}

    def _epoch(self, number: int) -> EpochRecord:
        """One pass over the training rows; all draws are those of the seed and the number."""
        s, random = self.settings, torch.Generator().manual_seed(_seed_of(self.seed, number))
        losses: list[tuple[Tensor, Tensor]] = []
        warm = number < round(s.warm_up * s.epochs)
        self.supernet.train()
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(_seed_of(self.seed, number))
            batches = [*_batches(self.halves, s.batch_size, random)]
            for step, (train, valid) in enumerate(batches):
                progress = (number + step / len(batches)) / s.epochs
                half_cosine = 0.5 * (1 + math.cos(math.pi * progress))
                self._optimizer.param_groups[0]["lr"] = (
                    s.least_lr + (s.lr - s.least_lr) * half_cosine
                )
                judged = (
                    torch.zeros(()) if warm else self._step_alpha(train, valid, progress, random)
                )
                losses.append((self._step_weights(train, progress, random), judged))
        means = [float(torch.stack(part).mean()) for part in zip(*losses, strict=True)]
        if not all(map(math.isfinite, means)):
            raise InfeasibleCandidate(
                f"the supernet's training diverged: the loss became {means[0]} in epoch "
                f"{number + 1}. Use a lower lr."
            )
        return EpochRecord(means[0], means[1], self._scores())

    def _step_alpha(
        self, train: Examples, valid: Examples, progress: float, random: torch.Generator
    ) -> Tensor:
        """A step of the architecture parameters; the validation loss it was by."""
        relaxation, alphas = self.settings.relaxation, [*self.alpha.values()]
        draw = random.get_state()
        seen: list[Tensor] = []

        def loss(rows: Examples) -> Tensor:
            random.set_state(draw)  # one path in all that the second order compares
            return self._loss(rows, progress, random)

        def judge() -> Tensor:
            judged = loss(valid)
            seen.append(judged.detach())
            return judged + relaxation.penalty(self.alpha, progress)

        if self.settings.order == 1:
            gradients = first_order(judge, alphas)
        else:
            rate = self._optimizer.param_groups[0]["lr"]
            gradients = second_order(
                lambda: loss(train), judge, self._weights, alphas, self._step_of_weights, rate
            )
        for alpha, gradient in zip(alphas, gradients, strict=True):
            alpha.grad = gradient
        self._alpha_optimizer.step()
        self._alpha_optimizer.zero_grad(set_to_none=True)
        return seen[0]

    def _step_of_weights(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """What stochastic gradient descent would move the weights by: momentum, decay and all."""
        s, rate = self.settings, self._optimizer.param_groups[0]["lr"]
        moves = []
        for weight, gradient in zip(self._weights, gradients, strict=True):
            before = self._optimizer.state[weight].get("momentum_buffer")
            momentum = 0.0 if before is None else s.momentum * before
            moves.append(rate * (momentum + gradient + s.decay * weight.detach()))
        return moves

    def _step_weights(self, train: Examples, progress: float, random: torch.Generator) -> Tensor:
        loss = self._loss(train, progress, random)
        gradients = torch.autograd.grad(loss, self._weights, allow_unused=True)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient  # None where the path did not lead: neither decay nor momentum
        nn.utils.clip_grad_norm_(self._weights, self.settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _loss(self, rows: Examples, progress: float, random: torch.Generator) -> Tensor:
        """Under weights drawn now; a path that leads nowhere is drawn again."""
        for _ in range(_DRAWS - 1):
            with suppress(InfeasibleCandidate):
                return self._loss_of_one(rows, progress, random)
        return self._loss_of_one(rows, progress, random)

    def _loss_of_one(self, rows: Examples, progress: float, random: torch.Generator) -> Tensor:
        relaxation, kept = self.settings.relaxation, self.supernet.kept
        weights = relaxation.weights(self.alpha, kept, progress, random)
        return loss_of(self.supernet(rows.inputs, weights), rows.targets)

    def _checkpoint(self, folder: Path) -> Checkpoint:
        alphas = {f"alpha.{path}": a for path, a in self.alpha.items()}
        return Checkpoint(folder, self._identity, self.supernet, self._optimizers, alphas)

    @property
    def _identity(self) -> str:
        """What a checkpoint has to share to be gone on with; the rows are the caller's to keep."""
        return f"{self.settings}, seed {self.seed}, space {self.space.fingerprint[:12]}"

    @property
    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"weights_optimizer": self._optimizer, "alpha_optimizer": self._alpha_optimizer}


def halves(rows: Examples, seed: int) -> Halves:
    """The rows, one half for the weights and one for the architecture."""
    if len(rows) < 4:
        raise InputError(expected("rows", "at least 4", len(rows)))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    first, second = order[: len(rows) // 2], order[len(rows) // 2 :]
    return Halves(*(Examples(rows.inputs[part], rows.targets[part]) for part in (first, second)))


def _batches(
    halves: Halves, size: int, random: torch.Generator
) -> Iterator[tuple[Examples, Examples]]:
    """Batches of nearly one size of both halves, as many as the first half has."""
    number = max(1, round(len(halves.train) / size))
    yield from zip(*(shuffled(rows, number, random) for rows in halves), strict=True)
