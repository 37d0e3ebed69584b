from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.checks import name_of
from netwright.interfaces.evaluator import Capabilities
from netwright.interfaces.strategy import Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.tpe import TPE
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.strategies.multi_fidelity.halving import BOHB, DEHB, Hyperband, SuccessiveHalving
from netwright.strategies.multi_fidelity.rungs import MultiFidelity, rung_fidelities
from netwright.strategies.random import RandomSearch
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Job, Metrics, Proposal, Status, Trial

LOSS = Objective("loss", "min")
LINE = Space({"x": Float(0.0, 1.0)})
ALL_SETTINGS = [SuccessiveHalving, ASHA, Hyperband]


def x(candidate: Candidate) -> Metrics:
    return {"loss": float(str(candidate.values["x"]))}


class Spies:
    """An algorithm whose strategies record what they are told; origins name the strategy."""

    def __init__(self) -> None:
        self.heard: list[list[Trial]] = []

    def __call__(self, problem: Problem) -> Strategy:
        heard: list[Trial] = []
        self.heard.append(heard)
        spy_index = len(self.heard) - 1

        class Spy:
            def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
                return [
                    Proposal(problem.space.sample(rng), origin=f"spy {spy_index}") for _ in "1" * n
                ]

            def tell(self, trial: Trial) -> None:
                heard.append(trial)

        assert problem.fidelities == (1.0,)
        return Spy()


@pytest.mark.parametrize(
    ("fidelities", "eta", "min_fidelity", "expected"),
    [
        ((), 3, 1 / 27, [1 / 27, 1 / 9, 1 / 3, 1]),
        ((), 3, 0.05, [1 / 9, 1 / 3, 1]),
        ((), 2, 0.25, [1 / 4, 1 / 2, 1]),
        ((0.06, 1.0), 3, 0.05, [0.06, 1]),
        ((0.5, 1.0), 3, 0.05, [0.5, 1]),
        (tuple(i / 200 for i in range(1, 201)), 3, 0.05, [0.11, 0.33, 1]),
        ((0.01, 0.1, 0.2, 0.5, 1.0), 4, 0.001, [0.01, 0.2, 1]),
    ],
)
def test_rung_fidelities_rise_by_eta_among_the_declared_ones(
    fidelities: Sequence[float], eta: float, min_fidelity: float, expected: list[float]
) -> None:
    assert list(rung_fidelities(fidelities, eta, min_fidelity)) == pytest.approx(expected)
    assert not fidelities or set(rung_fidelities(fidelities, eta, min_fidelity)) <= set(fidelities)


def test_a_missing_low_fidelity_is_an_error() -> None:
    with pytest.raises(InputError, match=r"fidelities must be such that one is from min_fidelity"):
        ASHA()(Problem(LINE, [LOSS], fidelities=(0.01, 1.0)))
    with pytest.raises(
        InputError, match=r"min_fidelity must be .* got 0.5. Use a min_fidelity below 0.333"
    ):
        ASHA(min_fidelity=0.5)(Problem(LINE, [LOSS]))


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_strategies_are_told_of_their_own_fidelity_only(settings: type[MultiFidelity]) -> None:
    spies = Spies()
    log = simulate(settings(spies)(Problem(LINE, [LOSS])), x, 150, workers=3)
    done = {t.id: t for t in log if t.status is Status.DONE}
    for fidelity, heard in zip((1 / 9, 1 / 3, 1.0), spies.heard, strict=True):
        results = [t for t in heard if t.status is Status.DONE]
        expected = {i for i, t in done.items() if t.proposal.fidelity == fidelity}
        assert {t.id for t in results} == expected
        assert len(results) == len(expected) > 5
        assert all(t.metrics == done[t.id].metrics for t in results)
        assert all(t.proposal.fidelity == 1 and "bracket" not in t.proposal.note for t in heard)
        # what was tried elsewhere is known, and nothing seems to run for ever
        assert {t.candidate for t in heard} == {t.candidate for t in log}
        started = [t.id for t in heard if t.status is Status.RUNNING]
        assert sorted(started) == sorted(t.id for t in heard if t.status is not Status.RUNNING)


def test_the_highest_rung_with_enough_trials_proposes_candidates() -> None:
    spies = Spies()
    log = simulate(
        ASHA(spies, random_fraction=0, min_trials_for_model=6)(Problem(LINE, [LOSS])), x, 150
    )
    counts = dict.fromkeys((1 / 9, 1 / 3, 1.0), 0)
    origins = set()
    for trial in log:
        if trial.status is Status.DONE:
            counts[trial.proposal.fidelity] += 1
        elif trial.proposal.origin != "promotion":
            rungs_with_enough = [k for k, n in enumerate(counts.values()) if n >= 6]
            own_rung = 2 if trial.proposal.fidelity == 1 else 0
            assert trial.proposal.origin == f"spy {max(rungs_with_enough, default=own_rung)}"
            origins.add(trial.proposal.origin)
    assert origins == {"spy 0", "spy 1", "spy 2"}


def test_random_fraction_of_new_candidates_is_random() -> None:
    def share(random: float) -> float:
        log = simulate(ASHA(Spies(), random_fraction=random)(Problem(LINE, [LOSS])), x, 300)
        new = [t.proposal.origin for t in log if t.proposal.origin != "promotion"]
        return new.count("random") / len(new)

    assert share(0) == 0
    assert share(1 / 3) == pytest.approx(1 / 3, abs=0.1)
    assert share(1) == 1


@pytest.mark.parametrize("settings", ALL_SETTINGS)
@pytest.mark.parametrize("fidelities", [(), (0.06, 1.0)])
def test_the_first_trial_has_full_fidelity_without_a_baseline(
    settings: type[MultiFidelity], fidelities: Sequence[float]
) -> None:
    problem = Problem(LINE, [LOSS], fidelities=fidelities)
    log = simulate(settings()(problem), x, 60)
    assert log[0].proposal.fidelity == 1
    assert log[2].proposal.fidelity < 1
    assert {t.proposal.fidelity for t in log} == set(rung_fidelities(fidelities, 3, 0.05))
    strategy = settings()(problem)
    baseline = Proposal(Candidate({"x": 0.5}), origin="baseline")
    strategy.tell(Trial(1, baseline, 0))
    rng = np.random.default_rng(0)
    assert all(proposal.fidelity < 1 for proposal in strategy.ask(3, rng))
    strategy.tell(Trial(1, baseline, 0, Status.FAILED, error="out of luck"))
    assert [proposal.fidelity == 1 for proposal in strategy.ask(3, rng)] == [True, False, False]


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_an_exhausted_space_is_promoted_to_full_fidelity_best_first(
    settings: type[MultiFidelity],
) -> None:
    space = Space({"x": OneOf(*range(20)), "y": OneOf("a", "b")})
    log = simulate(settings()(Problem(space, [LOSS])), x, 1000)
    full = [t for t in log if t.status is Status.DONE and t.proposal.fidelity == 1]
    assert len(full) == len({t.candidate for t in full}) == 40
    for trial in log:
        if trial.proposal.origin == "promotion":
            (parent,) = trial.proposal.parents
            lower = next(t for t in log if t.id == parent)
            assert lower.candidate == trial.candidate
            assert lower.proposal.fidelity < trial.proposal.fidelity
    strategy = settings()(Problem(space, [LOSS]))
    for trial_id, candidate in enumerate(space):
        proposal = Proposal(candidate, 1 / 9)
        strategy.tell(Trial(trial_id, proposal, 0))
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, x(candidate)))
    proposals = strategy.ask(99, np.random.default_rng(0))
    assert {proposal.candidate for proposal in proposals} == set(space)
    losses = [x(proposal.candidate)["loss"] for proposal in proposals]
    assert losses == sorted(losses)


class Measure:
    """An evaluator with two fidelities, of which the lower misleads."""

    metrics = ("loss",)
    capabilities = Capabilities(fidelities=(1.0, 0.06))

    def __call__(self, job: Job) -> Metrics:
        loss = x(job.proposal.candidate)["loss"]
        return {"loss": loss if job.proposal.fidelity == 1 else -100 - loss}


@pytest.mark.parametrize("algorithm", [ASHA(TPE()), BOHB, DEHB], ids=["ASHA", "BOHB", "DEHB"])
def test_a_study_uses_the_evaluators_fidelities_and_resumes(
    algorithm: MultiFidelity, tmp_path: Path
) -> None:
    def study(name: str) -> Study[Any]:
        return Study(
            LINE, Measure(), strategy=algorithm, objectives=[LOSS], run=tmp_path / name,
            executor=InProcess(),
        )  # fmt: skip

    whole = study("whole").run(trials=50)
    assert {t.proposal.fidelity for t in whole.trials} == {0.06, 1.0}
    assert whole.best is not None
    assert whole.best.metrics["loss"] >= 0
    for trials in (1, 2, 17, 33, 50):
        parts = study("parts").run(trials=trials)
    assert [t.proposal for t in parts.trials] == [t.proposal for t in whole.trials]


def test_settings_are_checked_and_printed_without_addresses() -> None:
    def mine(problem: Problem) -> Strategy:
        return RandomSearch()(problem)

    assert name_of(ASHA(mine, min_fidelity=0.1)).startswith(
        "ASHA(algorithm=test_settings_are_checked"
    )
    assert "0x" not in name_of(ASHA(mine))
    assert Hyperband(RandomSearch) == Hyperband()  # type: ignore[arg-type]  # its defaults
    for settings, sentence in [
        ({"eta": 1}, "eta must be above 1, got 1"),
        ({"min_fidelity": 1.0}, "min_fidelity must be between 0 and 1, got 1.0"),
        ({"random_fraction": 1.5}, "random_fraction must be from 0 to 1, got 1.5"),
        ({"min_trials_for_model": 0}, "min_trials_for_model must be at least 1, got 0"),
        ({"algorithm": 3}, "strategy must be an object with ask and tell"),
    ]:
        wrong: Any = settings
        with pytest.raises(InputError, match=sentence):
            Hyperband(**wrong)


@pytest.mark.parametrize("algorithm", [ASHA(), SuccessiveHalving(), Hyperband()], ids=str)
def test_full_fidelity_is_tried_until_a_trial_succeeds(algorithm: Any) -> None:
    space = Space({"x": Integer(0, 999)})

    for seed in range(20):
        luck = np.random.default_rng(seed)

        def measure(candidate: Candidate, luck: Any = luck) -> Metrics | None:
            return {"loss": 1.0} if luck.random() < 0.5 else None

        events = simulate(algorithm(Problem(space, (LOSS,))), measure, 30, seed=seed)
        results = [t for t in events if t.status == "done" and t.proposal.fidelity == 1]
        assert results, f"no answer with seed {seed}"
        started = [(t.candidate, t.proposal.fidelity) for t in events if t.status == "running"]
        assert len(set(started)) == len(started)
