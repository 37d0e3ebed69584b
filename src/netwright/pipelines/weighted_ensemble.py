"""Several fitted pipelines as one: the weighted average of what they predict.

The folds of one candidate, and the members of an ensemble, are delivered in this form.
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

_TINY = np.float32(1e-30)


class Predictor(Protocol):
    """What can be delivered: one pipeline, or several."""

    @property
    def target(self) -> TargetTransform: ...

    @property
    def threshold(self) -> float:
        """Of two classes: the probability from which on a row is labelled as the second."""
        ...

    def predict(self, features: Features) -> NDArray[np.floating]:
        """(rows, classes) probabilities in float32, or (rows,) values in float64."""
        ...

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        """The same as nodes; returns the tensor's name."""
        ...


@dataclass(frozen=True)
class WeightedEnsemble:
    """The average of `parts` by `weights`, which sum to 1.

    `temperature`: probabilities are raised to its inverse and scaled to sum to 1: above 1 they are
    less sure (Guo et al. 2017, 1706.04599, section 4.2, on the average's logarithms). `threshold`:
    as in `Predictor`.
    """

    members: tuple[FittedPipeline, ...]
    weights: tuple[float, ...]
    temperature: float = 1.0
    threshold: float = 0.5

    @property
    def target(self) -> TargetTransform:
        """On the plain scale, unless all parts have learnt logarithms."""
        targets = [part.target for part in self.members]
        return next((one for one in targets if one.log_range is None), targets[0])

    def predict(self, features: Features) -> NDArray[np.floating]:
        """As `Predictor.predict`."""
        if not self.target.n_classes:
            values = [w * one.predict(features) for w, one in self._pairs]
            mean: NDArray[np.float64] = np.sum(values, axis=0)
            return mean
        shares = [np.float32(w) * one.predict(features) for w, one in self._pairs]
        return apply_temperature(np.sum(shares, axis=0, dtype=np.float32), self.temperature)

    @property
    def _pairs(self) -> list[tuple[float, FittedPipeline]]:
        return list(zip(self.weights, self.members, strict=True))

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        """As `Predictor.emit`."""
        kind = np.float32 if self.target.n_classes else np.float64
        shares = [
            nodes.add("Mul", [one.to_onnx(nodes), nodes.constant(kind(w))])
            for w, one in self._pairs
        ]
        mean = nodes.add("Sum", shares) if len(shares) > 1 else shares[0]
        if not self.target.n_classes or self.temperature == 1:
            return mean
        power = nodes.constant(np.float32(1 / self.temperature))
        raised = nodes.add("Pow", [nodes.add("Max", [mean, nodes.constant(_TINY)]), power])
        total = nodes.add("ReduceSum", [raised, nodes.constant(np.array([1], np.int64))])
        return nodes.add("Div", [raised, total])


def apply_temperature(
    probabilities: NDArray[np.float32], temperature: float
) -> NDArray[np.float32]:
    """(rows, classes): p^(1/T), scaled to sum to 1."""
    if temperature == 1:
        return probabilities
    raised = np.maximum(probabilities, _TINY) ** np.float32(1 / temperature)
    found: NDArray[np.float32] = raised / raised.sum(1, keepdims=True)
    return found


def flatten_ensembles(
    pairs: Sequence[tuple[float, FittedPipeline | WeightedEnsemble]], temperature: float = 1.0,
    threshold: float = 0.5,
) -> WeightedEnsemble:  # fmt: skip
    """The average of pipelines and of averages (whose own temperature is 1) as one average."""
    parts: list[FittedPipeline] = []
    weights: list[float] = []
    for weight, one in pairs:
        own = one.weights if isinstance(one, WeightedEnsemble) else (1.0,)
        parts += one.members if isinstance(one, WeightedEnsemble) else (one,)
        weights += [weight * share for share in own]
    return WeightedEnsemble(tuple(parts), tuple(weights), temperature, threshold)


_MAX_SECONDS_BYTES = 1_000
MAX_FOLDS = 100
"""Folders of folds that are looked at; a search has ten at most."""


def fold_path(folder: Path, fold: int) -> Path:
    """Where a trial's folder keeps what was fitted without the fold."""
    return folder / f"{FOLD}{fold}"


def write_fit_seconds(folder: Path, seconds: float) -> None:
    """Says in a fold's folder how long it took."""
    Folder(folder).write(SECONDS, json.dumps(seconds))


def read_fit_seconds(folder: Folder) -> float:
    """What `note_seconds` has noted in a fold's folder; 0 where nothing, or no time, is noted."""
    if not folder.has(SECONDS):
        return 0.0
    with contextlib.suppress(BrokenFile):  # an estimate is all that depends on it
        seconds = from_plain(read_json(folder, SECONDS, _MAX_SECONDS_BYTES), float, SECONDS)
        return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0
    return 0.0


def fold_folder(folder: Folder, fold: int) -> Folder:
    """As `fold_folder`, for what is read back."""
    return folder / fold_path(folder.path, fold).name


def load_fold_ensemble(pipeline: Pipeline, folder: Folder) -> WeightedEnsemble:
    """The plain average of the folds that lie in a trial's folder.

    Raises BrokenFile where one of them is damaged, or there is none.
    """
    found: list[FittedPipeline] = []
    while (place := fold_folder(folder, len(found))).is_there and len(found) < MAX_FOLDS:
        found.append(load(pipeline, place))
    if not found:
        raise BrokenFile(expected(str(folder), "the folder of a fitted model", Phrase("none")))
    return WeightedEnsemble(tuple(found), (1 / len(found),) * len(found))


def load_trial_model(pipeline: Pipeline, place: Path | Folder) -> FittedPipeline | WeightedEnsemble:
    """What a trial's folder holds: one fitted pipeline, or one for each fold. Raises BrokenFile."""
    folder = Folder.of(place)
    if folder.has(PIPELINE):
        return load(pipeline, folder)
    return load_fold_ensemble(pipeline, folder)


def has_fitted_model(place: Path | Folder) -> bool:
    """Whether `load_trial` would find something, be it damaged."""
    folder = Folder.of(place)
    return folder.has(PIPELINE) or fold_folder(folder, 0).is_there
