import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf, SubsetOf
from netwright.space.space import Space
from netwright.strategies.reinforcement.policies import (
    IndependentPolicy,
    PolicySample,
    RecurrentPolicy,
    UpdateSettings,
    gradient_weight,
)
from netwright.strategies.reinforcement.policy_gradient import (
    PPO,
    PolicyGradientStrategy,
    Reinforce,
    _LearningSettings,
)
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Proposal, Status, Trial

LOSS = Objective("loss", "min")
NESTED = Space(
    {
        "a": OneOf({"x": Integer(0, 2), "y": OneOf("p", "q")}),
        "b": SubsetOf("u", "v", "w", min_size=1),
    }
)
PAIR = Space({"a": OneOf(0, 1), "b": OneOf(0, 1)})


@pytest.fixture(params=[IndependentPolicy, RecurrentPolicy])
def policy(request: pytest.FixtureRequest) -> Any:
    return request.param(NESTED)


def test_probabilities_of_all_candidates_sum_to_one(policy: Any) -> None:
    samples = [PolicySample(c, a, 0.0) for c, a in zip(NESTED, itertools.cycle([1.0, -0.5]))]
    policy.update(samples[:6], UpdateSettings(0.5, 0.0))
    total = sum(math.exp(policy.log_probability(candidate)) for candidate in NESTED)
    assert total == pytest.approx(1, abs=1e-5)


def test_samples_follow_their_log_probability(policy: Any) -> None:
    policy.update([PolicySample(next(iter(NESTED)), 1.0, 0.0)], UpdateSettings(0.5, 0.0))
    rng = np.random.default_rng(0)
    drawn = [policy.sample(rng) for _ in range(600)]
    for candidate, log_p in drawn[:50]:
        NESTED.check(candidate)
        assert log_p == pytest.approx(policy.log_probability(candidate), abs=1e-4)
    common = max(
        {candidate for candidate, _ in drawn},
        key=lambda candidate: policy.log_probability(candidate),
    )
    share = sum(candidate == common for candidate, _ in drawn) / len(drawn)
    assert share == pytest.approx(math.exp(policy.log_probability(common)), abs=0.06)


def test_updates_follow_the_gradient_of_log_probability_and_entropy() -> None:
    policy = IndependentPolicy(NESTED)
    rng = np.random.default_rng(3)
    for path, theta in policy._theta.items():
        policy._theta[path] = rng.normal(size=theta.shape)
    chosen = list(NESTED)[7]
    gradient: dict[str, Any] = {}
    policy._adam_step = lambda adam_gradient, lr: gradient.update(adam_gradient)  # type: ignore[method-assign]
    policy.update([PolicySample(chosen, 0.7, 0.0)], UpdateSettings(0.1, entropy=0.3))

    def objective() -> float:
        entropy = 0.0
        for path in chosen.values:
            p = policy.probabilities(path)
            entropy -= float(p @ np.log(p))
        return 0.7 * policy.log_probability(chosen) + 0.3 * entropy

    for path, theta in policy._theta.items():
        for i in range(len(theta)):
            theta[i] += 1e-5
            above = objective()
            theta[i] -= 2e-5
            slope = (above - objective()) / 2e-5
            theta[i] += 1e-5
            assert gradient[path][i] == pytest.approx(slope, abs=1e-6)


def test_entropy_pulls_towards_uniform_choices() -> None:
    def peak(entropy: float) -> float:
        policy = IndependentPolicy(PAIR)
        sample = PolicySample(Candidate({"a": 1, "b": 1}), 0.2, 0.0)
        for _ in range(200):
            policy.update([sample], UpdateSettings(0.1, entropy))
        return math.exp(policy.log_probability(sample.candidate))

    assert peak(0.0) > 0.99
    assert peak(0.5) < 0.6


def test_only_the_recurrent_controller_learns_interactions() -> None:
    """The reward asks for equal decisions: a product of softmaxes cannot say that."""

    def equal(policy: Any, lr: float) -> float:
        for _ in range(150):
            samples = []
            for candidate in PAIR:
                p = math.exp(policy.log_probability(candidate))
                reward = 1.0 if candidate.values["a"] == candidate.values["b"] else -1.0
                samples.append(PolicySample(candidate, reward * p, 0.0))  # the exact expectation
            policy.update(samples, UpdateSettings(lr, entropy=0.01))
        probability = {candidate: math.exp(policy.log_probability(candidate)) for candidate in PAIR}
        even = min(
            p
            for candidate, p in probability.items()
            if candidate.values["a"] == candidate.values["b"]
        )
        return 2 * even  # both equal pairs, not only one of them

    assert equal(RecurrentPolicy(PAIR), lr=0.01) > 0.7
    assert equal(IndependentPolicy(PAIR), lr=0.05) < 0.6


def test_clipping_stops_updates_of_changed_probabilities() -> None:
    chosen = Candidate({"a": 1, "b": 1})

    def ratio(clip: float, advantage: float) -> float:
        policy = IndependentPolicy(PAIR)
        before = policy.log_probability(chosen)
        for _ in range(200):
            policy.update(
                [PolicySample(chosen, advantage, before)], UpdateSettings(0.003, 0.0, clip)
            )
        return math.exp(policy.log_probability(chosen) - before)

    assert 1.2 < ratio(0.2, 1.0) < 1.3  # Adam coasts a little further
    assert 0.7 < ratio(0.2, -1.0) < 0.8
    assert ratio(math.inf, 1.0) > 1.6
    assert ratio(math.inf, -1.0) < 0.5


def test_the_gradient_weight_is_that_of_the_paper() -> None:
    chosen = Candidate({})
    for log_ratio, advantage, weight in (
        (0.0, 2.0, 2.0), (0.1, 2.0, 2 * math.exp(0.1)), (0.3, 2.0, 0.0), (-0.3, 2.0, 2 * math.exp(-0.3)),
        (-0.3, -2.0, 0.0), (0.3, -2.0, -2 * math.exp(0.3)),
    ):  # fmt: skip
        sample = PolicySample(chosen, advantage, -1.0)
        assert gradient_weight(sample, log_ratio - 1.0, 0.2) == pytest.approx(weight)
    assert gradient_weight(PolicySample(chosen, 2.0, -1.0), 5.0, math.inf) == 2.0


class RecordingPolicy:
    """A policy that samples given candidates and records the batches it is updated with."""

    def __init__(self, draws: Sequence[Candidate]) -> None:
        self.draws, self.batches = itertools.cycle(draws), list[Sequence[PolicySample]]()

    def sample(self, rng: Any) -> tuple[Candidate, float]:
        return next(self.draws), -1.0

    def log_probability(self, candidate: Candidate) -> float:
        return -2.0

    def update(self, samples: Sequence[PolicySample], settings: UpdateSettings) -> None:
        self.batches.append(samples)


def ended(trial_id: int, loss: float | None) -> Trial:
    proposal = Proposal(Candidate({"x": trial_id}), note={"log_probability": -3.0})
    if loss is None:
        return Trial(trial_id, proposal, 0, Status.INFEASIBLE)
    return Trial(trial_id, proposal, 0, Status.DONE, {"loss": loss})


def test_rewards_are_ranks_with_a_moving_average_baseline() -> None:
    space = Space({"x": Integer(0, 99)})
    policy = RecordingPolicy([Candidate({"x": 99})])
    strategy = PolicyGradientStrategy(
        _LearningSettings(0.1, 3, 0.05), policy, Problem(space, [LOSS])
    )
    for trial_id, loss in enumerate([1e9, 0.1, None, 5.0, 0.01, 0.001]):
        strategy.tell(ended(trial_id, loss))  # type: ignore[arg-type]
    first, second = policy.batches
    assert [sample.advantage for sample in first] == [0.0, 1.0, -1.0]  # 0 in the middle, of three
    assert [sample.log_probability for sample in first] == [-3.0] * 3
    # of six: the best but two, the best but one, the best; less the moving average, 0 so far
    assert [round(sample.advantage, 3) for sample in second] == [-0.2, 0.6, 1.0]
    strategy.tell(ended(6, 1e-4))
    strategy.tell(ended(7, 1e-5))
    strategy.tell(ended(8, 1e-6))
    mean = (0.9 * 0.0 + 0.1 * 0.0) * 0.9 + 0.1 * np.mean([-0.2, 0.6, 1.0])
    assert policy.batches[2][2].advantage == pytest.approx(1.0 - mean)


def test_finished_candidates_are_learnt_from_when_drawn_again() -> None:
    space = Space({"x": Integer(0, 99)})
    policy = RecordingPolicy([Candidate({"x": 1}), Candidate({"x": 50})])
    strategy = PolicyGradientStrategy(
        _LearningSettings(0.1, 2, 0.05), policy, Problem(space, [LOSS])
    )
    strategy.tell(ended(0, 3.0))
    strategy.tell(ended(1, 1.0))
    drawn = [sample for sample in policy.batches[0] if sample.log_probability == -1.0]
    assert [sample.candidate.values["x"] for sample in drawn] == [1]
    assert drawn[0].advantage == 1.0


def test_ppo_takes_several_steps_per_batch_and_reinforce_one() -> None:
    for settings, times in (
        (_LearningSettings(0.1, 2, 0.0, 0.2, 3), 3),
        (_LearningSettings(0.1, 2, 0.0), 1),
    ):
        policy = RecordingPolicy([Candidate({"x": 99})])
        strategy = PolicyGradientStrategy(
            settings, policy, Problem(Space({"x": Integer(0, 99)}), [LOSS])
        )
        strategy.tell(ended(0, 3.0))
        strategy.tell(ended(1, 1.0))
        assert len(policy.batches) == times


def test_settings_reach_the_strategy() -> None:
    def settings(algorithm: Any) -> Any:
        return algorithm(Problem(PAIR, [LOSS])).settings

    assert settings(PPO(clip=0.3, epochs=2)) == _LearningSettings(0.05, 8, 0.05, 0.3, 2)
    assert settings(Reinforce()) == _LearningSettings(0.1, 4, 0.05, math.inf, 1)
    assert settings(Reinforce("recurrent")).lr == settings(PPO("recurrent")).lr == 0.01
    assert settings(Reinforce("recurrent", lr=0.5)).lr == 0.5


def test_numbers_are_drawn_from_bins_of_their_range() -> None:
    space = Space({"lr": Float(1e-4, 1.0, log=True), "n": Integer(1, 1000)})
    policy = IndependentPolicy(space)
    rng = np.random.default_rng(0)
    drawn = [policy.sample(rng)[0].values for _ in range(400)]
    rates = np.log10([float(str(values["lr"])) for values in drawn])
    assert rates.min() < -3.7
    assert rates.max() > -0.3
    assert abs(np.mean(rates) + 2) < 0.2
    best = Candidate({"lr": 0.5, "n": 900})
    for _ in range(30):
        policy.update([PolicySample(best, 1.0, 0.0)], UpdateSettings(0.3, 0.0))
    near = [policy.sample(rng)[0].values for _ in range(50)]
    assert np.mean([float(str(values["lr"])) > 0.4 for values in near]) > 0.8
    assert len({values["n"] for values in near}) > 20  # within the share all are as likely


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Reinforce("lstm"), "controller must be independent or recurrent, got 'lstm'"),  # type: ignore[arg-type]
        (lambda: Reinforce(lr=0.0), "lr must be above 0"),
        (lambda: PPO(batch_size=0), "batch_size must be at least 1"),
        (lambda: PPO(entropy=-1.0), "entropy must be at least 0"),
        (lambda: PPO(clip=1.0), "clip must be between 0 and 1"),
        (lambda: PPO(epochs=0), "epochs must be at least 1"),
    ],
)
def test_invalid_settings_are_errors(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


def test_batches_larger_than_the_ranked_trials_are_learnt_from(space: Any) -> None:
    strategy = Reinforce(batch_size=520)(Problem(space, (LOSS,)))
    events = simulate(strategy, lambda c: {"loss": float(str(c.values["x"]))}, 540)
    assert len(events) == 1080
