"""Ensembles and single models of a search over folds that are worth exporting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from netwright.automl.ensembling.out_of_fold import ensemble_members, n_prunable_members
from netwright.automl.ensembling.selection import (
    Member,
    ProposedEnsemble,
    ScoringTargets,
    select_ensemble,
)
from netwright.automl.finished_search import FinishedSearch
from netwright.automl.time_allocation import export_seconds
from netwright.evaluators.latency import Latency
from netwright.trials.trial import Trial

_MAX_SINGLES = 3
"""Single candidates that are exported beside the ensembles: the best of as many families."""
_SMALL_ENSEMBLE_STEPS = 2
"""Greedy additions, and so the maximal number of members, of the small and fast ensemble."""


@dataclass(frozen=True)
class EnsemblesToExport:
    """Ensembles of a search over folds, and single candidates beside them.

    Args:
        ensembles: the best one, then a smaller one if it is worth having.
        best_singles: the best trials on their own, one of each family.
        only_member: the trial, if the best ensemble consists of it alone.
        n_bytes: trial id -> size of its fitted models on disk.
        n_members: trial id -> members of its network, if it can be pruned to fewer.
        file_seconds: seconds to write, check and measure a file, without those per byte.
    """

    ensembles: tuple[ProposedEnsemble, ...]
    best_singles: tuple[Trial, ...]
    only_member: Trial | None
    n_bytes: Mapping[int, int] = field(default_factory=dict)
    n_members: Mapping[int, int] = field(default_factory=dict)
    file_seconds: float = 1.0

    @property
    def singles(self) -> list[int]:
        """Ids of the trials that are worth exporting as single models."""
        return [*(trial.id for trial in self.best_singles), *self.ensembles[-1].ranked]

    @property
    def export_seconds(self) -> float:
        """Estimated seconds to write, check and measure the best ensemble."""
        return self.seconds_of(self.ensembles[0].spec.trials)

    def seconds_of(self, trial_ids: Iterable[int]) -> float:
        """Estimate the seconds to write, check and measure an ensemble of these trials."""
        n_bytes = sum(self.n_bytes.get(trial, 0) for trial in trial_ids)
        return export_seconds(self.file_seconds, n_bytes)


def ensembles_to_export(
    search: FinishedSearch, note: Callable[[str], None], excluded: Collection[int] = ()
) -> EnsemblesToExport | None:
    """Select the ensembles that are worth exporting.

    Args:
        search: the finished search.
        note: called with a sentence about each trial whose predictions cannot be read.
        excluded: ids of trials that may not join.

    Returns:
        None if the front is exported instead: without folds there are no predictions to select on,
        and an objective such as the number of parameters is not defined for an ensemble.
    """
    if search.cross_validation is None:
        return None
    members, unreadable = ensemble_members(search, excluded)
    for sentence in unreadable:
        note(sentence)
    measured = {*search.cross_validation.metrics, *Latency(search.space, search.task).metrics}
    if not members or any(objective.metric not in measured for objective in search.objectives):
        return None
    task, rows = search.task, search.cross_validation.rows
    targets = ScoringTargets(task.target[rows], task.groups_of(rows), task.weights_of(rows))
    large = select_ensemble(members, task.kind, targets, search.metric)
    max_folds = max(member.n_folds for member in members)
    full = [member for member in members if member.n_folds == max_folds]
    small = select_ensemble(full, task.kind, targets, search.metric, _SMALL_ENSEMBLE_STEPS)
    ensembles = _drop_dominated(search, large, small, {member.trial.id for member in full})
    best_singles = _best_of_families(search, full)
    return EnsemblesToExport(
        ensembles,
        tuple(best_singles),
        _only_member(members, ensembles[0]),
        {member.trial.id: member.n_bytes for member in members},
        {trial.id: n_prunable_members(search, trial) for trial in best_singles},
        search.time_budget.export,
    )


def _drop_dominated(
    search: FinishedSearch, large: ProposedEnsemble, small: ProposedEnsemble, full: set[int]
) -> tuple[ProposedEnsemble, ...]:
    """Drop the large ensemble if the small one scores no worse on the same rows.

    That may happen, as both are selected on a sample of the rows. The small one is dropped if it is
    not smaller.

    Args:
        search: for its first objective.
        large: the best ensemble.
        small: the one of few members.
        full: ids of the trials that were fitted on all folds, and so scored on the same rows.
    """
    if len(small.spec.weights) >= len(large.spec.weights):
        return (large,)
    loss = search.objectives[0].loss
    same_rows = full.issuperset(large.spec.trials)
    if same_rows and loss(small.metrics) <= loss(large.metrics):
        return (small,)
    return (large, small)


def _only_member(members: list[Member], ensemble: ProposedEnsemble) -> Trial | None:
    """Return the trial, if the ensemble is a single unchanged trial of full fidelity."""
    if not ensemble.spec.changes_nothing:
        return None
    (trial_id,) = ensemble.spec.trials
    trial = next(member.trial for member in members if member.trial.id == trial_id)
    return trial if trial.proposal.fidelity == 1 else None


def _best_of_families(search: FinishedSearch, full: list[Member]) -> list[Trial]:
    """Return the best trial of full fidelity of each family, best family first."""
    trials = [member.trial for member in full if member.trial.proposal.fidelity == 1]
    best: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: search.objectives[0].loss(trial.metrics)):
        best.setdefault(trial.family, trial)
    return list(best.values())[:_MAX_SINGLES]
