"""Shared weights trained by sampled paths: the candidates of each step are drawn by a sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, check_whole, expected
from netwright.networks.training.loop import LabelledData, training_loss
from netwright.networks.training.training_clock import TrainingClock
from netwright.oneshot.checkpoints import Checkpoint
from netwright.oneshot.epoch_trainer import (
    BatchTransform,
    EpochTrainer,
    cosine_annealing,
    epoch_seed,
    shuffled_batches,
)
from netwright.oneshot.single_path.samplers import (
    PathBatch,
    Sampler,
    SamplingContext,
    UniformSampler,
)
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.space import RNG, Space

_DRAWS = 20
"""So often a step is drawn again when one of its candidates cannot be trained."""


class SampledEpoch(NamedTuple):
    """What an epoch left behind: the mean loss against labels, how much of the search was over."""

    loss: float
    progress: float

    @property
    def is_last(self) -> bool:
        return self.progress >= 1


@dataclass(frozen=True)
class SampledPathTraining:
    """The settings of training by sampled paths. The learning rate falls by half a cosine from `lr`
    to 0; momentum is Nesterov's; `decay` and `clip` as in `Gradient`."""

    sampler: Sampler = UniformSampler()  # noqa: RUF009  # frozen
    epochs: int = 50
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 4e-5
    clip: float = 5.0

    def __post_init__(self) -> None:
        if isinstance(self.sampler, type) or not hasattr(self.sampler, "step"):
            raise InputError(expected("sampler", "a sampler, such as Uniform()", self.sampler))
        for name in ("epochs", "batch_size"):
            check_whole(name, getattr(self, name), 1)
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(expected(name, "above 0", getattr(self, name)))


@dataclass
class SharedWeightsTrainer(EpochTrainer[SampledEpoch]):
    """Shared weights in training.

    What `train_to(epoch)` leaves is a function of what the search was made of and of the epoch
    (with `Drawn`, of the policy as well). With a `folder` every epoch ends in a checkpoint, and a
    search that was killed goes on there, bit for bit (on a CPU). `record`: the mean loss of each
    epoch against labels. Raises RunError when the folder is of another search.
    """

    space: Space[Any]
    shared: SharedWeights
    rows: LabelledData
    settings: SampledPathTraining
    seed: int = 0
    folder: Path | None = None
    transform: BatchTransform = BatchTransform()  # noqa: RUF009  # frozen
    history: list[SampledEpoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise InputError(expected("rows", "at least 1", 0))
        s = self.settings
        self._source = SamplingContext(self.space, self.shared)
        self._weights = [*self.shared.parameters()]
        self._optimizer = torch.optim.SGD(
            self._weights,
            lr=s.lr,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            nesterov=s.momentum > 0,
        )
        if (saved := self.checkpoint) and saved.exists:
            self.history = saved.load(SampledEpoch)

    @property
    def epochs(self) -> int:
        return self.settings.epochs

    def run_epoch(self, clock: TrainingClock) -> SampledEpoch:
        return self._epoch(len(self.history), clock)

    def _epoch(self, number: int, clock: TrainingClock) -> SampledEpoch:
        """One pass over the rows; all draws are those of the seed and the number."""
        s, seed = self.settings, epoch_seed(self.seed, number)
        random = np.random.default_rng(seed)
        batches = max(1, round(len(self.rows) / s.batch_size))
        losses: list[Tensor] = []
        self.shared.train()
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(seed)
            order = torch.Generator().manual_seed(seed)
            for i, batch in enumerate(shuffled_batches(self.rows, batches, order)):
                progress = clock.progress((number + i / batches) / s.epochs)
                if progress >= 1 and losses:
                    break
                self._optimizer.param_groups[0]["lr"] = cosine_annealing(
                    s.lr, 0.0, min(progress, 1.0)
                )
                rows = self.transform(batch, self.shared.device, order)
                losses.append(self._step(rows, self._drawn(random)))
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise InfeasibleCandidate(
                f"the training of shared weights diverged: the loss became {mean} in epoch "
                f"{number + 1}. Use a lower lr."
            )
        return SampledEpoch(mean, min(clock.progress((number + 1) / s.epochs), 1.0))

    def _drawn(self, random: RNG) -> PathBatch:
        """A step of the sampler, drawn again where it has a candidate that cannot be trained; at
        last without those."""
        for _ in range(_DRAWS):
            step = self.settings.sampler.step(self._source, random)
            able = tuple(filter(self._source.is_feasible, step.candidates))
            if len(able) == len(step.candidates):
                break
        if not able:
            raise InfeasibleCandidate(
                f"some candidate must be one that can be trained, got none in {_DRAWS} draws of "
                f"{self.settings.sampler}."
            )
        return step._replace(candidates=able)

    def _step(self, rows: LabelledData, step: PathBatch) -> Tensor:
        """The mean loss against labels."""
        losses: list[Tensor] = []
        teacher: Tensor | None = None
        for candidate in step.candidates:
            out = self.shared(rows.inputs, candidate)
            if teacher is not None:
                distillation(out, teacher, rows.targets).backward()
                continue
            loss = training_loss(out, rows.targets)
            loss.backward()
            losses.append(loss.detach())
            teacher = out.detach() if step.distill else None
        # None where no path led: neither decay nor momentum
        nn.utils.clip_grad_norm_(self._weights, self.settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return torch.stack(losses).mean()

    @property
    def checkpoint(self) -> Checkpoint | None:
        if self.folder is None:
            return None
        # what a checkpoint has to share to be gone on with; the rows are the caller's to keep
        identity = f"{self.settings}, seed {self.seed}, space {self.space.fingerprint[:12]}"
        optimizers: Mapping[str, torch.optim.Optimizer] = {"weights_optimizer": self._optimizer}
        return Checkpoint(self.folder, identity, self.shared, optimizers)


def distillation(output: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    """How far an output (batch, outputs) is from the teacher's: the cross-entropy with its
    probabilities where the targets are classes, else the squared error."""
    if targets.is_floating_point():
        return nn.functional.mse_loss(output, teacher)
    return nn.functional.cross_entropy(output, teacher.softmax(1))
