"""The default is trained to the end unless another candidate beats it beyond doubt."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netwright.automl.finished_search import FinishedSearch
from netwright.automl.image import final_candidate as module
from netwright.automl.image.default_configs import SEARCH_WIDTH
from netwright.automl.image.final_candidate import (
    choose_trial,
    epochs_of_one,
    final_candidate,
    learns_slowly,
    searches_quality_alone,
    slowdown,
    with_width,
)
from netwright.automl.image.rungs import EDIT_OF
from netwright.automl.image.validation_scores import row_weights
from netwright.automl.portfolio import portfolio
from netwright.automl.spaces import space_for
from netwright.automl.task_metadata import TaskMetadata
from netwright.data.task import Task
from netwright.files.run_layout import VALIDATION
from netwright.space.candidate import Candidate
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import BASELINE, ENSEMBLE, FINAL, Proposal, Status, Trial

ACCURACY = Objective("accuracy", "max")
WIDTH_COST = 1.4
PREDICTION_COST = 1.6
"""Exponent of a network's width in its time for an image."""


@dataclass
class Searched:
    """A run folder with the predictions of its trials."""

    folder: Path
    task: Task
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        metadata = TaskMetadata.from_task(self.task)
        self.space = space_for(metadata)
        self.candidates = portfolio(self.space, metadata)

    def add(
        self,
        candidate: int,
        z: float = 0.0,
        *,
        fidelity: float = 1.0,
        epochs: float = 6.0,
        accuracy: float = 0.5,
        origin: str = "portfolio",
        status: Status = Status.DONE,
        has_misses: bool | None = None,
        **metrics: float,
    ) -> Trial:
        """Add a trial whose losses are lower than the default's by so many standard errors.

        It misses half of the rows, or with lower losses none.
        """
        metrics = {"accuracy": accuracy, "epochs": epochs} | metrics
        proposal = Proposal(self.candidates[candidate], fidelity, origin)
        trial = Trial(len(self.trials) + 1, proposal, 0, status, metrics)
        self.trials.append(trial)
        np.save(
            self.made_folder(trial) / VALIDATION,
            self._probabilities(z, has_misses=z == 0 if has_misses is None else has_misses),
        )
        return trial

    def made_folder(self, trial: Trial) -> Path:
        folder = self.folder / "trials" / str(trial.id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _probabilities(self, z: float, *, has_misses: bool) -> NDArray[np.float64]:
        truth = self.task.target[self.task.validation]
        n = len(truth)
        noise = np.random.default_rng(0).normal(size=n)
        noise = (noise - noise.mean()) / noise.std(ddof=1)
        gains = 0.1 * (noise + z / math.sqrt(n)) if z else np.zeros(n)
        p = np.exp(-(1.0 - gains))
        probabilities = np.repeat(((1 - p) / 2)[:, None], 3, axis=1)
        probabilities[np.arange(n), truth] = p
        if has_misses:  # another class takes all that the true one leaves
            probabilities[np.arange(n // 2), (truth[: n // 2] + 1) % 3] *= 2
            probabilities[np.arange(n // 2), (truth[: n // 2] + 2) % 3] = 0
        return probabilities

    def finished(self, **changes: Any) -> FinishedSearch:
        search = FinishedSearch(
            self.folder, self.task, self.space, (ACCURACY,), (), tuple(self.trials)
        )
        return replace(search, **changes)


@pytest.fixture
def searched(image_task: Task, tmp_path: Path) -> Searched:
    """A search with the first trial of the default, of another effort than those of the rungs."""
    searched = Searched(tmp_path, image_task)
    searched.add(0, origin=BASELINE)
    return searched


def chosen(search: FinishedSearch) -> int:
    trial = choose_trial(search)
    assert trial is not None
    return trial.id


@pytest.mark.parametrize(("z", "best"), [(2.9, 1), (3.1, 3)])
def test_challenger_must_beat_the_default_by_three_standard_errors(
    searched: Searched, z: float, best: int
) -> None:
    searched.add(0, fidelity=0.2)
    searched.add(1, z, fidelity=0.2, accuracy=0.9)
    assert chosen(searched.finished()) == best


@pytest.mark.parametrize(("default", "challenger"), [(3.9, 6.0), (6.0, 3.9)])
def test_nothing_is_decided_before_four_epochs(
    searched: Searched, default: float, challenger: float
) -> None:
    searched.add(0, fidelity=0.2, epochs=default)
    searched.add(1, 5.0, fidelity=0.2, epochs=challenger)
    assert chosen(searched.finished()) == 1


def test_trials_of_different_fidelity_are_not_compared(searched: Searched) -> None:
    searched.add(1, 5.0, fidelity=0.2)
    assert chosen(searched.finished()) == 1
    searched.add(0, fidelity=0.2)
    assert chosen(searched.finished()) == 2


def test_only_the_longest_training_of_a_challenger_counts(searched: Searched) -> None:
    for fidelity, z in ((0.2, 5.0), (0.4, 1.0)):
        searched.add(0, fidelity=fidelity)
        searched.add(1, z, fidelity=fidelity)
    assert chosen(searched.finished()) == 1


def test_best_of_several_winners_is_chosen(searched: Searched) -> None:
    searched.add(0, fidelity=0.2)
    for candidate, accuracy in ((1, 0.7), (2, 0.9), (3, 0.8)):
        searched.add(candidate, 5.0, fidelity=0.2, accuracy=accuracy)
    assert chosen(searched.finished()) == 4


def test_challenger_without_more_correct_rows_is_not_chosen(searched: Searched) -> None:
    searched.add(0, fidelity=0.2)
    searched.add(1, 9.0, fidelity=0.2, has_misses=True)
    assert chosen(searched.finished()) == 1
    searched.add(2, 5.0, fidelity=0.2)
    assert chosen(searched.finished()) == 4


@pytest.mark.parametrize(("z", "expected"), [(1.9, 3), (2.1, 4)])
def test_an_edit_must_beat_the_winner_by_two_standard_errors(
    searched: Searched, z: float, expected: int
) -> None:
    searched.add(0, fidelity=0.2)
    winner = searched.add(1, 6.0, fidelity=0.2)
    edit = searched.add(2, 6.0, fidelity=0.2, accuracy=0.6)
    proposal = replace(edit.proposal, note={EDIT_OF: winner.id})
    searched.trials[-1] = replace(edit, proposal=proposal)
    truth = searched.task.target[searched.task.validation]
    rows = np.arange(len(truth))
    noise = np.random.default_rng(1).normal(size=len(rows))
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    p = np.load(searched.made_folder(winner) / VALIDATION)[rows, truth]
    p *= np.exp(0.01 * (noise + z / math.sqrt(len(rows))))
    probabilities = np.repeat(((1 - p) / 2)[:, None], 3, axis=1)
    probabilities[rows, truth] = p
    np.save(searched.made_folder(edit) / VALIDATION, probabilities)
    assert chosen(searched.finished()) == expected


def test_rare_classes_decide_if_the_metric_counts_them_the_same(
    image_task: Task, tmp_path: Path
) -> None:
    """Worse on many rows of a frequent class, better on all of a rare one."""
    target = np.where(np.arange(90) % 5 == 0, 1, 0)
    task = replace(image_task, target=target, validation=np.arange(90))
    rare = target == 1
    searched = Searched(tmp_path, image_task)
    for candidate, (p_frequent, p_rare) in enumerate([(0.9, 0.05), (0.55, 0.9)]):
        trial = searched.add(candidate, origin=BASELINE if candidate == 0 else "portfolio")
        p = np.where(rare, p_rare, p_frequent) + np.random.default_rng(0).normal(0, 0.01, 90)
        p = np.stack([np.where(rare, 1 - p, p), np.where(rare, p, 1 - p), np.zeros(90)], axis=1)
        np.save(searched.made_folder(trial) / VALIDATION, p)
    balanced = Objective("balanced_accuracy", "max")
    weights = row_weights(task, "balanced_accuracy")
    assert weights[rare].sum() == pytest.approx(weights[~rare].sum()) == pytest.approx(45)
    searched.trials = [
        replace(t, metrics=t.metrics | {"balanced_accuracy": 0.5}) for t in searched.trials
    ]
    assert chosen(searched.finished(task=task, objectives=(balanced,))) == 2
    assert chosen(searched.finished(task=task, objectives=(ACCURACY,))) == 1


def test_trainings_of_different_length_are_not_compared(searched: Searched) -> None:
    """One that was cut off by its deadline has not had the same chance."""
    searched.add(0, fidelity=0.2, epochs=5.5)
    searched.add(1, 9.0, fidelity=0.2, epochs=6.0)
    assert chosen(searched.finished()) == 1
    searched.add(2, 9.0, fidelity=0.2, epochs=5.6)
    assert chosen(searched.finished()) == 4


def test_default_is_kept_if_predictions_are_gone(searched: Searched) -> None:
    searched.add(0, fidelity=0.2)
    challenger = searched.add(1, 5.0, fidelity=0.2)
    (searched.made_folder(challenger) / VALIDATION).unlink()
    assert chosen(searched.finished()) == 1


def test_without_a_default_the_best_trial_is_chosen(image_task: Task, tmp_path: Path) -> None:
    searched = Searched(tmp_path, image_task)
    assert choose_trial(searched.finished()) is None
    searched.add(0, origin=BASELINE, status=Status.FAILED)
    searched.add(1, accuracy=0.7)
    searched.add(2, accuracy=0.8)
    assert chosen(searched.finished()) == 3


def test_final_trainings_and_ensembles_are_not_chosen_again(searched: Searched) -> None:
    searched.add(1, 5.0, accuracy=0.9, origin=FINAL)
    searched.add(2, 5.0, accuracy=0.99, origin=ENSEMBLE)
    assert chosen(searched.finished()) == 1
    several = (ACCURACY, Objective("parameters", "min"))
    searched.trials = [
        replace(t, metrics={**t.metrics, "parameters": 5.0}) for t in searched.trials
    ]
    assert chosen(searched.finished(objectives=several)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"objectives": (ACCURACY, Objective("epochs", "min"))},
        {"limits": (Limit("epochs", at_most=9.0),)},
        {"space": Space({"x": OneOf(1, 2)})},
    ],
)
def test_with_other_goals_or_spaces_the_best_trial_is_chosen_at_its_width(
    searched: Searched, changes: dict[str, Any]
) -> None:
    best = searched.add(1, accuracy=0.9)
    search = searched.finished(**changes)
    assert not searches_quality_alone(search)
    assert chosen(search) == best.id
    assert final_candidate(search, best, 60.0, 1) == best.candidate


def test_a_cost_as_the_only_objective_is_not_quality(searched: Searched) -> None:
    small = searched.add(1, flops=1.0)
    search = searched.finished(objectives=(Objective("flops", "min"),))
    assert not searches_quality_alone(search)
    assert chosen(search) == small.id


def test_regression_compares_squared_errors(image_task: Task, tmp_path: Path) -> None:
    target = image_task.target.astype(np.float64)
    task = replace(image_task, kind="regression", target=target, classes=())
    searched = Searched(tmp_path, image_task)
    for candidate, error in ((0, 1.0), (1, 0.5)):
        trial = searched.add(candidate, origin=BASELINE, rmse=error)
        noise = np.random.default_rng(0).normal(1.0, 0.1, len(task.validation))
        np.save(searched.made_folder(trial) / VALIDATION, target[task.validation] + error * noise)
    rmse = (Objective("rmse", "min"),)
    assert chosen(searched.finished(task=task, objectives=rmse)) == 2


def learnt(
    searched: Searched, accuracy: float = 0.9, epochs: float = 6.0
) -> tuple[Trial, FinishedSearch]:
    """The default's trial with this accuracy, and its search; three classes are equally frequent."""
    metrics = searched.trials[0].metrics | {"accuracy": accuracy, "epochs": epochs}
    searched.trials[0] = replace(searched.trials[0], metrics=metrics)
    return searched.trials[0], searched.finished()


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Width -> images a second that are measured; wider networks are slower."""
    rates = {width: 900.0 * (16 / width) ** WIDTH_COST for width in (16, 24, 32, 48, 64, 96)}

    def measured(search: FinishedSearch, candidate: Candidate, n_threads: int) -> float:
        return n_threads * rates[int(str(candidate.values["width_1"]))]

    monkeypatch.setattr(module, "_rows_per_second", measured)
    monkeypatch.setattr(module, "_MIN_FINAL_STEPS", 0)
    return rates


@pytest.mark.parametrize(("factor", "width"), [(1.01, 48), (0.99, 32), (1e-9, SEARCH_WIDTH)])
def test_network_is_as_wide_as_lets_it_pass_over_the_rows_often(
    searched: Searched, rate: dict[int, float], factor: float, width: int
) -> None:
    default, search = learnt(searched)
    n_rows = len(search.task.train) + len(search.task.validation)
    seconds = factor * 12 * n_rows / rate[48]
    candidate = final_candidate(search, default, seconds, 1)
    assert candidate == with_width(default.candidate, width)
    searched.space.check(candidate)


@pytest.mark.parametrize(("factor", "width"), [(1.01, 48), (0.99, 32)])
def test_few_rows_get_many_updates_of_a_narrower_network(
    searched: Searched,
    rate: dict[int, float],
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    width: int,
) -> None:
    monkeypatch.setattr(module, "_MIN_FINAL_STEPS", 800)
    default, search = learnt(searched)
    n_rows = len(search.task.train) + len(search.task.validation)
    batch_size = min(n_rows, int(str(default.candidate.values["model.batch_size"])))
    seconds = factor * 800 * batch_size / rate[48]
    assert final_candidate(search, default, seconds, 1) == with_width(default.candidate, width)


def test_networks_are_timed_side_by_side_if_they_are_trained_so(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they are slower than each alone, and the slower one of them counts."""
    default, search = learnt(searched)
    barrier, rates = Barrier(2, timeout=10), iter([900.0, 100.0] * 9)

    def measured(search: FinishedSearch, candidate: Candidate, n_threads: int) -> float:
        barrier.wait()  # the other one runs, too
        return next(rates)

    monkeypatch.setattr(module, "_rows_per_second", measured)
    monkeypatch.setattr(module, "_MIN_FINAL_STEPS", 0)
    n_rows = len(search.task.train) + len(search.task.validation)
    seconds = 12 * n_rows / 100.0
    candidate = final_candidate(search, default, 1.01 * seconds, 1, 2)
    assert candidate == with_width(default.candidate, SEARCH_WIDTH)


def test_more_threads_allow_a_wider_network(searched: Searched, rate: dict[int, float]) -> None:
    default, search = learnt(searched)
    n_rows = len(search.task.train) + len(search.task.validation)
    seconds = 0.99 * 12 * n_rows / rate[48]
    assert final_candidate(search, default, seconds, 2) == with_width(default.candidate, 64)


def test_slow_data_get_a_narrower_network(searched: Searched, rate: dict[int, float]) -> None:
    default, search = learnt(searched)
    n_rows = len(search.task.train) + len(search.task.validation)
    seconds = 1.01 * 25 * n_rows / rate[24]
    assert final_candidate(search, default, seconds, 1) == with_width(default.candidate, 32)
    default, search = learnt(searched, accuracy=0.4)
    assert final_candidate(search, default, seconds, 1) == with_width(default.candidate, 24)


@pytest.mark.parametrize(
    ("accuracy", "epochs", "is_slow"),
    [(0.5, 2.0, True), (0.6, 2.0, False), (0.5, 0.5, False), (0.35, 0.5, True), (0.35, 0.0, False)],
)
def test_few_epochs_tell_only_whether_nothing_is_learnt(
    searched: Searched, accuracy: float, epochs: float, is_slow: bool
) -> None:
    default, search = learnt(searched, accuracy, epochs)
    assert learns_slowly(search, default) == is_slow


def test_longest_training_of_the_candidate_tells_whether_it_is_slow(searched: Searched) -> None:
    default, _ = learnt(searched, accuracy=0.34, epochs=0.5)
    searched.add(0, fidelity=0.2, accuracy=0.7, epochs=6.0)
    searched.add(1, fidelity=0.2, accuracy=0.34, epochs=8.0)
    assert not learns_slowly(searched.finished(), default)


def test_few_widths_are_timed_and_only_one_if_that_took_long(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here wide networks are as fast as narrow ones, so that each shows that a wider one fits."""
    default, search = learnt(searched)
    monkeypatch.setattr(module, "_MIN_FINAL_STEPS", 0)
    n_rows = len(search.task.train) + len(search.task.validation)
    timed: list[int] = []

    def final_width(seconds: float) -> object:
        timed.clear()

        def measured(search: FinishedSearch, candidate: Candidate, n_threads: int) -> float:
            time.sleep(0.05)
            timed.append(int(str(candidate.values["width_1"])))
            return 2.0 * 12 * n_rows / seconds  # at width 16 that is enough for 24, and so on

        monkeypatch.setattr(module, "_rows_per_second", measured)
        return final_candidate(search, default, seconds, 1).values["width_1"]

    assert (final_width(100.0), timed) == (48, [16, 24, 32])
    assert (final_width(0.9), timed) == (24, [16])


def test_width_is_kept_without_a_clock(searched: Searched, rate: dict[int, float]) -> None:
    default, search = searched.trials[0], searched.finished()
    assert final_candidate(search, default, math.inf, 1) == default.candidate


def test_rate_is_measured_on_training_images(image_task: Task, tmp_path: Path) -> None:
    searched = Searched(tmp_path, image_task)
    trial = searched.add(0, origin=BASELINE)
    assert module._rows_per_second(searched.finished(), trial.candidate, 1) > 0


def test_all_stages_widen_in_proportion_within_the_space() -> None:
    candidate = Candidate({"width_1": 16, "width_2": 64, "width_3": 64, "head": "max"})
    wide = with_width(candidate, 96)
    assert wide.values == {"width_1": 96, "width_2": 384, "width_3": 384, "head": "max"}
    tower = Candidate({"width_1": 8, "width_2": 32})
    assert with_width(tower, 32).values == {"width_1": 16, "width_2": 64}


def test_wider_network_takes_longer_for_an_image() -> None:
    trial = Trial(1, Proposal(Candidate({"width_1": 16})), 0)
    assert slowdown(Candidate({"width_1": 32}), trial) == pytest.approx(2**PREDICTION_COST)
    assert slowdown(Candidate({"x": 1}), trial) == 1.0


def test_time_of_another_exported_model_is_scaled_by_its_operations() -> None:
    chosen = Trial(1, Proposal(Candidate({"width_1": 8})), 0, metrics={"flops": 90.0})
    exported = Trial(2, Proposal(Candidate({"width_1": 16})), 0, metrics={"flops": 30.0})
    assert slowdown(chosen.candidate, chosen, exported) == pytest.approx(3.0)
    wider = Candidate({"width_1": 16})
    assert slowdown(wider, chosen, exported) == pytest.approx(3 * 2**PREDICTION_COST)
    assert slowdown(wider, chosen, replace(exported, metrics={})) == pytest.approx(
        2**PREDICTION_COST
    )


def test_epochs_of_one_network_of_all_cores(image_task: Task) -> None:
    metrics = {"rows_per_second": 300.0}
    default = Trial(1, Proposal(Candidate({"width_1": 16})), 0, Status.DONE, metrics)
    n_rows = len(image_task.train) + len(image_task.validation)
    expected = 2 * 300.0 / 3**WIDTH_COST * 50 / n_rows
    assert epochs_of_one(image_task, default, 50.0, 2) == pytest.approx(expected)
    assert epochs_of_one(image_task, replace(default, metrics={}), 50.0, 2) == 0.0
