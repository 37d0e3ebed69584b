"""After a search of images the chosen candidate is trained afresh, and kept if it is no worse."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.automl.finished_search import ROUND, FinishedSearch, OpenedSearch
from netwright.automl.goal import Goal
from netwright.automl.image import final_training
from netwright.automl.image.final_candidate import with_width
from netwright.automl.image.final_record import FinalRecord, is_unfinished
from netwright.automl.image.final_split import final_task
from netwright.automl.image.final_training import Reserve, is_due, train_final
from netwright.automl.open_search import open_search
from netwright.automl.search_budget import SearchBudget
from netwright.data.task import Task
from netwright.files.run_layout import (
    CANDIDATE,
    FINAL_TRAINING,
    METRICS,
    TRAINING_CHECKPOINT,
    VALIDATION,
)
from netwright.space.candidate import Candidate
from netwright.study.journal import n_budgeted_trials
from netwright.study.progress.events import Event, StageStarted, Tick, ignore_event
from netwright.study.workers.executors import InProcess
from netwright.study.workers.supervisor import JobResult
from netwright.trials.trial import FINAL, Job, Status, Trial

FREE = Reserve(0.0)


class Killed(BaseException):
    """Ends a run like a signal."""


class Trainer:
    """Leaves the files of a trained member, with as good predictions as it is told to."""

    def __init__(
        self, task: Task, truth: tuple[float, ...] = (0.999,), stop: BaseException | None = None
    ) -> None:
        self.capacity, self._truth, self._stop = len(truth), truth, stop
        self._held_out = final_task(task).validation
        self._target = task.target[self._held_out]
        self.evaluator: Any = None
        self.jobs: list[Job] = []
        self.files_before: list[list[str]] = []
        self._results: list[JobResult] = []

    @property
    def free_slots(self) -> int:
        return self.capacity - len(self._results)

    def open(self, evaluator: Any, max_jobs: int | None = None) -> None:
        self.evaluator = evaluator

    def submit(
        self, trial_id: int, job: Job, time_limit: float = math.inf, hang_timeout: float = math.inf
    ) -> None:
        self.files_before.append(sorted(path.name for path in job.folder.iterdir()))
        (job.folder / TRAINING_CHECKPOINT).write_text("state")
        p = self._truth[len(self.jobs)]
        self.jobs.append(job)
        if p < 0:
            self._results.append(JobResult(trial_id, Status.FAILED, {}, 1.0, "out of memory"))
            return
        predictions = np.full((len(self._target), 3), (1 - p) / 2)
        predictions[np.arange(len(self._target)), self._target] = p
        np.save(job.folder / VALIDATION, predictions)
        self._results.append(JobResult(trial_id, Status.DONE, {"accuracy": p, "flops": 5.0}, 1.0))

    def poll(self, timeout: float) -> list[JobResult]:
        time.sleep(0.01)
        if self._stop is not None:
            raise self._stop
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        """Nothing runs."""


class Starting(Trainer):
    """Its worker is ready after some polls, or when a job is submitted."""

    n_needed, n_polls = 3, 0

    @property
    def free_slots(self) -> int:
        return self.capacity if self.n_polls >= self.n_needed else 0

    def poll(self, timeout: float) -> list[JobResult]:
        self.n_polls += 1
        return super().poll(timeout)


def opened_at(task: Task, run: Path) -> OpenedSearch:
    return open_search(task, Goal(), SearchBudget(trials=1), run=run, executor=InProcess())


@pytest.fixture(scope="module")
def searched(image_task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a search of one trial, before its final training."""
    run = tmp_path_factory.mktemp("images") / "run"
    opened_at(image_task, run).study.run(trials=1, verbose=False)
    return run


@pytest.fixture
def opened(searched: Path, image_task: Task, tmp_path: Path) -> OpenedSearch:
    return opened_at(image_task, Path(shutil.copytree(searched, tmp_path / "run")))


def trained(
    opened: OpenedSearch,
    executor: Any,
    deadline: float = math.inf,
    reserve: Reserve = FREE,
    notify: Any = ignore_event,
) -> str:
    return train_final(opened, executor, deadline, 1, executor.capacity, notify, lambda: reserve)


def finals(opened: OpenedSearch) -> list[Trial]:
    return [trial for trial in opened.study.trials if trial.proposal.origin == FINAL]


def last_words(opened: OpenedSearch) -> FinalRecord:
    return FinalRecord.read(opened.study.folder)


def test_final_model_is_a_trial_that_no_budget_counts(opened: OpenedSearch) -> None:
    assert trained(opened, Trainer(opened.task)) == ""
    (final,) = finals(opened)
    assert final.proposal.parents == (1,)
    assert final.candidate == opened.study.trials[0].candidate  # no clock: the same width
    assert final.metrics == {"accuracy": 0.999, "flops": 5.0}
    assert n_budgeted_trials(opened.study.trials) == 1
    assert opened.study.is_budget_used(trials=1)
    files = {path.name for path in opened.study.trial_folder(final.id).iterdir()}
    assert VALIDATION in files
    assert TRAINING_CHECKPOINT not in files


def test_strategy_is_not_told_of_final_trainings(opened: OpenedSearch) -> None:
    trained(opened, Trainer(opened.task))
    told: list[Trial] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "netwright.automl.image.rungs.PortfolioRungsStrategy.tell",
            lambda self, trial: told.append(trial),
        )
        opened_at(opened.task, opened.study.folder).study.run(trials=2, verbose=False)
    assert told
    assert {trial.proposal.origin for trial in told}.isdisjoint({FINAL})


def test_final_training_learns_nearly_all_rows_until_the_deadline(opened: OpenedSearch) -> None:
    trainer = Trainer(opened.task)
    deadline = time.monotonic() + 1000
    trained(opened, trainer, deadline, Reserve(100.0, None, lambda: 10.0))
    expected = final_task(opened.task)
    stages = [trainer.evaluator, *vars(trainer.evaluator).values()]
    text = repr([vars(stage) for stage in stages if hasattr(stage, "__dict__")])
    assert "until_deadline=True" in text
    (job,) = trainer.jobs
    assert len(expected.train) > len(opened.task.train)
    slower = (deadline - 100 - job.deadline) / 10  # a wider network takes longer for test rows
    widths = [t.candidate.values["width_1"] for t in (finals(opened)[0], opened.study.trials[0])]
    assert slower == pytest.approx((int(str(widths[0])) / int(str(widths[1]))) ** 1.6)


def test_without_enough_time_nothing_is_trained(opened: OpenedSearch) -> None:
    trainer = Trainer(opened.task)
    assert trained(opened, trainer, time.monotonic() + 12, Reserve(10.0)) == ""
    assert not trainer.jobs
    assert not finals(opened)


def test_nothing_is_trained_if_preparing_has_used_the_time(opened: OpenedSearch) -> None:
    """Once a job was submitted with a limit of less than no time."""
    trainer = Trainer(opened.task)
    reserve = Reserve(0.0, None, lambda: 100.0)
    assert trained(opened, trainer, time.monotonic() + 50, reserve) == ""
    assert not trainer.jobs
    assert not finals(opened)


@pytest.mark.parametrize("truth", [0.01, -1.0])
def test_worse_or_failed_final_model_is_discarded_and_not_tried_again(
    opened: OpenedSearch, truth: float
) -> None:
    reason = trained(opened, Trainer(opened.task, (truth,)))
    expected = "out of memory" if truth < 0 else "on the same rows it is worse than trial 1 (z -"
    assert reason.startswith("A final training is left out: " + expected)
    assert not finals(opened)
    assert not is_due(opened.finished(), math.inf)
    assert last_words(opened).left_out_after == 1


def test_members_of_a_round_are_trained_side_by_side(opened: OpenedSearch) -> None:
    trainer = Trainer(opened.task, (0.999, 0.998))
    assert trained(opened, trainer) == ""
    first, second = finals(opened)
    assert len({job.seed for job in trainer.jobs}) == 2
    assert [job.folder.name for job in trainer.jobs] == ["0", "1"]
    assert opened.finished().last_finals == [first, second]
    trained(opened, Trainer(opened.task))
    search = opened.finished()
    assert [trial.proposal.note[ROUND] for trial in search.finals] == [0, 0, 1]
    assert search.last_finals == finals(opened)[2:]


def test_one_bad_member_of_two_is_left_out(opened: OpenedSearch) -> None:
    assert "on the same rows" in trained(opened, Trainer(opened.task, (0.999, 0.01)))
    assert len(finals(opened)) == 1
    assert not is_due(opened.finished(), math.inf)


def test_killed_training_goes_on_from_its_checkpoint_with_its_time(opened: OpenedSearch) -> None:
    with pytest.raises(Killed):
        trained(opened, Trainer(opened.task, stop=Killed()))
    killed = last_words(opened)
    assert killed.seconds > 0
    assert is_unfinished(opened.study.folder)
    again = opened_at(opened.task, opened.study.folder)
    assert is_due(again.finished(), 5.0)
    trainer = Trainer(opened.task)
    trained(again, trainer)
    assert TRAINING_CHECKPOINT in trainer.files_before[0]
    assert not is_unfinished(opened.study.folder)
    record = last_words(again)
    assert record.seconds > killed.seconds
    assert finals(again)[0].seconds == record.round_seconds == record.seconds


def test_seconds_are_of_the_last_round_and_of_all(opened: OpenedSearch) -> None:
    trained(opened, Trainer(opened.task))
    first = last_words(opened)
    trained(opened, Trainer(opened.task))
    record = last_words(opened)
    assert record.seconds == pytest.approx(first.seconds + record.round_seconds)
    assert [t.seconds for t in finals(opened)] == [first.round_seconds, record.round_seconds]


def test_checkpoint_of_another_candidate_is_removed(opened: OpenedSearch) -> None:
    with pytest.raises(Killed):
        trained(opened, Trainer(opened.task, stop=Killed()))
    (opened.study.folder / FINAL_TRAINING / CANDIDATE).write_text(Candidate({"x": 1}).json())
    trainer = Trainer(opened.task)
    trained(opened, trainer)
    assert trainer.files_before == [[]]


def test_widths_are_timed_when_the_workers_are_ready(
    opened: OpenedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that import libraries would slow the timed steps down."""
    n_polls_until: list[int] = []
    trainer = Starting(opened.task)
    original = final_training.final_candidate

    def timed(*args: Any) -> Candidate:
        n_polls_until.append(trainer.n_polls)
        return original(*args)

    monkeypatch.setattr(final_training, "final_candidate", timed)
    trained(opened, trainer, time.monotonic() + 100)
    assert n_polls_until == [3]


def test_killed_training_goes_on_in_its_width_with_less_time(
    opened: OpenedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrower network would fit better into the rest, but what was trained would be lost."""
    widths = iter([48, 24])
    monkeypatch.setattr(
        final_training,
        "final_candidate",
        lambda search, trial, *_: with_width(trial.candidate, next(widths)),
    )
    with pytest.raises(Killed):
        trained(opened, Trainer(opened.task, stop=Killed()), time.monotonic() + 100)
    trainer = Trainer(opened.task)
    trained(opened, trainer, time.monotonic() + 50)
    assert TRAINING_CHECKPOINT in trainer.files_before[0]
    assert trainer.jobs[0].proposal.candidate.values["width_1"] == 48


def test_test_rows_are_timed_when_the_workers_are_ready(opened: OpenedSearch) -> None:
    trainer, n_polls_until = Starting(opened.task), list[int]()

    def measure() -> float:
        n_polls_until.append(trainer.n_polls)
        return 1.0

    trained(opened, trainer, time.monotonic() + 100, Reserve(0.0, None, measure))
    assert n_polls_until == [3]


class Turns(Trainer):
    """Trains fewer members side by side than there are, each for a hundredth of its time."""

    def __init__(self, task: Task, n_slots: int, n_members: int) -> None:
        super().__init__(task, (0.999,) * n_members)
        self.capacity = n_slots
        self.seconds: list[float] = []
        self.dies_at = n_members

    def submit(
        self, trial_id: int, job: Job, time_limit: float = math.inf, hang_timeout: float = math.inf
    ) -> None:
        if len(self.jobs) == self.dies_at:
            raise Killed
        self.seconds.append(job.deadline - time.monotonic())
        super().submit(trial_id, job, time_limit, hang_timeout)


def train_members(opened: OpenedSearch, trainer: Trainer, n_members: int) -> str:
    deadline = time.monotonic() + 1000
    executor: Any = trainer
    return train_final(opened, executor, deadline, 1, n_members, ignore_event, lambda: FREE)


def test_members_that_wait_for_their_turn_share_the_time(opened: OpenedSearch) -> None:
    trainer = Turns(opened.task, 2, 4)
    assert train_members(opened, trainer, 4) == ""
    assert [job.folder.name for job in trainer.jobs] == ["0", "1", "2", "3"]
    assert trainer.seconds[:2] == pytest.approx([500, 500], abs=20)
    assert trainer.seconds[2:] == pytest.approx([1000, 1000], abs=20)  # the first took no time
    assert len(opened.finished().last_finals) == 4


def test_members_that_have_ended_are_not_trained_again_after_a_kill(opened: OpenedSearch) -> None:
    trainer = Turns(opened.task, 1, 2)
    trainer.dies_at = 1
    with pytest.raises(Killed):
        train_members(opened, trainer, 2)
    again = opened_at(opened.task, opened.study.folder)
    trainer = Turns(opened.task, 1, 2)
    assert train_members(again, trainer, 2) == ""
    assert [job.folder.name for job in trainer.jobs] == ["1"]
    first, second = again.finished().last_finals
    assert first.metrics == second.metrics == {"accuracy": 0.999, "flops": 5.0}
    files = {path.name for path in again.study.trial_folder(first.id).iterdir()}
    assert files.isdisjoint({METRICS, TRAINING_CHECKPOINT})


def test_no_more_members_are_trained_than_asked_for(opened: OpenedSearch) -> None:
    trainer = Trainer(opened.task, (0.999, 0.999, 0.999))
    train_final(opened, trainer, math.inf, 1, 2, ignore_event, lambda: FREE)  # type: ignore[arg-type]
    assert len(trainer.jobs) == 2


def test_waiting_for_the_workers_has_an_end(opened: OpenedSearch) -> None:
    trainer = Starting(opened.task)
    trainer.n_needed = 10**9
    started_at = time.monotonic()
    final_training._wait_until_ready(trainer, 1, started_at + 0.05)  # type: ignore[arg-type]
    assert 0.05 <= time.monotonic() - started_at < 5


def test_events_name_the_stage_and_the_time_left(opened: OpenedSearch) -> None:
    events: list[Event] = []
    trained(opened, Trainer(opened.task), time.monotonic() + 100, notify=events.append)
    (stage,) = (event for event in events if isinstance(event, StageStarted))
    assert str(stage).startswith("training the final model: ")
    (tick, *_) = (event for event in events if isinstance(event, Tick))
    assert tick.seconds_left is not None
    assert 0 < tick.seconds_left < 100


def with_final(search: FinishedSearch) -> FinishedSearch:
    default = search.trials[0]
    proposal = replace(default.proposal, origin=FINAL)
    return search.with_trial(replace(default, id=default.id + 1, proposal=proposal))


def test_final_training_is_due_after_a_search_of_images(opened: OpenedSearch) -> None:
    search = opened.finished()
    assert is_due(search, math.inf)
    assert is_due(search, 3.1)
    assert not is_due(search, 2.9)
    assert not is_due(replace(search, interrupted=True), math.inf)
    assert is_due(replace(search, trials=()), math.inf)  # workers were late, and there is time


def test_trained_again_after_more_trials_or_with_half_the_time_more(opened: OpenedSearch) -> None:
    search = with_final(opened.finished())
    FinalRecord(50.0, 20.0).write(search.folder)
    assert not is_due(search, math.inf)
    assert not is_due(search, 9.9)
    assert is_due(search, 10.1)
    later = replace(search.trials[0], id=3)
    assert is_due(search.with_trial(later), math.inf)


@pytest.mark.parametrize("text", ["", "{", '{"seconds": "x"}', '{"other": 1}', "[]"])
def test_damaged_record_is_one_of_zeros(text: str, tmp_path: Path) -> None:
    assert FinalRecord.read(tmp_path) == FinalRecord()
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "seconds.json").write_text(text)
    assert FinalRecord.read(tmp_path) == FinalRecord()
    assert not is_unfinished(tmp_path)
