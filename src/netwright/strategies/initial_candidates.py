"""Initial candidates: evaluate candidates that did well elsewhere before searching."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netwright.errors import InputError, expected
from netwright.interfaces.checks import as_algorithm, name_of
from netwright.interfaces.preparation import Preparation
from netwright.interfaces.strategy import (
    RNG,
    Algorithm,
    Problem,
    Strategy,
    potential_parents,
    preparation,
    prior_weights,
    searches,
)
from netwright.space.candidate import Candidate
from netwright.strategies.proposal_tracker import ProposalTracker, known_violation
from netwright.strategies.random import RandomSearch
from netwright.trials.trial import Proposal, Trial

ORIGIN = "portfolio"
"""The origin of proposals of initial candidates."""


@dataclass(frozen=True, repr=False)
class InitialCandidates:
    """Propose `candidates` in order, then whatever `algorithm` proposes.

    The algorithm is told of all trials. Inside a multi-fidelity algorithm such as ASHA, the
    candidates are the first ones at the lowest fidelity.

    Args:
        algorithm: The search algorithm that continues, or the class of its settings.
        candidates: Candidates of the space, without repetition. Those known to violate a limit
            before evaluation are skipped.

    Raises:
        InputError: `candidates` holds something other than candidates.

    Example:
        >>> best = nw.Candidate({"depth": 3, "lr": 1e-3})
        >>> strategy = nw.InitialCandidates(nw.Bayesian(), (best,))
    """

    algorithm: Algorithm = RandomSearch()  # noqa: RUF009  # frozen
    candidates: tuple[Candidate, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", as_algorithm(self.algorithm))
        object.__setattr__(self, "candidates", tuple(dict.fromkeys(self.candidates)))
        for candidate in self.candidates:
            if not isinstance(candidate, Candidate):
                raise InputError(expected("candidates", "Candidates", candidate))

    def __repr__(self) -> str:
        """Include a hash of the candidates, so that a run resumes only with the same ones."""
        text = "\n".join(candidate.json() for candidate in self.candidates)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        algorithm = name_of(self.algorithm)
        return f"InitialCandidates({algorithm}, {len(self.candidates)} candidates {digest})"

    @property
    def searches(self) -> bool:
        """Whether the algorithm that continues proposes candidates of its own."""
        return searches(self.algorithm)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`.

        Raises:
            InvalidCandidate: A candidate is not in the space.
        """
        return InitialCandidatesStrategy(self, problem)


class InitialCandidatesStrategy:
    """The strategy made by `InitialCandidates`."""

    def __init__(self, settings: InitialCandidates, problem: Problem) -> None:
        self._tracker = ProposalTracker()
        self._strategy = settings.algorithm(problem)
        for candidate in settings.candidates:
            problem.space.check(candidate)
        self._candidates = [
            candidate
            for candidate in settings.candidates
            if not known_violation(problem, candidate)
        ]

    @property
    def potential_parents(self) -> Iterable[int]:
        return potential_parents(self._strategy)

    @property
    def prior_weights(self) -> Mapping[str, Mapping[str, float]]:
        return prior_weights(self._strategy)

    @property
    def preparation(self) -> Preparation | None:
        return preparation(self._strategy)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        remaining = [
            candidate for candidate in self._candidates if candidate not in self._tracker.seen
        ]
        if remaining:
            return [Proposal(candidate, origin=ORIGIN) for candidate in remaining[:n]]
        return list(self._strategy.ask(n, rng))

    def tell(self, trial: Trial) -> None:
        self._tracker.record(trial)
        self._strategy.tell(trial)
