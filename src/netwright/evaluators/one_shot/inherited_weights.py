"""Weight sharing as an evaluator: a candidate is scored with the weights that it inherits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from netwright.errors import InfeasibleCandidate, InputError, check_whole, expected
from netwright.interfaces.evaluator import Capabilities
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import predict
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights, recalibrate_batch_norm
from netwright.trials.metrics import METRICS, Kind, score
from netwright.trials.trial import Job, Metrics


@dataclass(frozen=True, eq=False)
class InheritAndValidate:
    """Evaluator that scores a candidate with its slice of shared weights, without training it.

    With it any strategy searches among sub-networks: evolution, as in single path one-shot search
    (Guo et al., 2020, 1904.00420), or a policy whose samples train the weights meanwhile, as in ENAS
    (Pham et al., 2018, 1802.03268). Running statistics of normalization are recalibrated for each
    candidate, on the same batches.

    It pickles with a copy of the weights: worker processes do not see later training. If training
    goes on between trials, use `InProcess`.

    Args:
        shared: the trained shared weights.
        kind: of the task; decides the metrics.
        train: rows for recalibration, at least 2.
        validation: rows that are scored, at least 1. Targets are class numbers, or floats for
            regression, whose errors are in the targets' unit.
        recalibration_batches: number of batches for the running statistics.
        batch_size: of these batches, at least 2.
        seed: draws their rows from `train`.

    Raises:
        InputError: a number is too small, or rows are too few.

    Example:
        >>> evaluator = InheritAndValidate(shared, "multiclass", train_rows, validation_rows)
        >>> study = Study(space, evaluator, objectives="accuracy", executor=InProcess())
    """

    shared: SharedWeights = field(repr=False)
    kind: Kind
    train: LabelledData = field(repr=False)
    validation: LabelledData = field(repr=False)
    recalibration_batches: int = 20
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("recalibration_batches", self.recalibration_batches, 1)
        check_whole("batch_size", self.batch_size, 2)
        for name, rows, min_rows in (("train", self.train, 2), ("validation", self.validation, 1)):
            if len(rows) < min_rows:
                raise InputError(expected(f"rows of {name}", f"at least {min_rows}", len(rows)))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(name for name, metric in METRICS.items() if self.kind in metric.kinds)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(fidelities=(1.0,))

    def __call__(self, job: Job) -> Metrics:
        module = recalibrate_batch_norm(self.shared, job.proposal.candidate, self._batches())
        outputs = predict(module, self.validation.inputs)  # (n, outputs)
        if not torch.isfinite(outputs).all():
            raise InfeasibleCandidate(
                "the outputs with shared weights are not finite. Train them with a lower lr."
            )
        target = self.validation.targets.cpu().numpy()
        if self.kind == "regression":
            return score(self.kind, target.astype(np.float64), outputs[:, 0].double().numpy())
        return score(self.kind, target, outputs.softmax(1).numpy())

    def _batches(self) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randperm(len(self.train), generator=generator)
        rows = rows[: self.recalibration_batches * self.batch_size]
        batches = rows.tensor_split(max(1, len(rows) // self.batch_size))  # of nearly equal size
        return [self.train.inputs[batch].to(self.shared.device) for batch in batches]
