"""The log of a study: replays the store, records trials, and tells the strategy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
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
from netwright.trials.trial import BASELINE, FINAL, MADE, Proposal, Status, Trial, as_told


class ReplayableStrategy:
    """A strategy and the number of log events it has seen; a later run replays only the rest."""

    def __init__(
        self,
        strategy: Strategy,
        space: Space[Any],
        should_tell: Callable[[Trial], bool],
        searched: Collection[str] = (),
    ) -> None:
        check_strategy_methods(strategy)
        self.strategy, self._space = strategy, space
        self._should_tell, self._searched = should_tell, searched
        self.n_events = 0
        self.n_tells = 0

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        """Return the strategy's proposals, checked against the space."""
        return checked_proposals(self.strategy, self._space, n, rng)

    def tell(self, trial: Trial) -> None:
        """Count an event of the log, and tell it to the strategy if `should_tell`; see `as_told`."""
        self.n_events += 1
        if self._should_tell(trial):
            self.n_tells += 1
            self.strategy.tell(as_told(trial, self._searched))


class Journal:
    """The log of a study: each start and end goes to the store, then to memory, then to the strategy.

    Replaying the store therefore restores a study that was killed at any moment: trials that had
    started but not ended are run again, with the same id and seed, and are not told again.

    Args:
        store: open for writing; its events are replayed.
        strategy: is told the events that it has not seen.
        seed: of the study.
        objectives: metrics to optimise, the first of them for the best trial.
        limits: bounds on metrics.
        n_best_folders: keep the folders of so many best trials, and of the strategy's potential
            parents, because children start from their files.
        cost_metric: with one objective, keep the folders of the front of it and this metric; empty
            for none.
    """

    def __init__(
        self,
        store: Store,
        strategy: ReplayableStrategy,
        seed: int,
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        n_best_folders: int = 0,
        cost_metric: str = "",
    ) -> None:
        self._store = store
        self._strategy = strategy
        self._seed = seed
        self._objectives, self._limits = objectives, limits
        self._n_best_folders = n_best_folders
        self._best: list[Trial] = []
        events = store.events()
        for trial in events[strategy.n_events :]:
            replay(strategy, trial, store.folder)
        self.trials = {trial.id: trial for trial in events}
        self._last_id = max(self.trials, default=0)
        self._refits = [trial for trial in events if trial.ensemble and trial.ensemble.refit]
        self.front = pareto_front(self.trials_by_id(), objectives, limits)
        self._best_without_limits = pareto_front(self.trials_by_id(), objectives[:1])
        has_cost_front = bool(cost_metric) and len(objectives) == 1
        self._cost_objectives = (
            (objectives[0], Objective(cost_metric, "min")) if has_cost_front else ()
        )
        self._cost_front: list[Trial] = []
        for trial in self.trials_by_id():
            self._update_best(trial)
            self._update_cost_front(trial)
        self.unfinished = [trial for trial in self.trials_by_id() if trial.status is Status.RUNNING]
        for trial in [trial for trial in self.unfinished if trial.proposal.origin in MADE]:
            error = "stopped before it was recorded"
            self.record_end(replace(trial, status=Status.INFEASIBLE, error=error), store.seconds)
            self.unfinished.remove(trial)
        self.n_baselines_started = sum(
            trial.proposal.origin == BASELINE for trial in self.trials.values()
        )

    def trials_by_id(self) -> list[Trial]:
        """Return all trials, sorted by id."""
        return [self.trials[trial_id] for trial_id in sorted(self.trials)]

    @property
    def n_budgeted_trials(self) -> int:
        """Number of trials that a budget counts."""
        return n_budgeted_trials(self.trials.values())

    def ask(self, n: int) -> list[Proposal]:
        """Return the strategy's next proposals; they depend only on the seed and what it was told."""
        rng = np.random.default_rng([self._seed, self._strategy.n_tells])
        return self._strategy.ask(n, rng)[:n]

    def record_start(
        self, proposal: Proposal, seconds: float, ensemble: EnsembleSpec | None = None
    ) -> Trial:
        """Record a trial before it is executed; `seconds` have been used by the study so far."""
        trial_id = self._last_id + 1
        trial = Trial(trial_id, proposal, trial_seed(self._seed, trial_id), ensemble=ensemble)
        self._store.record_start(trial, seconds)
        self._last_id = trial_id
        self.trials[trial_id] = trial
        self._strategy.tell(trial)
        return trial

    def record_end(self, trial: Trial, seconds: float) -> bool:
        """Record how a trial ended; return whether it is on the Pareto front now."""
        trial = self._with_checked_objectives(trial)
        self._store.record_end(trial, seconds)
        self.trials[trial.id] = trial
        # dominance is transitive: a dominated trial never returns to the front
        rivals = sorted([*self.front, trial], key=lambda rival: rival.id)
        self.front = pareto_front(rivals, self._objectives, self._limits)
        self._best_without_limits = pareto_front(
            [*self._best_without_limits, trial], self._objectives[:1]
        )
        self._update_best(trial)
        self._update_cost_front(trial)
        self._strategy.tell(trial)
        return any(on_front.id == trial.id for on_front in self.front)

    def trials_to_keep(self) -> set[int]:
        """Return the ids of the trials whose folders are kept.

        These are the front, with one objective also that of the objective and the cost; the best
        trial in the first objective, in case none is within the limits; the members of ensembles
        among them; running trials and their parents. If trials are compared row by row, or children
        start from their parents' files: also the best `n_best_folders` trials, the first baseline
        and the strategy's potential parents. Finally the
        refits of any of these. The ids follow from the log alone, so that a study has the same
        folders whether or not it was killed and resumed.
        """
        running = [trial for trial in self.trials.values() if trial.status is Status.RUNNING]
        needed = {parent for trial in running for parent in trial.proposal.parents}
        best = [*self.front, *self._best_without_limits, *self._cost_front]
        ensembles = [trial for trial in best if trial.ensemble]
        while ensembles:
            members = ensembles.pop().proposal.parents
            needed.update(members)
            ensembles += [self.trials[member] for member in members if self.trials[member].ensemble]
        finals = [trial for trial in self.trials.values() if trial.proposal.origin == FINAL]
        needed |= {trial.id for trial in [*best, *running, *self._best, *finals]}
        if self._n_best_folders:
            baselines = (t.id for t in self.trials.values() if t.proposal.origin == BASELINE)
            needed |= {*sorted(baselines)[:1]}
            needed |= set(potential_parents(self._strategy.strategy))
        return needed | {
            refit.id for refit in self._refits if needed.issuperset(refit.proposal.parents)
        }

    def _update_best(self, trial: Trial) -> None:
        """Keep the best trials: by fidelity, then violation of the limits, then first objective."""

        def rank(trial: Trial) -> tuple[float, float, float, int]:
            excess = violation(trial, self._limits)
            loss = self._objectives[0].loss(trial.metrics)
            return -trial.proposal.fidelity, excess, loss, trial.id

        is_made = trial.proposal.origin in MADE  # can be made again from its members
        if trial.status is Status.DONE and self._n_best_folders and not is_made:
            self._best = sorted([*self._best, trial], key=rank)[: self._n_best_folders]

    def _update_cost_front(self, trial: Trial) -> None:
        """Keep the trials that no other beats in both the only objective and the cost."""
        if self._cost_objectives:
            rivals = sorted([*self._cost_front, trial], key=lambda rival: rival.id)
            self._cost_front = pareto_front(rivals, self._cost_objectives, self._limits)

    def _with_checked_objectives(self, trial: Trial) -> Trial:
        """Return the trial, failed or infeasible if it finished without a finite objective."""
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


def replay(strategy: ReplayableStrategy, trial: Trial, folder: Path) -> None:
    """Tell the strategy an event of the log.

    Raises:
        RunError: the strategy raised, so the log was changed.
    """
    try:
        strategy.tell(trial)
    except Exception as error:
        name = type(strategy.strategy).__name__
        raise RunError(
            f"{name} cannot be told trial {trial.id} of {folder} "
            f"({type(error).__name__}: {error}). {new_run_hint()}"
        ) from error


def n_budgeted_trials(trials: Iterable[Trial]) -> int:
    """Return how many trials a budget counts: all but ensembles and constant predictions."""
    return sum(trial.proposal.origin not in MADE for trial in trials)


def trial_seed(seed: int, trial_id: int) -> int:
    """Return a trial's 32-bit seed, derived from the study's seed and the trial's id."""
    return int(np.random.SeedSequence([seed, trial_id]).generate_state(1)[0])
