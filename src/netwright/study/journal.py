"""The log of a study: what the store holds, what was told to the strategy, what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netwright.errors import RunError
from netwright.interfaces.checks import check_strategy_methods, checked_proposals
from netwright.interfaces.strategy import RNG, Strategy, potential_parents
from netwright.space.space import Space
from netwright.study.storage.run_manifest import new_run_hint
from netwright.study.storage.store import Store
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.selection import violation
from netwright.trials.trial import BASELINE, MADE, Proposal, Status, Trial


class ReplayableStrategy:
    """A strategy and how many events of the log it knows, so that a later run tells it the rest."""

    def __init__(
        self, strategy: Strategy, space: Space[Any], should_tell: Callable[[Trial], bool]
    ) -> None:
        check_strategy_methods(strategy)
        self.strategy, self._space = strategy, space
        self._hears = should_tell
        self.n_events = 0
        self.n_tells = 0

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        """What the strategy proposes, checked."""
        return checked_proposals(self.strategy, self._space, n, rng)

    def tell(self, trial: Trial) -> None:
        """One more event of the log; what is not of the strategy's space is not passed on."""
        self.n_events += 1
        if self._hears(trial):
            self.n_tells += 1
            self.strategy.tell(trial)


class Journal:
    """Every start and end goes to the store first, then to memory, then to the strategy.

    So a study that is killed at any moment is the same after replaying the store: what had
    started and not ended is run again, with its id and seed, and not announced again.
    """

    def __init__(
        self, store: Store, listener: ReplayableStrategy, seed: int,
        objectives: Sequence[Objective], limits: Sequence[Limit], keeps: int = 0,
    ) -> None:  # fmt: skip
        self._store = store
        self._listener = listener
        self._seed = seed
        self._objectives, self._limits = objectives, limits
        self._keeps = keeps
        self._best: list[Trial] = []
        events = store.events()
        for trial in events[listener.n_events :]:
            _replay(listener, trial, store.folder)
        self.trials = {trial.id: trial for trial in events}
        self._last = max(self.trials, default=0)
        self._refits = [one for one in events if one.ensemble and one.ensemble.refit]
        self.front = pareto_front(self.ordered(), objectives, limits)
        self._leader = pareto_front(self.ordered(), objectives[:1])
        for trial in self.ordered():
            self._compare(trial)
        self.unfinished = [one for one in self.ordered() if one.status is Status.RUNNING]
        for one in [one for one in self.unfinished if one.proposal.origin in MADE]:
            error = "stopped before it was recorded"
            self.record_end(replace(one, status=Status.INFEASIBLE, error=error), store.seconds)
            self.unfinished.remove(one)
        self.baselines = sum(one.proposal.origin == BASELINE for one in self.trials.values())

    def ordered(self) -> list[Trial]:
        """All trials, by id."""
        return [self.trials[number] for number in sorted(self.trials)]

    @property
    def n_budgeted_trials(self) -> int:
        """The trials that a budget counts: averages of others cost no evaluation."""
        return n_budgeted_trials(self.trials.values())

    def ask(self, n: int) -> list[Proposal]:
        """The strategy's next proposals, from the seed and what it has been told alone."""
        rng = np.random.default_rng([self._seed, self._listener.n_tells])
        return self._listener.ask(n, rng)[:n]

    def record_start(
        self, proposal: Proposal, seconds: float, ensemble: EnsembleSpec | None = None
    ) -> Trial:
        """Records a trial before it is executed; `seconds`: used by the study so far."""
        number = self._last + 1
        trial = Trial(number, proposal, trial_seed(self._seed, number), ensemble=ensemble)
        self._store.record_start(trial, seconds)
        self._last = number
        self.trials[number] = trial
        self._listener.tell(trial)
        return trial

    def record_end(self, trial: Trial, seconds: float) -> bool:
        """Records how a trial ended; whether it is on the front now."""
        trial = self._judged(trial)
        self._store.record_end(trial, seconds)
        self.trials[trial.id] = trial
        # dominance is transitive: who was not on the front before will never be on it again
        rivals = sorted([*self.front, trial], key=lambda one: one.id)
        self.front = pareto_front(rivals, self._objectives, self._limits)
        self._leader = pareto_front([*self._leader, trial], self._objectives[:1])
        self._compare(trial)
        self._listener.tell(trial)
        return any(one.id == trial.id for one in self.front)

    def needed(self) -> set[int]:
        """Whose folders are kept.

        The front; the best in the first objective, should nothing keep the limits; members of an
        average among these; what runs, and its parents. Where children start from what parents
        have left: the best `keeps` trials, and those from which the strategy may still breed. What
        of these was fitted again. A function of the log, so that a study that is killed and gone on
        with has the same folders.
        """
        running = [one for one in self.trials.values() if one.status is Status.RUNNING]
        parents = {parent for one in running for parent in one.proposal.parents}
        best = [*self.front, *self._leader]
        ensembles = [one for one in best if one.ensemble]
        while ensembles:
            found = ensembles.pop().proposal.parents
            parents.update(found)
            ensembles += [self.trials[n] for n in found if self.trials[n].ensemble]
        kept = parents | {one.id for one in [*best, *running, *self._best]}
        kept |= set(potential_parents(self._listener.strategy)) if self._keeps else set()
        return kept | {one.id for one in self._refits if kept.issuperset(one.proposal.parents)}

    def _compare(self, trial: Trial) -> None:
        """Keeps the best: highest fidelity first, then within the limits, then the first objective."""

        def place(one: Trial) -> tuple[float, float, float, int]:
            broken = violation(one, self._limits)
            loss = self._objectives[0].loss(one.metrics)
            return -one.proposal.fidelity, broken, loss, one.id

        made = trial.proposal.origin in MADE  # can be made again from its members
        if trial.status is Status.DONE and self._keeps and not made:
            self._best = sorted([*self._best, trial], key=place)[: self._keeps]

    def _judged(self, trial: Trial) -> Trial:
        """A finished trial needs every objective, and as a number."""
        if trial.status is not Status.DONE:
            return trial
        for objective in self._objectives:
            name = objective.metric
            if name not in trial.metrics:
                error = f"the evaluator must measure {name}, got {', '.join(trial.metrics)}"
                return replace(trial, status=Status.FAILED, error=error)
            if not np.isfinite(trial.metrics[name]):
                error = f"{name} is {trial.metrics[name]}"
                return replace(trial, status=Status.INFEASIBLE, error=error)
        return trial


def _replay(listener: ReplayableStrategy, trial: Trial, folder: Path) -> None:
    """Tells an event of the log; RunError where the strategy cannot be told: others changed it."""
    try:
        listener.tell(trial)
    except Exception as error:
        name = type(listener.strategy).__name__
        raise RunError(
            f"{name} cannot be told trial {trial.id} of {folder} "
            f"({type(error).__name__}: {error}). {new_run_hint()}"
        ) from error


def n_budgeted_trials(trials: Iterable[Trial]) -> int:
    """How many of the trials a budget counts."""
    return sum(one.proposal.origin not in MADE for one in trials)


def trial_seed(seed: int, trial: int) -> int:
    """The evaluator's seed: a 32-bit number that depends on the study's seed and the trial's id."""
    return int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
