"""Given candidates first: what is known to be good elsewhere is tried before anything is searched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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
)
from netwright.space.candidate import Candidate
from netwright.strategies.proposal_tracker import ProposalTracker, foreseen
from netwright.strategies.random import RandomSearch
from netwright.trials.trial import Proposal, Trial

ORIGIN = "portfolio"


@dataclass(frozen=True, repr=False)
class InitialCandidates:
    """`candidates` in their order, then what `algorithm` proposes, which hears of them all.

    Inside of another strategy, such as ASHA, they are the first of the lowest fidelity. Those that
    are known to break a limit are left out.
    """

    algorithm: Algorithm = RandomSearch()  # noqa: RUF009  # frozen
    candidates: tuple[Candidate, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", as_algorithm(self.algorithm))
        object.__setattr__(self, "candidates", tuple(dict.fromkeys(self.candidates)))
        for one in self.candidates:
            if not isinstance(one, Candidate):
                raise InputError(expected("candidates", "Candidates", one))

    def __repr__(self) -> str:
        """A few digits for the candidates: a run folder is gone on with by the same ones only."""
        text = "\n".join(one.json() for one in self.candidates)
        digits = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"Seeded({name_of(self.algorithm)}, {len(self.candidates)} candidates {digits})"

    def __call__(self, problem: Problem) -> Strategy:
        return _SeededSearch(self, problem)


class _SeededSearch:
    """The strategy of `Seeded`."""

    def __init__(self, settings: InitialCandidates, problem: Problem) -> None:
        self._told = ProposalTracker()
        self._then = settings.algorithm(problem)
        for one in settings.candidates:
            problem.space.check(one)
        self._first = [one for one in settings.candidates if not foreseen(problem, one)]

    @property
    def potential_parents(self) -> Iterable[int]:
        return potential_parents(self._then)

    @property
    def preparation(self) -> Preparation | None:
        return preparation(self._then)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        left = [one for one in self._first if one not in self._told.known]
        if left:
            return [Proposal(one, origin=ORIGIN) for one in left[:n]]
        return list(self._then.ask(n, rng))

    def tell(self, trial: Trial) -> None:
        self._told.record(trial)
        self._then.tell(trial)
