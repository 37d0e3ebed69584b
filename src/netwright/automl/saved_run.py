"""Read a run folder without its data: the trials, and the space they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwright.automl.spaces import IMAGE_SPACES, UNNAMED_SPACE, space_for
from netwright.automl.task_metadata import TaskMetadata
from netwright.errors import BrokenFile, RunError, expected, plural, wording
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, read_json
from netwright.files.run_layout import DELIVERED, MODEL
from netwright.pipelines.weighted_ensemble import MAX_FOLDS
from netwright.report.tables import Row, leaderboard
from netwright.space.space import Space
from netwright.study.storage.rows import check_objective_values
from netwright.study.storage.run_manifest import new_run_hint
from netwright.study.storage.store import Store
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import MADE, Status, Trial

_MAX_RECORD_BYTES = 1 << 20
"""Size of a ``delivered.json``, which is far smaller; a run folder may be damaged."""


@dataclass(frozen=True)
class DeliveryRecord:
    """Record of a delivery, ``delivered.json`` in the run folder.

    Args:
        trial: id of the trial that ``model.onnx`` was made from.
        searched: number of trials of the search at that time, see `n_searched`.
        front: ids of the trials that were exported with it.
        unexported: whether there was no time to export all of the front.
    """

    trial: int
    searched: int
    front: tuple[int, ...]
    unexported: bool = False


@dataclass(frozen=True)
class SavedRun:
    """A run folder, as `leaderboard`, `show` and `export` need it.

    Args:
        folder: the run folder.
        name: name of the data.
        metadata: of the task.
        space: the search space.
        trials: all trials by id.
        objectives: what was optimised.
        limits: bounds on metrics.
    """

    folder: Path
    name: str
    metadata: TaskMetadata
    space: Space[Any]
    trials: tuple[Trial, ...]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]

    @property
    def front(self) -> list[Trial]:
        """The Pareto front within the limits, best first."""
        return pareto_front(self.trials, self.objectives, self.limits)

    def leaderboard_rows(self) -> list[Row]:
        """Return all trials, best first.

        On the front are the exported trials, unless the search has continued since.
        """
        record = read_delivery_record(self.folder)
        is_current = record is not None and record.searched == n_searched(self.trials)
        return leaderboard(
            self.trials,
            self.objectives,
            self.limits,
            self.space.fill,
            delivered=record.trial if record else None,
            front=record.front if record and is_current else None,
        )

    def trial(self, trial_id: int | None) -> Trial:
        """Return the trial with this id; for None the delivered one, or before that the best.

        Raises:
            RunError: There is no such trial, or no finished trial yet.
        """
        by_id = {trial.id: trial for trial in self.trials}
        record = read_delivery_record(self.folder)
        if trial_id is None and record and record.trial in by_id:
            return by_id[record.trial]
        if trial_id is None:
            if not self.front:
                raise RunError(f"{self.folder} has no finished trial yet. {_run_again()}")
            return self.front[0]
        if trial_id not in by_id:
            rule = f"one of the {plural(len(by_id), 'trial')} in {self.folder}"
            fix = f"Their ids are 1 to {max(by_id)}." if by_id else ""
            raise RunError(expected("trial", rule, trial_id, fix))
        return by_id[trial_id]


def _needs_own_space(folder: Path, name: str) -> str:
    name = "module:Object" if name == UNNAMED_SPACE else name
    fix = wording(python="Pass it: load_run(folder, space).", shell=f"Add --space {name}.")
    return f"{folder} was searched in a space of your own, which is needed to read it. {fix}"


def _run_again() -> str:
    return wording(python="Run its search again.", shell="Run its fit command again.")


def read_delivery_record(folder: Path) -> DeliveryRecord | None:
    """Return the record of the run's ``model.onnx``; None if the record or the model is missing."""
    run = Folder(folder)
    try:
        state = read_json(run, DELIVERED, _MAX_RECORD_BYTES)
        record = from_plain(state, DeliveryRecord, str(folder / DELIVERED))
    except BrokenFile:
        return None
    return record if run.has_file(MODEL) else None


def n_searched(trials: Iterable[Trial]) -> int:
    """Return how many trials of the search have ended, without ensembles and refits."""
    return sum(
        trial.status is not Status.RUNNING for trial in trials if trial.proposal.origin not in MADE
    )


def check_folds(trials: Iterable[Trial], folder: Path) -> None:
    """Raise BrokenFile if a trial has an impossible number of folds: the log may be damaged."""
    for trial in trials:
        folds = trial.metrics.get("folds", 1.0)
        if not 0 <= folds <= MAX_FOLDS:  # also refuses NaN
            what = f"folds of trial {trial.id} of {folder}"
            raise BrokenFile(expected(what, f"from 0 to {MAX_FOLDS}", folds))


def saved_metadata(folder: Path) -> TaskMetadata | None:
    """Return the task's metadata recorded in a run folder; None if it has no run of `fit` yet."""
    if not Store.has_study(folder):
        return None
    with Store.open_read_only(folder) as store:
        notes = store.manifest.notes
    return TaskMetadata.from_json(notes["brief"], str(folder)) if "brief" in notes else None


def load_run(folder: Path, space: object = None) -> SavedRun:
    """Read a run folder, even while its search is running.

    Args:
        folder: a run folder of `fit`.
        space: the user's own space of the search, see `Method`. It has to be passed again: names in
            a run folder are not imported, as the folder may come from someone else.

    Raises:
        RunError: It is no run of `fit`, or one of another space or version.
    """
    with Store.open_read_only(folder) as store:
        manifest, trials = store.manifest, tuple(store.trials())
    notes = manifest.notes
    if "brief" not in notes:
        raise RunError(
            f"{folder} must be a run of netwright fit, got that of a Study made in Python. "
            "Make the Study again with this folder as run, and read its trials and front."
        )
    metadata = TaskMetadata.from_json(notes["brief"], str(folder))
    check_objective_values(trials, manifest.objectives, folder)
    check_folds(trials, folder)
    if metadata.space and space is None and metadata.space not in IMAGE_SPACES:
        raise RunError(_needs_own_space(folder, metadata.space))
    run_space = space_for(metadata, space)
    if space is not None and run_space.fingerprint != manifest.space:
        name = space if isinstance(space, str) else "the one that was passed"
        raise RunError(f"{folder} was searched in another space than {name}.")
    if run_space.fingerprint != manifest.space:
        raise RunError(
            f"{folder} was searched by another version of netwright, in a space that this version "
            f"does not have. Install that version. {new_run_hint()}"
        )
    return SavedRun(
        folder,
        notes.get("name", folder.name),
        metadata,
        run_space,
        trials,
        manifest.objectives,
        manifest.limits,
    )
