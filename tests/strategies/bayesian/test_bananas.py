"""BANANAS and NPENAS: the ensemble, how its opinions are taken, and when plans are made."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

import netwright.strategies.bayesian.bananas as module
from netwright.errors import InputError
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.bananas import Bananas, Npenas
from netwright.strategies.bayesian.network_ensemble import N_MEMBERS, fit_predict
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics, Status, Trial

Array = NDArray[np.float64]

LOSS = Objective("loss", "min")
SPACE = Space(tuple(OneOf(*"abcd") for _ in range(8)))
RNG = np.random.default_rng(0)
EFFECTS = RNG.normal(size=(8, 4))


def measure(candidate: Candidate) -> Metrics:
    """Each letter has an effect of its own."""
    indices = ["abcd".index(str(candidate.values[str(i)])) for i in range(8)]
    return {"loss": float(sum(EFFECTS[i, index] for i, index in enumerate(indices)))}


def losses(algorithm: Bananas | Npenas, trials: int, seed: int) -> Array:
    log = simulate(algorithm(Problem(SPACE, (LOSS,))), measure, trials, seed=seed)
    return np.array([t.metrics["loss"] for t in log if t.status is Status.DONE])


def make_rows(seed: int) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(seed)
    rows = rng.random((220, 6))
    y = 2 * rows[:, 0] - rows[:, 1] + 2 * rows[:, 2] * rows[:, 3]
    y = (y - y.mean()) / y.std()
    return rows[:120], y[:120], rows[120:], y[120:]


@pytest.mark.parametrize("seed", range(2))
def test_the_ensemble_predicts_unseen_rows(seed: int) -> None:
    train, y, pool, truth = make_rows(seed)
    predictions = fit_predict(train, y, pool, seed)
    assert predictions.shape == (N_MEMBERS, 100)
    assert spearmanr(predictions.mean(0), truth).statistic > 0.8
    assert np.abs(predictions.mean(0) - truth).mean() < 0.4  # and not its order alone


def test_members_disagree_more_far_from_the_training_data() -> None:
    train, y, pool, _ = make_rows(0)
    near, far = fit_predict(train, y, pool, 0), fit_predict(train, y, pool + 3.0, 0)
    for member, other in combinations(near, 2):
        assert np.abs(member - other).mean() > 0.01
    assert far.std(0).mean() > 2 * near.std(0).mean()


def test_the_ensemble_is_determined_by_its_seed() -> None:
    train, y, pool, _ = make_rows(0)
    first, repeated, other_seed = (
        fit_predict(train[:30], y[:30], pool, seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, other_seed)


def test_only_thompson_sampling_uses_disagreement_between_members() -> None:
    disagreement = np.linspace(-1.0, 1.0, 5)[:, None]  # (members, 1)
    mean = np.arange(10.0)
    unsure, agreed = mean + 20 * disagreement, mean + 0.01 * disagreement
    rng = np.random.default_rng(0)
    assert np.array_equal(np.argsort(Npenas().score(unsure, rng)), np.arange(10))
    assert np.array_equal(np.argsort(Bananas().score(agreed, rng)), np.arange(10))
    orders = {tuple(np.argsort(Bananas().score(unsure, rng))) for _ in range(20)}
    assert len(orders) > 10


def test_thompson_samples_have_the_ensembles_mean_and_std() -> None:
    predictions = np.array([[0.0, 10.0], [2.0, 10.0], [4.0, 16.0]])
    rng = np.random.default_rng(0)
    draws = np.array([Bananas().score(predictions, rng) for _ in range(20_000)])
    assert draws.mean(0) == pytest.approx(predictions.mean(0), abs=0.1)
    assert draws.std(0) == pytest.approx(predictions.std(0, ddof=1), rel=0.03)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03


@pytest.mark.parametrize("algorithm", [Bananas(), Npenas()])
def test_a_plan_does_not_depend_on_when_it_is_made(algorithm: Bananas | Npenas) -> None:
    problem = Problem(SPACE, (LOSS,))
    asked, replayed = algorithm(problem), algorithm(problem)
    log = simulate(asked, measure, 26)
    for trial in log:
        replayed.tell(trial)  # its first question comes when the plan is six trials old
    rng = [np.random.default_rng(5) for _ in range(2)]
    first, other = asked.ask(4, rng[0]), replayed.ask(4, rng[1])
    assert first == other
    assert {proposal.origin for proposal in first} == {"mutation"}


def test_the_ensemble_is_trained_once_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    fit_predict_unpatched = module.fit_predict

    def counting(train: Array, y: Array, pool: Array, seed: int) -> Array:
        sizes.append(len(train))
        assert len(pool) <= 100
        return fit_predict_unpatched(train, y, pool, seed)

    monkeypatch.setattr(module, "fit_predict", counting)
    losses(Bananas(n_startup_trials=8, batch_size=5), 14, 0)
    assert sizes == [8, 13]


def test_proposals_are_mutants_of_the_best_trials() -> None:
    strategy = Npenas(n_parents=3)(Problem(SPACE, (LOSS,)))
    log = simulate(strategy, measure, 20)
    done = {t.id: t for t in log if t.status is Status.DONE}
    first = sorted(list(done.values())[:10], key=lambda t: t.metrics["loss"])
    planned = [t for t in log if t.status is Status.RUNNING][10:]
    best = {t.id for t in first[:3]}
    for trial in planned:
        (parent,) = trial.proposal.parents
        assert parent in best
        changed = [
            p for p, v in trial.candidate.values.items() if done[parent].candidate.values[p] != v
        ]
        assert len(changed) == 1


def test_equivalent_networks_are_proposed_once() -> None:
    class Upper(DefaultKnowledge):
        """Only the first five letters count."""

        def canonical(self, candidate: Candidate) -> str:
            return "".join(str(candidate.values[str(i)]) for i in range(5))

    knowledge = Upper()
    strategy = Bananas()(Problem(SPACE, (LOSS,), knowledge=knowledge))
    log = simulate(strategy, measure, 40)
    planned = [t for t in log if t.status is Status.RUNNING and t.proposal.origin == "mutation"]
    forms = [knowledge.canonical(trial.candidate) for trial in planned]
    assert len(planned) == 30
    assert len(set(forms)) == 30


@pytest.mark.parametrize("algorithm", [Bananas(), Npenas()])
def test_without_the_ensemble_results_are_worse(
    algorithm: Bananas | Npenas, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mean() -> float:
        """Of the last 20 of 40: what the predictor chose."""
        return float(np.mean([losses(algorithm, 40, seed)[20:].mean() for seed in range(2)]))

    with_ensemble = mean()

    def constant(train: Array, y: Array, pool: Array, seed: int) -> Any:
        return np.zeros((N_MEMBERS, len(pool)))

    monkeypatch.setattr(module, "fit_predict", constant)
    assert with_ensemble < mean() - 1.0  # the deviation of all is 2.5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_startup_trials": 1}, "n_startup_trials must be at least 2, got 1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"n_candidates": 0}, "n_candidates must be at least 1, got 0"),
        ({"n_parents": 0}, "n_parents must be at least 1, got 0"),
    ],
)
@pytest.mark.parametrize("algorithm", [Bananas, Npenas])
def test_invalid_settings_are_errors(algorithm: Any, settings: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        algorithm(**settings)


def test_infeasible_trials_count_but_are_not_trained_on() -> None:
    problem = Problem(SPACE, (LOSS,))
    strategy = Bananas(n_startup_trials=4)(problem)
    rng = np.random.default_rng(0)
    for trial_id in range(6):
        proposal = strategy.ask(1, rng)[0]
        status = Status.INFEASIBLE if trial_id % 2 else Status.DONE
        metrics = {} if trial_id % 2 else measure(proposal.candidate)
        strategy.tell(Trial(trial_id, proposal, 0, status, metrics))
    assert strategy.ask(1, rng)[0].origin == "mutation"
