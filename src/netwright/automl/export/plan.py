"""Which models of a finished search are exported, and in which order: the best, then faster ones.

The plan is a pure function of the search, of the exports so far and of the seconds left: it reads no
clock and no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from netwright.automl.ensembling.out_of_fold import mean_of_finals, pruned_network_spec
from netwright.automl.ensembling.refits import add_refits, refit_spec
from netwright.automl.ensembling.selection import ProposedEnsemble
from netwright.automl.export.ensembles import EnsemblesToExport
from netwright.automl.finished_search import FinishedSearch
from netwright.automl.time_allocation import SINGLE_EXPORT_SHARE
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import Status, Trial

_MAX_FRONT = 24
"""Members of the front that are exported and measured, best first."""
_MAX_COST_RATIO = 0.5
"""A faster network has at most half the cost (FLOPs) of the one before: latencies of networks of
similar cost hardly differ, and each export takes a second or more."""
_PRUNED_SIZES = (2, 1)
"""Numbers of members that networks of members (TabM) are pruned to: faster in proportion."""


@dataclass(frozen=True)
class PrunedNetwork:
    """A network to prune to `n_members`; its metrics are computed on export (`pruned_network`)."""

    trial_id: int
    n_members: int


ExportItem: TypeAlias = Trial | ProposedEnsemble | PrunedNetwork
ExportKey: TypeAlias = int | EnsembleSpec
"""Identity of an item: a trial's id, or how the item combines other trials."""
ExportPhase: TypeAlias = Literal["best", "faster", "rest"]


@dataclass(frozen=True)
class ExportProgress:
    """State of an export.

    Args:
        resumed: the trial that was delivered before, if the search has not continued since.
        attempted: keys of the items that were exported, or could not be.
        chosen: id of the first trial that was exported: the best.
        refit_rounds: rounds of refits that have been carried out.
        stopped: whether the user wants nothing more than the best.
        best_seconds: seconds that exporting the best took.
        export_seconds: seconds that each export of a phase took.
    """

    resumed: Trial | None = None
    attempted: frozenset[ExportKey] = frozenset()
    chosen: int | None = None
    refit_rounds: frozenset[str] = frozenset()
    stopped: bool = False
    best_seconds: float = 0.0
    export_seconds: Mapping[ExportPhase, tuple[float, ...]] = field(default_factory=dict)

    @property
    def is_resumed(self) -> bool:
        """Whether the search has not continued since the last delivery."""
        return self.resumed is not None

    def has_time(self, seconds: float, seconds_left: float) -> bool:
        """Return whether there is time for an export; a resumed export has no time limit."""
        return self.is_resumed or seconds <= seconds_left

    def expected_seconds(self, phase: ExportPhase) -> float:
        """Estimate the seconds of the phase's next export from the previous ones."""
        expected = self.best_seconds * (SINGLE_EXPORT_SHARE if phase == "faster" else 1.0)
        for seconds in self.export_seconds.get(phase, ()):
            expected = max(expected / 2, seconds)
        return expected


@dataclass(frozen=True)
class RefitStep:
    """Refit the candidates of these trials on all rows, and export the refits.

    Args:
        round: whose members are refitted: the best ensemble's, or the single candidates.
        trials: trial ids, the most important first.
        reserved_seconds: time to leave for what comes after.
    """

    round: Literal["best", "singles"]
    trial_ids: tuple[int, ...]
    reserved_seconds: float


@dataclass(frozen=True)
class ExportStep:
    """Write, check and measure one item."""

    export_item: ExportItem
    phase: ExportPhase


@dataclass(frozen=True)
class NoTimeLeft:
    """There is more to export, but no time for it."""


PlanStep: TypeAlias = RefitStep | ExportStep | NoTimeLeft


def next_step(
    search: FinishedSearch,
    ensembles: EnsemblesToExport | None,
    progress: ExportProgress,
    seconds_left: float,
) -> PlanStep | None:
    """Return the next step of the export; None if nothing is left to do.

    Args:
        search: the finished search, including the ensembles that were exported so far.
        ensembles: what to export of a search over folds; None to export the front.
        progress: what was exported so far.
        seconds_left: until the export has to end.
    """
    if progress.chosen is None:
        return _step_to_the_best(search, ensembles, progress, seconds_left)
    if ensembles and "singles" not in progress.refit_rounds and _may_refit(search, progress):
        trials = tuple(dict.fromkeys(ensembles.singles))
        return RefitStep("singles", trials, ensembles.seconds_of(()))
    out_of_time = False
    for phase, items in _phases_after_the_best(search, ensembles, progress.chosen):
        export_item = next(_not_attempted(search, items, progress), None)
        if export_item is None:
            continue
        seconds = progress.expected_seconds(phase)
        if not progress.stopped and progress.has_time(seconds, seconds_left):
            return ExportStep(export_item, phase)
        out_of_time = True
    return NoTimeLeft() if out_of_time else None


def _step_to_the_best(
    search: FinishedSearch,
    ensembles: EnsemblesToExport | None,
    progress: ExportProgress,
    seconds_left: float,
) -> PlanStep | None:
    """Refit the best ensemble's members, then try items until one of them can be exported."""
    refit_is_due = not progress.is_resumed and "best" not in progress.refit_rounds
    if ensembles and refit_is_due and _may_refit(search, progress):
        return RefitStep("best", ensembles.ensembles[0].ranked, ensembles.export_seconds)
    best, front = _front_items(search)[:1], _front(search)
    items: list[ExportItem] = [*best, *front, *_trials_behind_front(search)]
    if search.last_finals:
        items = [*_final_items(search), *items]
    if ensembles:
        items = [*_best_items(search, ensembles), *_faster_items(search, ensembles)]
        items = items if progress.resumed is None else [progress.resumed, *items]
        if not progress.has_time(ensembles.export_seconds, seconds_left):
            items = [*_quick_singles(ensembles, progress, seconds_left), *items]
    export_item = next(_not_attempted(search, items, progress), None)
    return None if export_item is None else ExportStep(export_item, "best")


def _quick_singles(
    ensembles: EnsemblesToExport, progress: ExportProgress, seconds_left: float
) -> list[Trial]:
    """Order the single models for when time is short: those in time, best first, then by size."""

    def order(trial: Trial) -> int:
        in_time = progress.has_time(ensembles.seconds_of([trial.id]), seconds_left)
        return 0 if in_time else ensembles.n_bytes.get(trial.id, 0)

    return sorted(ensembles.best_singles, key=order)


def _may_refit(search: FinishedSearch, progress: ExportProgress) -> bool:
    """Return whether refits are wanted: a user who has stopped the search should not wait."""
    return not (progress.stopped or search.interrupted)


def _phases_after_the_best(
    search: FinishedSearch, ensembles: EnsemblesToExport | None, chosen: int
) -> Iterator[tuple[ExportPhase, Iterable[ExportItem]]]:
    if ensembles is None:
        if search.last_finals and len(search.objectives) == 1:
            # those of the search are scored on other rows, after a short training
            yield "rest", _final_items(search)[-1:]
        else:
            yield "rest", _front_items(search)
        return
    yield "faster", _faster_items(search, ensembles)
    exported, best = search.by_id[chosen].ensemble, ensembles.ensembles[0].spec
    best_is_exported = exported is not None and set(best.trials) <= set(exported.trials)
    yield "rest", _fallback_items(ensembles) if best_is_exported else _best_items(search, ensembles)


def _not_attempted(
    search: FinishedSearch, items: Iterable[ExportItem], progress: ExportProgress
) -> Iterator[ExportItem]:
    """Yield the items that were not tried yet; an ensemble that is a trial already as that trial."""
    for export_item in items:
        key = key_of(export_item)
        trial = search.find_ensemble_trial(key) if isinstance(key, EnsembleSpec) else None
        if key in progress.attempted or (trial and trial.id in progress.attempted):
            continue
        yield trial or export_item


def key_of(export_item: ExportItem) -> ExportKey:
    """Return the identity of an item."""
    if isinstance(export_item, Trial):
        return export_item.id
    if isinstance(export_item, PrunedNetwork):
        return pruned_network_spec(export_item.trial_id, export_item.n_members)
    return export_item.spec


def _front(search: FinishedSearch) -> list[Trial]:
    return search.front[:_MAX_FRONT]


def _final_items(search: FinishedSearch) -> list[ExportItem]:
    """Return the mean of the final trainings, if there are several, and the best single one."""
    loss = search.objectives[0].loss
    singles = sorted(search.last_finals, key=lambda trial: loss(trial.metrics))
    if len(singles) == 1:
        return [*singles]
    return [mean_of_finals(search, singles), singles[0]]


def _front_items(search: FinishedSearch) -> list[Trial]:
    """Return the front; with one objective the best trial, then ever cheaper ones.

    Each costs at most half of the one before, and no trial that costs as little is better. Of
    equally good trials the cheapest is the best.
    """
    front, cost = _front(search), search.cost_metric
    if len(search.objectives) > 1 or not front or cost not in front[0].metrics:
        return front
    objectives = (*search.objectives, Objective(cost, "min"))
    first, *cheaper = pareto_front(search.trials, objectives, search.limits)
    items = [first]
    for trial in cheaper:
        if trial.metrics[cost] <= _MAX_COST_RATIO * items[-1].metrics[cost]:
            items.append(trial)
    return items


def _trials_behind_front(search: FinishedSearch) -> list[Trial]:
    """Return the other trials within the limits that have a model, best first.

    They are exported if no member of the front can be read.
    """
    front = {trial.id for trial in _front(search)}
    trials = [
        trial
        for trial in search.trials
        if trial.id in search.trial_ids_with_model
        and trial.id not in front
        and trial.status is Status.DONE
        and trial.proposal.fidelity == 1
        and all(limit.keeps(trial.metrics) for limit in search.limits)
    ]
    return sorted(trials, key=lambda trial: search.objectives[0].loss(trial.metrics))


def _best_items(search: FinishedSearch, ensembles: EnsemblesToExport) -> Iterator[ExportItem]:
    """Yield the best ensemble, with the refits that exist and then without, and fallbacks."""
    best = ensembles.ensembles[0]
    with_refits = replace(best, spec=add_refits(search, best.spec))
    if with_refits.spec != best.spec:
        yield with_refits
    if with_refits.spec == best.spec or search.find_ensemble_trial(with_refits.spec) is None:
        yield ensembles.only_member or best
    yield from _fallback_items(ensembles)


def _fallback_items(ensembles: EnsemblesToExport) -> Iterator[ExportItem]:
    """Yield what is delivered if the best ensemble cannot be exported."""
    yield from ensembles.best_singles
    for ensemble in ensembles.ensembles[1:]:
        if len(ensemble.spec.weights) > 1:
            yield ensemble


def _faster_items(search: FinishedSearch, ensembles: EnsemblesToExport) -> Iterator[ExportItem]:
    """Yield single models of the candidates (a refit, or the first fold's model), ensembles of
    these, and pruned networks."""
    if search.n_folds < 2:
        return
    singles: dict[int, ProposedEnsemble] = {}

    def new_singles(trial_ids: Iterable[int]) -> Iterator[ProposedEnsemble]:
        for trial_id in trial_ids:
            if trial_id not in singles:
                singles[trial_id] = _single_model(search, search.by_id[trial_id])
                yield singles[trial_id]

    *large, small = ensembles.ensembles
    yield from new_singles(ensembles.singles)
    yield from _ensemble_of_singles(search, small, singles)
    for trial in ensembles.best_singles:
        n_members = ensembles.n_members.get(trial.id, 0)
        yield from (PrunedNetwork(trial.id, size) for size in _PRUNED_SIZES if size < n_members)
    for ensemble in large:
        yield from new_singles(ensemble.ranked)
        yield from _ensemble_of_singles(search, ensemble, singles)


def _single_model(search: FinishedSearch, trial: Trial) -> ProposedEnsemble:
    """Return one model of the trial's candidate: its refit if there is one, or the first fold's."""
    spec = refit_spec(trial)
    if not search.find_ensemble_trial(spec):
        spec = EnsembleSpec.of({trial.id: 1.0}, first_fold=True)
    return ProposedEnsemble(spec, trial.metrics)


def _ensemble_of_singles(
    search: FinishedSearch, ensemble: ProposedEnsemble, singles: Mapping[int, ProposedEnsemble]
) -> list[ProposedEnsemble]:
    """Return the ensemble with a single model per member; None if it has one member only."""
    exported = {
        trial_id: search.find_ensemble_trial(singles[trial_id].spec) for trial_id in ensemble.ranked
    }
    is_calibrated = (ensemble.spec.temperature, ensemble.spec.threshold) != (1.0, 0.5)
    if len(exported) == 1 and not is_calibrated:
        return []
    if not all(exported.values()):  # a single model could not be exported
        return [replace(ensemble, spec=replace(ensemble.spec, first_fold=True))]
    weights = {
        single.id: ensemble.spec.weight_of[trial_id]
        for trial_id, single in exported.items()
        if single
    }
    return [replace(ensemble, spec=ensemble.spec.with_weights(weights))]
