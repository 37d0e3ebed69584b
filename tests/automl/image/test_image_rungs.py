"""The portfolio of images is compared on two rungs, and the comparison ends when the default leads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from netwright.automl.image import rungs
from netwright.automl.image.rungs import ORIGIN, PortfolioRungs, PortfolioRungsStrategy
from netwright.interfaces.strategy import Algorithm, Problem, searches
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.trials.objective import Objective
from netwright.trials.trial import BASELINE, Metrics, Proposal, Status, Trial

SPACE = Space({"x": Integer(0, 99)})
CANDIDATES = tuple(Candidate({"x": x}) for x in range(10))
DEFAULT = CANDIDATES[0]
ACCURACY, R2 = Objective("accuracy", "max"), Objective("r2", "max")
EPOCHS, ROWS = 30, 1000
Scores = Callable[[int], Metrics]


class Run:
    """Evaluates what the strategy proposes; a candidate's scores follow from its x."""

    def __init__(
        self,
        scores: Scores,
        *,
        seconds: float = 60.0,
        epoch_seconds: float = 1.0,
        objective: Objective = ACCURACY,
        failed: tuple[tuple[int, float], ...] = (),
    ) -> None:
        algorithm: Algorithm = RandomSearch()
        settings = PortfolioRungs(algorithm, CANDIDATES, EPOCHS, ROWS, seconds, n_workers=2)
        self.strategy: Any = settings(Problem(SPACE, [objective]))
        self._scores, self._rate, self._failed = scores, ROWS / epoch_seconds, failed
        self._n_trials = 0
        self.trial_seconds, self.trial_rate = 3.0, 1.0

    def ask(self, n: int = 99) -> list[Proposal]:
        return list(self.strategy.ask(n, np.random.default_rng(0)))

    def start(self, proposal: Proposal) -> Trial:
        self._n_trials += 1
        trial = Trial(self._n_trials, proposal, seed=0)
        self.strategy.tell(trial)
        return trial

    def end(self, trial: Trial) -> None:
        x = int(str(trial.candidate.values["x"]))
        metrics = {**self._scores(x), "rows_per_second": self._rate * self.trial_rate}
        is_failed = (x, trial.proposal.fidelity) in self._failed
        status = Status.FAILED if is_failed else Status.DONE
        self.strategy.tell(
            replace(trial, status=status, metrics=metrics, seconds=self.trial_seconds)
        )

    def id_of(self, x: int) -> int:
        """Return the id of the last trial of this x."""
        return max(t.id for t in self.strategy._trials.values() if t.candidate.values["x"] == x)

    def default(self) -> Run:
        """Evaluate the baseline."""
        self.end(self.start(Proposal(DEFAULT, origin=BASELINE)))
        return self

    def rung(self) -> dict[int, float]:
        """Evaluate all that is proposed; return x -> fidelity."""
        trials = [self.start(proposal) for proposal in self.ask()]
        for trial in trials:
            self.end(trial)
        return {int(str(t.candidate.values["x"])): t.proposal.fidelity for t in trials}


def default_leads(x: int) -> Metrics:
    return {"log_loss": 0.5 if x == 0 else 0.6, "accuracy": 0.5}


def later_ones_lead(x: int) -> Metrics:
    return {"log_loss": 1.0 - 0.05 * x, "accuracy": 0.5}


def test_nothing_is_proposed_while_the_default_runs() -> None:
    run = Run(later_ones_lead)
    trial = run.start(Proposal(DEFAULT, origin=BASELINE))
    assert run.ask() == []
    run.end(trial)
    assert run.ask()


def test_search_is_over_without_the_first_trial_of_the_default() -> None:
    assert Run(later_ones_lead, failed=((0, 1.0),)).default().ask() == []


@pytest.mark.parametrize(
    ("epoch_seconds", "first", "second"), [(1.0, 2, 6), (0.5, 4, 12), (3.0, 2, 4), (0.1, 20, 30)]
)
def test_rungs_have_enough_epochs_and_seconds(
    epoch_seconds: float, first: int, second: int
) -> None:
    run = Run(later_ones_lead, epoch_seconds=epoch_seconds, seconds=150.0).default()
    assert set(run.rung().values()) == {first / EPOCHS}
    assert set(run.rung().values()) == {second / EPOCHS}


def test_rungs_are_longer_in_a_longer_search() -> None:
    run = Run(later_ones_lead, seconds=150.0 * 2 ** (4 / 3)).default()
    assert set(run.rung().values()) == {4 / EPOCHS}
    assert set(run.rung().values()) == {12 / EPOCHS}


def test_first_rung_compares_the_default_and_the_whole_portfolio_in_order() -> None:
    run = Run(later_ones_lead).default()
    assert list(run.rung()) == list(range(10))
    assert {proposal.origin for proposal in Run(later_ones_lead).default().ask()} == {ORIGIN}


@pytest.mark.parametrize(("seconds", "n_compared"), [(17.0, 0), (18.0, 2), (20.0, 3), (22.0, 4)])
def test_portfolio_is_cut_to_the_time(seconds: float, n_compared: int) -> None:
    """A trial of the first rung takes 3.8 seconds; two of the second, 8.4 each, must follow."""
    run = Run(later_ones_lead, seconds=seconds).default()
    assert list(run.rung()) == list(range(n_compared))


def test_a_rate_near_zero_compares_nothing() -> None:
    assert Run(later_ones_lead, epoch_seconds=1e9).default().ask() == []


def test_search_is_over_when_the_default_leads_the_first_rung() -> None:
    run = Run(default_leads).default()
    assert len(run.rung()) == 10
    assert run.ask() == []


@pytest.mark.parametrize(("loss", "leads"), [(0.985, False), (0.975, True)])
def test_a_challenger_must_lead_by_two_percent(loss: float, leads: bool) -> None:
    run = Run(lambda x: {"log_loss": loss if x == 4 else 1.0, "accuracy": 0.5}).default()
    run.rung()
    assert list(run.rung()) == ([0, 4] if leads else [])


def test_second_rung_has_the_default_and_the_two_best_challengers() -> None:
    run = Run(later_ones_lead).default()
    run.rung()
    assert list(run.rung()) == [0, 9, 8]
    assert run.ask() == []


def test_more_time_compares_the_candidates_that_were_left_out() -> None:
    run = Run(later_ones_lead, seconds=20.0).default()
    assert list(run.rung()) == [0, 1, 2]
    assert list(run.rung()) == [0, 2]
    assert run.ask() == []
    run.strategy._settings = replace(run.strategy._settings, seconds=100.0)
    assert list(run.rung()) == list(range(3, 10))


def test_trials_that_end_early_add_no_candidates() -> None:
    run = Run(later_ones_lead, seconds=20.0)
    run.trial_seconds = 0.1
    assert list(run.default().rung()) == [0, 1, 2]
    run.trial_rate = 50.0
    assert list(run.rung())[:1] == [0]
    assert all(proposal.fidelity == 6 / EPOCHS for proposal in run.ask())


def test_candidates_that_would_be_cut_off_are_left_out() -> None:
    """A trial of the second rung takes 8.4 seconds."""
    run = Run(later_ones_lead)
    run.strategy._settings = replace(run.strategy._settings, trial_seconds=8.3)
    assert run.default().ask() == []
    run.strategy._settings = replace(run.strategy._settings, trial_seconds=8.5)
    assert len(run.ask()) == 10


def test_search_is_over_if_the_default_fails_on_the_first_rung() -> None:
    run = Run(later_ones_lead, failed=((0, 2 / EPOCHS),)).default()
    run.rung()
    assert run.ask() == []


def test_nothing_is_decided_while_a_rung_runs() -> None:
    run = Run(later_ones_lead).default()
    *trials, last = [run.start(proposal) for proposal in run.ask()]
    for trial in trials:
        run.end(trial)
    assert run.ask() == []
    run.end(last)
    assert len(run.ask()) == 3
    assert len(run.ask(2)) == 2


def test_counted_trials_train_the_portfolio_in_full_and_then_search() -> None:
    run = Run(default_leads, seconds=math.inf)
    run.start(Proposal(DEFAULT, origin=BASELINE))
    assert run.rung() == dict.fromkeys(range(1, 10), 1.0)
    assert {proposal.origin for proposal in run.ask(3)} == {"random"}


def test_regression_is_compared_by_errors_whatever_the_objective() -> None:
    """98 % of a negative loss would be a larger one: then the default would be beaten by worse."""
    run = Run(lambda x: {"rmse": 1.0 + 0.001 * x, "r2": 0.5 - 0.001 * x}, objective=R2).default()
    run.rung()
    assert run.ask() == []


def edits_of(candidate: Candidate) -> list[Candidate]:
    x = int(str(candidate.values["x"]))
    return [Candidate({"x": 10 * x + i}) for i in range(5)]


@pytest.mark.parametrize(("trial_seconds", "n_edits"), [(3.0, 5), (6.9, 3), (7.3, 2), (8.7, 0)])
def test_leader_is_edited_as_long_as_there_is_time(
    monkeypatch: pytest.MonkeyPatch, trial_seconds: float, n_edits: int
) -> None:
    """There are 112 seconds on two workers, and 13 trials before."""
    monkeypatch.setattr(rungs, "image_edits", edits_of)
    run = Run(lambda x: later_ones_lead(x) | {"accuracy": 0.5 + 0.01 * x})
    run.trial_seconds = trial_seconds
    run.default().rung()
    second = run.rung()
    first = [run.start(proposal) for proposal in run.ask(1)]
    edits = [*first, *(run.start(proposal) for proposal in run.ask())]
    assert len(edits) == n_edits
    if not n_edits:
        return
    assert {trial.proposal.fidelity for trial in edits} == {second[9]}
    assert {trial.proposal.note[rungs.EDIT_OF] for trial in edits} == {run.id_of(9)}
    for trial in edits:
        run.end(trial)
    assert run.ask() == []


def test_leader_in_loss_alone_is_not_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rungs, "image_edits", edits_of)
    run = Run(later_ones_lead).default()
    run.rung()
    run.rung()
    assert run.ask() == []


def test_balanced_accuracy_is_compared_itself() -> None:
    """Balanced classes raise the log loss of all rows."""
    balanced = Objective("balanced_accuracy", "max")

    def scores(x: int) -> Metrics:
        return {"log_loss": 1.0 + x, "balanced_accuracy": 0.5 + 0.2 * (x == 3)}

    run = Run(scores, objective=balanced).default()
    run.rung()
    assert list(run.rung()) == [0, 3]


def test_name_does_not_depend_on_the_budget() -> None:
    short = PortfolioRungs(RandomSearch(), CANDIDATES, EPOCHS, ROWS, 60.0, 2)
    assert repr(short) == repr(replace(short, seconds=math.inf, n_workers=1, rows=5))


class Remembering(RandomSearch):
    """A random search that remembers what it is told."""

    told: ClassVar[list[Trial]] = []

    def __call__(self, problem: Problem) -> Any:
        strategy: Any = super().__call__(problem)
        strategy.tell = self.told.append
        return strategy


@pytest.mark.parametrize("scores", [default_leads, later_ones_lead])
def test_strategy_proposes_after_the_portfolio_of_a_long_search(scores: Scores) -> None:
    """It hears of the second rung alone, as if its trainings were full ones."""
    run = Run(scores, seconds=500.0)
    algorithm: Any = Remembering()
    algorithm.told.clear()
    settings = replace(run.strategy._settings, algorithm=algorithm)
    run.strategy = settings(Problem(SPACE, [ACCURACY]))
    run.trial_seconds = 30.0
    run.default().rung()
    second = run.rung()
    (fidelity,) = set(second.values())
    assert second.keys() == ({0} if scores is default_leads else {0, 9, 8})
    proposals = run.ask(3)
    assert {(each.origin, each.fidelity) for each in proposals} == {("random", fidelity)}
    assert {trial.candidate.values["x"] for trial in algorithm.told} == second.keys()
    assert {trial.proposal.fidelity for trial in algorithm.told} == {1.0}
    n_asked = 0
    while proposals := run.ask(1):
        run.end(run.start(proposals[0]))
        n_asked += 1
    assert 0 < n_asked < 40
    assert len(algorithm.told) == len(second) + n_asked


def test_strategy_proposes_nothing_in_a_short_search() -> None:
    run = Run(default_leads, seconds=390.0).default()
    run.rung()
    assert run.ask() == []


def test_only_long_searches_go_beyond_the_portfolio() -> None:
    short = PortfolioRungs(RandomSearch(), CANDIDATES, EPOCHS, ROWS, 60.0, 2)
    assert not searches(short)
    assert searches(replace(short, seconds=900.0))
    assert searches(replace(short, seconds=math.inf))
    assert isinstance(short(Problem(SPACE, [ACCURACY])), PortfolioRungsStrategy)
