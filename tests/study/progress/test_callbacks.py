"""Callbacks, logging and the tally behind them: they hear of everything and cost nothing."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
from study_tools import Hill, Steps
from test_preparing import Prepares

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.study.budget import Budget
from netwright.study.progress.events import (
    RunningTrial,
    SearchStarted,
    StageStarted,
    Tick,
    TrialEnded,
    TrialStarted,
    short_name,
)
from netwright.study.progress.tally import Tally
from netwright.study.run_record import RunRecord
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess, Supervised
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import BASELINE, CONSTANT, ENSEMBLE, Proposal, Status, Trial

LOSS = Objective("loss", "min")


def make_study(space: Any, **options: Any) -> Study[Any]:
    settings: dict[str, Any] = {"objectives": [LOSS], "executor": InProcess(), **options}
    return Study(space, settings.pop("evaluator", Hill()), **settings)


def record(make_study: Study[Any]) -> list[Any]:
    return [(t.id, t.proposal, t.seed, t.status, t.metrics) for t in make_study.trials]


def broken(event: object) -> None:
    raise KeyError("auc")


def test_a_callback_that_raises_is_switched_off_with_a_warning(space: Any) -> None:
    heard: list[object] = []
    calls: list[object] = []

    def raises_later(event: object) -> None:
        calls.append(event)
        if isinstance(event, TrialEnded):
            raise OSError("no\nsuch file")

    sentence = (
        r"callback .*raises_later is switched off because it raised OSError: no such file\. "
        r"The search continues without it\."
    )
    with pytest.warns(UserWarning, match=sentence) as warned:
        study = make_study(space).run(trials=5, callbacks=[raises_later, heard.append])
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert sum(isinstance(event, TrialEnded) for event in calls) == 1
    assert sum(isinstance(event, TrialEnded) for event in heard) == 5
    assert record(study) == record(make_study(space).run(trials=5))


def test_a_callback_is_warned_of_in_each_search(space: Any) -> None:
    for _ in range(2):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("default")
            make_study(space).run(trials=1, callbacks=broken)
        assert [str(one.message)[:27] for one in warned] == ["callback broken is switched"]


def test_search_continues_if_warnings_are_errors(
    space: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(make_study(space).run(trials=3, callbacks=broken).trials) == 3
    (warned,) = (each for each in caplog.records if each.levelno == logging.WARNING)
    assert warned.name == "netwright"
    assert "callback broken is switched off" in warned.getMessage()


@pytest.mark.parametrize("callbacks", [3, "print", [print, None], {"a": print}])
def test_callbacks_that_cannot_be_called_are_refused(space: Any, callbacks: Any) -> None:
    with pytest.raises(InputError, match="callbacks must be a function of one event, or"):
        make_study(space).run(trials=1, callbacks=callbacks)


@pytest.mark.parametrize("verbose", ["yes", None, 0.5])
def test_verbose_is_a_flag_or_auto(space: Any, verbose: Any) -> None:
    with pytest.raises(InputError, match='verbose must be "auto", True or False, got'):
        make_study(space).run(trials=1, verbose=verbose)


def test_events_come_in_the_order_of_the_search(space: Any) -> None:
    events: list[Any] = []
    make_study(space).run(trials=2, callbacks=events.append)
    assert [type(event) for event in events] == [
        SearchStarted, StageStarted, StageStarted,
        TrialStarted, TrialEnded, Tick, TrialStarted, TrialEnded, Tick,
    ]  # fmt: skip
    assert events[0] == SearchStarted((LOSS,), None, 2)
    assert [str(event) for event in events[1:3]] == ["starting 1 worker", "searching"]
    assert (events[4].is_best, events[4].trial_label) == (True, short_name(events[4].trial))
    assert events[5].n_ended == 1
    assert events[5].seconds_left == pytest.approx(events[4].seconds_left, abs=1)
    assert events[-1].seconds_left == 0


def test_ticks_have_running_trials_and_their_seconds(space: Any) -> None:
    events: list[Any] = []
    settings = {
        "evaluator": Hill(0.6),
        "executor": Supervised(1),
        "record": RunRecord(describe=lambda trial: "hill"),
    }
    make_study(space, **settings).run(seconds=60, trials=1, callbacks=events.append)
    running = [each for event in events if isinstance(event, Tick) for each in event.running]
    assert running
    assert all(isinstance(each, RunningTrial) for each in running)
    assert {(each.trial.id, each.trial_label) for each in running} == {(1, "hill")}
    assert 0 < running[-1].seconds < 10
    left = [event.seconds_left for event in events if isinstance(event, Tick)]
    assert 0 < left[-1] < left[0] < 60


def test_a_preparation_is_a_stage_before_the_search(space: Any, tmp_path: Path) -> None:
    def algorithm(problem: Problem) -> Prepares:
        return Prepares(problem, Steps(tmp_path))

    events: list[Any] = []
    make_study(space, strategy=algorithm).run(trials=1, callbacks=events.append)
    stages = [event.stage for event in events if isinstance(event, StageStarted)]
    assert stages[:3] == ["starting", "preparing", "searching"]


def test_resumed_search_announces_earlier_trials(space: Any, tmp_path: Path) -> None:
    before = make_study(space, run=tmp_path).run(trials=3)
    events: list[Any] = []
    make_study(space, run=tmp_path).run(trials=4, callbacks=events.append)
    assert events[0] == SearchStarted((LOSS,), None, 4, 3, before.best)


def test_stages_and_trials_are_logged_as_info(space: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="netwright"):
        study = make_study(space).run(trials=2, verbose=False)
    assert {(each.name, each.levelno) for each in caplog.records} == {("netwright", logging.INFO)}
    messages = [each.getMessage() for each in caplog.records]
    assert messages[:3] == ["optimising loss for 2 trials", "starting 1 worker", "searching"]
    assert messages[3] == f"trial 1 started: {short_name(study.trials[0])}"
    assert messages[4].startswith("trial 1: loss ")
    assert len(messages) == 7


def test_the_logger_is_silent_until_the_application_says(space: Any) -> None:
    make_study(space).run(trials=1)
    handlers = logging.getLogger("netwright").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def test_callbacks_do_not_change_the_search(space: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plain = record(make_study(space).run(trials=12, verbose=False))
    assert record(make_study(space).run(trials=12, verbose=True, callbacks=[len, print])) == plain
    assert record(make_study(space).run(trials=12)) == plain


def trial(
    trial_id: int, fidelity: float = 1.0, status: Status = Status.DONE, **metrics: float
) -> Trial:
    return Trial(trial_id, Proposal(Candidate({}), fidelity), 0, status, metrics)


def test_best_prefers_full_fidelity_within_limits() -> None:
    limit = Limit("cost", at_most=5)
    tally = Tally([trial(1, status=Status.RUNNING)], [LOSS], [limit], Budget(trials=9))
    assert (tally.n_ended, tally.best) == (0, None)
    assert tally.add(trial(1, 0.2, loss=3, cost=1))
    assert not tally.add(trial(2, 0.2, loss=3, cost=1))  # a tie
    assert tally.add(trial(3, loss=9, cost=1))
    assert not tally.add(trial(4, 0.2, loss=1, cost=1))
    assert not tally.add(trial(5, loss=1, cost=6))
    assert not tally.add(trial(6, status=Status.FAILED))
    assert tally.add(trial(7, loss=8, cost=5))
    assert tally.n_ended == 7
    assert tally.best
    assert tally.best.id == 7


def test_time_left_follows_the_clock_or_the_trials() -> None:
    ended = [trial(1, loss=1), trial(2, loss=2)]
    by_clock = Tally(ended, [LOSS], [], Budget(trials=4, seconds=60))
    assert by_clock.seconds_left(20, 3, 1) == 40
    assert by_clock.seconds_left(70, 3, 1) == 0
    assert Tally(ended, [LOSS], [], Budget(trials=4)).seconds_left(20, 3, 1) == 20  # 10 s each
    assert Tally([], [LOSS], [], Budget(trials=4)).seconds_left(20, 1, 1) is None
    assert Tally(ended, [LOSS], [], Budget(until=(limit_,))).seconds_left(20, 3, 1) is None


limit_ = Limit("loss", at_most=0)


@pytest.mark.parametrize(
    ("values", "proposal", "name"),
    [
        ({"family": "lightgbm", "model.rate": 0.1}, {}, "lightgbm"),
        ({"family": "tabm"}, {"fidelity": 0.2}, "tabm at 20 %"),
        ({"family": "tabm"}, {"origin": BASELINE}, "baseline tabm"),
        ({"network.0.channels": 32, "lr": 0.0065053435}, {}, "channels 32, lr 0.00651"),
        ({"network.0": 3}, {}, "network.0 3"),
        ({f"width{i}": i for i in range(9)}, {}, "width0 0, width1 1, width2 2, width…"),
        ({}, {}, "candidate"),
        ({}, {"origin": CONSTANT}, "constant prediction"),
        ({}, {"origin": ENSEMBLE, "parents": (3, 4)}, "average of 3, 4"),
    ],
)
def test_a_trial_has_a_short_name(
    values: dict[str, Any], proposal: dict[str, Any], name: str
) -> None:
    assert short_name(Trial(1, Proposal(Candidate(values), **proposal), 0)) == name
