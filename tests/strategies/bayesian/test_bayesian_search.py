"""Each part of the default strategy earns its place: without it these tests fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

import netwright.strategies.bayesian.search as module
from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.network_knowledge import NetworkKnowledge
from netwright.interfaces.knowledge import DefaultKnowledge, Knowledge
from netwright.interfaces.strategy import Problem, prior_weights
from netwright.networks.architecture_features import network_features
from netwright.networks.layers.cells import nas_bench_201_cell
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian import candidate_pools as pools
from netwright.strategies.bayesian.posterior import Posterior
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.random import RandomSearch
from netwright.testing import best_loss, simulate
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import hypervolume
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS, COST, TIME = (Objective(name, "min") for name in ("loss", "cost", "time"))
OPTIONS = Space(tuple(OneOf(*"abcd") for _ in range(6)))
"""4096 candidates; the place of a letter is its number."""
NUMBERS = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})

Of = Callable[[Mapping[str, Value]], Any]


class Fake(DefaultKnowledge):
    """Knows what these functions of the decisions say."""

    def __init__(
        self, canonical: Of | None = None, scores: Of | None = None, metrics: Of | None = None
    ) -> None:
        self._canonical, self._scores, self._metrics = canonical, scores, metrics

    def canonical(self, candidate: Candidate) -> str:
        return self._canonical(candidate.values) if self._canonical else candidate.key

    def scores(self, candidate: Candidate) -> Metrics:
        return self._scores(candidate.values) if self._scores else {}

    def metrics(self, candidate: Candidate) -> Metrics:
        return self._metrics(candidate.values) if self._metrics else {}


def digits(values: Mapping[str, Value]) -> NDArray[np.float64]:
    """(6,) places of the letters, 0 to 3."""
    return np.array(["abcd".index(str(values[str(i)])) for i in range(6)], float)


def total(values: Mapping[str, Value]) -> float:
    return float(digits(values).sum())


TARGET = np.array([3, 0, 2, 1, 3, 2])


def distance_to_target(candidate: Candidate) -> Metrics:
    """0 at one candidate; each letter counts, in threes together as well."""
    wrong = digits(candidate.values) != TARGET
    return {"loss": float(wrong.sum() + wrong[:3].any() + wrong[3:].any())}


def started(events: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in events if trial.status is Status.RUNNING]


def done(events: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in events if trial.status is Status.DONE]


def run(
    measure: Callable[[Candidate], Metrics | None], trials: int, *, space: Space[Any] = OPTIONS,
    knowledge: Knowledge | None = None, objectives: Sequence[Objective] = (LOSS,),
    limits: Sequence[Limit] = (), seed: int = 0, workers: int = 1, **settings: Any,
) -> list[Trial]:  # fmt: skip
    problem = Problem(space, objectives, limits, knowledge or DefaultKnowledge())
    return simulate(Bayesian(**settings)(problem), measure, trials, seed=seed, workers=workers)


def trials_until(events: Sequence[Trial], loss: float) -> int:
    reached = [trial.metrics["loss"] <= loss for trial in done(events)]
    return reached.index(True) + 1 if any(reached) else len(reached) + 1


# The first trials and the prior


def nearest(rows: NDArray[np.float64]) -> float:
    """The mean number of letters in which the nearest of the others differs, of (n, 6)."""
    differ = (rows[:, None] != rows[None]).sum(-1) + 9 * np.eye(len(rows))
    return float(differ.min(1).mean())


def test_first_third_and_fifth_trial_have_high_prior_scores_and_are_spread_out() -> None:
    knowledge = Fake(scores=lambda v: {"size": total(v)})
    liked, others, apart, likewise = [], [], [], []
    for seed in range(12):
        first = started(run(distance_to_target, 5, knowledge=knowledge, seed=seed))
        assert {trial.proposal.origin for trial in first} == {"initial"}
        rows = np.array([digits(trial.candidate.values) for trial in first])
        liked += [*rows[::2].sum(1)]
        others += [*rows[1::2].sum(1)]
        apart.append(nearest(rows[::2]))
        # as many, drawn at random among those that the prior likes as much
        rng = np.random.default_rng(seed)
        draws = [digits(OPTIONS.sample(rng).values) for _ in range(1000)]
        top = np.array(sorted(draws, key=lambda row: -row.sum())[:100])
        likewise += [nearest(top[rng.choice(100, 3, replace=False)]) for _ in range(50)]
    assert min(liked) >= 11  # the mean of all is 9, a tenth have 12 and more
    assert np.mean(others) < 10.5
    assert np.mean(apart) > np.mean(likewise) + 0.1


@pytest.mark.parametrize("knows_costs", [True, False])
def test_startup_trials_of_a_front_come_from_all_parts_of_the_range_of_costs(
    *, knows_costs: bool
) -> None:
    knowledge = (
        Fake(metrics=lambda v: {"cost": total(v)})
        if knows_costs
        else Fake(scores=lambda v: {"parameters": total(v)})
    )
    for seed in range(4):
        log = started(run(traded, 5, knowledge=knowledge, objectives=(LOSS, COST), seed=seed))
        costs = [total(trial.candidate.values) for trial in log]
        assert costs == sorted(costs)
        # random candidates cost 1 to 17, a fifth of them at most 7, a fifth at least 11
        assert costs[0] <= 3
        assert costs[4] >= 15
        assert 5 <= costs[1] <= costs[2] <= costs[3] <= 13


def test_without_the_prior_startup_trials_are_uniform() -> None:
    knowledge = Fake(scores=lambda v: {"size": total(v)})
    first = [
        trial for seed in range(6)
        for trial in started(run(distance_to_target, 5, knowledge=knowledge, seed=seed, prior=False))
    ]  # fmt: skip
    assert np.mean([total(trial.candidate.values) for trial in first]) < 10.5


RIGHT = Fake(scores=lambda v: {"hint": float((digits(v) == TARGET).sum())})
WRONG = Fake(scores=lambda v: {"hint": float((digits(v) != TARGET).sum())})
UNRELATED = Fake(scores=lambda v: {"hint": float(int(Candidate(v).key, 16) % 1000)})


def test_a_good_prior_helps_and_a_misleading_one_hardly_hurts() -> None:
    def needed(loss: float, knowledge: Knowledge | None, **settings: bool) -> float:
        runs = (
            run(distance_to_target, 20, knowledge=knowledge, seed=s, **settings) for s in range(4)
        )
        return float(np.mean([trials_until(events, loss) for events in runs]))

    without = {loss: needed(loss, None) for loss in (0.0, 2.0)}
    assert needed(2.0, RIGHT) < 0.7 * without[2.0]  # one letter is wrong
    assert needed(0.0, RIGHT) < 0.9 * without[0.0]
    for misleading in (WRONG, UNRELATED):
        assert needed(0.0, misleading) < 1.3 * without[0.0]


def weights_after(knowledge: Knowledge, n_trials: int) -> Mapping[str, float]:
    """Source -> weight, by a strategy that was told random trials."""
    strategy = Bayesian()(Problem(OPTIONS, (LOSS,), knowledge=knowledge))
    for trial in simulate(RandomSearch()(Problem(OPTIONS, (LOSS,))), distance_to_target, n_trials):
        strategy.tell(trial)
    return prior_weights(strategy)["loss"]


def test_a_source_earns_its_weight() -> None:
    right, unrelated = weights_after(RIGHT, 20), weights_after(UNRELATED, 20)
    assert right.keys() == {"none", "hint"}
    assert sum(right.values()) == pytest.approx(1)
    assert right["hint"] > 0.75
    assert unrelated["hint"] < 0.3
    # what foretells the other way round is as good, once that has been learnt
    few, many = (weights_after(WRONG, n)["hint"] for n in (3, 20))
    assert few < 0.5 < many


def test_every_sixth_proposal_trusts_no_belief() -> None:
    log = started(run(distance_to_target, 20, knowledge=RIGHT))
    notes = [trial.proposal.note for trial in log]
    assert [i for i, note in enumerate(notes) if "prior" in note] == [10, 16]
    for note in (*notes[5:10], *notes[11:16]):
        assert note["prior loss none"] + note["prior loss hint"] == pytest.approx(1, abs=0.002)  # type: ignore[operator]
    assert not any(notes[:5])
    without = started(run(distance_to_target, 20, knowledge=RIGHT, prior=False))
    assert not any(trial.proposal.note for trial in without)


def test_a_users_belief_is_tried_first_and_doubted_if_it_is_wrong() -> None:
    right = {str(i): "abcd"[place] for i, place in enumerate(TARGET.astype(int))}
    wrong = {path: "a" if letter != "a" else "d" for path, letter in right.items()}

    def needed(**settings: Any) -> float:
        runs = [run(distance_to_target, 25, seed=seed, **settings) for seed in range(3)]
        return float(np.mean([trials_until(events, 0.0) for events in runs]))

    assert needed(prior=right) <= 5
    assert needed(prior={"0": right["0"], "1": right["1"]}) < needed()
    assert needed(prior=wrong) < 1.5 * needed()


# What need not be paid for twice


def test_only_one_candidate_per_canonical_form_is_proposed() -> None:
    """Three of four letters are the same thing, so that 64 networks stand for 4096."""
    knowledge = Fake(
        canonical=lambda v: "".join("x" if c != "d" else "d" for c in map(str, [*v.values()]))
    )

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": float((digits(candidate.values) == 3).sum())}

    for workers in (1, 3):
        log = started(run(measure, 50, knowledge=knowledge, workers=workers))
        forms = [knowledge.canonical(trial.candidate) for trial in log]
        assert len(forms) == len(set(forms)) == 50


def test_equal_networks_of_different_cost_are_different_forms() -> None:
    """The last letter changes the cost and nothing else: cheaper ones must be found."""
    space = Space((OneOf(*"abcdefgh"), OneOf(*"abcdefgh")))

    def cost(values: Mapping[str, Value]) -> Metrics:
        return {"cost": float(ord(str(values["1"])))}

    knowledge = Fake(canonical=lambda v: str(v["0"]), metrics=cost)

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": float(ord(str(candidate.values["0"])))} | cost(candidate.values)

    with_cost = run(measure, 20, space=space, knowledge=knowledge, objectives=(LOSS, COST))
    pairs = [(t.candidate.values["0"], t.candidate.values["1"]) for t in started(with_cost)]
    assert ("a", "a") in pairs
    # none was drawn because all eight networks were tried
    assert {t.proposal.origin for t in started(with_cost)} == {"initial", "model"}
    # where the cost is no objective, one of each network will do, while there are others
    without_cost = run(measure, 8, space=space, knowledge=knowledge)
    assert len({t.candidate.values["0"] for t in started(without_cost)}) == 8


# Limits and what cannot be built


def known_total(values: Mapping[str, Value]) -> Metrics:
    return {"cost": total(values)}


def big_is_good(candidate: Candidate) -> Metrics:
    """What the limit forbids is what the loss wants."""
    rise = digits(candidate.values)
    return {"loss": float(-rise.sum() - 0.3 * rise[0] * rise[1]), "cost": float(rise.sum())}


def test_known_limits_are_never_violated() -> None:
    limit = Limit("cost", at_most=7)
    for seed in range(2):
        log = run(big_is_good, 40, knowledge=Fake(metrics=known_total), limits=[limit], seed=seed)
        assert all(limit.keeps(known_total(trial.candidate.values)) for trial in started(log))
        assert best_loss(log) < -6.5  # and the best stand at it


UNKNOWN = Limit("cost", at_most=7)


def share_within(limits: Sequence[Limit]) -> float:
    """Of the second half of the trials."""
    logs = [done(run(big_is_good, 40, limits=limits, seed=seed)) for seed in range(2)]
    return float(np.mean([UNKNOWN.keeps(t.metrics) for log in logs for t in log[20:]]))


def test_limits_on_measured_metrics_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    with_feasibility = share_within([UNKNOWN])
    assert with_feasibility > 0.5
    assert share_within(()) < 0.2
    # else only the best so far knows of the limit, and improvement lies beyond it
    monkeypatch.setattr(Posterior, "_feasibility", lambda self, views, pool: np.ones(len(pool)))
    assert with_feasibility > share_within([UNKNOWN]) + 0.2


def unbuildable(candidate: Candidate) -> Metrics | None:
    """What has the first two letters alike cannot be built, and all hints point there."""
    values = digits(candidate.values)
    return None if values[0] == 3 or values[1] == 3 else big_is_good(candidate)


def test_infeasibility_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    def share() -> float:
        """Of infeasible proposals in the last 20 of 40."""
        is_infeasible: list[bool] = []
        for seed in range(2):
            log = run(unbuildable, 40, seed=seed)
            is_infeasible += [
                trial.status is Status.INFEASIBLE for trial in log if trial not in started(log)
            ][20:]
        return float(np.mean(is_infeasible))

    learnt = share()
    assert learnt < 0.2  # of random candidates 44 % are
    monkeypatch.setattr(Posterior, "_success_probability", lambda self, pool: np.ones(len(pool)))
    assert share() > learnt + 0.1


def test_a_replayed_strategy_fits_equal_limit_models() -> None:
    limit = Limit("cost", at_most=100.0)
    space = Space({"x": Integer(0, 99), "y": Integer(0, 99), "k": OneOf(*"abc")})

    def measure(candidate: Candidate) -> Metrics | None:
        x, y = int(str(candidate.values["x"])), int(str(candidate.values["y"]))
        if x % 5 == 0:
            return None
        return {"loss": ((x - 70) ** 2 + y) / 1000, "cost": (x**3 + y) / 1000}

    problem = Problem(space, (LOSS,), [limit])
    asked, replayed = Bayesian()(problem), Bayesian()(problem)
    log = simulate(asked, measure, 31)
    for trial in log:
        replayed.tell(trial)
    for seed in range(3):
        first, second = (list(s.ask(1, np.random.default_rng(seed))) for s in (asked, replayed))
        assert first == second
    fitted = [s._cache._surrogates for s in (asked, replayed)]  # type: ignore[attr-defined]
    assert fitted[0].keys() == fitted[1].keys()
    for key, surrogate in fitted[0].items():
        assert np.array_equal(surrogate.kernel.theta, fitted[1][key].kernel.theta), key


# Several objectives


def traded(candidate: Candidate) -> Metrics:
    """The loss falls with the cost, and not alike everywhere."""
    values = digits(candidate.values)
    worth = np.array([3.0, 0.2, 1.5, 0.1, 0.8, 0.3]) @ np.sqrt(values)
    return {
        "loss": float(-worth),
        "cost": float(values.sum()),
        "time": float((3 - values[:2]).sum() + values[4]),
    }


def hypervolume_of(
    events: Sequence[Trial], metrics: Sequence[str], bound: Sequence[float]
) -> float:
    points = np.array([[trial.metrics[name] for name in metrics] for trial in done(events)])
    return hypervolume(points, np.array(bound))


def test_a_known_second_objective_enlarges_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(knowledge: Knowledge | None) -> float:
        return float(np.mean([
            hypervolume_of(
                run(traded, 30, knowledge=knowledge, objectives=(LOSS, COST), seed=seed),
                ("loss", "cost"), (0.0, 18.0),
            )
            for seed in range(4)
        ]))  # fmt: skip

    with_known_cost = mean(Fake(metrics=known_total))
    assert with_known_cost > 1.01 * mean(None)
    monkeypatch.setattr(
        Posterior, "_hypervolume_improvement", lambda self, views, pool: np.ones(len(pool))
    )
    assert with_known_cost > 1.01 * mean(Fake(metrics=known_total))


def test_the_front_of_three_objectives_is_covered() -> None:
    ends: list[float] = []
    for seed in range(2):
        log = run(
            traded,
            40,
            knowledge=Fake(metrics=known_total),
            objectives=(LOSS, COST, TIME),
            seed=seed,
        )
        drawn = [traded(OPTIONS.sample(np.random.default_rng([seed, i]))) for i in range(40)]
        names, bound = ("loss", "cost", "time"), (0.0, 18.0, 9.0)
        random = hypervolume(
            np.array([[metrics[n] for n in names] for metrics in drawn]), np.array(bound)
        )
        ends.append(hypervolume_of(log, names, bound) / random)
        for name, bound_of_best in (("loss", -7.0), ("cost", 6.0), ("time", 2.0)):
            assert min(trial.metrics[name] for trial in done(log)) <= bound_of_best
    assert min(ends) > 1.05


# What the model does not know, and what runs


def test_local_steps_are_made_only_without_predictive_skill() -> None:
    def noise(candidate: Candidate) -> Metrics:
        return {"loss": int(candidate.key, 16) / 16**16}

    without_skill, with_skill = (started(run(measure, 60)) for measure in (noise, big_is_good))
    late = [trial.proposal for trial in without_skill[31:]]
    steps = [proposal for proposal in late if proposal.origin == "neighbour"]
    assert 0.25 * len(late) < len(steps) < 0.75 * len(late)
    assert "neighbour" not in {
        trial.proposal.origin for trial in (*with_skill, *without_skill[:30])
    }
    by_id = {trial.id: trial.candidate.values for trial in without_skill}
    for step in steps:
        (parent,) = step.parents
        assert (digits(by_id[parent]) != digits(step.candidate.values)).sum() == 1


def distance_between_proposals(seed: int, *, ignore_pending: bool) -> float:
    """The mean distance between six proposals of one ask, after six trials."""

    def bowl(candidate: Candidate) -> Metrics:
        x, y = (float(str(candidate.values[name])) for name in "xy")
        return {"loss": (x - 0.3) ** 2 + (y - 0.6) ** 2}

    log = run(bowl, 6, space=NUMBERS, seed=seed)
    strategy = Bayesian()(Problem(NUMBERS, (LOSS,)))
    for trial in log:
        strategy.tell(trial)
    if ignore_pending:
        plain = strategy._propose_from_model  # type: ignore[attr-defined]
        strategy._propose_from_model = lambda batch, n_started, rng: plain(  # type: ignore[attr-defined]
            replace(batch, chosen=[]), n_started, rng
        )
    asked = [proposal.candidate for proposal in strategy.ask(6, np.random.default_rng(seed))]
    assert len(set(asked)) == 6
    points = np.array(
        [[float(str(candidate.values[name])) for name in "xy"] for candidate in asked]
    )
    return float(np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)).sum() / 30)


def test_proposals_of_one_batch_are_spread_out() -> None:
    apart = np.mean([distance_between_proposals(seed, ignore_pending=False) for seed in range(3)])
    assert apart > 3 * np.mean(
        [distance_between_proposals(seed, ignore_pending=True) for seed in range(3)]
    )


def test_tell_draws_no_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is replayed, and a first trial started, without looking at a thousand networks."""

    def never(*_: object) -> None:
        raise AssertionError("a tell must not draw candidates")

    strategy = Bayesian()(Problem(NUMBERS, (LOSS,)))
    monkeypatch.setattr(pools, "sample_candidates", never)
    for trial_id in range(1, 4):
        proposal = Proposal(NUMBERS.sample(np.random.default_rng(trial_id)))
        strategy.tell(Trial(trial_id, proposal, 0))
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, {"loss": 1.0}))
    assert list(strategy.ask(0, np.random.default_rng(0))) == []


def test_kept_trials_are_bounded_and_include_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = Bayesian()(Problem(NUMBERS, (LOSS,)))
    rng = np.random.default_rng(0)
    losses = rng.permutation(1200)
    for trial_id, loss in enumerate(losses):
        proposal = Proposal(NUMBERS.sample(rng))
        strategy.tell(Trial(trial_id, proposal, 0))
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, {"loss": float(loss)}))
    remaining = strategy._done  # type: ignore[attr-defined]
    assert len(remaining) <= 500
    assert {int(trial.metrics["loss"]) for trial in remaining} >= set(range(200))
    assert {trial.id for trial in remaining} >= set(range(1000, 1200))  # and the latest
    assert [trial.id for trial in remaining] == sorted(trial.id for trial in remaining)


def test_search_continues_after_old_trials_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("_MAX_MODEL_TRIALS", 20), ("_N_BEST_TRIALS", 10), ("_N_LATEST_TRIALS", 8)):
        monkeypatch.setattr(module, name, limit)
    sizes: list[int] = []
    plain = Posterior.acquisition_values

    def counting(self: Posterior, pool: Sequence[Candidate], rng: np.random.Generator) -> Any:
        sizes.append(len(self.candidates))
        return plain(self, pool, rng)

    monkeypatch.setattr(Posterior, "acquisition_values", counting)
    log = run(distance_to_target, 60)
    assert max(sizes) <= 20
    assert best_loss(log) == 0.0


# What is known of networks


CELLS: Space[Any] = Space(nas_bench_201_cell())


def by_paths(candidate: Candidate) -> Metrics | None:
    """Made up: each way through the cell has a worth of its own."""
    try:
        paths = network_features(CELLS.fill(candidate)).paths
    except InfeasibleCandidate:
        return None
    return {"loss": -sum(count * worth_of(path) for path, count in paths.items())}


@lru_cache
def worth_of(path: str) -> float:
    digest = blake2b(path.encode(), digest_size=8).digest()
    return float(np.random.default_rng(int.from_bytes(digest)).normal())


def test_network_features_find_better_cells() -> None:
    network_knowledge = NetworkKnowledge(CELLS, lambda candidate, description: {})

    class Forms(DefaultKnowledge):
        """Knows which cells are the same, and nothing of what they look like."""

        def canonical(self, candidate: Candidate) -> str:
            return network_knowledge.canonical(candidate)

    def mean(knowledge: Knowledge) -> float:
        logs = [run(by_paths, 25, space=CELLS, knowledge=knowledge, seed=s) for s in range(3)]
        return float(np.mean([np.sort([t.metrics["loss"] for t in done(log)])[:5] for log in logs]))

    with_features, forms, space = mean(network_knowledge), mean(Forms()), mean(DefaultKnowledge())
    assert with_features < forms - 0.5
    assert with_features < space - 0.5


def test_trials_without_cells_do_not_break_the_model() -> None:
    """None of the first trials has a cell in it: the first one must not break the model."""
    from netwright.networks.layers.basic import GlobalPool
    from netwright.networks.layers.conv import Conv
    from netwright.networks.layers.linear import Linear

    plain: Any = Conv(OneOf(*range(8, 40)))
    space: Space[Any] = Space(
        (OneOf({"cell": nas_bench_201_cell(), "plain": plain}), GlobalPool(), Linear())
    )
    knowledge = NetworkKnowledge(space, lambda candidate, description: {})
    strategy = Bayesian()(Problem(space, (LOSS,), knowledge=knowledge))
    for trial_id in range(6):
        proposal = Proposal(Candidate({"0": "plain", "0.plain.channels": 8 + trial_id}))
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, {"loss": float(trial_id)}))
    assert len(list(strategy.ask(2, np.random.default_rng(0)))) == 2


def test_invalid_settings_are_errors() -> None:
    with pytest.raises(InputError, match="n_startup_trials must be at least 1, got 0"):
        Bayesian(n_startup_trials=0)
    with pytest.raises(InputError, match="prior must be True, False or a mapping, got 'lr'"):
        Bayesian(prior=cast("Any", "lr"))
    with pytest.raises(InputError, match="confidence must be between 0 and 1, got 1"):
        Bayesian(prior={"x": 0.5}, confidence=1)
    with pytest.raises(InputError, match="prior must be about decisions of the space, got 'z'"):
        Bayesian(prior={"z": 0.5})(Problem(NUMBERS, (LOSS,)))
    assert hash(Bayesian(prior={"x": 0.5})) == hash(Bayesian(prior={"x": 0.5}))
