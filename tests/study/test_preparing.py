"""What a strategy needs before it proposes runs in a worker, and its end is heard of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_tools import Hill, Steps

from netwright.interfaces.strategy import Problem
from netwright.space.space import Space
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.strategies.random import RandomSearch
from netwright.study.progress.events import Event, PreparationEnded, Tick
from netwright.study.storage.run_folder import delete_run
from netwright.study.study import Study
from netwright.study.workers.executors import Executor, InProcess, Supervised
from netwright.trials.objective import Objective
from netwright.trials.trial import Proposal, Status, Trial


class Prepares:
    """Random search, once the preparation is over."""

    def __init__(self, problem: Problem, preparation: Steps) -> None:
        self.inner = RandomSearch()(problem)
        self.preparation = preparation

    def ask(self, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
        return self.inner.ask(n, rng) if self.preparation.is_over else []

    def tell(self, trial: Trial) -> None:
        self.inner.tell(trial)


def make_study(space: Space[Any], folder: Path, *of: Any, **more: Any) -> Study[Any]:
    folder.mkdir(exist_ok=True)

    def algorithm(problem: Problem) -> Prepares:
        return Prepares(problem, Steps(folder, *of))

    more = {"executor": Supervised(memory_limit=3e8), "run": folder / "run", **more}
    return Study(space, Hill(), strategy=algorithm, objectives=[Objective("loss", "min")], **more)


def test_preparation_runs_after_initial_candidates(space: Any, tmp_path: Path) -> None:
    """The wrapper has to hand it on: else the study would end after its seeds."""
    first = space.sample(np.random.default_rng(3))

    def inner(problem: Problem) -> Prepares:
        return Prepares(problem, Steps(tmp_path))

    study = Study(
        space,
        Hill(),
        strategy=InitialCandidates(inner, (first,)),
        objectives=[Objective("loss", "min")],
        executor=InProcess(),
        run=tmp_path / "run",
    )
    study.run(trials=4)
    assert [trial.proposal.origin for trial in study.trials] == ["portfolio", *["random"] * 3]


def heard(make_study: Study[Any], **budget: Any) -> list[Event]:
    events: list[Event] = []
    make_study.run(**budget, callbacks=events.append)
    return events


@pytest.mark.parametrize("make", [InProcess, Supervised])
def test_preparation_runs_between_baselines_and_proposals(
    space: Any, tmp_path: Path, make: Callable[[], Executor]
) -> None:
    study = make_study(space, tmp_path, "", 0.1, executor=make(), baselines=[space.default()])
    events = heard(study, trials=4)
    assert [trial.proposal.origin for trial in study.trials] == ["baseline", *["random"] * 3]
    assert {trial.status for trial in study.trials} == {Status.DONE}
    (prepared,) = (event for event in events if isinstance(event, PreparationEnded))
    assert prepared.report == ("ten steps",)
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call == f"{tmp_path / 'run' / 'supernet'} {math.inf}"
    ticks = [event.preparation_progress for event in events if isinstance(event, Tick)]
    if make is Supervised:
        assert len({tick for tick in ticks if tick}) > 2
    assert ticks[-1] == ""
    assert not heard(make_study(space, tmp_path, baselines=[space.default()]), trials=4)
    delete_run(tmp_path / "run")
    assert not (tmp_path / "run" / "supernet").exists()


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("abort", "given up: the worker crashed (SIGABRT)"),
        ("allocate", "given up: took more memory than 300 MB"),
        ("refuse", "given up: 3 channels cannot be halved"),
        ("fail", "given up: ValueError: the code is at fault"),
    ],
)
def test_study_continues_after_a_failed_preparation(
    space: Any, tmp_path: Path, what: str, sentence: str
) -> None:
    study = make_study(space, tmp_path, what)
    (prepared,) = (event for event in heard(study, trials=3) if isinstance(event, PreparationEnded))
    assert prepared.report[0].startswith(sentence)
    assert [trial.status for trial in study.trials] == [Status.DONE] * 3


def test_preparation_is_killed_after_half_of_the_time_left(space: Any, tmp_path: Path) -> None:
    executor = Supervised(grace_period=0.2)
    study = make_study(space, tmp_path, "sleep", executor=executor, baselines=[space.default()])
    (prepared,) = (
        event for event in heard(study, seconds=5) if isinstance(event, PreparationEnded)
    )
    (seconds,) = re.findall(r"^given up: took longer than ([0-9.]+) s", prepared.report[0])
    assert 1.0 < float(seconds) < 2.5  # starting the worker has taken some of the 5
    assert study.seconds < 7
    assert len(study.trials) > 1


def test_stopped_study_resumes_its_preparation(space: Any, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Tick) and event.preparation_progress not in ("", "step 0", "step 1"):
            raise KeyboardInterrupt

    study = make_study(space, tmp_path, "", 0.2)
    study.run(trials=3, callbacks=stop)
    assert study.interrupted
    assert not study.trials
    again = make_study(space, tmp_path)
    (prepared,) = (event for event in heard(again, trials=3) if isinstance(event, PreparationEnded))
    assert prepared.report == ("ten steps",)
    assert len((tmp_path / "calls").read_text().splitlines()) == 2
    assert len(again.trials) == 3


def test_untold_strategy_is_made_once(space: Any, tmp_path: Path) -> None:
    """What it is made with may have taken long: a supernet is built to see what it can hold."""
    made: list[Problem] = []

    def algorithm(problem: Problem) -> Prepares:
        made.append(problem)
        return Prepares(problem, Steps(tmp_path))

    def again() -> Study[Any]:
        objectives = [Objective("loss", "min")]
        return Study(
            space, Hill(), strategy=algorithm, objectives=objectives, run=tmp_path / "run",
            executor=InProcess(),
        )  # fmt: skip

    study = again()
    study.run(trials=2)
    assert len(made) == 1
    study.run(trials=3)
    assert len(made) == 2  # told the log anew
    assert len(again().run(trials=4).trials) == 4
