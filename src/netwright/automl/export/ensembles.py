"""The ensembles of a finished search that are worth exporting, by the predictions that were kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from netwright.automl.ensembling.out_of_fold import members_of, n_members_of
from netwright.automl.ensembling.selection import Member, ProposedEnsemble, ScoringTargets, choose
from netwright.automl.finished_search import FinishedSearch
from netwright.automl.time_allocation import export_seconds
from netwright.evaluators.latency import Latency
from netwright.trials.trial import Trial

_MAX_SINGLES = 3
"""So many single candidates of a table are, beside the averages: one a family, the best."""
_SMALL = 2
"""Models in the small average: faster than the large one."""


@dataclass(frozen=True)
class EnsemblesToExport:
    """The averages of a search over folds, and single candidates beside them.

    Args:
        averages: the best, and perhaps a smaller one.
        best: the best trials by themselves, one a family.
        alone: the one trial that the best average is of, if it is.
        bytes: trial id -> what its models take on disk.
        n_members: trial id -> members of its network, where some of them would do.
        file_seconds: what writing, checking and measuring a file takes, without its bytes.
    """

    averages: tuple[ProposedEnsemble, ...]
    best_singles: tuple[Trial, ...]
    alone: Trial | None
    bytes: Mapping[int, int] = field(default_factory=dict)
    n_members: Mapping[int, int] = field(default_factory=dict)
    file_seconds: float = 1.0

    @property
    def singles(self) -> list[int]:
        """The candidates whose single models are worth having."""
        return [*(trial.id for trial in self.best_singles), *self.averages[-1].ranked]

    @property
    def export_seconds(self) -> float:
        """About how long it takes to write, check and measure the best average."""
        return self.seconds_of(self.averages[0].spec.trials)

    def seconds_of(self, trials: Iterable[int]) -> float:
        """The same of the average of these trials."""
        size = sum(self.bytes.get(trial, 0) for trial in trials)
        return export_seconds(self.file_seconds, size)


def ensembles_of(
    search: FinishedSearch, note: Callable[[str], None], without: Collection[int] = ()
) -> EnsemblesToExport | None:
    """The ensembles that are worth having.

    None where there are no folds to choose by, or an objective is of networks: an average has no
    such figure. It is the front alone then.

    Args:
        note: hears sentences on trials whose predictions cannot be read.
        without: ids of trials that take no part.
    """
    if search.folds is None:
        return None
    members, broken = members_of(search, without)
    for sentence in broken:
        note(sentence)
    known = {*search.folds.metrics, *Latency(search.space, search.task).metrics}
    if not members or any(one.metric not in known for one in search.objectives):
        return None
    task, rows = search.task, search.folds.rows
    truth = ScoringTargets(task.target[rows], task.groups_of(rows), task.weights_of(rows))
    whole = choose(members, task.kind, truth, search.metric)
    most = max(one.folds for one in members)
    full = [one for one in members if one.folds == most]
    small = choose(full, task.kind, truth, search.metric, _SMALL)
    averages = _worth_having(search, whole, small, {one.trial.id for one in full})
    sizes = {one.trial.id: one.bytes for one in members}
    best = _best_of_families(search, full)
    n_members = {trial.id: n_members_of(search, trial) for trial in best}
    return EnsemblesToExport(
        averages, tuple(best), _alone(members, averages[0]), sizes, n_members, search.time.export
    )


def _worth_having(
    search: FinishedSearch, whole: ProposedEnsemble, small: ProposedEnsemble, full: set[int]
) -> tuple[ProposedEnsemble, ...]:
    """The best first. The large one is dropped where the small one scores no worse on the same
    rows: both are chosen on some of the rows."""
    if len(small.spec.weights) >= len(whole.spec.weights):
        return (whole,)
    loss = search.objectives[0].loss
    same_rows = full.issuperset(whole.spec.trials)
    no_worse = same_rows and loss(small.metrics) <= loss(whole.metrics)
    return (small,) if no_worse else (whole, small)


def _alone(members: list[Member], ensemble: ProposedEnsemble) -> Trial | None:
    """The trial, where the average is of one and changes nothing."""
    if not ensemble.spec.changes_nothing:
        return None
    (number,) = ensemble.spec.trials
    trial = next(one.trial for one in members if one.trial.id == number)
    return trial if trial.proposal.fidelity == 1 else None


def _best_of_families(search: FinishedSearch, full: list[Member]) -> list[Trial]:
    """The best trial of each of the best families, of full fidelity."""
    trials = [one.trial for one in full if one.trial.proposal.fidelity == 1]
    best: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda one: search.objectives[0].loss(one.metrics)):
        best.setdefault(trial.family, trial)
    return list(best.values())[:_MAX_SINGLES]
