"""How many networks the final training trains is decided once, by how fast the default trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from netwright.automl.image.final_candidate import epochs_of_one
from netwright.automl.image.final_workers import FinalWorkers
from netwright.automl.time_allocation import final_seconds
from netwright.data.task import Task
from netwright.space.candidate import Candidate
from netwright.study.workers.executors import InProcess, Supervised
from netwright.trials.trial import Proposal, Status, Trial


def default_at(rate: float) -> Trial:
    """The default's trial, which learnt from so many images a second."""
    metrics = {"rows_per_second": rate}
    return Trial(1, Proposal(Candidate({})), 0, Status.DONE, metrics)


def rate_for(task: Task, epochs: float) -> float:
    """The rate of the default at which one network has so many epochs in 360 seconds."""
    return epochs / epochs_of_one(task, default_at(1.0), final_seconds(360.0), 2)


def opened(task: Task, executor: object, *trials: Trial) -> Any:
    return SimpleNamespace(task=task, study=SimpleNamespace(executor=executor, trials=[*trials]))


@pytest.mark.parametrize(("epochs", "n_members"), [(34.9, 1), (35.1, 2)])
@pytest.mark.parametrize("is_listed", [True, False])
def test_two_networks_if_one_had_time_for_many_epochs(
    image_task: Task, epochs: float, n_members: int, is_listed: bool
) -> None:
    """By the default's trial: that of the log, or the one that has just ended."""
    default = default_at(rate_for(image_task, epochs))
    search = opened(image_task, InProcess(), *([default] if is_listed else []))
    workers = FinalWorkers(search, 360.0, 2)
    if not is_listed:
        workers.start_early(default)
    assert workers.n_members == n_members
    assert workers.executor is search.study.executor  # in this process


def test_the_number_is_decided_once(image_task: Task) -> None:
    workers = FinalWorkers(opened(image_task, InProcess()), 360.0, 2)
    assert workers.n_members == 1
    workers.start_early(default_at(1e9))
    assert workers.n_members == 1


def test_workers_share_all_cores_and_may_keep_them_busy(
    image_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Supervised] = []
    monkeypatch.setattr(Supervised, "start", lambda self, warm_up: started.append(self))
    search = opened(image_task, Supervised(4, threads=2))
    workers = FinalWorkers(search, 7200.0, 4)
    workers.start_early(default_at(1e9))
    assert workers.n_members == 4
    executor: Any = workers.executor
    assert started == [executor]
    assert (executor.capacity, executor.threads) == (2, 4)
    assert executor.limits.owns_cores
    assert not search.study.executor.limits.owns_cores
    workers.close()


@pytest.mark.parametrize(("seconds", "expected"), [(None, False), (44.0, False), (45.0, True)])
def test_threads_wait_passively_where_they_could_not_give_way(
    image_task: Task, seconds: float | None, expected: bool
) -> None:
    executor: Any = FinalWorkers(opened(image_task, Supervised(2)), seconds, 2).executor
    assert executor.limits.owns_cores is expected


def test_closing_starts_nothing(image_task: Task) -> None:
    workers = FinalWorkers(opened(image_task, Supervised(2)), 60.0, 2)
    workers.close()
    assert workers._decided is None
