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
    steps = [PolicySample(c, a, 0.0) for c, a in zip(NESTED, itertools.cycle([1.0, -0.5]))]
    policy.update(steps[:6], UpdateSettings(0.5, 0.0))
    total = sum(math.exp(policy.log_probability(one)) for one in NESTED)
    assert total == pytest.approx(1, abs=1e-5)


def test_a_draw_knows_its_probability_and_they_come_as_often(policy: Any) -> None:
    policy.update([PolicySample(next(iter(NESTED)), 1.0, 0.0)], UpdateSettings(0.5, 0.0))
    rng = np.random.default_rng(0)
    drawn = [policy.sample(rng) for _ in range(600)]
    for candidate, log_p in drawn[:50]:
        NESTED.check(candidate)
        assert log_p == pytest.approx(policy.log_probability(candidate), abs=1e-4)
    common = max({one for one, _ in drawn}, key=lambda one: policy.log_probability(one))
    share = sum(one == common for one, _ in drawn) / len(drawn)
    assert share == pytest.approx(math.exp(policy.log_probability(common)), abs=0.06)


def test_learning_is_the_gradient_of_the_log_probability_and_the_entropy() -> None:
    policy = IndependentPolicy(NESTED)
    rng = np.random.default_rng(3)
    for path, theta in policy._theta.items():
        policy._theta[path] = rng.normal(size=theta.shape)
    chosen = list(NESTED)[7]
    found: dict[str, Any] = {}
    policy._adam_step = lambda gradient, lr: found.update(gradient)  # type: ignore[method-assign]
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
            assert found[path][i] == pytest.approx(slope, abs=1e-6)


def test_entropy_pulls_towards_even_choices() -> None:
    def peak(entropy: float) -> float:
        policy = IndependentPolicy(PAIR)
        step = PolicySample(Candidate({"a": 1, "b": 1}), 0.2, 0.0)
        for _ in range(200):
            policy.update([step], UpdateSettings(0.1, entropy))
        return math.exp(policy.log_probability(step.candidate))

    assert peak(0.0) > 0.99
    assert peak(0.5) < 0.6


def test_only_the_recurrent_controller_sees_what_it_has_decided() -> None:
    """The reward asks for equal decisions: a product of softmaxes cannot say that."""

    def equal(policy: Any, lr: float) -> float:
        for _ in range(150):
            steps = []
            for one in PAIR:
                p = math.exp(policy.log_probability(one))
                reward = 1.0 if one.values["a"] == one.values["b"] else -1.0
                steps.append(PolicySample(one, reward * p, 0.0))  # the exact expectation
            policy.update(steps, UpdateSettings(lr, entropy=0.01))
        probability = {one: math.exp(policy.log_probability(one)) for one in PAIR}
        even = min(p for one, p in probability.items() if one.values["a"] == one.values["b"])
        return 2 * even  # both equal pairs, not only one of them

    assert equal(RecurrentPolicy(PAIR), lr=0.01) > 0.7
    assert equal(IndependentPolicy(PAIR), lr=0.05) < 0.6


def test_the_clip_ends_the_pull_once_a_probability_has_moved_by_its_share() -> None:
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


def test_the_surrogate_is_that_of_the_paper() -> None:
    chosen = Candidate({})
    for log_ratio, advantage, weight in (
        (0.0, 2.0, 2.0), (0.1, 2.0, 2 * math.exp(0.1)), (0.3, 2.0, 0.0), (-0.3, 2.0, 2 * math.exp(-0.3)),
        (-0.3, -2.0, 0.0), (0.3, -2.0, -2 * math.exp(0.3)),
    ):  # fmt: skip
        step = PolicySample(chosen, advantage, -1.0)
        assert gradient_weight(step, log_ratio - 1.0, 0.2) == pytest.approx(weight)
    assert gradient_weight(PolicySample(chosen, 2.0, -1.0), 5.0, math.inf) == 2.0


class Notes:
    """A policy that draws what it is told to, and notes what it is to learn."""

    def __init__(self, draws: Sequence[Candidate]) -> None:
        self.draws, self.batches = itertools.cycle(draws), list[Sequence[PolicySample]]()

    def sample(self, rng: Any) -> tuple[Candidate, float]:
        return next(self.draws), -1.0

    def log_probability(self, candidate: Candidate) -> float:
        return -2.0

    def update(self, samples: Sequence[PolicySample], settings: UpdateSettings) -> None:
        self.batches.append(samples)


def ended(number: int, loss: float | None) -> Trial:
    proposal = Proposal(Candidate({"x": number}), note={"log_probability": -3.0})
    if loss is None:
        return Trial(number, proposal, 0, Status.INFEASIBLE)
    return Trial(number, proposal, 0, Status.DONE, {"loss": loss})


def test_rewards_are_ranks_and_the_baseline_their_moving_average() -> None:
    space = Space({"x": Integer(0, 99)})
    policy = Notes([Candidate({"x": 99})])
    strategy = PolicyGradientStrategy(
        _LearningSettings(0.1, 3, 0.05), policy, Problem(space, [LOSS])
    )
    for number, loss in enumerate([1e9, 0.1, None, 5.0, 0.01, 0.001]):
        strategy.tell(ended(number, loss))  # type: ignore[arg-type]
    first, second = policy.batches
    assert [step.advantage for step in first] == [0.0, 1.0, -1.0]  # 0 in the middle, of three
    assert [step.log_probability for step in first] == [-3.0] * 3
    # of six: the best but two, the best but one, the best; less the moving average, 0 so far
    assert [round(step.advantage, 3) for step in second] == [-0.2, 0.6, 1.0]
    strategy.tell(ended(6, 1e-4))
    strategy.tell(ended(7, 1e-5))
    strategy.tell(ended(8, 1e-6))
    mean = (0.9 * 0.0 + 0.1 * 0.0) * 0.9 + 0.1 * np.mean([-0.2, 0.6, 1.0])
    assert policy.batches[2][2].advantage == pytest.approx(1.0 - mean)


def test_what_is_paid_for_is_learnt_from_again_when_it_is_drawn() -> None:
    space = Space({"x": Integer(0, 99)})
    policy = Notes([Candidate({"x": 1}), Candidate({"x": 50})])
    strategy = PolicyGradientStrategy(
        _LearningSettings(0.1, 2, 0.05), policy, Problem(space, [LOSS])
    )
    strategy.tell(ended(0, 3.0))
    strategy.tell(ended(1, 1.0))
    drawn = [step for step in policy.batches[0] if step.log_probability == -1.0]
    assert [step.candidate.values["x"] for step in drawn] == [1]
    assert drawn[0].advantage == 1.0


def test_ppo_learns_several_times_from_a_batch_and_reinforce_once() -> None:
    for how, times in (
        (_LearningSettings(0.1, 2, 0.0, 0.2, 3), 3),
        (_LearningSettings(0.1, 2, 0.0), 1),
    ):
        policy = Notes([Candidate({"x": 99})])
        strategy = PolicyGradientStrategy(
            how, policy, Problem(Space({"x": Integer(0, 99)}), [LOSS])
        )
        strategy.tell(ended(0, 3.0))
        strategy.tell(ended(1, 1.0))
        assert len(policy.batches) == times


def test_settings_say_how_it_is_learnt() -> None:
    def how(algorithm: Any) -> Any:
        return algorithm(Problem(PAIR, [LOSS])).settings

    assert how(PPO(clip=0.3, epochs=2)) == _LearningSettings(0.05, 8, 0.05, 0.3, 2)
    assert how(Reinforce()) == _LearningSettings(0.1, 4, 0.05, math.inf, 1)
    assert how(Reinforce("recurrent")).lr == how(PPO("recurrent")).lr == 0.01
    assert how(Reinforce("recurrent", lr=0.5)).lr == 0.5


def test_numbers_are_drawn_from_shares_of_their_range() -> None:
    space = Space({"lr": Float(1e-4, 1.0, log=True), "n": Integer(1, 1000)})
    policy = IndependentPolicy(space)
    rng = np.random.default_rng(0)
    drawn = [policy.sample(rng)[0].values for _ in range(400)]
    rates = np.log10([float(str(one["lr"])) for one in drawn])
    assert rates.min() < -3.7
    assert rates.max() > -0.3
    assert abs(np.mean(rates) + 2) < 0.2
    best = Candidate({"lr": 0.5, "n": 900})
    for _ in range(30):
        policy.update([PolicySample(best, 1.0, 0.0)], UpdateSettings(0.3, 0.0))
    near = [policy.sample(rng)[0].values for _ in range(50)]
    assert np.mean([float(str(one["lr"])) > 0.4 for one in near]) > 0.8
    assert len({one["n"] for one in near}) > 20  # within the share all are as likely


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
def test_settings_that_cannot_be(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


def test_a_batch_larger_than_what_is_ranked_is_learnt_from(space: Any) -> None:
    strategy = Reinforce(batch_size=520)(Problem(space, (LOSS,)))
    events = simulate(strategy, lambda c: {"loss": float(str(c.values["x"]))}, 540)
    assert len(events) == 1080
