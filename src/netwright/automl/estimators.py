"""Scikit-learn estimators: `fit` searches, `predict` runs the exported ONNX file."""

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
from netwright.automl.score_warnings import leakage_warnings
from netwright.automl.search_budget import SearchBudget
from netwright.automl.sklearn_validation import check_fit_data, check_predict_data, feature_names
from netwright.data.labels import classes_array
from netwright.data.make_task import task as make_task
from netwright.data.na_values import NaValues
from netwright.data.task import Table, Task
from netwright.deploy.model import Model
from netwright.errors import InputError
from netwright.files.run_layout import MODEL
from netwright.interfaces.strategy import Algorithm, Strategy
from netwright.study.progress.callbacks import Verbose, open_callbacks
from netwright.study.progress.events import Callback, StageStarted
from netwright.study.workers.executors import InProcess

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.utils import Tags


_LOADED_MODELS: WeakKeyDictionary[_AutoEstimator, Model] = WeakKeyDictionary()
"""Models of estimators, kept apart from them: an onnxruntime session cannot be copied or pickled."""
_DEFAULT_SECONDS = 60
_MAX_SMALL_TRIALS, _MAX_SMALL_CELLS = 20, 20_000
"""Trials, and cells of the data, up to which starting workers takes longer than the trials."""
_STOPPED = "The search was stopped early: this is the best model found until then."


class _AutoEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Common base of the estimators; see `AutoClassifier`."""

    def __init__(
        self,
        *,
        time: float | None = None,
        trials: int | None = None,
        objectives: str | Sequence[str] = (),
        limits: str | Sequence[str] = (),
        strategy: str | Strategy | Algorithm | None = "bayesian",
        families: str | Sequence[str] = (),
        space: object = None,
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
        self,
        X: object,  # noqa: N803
        y: object = None,
        sample_weight: object = None,
        groups: object = None,
    ) -> Self:
        """Search within the budget, and keep the best model.

        With `run`, the same call resumes an earlier search.

        Args:
            X: a DataFrame; an array (n, columns); images (n, h, w) or (n, h, w, c); or a path.
            y: (n,) targets, or the name of the column that holds them; None for a folder of images.
            sample_weight: (n,) weights of the rows, or the name of their column.
            groups: (n,) groups, or the name of their column; the rows of a group are never on both
                sides of a split.

        Returns:
            The fitted estimator.

        Raises:
            InputError: The data or a parameter cannot be used.
            RunError: The run folder belongs to another search, or no model could be trained.
        """
        start_time = time.monotonic()
        y = check_fit_data(type(self).__name__, X, y, classifies=is_classifier(self))
        if (names := feature_names(X)) is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):  # of an earlier fit
            del self.feature_names_in_
        with open_callbacks(self.callbacks, self.verbose) as notify:
            notify(StageStarted("reading", str(X) if isinstance(X, str | Path) else "the data"))
            task = self._make_task(X, y, weights=sample_weight, groups=groups)
            sentences = self._search(task, start_time, notify)
        for sentence in sentences:
            warnings.warn(sentence, UserWarning, stacklevel=2)
        return self

    def _make_task(self, x: object, y: object, weights: object, groups: object) -> Task:
        raise NotImplementedError

    def _search(self, task: Task, start_time: float, notify: Callback) -> list[str]:
        """Search, set the fitted attributes, and return the warnings about scores."""
        goal = Goal(self.objectives, self.limits)
        has_no_budget = self.time is None and self.trials is None
        seconds = _DEFAULT_SECONDS if has_no_budget else self.time
        budget = SearchBudget(seconds, self.trials, workers=self.workers, start_time=start_time)
        method = Method(self.strategy, self.families, self.space, self.seed)
        sentences = leakage_warnings(task)
        with tempfile.TemporaryDirectory(prefix="netwright-") as scratch:
            outcome = fit(
                task,
                goal,
                budget,
                method,
                run=self.run or Path(scratch) / "run",
                callbacks=notify,
                executor=InProcess() if _is_small(task, budget) else None,
            )
            self._set_fitted(outcome)
        sentences += outcome.warnings
        sentences += [_STOPPED] if outcome.study.interrupted else []
        self.notes_ = [*task.notes, *sentences, *outcome.left_out]
        return sentences

    def _set_fitted(self, outcome: FitResult) -> None:
        """Set the fitted attributes, none of which needs the run folder."""
        _LOADED_MODELS.pop(self, None)  # of an earlier fit
        self.model_bytes_ = outcome.model.path.read_bytes()
        study = outcome.study
        self.leaderboard_ = _to_frame([row.record() for row in outcome.leaderboard()])
        self.front_ = _to_frame([row.record() for row in outcome.front])
        self._files = {row.trial: study.trial_files(row.trial).read(MODEL) for row in outcome.front}
        self.n_features_in_ = int(outcome.model.card.get("width", 1))

    @property
    def model_(self) -> Model:
        """The delivered model."""
        check_is_fitted(self, "model_bytes_")
        if self not in _LOADED_MODELS:
            _LOADED_MODELS[self] = Model(self.model_bytes_)
        return _LOADED_MODELS[self]

    def pick(
        self,
        max_latency: float = math.inf,
        max_batch_latency: float = math.inf,
        max_size: float = math.inf,
    ) -> Model:
        """Return the best model of the Pareto front within these limits, ready to predict.

        Args:
            max_latency: milliseconds for a single row.
            max_batch_latency: milliseconds for 1,000 rows.
            max_size: bytes of the ONNX file.

        Raises:
            InputError: No model of the front is within the limits.

        Example:
            >>> model = AutoClassifier(time=60).fit(X, y)
            >>> model.pick(max_latency=1.0).predict(X_test)
        """
        check_is_fitted(self, "model_bytes_")
        limits = {"latency": max_latency, "batch_latency": max_batch_latency, "size": max_size}
        front = self.front_
        for name, limit in limits.items():
            front = front[front[name] <= limit]
        if front.empty:
            minima = {
                name: float(self.front_[name].min())
                for name, limit in limits.items()
                if limit < math.inf
            }
            got = ", ".join(f"{name} {minimum:.3g}" for name, minimum in minima.items())
            raise InputError(f"no model of the front is within these limits: the minima are {got}.")
        return Model(self._files[int(front["trial"].iloc[0])])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True  # strings are categories, or text
        return tags

    def predict(self, X: object) -> NDArray[Any]:  # noqa: N803
        """Predict the target.

        Args:
            X: rows or images as in `fit`, or a path.

        Returns:
            (n,) labels, in the type they had in `fit`, or values.
        """
        return self.model_.predict(self._read_rows(X))

    def _read_rows(self, x: object) -> object:
        """Validate X; read the rows if it is a path."""
        card = self.model_.card
        width, n_used = self.n_features_in_, len(card.get("columns", ()))
        check_predict_data(type(self).__name__, x, 0 if "image" in card else width, n_used)
        if not isinstance(x, str | Path):
            return x
        from netwright.data.new_rows import read_rows, schema_from_card

        rows, notes = read_rows(x, schema_from_card(card), NaValues.from_card(card))
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=3)
        return rows

    def export(self, path: str | Path) -> Path:
        """Write the delivered ONNX file; it needs only numpy and onnxruntime to predict.

        Args:
            path: the file to write.

        Returns:
            The path.
        """
        check_is_fitted(self, "model_bytes_")
        Path(path).write_bytes(self.model_bytes_)
        return Path(path)


class AutoClassifier(ClassifierMixin, _AutoEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Designs and trains a classifier for a table or images.

    Args:
        time: seconds in all; 60 if neither `time` nor `trials` is given.
        trials: number of candidates to evaluate.
        objectives: the name of a metric, or several; the first one decides which model is
            delivered. Empty for the default of the task: `auc` for two classes, `accuracy` for
            more.
        limits: one bound, or several, such as ``"latency<=2"``.
        strategy: a name of the catalog, ``"module:Object"``, or an algorithm with its settings;
            None or ``"none"`` for no search: only the default configurations are trained.
        families: families of models for tables, one or several such as ``["lightgbm", "tabm"]``;
            empty for all.
        space: replaces the default space of the data: a `Space`, a description with open choices,
            or ``"module:Object"``.
        seed: seed of splits, initial weights and candidates.
        workers: number of parallel trials; 0 for one per core.
        run: the run folder, with which `fit` can be resumed; None for a temporary one.
        missing_labels: texts of the target that mean a missing label, such as ``"NA"``.
        verbose: whether `fit` prints each new best, the time left and the current stage on stderr;
            "auto" prints in terminals and notebooks.
        callbacks: one function of an event, or several (see `netwright.study.progress.events`). One
            that raises is switched off with a warning. The logger "netwright" has stages and trials
            at the level INFO.

    Attributes:
        classes_: the labels, in the order of the probabilities.
        leaderboard_: DataFrame of all trials, best first.
        front_: DataFrame of the exported Pareto front.
        model_: the delivered `Model`.
        model_bytes_: its ONNX file.
        notes_: sentences about decisions on the data, and about scores that are too good or
            useless; `fit` warns of the latter.

    Example:
        >>> model = AutoClassifier(time=60).fit(X_train, y_train)
        >>> model.predict_proba(X_test)
        >>> model.export("model.onnx")
    """

    def _make_task(self, x: object, y: object, weights: object, groups: object) -> Task:
        return make_task(
            x,
            y,
            seed=self.seed,
            kind="classification",
            missing_labels=self.missing_labels,
            weights=weights,
            groups=groups,
        )

    def _set_fitted(self, outcome: FitResult) -> None:
        super()._set_fitted(outcome)
        self.classes_ = classes_array(outcome.model.card)

    def predict_proba(self, X: object) -> NDArray[np.float32]:  # noqa: N803
        """Predict the class probabilities.

        Args:
            X: rows or images as in `fit`, or a path.

        Returns:
            (n, classes) probabilities, in the order of `classes_`.
        """
        return self.model_.predict_proba(self._read_rows(X))


class AutoRegressor(RegressorMixin, _AutoEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Designs and trains a regressor for a table or images.

    The parameters and attributes are those of `AutoClassifier`, without `classes_`; the default
    objective is `rmse`.

    Example:
        >>> model = AutoRegressor(time=60, objectives="mae").fit(X_train, y_train)
        >>> model.predict(X_test)
    """

    def _make_task(self, x: object, y: object, weights: object, groups: object) -> Task:
        return make_task(
            x,
            y,
            seed=self.seed,
            kind="regression",
            missing_labels=self.missing_labels,
            weights=weights,
            groups=groups,
        )


def _is_small(task: Task, budget: SearchBudget) -> bool:
    """Return whether to run trials in this process: starting workers would take longer."""
    features = task.features
    cells_per_row = (
        len(features.columns) if isinstance(features, Table) else math.prod(features.shape)
    )
    has_few_trials = budget.trials is not None and budget.trials <= _MAX_SMALL_TRIALS
    is_small = len(features) * cells_per_row <= _MAX_SMALL_CELLS
    return has_few_trials and budget.workers < 2 and is_small


def _to_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame.from_records(records)
