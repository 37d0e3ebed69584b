"""Contract checks that users run on their own strategies, as netwright runs them on its own.

::

    @pytest.mark.parametrize("check", netwright.testing.strategy_checks(Mine), ids=str)
    def test_mine(check): check()

or, without pytest, ``netwright.testing.check_strategy(Mine)``. A check that fails raises
AssertionError with a sentence that says what was expected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from netwright.errors import InputError
from netwright.interfaces.checks import as_algorithm, check_strategy_methods, checked_proposals
from netwright.interfaces.strategy import Algorithm, Problem, Strategy, searches
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, OneOf, Repeat, SubsetOf
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.study.workers.worker import describe_error
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

_MAX_MESSAGE = 300
"""Characters of a check's message."""
LOSS, COST = Objective("loss", "min"), Objective("cost", "min")
Measure = Callable[[Candidate], Metrics | None]
"""Returns the metrics of a candidate at full fidelity; None if it is infeasible."""

_MAX_GIVEN_CANDIDATES = 500
"""Proposals after which an algorithm searches, whatever it declares: portfolios have tens."""
_FAILURE_PERIOD = 7
"""With several workers, every seventh trial of `simulate` fails by no fault of its own."""
_MIN_SHARE_WITHIN_LIMIT = 0.3
"""Required share of trials within the limit; 23 % of random ones are (0.6^6 + 6 * 0.4 * 0.6^5)."""


@dataclass(frozen=True)
class StrategyCheck:
    """One property of a strategy; call it to check the property.

    Args:
        name: of the property, such as ``ask_is_pure``.
        run: raises AssertionError unless an algorithm has it.
        algorithm: what is checked.
    """

    name: str
    run: Callable[[Algorithm], None]
    algorithm: Algorithm

    def __call__(self) -> None:
        """Raise AssertionError, in one sentence that names the check, unless the property holds."""
        try:
            self.run(self.algorithm)
        except AssertionError as error:
            raise AssertionError(f"{self.name}: {error}"[:_MAX_MESSAGE]) from None
        except InputError as error:
            raise AssertionError(f"{self.name}: {error}"[:_MAX_MESSAGE]) from error
        except Exception as error:  # the strategy's own code
            message = f"{self.name}: it raised {describe_error(error)}"[:_MAX_MESSAGE]
            raise AssertionError(message) from error

    def __str__(self) -> str:
        return self.name


def strategy_checks(strategy: object) -> list[StrategyCheck]:
    """Return the checks for an algorithm, or for a class of strategies or settings.

    One that declares ``searches = False`` need not search well, but must stop by itself.

    Args:
        strategy: what `Study` takes as its strategy.

    Example:
        >>> @pytest.mark.parametrize("check", strategy_checks(Mine), ids=str)
        ... def test_mine(check):
        ...     check()
    """
    algorithm = as_algorithm(strategy)
    runs = (*_CHECKS, *(_SEARCH_CHECKS if searches(algorithm) else (_it_stops_by_itself,)))
    return [StrategyCheck(run.__name__.removeprefix("_"), run, algorithm) for run in runs]


def check_strategy(strategy: object) -> None:
    """Run every check on a strategy.

    Args:
        strategy: as of `strategy_checks`.

    Raises:
        AssertionError: of the first check that fails.
    """
    for check in strategy_checks(strategy):
        check()


# Spaces and measures


def _mixed() -> Space[object]:
    """A space of conditional, repeated, subset, integer and real decisions."""
    inner = OneOf(
        {"small": (Integer(1, 4),), "large": (Float(0.1, 10.0, log=True), OneOf(1, 2, 3))}
    )
    return Space(
        {
            "kind": inner,
            "layers": Repeat(OneOf("a", "b", "c"), times=Integer(0, 3)),
            "some": SubsetOf("p", "q", "r", min_size=1),
            "rate": Float(-1.0, 1.0),
        }
    )


def _cells() -> Space[object]:
    """A space of six decisions with five options: 15,625 candidates, as NAS-Bench-201."""
    return Space(tuple(OneOf("none", "skip", "one", "three", "pool") for _ in range(6)))


@lru_cache(maxsize=1)
def _landscape() -> dict[str, float]:
    """Return the effects of each option, and of each pair of options of adjacent decisions."""
    rng = np.random.default_rng(12)
    names = ("none", "skip", "one", "three", "pool")
    effects = {f"{i}={a}": float(rng.normal()) for i in range(6) for a in names}
    effects |= {
        f"{i}={a},{b}": 0.5 * float(rng.normal()) for i in range(5) for a in names for b in names
    }
    return effects


def _cell_metrics(candidate: Candidate) -> Metrics:
    """Return a rugged loss, and a cost that conflicts with it."""
    chosen = [candidate.values[str(i)] for i in range(6)]
    effect = _landscape()
    loss = sum(effect[f"{i}={a}"] for i, a in enumerate(chosen))
    loss += sum(effect[f"{i}={a},{b}"] for i, (a, b) in enumerate(pairwise(chosen)))
    return {"loss": loss, "cost": float(sum(a in ("one", "three") for a in chosen))}


def _mixed_metrics(candidate: Candidate) -> Metrics | None:
    """Return the metrics of a candidate of `_mixed`; None for a tenth, which is infeasible."""
    values = candidate.values
    total = sum(_as_number(value) for value in values.values())
    if int(candidate.key, 16) % 10 == 0:
        return None
    return {"loss": float((total - 2.0) ** 2), "cost": float(len(values))}


def _as_number(value: Value) -> float:
    if isinstance(value, tuple):
        return 0.3 * len(value)
    return float(value) if isinstance(value, int | float) else 0.1 * (ord(str(value)[0]) - 97)


class _CheckedStrategy:
    """A strategy whose proposals are checked."""

    def __init__(self, strategy: Strategy, space: Space[object]) -> None:
        self.strategy, self.space = strategy, space

    def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
        return checked_proposals(self.strategy, self.space, n, rng)

    def tell(self, trial: Trial) -> None:
        self.strategy.tell(trial)


def _make(
    algorithm: Algorithm,
    space: Space[object],
    limits: Sequence[Limit] = (),
    objectives: Sequence[Objective] = (LOSS, COST),
) -> Strategy:
    strategy = algorithm(Problem(space, objectives, limits))
    check_strategy_methods(strategy)
    return _CheckedStrategy(strategy, space)


def simulate(
    strategy: Strategy,
    measure: Measure,
    n_trials: int,
    *,
    workers: int = 1,
    seed: int = 0,
    max_cost: float = math.inf,
) -> list[Trial]:
    """Simulate a study without processes.

    A random one of the running trials ends next. With several workers, every seventh trial fails by
    no fault of its own. Below full fidelity the loss is blurred, the more the lower.

    Args:
        strategy: what proposes; it is told each start and end.
        measure: metrics of a candidate; None if it is infeasible.
        n_trials: number of trials to start.
        workers: number of trials that run at once.
        seed: of the proposals and of the order in which trials end.
        max_cost: sum of fidelities from which on no trial starts.

    Returns:
        The events that the strategy was told, starts and ends.
    """
    events: list[Trial] = []
    running: list[Trial] = []
    started, ended, cost = 0, 0, 0.0
    order = np.random.default_rng([seed, 99])
    while True:
        free = min(workers - len(running), n_trials - started) if cost < max_cost else 0
        rng = np.random.default_rng([seed, len(events)])
        for proposal in list(strategy.ask(free, rng))[:free] if free else ():
            started += 1
            cost += proposal.fidelity
            running.append(Trial(started, proposal, seed=started))
            events.append(running[-1])
            strategy.tell(running[-1])
        if not running:
            return events
        trial = running.pop(int(order.integers(len(running))))
        ended += 1
        failed = workers > 1 and ended % _FAILURE_PERIOD == 0
        events.append(_failed(trial) if failed else _measured(trial, measure))
        strategy.tell(events[-1])


def _failed(trial: Trial) -> Trial:
    return Trial(trial.id, trial.proposal, trial.seed, Status.FAILED, error="out of luck")


def _measured(trial: Trial, measure: Measure) -> Trial:
    metrics = measure(trial.candidate)
    status = Status.INFEASIBLE if metrics is None else Status.DONE
    metrics = _blurred(metrics or {}, trial.proposal.fidelity)
    return Trial(trial.id, trial.proposal, trial.seed, status, metrics)


def _blurred(metrics: Metrics, fidelity: float) -> Metrics:
    """Return the metrics of a short training: with noise that depends on loss and fidelity alone.

    Its standard deviation is 0.7 at a third of the effort, and 2 at a ninth.
    """
    if fidelity == 1 or "loss" not in metrics:
        return metrics
    loss = np.float64(metrics["loss"])
    rng = np.random.default_rng([int(loss.view(np.uint64)), round(fidelity * 1e6)])
    return {**metrics, "loss": float(loss + rng.normal(0, fidelity**-0.5 - 1))}


def best_loss(events: Sequence[Trial]) -> float:
    """Return the lowest loss of the trials done at full fidelity; infinity if there are none."""
    return min((t.metrics["loss"] for t in events if _is_done_in_full(t)), default=np.inf)


def _is_done_in_full(trial: Trial) -> bool:
    return trial.status is Status.DONE and trial.proposal.fidelity == 1


# The checks


def _ask_is_pure(algorithm: Algorithm) -> None:
    strategy = _make(algorithm, _mixed())
    simulate(strategy, _mixed_metrics, 40)
    first = list(strategy.ask(3, np.random.default_rng(5)))
    for n, seed in ((7, 6), (1, 5), (2, 7)):
        strategy.ask(n, np.random.default_rng(seed))
    again = list(strategy.ask(3, np.random.default_rng(5)))
    assert again == first, (
        f"ask must not change the strategy, got {_short(again)} after {_short(first)}"
    )


def _ask_draws_from_its_generator_only(algorithm: Algorithm) -> None:
    np.random.seed(1)  # noqa: NPY002  # does it use the global state?
    first = simulate(_make(algorithm, _mixed()), _mixed_metrics, 40, seed=3)
    np.random.seed(2)  # noqa: NPY002
    second = simulate(_make(algorithm, _mixed()), _mixed_metrics, 40, seed=3)
    fix = "Draw from the generator that ask is given, and from no other"
    assert first == second, f"the same seed and log must give the same proposals. {fix}"


def _other_seeds_give_other_proposals(algorithm: Algorithm) -> None:
    first = simulate(_make(algorithm, _mixed()), _mixed_metrics, 30, seed=3)
    second = simulate(_make(algorithm, _mixed()), _mixed_metrics, 30, seed=4)
    assert first != second, "another seed must give other proposals"


def _at_most_n_proposals(algorithm: Algorithm) -> None:
    strategy = _make(algorithm, _mixed())
    for n in (0, 1, 2, 5, 30):
        got = len(list(strategy.ask(n, np.random.default_rng(n))))
        assert got <= n, f"ask({n}) must give at most {n} proposals, got {got}"


def _replayed_log_restores_the_strategy(algorithm: Algorithm) -> None:
    for workers in (1, 3):
        log = simulate(_make(algorithm, _mixed()), _mixed_metrics, 50, workers=workers)
        for cut in (0, 1, 17, 50, len(log)):
            live, replayed = _make(algorithm, _mixed()), _make(algorithm, _mixed())
            for i, trial in enumerate(log[:cut]):
                if i % 4 == 0:  # does asking leave traces?
                    live.ask(2, np.random.default_rng(cut))
                live.tell(trial)
                replayed.tell(_from_json(trial))
            asked = [list(s.ask(2, np.random.default_rng(cut))) for s in (live, replayed)]
            assert asked[0] == asked[1], f"after replaying {cut} events ask must give the same"


def _from_json(trial: Trial) -> Trial:
    """Return a trial as the store gives it back."""
    old = trial.proposal
    note = Candidate.from_json(Candidate(old.note).json()).values
    candidate = Candidate.from_json(old.candidate.json())
    parents = tuple(json.loads(json.dumps(old.parents)))
    proposal = Proposal(candidate, old.fidelity, old.origin, parents, note)
    return Trial(trial.id, proposal, trial.seed, trial.status, trial.metrics, 0.0, trial.error)


def _proposals_are_legal(algorithm: Algorithm) -> None:
    space = _mixed()
    for trial in simulate(_make(algorithm, space), _mixed_metrics, 60, workers=2):
        space.check(trial.candidate)
        assert 0 < trial.proposal.fidelity <= 1


def _rules_are_respected(algorithm: Algorithm) -> None:
    space = Space(_cells().description, rule=lambda values: values["0"] != values["1"])
    for trial in simulate(_make(algorithm, space), _cell_metrics, 60):
        space.check(trial.candidate)


def _no_evaluation_is_repeated(algorithm: Algorithm) -> None:
    for workers in (1, 4):
        log = simulate(_make(algorithm, _cells()), _cell_metrics, 150, workers=workers)
        started = [(t.candidate, t.proposal.fidelity) for t in log if t.status is Status.RUNNING]
        n_repeated = len(started) - len(set(started))
        assert not n_repeated, (
            f"{n_repeated} of {len(started)} were proposed twice at the same fidelity"
        )


def _small_space_is_exhausted(algorithm: Algorithm) -> None:
    space: Space[object] = Space({"x": Integer(0, 4), "y": OneOf("a", "b", "c")})

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": _as_number(candidate.values["x"]), "cost": 1.0}

    log = simulate(_make(algorithm, space), measure, 200)
    candidates = {trial.candidate for trial in log if _is_done_in_full(trial)}
    assert len(candidates) == 15, (
        f"all 15 candidates must be evaluated at full fidelity, got {len(candidates)}"
    )


def _failed_and_infeasible_trials_are_tolerated(algorithm: Algorithm) -> None:
    def never(candidate: Candidate) -> None:
        return None

    log = simulate(_make(algorithm, _mixed()), never, 40)
    assert len(log) == 80, "a search must continue if every candidate is infeasible"
    log = simulate(_make(algorithm, _mixed()), _mixed_metrics, 60, workers=4)
    assert len(log) == 120, "a search must continue if trials fail"


def _workers_are_kept_busy(algorithm: Algorithm) -> None:
    log = simulate(_make(algorithm, _cells()), _cell_metrics, 100, workers=4)
    n_running, n_idle = 0, 0
    for trial in log[:180]:
        n_running += 1 if trial.status is Status.RUNNING else -1
        if n_running == 0:
            n_idle += 1
    assert n_idle <= 2, f"workers must not wait for each other, all were idle {n_idle} times"


def _baselines_are_not_proposed_again(algorithm: Algorithm) -> None:
    space = _cells()
    strategy = _make(algorithm, space)
    for trial_id, candidate in enumerate(list(space.neighbours(space.default()))[:5], start=1):
        proposal = Proposal(candidate, origin="baseline")
        strategy.tell(Trial(trial_id, proposal, 0))
        metrics = _cell_metrics(candidate)
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, metrics))
        proposals = strategy.ask(2, np.random.default_rng(trial_id))
        again = [other.candidate for other in proposals]
        assert candidate not in again, "a baseline must not be proposed again"


def _names_do_not_matter(algorithm: Algorithm) -> None:
    """Renaming every option and path gives the same trials, renamed."""
    original, renamed = _cells(), _renamed_cells()
    old_option = {"zero": "none", "alpha": "skip", "w1": "one", "w3": "three", "q": "pool"}

    def old(candidate: Candidate) -> Candidate:
        return Candidate(
            {
                str(int(path[1:]) - 1): old_option[str(option)]
                for path, option in candidate.values.items()
            }
        )

    first = simulate(_make(algorithm, original), _cell_metrics, 60)
    second = simulate(_make(algorithm, renamed), lambda c: _cell_metrics(old(c)), 60)
    same = [a.candidate == old(b.candidate) for a, b in zip(first, second, strict=True)]
    assert all(same), f"names must not matter, got other trials from event {same.index(False)} on"


def _renamed_cells() -> Space[object]:
    return Space({f"e{i + 1}": OneOf("zero", "alpha", "w1", "w3", "q") for i in range(6)})


def _costly_metrics(candidate: Candidate) -> Metrics:
    """Return a loss that falls with the cost, so that only a limit keeps the cost low."""
    metrics = _cell_metrics(candidate)
    return {**metrics, "loss": metrics["loss"] - 1.5 * metrics["cost"]}


def _limits_are_respected(algorithm: Algorithm) -> None:
    """Check that in its second half a search respects a limit more often than random candidates.

    The objective pulls outside, so that a search which ignores the limit has fewer within it. Only
    trials at full fidelity count, of a budget of 120.
    """
    if algorithm == RandomSearch():
        return
    limit = Limit("cost", at_most=1)
    within = []
    for seed in range(4):
        strategy = _make(algorithm, _cells(), [limit], (LOSS,))
        log = simulate(strategy, _costly_metrics, 1200, seed=seed, max_cost=120)
        done = [trial for trial in log if _is_done_in_full(trial)]
        within += [limit.keeps(trial.metrics) for trial in done[len(done) // 2 :]]
    assert within, "some trials must have full fidelity, got none"
    share = float(np.mean(within))
    assert share > _MIN_SHARE_WITHIN_LIMIT, (
        f"a limit must pull the search inside, got {share:.0%} within"
    )


def _beats_random_search(algorithm: Algorithm) -> None:
    """At equal cost, the sum of fidelities, over paired seeds: one-sided Wilcoxon, p < .01.

    After 8 of 16 seeds it ends if p is below .005 already.
    """
    if algorithm == RandomSearch():
        return
    cost = 120
    losses, random_losses = [], []
    for seed in range(16):
        strategy, random = (
            _make(each, _cells(), (), (LOSS,)) for each in (algorithm, RandomSearch())
        )
        log = simulate(strategy, _cell_metrics, 10 * cost, seed=seed, max_cost=cost)
        losses.append(best_loss(log))
        assert np.isfinite(losses[-1]), "some trials must have full fidelity, got none"
        random_losses.append(best_loss(simulate(random, _cell_metrics, cost, seed=seed)))
        p = _wilcoxon_p(losses, random_losses) if seed in (7, 15) else 1.0
        if p < 0.005:
            return
    means = f"{np.mean(losses):.3f} against {np.mean(random_losses):.3f}"
    assert p < 0.01, (
        f"the search must find lower losses than random search, got {means}, p = {p:.2g}"
    )


def _it_stops_by_itself(algorithm: Algorithm) -> None:
    """Check that an algorithm which declares not to search proposes no end of candidates."""
    log = simulate(_make(algorithm, _cells()), _cell_metrics, _MAX_GIVEN_CANDIDATES)
    n_started = sum(trial.status is Status.RUNNING for trial in log)
    assert n_started < _MAX_GIVEN_CANDIDATES, (
        f"with searches = False it must propose given candidates alone, got {n_started} proposals"
    )


def _wilcoxon_p(losses: Sequence[float], random_losses: Sequence[float]) -> float:
    """Return p of the one-sided Wilcoxon test that losses are lower; 1 if all pairs are equal."""
    from scipy.stats import wilcoxon

    if np.array_equal(losses, random_losses):
        return 1.0
    return float(wilcoxon(losses, random_losses, alternative="less").pvalue)


def _short(proposals: Sequence[Proposal]) -> str:
    if not proposals:
        return "nothing"
    return str(dict(proposals[0].candidate.values))[:80]


_CHECKS: tuple[Callable[[Algorithm], None], ...] = (
    _ask_draws_from_its_generator_only,
    _ask_is_pure,
    _at_most_n_proposals,
    _replayed_log_restores_the_strategy,
    _proposals_are_legal,
    _rules_are_respected,
    _no_evaluation_is_repeated,
    _baselines_are_not_proposed_again,
    _names_do_not_matter,
)
"""For every strategy."""

_SEARCH_CHECKS: tuple[Callable[[Algorithm], None], ...] = (
    _other_seeds_give_other_proposals,
    _small_space_is_exhausted,
    _failed_and_infeasible_trials_are_tolerated,
    _workers_are_kept_busy,
    _limits_are_respected,
    _beats_random_search,
)
"""For strategies that propose candidates of their own."""
