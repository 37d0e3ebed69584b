"""Scikit-learn estimators: `fit` searches, `predict` runs the exported file."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.utils.validation import check_is_fitted

from netwright.automl.export.delivery import FitResult
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.score_warnings import leaks
from netwright.automl.search_budget import SearchBudget
from netwright.automl.sklearn_validation import check_fit, check_predict, feature_names
from netwright.data.labels import classes_array
from netwright.data.make_task import task
from netwright.data.na_values import NaValues
from netwright.data.task import Table, Task
from netwright.deploy.model import Model
from netwright.errors import InputError
from netwright.files.run_layout import MODEL
from netwright.study.progress.callbacks import Verbose, open_callbacks
from netwright.study.progress.events import Callback, StageStarted
from netwright.study.workers.executors import InProcess

if TYPE_CHECKING:
    import pandas as pd


_OPEN: WeakKeyDictionary[_Auto, Model] = WeakKeyDictionary()
"""Models loaded from an estimator's bytes: sessions, which cannot be copied or pickled."""
_FEW_TRIALS, _FEW_CELLS = 20, 20_000


_STOPPED = "The search was stopped before its end: this is the best of what was found until then."


class _Auto(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What both estimators do; see `AutoClassifier`."""

    def __init__(
        self,
        *,
        time: float | None = None,
        trials: int | None = None,
        objectives: str | Sequence[str] = (),
        limits: str | Sequence[str] = (),
        strategy: Any = "bayesian",
        families: str | Sequence[str] = (),
        space: Any = None,
        seed: int = 0,
        workers: int = 0,
        run: str | Path | None = None,
        missing_labels: str | Sequence[str] = (),
        verbose: Verbose = "auto",
        callbacks: Callback | Sequence[Callback] | None = (),
    ) -> None:
        self.time = time
        self.trials = trials
        self.objectives = objectives
        self.limits = limits
        self.strategy = strategy
        self.families = families
        self.space = space
        self.seed = seed
        self.workers = workers
        self.run = run
        self.missing_labels = missing_labels
        self.verbose = verbose
        self.callbacks = callbacks

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None  # noqa: N803
    ) -> Self:  # fmt: skip
        """Searches for `time` seconds or `trials` trials, and keeps the best model.

        `X`: DataFrame, array (n, columns), images (n, h, w) or (n, h, w, c), or a path; `y`: the
        labels, or the name of the column that holds them (None for a folder of images).
        `sample_weight` (n,): how much each row counts in training; `groups` (n,): rows of one group
        are never on both sides of a split. With `run`, the same call goes on where an earlier one
        stopped.
        """
        begun = time.monotonic()
        y = check_fit(type(self).__name__, X, y, classifies=is_classifier(self))
        if (names := feature_names(X)) is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):  # of an earlier fit
            del self.feature_names_in_
        with open_callbacks(self.callbacks, self.verbose) as notify:
            notify(StageStarted("reading", str(X) if isinstance(X, str | Path) else "the data"))
            found = self._task(X, y, weights=sample_weight, groups=groups)
            doubts = self._search(found, begun, notify)
        for sentence in doubts:
            warnings.warn(sentence, UserWarning, stacklevel=2)
        return self

    def _task(self, X: Any, y: Any, **rows: Any) -> Task:  # noqa: N803
        raise NotImplementedError

    def _search(self, found: Task, begun: float, notify: Callback) -> list[str]:
        """Keeps what the search came to; what speaks against it, in sentences."""
        goal = Goal(self.objectives, self.limits)
        seconds = 60 if self.time is None and self.trials is None else self.time
        effort = SearchBudget(seconds, self.trials, workers=self.workers, start_time=begun)
        method = Method(self.strategy, self.families, self.space, self.seed)
        doubts = leaks(found)
        with tempfile.TemporaryDirectory(prefix="netwright-") as scratch:
            outcome = fit(
                found, goal, effort, method, run=self.run or Path(scratch) / "run",
                callbacks=notify, executor=InProcess() if _small(found, effort) else None,
            )  # fmt: skip
            self._keep(outcome)
        doubts += outcome.warnings
        doubts += [_STOPPED] if outcome.study.interrupted else []
        self.notes_ = [*found.notes, *doubts, *outcome.left_out]
        return doubts

    def _keep(self, outcome: FitResult) -> None:
        """The fitted state: the model's bytes, and tables. Nothing of it needs the run folder."""
        _OPEN.pop(self, None)  # of an earlier fit
        self.model_bytes_ = outcome.model.path.read_bytes()
        study = outcome.study
        self.leaderboard_ = _frame([row.record() for row in outcome.leaderboard()])
        self.front_ = _frame([row.record() for row in outcome.front])
        self._files = {row.trial: study.trial_files(row.trial).read(MODEL) for row in outcome.front}
        self.n_features_in_ = int(outcome.model.card.get("width", 1))

    @property
    def model_(self) -> Model:
        """The delivered model, loaded from its bytes."""
        check_is_fitted(self, "model_bytes_")
        if self not in _OPEN:
            _OPEN[self] = Model(self.model_bytes_)
        return _OPEN[self]

    def pick(
        self, max_latency: float = math.inf, max_batch_latency: float = math.inf,
        max_size: float = math.inf,
    ) -> Model:  # fmt: skip
        """The best model of the front within these limits: ms a row, ms for 1,000 rows, bytes."""
        check_is_fitted(self, "model_bytes_")
        limits = {"latency": max_latency, "batch_latency": max_batch_latency, "size": max_size}
        front = self.front_
        for name, most in limits.items():
            front = front[front[name] <= most]
        if front.empty:
            asked = [name for name, most in limits.items() if most < math.inf]
            least = {name: float(self.front_[name].min()) for name in asked}
            got = ", ".join(f"{name} {value:.3g}" for name, value in least.items())
            raise InputError(f"no model of the front keeps these limits: the least are {got}.")
        return Model(self._files[int(front["trial"].iloc[0])])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True  # texts are categories, or text
        return tags

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """(n,) labels in their own type, or values; X may be a path, as in `fit`."""
        return self.model_.predict(self._rows(X))

    def _rows(self, X: Any) -> Any:  # noqa: N803
        card = self.model_.card
        width, used = self.n_features_in_, len(card.get("columns", ()))
        check_predict(type(self).__name__, X, 0 if "image" in card else width, used)
        if not isinstance(X, str | Path):
            return X
        from netwright.data.new_rows import read_rows, schema_from_card

        rows, notes = read_rows(X, schema_from_card(card), NaValues.from_card(card))
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=3)
        return rows

    def export(self, path: str | Path) -> Path:
        """Writes the delivered ONNX file to `path`; numpy and onnxruntime are all it needs."""
        check_is_fitted(self, "model_bytes_")
        Path(path).write_bytes(self.model_bytes_)
        return Path(path)


class AutoClassifier(ClassifierMixin, _Auto):  # type: ignore[misc]  # scikit-learn has no types
    """Designs and trains a classifier for a table or images.

    `time`: seconds in all, `trials`: how many candidates (60 seconds when neither is given);
    `objectives`: the name of a metric or several, the first decides what is delivered; `limits`: one
    or several such as ``"latency<=2"``; `families`: of models for a table, one or several such as
    ``["lightgbm", "tabm"]``, all when empty; `space`: your own in place of the one that suits the
    data, a `Space`, a description with open choices, or "module:Object"; `workers` 0: one for each
    core; `missing_labels`: texts of the target that stand for no label, such as "NA".

    `verbose`: whether `fit` prints each new best, the time left and what is being done now on stderr;
    "auto": in terminals and notebooks. `callbacks`: one or several functions that take an event (see
    `netwright.study.progress.events`); one that raises is switched off with a warning. The logger
    "netwright" has stages and trials at the level INFO.

    After `fit`: `classes_`, `leaderboard_` and `front_` (DataFrames), `model_`, and `notes_`: what
    was decided about the data, and what speaks against the scores, which is warned of, too.
    """

    def _task(self, X: Any, y: Any, **rows: Any) -> Task:  # noqa: N803
        missing = self.missing_labels
        return task(X, y, seed=self.seed, kind="classification", missing_labels=missing, **rows)

    def _keep(self, outcome: FitResult) -> None:
        super()._keep(outcome)
        self.classes_ = classes_array(outcome.model.card)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """(n, classes) probabilities, in the order of `classes_`."""
        return self.model_.predict_proba(self._rows(X))


class AutoRegressor(RegressorMixin, _Auto):  # type: ignore[misc]  # scikit-learn has no types
    """Designs and trains a regressor for a table or images; see `AutoClassifier`."""

    def _task(self, X: Any, y: Any, **rows: Any) -> Task:  # noqa: N803
        missing = self.missing_labels
        return task(X, y, seed=self.seed, kind="regression", missing_labels=missing, **rows)


def _small(task: Task, effort: SearchBudget) -> bool:
    """Whether starting workers would take longer than the trials: these run in this process then."""
    features = task.features
    each = len(features.columns) if isinstance(features, Table) else math.prod(features.shape)
    few = effort.trials is not None and effort.trials <= _FEW_TRIALS
    return few and effort.workers < 2 and len(features) * each <= _FEW_CELLS


def _frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame.from_records(records)
