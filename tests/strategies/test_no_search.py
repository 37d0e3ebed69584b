"""Without a search only given candidates are evaluated, and the study ends when they are."""

from pathlib import Path

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Algorithm, Problem, searches
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.halving import Hyperband, SuccessiveHalving
from netwright.strategies.multi_fidelity.rungs import MultiFidelity
from netwright.strategies.no_search import NoSearch
from netwright.strategies.random import RandomSearch
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Metrics, Status

SPACE = Space({"x": Integer(0, 99)})
GIVEN = tuple(Candidate({"x": x}) for x in (70, 30, 50, 10, 90))
LOSS = Objective("loss", "min")
PROBLEM = Problem(SPACE, [LOSS])


def loss(candidate: Candidate) -> Metrics:
    return {"loss": float(str(candidate.values["x"]))}


class Loss:
    metrics = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        return loss(job.proposal.candidate)


def study(run: Path, baselines: tuple[Candidate, ...] = GIVEN) -> Study[object]:
    return Study(
        SPACE, Loss(), strategy=NoSearch(), objectives=[LOSS], baselines=baselines, run=run,
        executor=InProcess(),
    )  # fmt: skip


def test_a_study_ends_after_its_baselines(tmp_path: Path) -> None:
    done = study(tmp_path / "run").run(seconds=86_400)
    assert [trial.candidate for trial in done.trials] == [*GIVEN]
    assert done.best is not None
    assert done.best.candidate == GIVEN[3]


def test_a_complete_study_is_used_up_whatever_the_budget(tmp_path: Path) -> None:
    assert not study(tmp_path / "run").is_budget_used(seconds=60)
    part = study(tmp_path / "run").run(trials=3)
    assert not part.is_exhausted
    assert not study(tmp_path / "run").is_budget_used(trials=9)
    done = study(tmp_path / "run").run(trials=9)
    assert done.is_exhausted
    again = study(tmp_path / "run")
    assert again.is_budget_used(trials=99)
    seen: list[object] = []
    again.run(seconds=600, callbacks=seen.append)
    assert not seen  # no worker is started for nothing


def test_of_a_search_it_is_not_known_whether_anything_is_left(tmp_path: Path) -> None:
    searched = Study(
        Space({"x": Integer(0, 1)}), Loss(), strategy=RandomSearch(), objectives=[LOSS],
        run=tmp_path / "run", executor=InProcess(),
    ).run(trials=9)  # fmt: skip
    assert len(searched.trials) == 2
    assert not searched.is_exhausted


@pytest.mark.parametrize("settings", [ASHA, SuccessiveHalving, Hyperband])
@pytest.mark.parametrize("workers", [1, 3])
def test_given_candidates_alone_pass_the_rungs(settings: type[MultiFidelity], workers: int) -> None:
    algorithm = settings(InitialCandidates(NoSearch(), GIVEN))
    log = simulate(algorithm(PROBLEM), loss, 1000, workers=workers)
    assert {trial.candidate for trial in log} == {*GIVEN}
    done = [trial for trial in log if trial.status is Status.DONE]
    assert min(trial.proposal.fidelity for trial in done) < 1
    full = [trial.candidate for trial in done if trial.proposal.fidelity == 1]
    failed = {trial.candidate for trial in log if trial.status is Status.FAILED}
    assert {*GIVEN} - failed <= {*full}
    assert len(full) == len({*full})


def test_what_wraps_no_search_does_not_search_either() -> None:
    algorithms: dict[Algorithm, bool] = {
        NoSearch(): False,
        InitialCandidates(NoSearch(), GIVEN): False,
        ASHA(InitialCandidates(NoSearch(), GIVEN)): False,
        InitialCandidates(RandomSearch(), GIVEN): True,
        ASHA(RandomSearch()): True,
    }
    assert {algorithm: searches(algorithm) for algorithm in algorithms} == algorithms
    assert not searches(NoSearch)
    assert searches(ASHA)  # the class, which searches by default


def test_it_proposes_nothing_and_is_a_strategy_of_any_space() -> None:
    strategy = NoSearch()(PROBLEM)
    assert list(strategy.ask(9, np.random.default_rng(0))) == []
    with pytest.raises(InputError, match="algorithm must be one that leaves fidelities alone"):
        ASHA(ASHA(NoSearch()))
