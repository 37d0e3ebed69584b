"""Compare a portfolio of image networks on two rungs of short trainings.

Rungs count epochs: nothing is decided before every network has passed over the rows a few times. The
default is trained on each rung, and the comparison is over as soon as no other candidate leads. If
one leads to the end, single changes of it are tried in the time that is left. In a long search a
strategy proposes what follows, and so it does with counted trials, of which all are trained in full.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from netwright.automl.image.default_configs import RARE_CLASS_METRICS, image_edits
from netwright.interfaces.checks import name_of
from netwright.interfaces.preparation import Preparation
from netwright.interfaces.strategy import (
    RNG,
    Algorithm,
    Problem,
    Strategy,
    potential_parents,
    preparation,
    prior_weights,
)
from netwright.space.candidate import Candidate
from netwright.strategies.proposal_tracker import known_violation
from netwright.trials.trial import BASELINE, Proposal, Status, Trial

ORIGIN = "portfolio"
"""The origin of proposals of the portfolio."""
EDIT_OF = "edit of"
"""Key of a proposal's note: the id of the trial whose candidate it changes in one decision."""
_FIRST_EPOCHS, _FIRST_SECONDS = 2.0, 2.0
"""A training of the first rung: the larger of both. It decides only who is left out."""
_SECOND_EPOCHS, _SECOND_SECONDS = 4.0, 6.0
"""A training of the second rung; at 4.7 epochs the order on CIFAR-10 was right, at 2 it was not."""
_LONG_SECONDS, _GROWTH = 150.0, 0.75
"""Seconds of a comparison above which both trainings get longer, and the exponent of their growth: in an
hour 8 and 16 epochs, which tell more."""
_MIN_SECONDS_TO_PROPOSE = 400.0
"""Seconds of a comparison from which on the strategy proposes candidates after the portfolio. In less
time it sees too few, and what trains fast would win by chance."""
_EPOCH_TOLERANCE = 0.05
"""Largest relative difference of the epochs of two trainings that are compared."""
_N_FINALISTS = 3
"""Candidates on the second rung, the default included."""
_MAX_LOSS_RATIO = 0.98
"""A challenger's log loss on the first rung must be below this times the default's."""
_SLOWDOWN = 1.15
"""Factor of a trial's time while another one runs beside it, since they share memory and caches."""
_RELATIVE_COSTS = {"rows": 0.3, "columns": 0.3}
_RELATIVE_COST_OF_CHANNEL = 0.45
"""View -> time of an epoch, relative to the default's; 1 for others, and for a tower this much for each
channel (28 x 28 pixels, 3 channels)."""
_START_SECONDS = 4.0
"""Seconds until the first trial starts."""
_OVERHEAD_SECONDS = 1.5
"""Seconds of a trial besides its epochs: to build the network, validate and save."""


@dataclass(frozen=True, repr=False)
class PortfolioRungs:
    """Compare candidates on two rungs within a time, or train all of them and then search.

    Args:
        algorithm: Proposes candidates after the portfolio, in a long search or if trials are counted.
        candidates: The default first; a study has it as its first baseline as well.
        epochs: Number of epochs of a training at full fidelity.
        rows: Number of training rows.
        seconds: Wall time of the search; infinite if trials are counted.
        n_workers: Number of trials side by side.
        trial_seconds: A trial is cut off after so many seconds, and then tells nothing: a candidate
            that would need more is left out.
        channels: Number of channels of the images.
    """

    algorithm: Algorithm
    candidates: tuple[Candidate, ...]
    epochs: int
    rows: int
    seconds: float
    n_workers: int
    trial_seconds: float = math.inf
    channels: int = 3

    @property
    def searches(self) -> bool:
        """Whether candidates follow that are not of the portfolio."""
        return self.seconds >= _MIN_SECONDS_TO_PROPOSE

    def __repr__(self) -> str:
        """Return a name that does not depend on the budget: a run resumes with another one."""
        return f"PortfolioRungs({name_of(self.algorithm)})"

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return PortfolioRungsStrategy(self, problem)


class PortfolioRungsStrategy:
    """The strategy made by `PortfolioRungs`."""

    def __init__(self, settings: PortfolioRungs, problem: Problem) -> None:
        self._settings = settings
        self._strategy = settings.algorithm(problem)
        default, *others = settings.candidates
        self._default = default
        self._others = [other for other in others if not known_violation(problem, other)]
        self._loss, metric = problem.objectives[0].loss, problem.objectives[0].metric
        self._metric = metric if metric in RARE_CLASS_METRICS else ""
        self._trials: dict[int, Trial] = {}
        self._told: dict[int, Status] = {}

    @property
    def potential_parents(self) -> Iterable[int]:
        return potential_parents(self._strategy)

    @property
    def prior_weights(self) -> Mapping[str, Mapping[str, float]]:
        return prior_weights(self._strategy)

    @property
    def preparation(self) -> Preparation | None:
        return preparation(self._strategy)

    def tell(self, trial: Trial) -> None:
        self._trials[trial.id] = trial
        if math.isinf(self._settings.seconds):
            self._strategy.tell(trial)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if math.isinf(self._settings.seconds):
            return self._missing(self._others, 1.0)[:n] or list(self._strategy.ask(n, rng))
        baseline = next((t for t in self._of_default() if t.proposal.origin == BASELINE), None)
        if baseline is None:  # it still runs, or has failed
            return []
        first, second = self._fidelities(self._epoch_seconds([baseline]))
        compared = self._affordable(first, second)
        if (proposals := self._missing(compared, first)) or self._is_running(first):
            return proposals[:n]
        challengers = self._challengers(first) if compared else []
        if challengers:
            finalists = [self._default, *self._in_time(challengers, first, second)]
            if (proposals := self._missing(finalists, second)) or self._is_running(second):
                return proposals[:n]
            if edits := self._edits(second):
                return edits[:n]
        return self._proposals(first, second, n, rng)

    def _of_default(self) -> list[Trial]:
        """Return the finished trials of the default that say how fast it trains."""
        return [
            trial
            for trial in self._trials.values()
            if trial.candidate == self._default
            and trial.status is Status.DONE
            and trial.metrics.get("rows_per_second", 0.0) > 0
        ]

    def _epoch_seconds(self, trials: Iterable[Trial]) -> float:
        """Return the seconds of an epoch of the last of these trials of the default."""
        *_, last = trials
        return self._settings.rows / last.metrics["rows_per_second"]

    def _expected_seconds(self, first: float, fidelity: float) -> float:
        """Return the expected seconds of a trial of the default, beside another one.

        The trial of the first rung has run beside others, and tells more than the baseline, beside
        which workers may have started. Those of the second rung do not count: what is compared on the
        first one should not change any more.
        """
        up_to_first = [
            trial
            for trial in self._of_default()
            if trial.proposal.origin == BASELINE or trial.proposal.fidelity == first
        ]
        epochs = fidelity * self._settings.epochs
        return epochs * self._epoch_seconds(up_to_first) * _SLOWDOWN + _OVERHEAD_SECONDS

    def _fidelities(self, epoch_seconds: float) -> tuple[float, float]:
        """Return the fidelities of both rungs."""
        growth = max(1.0, self._settings.seconds / _LONG_SECONDS) ** _GROWTH
        first = growth * max(_FIRST_EPOCHS, _FIRST_SECONDS / epoch_seconds)
        second = growth * max(_SECOND_EPOCHS, _SECOND_SECONDS / epoch_seconds)
        epochs = self._settings.epochs
        return min(1.0, math.ceil(first) / epochs), min(1.0, math.ceil(second) / epochs)

    def _affordable(self, first: float, second: float) -> list[Candidate]:
        """Return the candidates for whose first rung there is time, and a second one of the best.

        A candidate that takes too long is left out, and later ones that take less are not. There is
        none if there is no time for the default and another one. Trials that end sooner than expected
        add none: only more time for the search does.
        """
        of_rung = {t.candidate: t for t in self._trials.values() if t.proposal.fidelity == first}
        on_first, on_second = (self._expected_seconds(first, rung) for rung in (first, second))

        def first_seconds(candidate: Candidate) -> float:
            trial = of_rung.get(candidate)
            return max(trial.seconds if trial else 0.0, self._cost(candidate) * on_first)

        time = self._time_left(t for t in self._trials.values() if t.proposal.origin == BASELINE)
        time -= first_seconds(self._default) + on_second
        if on_second > self._settings.trial_seconds:
            return []
        compared, highest_cost = [self._default], 0.0  # of the one that may reach the second rung
        for other in self._others:
            if self._cost(other) * on_second > self._settings.trial_seconds:
                continue
            raised = max(0.0, self._cost(other) - highest_cost)
            needed = first_seconds(other) + raised * on_second
            if other in of_rung or needed <= time:
                time -= needed
                highest_cost += raised
                compared.append(other)
        return compared if len(compared) > 1 else []

    def _cost(self, candidate: Candidate) -> float:
        """Return the time of an epoch, relative to the default's."""
        view = candidate.values.get("view")
        if view == "channels":
            return _RELATIVE_COST_OF_CHANNEL * self._settings.channels
        return _RELATIVE_COSTS.get(str(view), 1.0)

    def _time_left(self, trials: Iterable[Trial]) -> float:
        """Return the seconds of all workers together that are left after these trials."""
        seconds = (self._settings.seconds - _START_SECONDS) * self._settings.n_workers
        return seconds - sum(trial.seconds for trial in trials)

    def _in_time(
        self, challengers: list[Candidate], first: float, second: float
    ) -> list[Candidate]:
        """Return the challengers for whose second rung there is time; the best one always."""
        seconds = {
            trial.candidate: trial.seconds * second / first
            for trial in self._trials.values()
            if trial.proposal.fidelity == first and trial.status is Status.DONE
        }
        before = [t for t in self._trials.values() if t.proposal.fidelity != second]
        time = self._time_left(before) - self._expected_seconds(first, second)
        time -= seconds[challengers[0]]
        finalists = challengers[:1]
        for challenger in challengers[1:]:
            time -= seconds[challenger]
            if time >= 0:
                finalists.append(challenger)
        return finalists

    def _edits(self, fidelity: float) -> list[Proposal]:
        """Propose changes of the network that leads on the second rung, as long as there is time."""
        leader = self._leader(fidelity)
        if leader is None:
            return []
        running = [t for t in self._trials.values() if t.status is Status.RUNNING]
        seconds = self._time_left(t for t in self._trials.values() if t not in running)
        n_in_time = int(seconds / max(leader.seconds, 1e-9)) - len(running)
        tried = {trial.candidate for trial in self._trials.values()}
        new = [edit for edit in image_edits(leader.candidate) if edit not in tried]
        note = {EDIT_OF: leader.id}
        return [Proposal(e, fidelity, origin=ORIGIN, note=note) for e in new[: max(0, n_in_time)]]

    def _proposals(self, first: float, fidelity: float, n: int, rng: RNG) -> list[Proposal]:
        """Propose what the strategy does, as long as there is time for it in a long search.

        The strategy sees the trainings of the second rung, as if they were full ones.
        """
        if not self._settings.searches:
            return []
        if proposals := self._missing([self._default], fidelity):
            return proposals
        trials = list(self._trials.values())
        for trial in trials:
            is_new = self._told.get(trial.id) is not trial.status
            if is_new and trial.proposal.fidelity == fidelity:
                self._told[trial.id] = trial.status
                self._strategy.tell(replace(trial, proposal=replace(trial.proposal, fidelity=1.0)))
        running = [trial for trial in trials if trial.status is Status.RUNNING]
        seconds = self._time_left(trial for trial in trials if trial not in running)
        n_in_time = int(seconds / self._expected_seconds(first, fidelity)) - len(running)
        if n_in_time < 1:
            return []
        asked = self._strategy.ask(min(n, n_in_time), rng)
        return [replace(proposal, fidelity=fidelity) for proposal in asked]

    def _leader(self, fidelity: float) -> Trial | None:
        """Return the trial of a challenger that leads in loss and objective; None if none does."""
        trials = [
            trial
            for trial in self._trials.values()
            if trial.status is Status.DONE
            and trial.proposal.fidelity == fidelity
            and EDIT_OF not in trial.proposal.note
        ]
        best = min(trials, key=self._positive_loss, default=None)
        default = next((trial for trial in trials if trial.candidate == self._default), None)
        if best is None or default is None:
            return None
        return best if self._loss(best.metrics) < self._loss(default.metrics) else None

    def _missing(self, candidates: list[Candidate], fidelity: float) -> list[Proposal]:
        tried = {t.candidate for t in self._trials.values() if t.proposal.fidelity == fidelity}
        return [
            Proposal(candidate, fidelity, origin=ORIGIN)
            for candidate in candidates
            if candidate not in tried
        ]

    def _is_running(self, fidelity: float) -> bool:
        return any(
            trial.status is Status.RUNNING
            and trial.proposal.fidelity == fidelity
            and trial.proposal.origin == ORIGIN
            and EDIT_OF not in trial.proposal.note
            for trial in self._trials.values()
        )

    def _positive_loss(self, trial: Trial) -> float:
        """Return the log loss, or the error of a regression: losses whose ratio means something.

        Where rare classes count as much as others, the log loss of all rows would mislead.
        """
        if (score := trial.metrics.get(self._metric)) is not None:
            return 1.0 - score
        names = (name for name in ("log_loss", "rmse") if name in trial.metrics)
        name = next(names, "")
        return trial.metrics[name] if name else self._loss(trial.metrics)

    def _challengers(self, fidelity: float) -> list[Candidate]:
        """Return the candidates that lead on the first rung, the best first."""
        scored = {
            trial.candidate: self._positive_loss(trial)
            for trial in self._trials.values()
            if trial.proposal.fidelity == fidelity and trial.status is Status.DONE
        }
        if self._default not in scored:
            return []
        worst = _MAX_LOSS_RATIO * scored[self._default]
        others = [other for other in self._others if scored.get(other, math.inf) <= worst]
        return sorted(others, key=lambda other: scored[other])[: _N_FINALISTS - 1]


def have_same_epochs(epochs: float, other: float) -> bool:
    """Return whether two trainings were equally long."""
    return abs(epochs - other) <= _EPOCH_TOLERANCE * max(epochs, other)
