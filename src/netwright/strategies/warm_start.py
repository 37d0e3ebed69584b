"""Warm starts: begin with what an earlier search of the same space has found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from netwright.errors import InputError, expected
from netwright.interfaces.checks import as_algorithm, name_of
from netwright.interfaces.strategy import Algorithm, Problem, Strategy, searches
from netwright.space.candidate import Candidate
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.trials.selection import crowded_order
from netwright.trials.trial import Trial

_MAX_WINNERS = 3
"""Best candidates of the earlier search that are proposed first."""


@dataclass(frozen=True, repr=False)
class WarmStart:
    """Propose the best candidates of an earlier search first, and let `algorithm` know of all.

    At most three winners are proposed, whatever the algorithm is; nothing else of an earlier search
    is taken for a result of this one, whose data may be others. `Bayesian` makes the order of the
    earlier trials one more source of prior belief, which the new trials have to confirm.

    Args:
        algorithm: The search algorithm, or the class of its settings.
        trials: Finished trials of the earlier search.

    Raises:
        InputError: `trials` holds something other than trials.

    Example:
        >>> strategy = nw.WarmStart(nw.Bayesian(), tuple(earlier_study.trials))
    """

    algorithm: Algorithm
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", as_algorithm(self.algorithm))
        object.__setattr__(self, "trials", tuple(self.trials))
        for trial in self.trials:
            if not isinstance(trial, Trial):
                raise InputError(expected("trials", "Trials", trial))

    def __repr__(self) -> str:
        """Include a hash of the trials, so that a run resumes only with the same ones."""
        digest = hashlib.sha256()
        for trial in self.trials:
            text = f"{trial.candidate.json()} {trial.proposal.fidelity} {sorted(trial.metrics.items())}"
            digest.update(text.encode())
        algorithm = name_of(self.algorithm)
        return f"WarmStart({algorithm}, {len(self.trials)} trials {digest.hexdigest()[:8]})"

    @property
    def searches(self) -> bool:
        """Whether the algorithm proposes candidates of its own."""
        return searches(self.algorithm)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        first = InitialCandidates(self.algorithm, self._winners(problem))
        return first(replace(problem, earlier_trials=self.trials))

    def _winners(self, problem: Problem) -> tuple[Candidate, ...]:
        """Return the best candidates of the highest fidelity that are in the space."""
        names = [objective.metric for objective in problem.objectives]
        complete = [t for t in self.trials if all(name in t.metrics for name in names)]
        highest = max((trial.proposal.fidelity for trial in complete), default=1.0)
        trials = [t for t in complete if t.proposal.fidelity == highest]
        best_first = crowded_order(trials, problem.objectives, problem.limits)
        candidates = dict.fromkeys(trials[i].candidate for i in best_first)
        return tuple(filter(problem.space.contains, candidates))[:_MAX_WINNERS]
