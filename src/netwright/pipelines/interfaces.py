"""Contract of the models of a pipeline: what they take and give, networks included.

A learner is a description with a `fit`; any of its fields may be an open choice. A fitted model
returns raw scores (`outputs`), writes itself as ONNX nodes (`to_onnx`) and saves its state in
a folder (`save`), never as a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from netwright.errors import BrokenFile, InfeasibleCandidate, Phrase, expected
from netwright.files.json_files import from_plain, parse
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder

Arrays: TypeAlias = NDArray[Any]
"""An array whose dtype depends on the task."""

ValidationLoss: TypeAlias = Callable[[Arrays], float]
"""Raw scores (rows, outputs) of the validation rows -> their loss; lower is better."""


@dataclass(frozen=True)
class InputSpec:
    """Shape of a model's inputs and the sizes that the task dictates.

    Args:
        shape: the shape of one row: (columns,) or (channels, height, width).
        given: ``"outputs"`` (1 for regression, else the number of classes) and, for tables,
            ``"cardinalities"`` (the number of codes of each category column; these come last).
        mean: mean of each image channel, in levels of 0 to 255; empty for tables. The network
            standardizes its inputs itself, so that pixels stay uint8 in memory.
        std: standard deviation of each image channel; empty for tables.
    """

    shape: tuple[int, ...]
    given: Mapping[str, Any]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Raw scores per row: 1 for regression, else the number of classes."""
        return int(self.given["outputs"])

    def json(self) -> str:
        """Return the spec as a JSON object, tuples as lists."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, what: str = "inputs") -> InputSpec:
        """Read what `json` wrote, ignoring other keys of the object.

        Args:
            text: the JSON object.
            what: the name of the source in error messages.

        Raises:
            BrokenFile: The text does not describe the inputs of a network.
        """
        state = parse(text, what)
        if not isinstance(state, dict):
            raise BrokenFile(expected(what, "an object", state))
        fields = {name: entry for name, entry in state.items() if name in _SPEC_FIELDS}
        spec = from_plain(fields, _SavedSpec, what)
        sizes = (*spec.shape, spec.given.outputs, *spec.given.cardinalities)
        if not 1 <= len(spec.shape) <= 3 or not all(0 <= size <= _MAX_SIZE for size in sizes):
            rule = f"sizes from 0 to {_MAX_SIZE:,}"
            raise BrokenFile(expected(f"shape and given in {what}", rule, sizes))
        given = {name: getattr(spec.given, name) for name in fields["given"]}
        return cls(spec.shape, given, spec.mean, spec.std)


class _SavedGiven(NamedTuple):
    """JSON schema of `InputSpec.given`."""

    outputs: int
    cardinalities: tuple[int, ...] = ()


class _SavedSpec(NamedTuple):
    """JSON schema of `InputSpec`."""

    shape: tuple[int, ...]
    given: _SavedGiven
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


_SPEC_FIELDS = _SavedSpec._fields
_MAX_SIZE = 1_000_000
"""Largest size (columns, pixels of a side, classes, codes) accepted from a file: no network that a
search can train comes near it."""


@dataclass(frozen=True)
class PreparedRows:
    """Rows as models take them.

    Args:
        inputs: (n, columns) float32, or pixels (n, channels, height, width) in uint8.
        targets: (n,) class indices in int64; for regression (n,) float32 with mean 0 and standard
            deviation 1 over the training rows.
        weights: (n,) sample weights; None if all are equal.
    """

    inputs: Arrays
    targets: Arrays
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.targets)


def check_classes(rows: PreparedRows, n_outputs: int) -> None:
    """Raise InfeasibleCandidate if a classifier would be trained on rows of a single class."""
    if n_outputs > 1 and (rows.targets == rows.targets[0]).all():
        rule = "of at least two classes"
        raise InfeasibleCandidate(expected("training rows", rule, Phrase("one class")))


class FittedModel(Protocol):
    """A model that a learner has fitted."""

    def outputs(self, inputs: Arrays) -> NDArray[np.floating]:
        """Return the raw scores of rows.

        Args:
            inputs: (rows, columns), or pixels (rows, channels, height, width); see `PreparedRows`.

        Returns:
            (rows, outputs): for classes log-probabilities up to a constant per row, for regression
            standardized predictions (rows, 1).
        """
        ...

    def to_onnx(self, builder: OnnxGraphBuilder, name: str) -> str:
        """Add the nodes of `outputs`.

        Args:
            builder: the graph that the nodes are added to.
            name: the name of the input tensor, float32.

        Returns:
            The name of the scores' tensor.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `Learner.load` needs.

        Args:
            folder: the folder that takes the files.
        """
        ...


@runtime_checkable
class Learner(Protocol):
    """A description of a model that is not a network; its fields may be open choices."""

    def fit(
        self,
        input_spec: InputSpec,
        rows: PreparedRows,
        validation_rows: PreparedRows,
        validation_loss: ValidationLoss,
        *,
        seed: int,
        fidelity: float,
        deadline: float,
    ) -> FittedModel:
        """Fit on the training rows.

        Args:
            input_spec: shape of the inputs, number of outputs and cardinalities.
            rows: the training rows.
            validation_rows: rows for early stopping.
            validation_loss: loss of raw scores for `validation_rows`.
            seed: fixes the result, unless `deadline` cuts the training short.
            fidelity: share of the full effort (trees, iterations), in (0, 1].
            deadline: seconds of `time.monotonic()` by which to stop with what has been fitted. If
                infinite, no clock is read.

        Returns:
            The fitted model.

        Raises:
            InfeasibleCandidate: This learner cannot learn these rows.
        """
        ...

    def load(self, input_spec: InputSpec, folder: Path) -> FittedModel:
        """Read what `FittedModel.save` wrote.

        Args:
            input_spec: shape of the inputs, as of `fit`.
            folder: the folder of the files, which may not be trusted.

        Returns:
            The fitted model.

        Raises:
            BrokenFile: a file is missing or damaged, or does not fit the inputs.
        """
        ...
