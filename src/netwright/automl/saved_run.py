"""A run folder read alone: its trials, and the space they come from, without the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwright.automl.spaces import IMAGE_SPACES, OWN, space_for
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

_MAX_NOTE_BYTES = 1 << 20


@dataclass(frozen=True)
class DeliveryRecord:
    """What a run's `model.onnx` is: the file of a trial, the best of so many that were searched.

    `front`: all that was delivered with it; `unexported`: there was no time for more of it.
    """

    trial: int
    searched: int
    front: tuple[int, ...]
    unexported: bool = False


@dataclass(frozen=True)
class SavedRun:
    """What `leaderboard`, `show` and `export` need of a run."""

    folder: Path
    name: str
    metadata: TaskMetadata
    space: Space[Any]
    trials: tuple[Trial, ...]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]

    @property
    def front(self) -> list[Trial]:
        return pareto_front(self.trials, self.objectives, self.limits)

    def rows(self) -> list[Row]:
        """All trials, best first; on the front is what was exported, where nothing was searched
        for since."""
        noted = read_delivery_record(self.folder)
        current = noted is not None and noted.searched == n_searched(self.trials)
        return leaderboard(
            self.trials, self.objectives, self.limits, self.space.fill,
            delivered=noted.trial if noted else None,
            front=noted.front if noted and current else None,
        )  # fmt: skip

    def trial(self, number: int | None) -> Trial:
        """The trial of this number, or what was delivered; before that the best so far.

        RunError when there is none.
        """
        known = {trial.id: trial for trial in self.trials}
        noted = read_delivery_record(self.folder)
        if number is None and noted and noted.trial in known:
            return known[noted.trial]
        if number is None:
            if not self.front:
                raise RunError(f"{self.folder} has no finished trial yet. {_again()}")
            return self.front[0]
        if number not in known:
            rule = f"one of those in {self.folder} ({plural(len(known), 'trial')})"
            fix = f"Their numbers are 1 to {max(known)}." if known else ""
            raise RunError(expected("trial", rule, number, fix))
        return known[number]


def _without_space(folder: Path, name: str) -> str:
    name = "module:Object" if name == OWN else name
    said = wording(python="Pass it on: reopen(folder, space).", shell=f"Say it: --space {name}")
    return f"{folder} was searched in a space of its user's own. {said}"


def _again() -> str:
    return wording(python="Run its search again.", shell="Run its fit line again.")


def read_delivery_record(folder: Path) -> DeliveryRecord | None:
    """What the run's `model.onnx` is; None where that is not known."""
    run = Folder(folder)
    try:
        state = read_json(run, DELIVERED, _MAX_NOTE_BYTES)
        found = from_plain(state, DeliveryRecord, str(folder / DELIVERED))
    except BrokenFile:
        return None
    return found if run.has_file(MODEL) else None


def n_searched(trials: Iterable[Trial]) -> int:
    """How many trials a search has ended: what is made of them is not counted."""
    own = (one for one in trials if one.proposal.origin not in MADE)
    return sum(one.status is not Status.RUNNING for one in own)


def check_folds(trials: Iterable[Trial], folder: Path) -> None:
    """Raise RunError for a number of folds that no trial has: the log may be from a stranger."""
    for trial in trials:
        folds = trial.metrics.get("folds", 1.0)
        if not 0 <= folds <= MAX_FOLDS:  # NaN is none of them
            what = f"folds of trial {trial.id} of {folder}"
            raise BrokenFile(expected(what, f"from 0 to {MAX_FOLDS}", folds))


def saved_metadata(folder: Path) -> TaskMetadata | None:
    """What a run folder was told of its task; None where there is no run of `fit` yet."""
    if not Store.has_study(folder):
        return None
    with Store.open_read_only(folder) as store:
        notes = store.manifest.notes
    return TaskMetadata.from_json(notes["brief"], str(folder)) if "brief" in notes else None


def load_run(folder: Path, space: Any = None) -> SavedRun:
    """Reads a run folder, also while its study runs. RunError when it is not one of `fit`.

    `own_space`: the space that was passed to the search, see `Method`: a run folder may come from a
    stranger, and so what it names is not imported.
    """
    with Store.open_read_only(folder) as store:
        identity, trials = store.manifest, tuple(store.trials())
    notes = identity.notes
    if "brief" not in notes:
        raise RunError(f"{folder} must be a run of netwright fit, got a study of another space.")
    brief = TaskMetadata.from_json(notes["brief"], str(folder))
    check_objective_values(trials, identity.objectives, folder)
    check_folds(trials, folder)
    if brief.space and space is None and brief.space not in IMAGE_SPACES:
        raise RunError(_without_space(folder, brief.space))
    space = space_for(brief, space)
    if space is not None and space.fingerprint != identity.space:
        given = space if isinstance(space, str) else "the one that was passed"
        raise RunError(f"{folder} was searched in another space than {given}.")
    if space.fingerprint != identity.space:
        raise RunError(
            f"{folder} was searched by another version of netwright, in a space that this one "
            f"does not know. Install that version. {new_run_hint()}"
        )
    return SavedRun(
        folder, notes.get("name", folder.name), brief, space, trials, identity.objectives,
        identity.limits,
    )  # fmt: skip
