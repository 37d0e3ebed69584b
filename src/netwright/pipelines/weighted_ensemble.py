"""Weighted ensembles of fitted pipelines, and how a trial's fold models are stored.

A cross-validated candidate (one pipeline per fold) and an ensemble of trials are exported in this
form.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Features
from netwright.errors import BrokenFile, Phrase, expected
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, read_json
from netwright.files.run_layout import FOLD, PIPELINE, SECONDS
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.pipeline import FittedPipeline, Pipeline, load
from netwright.pipelines.target_transform import TargetTransform

_MIN_PROBABILITY = np.float32(1e-30)
"""In place of a probability of 0, whose logarithm is infinite."""


class Predictor(Protocol):
    """A model to export: one fitted pipeline, an ensemble of them or a constant."""

    @property
    def target(self) -> TargetTransform: ...

    @property
    def threshold(self) -> float:
        """Decision threshold: the second of two classes is predicted from this probability on."""
        ...

    def predict(self, features: Features) -> NDArray[np.floating]:
        """Predict probabilities or values.

        Args:
            features: the rows.

        Returns:
            Probabilities (rows, classes) in float32, or values (rows,) in float64.
        """
        ...

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add the nodes of `predict`.

        Args:
            builder: the graph that the nodes are added to.

        Returns:
            The name of the output tensor.
        """
        ...


@dataclass(frozen=True)
class WeightedEnsemble:
    """Weighted average of the predictions of fitted pipelines.

    Args:
        members: the fitted pipelines.
        weights: one weight for each member; they sum to 1.
        temperature: temperature of the averaged probabilities (Guo et al. 2017, 1706.04599, section
            4.2, on their logarithms); above 1 they become less confident.
        threshold: decision threshold of two classes, as in `Predictor`.
    """

    members: tuple[FittedPipeline, ...]
    weights: tuple[float, ...]
    temperature: float = 1.0
    threshold: float = 0.5

    @property
    def target(self) -> TargetTransform:
        """The target transform of a member, one without logarithms if there is any."""
        transforms = [member.target for member in self.members]
        plain = (transform for transform in transforms if transform.log_range is None)
        return next(plain, transforms[0])

    def predict(self, features: Features) -> NDArray[np.floating]:
        """As `Predictor.predict`."""
        if not self.target.n_classes:
            values = [weight * member.predict(features) for weight, member in self._pairs]
            mean: NDArray[np.float64] = np.sum(values, axis=0)
            return mean
        weighted = [np.float32(weight) * member.predict(features) for weight, member in self._pairs]
        return apply_temperature(np.sum(weighted, axis=0, dtype=np.float32), self.temperature)

    @property
    def _pairs(self) -> list[tuple[float, FittedPipeline]]:
        return list(zip(self.weights, self.members, strict=True))

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """As `Predictor.to_onnx`."""
        dtype = np.float32 if self.target.n_classes else np.float64
        weighted = [
            builder.add("Mul", [member.to_onnx(builder), builder.constant(dtype(weight))])
            for weight, member in self._pairs
        ]
        mean = builder.add("Sum", weighted) if len(weighted) > 1 else weighted[0]
        if not self.target.n_classes or self.temperature == 1:
            return mean
        exponent = builder.constant(np.float32(1 / self.temperature))
        floored = builder.add("Max", [mean, builder.constant(_MIN_PROBABILITY)])
        powers = builder.add("Pow", [floored, exponent])
        total = builder.add("ReduceSum", [powers, builder.constant(np.array([1], np.int64))])
        return builder.add("Div", [powers, total])


def apply_temperature(
    probabilities: NDArray[np.float32], temperature: float
) -> NDArray[np.float32]:
    """Return p^(1/T), normalized: softmax(log(p) / T), for probabilities (rows, classes)."""
    if temperature == 1:
        return probabilities
    powers = np.maximum(probabilities, _MIN_PROBABILITY) ** np.float32(1 / temperature)
    normalized: NDArray[np.float32] = powers / powers.sum(1, keepdims=True)
    return normalized


def flatten_ensembles(
    pairs: Sequence[tuple[float, FittedPipeline | WeightedEnsemble]],
    temperature: float = 1.0,
    threshold: float = 0.5,
) -> WeightedEnsemble:
    """Merge weighted pipelines and ensembles of pipelines into one flat ensemble.

    Args:
        pairs: (weight, pipeline or ensemble); the ensembles have temperature 1.
        temperature: temperature of the new ensemble.
        threshold: decision threshold of the new ensemble.
    """
    members: list[FittedPipeline] = []
    weights: list[float] = []
    for weight, predictor in pairs:
        if isinstance(predictor, WeightedEnsemble):
            members += predictor.members
            weights += [weight * inner for inner in predictor.weights]
        else:
            members.append(predictor)
            weights.append(weight)
    return WeightedEnsemble(tuple(members), tuple(weights), temperature, threshold)


_MAX_SECONDS_BYTES = 1_000
"""Upper bound on the size of a fold's seconds.json, which holds one number."""
MAX_FOLDS = 100
"""Number of fold folders that are read at most; a search has ten."""


def fold_path(folder: Path, fold: int) -> Path:
    """Return the path in a trial's folder for the pipeline fitted without this fold."""
    return folder / f"{FOLD}{fold}"


def write_fit_seconds(folder: Path, seconds: float) -> None:
    """Write into a fold's folder how long the fit took."""
    Folder(folder).write(SECONDS, json.dumps(seconds))


def read_fit_seconds(folder: Folder) -> float:
    """Read what `write_fit_seconds` wrote; 0 if it is missing or is not a duration."""
    if not folder.has(SECONDS):
        return 0.0
    with contextlib.suppress(BrokenFile):  # only an estimate depends on it
        seconds = from_plain(read_json(folder, SECONDS, _MAX_SECONDS_BYTES), float, SECONDS)
        return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0
    return 0.0


def fold_folder(folder: Folder, fold: int) -> Folder:
    """Return `fold_path` as a `Folder`, for reading."""
    return folder / fold_path(folder.path, fold).name


def load_fold_ensemble(pipeline: Pipeline, folder: Folder) -> WeightedEnsemble:
    """Load the fold models of a trial's folder as an ensemble with equal weights.

    Raises:
        BrokenFile: A fold is damaged, or there is none.
    """
    members: list[FittedPipeline] = []
    while (fold := fold_folder(folder, len(members))).is_there and len(members) < MAX_FOLDS:
        members.append(load(pipeline, fold))
    if not members:
        raise BrokenFile(expected(str(folder), "the folder of a fitted model", Phrase("none")))
    return WeightedEnsemble(tuple(members), (1 / len(members),) * len(members))


def load_trial_model(pipeline: Pipeline, path: Path | Folder) -> FittedPipeline | WeightedEnsemble:
    """Load the model in a trial's folder: one fitted pipeline, or an ensemble of the folds.

    Raises:
        BrokenFile: The model is damaged or missing.
    """
    folder = Folder.of(path)
    if folder.has(PIPELINE):
        return load(pipeline, folder)
    return load_fold_ensemble(pipeline, folder)


def has_fitted_model(path: Path | Folder) -> bool:
    """Return whether `load_trial_model` would find a model, damaged or not."""
    folder = Folder.of(path)
    return folder.has(PIPELINE) or fold_folder(folder, 0).is_there
