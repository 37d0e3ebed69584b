import gc
import math
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_tools import Hill, Infinite, Restless, Warmed

from netwright.errors import InputError, OutOfTime, RunError
from netwright.files.run_layout import DATABASE
from netwright.interfaces.evaluator import Capabilities
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.interfaces.strategy import Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.random import RandomSearch
from netwright.study.journal import trial_seed
from netwright.study.progress.events import Tick, TrialEnded, TrialStarted
from netwright.study.run_record import RunRecord
from netwright.study.storage.run_folder import delete_run
from netwright.study.storage.store import Store
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess, Supervised
from netwright.study.workers.supervisor import JobResult
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.time_budget import TimeBudget
from netwright.trials.trial import Job, Metrics, Proposal, Status, Trial

LOSS, COST = Objective("loss", "min"), Objective("cost", "min")


def make_study(space: Space[Any], run: Path | None = None, **options: Any) -> Study[Any]:
    settings: dict[str, Any] = {"objectives": [LOSS, COST], "executor": InProcess(), **options}
    return Study(space, settings.pop("evaluator", Hill()), run=run, **settings)


def record(study: Study[Any]) -> list[Any]:
    return [(t.id, t.proposal, t.seed, t.status, t.metrics, t.error) for t in study.trials]


def test_study_finds_the_front_and_keeps_its_folders(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path).run(trials=60)
    assert len(study.trials) == 60
    assert {trial.status for trial in study.trials} == {Status.DONE}
    losses = [trial.metrics["loss"] for trial in study.front]
    costs = [trial.metrics["cost"] for trial in study.front]
    assert losses == sorted(losses)
    assert costs == sorted(costs, reverse=True)
    assert (
        study.best == study.front[0] == min(study.trials, key=lambda trial: trial.metrics["loss"])
    )
    kept = {int(folder.name) for folder in (tmp_path / "trials").iterdir()}
    assert kept == {trial.id for trial in study.front}
    x, y = (study.best.candidate.values[name] for name in "xy")
    assert (study.trial_folder(study.best.id) / "here.txt").read_text() == f"{x} {y}"


def test_the_same_seed_gives_the_same_study_and_another_seed_another(space: Any) -> None:
    assert record(make_study(space).run(trials=50)) == record(make_study(space).run(trials=50))
    assert record(make_study(space).run(trials=50)) != record(
        make_study(space, seed=1).run(trials=50)
    )


@pytest.mark.parametrize("ready", [True, False])
def test_resumed_study_equals_uninterrupted_study(space: Any, tmp_path: Path, ready: bool) -> None:
    def strategy() -> Any:
        algorithm = RegularizedEvolution()
        return algorithm(Problem(space, [LOSS, COST])) if ready else algorithm

    whole = make_study(space, strategy=strategy()).run(trials=60)
    kept = make_study(space, tmp_path / "a", strategy=strategy())
    for trials in (1, 2, 25, 60):  # the same object, which knows a part of the log already
        kept.run(trials=trials)
    for trials in (7, 33, 60):  # a new object, which knows nothing
        pieces = make_study(space, tmp_path / "b", strategy=strategy()).run(trials=trials)
    assert record(whole) == record(kept) == record(pieces)


def test_resumed_strategy_is_told_the_same_events(space: Any, tmp_path: Path) -> None:
    told: list[list[Trial]] = []

    class Listening:
        def __init__(self, problem: Problem) -> None:
            self.inner = RegularizedEvolution()(problem)
            told.append([])

        def ask(self, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
            return self.inner.ask(n, rng)

        def tell(self, trial: Trial) -> None:
            told[-1].append(trial)
            self.inner.tell(trial)

    options: dict[str, Any] = {"strategy": Listening, "evaluator": Hill(0.01)}
    make_study(space, tmp_path, executor=Supervised(3), **options).run(trials=40)
    live = told[-1]
    make_study(space, tmp_path, **options).run(trials=41)
    assert told[-1][: len(live)] == live
    assert [trial.id for trial in live] != sorted(trial.id for trial in live)  # they overlapped
    assert len(told[-1]) == len(live) + 2 == 82


def test_trial_budget_records_results_in_order(space: Any, tmp_path: Path) -> None:
    def run(name: str, **budget: Any) -> tuple[list[Any], list[int]]:
        ended: list[int] = []

        def watch(event: object) -> None:
            if isinstance(event, TrialEnded):
                ended.append(event.trial.id)

        study = make_study(
            space, tmp_path / name, evaluator=Restless(), executor=Supervised(3),
            strategy=RegularizedEvolution(population=5),
        )  # fmt: skip
        study.run(callbacks=watch, **budget)
        return record(study), ended

    first, order = run("a", trials=40)
    assert order == sorted(order)
    assert run("b", trials=40)[0] == first
    assert run("c", trials=40, seconds=60)[1] != order  # by a clock whoever is ready goes first


def test_a_budget_that_is_used_up_does_nothing(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path).run(trials=20)
    before = (tmp_path / DATABASE).stat().st_mtime_ns, record(study)
    again = make_study(space, tmp_path)
    assert again.is_budget_used(trials=20)
    assert not again.is_budget_used(trials=21)
    seen: list[object] = []
    again.run(trials=20, callbacks=seen.append)
    again.run(trials=5, callbacks=seen.append)
    assert not seen
    assert ((tmp_path / DATABASE).stat().st_mtime_ns, record(again)) == before


def test_seconds_count_over_all_runs(space: Any, tmp_path: Path) -> None:
    deadlines: list[float] = []

    class Slow(Hill):
        def __call__(self, job: Job) -> Metrics:
            deadlines.append(job.deadline)
            return super().__call__(job)

    first = make_study(space, tmp_path, evaluator=Slow(0.05)).run(seconds=1.5)
    n = len(first.trials)
    assert 1.4 < first.seconds < 4
    assert 2 <= n < 31
    assert max(deadlines) - min(deadlines) < 0.1  # the end of the study, for each of them
    second = make_study(space, tmp_path, evaluator=Slow(0.05))
    assert second.seconds == pytest.approx(first.seconds)
    assert len(second.run(seconds=1.5).trials) == n
    assert len(second.run(seconds=first.seconds + 1.5).trials) > n


class Sleeps(Hill):
    """Looks at no clock: it has to be killed."""

    def __call__(self, job: Job) -> Metrics:
        metrics = super().__call__(job)
        if job.folder.name == "3":
            time.sleep(60)
        return metrics


class GivesUp(Hill):
    """Sees that its third trial cannot end in time."""

    def __call__(self, job: Job) -> Metrics:
        if job.folder.name == "3" and math.isfinite(job.deadline):
            raise OutOfTime("no time was left")
        return super().__call__(job)


@pytest.mark.parametrize("evaluator", [Sleeps(0.2), GivesUp(0.2)])
def test_trials_cut_off_by_the_budget_stay_unfinished(
    space: Any, tmp_path: Path, evaluator: Any
) -> None:
    told: list[Trial] = []

    class Listening(RandomSearch):
        def __call__(self, problem: Problem) -> Strategy:
            strategy = super().__call__(problem)
            tell = strategy.tell
            strategy.tell = lambda trial: (told.append(trial), tell(trial))[1]  # type: ignore[method-assign]
            return strategy

    def search(evaluator: Any) -> Study[Any]:
        return make_study(
            space, tmp_path, evaluator=evaluator, executor=Supervised(), strategy=Listening()
        )

    begun = time.monotonic()
    first = search(evaluator).run(seconds=5)
    assert time.monotonic() - begun < 8
    assert first.trials[2].status is Status.RUNNING
    assert [trial.status for trial in told if trial.id == 3] == [Status.RUNNING]
    assert search(evaluator).is_budget_used(seconds=5)
    again = search(Hill(0.2)).run(trials=4)
    assert again.trials[2].status is Status.DONE
    assert again.trials[2].candidate == first.trials[2].candidate


def test_trial_over_its_own_time_is_infeasible(space: Any, tmp_path: Path) -> None:
    options = {"executor": Supervised(grace_period=0.1), "time": TimeBudget(trial=1.0)}
    study = make_study(space, tmp_path, evaluator=Sleeps(), **options).run(trials=4, seconds=60)
    assert study.trials[2].status is Status.INFEASIBLE
    assert study.trials[2].error == "took longer than 1 s"


def test_baselines_have_a_time_limit_of_their_own(space: Any, tmp_path: Path) -> None:
    seconds: list[float] = []

    def measure(job: Job) -> Metrics:
        seconds.append(job.deadline - time.monotonic())
        return {"loss": 1.0}

    measure.metrics = ("loss",)  # type: ignore[attr-defined]  # functions take attributes
    rng = np.random.default_rng(0)
    study = make_study(
        space, tmp_path, evaluator=measure, objectives=[LOSS], baselines=[space.sample(rng)],
        time=TimeBudget(trial=50.0, baseline=5.0),
    )  # fmt: skip
    study.run(trials=2, seconds=100)
    assert seconds == pytest.approx([5.0, 50.0], abs=1.0)


class Patient(InProcess):
    """Notes after how many seconds each trial would count as hanging; trials take 100 s."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs: list[tuple[object, float, float]] = []

    def submit(
        self, trial: int, job: Job, limit: float = math.inf, hangs_after: float = math.inf
    ) -> None:
        family = job.proposal.candidate.values.get("family")
        self.hangs.append((family, job.proposal.fidelity, hangs_after))
        super().submit(trial, job)

    def poll(self, timeout: float) -> list[JobResult]:
        return [replace(outcome, seconds=100.0) for outcome in super().poll(timeout)]


def test_hang_timeout_follows_the_slowest_of_its_family() -> None:
    class Halves(RandomSearch):
        def __call__(self, problem: Problem) -> Strategy:
            strategy = super().__call__(problem)
            ask = strategy.ask
            strategy.ask = lambda n, rng: [replace(p, fidelity=0.5) for p in ask(n, rng)]  # type: ignore[method-assign]
            return strategy

    options = OneOf({"tree": Integer(0, 99), "line": Integer(0, 99)}, name="family")
    families = Space(options)
    evaluator = lambda job: {"loss": 0.0}
    evaluator.metrics = ("loss",)  # type: ignore[attr-defined]
    patient = Patient()
    Study(families, evaluator, objectives="loss:min", strategy=Halves(), executor=patient).run(
        trials=8
    )
    seen: set[object] = set()
    for family, fidelity, hangs_after in patient.hangs:
        assert fidelity == 0.5
        # a full trial takes 200 s: half of it, 20 times
        assert hangs_after == (2000.0 if family in seen else 3600.0)
        seen.add(family)
    assert len(seen) == 2


def test_quick_trials_hang_after_ten_minutes_and_none_by_a_clock(space: Any) -> None:
    patient = Patient()
    patient.poll = lambda timeout: InProcess.poll(patient, timeout)  # type: ignore[method-assign]
    make_study(space, executor=patient).run(trials=2)
    make_study(space, executor=patient).run(trials=1, seconds=60)
    assert [hangs_after for _, _, hangs_after in patient.hangs] == [3600.0, 600.0, math.inf]


def test_trial_budget_gives_evaluators_no_deadline(space: Any) -> None:
    class Asks(Hill):
        def __call__(self, job: Job) -> Metrics:
            assert job.deadline == math.inf
            return super().__call__(job)

    study = make_study(space, evaluator=Asks(), time=TimeBudget(trial=5.0)).run(trials=3)
    assert [trial.status for trial in study.trials] == [Status.DONE] * 3


def test_until_ends_the_study_at_its_target(space: Any, tmp_path: Path) -> None:
    wanted = [Limit("loss", at_most=900), Limit("cost", at_most=90)]
    study = make_study(space, tmp_path).run(trials=500, until=wanted)
    met = [all(limit.keeps(trial.metrics) for limit in wanted) for trial in study.trials]
    assert met.index(True) == len(met) - 1 < 400
    assert make_study(space, tmp_path).is_budget_used(until=wanted)
    assert len(make_study(space, tmp_path).run(until=wanted, trials=500).trials) == len(met)


def test_a_small_space_ends_when_it_is_exhausted() -> None:
    tiny = Space({"x": Integer(0, 4), "y": Integer(0, 4)})
    for strategy in (RandomSearch(), RegularizedEvolution()):
        study = make_study(tiny, strategy=strategy).run(trials=1000)
        assert len({trial.candidate for trial in study.trials}) == len(study.trials) == 25


def test_baselines_run_first_and_are_told_if_in_space(space: Any, tmp_path: Path) -> None:
    heard: list[Trial] = []

    class Listening:
        def __init__(self, problem: Problem) -> None:
            self.ask = RandomSearch()(problem).ask

        def tell(self, trial: Trial) -> None:
            heard.append(trial)

    inside, outside = Candidate({"x": 61, "y": 17}), Candidate({"x": 1, "y": 2, "z": 3})
    options: dict[str, Any] = {"strategy": Listening, "baselines": [inside, outside]}
    make_study(space, tmp_path, **options).run(trials=1)
    study = make_study(space, tmp_path, **options).run(trials=4)
    assert [trial.candidate for trial in study.trials[:2]] == [inside, outside]
    assert [t.proposal.origin for t in study.trials] == ["baseline", "baseline", "random", "random"]
    assert study.best is not None
    assert study.best.candidate == inside
    assert outside not in {trial.candidate for trial in heard}
    assert inside in {trial.candidate for trial in heard}


def test_a_metric_that_is_no_number_makes_the_candidate_infeasible(space: Any) -> None:
    study = make_study(space, evaluator=Infinite(), objectives=[LOSS]).run(trials=20)
    even = [trial for trial in study.trials if trial.candidate.values["x"] in range(0, 100, 2)]
    assert 0 < len(even) < 20
    assert {trial.status for trial in even} == {Status.INFEASIBLE}
    assert {trial.error for trial in even} == {"loss is nan"}


def test_failing_code_stops_the_study_with_its_error(space: Any, tmp_path: Path) -> None:
    class Broken(Hill):
        broken = True

        def __call__(self, job: Job) -> Metrics:
            if self.broken and int(job.folder.name) > 3:
                raise KeyError("lr")
            return super().__call__(job)

    study = make_study(space, tmp_path, evaluator=Broken())
    with pytest.raises(RunError, match=r"5 trials in a row failed, .*trial 8.*KeyError: 'lr'"):
        study.run(trials=50)
    assert [trial.status for trial in study.trials] == [Status.DONE] * 3 + [Status.FAILED] * 5
    Broken.broken = False  # mended: what failed before does not count again
    assert len(make_study(space, tmp_path, evaluator=Broken()).run(trials=12).trials) == 12


def test_trial_without_an_objective_fails(space: Any) -> None:
    class Half(Hill):
        def __call__(self, job: Job) -> Metrics:
            return {"loss": 1.0}

    with pytest.raises(RunError, match="must measure cost, got loss"):
        make_study(space, evaluator=Half()).run(trials=9)


def test_trials_stopped_by_ctrl_c_run_again(space: Any, tmp_path: Path) -> None:
    class Interrupted(Hill):
        at = 5

        def __call__(self, job: Job) -> Metrics:
            if int(job.folder.name) == self.at:
                raise KeyboardInterrupt
            return super().__call__(job)

    whole = make_study(space).run(trials=12)
    study = make_study(space, tmp_path, evaluator=Interrupted())
    assert study.run(trials=12).interrupted
    assert [trial.status for trial in study.trials][-2:] == [Status.DONE, Status.RUNNING]
    assert not study.is_budget_used(trials=5)
    Interrupted.at = 0
    events: list[object] = []
    study.run(trials=12, callbacks=events.append)
    assert not study.interrupted
    assert record(study) == record(whole)
    started = [event for event in events if isinstance(event, TrialStarted)]
    assert [event.is_rerun for event in started] == [True] + [False] * 7


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_while_workers_run(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path, evaluator=Hill(30), executor=None)

    def press(event: object) -> None:
        if isinstance(event, TrialStarted):
            threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()

    assert study.run(trials=3, callbacks=press).interrupted
    assert [trial.status for trial in study.trials] == [Status.RUNNING]
    assert 0.3 < study.seconds < 10


def test_callbacks_see_every_start_and_end(space: Any) -> None:
    events: list[Any] = []
    study = make_study(space).run(trials=10, callbacks=events.append)
    ends = [event for event in events if isinstance(event, TrialEnded)]
    assert [event.trial for event in ends] == study.trials
    assert ends[0].on_front
    assert not all(event.on_front for event in ends)
    ticks = [event.seconds for event in events if isinstance(event, Tick)]
    assert ticks == sorted(ticks)


def test_time_budget_counts_over_runs(space: Any) -> None:
    timed = make_study(space, time=TimeBudget(search=0.5))
    begun = time.monotonic()
    timed.run()
    assert timed.trials
    assert time.monotonic() - begun < 30
    assert timed.is_budget_used()
    assert not timed.is_budget_used(seconds=1000.0)
    with pytest.raises(InputError, match="a budget must have trials, seconds or until"):
        make_study(space).run()


def test_the_folder_of_another_study_is_refused(space: Any, tmp_path: Path) -> None:
    about = RunRecord({"data": "adult.csv, 39,073 rows"})
    make_study(space, tmp_path, record=about).run(trials=1)
    other = Space({"x": Integer(0, 50), "y": Integer(0, 99)})
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (
            space,
            {"record": RunRecord({"data": "120 rows"})},
            "data was adult.csv, 39,073 rows, is 120 rows",
        ),
        (space, {"record": about, "seed": 3}, "seed was 0, is 3"),
        (space, {"record": about, "objectives": [LOSS]}, "objectives was min loss, min cost, is"),
        (space, {"record": about, "limits": ["flops<=9"]}, "limits was not given, is flops<=9"),
        (
            space,
            {"record": about, "strategy": RandomSearch()},
            r"strategy was Bayesian.*, is Rand",
        ),
        (other, {"record": about}, "search space is a different one"),
    ]
    for its_space, options, sentence in cases:
        evaluator = Hill(metrics=("loss", "cost", "flops"))
        with pytest.raises(RunError, match=f"{sentence}.*or delete this one to start over"):
            make_study(its_space, tmp_path, evaluator=evaluator, **options)
    delete_run(tmp_path)
    assert make_study(other, tmp_path).run(trials=2).trials[1].status is Status.DONE


def test_metrics_that_nobody_measures_are_refused_at_once(space: Any) -> None:
    with pytest.raises(InputError, match=r"evaluator measures, got 'los'. Did you mean 'loss'\?"):
        make_study(space, objectives=[Objective("los", "min")])
    with pytest.raises(InputError, match="It measures: loss, cost"):
        make_study(space).run(until=["accuracy>=1"])
    with pytest.raises(InputError, match="trials, seconds or until, got none"):
        make_study(space).run()


def test_a_temporary_folder_goes_with_its_study(space: Any) -> None:
    study = make_study(space).run(trials=2)
    folder = study.folder
    assert folder.exists()
    del study
    gc.collect()
    assert not folder.exists()


class Priced(Hill):
    """A hill whose cost is that of its models."""

    capabilities = Capabilities(cost_metric="cost")


def test_trials_better_than_all_cheaper_ones_keep_their_folders(space: Any, tmp_path: Path) -> None:
    def kept(name: str, evaluator: Hill, objectives: list[Objective]) -> set[int]:
        run = tmp_path / name
        settings = {"evaluator": evaluator, "objectives": objectives, "strategy": RandomSearch()}
        make_study(space, run, **settings).run(trials=20)
        again = make_study(space, run, **settings).run(trials=30)
        front = {trial.id for trial in pareto_front(again.trials, [LOSS, COST])}
        assert len(front) > 2
        folders = {int(folder.name) for folder in (run / "trials").iterdir()}
        assert folders in (front, {trial.id for trial in again.front})
        return folders

    assert len(kept("plain", Hill(), [LOSS])) == 1
    assert len(kept("priced", Priced(), [LOSS])) > 2


def test_best_trial_outside_limits_keeps_its_folder(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path, limits=[Limit("cost", at_most=-1)]).run(trials=20)
    assert study.front == []
    assert study.best is None
    (kept,) = (tmp_path / "trials").iterdir()
    assert int(kept.name) == min(study.trials, key=lambda trial: trial.metrics["loss"]).id


def test_seeds_of_trials_differ_and_depend_on_the_study_alone() -> None:
    seeds = [[trial_seed(make_study, trial) for trial in range(50)] for make_study in (0, 1)]
    assert len(np.unique(seeds)) == 100
    assert trial_seed(1, 7) == seeds[1][7]


def test_incremental_front_equals_front_of_all_trials(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path, strategy=RandomSearch()).run(trials=80)
    with Store.open_read_only(tmp_path) as store:
        assert store.trials() == study.trials
    assert make_study(space, tmp_path, strategy=RandomSearch()).front == study.front


def test_a_proposal_of_less_than_full_fidelity_is_never_delivered(space: Any) -> None:
    class Halves:
        def __init__(self, problem: Problem) -> None:
            self.space = problem.space

        def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
            return [Proposal(self.space.sample(rng), 0.5) for _ in range(n)]

        def tell(self, trial: Trial) -> None: ...

    study = make_study(space, strategy=Halves).run(trials=5)
    assert study.front == []
    assert not study.is_budget_used(until=[Limit("loss", at_most=1e9)])


def test_a_worker_is_warm_before_its_first_job(space: Any, tmp_path: Path) -> None:
    study = make_study(
        space, tmp_path, evaluator=Warmed(), objectives=[LOSS], executor=Supervised(1)
    )
    study.run(trials=3)
    assert [trial.metrics["loss"] for trial in study.trials] == [1.0] * 3


def test_a_strategy_is_given_what_the_evaluator_knows_beforehand(space: Any) -> None:
    own, given_to_study = DefaultKnowledge(), DefaultKnowledge()

    class Knowing(Hill):
        capabilities = Capabilities(fidelities=(1.0, 0.1), knowledge=own)  # in any order

    given: list[Problem] = []

    def algorithm(problem: Problem) -> Any:
        given.append(problem)
        return RegularizedEvolution()(problem)

    make_study(space, evaluator=Knowing(), strategy=algorithm)
    make_study(space, evaluator=Knowing(), strategy=algorithm, knowledge=given_to_study)
    make_study(space, strategy=algorithm)
    assert given[0].knowledge is own
    assert given[1].knowledge is given_to_study
    assert given[0].fidelities == (0.1, 1.0)
    assert (given[0].space, given[0].objectives) == (space, (LOSS, COST))
    assert given[2].fidelities == ()
    assert given[2].knowledge.metrics(space.default()) == {}


def test_the_weights_of_prior_beliefs_are_explained(space: Any, tmp_path: Path) -> None:
    class Sizes(DefaultKnowledge):
        def scores(self, candidate: Candidate) -> Metrics:
            return {"parameters": float(candidate.values["x"])}  # type: ignore[arg-type]

    def bayesian(run: Path) -> Study[Any]:
        return make_study(space, run, objectives=[LOSS], strategy=Bayesian(), knowledge=Sizes())

    study = bayesian(tmp_path)
    assert study.explain_prior() == {}
    study.run(trials=9)
    weights = study.explain_prior()
    assert weights.keys() == {"loss"}
    assert weights["loss"].keys() == {"none", "parameters"}
    assert sum(weights["loss"].values()) == pytest.approx(1)
    assert bayesian(tmp_path).explain_prior() == weights  # opened again
    assert make_study(space, strategy=RandomSearch()).run(trials=3).explain_prior() == {}


def test_strategies_do_not_hear_of_scores_on_test_data(space: Any, tmp_path: Path) -> None:
    heard: list[set[str]] = []

    class Tested(Hill):
        metrics = ("loss", "cost", "test_loss")

        def __call__(self, job: Job) -> Metrics:
            return {**super().__call__(job), "test_loss": 0.5}

    class Listening:
        def __init__(self, problem: Problem) -> None:
            self._strategy = RandomSearch()(problem)

        def ask(self, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
            return self._strategy.ask(n, rng)

        def tell(self, trial: Trial) -> None:
            heard.append({*trial.metrics})
            self._strategy.tell(trial)

    for trials in (3, 5):  # the second replays the log
        study = make_study(space, tmp_path, evaluator=Tested(), strategy=Listening)
        study.run(trials=trials)
    assert {"loss", "cost"} in heard
    assert not any("test_loss" in names for names in heard)
    assert all(trial.metrics["test_loss"] == 0.5 for trial in study.trials)


def test_metrics_of_an_evaluators_own_are_named_in_text(space: Any) -> None:
    study = make_study(space, objectives=["loss:min"], limits=["cost<=150"])
    assert (study.objectives, study.limits) == ((LOSS,), (Limit("cost", at_most=150),))
    assert study.run(trials=30, until=["loss<=1e9"]).trials[-1].metrics["loss"] <= 1e9
    assert len(study.trials) < 30
    assert make_study(space, objectives="loss:min").objectives == (LOSS,)
    with pytest.raises(InputError, match="Write 'loss:min' or 'loss:max'"):
        make_study(space, objectives="loss")
    with pytest.raises(InputError, match="one that netwright knows, got 'lost'"):
        make_study(space, objectives=["lost:min"])


def plain(job: Job) -> Metrics:
    return {"loss": 1.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": "a"}, "seed must be a whole number of at least 0, got 'a'"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, got 1.5"),
        ({"evaluator": None, "task": "iris"}, r"task must be a Task, got 'iris'. Make one: .*task"),
        ({"evaluator": plain}, "evaluator must be called with a job, and have `metrics`.* plain"),
        ({"evaluator": Hill(metrics="loss")}, "a tuple of the names .* got Hill with .* 'loss'"),  # type: ignore[arg-type]  # wrong on purpose
        ({"evaluator": Hill}, "evaluator must be an object, got the class Hill"),
        ({"baselines": [{"x": 1, "y": 2}]}, "baselines must be a list of Candidates"),
        ({"baselines": Candidate({"x": 1, "y": 2})}, "baselines must be a list of Candidates"),
        ({"objectives": 3}, "objectives must be a list of metrics, got 3"),
    ],
)
def test_wrong_arguments_of_a_study_are_refused(
    space: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        make_study(space, **options)


def test_a_description_is_no_space() -> None:
    with pytest.raises(InputError, match="space must be a Space, got dict"):
        make_study({"x": Integer(0, 9)})  # type: ignore[arg-type]  # wrong on purpose


def test_a_budget_of_trials_is_a_whole_number(space: Any) -> None:
    with pytest.raises(InputError, match=r"trials must be a whole number of at least 0, got 2\.5"):
        make_study(space).run(trials=2.5)  # type: ignore[arg-type]  # wrong on purpose


def test_a_function_with_metrics_is_an_evaluator(space: Any) -> None:
    def measure(job: Job) -> Metrics:
        return {"loss": 1.0}

    measure.metrics = ("loss",)  # type: ignore[attr-defined]  # functions take attributes
    study = make_study(space, evaluator=measure, objectives=[LOSS]).run(trials=2)
    assert [trial.status for trial in study.trials] == [Status.DONE] * 2


class Wordy:
    """A strategy whose settings take many words."""

    def __init__(self, last: int) -> None:
        self.last = last

    def __repr__(self) -> str:
        return f"Wordy({'many words, ' * 40}last={self.last})"

    def __call__(self, problem: Problem) -> Strategy:
        return RandomSearch()(problem)


def test_long_settings_show_only_their_difference(space: Any, tmp_path: Path) -> None:
    make_study(space, tmp_path, strategy=Wordy(10)).run(trials=1)
    sentence = r"strategy was \.\.\..*words.* last=10\), is \.\.\..*words.* last=20\)\. Use another"
    with pytest.raises(RunError, match=sentence) as told:
        make_study(space, tmp_path, strategy=Wordy(20))
    assert len(str(told.value)) < 400


def test_added_trials_are_not_told_or_budgeted(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path, objectives=[LOSS])
    study.run(trials=6)
    assert study.best is not None
    alone = study.best.id

    def make(folder: Path) -> Metrics:
        (folder / "mixed.txt").write_text("made")
        return {"loss": -1.0, "cost": 3.0}

    spec = EnsembleSpec.of({alone: 1.0}, temperature=1.5)
    added = study.add_trial(
        Proposal(Candidate({}), origin="ensemble", parents=(alone,)), make, spec
    )
    assert added.ensemble == spec
    assert (added.id, added.status, added.metrics["loss"]) == (7, Status.DONE, -1.0)
    assert study.best == added
    assert (study.trial_folder(7) / "mixed.txt").read_text() == "made"
    assert study.is_budget_used(trials=6)
    again = make_study(space, tmp_path, objectives=[LOSS])
    assert again.trials == study.trials
    again.run(trials=9)  # goes on without a word of it to the strategy
    assert [trial.id for trial in again.trials] == list(range(1, 11))
    kept = {int(folder.name) for folder in (tmp_path / "trials").iterdir()}
    assert kept == {7, alone}  # the front, and what it is made of
    plain = make_study(space, objectives=[LOSS]).run(trials=9)
    own = [trial.candidate for trial in again.trials if trial.id != 7]
    assert own == [trial.candidate for trial in plain.trials]


def test_failed_add_trial_records_nothing(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path).run(trials=3)

    def make(folder: Path) -> Metrics:
        raise InputError("no")

    with pytest.raises(InputError):
        study.add_trial(
            Proposal(Candidate({}), origin="ensemble", parents=(1,)),
            make,
            EnsembleSpec.of({1: 1.0}),
        )
    assert len(make_study(space, tmp_path).trials) == 3


def test_ensemble_trial_needs_its_spec(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path).run(trials=1)
    for origin, spec in (("ensemble", None), ("constant", EnsembleSpec.of({1: 1.0}))):
        with pytest.raises(InputError, match="given for the origin ensemble"):
            study.add_trial(Proposal(Candidate({}), origin=origin), lambda folder: {}, spec)


def test_added_trial_takes_its_own_time_or_the_given_one(space: Any, tmp_path: Path) -> None:
    study = make_study(space, tmp_path, objectives=[LOSS]).run(trials=1)
    proposal = Proposal(study.trials[0].candidate, origin="final training", parents=(1,))
    metrics = {"loss": 0.0, "cost": 0.0}
    measured = study.add_trial(proposal, lambda folder: metrics)
    given = study.add_trial(proposal, lambda folder: metrics, seconds=77.0)
    assert measured.seconds < 77.0 == given.seconds
    reopened = make_study(space, tmp_path, objectives=[LOSS])
    assert reopened.trials[-1].seconds == 77.0
    reopened.run(trials=9)  # folders of final trainings are kept, wherever they rank
    assert {2, 3} <= {int(folder.name) for folder in (tmp_path / "trials").iterdir()}
