"""The plan of an export: a function of the search, of what was tried, and of the seconds left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from netwright.automl.ensembling.selection import ProposedEnsemble
from netwright.automl.export.ensembles import EnsemblesToExport
from netwright.automl.export.plan import (
    ExportProgress,
    ExportStep,
    NoTimeLeft,
    PlanStep,
    PrunedNetwork,
    RefitStep,
    key_of,
    next_step,
)
from netwright.automl.finished_search import ROUND, FinishedSearch
from netwright.space.candidate import Candidate
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Objective
from netwright.trials.trial import ENSEMBLE, FAMILY, FINAL, Proposal, Status, Trial

FOLDS: Any = SimpleNamespace(fold_tasks=(1, 2, 3))
NOTHING: Any = None
LONG = 1e6


def trial(number: int, rmse: float, family: str = "tree") -> Trial:
    metrics = {"rmse": rmse, "folds": 3.0}
    return Trial(number, Proposal(Candidate({FAMILY: family})), 0, Status.DONE, metrics)


TRIALS = (trial(1, 0.3), trial(2, 0.4, "line"), trial(3, 0.9, "net"))


def search_of(folds: Any = FOLDS, **changes: Any) -> FinishedSearch:
    rmse = Objective("rmse", "min")
    search = FinishedSearch(Path(), NOTHING, NOTHING, (rmse,), (), TRIALS, folds)
    return replace(search, **changes)


def proposed(weights: dict[int, float]) -> ProposedEnsemble:
    return ProposedEnsemble(EnsembleSpec.of(weights), {"rmse": 0.2, "folds": 3.0}, tuple(weights))


BOTH = proposed({1: 0.6, 2: 0.4})
ENSEMBLES = EnsemblesToExport((BOTH,), TRIALS[:2], None, {1: 8_000_000, 2: 100_000})


def made(search: FinishedSearch, spec: EnsembleSpec) -> FinishedSearch:
    """With the trial that the ensemble becomes."""
    number = len(search.trials) + 1
    proposal = Proposal(Candidate({}), 1.0, ENSEMBLE, parents=spec.trials)
    new = Trial(number, proposal, 0, Status.DONE, {"rmse": 0.2, "folds": 3.0}, ensemble=spec)
    models = search.trial_ids_with_model | ({number} if spec.refit else set())
    return replace(search, trials=(*search.trials, new), trial_ids_with_model=frozenset(models))


def carried_out(
    search: FinishedSearch,
    ensembles: EnsemblesToExport | None,
    progress: ExportProgress,
    seconds: float = LONG,
) -> list[PlanStep]:
    """All steps, each of which succeeds at once; refits become trials."""
    steps: list[PlanStep] = []
    while (step := next_step(search, ensembles, progress, seconds)) and len(steps) < 50:
        steps.append(step)
        if isinstance(step, NoTimeLeft):
            break
        if isinstance(step, RefitStep):
            progress = replace(progress, refit_rounds=progress.refit_rounds | {step.round})
            for number in step.trial_ids:
                spec = EnsembleSpec.of({number: 1.0}, refit=True)
                if not search.find_ensemble_trial(spec):
                    search = made(search, spec)
                    tried = progress.attempted | {spec, search.trials[-1].id}
                    progress = replace(progress, attempted=tried)
            continue
        key = key_of(step.export_item)
        if isinstance(key, EnsembleSpec):
            search = made(search, key)
        number = key if isinstance(key, int) else search.trials[-1].id
        chosen = number if progress.chosen is None else progress.chosen
        tried = progress.attempted | {key, number}
        progress = replace(progress, attempted=tried, chosen=chosen)
    return steps


def keys(steps: list[PlanStep]) -> list[Any]:
    return [key_of(step.export_item) for step in steps if isinstance(step, ExportStep)]


def test_best_ensemble_with_refits_is_exported_first() -> None:
    first, best, *_ = carried_out(search_of(), ENSEMBLES, ExportProgress())
    assert first == RefitStep("best", (1, 2), ENSEMBLES.export_seconds)
    assert isinstance(best, ExportStep)
    spec = key_of(best.export_item)
    assert isinstance(spec, EnsembleSpec)
    assert set(spec.trials) == {1, 2, 4, 5}  # the refits are trials 4 and 5
    assert sum(spec.weight_of.values()) == pytest.approx(1)
    assert spec.weight_of[1] == pytest.approx(2 * spec.weight_of[4])


def test_every_item_is_exported_once() -> None:
    steps = carried_out(search_of(), ENSEMBLES, ExportProgress())
    exported = keys(steps)
    assert len(set(exported)) == len(exported)
    assert {1, 2} <= set(exported)  # single candidates
    assert [step.round for step in steps if isinstance(step, RefitStep)] == ["best", "singles"]
    assert not [step for step in steps if isinstance(step, NoTimeLeft)]


def test_interrupted_search_skips_refits() -> None:
    steps = carried_out(search_of(interrupted=True), ENSEMBLES, ExportProgress())
    assert not [step for step in steps if isinstance(step, RefitStep)]
    assert keys(steps)[0] == BOTH.spec


def test_short_time_exports_the_best_single_model_in_time() -> None:
    assert keys(carried_out(search_of(interrupted=True), ENSEMBLES, ExportProgress(), 2.0))[0] == 2
    small = replace(ENSEMBLES, n_bytes={1: 2_000_000, 2: 2_000_000})
    assert keys(carried_out(search_of(interrupted=True), small, ExportProgress(), 1.6))[0] == 1
    assert keys(carried_out(search_of(interrupted=True), small, ExportProgress(), 0.1))[0] == 1


def test_failed_export_is_followed_by_the_next_item() -> None:
    tried: frozenset[Any] = frozenset({BOTH.spec})
    step = next_step(search_of(interrupted=True), ENSEMBLES, ExportProgress(attempted=tried), LONG)
    assert step == ExportStep(TRIALS[0], "best")
    tried |= {1, 2}
    step = next_step(search_of(interrupted=True), ENSEMBLES, ExportProgress(attempted=tried), LONG)
    assert isinstance(step, ExportStep)
    assert key_of(step.export_item) == EnsembleSpec.of({1: 1.0}, first_fold=True)


def test_export_stops_after_the_best_when_time_is_up() -> None:
    late = ExportProgress(
        chosen=1, attempted=frozenset({1}), best_seconds=4.0, refit_rounds=frozenset({"singles"})
    )
    assert isinstance(
        next_step(search_of(), ENSEMBLES, late, 1.1), ExportStep
    )  # a quarter of the best
    assert next_step(search_of(), ENSEMBLES, late, 0.9) == NoTimeLeft()
    assert next_step(search_of(), ENSEMBLES, replace(late, resumed=TRIALS[0]), 0.0) != NoTimeLeft()
    assert next_step(search_of(), ENSEMBLES, replace(late, stopped=True), LONG) == NoTimeLeft()


def test_expected_seconds_follow_previous_exports() -> None:
    progress = ExportProgress(best_seconds=8.0, export_seconds={"faster": (1.0, 0.2, 3.0)})
    assert ExportProgress(best_seconds=8.0).expected_seconds("faster") == 2.0
    assert progress.expected_seconds("faster") == 3.0
    assert progress.expected_seconds("rest") == 8.0


def test_resumed_export_redelivers_and_completes_the_front() -> None:
    search = made(search_of(), BOTH.spec)
    progress = ExportProgress(resumed=search.trials[-1])
    steps = carried_out(search, ENSEMBLES, progress, seconds=0.0)
    assert steps[0] == ExportStep(search.trials[-1], "best")
    assert isinstance(steps[1], RefitStep)
    assert not [step for step in steps if isinstance(step, NoTimeLeft)]


def test_networks_of_members_are_exported_pruned() -> None:
    ensembles = replace(ENSEMBLES, n_members={2: 8})
    items = [
        one.export_item
        for one in carried_out(search_of(), ensembles, ExportProgress())
        if isinstance(one, ExportStep)
    ]
    assert [one for one in items if isinstance(one, PrunedNetwork)] == [
        PrunedNetwork(2, 2),
        PrunedNetwork(2, 1),
    ]
    few = [
        one
        for one in carried_out(search_of(), ENSEMBLES, ExportProgress())
        if isinstance(one, ExportStep)
    ]
    assert not [one for one in few if isinstance(one.export_item, PrunedNetwork)]


def sized(number: int, rmse: float, flops: float) -> Trial:
    metrics = {"rmse": rmse, "flops": flops}
    return Trial(number, Proposal(Candidate({})), 0, Status.DONE, metrics)


SIZED = (
    sized(1, 0.3, 900.0), sized(2, 0.3, 800.0), sized(3, 0.4, 500.0), sized(4, 0.5, 400.0),
    sized(5, 0.6, 450.0), sized(6, 0.7, 200.0),
)  # fmt: skip


def test_without_folds_ever_cheaper_trials_follow_the_best() -> None:
    search = search_of(None, trials=SIZED, cost_metric="flops")
    assert keys(carried_out(search, None, ExportProgress())) == [2, 4, 6]
    assert keys(carried_out(replace(search, cost_metric=""), None, ExportProgress())) == [1]
    several = (*search.objectives, Objective("flops", "min"))
    of_front = carried_out(replace(search, objectives=several), None, ExportProgress())
    assert keys(of_front) == [2, 3, 4, 6]


def test_best_without_a_cost_is_exported_first() -> None:
    learner = Trial(7, Proposal(Candidate({})), 0, Status.DONE, {"rmse": 0.1})
    search = search_of(None, trials=(*SIZED, learner), cost_metric="flops")
    assert keys(carried_out(search, None, ExportProgress())) == [7]


def test_broken_best_is_followed_by_the_next_best_and_not_by_a_cheaper_one() -> None:
    ids = frozenset(trial.id for trial in SIZED)
    search = search_of(None, trials=SIZED, cost_metric="flops", trial_ids_with_model=ids)
    step = next_step(search, None, ExportProgress(attempted=frozenset({1, 2})), LONG)
    assert step == ExportStep(SIZED[2], "best")


def test_without_folds_front_then_other_trials_are_exported() -> None:
    search = search_of(None, trial_ids_with_model=frozenset({1, 2, 3}))
    assert keys(carried_out(search, None, ExportProgress())) == [1]  # it dominates the others
    step = next_step(search, None, ExportProgress(attempted=frozenset({1})), LONG)
    assert step == ExportStep(TRIALS[1], "best")
    nothing: frozenset[Any] = frozenset({1, 2, 3})
    assert next_step(search, None, ExportProgress(attempted=nothing), LONG) is None


IMAGES: Any = SimpleNamespace(
    train=range(90), validation=range(10), groups=None, classes=(), kind="regression"
)


def final(number: int, rmse: float, round_: int = 0) -> Trial:
    proposal = Proposal(Candidate({}), origin=FINAL, parents=(1,), note={ROUND: round_})
    return Trial(number, proposal, 0, Status.DONE, {"rmse": rmse, "flops": 900.0})


def test_final_model_is_exported_in_place_of_the_front_of_the_search() -> None:
    """Even if it scores worse: its score is that of other rows, and it was trained for longer."""
    search = search_of(None, task=IMAGES, trials=(*SIZED, final(7, 0.5)), cost_metric="flops")
    assert keys(carried_out(search, None, ExportProgress())) == [7]
    step = next_step(search, None, ExportProgress(attempted=frozenset({7})), LONG)
    assert step == ExportStep(SIZED[1], "best")  # its file could not be written


def test_mean_of_the_final_models_is_exported_and_then_the_best_of_them() -> None:
    finals = (final(7, 0.5), final(8, 0.4))
    search = search_of(None, task=IMAGES, trials=(*SIZED, *finals), cost_metric="flops")
    mean = EnsembleSpec.of({7: 0.5, 8: 0.5})
    assert keys(carried_out(search, None, ExportProgress())) == [mean, 8]


def test_only_the_last_round_of_final_models_is_exported() -> None:
    finals = (final(7, 0.1), final(8, 0.1), final(9, 0.4, round_=1))
    search = search_of(None, task=IMAGES, trials=(*SIZED, *finals), cost_metric="flops")
    assert keys(carried_out(search, None, ExportProgress())) == [9]


def test_with_several_objectives_the_front_follows_the_final_model() -> None:
    several = (Objective("rmse", "min"), Objective("flops", "min"))
    search = search_of(None, task=IMAGES, trials=(*SIZED, final(7, 0.2)), objectives=several)
    assert keys(carried_out(search, None, ExportProgress())) == [7, 2, 3, 4, 6]
