"""Contract checks that users run on their own strategies, as we run them on ours.

::

    @pytest.mark.parametrize("check", netwright.testing.strategy_checks(Mine), ids=str)
    def test_mine(check): check()

or, without pytest, ``netwright.testing.check_strategy(Mine)``. A check that fails raises
AssertionError with a sentence on what was expected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from netwright.errors import InputError
from netwright.interfaces.checks import as_algorithm, check_strategy_methods, checked_proposals
from netwright.interfaces.strategy import Algorithm, Problem, Strategy
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, OneOf, Repeat, SubsetOf
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.study.workers.worker import describe_error
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

_LONGEST = 300
"""Characters of what a check says."""
LOSS, COST = Objective("loss", "min"), Objective("cost", "min")
Measure = Callable[[Candidate], Metrics | None]
"""The metrics of a candidate at full fidelity; None: it is infeasible."""


@dataclass(frozen=True)
class StrategyCheck:
    """One property of a strategy; call it to see whether it holds."""

    name: str
    run: Callable[[Algorithm], None]
    algorithm: Algorithm

    def __call__(self) -> None:
        """Raises AssertionError, in one sentence that names the check."""
        try:
            self.run(self.algorithm)
        except AssertionError as error:
            raise AssertionError(f"{self.name}: {error}"[:_LONGEST]) from None
        except InputError as error:
            raise AssertionError(f"{self.name}: {error}"[:_LONGEST]) from error
        except Exception as error:  # the strategy's own code
            raise AssertionError(
                f"{self.name}: it raised {describe_error(error)}"[:_LONGEST]
            ) from error

    def __str__(self) -> str:
        return self.name


def strategy_checks(strategy: object) -> list[StrategyCheck]:
    """The checks for an algorithm, or for a class of strategies or of settings."""
    algorithm = as_algorithm(strategy)
    return [StrategyCheck(run.__name__.removeprefix("_"), run, algorithm) for run in _CHECKS]


def check_strategy(strategy: object) -> None:
    """Runs every check; AssertionError at the first that does not hold."""
    for check in strategy_checks(strategy):
        check()


# Spaces and measures


def _mixed() -> Space[Any]:
    """Conditional, repeated, subset, whole and real decisions."""
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


def _cells() -> Space[Any]:
    """Six decisions of five options: as many candidates as NAS-Bench-201, 15,625."""
    return Space(tuple(OneOf("none", "skip", "one", "three", "pool") for _ in range(6)))


@lru_cache(maxsize=1)
def _landscape() -> dict[str, float]:
    """Effects of each option, and of each pair of options in neighbouring places."""
    rng = np.random.default_rng(12)
    names = ("none", "skip", "one", "three", "pool")
    found = {f"{i}={a}": float(rng.normal()) for i in range(6) for a in names}
    found |= {
        f"{i}={a},{b}": 0.5 * float(rng.normal()) for i in range(5) for a in names for b in names
    }
    return found


def _cell_metrics(candidate: Candidate) -> Metrics:
    """A rugged loss, and a cost that pulls the other way; a table in all but name."""
    chosen = [candidate.values[str(i)] for i in range(6)]
    effect = _landscape()
    loss = sum(effect[f"{i}={a}"] for i, a in enumerate(chosen))
    loss += sum(effect[f"{i}={a},{b}"] for i, (a, b) in enumerate(pairwise(chosen)))
    return {"loss": loss, "cost": float(sum(a in ("one", "three") for a in chosen))}


def _mixed_metrics(candidate: Candidate) -> Metrics | None:
    """Infeasible for a tenth of the candidates, as real ones are."""
    values = candidate.values
    number = sum(_as_number(value) for value in values.values())
    if int(candidate.key, 16) % 10 == 0:
        return None
    return {"loss": float((number - 2.0) ** 2), "cost": float(len(values))}


def _as_number(value: Value) -> float:
    if isinstance(value, tuple):
        return 0.3 * len(value)
    return float(value) if isinstance(value, int | float) else 0.1 * (ord(str(value)[0]) - 97)


class _Checked:
    """A strategy whose proposals are looked at."""

    def __init__(self, strategy: Strategy, space: Space[Any]) -> None:
        self.strategy, self.space = strategy, space

    def ask(self, n: int, rng: np.random.Generator) -> list[Proposal]:
        return checked_proposals(self.strategy, self.space, n, rng)

    def tell(self, trial: Trial) -> None:
        self.strategy.tell(trial)


def _make(
    algorithm: Algorithm, space: Space[Any], limits: Sequence[Limit] = (),
    objectives: Sequence[Objective] = (LOSS, COST),
) -> Strategy:  # fmt: skip
    strategy = algorithm(Problem(space, objectives, limits))
    check_strategy_methods(strategy)
    return _Checked(strategy, space)


def simulate(
    strategy: Strategy, measure: Measure, n_trials: int, *,
    workers: int = 1, seed: int = 0, max_cost: float = math.inf,
) -> list[Trial]:  # fmt: skip
    """A study without processes: the events (starts and ends) that the strategy was told.

    Of the running trials a random one ends next; every seventh that ends has failed by no fault
    of its own, when there are several workers. None starts once the sum of their fidelities has
    reached `cost`. Below full fidelity the loss is blurred, the more the lower.
    """
    events: list[Trial] = []
    running: list[Trial] = []
    started, ended, spent = 0, 0, 0.0
    order = np.random.default_rng([seed, 99])
    while True:
        room = min(workers - len(running), n_trials - started) if spent < max_cost else 0
        rng = np.random.default_rng([seed, len(events)])
        for proposal in list(strategy.ask(room, rng))[:room] if room else ():
            started += 1
            spent += proposal.fidelity
            running.append(Trial(started, proposal, seed=started))
            events.append(running[-1])
            strategy.tell(running[-1])
        if not running:
            return events
        trial = running.pop(int(order.integers(len(running))))
        ended += 1
        events.append(_ended(trial, measure, failed=workers > 1 and ended % 7 == 0))
        strategy.tell(events[-1])


def _ended(trial: Trial, measure: Measure, failed: bool) -> Trial:
    if failed:
        return Trial(trial.id, trial.proposal, trial.seed, Status.FAILED, error="out of luck")
    metrics = measure(trial.candidate)
    status = Status.INFEASIBLE if metrics is None else Status.DONE
    metrics = _blurred(metrics or {}, trial.proposal.fidelity)
    return Trial(trial.id, trial.proposal, trial.seed, status, metrics)


def _blurred(metrics: Metrics, fidelity: float) -> Metrics:
    """As training for a short time shows it: always the same, whatever the candidate is called.

    The noise has a standard deviation of 0.7 at a third of the effort, of 2 at a ninth.
    """
    if fidelity == 1 or "loss" not in metrics:
        return metrics
    loss = np.float64(metrics["loss"])
    rng = np.random.default_rng([int(loss.view(np.uint64)), round(fidelity * 1e6)])
    return {**metrics, "loss": float(loss + rng.normal(0, fidelity**-0.5 - 1))}


def best_loss(events: Sequence[Trial]) -> float:
    """The least loss of the trials that were done at full fidelity."""
    return min((t.metrics["loss"] for t in events if _is_result(t)), default=np.inf)


def _is_result(trial: Trial) -> bool:
    return trial.status is Status.DONE and trial.proposal.fidelity == 1


# The checks


def _ask_changes_nothing(algorithm: Algorithm) -> None:
    strategy = _make(algorithm, _mixed())
    simulate(strategy, _mixed_metrics, 40)
    first = list(strategy.ask(3, np.random.default_rng(5)))
    for n, seed in ((7, 6), (1, 5), (2, 7)):
        strategy.ask(n, np.random.default_rng(seed))
    again = list(strategy.ask(3, np.random.default_rng(5)))
    assert again == first, (
        f"ask must not change the strategy, got {_short(again)} after {_short(first)}"
    )


def _ask_depends_on_its_generator_alone(algorithm: Algorithm) -> None:
    np.random.seed(1)  # noqa: NPY002  # whether it looks at the global state
    one = simulate(_make(algorithm, _mixed()), _mixed_metrics, 40, seed=3)
    np.random.seed(2)  # noqa: NPY002
    other = simulate(_make(algorithm, _mixed()), _mixed_metrics, 40, seed=3)
    fix = "Draw from the generator that ask is given, and from no other"
    assert one == other, f"the same seed and log must give the same proposals. {fix}"


def _another_seed_is_another_search(algorithm: Algorithm) -> None:
    one = simulate(_make(algorithm, _mixed()), _mixed_metrics, 30, seed=3)
    other = simulate(_make(algorithm, _mixed()), _mixed_metrics, 30, seed=4)
    assert one != other, "another seed must give other proposals"


def _at_most_n_are_proposed(algorithm: Algorithm) -> None:
    strategy = _make(algorithm, _mixed())
    for n in (0, 1, 2, 5, 30):
        got = len(list(strategy.ask(n, np.random.default_rng(n))))
        assert got <= n, f"ask({n}) must give at most {n} proposals, got {got}"


def _replay_gives_the_same_strategy(algorithm: Algorithm) -> None:
    for workers in (1, 3):
        log = simulate(_make(algorithm, _mixed()), _mixed_metrics, 50, workers=workers)
        for cut in (0, 1, 17, 50, len(log)):
            live, replayed = _make(algorithm, _mixed()), _make(algorithm, _mixed())
            for place, trial in enumerate(log[:cut]):
                if place % 4 == 0:  # whether asking leaves traces
                    live.ask(2, np.random.default_rng(cut))
                live.tell(trial)
                replayed.tell(_from_json(trial))
            asked = [list(s.ask(2, np.random.default_rng(cut))) for s in (live, replayed)]
            assert asked[0] == asked[1], f"after replaying {cut} events ask must be the same"


def _from_json(trial: Trial) -> Trial:
    """As it comes back from the store."""
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


def _a_rule_is_kept(algorithm: Algorithm) -> None:
    space = Space(_cells().description, rule=lambda values: values["0"] != values["1"])
    for trial in simulate(_make(algorithm, space), _cell_metrics, 60):
        space.check(trial.candidate)


def _nothing_is_paid_for_twice(algorithm: Algorithm) -> None:
    for workers in (1, 4):
        log = simulate(_make(algorithm, _cells()), _cell_metrics, 150, workers=workers)
        started = [(t.candidate, t.proposal.fidelity) for t in log if t.status is Status.RUNNING]
        twice = len(started) - len(set(started))
        assert not twice, f"{twice} of {len(started)} were proposed twice at one fidelity"


def _a_small_space_is_searched_whole_and_then_it_is_over(algorithm: Algorithm) -> None:
    space = Space({"x": Integer(0, 4), "y": OneOf("a", "b", "c")})

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": _as_number(candidate.values["x"]), "cost": 1.0}

    log = simulate(_make(algorithm, space), measure, 200)
    found = {t.candidate for t in log if _is_result(t)}
    assert len(found) == 15, f"all 15 candidates must have full fidelity, got {len(found)}"


def _failed_and_infeasible_trials_are_survived(algorithm: Algorithm) -> None:
    def never(candidate: Candidate) -> None:
        return None

    log = simulate(_make(algorithm, _mixed()), never, 40)
    assert len(log) == 80, "a search whose every candidate is infeasible must go on"
    log = simulate(_make(algorithm, _mixed()), _mixed_metrics, 60, workers=4)
    assert len(log) == 120, "a search with failed trials must go on"


def _workers_are_kept_busy(algorithm: Algorithm) -> None:
    log = simulate(_make(algorithm, _cells()), _cell_metrics, 100, workers=4)
    running, idle = 0, 0
    for trial in log[:180]:
        running += 1 if trial.status is Status.RUNNING else -1
        idle += running == 0
    assert idle <= 2, f"workers must not wait for each other, all stood still {idle} times"


def _baselines_are_heard(algorithm: Algorithm) -> None:
    space = _cells()
    strategy = _make(algorithm, space)
    for number, candidate in enumerate(list(space.neighbours(space.default()))[:5], start=1):
        proposal = Proposal(candidate, origin="baseline")
        strategy.tell(Trial(number, proposal, 0))
        metrics = _cell_metrics(candidate)
        strategy.tell(Trial(number, proposal, 0, Status.DONE, metrics))
        again = [one.candidate for one in strategy.ask(2, np.random.default_rng(number))]
        assert candidate not in again, "what a baseline has shown must not be proposed again"


def _names_do_not_matter(algorithm: Algorithm) -> None:
    """Renaming every option and path gives the same trials, renamed."""
    plain, renamed = _cells(), _renamed()
    back = {"zero": "none", "alpha": "skip", "w1": "one", "w3": "three", "q": "pool"}

    def old(candidate: Candidate) -> Candidate:
        return Candidate({str(int(p[1:]) - 1): back[str(v)] for p, v in candidate.values.items()})

    one = simulate(_make(algorithm, plain), _cell_metrics, 60)
    other = simulate(_make(algorithm, renamed), lambda c: _cell_metrics(old(c)), 60)
    same = [a.candidate == old(b.candidate) for a, b in zip(one, other, strict=True)]
    assert all(same), f"names must not matter, got other trials from event {same.index(False)} on"


def _renamed() -> Space[Any]:
    return Space({f"e{i + 1}": OneOf("zero", "alpha", "w1", "w3", "q") for i in range(6)})


def _dear_metrics(candidate: Candidate) -> Metrics:
    """The loss pulls towards cost, so that only a limit on the cost holds a search back."""
    metrics = _cell_metrics(candidate)
    return {**metrics, "loss": metrics["loss"] - 1.5 * metrics["cost"]}


def _limits_are_respected(algorithm: Algorithm) -> None:
    """More of the second half keep a limit than the 23 % of random candidates that do.

    The objective pulls outside: who ignores the limit has fewer. Counted at full fidelity, of 120
    full evaluations' worth.
    """
    if algorithm == RandomSearch():
        return
    limit = Limit("cost", at_most=1)
    kept = []
    for seed in range(4):
        strategy = _make(algorithm, _cells(), [limit], (LOSS,))
        done = list(
            filter(_is_result, simulate(strategy, _dear_metrics, 1200, seed=seed, max_cost=120))
        )
        done = done[len(done) // 2 :]
        kept += [limit.keeps(t.metrics) for t in done]
    assert kept, "some trials must have full fidelity, got none"
    share = float(np.mean(kept))
    assert share > 0.3, f"a limit must pull the search inside, got {share:.0%} within"


def _it_beats_random_search(algorithm: Algorithm) -> None:
    """At equal cost, the sum of fidelities, over paired seeds: one-sided Wilcoxon, p < .01.

    After 8 of 16 seeds it ends where p is below .005 already.
    """
    if algorithm == RandomSearch():
        return
    cost = 120
    ours, random = [], []
    for seed in range(16):
        strategies = [_make(one, _cells(), (), (LOSS,)) for one in (algorithm, RandomSearch())]
        log = simulate(strategies[0], _cell_metrics, 10 * cost, seed=seed, max_cost=cost)
        ours.append(best_loss(log))
        assert np.isfinite(ours[-1]), "some trials must have full fidelity, got none"
        random.append(best_loss(simulate(strategies[1], _cell_metrics, cost, seed=seed)))
        p = _chance(ours, random) if seed in (7, 15) else 1.0
        if p < 0.005:
            return
    means = f"{np.mean(ours):.3f} against {np.mean(random):.3f}"
    assert p < 0.01, f"the search must find more than random search, got {means}, p = {p:.2g}"


def _chance(ours: Sequence[float], random: Sequence[float]) -> float:
    """The one-sided Wilcoxon p of ours being no less; 1 where all pairs are equal."""
    from scipy.stats import wilcoxon

    if np.array_equal(ours, random):
        return 1.0
    return float(wilcoxon(ours, random, alternative="less").pvalue)


def _short(proposals: Sequence[Proposal]) -> str:
    return ", ".join(str(dict(one.candidate.values))[:80] for one in proposals[:1]) or "nothing"


_CHECKS: tuple[Callable[[Algorithm], None], ...] = (
    _ask_depends_on_its_generator_alone,
    _ask_changes_nothing,
    _another_seed_is_another_search,
    _at_most_n_are_proposed,
    _replay_gives_the_same_strategy,
    _proposals_are_legal,
    _a_rule_is_kept,
    _nothing_is_paid_for_twice,
    _a_small_space_is_searched_whole_and_then_it_is_over,
    _failed_and_infeasible_trials_are_survived,
    _workers_are_kept_busy,
    _baselines_are_heard,
    _names_do_not_matter,
    _limits_are_respected,
    _it_beats_random_search,
)
