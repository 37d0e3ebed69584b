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
from netwright.networks.training.loop import LabelledData
from netwright.networks.training.training_clock import TrainingClock
from netwright.oneshot.checkpoints import Checkpoint
from netwright.oneshot.epoch_trainer import (
    BatchTransform,
    EpochTrainer,
    cosine_annealing,
    epoch_seed,
    random_split,
    shuffled_batches,
)
from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer
from netwright.oneshot.gradient.discretize import discretize
from netwright.oneshot.gradient.held_decisions import fixed_to_held
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.gradient.supernet_scoring import batch_statistics
from netwright.oneshot.monitor import (
    eigenvalue_growth,
    find_alarms,
    largest_eigenvalue,
    skip_dominance,
)
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


class SearchSplit(NamedTuple):
    """Rows that weights are trained on, and rows that the architecture is judged by."""

    train: LabelledData
    valid: LabelledData


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
class GradientSearch(EpochTrainer[EpochRecord]):
    """A supernet and its architecture parameters in training.

    `candidates(epoch, number)` is a function of what the search was made of and the epoch alone
    (while no clock counts): it trains up to there if need be, and answers from the record if that
    is further on. With a `folder` every epoch ends in a checkpoint, and a search that was killed
    goes on there, bit for bit (on a CPU). Raises RunError when the folder is of another search.
    """

    space: Space[Any]
    supernet: Supernet
    split: SearchSplit
    settings: DifferentiableNAS
    seed: int = 0
    folder: Path | None = None
    transform: BatchTransform = BatchTransform()  # noqa: RUF009  # frozen
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.space = fixed_to_held(self.space, self.supernet)
        self.optimizer = AlternatingOptimizer(self.supernet, self.settings, self.seed)
        if term := self.settings.architecture.cost:
            some = self.split.train.take(slice(term.batch_size))
            self.optimizer.price(self.transform(some, self.optimizer.device).inputs)
        self._first_scores = self._scores()
        if (saved := self.checkpoint) and saved.exists:
            self.history = saved.load(EpochRecord)

    @property
    def alpha(self) -> Mapping[str, Tensor]:
        """The architecture parameters: path -> (options,)."""
        return self.optimizer.alpha

    @property
    def sound(self) -> int:
        """The last epoch whose architecture is to be believed."""
        stopped = bool(self.history) and self.history[-1].remedy == STOPPED
        return max(1, len(self.history) - _BACK) if stopped else len(self.history)

    def candidates(self, epoch: int, n_candidates: int = 1) -> list[Candidate]:
        """The candidates that the supernet prefers after `epoch` epochs, best first.

        Those through which nothing leads are left out: fewer than `number` where too many are.
        """
        self.train_to(epoch)
        return self.top_candidates(self.scores_after(epoch), n_candidates)

    def top_candidates(
        self, scores: Mapping[str, Sequence[float]], n_candidates: int
    ) -> list[Candidate]:
        """The candidates that lose least by these scores of options, best first."""
        found = discretize(self.space, scores, max(_LOOKED_AT, 4 * n_candidates))
        return [*islice(filter(self.supernet.is_feasible, found), n_candidates)]

    def scores_after(self, epoch: int) -> Mapping[str, Sequence[float]]:
        """How much each option was preferred after so many epochs."""
        return self.history[epoch - 1].scores if epoch else self._first_scores

    @property
    def epochs(self) -> int:
        return self.settings.epochs

    def run_epoch(self, clock: TrainingClock) -> EpochRecord:
        return self._watched(self._epoch(len(self.history), clock), clock)

    def _scores(self) -> dict[str, list[float]]:
        with torch.no_grad():
            found = self.settings.relaxation.mean(self.optimizer.alpha, self.supernet.n_chosen)
        return {path: [float(x) for x in one] for path, one in found.items()}

    def _epoch(self, number: int, clock: TrainingClock) -> EpochRecord:
        """One pass over the training rows; all draws are those of the seed and the number."""
        s, random = self.settings, torch.Generator().manual_seed(epoch_seed(self.seed, number))
        losses: list[tuple[Tensor, Tensor]] = []
        self.supernet.train()
        group = self.optimizer.weight_optimizer.param_groups[0]
        group["weight_decay"] = (
            s.weights.weight_decay * s.safeguards.weight_decay_factor**self._decayed
        )
        batches = [*paired_batches(self.split, s.batch_size, random)]
        progress = 0.0
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(epoch_seed(self.seed, number))
            for step, rows in enumerate(batches):
                progress = clock.progress((number + step / len(batches)) / s.epochs)
                if progress >= 1 and losses:
                    break
                progress = min(progress, 1.0)
                group["lr"] = cosine_annealing(s.weights.lr, s.weights.min_lr, progress)
                train, valid = (self.transform(one, self.optimizer.device, random) for one in rows)
                judged = torch.zeros((), device=self.optimizer.device)
                if progress >= s.architecture.warmup:
                    judged = self.optimizer.architecture_step(train, valid, progress, random)
                losses.append((self.optimizer.weight_step(train, progress, random), judged))
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
        return sum(one.remedy == DECAYED for one in self.history)

    def _watched(self, epoch: EpochRecord, clock: TrainingClock) -> EpochRecord:
        """The epoch with what was seen in it."""
        honesty, number = self.settings.safeguards, len(self.history)
        if epoch.progress < self.settings.architecture.warmup:
            return epoch
        late = isfinite(clock.deadline) and epoch.progress >= 1  # its time is for the end
        if honesty.eigenvalue_interval and number % honesty.eigenvalue_interval == 0 and not late:
            epoch = epoch._replace(eigenvalue=self._eigenvalue(number))
        seen = [one.eigenvalue for one in [*self.history, epoch] if one.eigenvalue is not None]
        if honesty.stop_on_eigenvalue_growth and eigenvalue_growth(seen).alarm:
            return epoch._replace(remedy=STOPPED)
        if honesty.weight_decay_factor > 1 and self._decayed < _MOST_DECAYED:
            preferred = discretize(
                self.space, epoch.scores, 1
            )  # none that the space's rule lets pass
            if find_alarms(filter(None, [skip_dominance(self.space, best) for best in preferred])):
                return epoch._replace(remedy=DECAYED)
        return epoch

    def _eigenvalue(self, number: int) -> float:
        """Of the validation loss of some rows under the standing mixture; others in each epoch."""
        random = torch.Generator().manual_seed(epoch_seed(self.seed, number) ^ 1)
        size = min(self.settings.batch_size, _LOOK)
        some = torch.randperm(len(self.split.valid), generator=random)[:size]
        rows = self.transform(self.split.valid.take(some), self.optimizer.device)
        with batch_statistics(self.supernet):
            return largest_eigenvalue(
                lambda: self.optimizer.standing_loss(rows), [*self.optimizer.alpha.values()],
                random, steps=self.settings.safeguards.power_iterations,
            )  # fmt: skip

    @property
    def checkpoint(self) -> Checkpoint | None:
        if self.folder is None:
            return None
        # what a checkpoint has to share to be gone on with; the rows are the caller's to keep
        identity = f"{self.settings}, seed {self.seed}, space {self.space.fingerprint[:12]}"
        optimizers: Mapping[str, torch.optim.Optimizer] = {
            "weights_optimizer": self.optimizer.weight_optimizer,
            "alpha_optimizer": self.optimizer.alpha_optimizer,
        }
        alpha = {f"alpha.{path}": one for path, one in self.optimizer.alpha.items()}
        return Checkpoint(self.folder, identity, self.supernet, optimizers, alpha)


def split_in_halves(rows: LabelledData, seed: int) -> SearchSplit:
    """The rows, one half for the weights and one for the architecture."""
    if len(rows) < 4:
        raise InputError(expected("rows", "at least 4", len(rows)))
    return SearchSplit(*random_split(rows, 0.5, seed))


def paired_batches(
    halves: SearchSplit, size: int, random: torch.Generator
) -> Iterator[tuple[LabelledData, LabelledData]]:
    """Batches of nearly one size of both halves, as many as the first half has."""
    number = max(1, round(len(halves.train) / size))
    yield from zip(*(shuffled_batches(rows, number, random) for rows in halves), strict=True)
