"""Differentiable architecture search: weights and architecture parameters, trained in turns.

Liu et al. (2019, 1806.09055): one half of the rows trains the weights, the other half the
architecture parameters. The methods differ in their `Relaxation`; everything else is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.training_clock import TrainingClock
from netwright.oneshot.checkpoints import Checkpoint
from netwright.oneshot.epoch_trainer import (
    BatchTransform,
    EpochTrainer,
    ShuffledBatch,
    cosine_annealing,
    epoch_seed,
    random_split,
    shuffled_batches,
)
from netwright.oneshot.gradient.alternating_optimizer import AlternatingOptimizer
from netwright.oneshot.gradient.discretize import discretize
from netwright.oneshot.gradient.held_decisions import fix_unmixed_decisions
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.gradient.supernet_scoring import use_batch_statistics
from netwright.oneshot.monitor import (
    eigenvalue_growth,
    find_alarms,
    largest_eigenvalue,
    skip_dominance,
)
from netwright.space.candidate import Candidate
from netwright.space.space import Space

_MIN_DISCRETIZED = 64
"""Candidates to discretize at least, among which some should be feasible."""
_EPOCHS_BEFORE_ALARM = 5
"""Epochs to go back when eigenvalue growth stops the search (Zela et al., 2020, 1909.09656)."""
_MAX_EIGENVALUE_ROWS = 32
"""Rows for an eigenvalue: all options run on them, and are differentiated twice."""
STOPPED = "stopped: the largest eigenvalue of the architecture's Hessian has grown sharply"
DECAYED = "weight decay increased: too many skips"
_MAX_DECAY_INCREASES = 2
"""Increases of the weight decay in one search: 9-fold at most, at the default factor of 3."""


class SearchSplit(NamedTuple):
    """Rows for the weights, and rows for the architecture parameters."""

    train: LabelledData
    valid: LabelledData


class EpochRecord(NamedTuple):
    """Record of an epoch.

    Mean losses, option scores after the epoch, the share of the search that is over, the largest
    eigenvalue where it was measured, and the remedy that was applied.
    """

    train_loss: float
    valid_loss: float
    scores: Mapping[str, Sequence[float]]
    progress: float = 0.0
    eigenvalue: float | None = None
    remedy: str = ""

    @property
    def is_last(self) -> bool:
        """Whether the search ends with this epoch."""
        return self.progress >= 1 or self.remedy == STOPPED


@dataclass
class GradientSearch(EpochTrainer[EpochRecord]):
    """Training of a supernet and its architecture parameters.

    Without a deadline, `candidates(epoch, n_candidates)` is a function of the arguments and the
    epoch alone: it trains up to that epoch, or answers from `history` if that is further on. With a
    `folder` every epoch ends in a checkpoint, from which a killed search resumes bit for bit (on a
    CPU). Raises RunError when the folder is of another search.
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
        self.space = fix_unmixed_decisions(self.space, self.supernet)
        self.optimizer = AlternatingOptimizer(self.supernet, self.settings, self.seed)
        if term := self.settings.architecture_training.cost:
            example = self.split.train.take(slice(term.batch_size))
            self.optimizer.measure_costs(self.transform(example, self.optimizer.device).inputs)
        self._initial_scores = self._option_scores()
        if (checkpoint := self.checkpoint) and checkpoint.exists:
            self.history = checkpoint.load(EpochRecord)

    @property
    def alpha(self) -> Mapping[str, Tensor]:
        """Architecture parameters: decision path -> (options,)."""
        return self.optimizer.alpha

    @property
    def last_sound_epoch(self) -> int:
        """Last epoch before eigenvalue growth spoilt the architecture, if it did."""
        stopped = bool(self.history) and self.history[-1].remedy == STOPPED
        return max(1, len(self.history) - _EPOCHS_BEFORE_ALARM) if stopped else len(self.history)

    def candidates(self, epoch: int, n_candidates: int = 1) -> list[Candidate]:
        """Return the top candidates after `epoch` epochs, best first; train until then if needed.

        There are fewer than `n_candidates` where too many are infeasible.
        """
        self.train_to(epoch)
        return self.top_candidates(self.scores_after(epoch), n_candidates)

    def top_candidates(
        self, scores: Mapping[str, Sequence[float]], n_candidates: int
    ) -> list[Candidate]:
        """Return the feasible candidates with the best option scores, best first."""
        ranked = discretize(self.space, scores, max(_MIN_DISCRETIZED, 4 * n_candidates))
        return [*islice(filter(self.supernet.is_feasible, ranked), n_candidates)]

    def scores_after(self, epoch: int) -> Mapping[str, Sequence[float]]:
        """Return the option scores after `epoch` epochs."""
        return self.history[epoch - 1].scores if epoch else self._initial_scores

    @property
    def epochs(self) -> int:
        """Number of epochs when there is no deadline."""
        return self.settings.epochs

    def run_epoch(self, clock: TrainingClock) -> EpochRecord:
        """Train for one epoch, then apply the safeguards.

        Raises InfeasibleCandidate if the training diverges or nothing can be trained.
        """
        return self._apply_safeguards(self._run_epoch(len(self.history), clock), clock)

    def _option_scores(self) -> dict[str, list[float]]:
        with torch.no_grad():
            means = self.settings.relaxation.mean(self.optimizer.alpha, self.supernet.n_chosen)
        return {path: [float(score) for score in scores] for path, scores in means.items()}

    def _run_epoch(self, epoch: int, clock: TrainingClock) -> EpochRecord:
        """Make one pass over the training rows; the seed and the epoch determine all draws."""
        s, seed = self.settings, epoch_seed(self.seed, epoch)
        generator = torch.Generator().manual_seed(seed)
        losses: list[tuple[Tensor, Tensor]] = []
        self.supernet.train()
        group = self.optimizer.weight_optimizer.param_groups[0]
        decay_factor = s.safeguards.weight_decay_factor**self._n_decay_increases
        group["weight_decay"] = s.weight_training.weight_decay * decay_factor
        batches = [*paired_batches(self.split, s.batch_size, generator)]
        progress = 0.0
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(seed)
            for step, pair in enumerate(batches):
                progress = clock.progress((epoch + step / len(batches)) / s.epochs)
                if progress >= 1 and losses:
                    break
                progress = min(progress, 1.0)
                group["lr"] = cosine_annealing(
                    s.weight_training.lr, s.weight_training.min_lr, progress
                )
                train, valid = (
                    self.transform(
                        batch.labelled,
                        self.optimizer.device,
                        BatchContext(generator, batch.rows, epoch),
                    )
                    for batch in pair
                )
                valid_loss = torch.zeros((), device=self.optimizer.device)
                if progress >= s.architecture_training.warmup:
                    valid_loss = self.optimizer.architecture_step(train, valid, progress, generator)
                losses.append((self.optimizer.weight_step(train, progress, generator), valid_loss))
        train_loss, valid_mean = (
            float(torch.stack(column).mean()) for column in zip(*losses, strict=True)
        )
        if not (isfinite(train_loss) and isfinite(valid_mean)):
            raise InfeasibleCandidate(
                f"the supernet's training diverged: the loss became {train_loss} in epoch "
                f"{epoch + 1}. Use a lower lr."
            )
        progress = clock.progress((epoch + 1) / s.epochs)
        return EpochRecord(train_loss, valid_mean, self._option_scores(), min(progress, 1.0))

    # Safeguards

    @property
    def _n_decay_increases(self) -> int:
        return sum(record.remedy == DECAYED for record in self.history)

    def _apply_safeguards(self, epoch: EpochRecord, clock: TrainingClock) -> EpochRecord:
        """Return the epoch's record with its eigenvalue and the remedy of an alarm."""
        safeguards, index = self.settings.safeguards, len(self.history)
        if epoch.progress < self.settings.architecture_training.warmup:
            return epoch
        out_of_time = isfinite(clock.deadline) and epoch.progress >= 1  # finalize needs the rest
        interval = safeguards.eigenvalue_interval
        if interval and index % interval == 0 and not out_of_time:
            epoch = epoch._replace(eigenvalue=self._largest_eigenvalue(index))
        eigenvalues = [
            record.eigenvalue for record in [*self.history, epoch] if record.eigenvalue is not None
        ]
        if safeguards.stop_on_eigenvalue_growth and eigenvalue_growth(eigenvalues).alarm:
            return epoch._replace(remedy=STOPPED)
        may_increase_decay = self._n_decay_increases < _MAX_DECAY_INCREASES
        if safeguards.weight_decay_factor > 1 and may_increase_decay:
            best = discretize(
                self.space, epoch.scores, 1
            )  # none where the space's rule forbids all
            findings = [skip_dominance(self.space, candidate) for candidate in best]
            if find_alarms(filter(None, findings)):
                return epoch._replace(remedy=DECAYED)
        return epoch

    def _largest_eigenvalue(self, epoch: int) -> float:
        """Measure that of the validation loss under the mean weights, on other rows each epoch."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, epoch) ^ 1)
        n_rows = min(self.settings.batch_size, _MAX_EIGENVALUE_ROWS)
        indices = torch.randperm(len(self.split.valid), generator=generator)[:n_rows]
        rows = self.transform(self.split.valid.take(indices), self.optimizer.device)
        with use_batch_statistics(self.supernet):
            return largest_eigenvalue(
                lambda: self.optimizer.expected_weights_loss(rows),
                [*self.optimizer.alpha.values()],
                generator,
                steps=self.settings.safeguards.power_iterations,
            )

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Checkpoint in the folder; None without a folder."""
        if self.folder is None:
            return None
        # only a search of this identity can resume; the caller must pass the same rows
        identity = f"{self.settings}, seed {self.seed}, space {self.space.fingerprint[:12]}"
        optimizers: Mapping[str, torch.optim.Optimizer] = {
            "weights_optimizer": self.optimizer.weight_optimizer,
            "alpha_optimizer": self.optimizer.alpha_optimizer,
        }
        alpha = {f"alpha.{path}": a for path, a in self.optimizer.alpha.items()}
        return Checkpoint(self.folder, identity, self.supernet, optimizers, alpha)


def split_in_halves(rows: LabelledData, seed: int) -> SearchSplit:
    """Split the rows at random: one half for the weights, one for the architecture."""
    if len(rows) < 4:
        raise InputError(expected("rows", "at least 4", len(rows)))
    return SearchSplit(*random_split(rows, 0.5, seed))


def paired_batches(
    split: SearchSplit, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[ShuffledBatch, ShuffledBatch]]:
    """Yield batches of nearly equal size from both halves, as many as the first half fills."""
    n_batches = max(1, round(len(split.train) / batch_size))
    yield from zip(*(shuffled_batches(rows, n_batches, generator) for rows in split), strict=True)
