"""Predictions of a model through each of its interfaces, and how far two of them differ."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.cli.app import main
from netwright.errors import NetwrightError

TOLERANCE = 1e-6
"""Of probabilities; of values, relative to their range."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Labels (n,) or values, and probabilities (n, classes) or the values again."""

    labels: NDArray[Any]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Interface:
    """A way to predict some rows; `rows` (n,) are their indices among all rows."""

    name: str
    rows: NDArray[np.int64]
    ask: Callable[[], Answer]


def ask(model: Any, rows: Any, classifies: bool) -> Answer:
    """Predict by the estimator or the loaded file."""
    labels = np.asarray(model.predict(rows))
    scores = model.predict_proba(rows) if classifies else labels
    return Answer(labels, np.asarray(scores, np.float64))


def ask_command_line(model: Path, rows: Path) -> Answer:
    """Predict by `netwright predict`, in this process; labels are then texts."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["predict", str(model), str(rows)])
        except SystemExit as end:
            if end.code:
                raise NetwrightError(err.getvalue().strip()) from None
    head, *lines = list(csv.reader(io.StringIO(out.getvalue())))
    first = head.index("prediction")
    labels = np.array([line[first] for line in lines], object)
    shown = [line[first + 1 :] or line[first:] for line in lines]
    scores = np.array(shown, np.float64)
    return Answer(labels, scores if scores.shape[1] > 1 else scores[:, 0])


def disagreements(interfaces: Iterator[Interface], whole: Answer) -> list[str]:
    """Return a line for each interface whose rows get no prediction, or another than all together."""
    lines = []
    for interface in interfaces:
        try:
            answer = interface.ask()
        except NetwrightError as error:
            lines.append(f"{interface.name}: refused: {error}")
            continue
        if difference := _difference(answer, whole, interface.rows):
            lines.append(f"{interface.name}: {difference}")
    return lines


def _difference(answer: Answer, whole: Answer, rows: NDArray[np.int64]) -> str:
    if len(answer.labels) != len(rows):
        return f"{len(answer.labels)} answers for {len(rows)} rows"
    scale = 1.0 if whole.scores.ndim == 2 else max(1.0, float(np.ptp(whole.scores)))
    apart = np.abs(answer.scores - whole.scores[rows]).reshape(len(rows), -1).max(1)
    far = np.flatnonzero(~(apart <= TOLERANCE * scale))
    if len(far):
        row = far[0]
        return (
            f"{len(far)} of {len(rows)} rows have other scores, row {rows[row]} "
            f"{answer.scores[row]} instead of {whole.scores[rows[row]]}"
        )
    labels = whole.labels[rows]
    if whole.scores.ndim == 2 and list(map(str, answer.labels)) != list(map(str, labels)):
        return f"labels {answer.labels} instead of {labels}"
    return ""
