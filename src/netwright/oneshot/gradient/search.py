"""Gradient-based search: weights and architecture parameters are trained in turns.

Liu et al. 2019 (1806.09055): half of the rows train the weights, the other half the architecture
parameters. What the methods differ in is a `Relaxation`; everything else is here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.networks.training.clock import Clock
from netwright.networks.training.loop import Examples
from netwright.oneshot.checkpoints import Checkpoint
from netwright.oneshot.epochs import Feed, InEpochs, half_cosine, seed_of, shuffled, split
from netwright.oneshot.gradient.discretize import derived
from netwright.oneshot.gradient.held_decisions import fixed_to_held
from netwright.oneshot.gradient.settings import Gradient
from netwright.oneshot.gradient.steps import Steps
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.gradient.supernet_scoring import batch_statistics
from netwright.oneshot.monitor import alarms, largest_eigenvalue, sharpness, skips
from netwright.space.candidate import Candidate
from netwright.space.space import Space

_LOOKED_AT = 64
"""Candidates at least, to find some through which something leads."""
_BACK = 5
"""Epochs: so far before its alarm a search that bends ever more was still sound (1909.09656)."""
_LOOK = 32
"""Rows at most for an eigenvalue: all options run, and are differentiated twice."""
STOPPED = "stopped: the loss bends ever more with the architecture"
DECAYED = "weights decay more: too many skips"
_MOST_DECAYED = 2


class Halves(NamedTuple):
    """Rows that weights are trained on, and rows that the architecture is judged by."""

    train: Examples
    valid: Examples


class EpochRecord(NamedTuple):
    """What an epoch left behind: mean losses, the scores of every option after it, how much of the
    search was over, the largest eigenvalue where it was looked at, and what was done about it."""

    train_loss: float
    valid_loss: float
    scores: Mapping[str, Sequence[float]]
    progress: float = 0.0
    eigenvalue: float | None = None
    remedy: str = ""

    @property
    def is_last(self) -> bool:
        return self.progress >= 1 or self.remedy == STOPPED


@dataclass
class GradientSearch(InEpochs[EpochRecord]):
    """A supernet and its architecture parameters in training.

    `candidates(epoch, number)` is a function of what the search was made of and the epoch alone
    (while no clock counts): it trains up to there if need be, and answers from the record if that
    is further on. With a `folder` every epoch ends in a checkpoint, and a search that was killed
    goes on there, bit for bit (on a CPU). Raises RunError when the folder is of another search.
    """

    space: Space[Any]
    supernet: Supernet
    halves: Halves
    settings: Gradient
    seed: int = 0
    folder: Path | None = None
    feed: Feed = Feed()  # noqa: RUF009  # frozen
    record: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.space = fixed_to_held(self.space, self.supernet)
        self.steps = Steps(self.supernet, self.settings, self.seed)
        if term := self.settings.architecture.cost:
            some = self.halves.train.take(slice(term.rows))
            self.steps.price(self.feed(some, self.steps.device).inputs)
        self._first_scores = self._scores()
        if (saved := self.checkpoint) and saved.exists:
            self.record = saved.load(EpochRecord)

    @property
    def alpha(self) -> Mapping[str, Tensor]:
        """The architecture parameters: path -> (options,)."""
        return self.steps.alpha

    @property
    def sound(self) -> int:
        """The last epoch whose architecture is to be believed."""
        stopped = bool(self.record) and self.record[-1].remedy == STOPPED
        return max(1, len(self.record) - _BACK) if stopped else len(self.record)

    def candidates(self, epoch: int, number: int = 1) -> list[Candidate]:
        """The candidates that the supernet prefers after `epoch` epochs, best first.

        Those through which nothing leads are left out: fewer than `number` where too many are.
        """
        self.train_to(epoch)
        return self.preferred(self.scores_after(epoch), number)

    def preferred(self, scores: Mapping[str, Sequence[float]], number: int) -> list[Candidate]:
        """The candidates that lose least by these scores of options, best first."""
        found = derived(self.space, scores, max(_LOOKED_AT, 4 * number))
        return [*islice(filter(self.supernet.leads_through, found), number)]

    def scores_after(self, epoch: int) -> Mapping[str, Sequence[float]]:
        """How much each option was preferred after so many epochs."""
        return self.record[epoch - 1].scores if epoch else self._first_scores

    @property
    def epochs(self) -> int:
        return self.settings.epochs

    def run_one(self, clock: Clock) -> EpochRecord:
        return self._watched(self._epoch(len(self.record), clock), clock)

    def _scores(self) -> dict[str, list[float]]:
        with torch.no_grad():
            found = self.settings.relaxation.mean(self.steps.alpha, self.supernet.kept)
        return {path: [float(x) for x in one] for path, one in found.items()}

    def _epoch(self, number: int, clock: Clock) -> EpochRecord:
        """One pass over the training rows; all draws are those of the seed and the number."""
        s, random = self.settings, torch.Generator().manual_seed(seed_of(self.seed, number))
        losses: list[tuple[Tensor, Tensor]] = []
        self.supernet.train()
        group = self.steps.optimizer.param_groups[0]
        group["weight_decay"] = s.weights.decay * s.honesty.decay**self._decayed
        batches = [*pairs(self.halves, s.batch_size, random)]
        progress = 0.0
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(seed_of(self.seed, number))
            for step, rows in enumerate(batches):
                progress = clock.progress((number + step / len(batches)) / s.epochs)
                if progress >= 1 and losses:
                    break
                progress = min(progress, 1.0)
                group["lr"] = half_cosine(s.weights.lr, s.weights.least_lr, progress)
                train, valid = (self.feed(one, self.steps.device, random) for one in rows)
                judged = torch.zeros((), device=self.steps.device)
                if progress >= s.architecture.warm_up:
                    judged = self.steps.of_architecture(train, valid, progress, random)
                losses.append((self.steps.of_weights(train, progress, random), judged))
        means = [float(torch.stack(part).mean()) for part in zip(*losses, strict=True)]
        if not all(map(math.isfinite, means)):
            raise InfeasibleCandidate(
                f"the supernet's training diverged: the loss became {means[0]} in epoch "
                f"{number + 1}. Use a lower lr."
            )
        over = clock.progress((number + 1) / s.epochs)
        return EpochRecord(means[0], means[1], self._scores(), min(over, 1.0))

    # What is watched, and what is done about it

    @property
    def _decayed(self) -> int:
        return sum(one.remedy == DECAYED for one in self.record)

    def _watched(self, epoch: EpochRecord, clock: Clock) -> EpochRecord:
        """The epoch with what was seen in it."""
        honesty, number = self.settings.honesty, len(self.record)
        if epoch.progress < self.settings.architecture.warm_up:
            return epoch
        late = isfinite(clock.deadline) and epoch.progress >= 1  # its time is for the end
        if honesty.every and number % honesty.every == 0 and not late:
            epoch = epoch._replace(eigenvalue=self._eigenvalue(number))
        seen = [one.eigenvalue for one in [*self.record, epoch] if one.eigenvalue is not None]
        if honesty.stop and sharpness(seen).alarm:
            return epoch._replace(remedy=STOPPED)
        if honesty.decay > 1 and self._decayed < _MOST_DECAYED:
            preferred = derived(self.space, epoch.scores, 1)  # none that the space's rule lets pass
            if alarms(filter(None, [skips(self.space, best) for best in preferred])):
                return epoch._replace(remedy=DECAYED)
        return epoch

    def _eigenvalue(self, number: int) -> float:
        """Of the validation loss of some rows under the standing mixture; others in each epoch."""
        random = torch.Generator().manual_seed(seed_of(self.seed, number) ^ 1)
        size = min(self.settings.batch_size, _LOOK)
        some = torch.randperm(len(self.halves.valid), generator=random)[:size]
        rows = self.feed(self.halves.valid.take(some), self.steps.device)
        with batch_statistics(self.supernet):
            return largest_eigenvalue(
                lambda: self.steps.standing_loss(rows), [*self.steps.alpha.values()],
                random, steps=self.settings.honesty.power,
            )  # fmt: skip

    @property
    def checkpoint(self) -> Checkpoint | None:
        if self.folder is None:
            return None
        # what a checkpoint has to share to be gone on with; the rows are the caller's to keep
        identity = f"{self.settings}, seed {self.seed}, space {self.space.fingerprint[:12]}"
        optimizers: Mapping[str, torch.optim.Optimizer] = {
            "weights_optimizer": self.steps.optimizer,
            "alpha_optimizer": self.steps.alpha_optimizer,
        }
        alpha = {f"alpha.{path}": one for path, one in self.steps.alpha.items()}
        return Checkpoint(self.folder, identity, self.supernet, optimizers, alpha)


def halves(rows: Examples, seed: int) -> Halves:
    """The rows, one half for the weights and one for the architecture."""
    if len(rows) < 4:
        raise InputError(expected("rows", "at least 4", len(rows)))
    return Halves(*split(rows, 0.5, seed))


def pairs(
    halves: Halves, size: int, random: torch.Generator
) -> Iterator[tuple[Examples, Examples]]:
    """Batches of nearly one size of both halves, as many as the first half has."""
    number = max(1, round(len(halves.train) / size))
    yield from zip(*(shuffled(rows, number, random) for rows in halves), strict=True)
