"""What of a finished search is exported, and in which order: the best, then what is faster.

The plan is a function of the search, of what was tried so far and of the seconds left: it looks at no
clock, and reads no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from netwright.automl.ensembling.out_of_fold import few_members_spec
from netwright.automl.ensembling.refits import refit_of, with_refits
from netwright.automl.ensembling.selection import ProposedEnsemble
from netwright.automl.export.ensembles import EnsemblesToExport
from netwright.automl.finished_search import FinishedSearch
from netwright.automl.time_allocation import SINGLE_EXPORT_SHARE
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.trial import Status, Trial

_MAX_FRONT = 24
"""So many members of the front are exported and measured; the best come first."""
_KEPT_MEMBERS = (2, 1)
"""Members that are kept of a network of members: faster in proportion."""


@dataclass(frozen=True)
class FewMembers:
    """An ensemble whose metrics are found when its turn comes: see `few_members`."""

    trial: int
    n_members: int


ExportItem: TypeAlias = Trial | ProposedEnsemble | FewMembers
ExportKey: TypeAlias = int | EnsembleSpec
"""What tells items apart: a trial's id, or how it combines others."""
ExportPhase: TypeAlias = Literal["best", "faster", "rest"]


@dataclass(frozen=True)
class ExportProgress:
    """What was tried so far.

    Args:
        resumed: the trial that was delivered before, where nothing was searched for since.
        attempted: keys of items that were exported or could not be.
        chosen: the first trial that was exported: the best.
        refits: the rounds of refits that are over.
        stopped: whether the user wants no more than the best.
        best_seconds: how long the best took.
        seconds: how long each export of a phase took.
    """

    resumed: Trial | None = None
    attempted: frozenset[ExportKey] = frozenset()
    chosen: int | None = None
    refits: frozenset[str] = frozenset()
    stopped: bool = False
    best_seconds: float = 0.0
    seconds: Mapping[ExportPhase, tuple[float, ...]] = field(default_factory=dict)

    @property
    def is_resumed(self) -> bool:
        """Whether nothing was searched for since the last delivery."""
        return self.resumed is not None

    def has_time(self, seconds: float, left: float) -> bool:
        """Whether so many are left; always, where nothing was searched for."""
        return self.is_resumed or seconds <= left

    def expected_seconds(self, phase: ExportPhase) -> float:
        """How long the next export of the phase may take, by those before it."""
        expected = self.best_seconds * (SINGLE_EXPORT_SHARE if phase == "faster" else 1.0)
        for seconds in self.seconds.get(phase, ()):
            expected = max(expected / 2, seconds)
        return expected


@dataclass(frozen=True)
class RefitStep:
    """Fit these trials' candidates once more, on all rows, and export what comes of it.

    `reserved`: seconds for what comes after.
    """

    round: Literal["best", "singles"]
    trials: tuple[int, ...]
    reserved: float


@dataclass(frozen=True)
class ExportStep:
    """Write, check and measure one item."""

    item: ExportItem
    phase: ExportPhase


@dataclass(frozen=True)
class NoTimeLeft:
    """There is more to export, and no time for it."""


PlanStep: TypeAlias = RefitStep | ExportStep | NoTimeLeft


def next_step(
    search: FinishedSearch,
    ensembles: EnsemblesToExport | None,
    progress: ExportProgress,
    seconds_left: float,
) -> PlanStep | None:
    """What is done next; None where there is nothing left to do."""
    if progress.chosen is None:
        return _towards_the_best(search, ensembles, progress, seconds_left)
    if ensembles and "singles" not in progress.refits and _may_refit(search, progress):
        return RefitStep(
            "singles", tuple(dict.fromkeys(ensembles.singles)), ensembles.seconds_of(())
        )
    late = False
    for phase, items in _after_the_best(search, ensembles, progress.chosen):
        for item in _untried(search, items, progress):
            seconds = progress.expected_seconds(phase)
            if not progress.stopped and progress.has_time(seconds, seconds_left):
                return ExportStep(item, phase)
            late = True
            break
    return NoTimeLeft() if late else None


def _towards_the_best(
    search: FinishedSearch,
    ensembles: EnsemblesToExport | None,
    progress: ExportProgress,
    seconds_left: float,
) -> PlanStep | None:
    """Refits of the best average's members, then items until one of them can be exported."""
    due = not progress.is_resumed and "best" not in progress.refits
    if ensembles and due and _may_refit(search, progress):
        return RefitStep("best", ensembles.averages[0].ranked, ensembles.export_seconds)
    items: list[ExportItem] = [*_front(search), *_behind_front(search)]
    if ensembles:
        items = [*_best_items(search, ensembles), *_faster_items(search, ensembles)]
        items = items if progress.resumed is None else [progress.resumed, *items]
        if not progress.has_time(ensembles.export_seconds, seconds_left):
            items = [*_in_time(ensembles, progress, seconds_left), *items]
    return next((ExportStep(item, "best") for item in _untried(search, items, progress)), None)


def _in_time(
    ensembles: EnsemblesToExport, progress: ExportProgress, seconds_left: float
) -> list[Trial]:
    """Single models, which are written sooner: the best of those for which there is time first,
    then the smallest."""

    def order(trial: Trial) -> int:
        fits = progress.has_time(ensembles.seconds_of([trial.id]), seconds_left)
        return 0 if fits else ensembles.bytes.get(trial.id, 0)

    return sorted(ensembles.best_singles, key=order)


def _may_refit(search: FinishedSearch, progress: ExportProgress) -> bool:
    """Whoever stops a search does not want to wait."""
    return not (progress.stopped or search.interrupted)


def _after_the_best(
    search: FinishedSearch, ensembles: EnsemblesToExport | None, chosen: int
) -> Iterator[tuple[ExportPhase, Iterable[ExportItem]]]:
    if ensembles is None:
        yield "rest", _front(search)
        return
    yield "faster", _faster_items(search, ensembles)
    ensemble, whole = search.by_id[chosen].ensemble, ensembles.averages[0].spec
    is_whole = ensemble is not None and set(whole.trials) <= set(ensemble.trials)
    yield "rest", _other_items(ensembles) if is_whole else _best_items(search, ensembles)


def _untried(
    search: FinishedSearch, items: Iterable[ExportItem], progress: ExportProgress
) -> Iterator[ExportItem]:
    for item in items:
        key = key_of(item)
        made = search.find_ensemble_trial(key) if isinstance(key, EnsembleSpec) else None
        if key in progress.attempted or (made and made.id in progress.attempted):
            continue
        yield made or item


def key_of(item: ExportItem) -> ExportKey:
    """What tells an item apart."""
    if isinstance(item, Trial):
        return item.id
    if isinstance(item, FewMembers):
        return few_members_spec(item.trial, item.n_members)
    return item.spec


def _front(search: FinishedSearch) -> list[Trial]:
    """Of trials that have been measured each by itself."""
    return [*search.front[:_MAX_FRONT]]


def _behind_front(search: FinishedSearch) -> list[Trial]:
    """The other trials within the limits that have left a model, best first: where nothing of the
    front can be read."""
    ahead = {trial.id for trial in search.front[:_MAX_FRONT]}
    left = [one for one in search.trials if one.id in search.with_model and one.id not in ahead]
    left = [one for one in left if one.status is Status.DONE and one.proposal.fidelity == 1]
    left = [one for one in left if all(limit.keeps(one.metrics) for limit in search.limits)]
    return sorted(left, key=lambda one: search.objectives[0].loss(one.metrics))


def _best_items(search: FinishedSearch, ensembles: EnsemblesToExport) -> Iterator[ExportItem]:
    """The best average, then the others.

    It has the refits that there are beside the folds' models.
    """
    whole = ensembles.averages[0]
    fuller = replace(whole, spec=with_refits(search, whole.spec))
    if fuller.spec != whole.spec:
        yield fuller
    if fuller.spec == whole.spec or search.find_ensemble_trial(fuller.spec) is None:
        yield ensembles.alone or whole
    yield from _other_items(ensembles)


def _other_items(ensembles: EnsemblesToExport) -> Iterator[ExportItem]:
    """What is delivered where the best average cannot be."""
    yield from ensembles.best_singles
    yield from (one for one in ensembles.averages[1:] if len(one.spec.weights) > 1)


def _faster_items(search: FinishedSearch, ensembles: EnsemblesToExport) -> Iterator[ExportItem]:
    """One model of each candidate: fitted again on all rows, or that of a fold; averages of these;
    a few members of networks that are many."""
    if search.n_folds < 2:
        return
    singles: dict[int, ProposedEnsemble] = {}

    def each(numbers: Iterable[int]) -> Iterator[ProposedEnsemble]:
        for number in numbers:
            if number not in singles:
                singles[number] = _single(search, search.by_id[number])
                yield singles[number]

    *large, small = ensembles.averages
    yield from each(ensembles.singles)
    yield from _of_singles(search, small, singles)
    for trial in ensembles.best_singles:
        known = ensembles.n_members.get(trial.id, 0)
        yield from (FewMembers(trial.id, keep) for keep in _KEPT_MEMBERS if keep < known)
    for whole in large:
        yield from each(whole.ranked)
        yield from _of_singles(search, whole, singles)


def _single(search: FinishedSearch, trial: Trial) -> ProposedEnsemble:
    """One model of the trial's candidate: of all rows where there is one."""
    spec = refit_of(trial)
    if not search.find_ensemble_trial(spec):
        spec = EnsembleSpec.of({trial.id: 1.0}, first_fold=True)
    return ProposedEnsemble(spec, trial.metrics)


def _of_singles(
    search: FinishedSearch, whole: ProposedEnsemble, singles: Mapping[int, ProposedEnsemble]
) -> list[ProposedEnsemble]:
    """The average, of one model for each of its members; none where that is the single itself."""
    made = {number: search.find_ensemble_trial(singles[number].spec) for number in whole.ranked}
    plain = (whole.spec.temperature, whole.spec.threshold) == (1.0, 0.5)
    if len(made) == 1 and plain:
        return []
    if not all(made.values()):  # one of them could not be made
        return [replace(whole, spec=replace(whole.spec, first_fold=True))]
    weights = {t.id: whole.spec.weight_of[number] for number, t in made.items() if t}
    return [replace(whole, spec=whole.spec.with_weights(weights))]
