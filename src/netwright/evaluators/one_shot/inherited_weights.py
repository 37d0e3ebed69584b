"""Weight sharing as an evaluator: a candidate is judged with the weights that it inherits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from netwright.errors import InfeasibleCandidate, InputError, check_whole, expected
from netwright.interfaces.evaluator import Capabilities
from netwright.networks.training.loop import LabelledData, predict
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights, recalibrate_batch_norm
from netwright.trials.metrics import METRICS, Kind, score
from netwright.trials.trial import Job, Metrics


@dataclass(frozen=True, eq=False)
class InheritAndValidate:
    """Judges a candidate by its share of trained weights; its metrics are those of the rows `judge`.

    So any strategy searches among sub-networks: evolution, as in single path one-shot search (Guo et
    al. 2020, 1904.00420), or a policy whose draws train the weights meanwhile, as in ENAS (Pham et
    al. 2018, 1802.03268). Running statistics are found afresh from the rows `train`: `batches` of
    `batch_size`, the same for every candidate, drawn from `seed`. Targets are class numbers, or
    floats for regression, whose errors are then in the targets' own unit.

    It pickles, with a copy of the weights as they are: worker processes judge by those, and do not
    see them trained on. Where training goes on between trials, evaluate in the process that trains.
    """

    shared: SharedWeights = field(repr=False)
    kind: Kind
    train: LabelledData = field(repr=False)
    validation: LabelledData = field(repr=False)
    recalibration_batches: int = 20
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batches", 1), ("batch_size", 2)):
            check_whole(name, getattr(self, name), least)
        for name, least in (("train", 2), ("judge", 1)):
            if len(getattr(self, name)) < least:
                rows = len(getattr(self, name))
                raise InputError(expected(f"rows of {name}", f"at least {least}", rows))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(name for name, one in METRICS.items() if self.kind in one.kinds)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(fidelities=(1.0,))

    def __call__(self, job: Job) -> Metrics:
        module = recalibrate_batch_norm(self.shared, job.proposal.candidate, self._batches())
        found = predict(module, self.validation.inputs)  # (n, outputs)
        if not torch.isfinite(found).all():
            raise InfeasibleCandidate(
                "the outputs under shared weights are not finite. Train those with a lower lr."
            )
        truth = self.validation.targets.cpu().numpy()
        if self.kind == "regression":
            return score(self.kind, truth.astype(np.float64), found[:, 0].double().numpy())
        return score(self.kind, truth, found.softmax(1).numpy())

    def _batches(self) -> list[torch.Tensor]:
        random = torch.Generator().manual_seed(self.seed)
        rows = torch.randperm(len(self.train), generator=random)
        rows = rows[: self.recalibration_batches * self.batch_size]
        parts = rows.tensor_split(max(1, len(rows) // self.batch_size))  # of nearly one size
        return [self.train.inputs[part].to(self.shared.device) for part in parts]
