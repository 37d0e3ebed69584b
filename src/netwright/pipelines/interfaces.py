"""What a pipeline's models are given and give: the contract of learners, networks included.

A learner is a description, whose every field may be an open choice, with a `fit`. What it fits
gives raw scores for inputs (`outputs`), writes itself as ONNX nodes (`emit`) and leaves what it
learnt in a folder (`save`), never as a pickle.
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

ValidationLoss: TypeAlias = Callable[[Arrays], float]
"""Raw scores (rows, outputs) for the held-out rows -> a number of which less is better."""


@dataclass(frozen=True)
class InputSpec:
    """What a model is told of its inputs: the shape of one row, and the task's given numbers.

    `given` holds "outputs" (1 for regression, else the number of classes) and, for tables,
    "cardinalities"; `mean` and `std` scale the channels of images inside the network, so that
    pixels stay uint8 in memory.
    """

    shape: tuple[int, ...]
    given: Mapping[str, Any]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Raw scores a row: 1 for regression, else the number of classes."""
        return int(self.given["outputs"])

    def json(self) -> str:
        """As an object, tuples as lists."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, what: str = "inputs") -> InputSpec:
        """The inverse of `json`; what others have noted beside it is ignored.

        Raises BrokenFile, which names `what`, for what cannot be the inputs of a network.
        """
        state = parse(text, what)
        if not isinstance(state, dict):
            raise BrokenFile(expected(what, "an object", state))
        own = {key: value for key, value in state.items() if key in _INPUTS}
        found = from_plain(own, _Noted, what)
        sizes = (*found.shape, found.given.outputs, *found.given.cardinalities)
        if not 1 <= len(found.shape) <= 3 or not all(0 <= size <= _MAX_SIZE for size in sizes):
            rule = f"sizes from 0 to {_MAX_SIZE:,}"
            raise BrokenFile(expected(f"shape and given in {what}", rule, sizes))
        given = {key: getattr(found.given, key) for key in own["given"]}
        return cls(found.shape, given, found.mean, found.std)


class _Given(NamedTuple):
    """What networks are told of a task."""

    outputs: int
    cardinalities: tuple[int, ...] = ()


class _Noted(NamedTuple):
    """`Inputs` as they are noted."""

    shape: tuple[int, ...]
    given: _Given
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


_INPUTS = _Noted._fields
_MAX_SIZE = 1_000_000
"""Columns, pixels of a side, classes and values of a category that a network is drawn for."""


@dataclass(frozen=True)
class PreparedRows:
    """Prepared rows.

    `inputs` (n, columns) float32, or pixels; `targets` (n,) int64 class numbers, or float32 at mean
    0 and deviation 1 for regression; `weights` (n,) float64, None where all count alike.
    """

    inputs: Arrays
    targets: Arrays
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.targets)


def check_classes(rows: PreparedRows, outputs: int) -> None:
    """InfeasibleCandidate when the rows are all of one class: there is nothing to tell apart."""
    if outputs > 1 and (rows.targets == rows.targets[0]).all():
        rule = "of at least two classes"
        raise InfeasibleCandidate(expected("training rows", rule, Phrase("one class")))


class FittedModel(Protocol):
    """What a learner came to."""

    def outputs(self, inputs: Arrays) -> NDArray[np.floating]:
        """(rows, outputs): log-probabilities up to a constant a row, or (rows, 1) scaled values."""
        ...

    def to_onnx(self, nodes: OnnxGraphBuilder, name: str) -> str:
        """The same as nodes, from the float32 matrix `name`; returns the name of the scores."""
        ...

    def save(self, folder: Path) -> None:
        """Everything that `Learner.load` needs, in files of its own names."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A description of a model that is no network; its fields may be open choices."""

    def fit(
        self, inputs: InputSpec, rows: PreparedRows, held_out: PreparedRows, judge: ValidationLoss, *,
        seed: int, fidelity: float, deadline: float,
    ) -> FittedModel:  # fmt: skip
        """Learns from `rows`; may stop early by what `judge` says of its scores for `held_out`.

        `fidelity` in (0, 1] scales the effort (trees, iterations). `deadline`, in seconds of
        `time.monotonic()`, is kept by stopping with what there is; infinite: no clock is looked
        at, and the seed gives the same on every call. Raises InfeasibleCandidate when this learner
        cannot learn these rows.
        """
        ...

    def load(self, inputs: InputSpec, folder: Path) -> FittedModel:
        """What `FittedModel.save` left in `folder`."""
        ...
