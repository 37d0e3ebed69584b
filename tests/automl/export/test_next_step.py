"""The plan of an export: a function of the search, of what was tried, and of the seconds left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from netwright.automl.ensembling.selection import ProposedEnsemble
from netwright.automl.export.ensembles import Ensembles
from netwright.automl.export.plan import (
    Export,
    FewMembers,
    Progress,
    Refit,
    Step,
    Stop,
    key_of,
    next_step,
)
from netwright.automl.finished_search import FinishedSearch
from netwright.space.candidate import Candidate
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Objective
from netwright.trials.trial import ENSEMBLE, FAMILY, Proposal, Status, Trial

FOLDS: Any = SimpleNamespace(tasks=(1, 2, 3))
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
ENSEMBLES = Ensembles((BOTH,), TRIALS[:2], None, {1: 8_000_000, 2: 100_000})


def made(search: FinishedSearch, spec: EnsembleSpec) -> FinishedSearch:
    """With the trial that the ensemble becomes."""
    number = len(search.trials) + 1
    proposal = Proposal(Candidate({}), 1.0, ENSEMBLE, parents=spec.trials)
    new = Trial(number, proposal, 0, Status.DONE, {"rmse": 0.2, "folds": 3.0}, ensemble=spec)
    models = search.with_model | ({number} if spec.refit else set())
    return replace(search, trials=(*search.trials, new), with_model=frozenset(models))


def carried_out(
    search: FinishedSearch, ensembles: Ensembles | None, progress: Progress, seconds: float = LONG
) -> list[Step]:
    """All steps, each of which succeeds at once; refits become trials."""
    steps: list[Step] = []
    while (step := next_step(search, ensembles, progress, seconds)) and len(steps) < 50:
        steps.append(step)
        if isinstance(step, Stop):
            break
        if isinstance(step, Refit):
            progress = replace(progress, refits=progress.refits | {step.round})
            for number in step.trials:
                spec = EnsembleSpec.of({number: 1.0}, refit=True)
                if not search.made(spec):
                    search = made(search, spec)
                    tried = progress.attempted | {spec, search.trials[-1].id}
                    progress = replace(progress, attempted=tried)
            continue
        key = key_of(step.item)
        if isinstance(key, EnsembleSpec):
            search = made(search, key)
        number = key if isinstance(key, int) else search.trials[-1].id
        chosen = number if progress.chosen is None else progress.chosen
        tried = progress.attempted | {key, number}
        progress = replace(progress, attempted=tried, chosen=chosen)
    return steps


def keys(steps: list[Step]) -> list[Any]:
    return [key_of(step.item) for step in steps if isinstance(step, Export)]


def test_the_best_average_has_its_refits_and_comes_first() -> None:
    first, best, *_ = carried_out(search_of(), ENSEMBLES, Progress())
    assert first == Refit("best", (1, 2), ENSEMBLES.export_seconds)
    assert isinstance(best, Export)
    spec = key_of(best.item)
    assert isinstance(spec, EnsembleSpec)
    assert set(spec.trials) == {1, 2, 4, 5}  # the refits are trials 4 and 5
    assert sum(spec.weight_of.values()) == pytest.approx(1)
    assert spec.weight_of[1] == pytest.approx(2 * spec.weight_of[4])


def test_every_item_is_exported_once_and_then_there_is_nothing_to_do() -> None:
    steps = carried_out(search_of(), ENSEMBLES, Progress())
    exported = keys(steps)
    assert len(set(exported)) == len(exported)
    assert {1, 2} <= set(exported)  # single candidates
    assert [step.round for step in steps if isinstance(step, Refit)] == ["best", "singles"]
    assert not [step for step in steps if isinstance(step, Stop)]


def test_a_user_who_has_stopped_the_search_waits_for_no_refit() -> None:
    steps = carried_out(search_of(interrupted=True), ENSEMBLES, Progress())
    assert not [step for step in steps if isinstance(step, Refit)]
    assert keys(steps)[0] == BOTH.spec


def test_where_time_is_short_the_best_single_model_that_fits_is_written() -> None:
    assert keys(carried_out(search_of(interrupted=True), ENSEMBLES, Progress(), 2.0))[0] == 2
    small = replace(ENSEMBLES, bytes={1: 2_000_000, 2: 2_000_000})
    assert keys(carried_out(search_of(interrupted=True), small, Progress(), 1.6))[0] == 1
    assert keys(carried_out(search_of(interrupted=True), small, Progress(), 0.1))[0] == 1


def test_what_cannot_be_exported_makes_way_for_the_next() -> None:
    tried: frozenset[Any] = frozenset({BOTH.spec})
    step = next_step(search_of(interrupted=True), ENSEMBLES, Progress(attempted=tried), LONG)
    assert step == Export(TRIALS[0], "best")
    tried |= {1, 2}
    step = next_step(search_of(interrupted=True), ENSEMBLES, Progress(attempted=tried), LONG)
    assert isinstance(step, Export)
    assert key_of(step.item) == EnsembleSpec.of({1: 1.0}, first_fold=True)


def test_after_the_best_there_is_an_end_where_the_time_is_up() -> None:
    late = Progress(
        chosen=1, attempted=frozenset({1}), best_seconds=4.0, refits=frozenset({"singles"})
    )
    assert isinstance(next_step(search_of(), ENSEMBLES, late, 1.1), Export)  # a quarter of the best
    assert next_step(search_of(), ENSEMBLES, late, 0.9) == Stop()
    assert next_step(search_of(), ENSEMBLES, replace(late, resumed=TRIALS[0]), 0.0) != Stop()
    assert next_step(search_of(), ENSEMBLES, replace(late, stopped=True), LONG) == Stop()


def test_the_next_export_may_take_as_long_as_those_before() -> None:
    progress = Progress(best_seconds=8.0, seconds={"faster": (1.0, 0.2, 3.0)})
    assert Progress(best_seconds=8.0).expected_seconds("faster") == 2.0
    assert progress.expected_seconds("faster") == 3.0
    assert progress.expected_seconds("rest") == 8.0


def test_what_was_delivered_is_delivered_again_and_the_front_completed() -> None:
    search = made(search_of(), BOTH.spec)
    progress = Progress(resumed=search.trials[-1])
    steps = carried_out(search, ENSEMBLES, progress, seconds=0.0)
    assert steps[0] == Export(search.trials[-1], "best")
    assert isinstance(steps[1], Refit)
    assert not [step for step in steps if isinstance(step, Stop)]


def test_some_members_of_a_network_are_offered_where_it_has_more() -> None:
    ensembles = replace(ENSEMBLES, n_members={2: 8})
    items = [
        one.item
        for one in carried_out(search_of(), ensembles, Progress())
        if isinstance(one, Export)
    ]
    assert [one for one in items if isinstance(one, FewMembers)] == [
        FewMembers(2, 2),
        FewMembers(2, 1),
    ]
    few = [
        one for one in carried_out(search_of(), ENSEMBLES, Progress()) if isinstance(one, Export)
    ]
    assert not [one for one in few if isinstance(one.item, FewMembers)]


def test_without_folds_the_front_is_exported_and_where_it_is_broken_what_is_behind() -> None:
    search = search_of(None, with_model=frozenset({1, 2, 3}))
    assert keys(carried_out(search, None, Progress())) == [1]  # it dominates the others
    step = next_step(search, None, Progress(attempted=frozenset({1})), LONG)
    assert step == Export(TRIALS[1], "best")
    nothing: frozenset[Any] = frozenset({1, 2, 3})
    assert next_step(search, None, Progress(attempted=nothing), LONG) is None
