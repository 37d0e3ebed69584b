import numpy as np
import pytest

from netwright.errors import InputError, InvalidCandidate
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.evolution.regularized import RegularizedEvolution
from netwright.strategies.initial_candidates import InitialCandidates
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.testing import simulate
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Metrics, Status, Trial

SPACE = Space({"x": Integer(0, 9), "y": Integer(0, 9)})
LOSS = Objective("loss", "min")
FIRST = tuple(Candidate({"x": x, "y": 9 - x}) for x in (7, 3, 5))


def ended(log: list[Trial]) -> list[Trial]:
    return [trial for trial in log if trial.status is Status.DONE]


def loss(candidate: Candidate) -> Metrics:
    x, y = candidate.values["x"], candidate.values["y"]
    assert isinstance(x, int)
    assert isinstance(y, int)
    return {"loss": float(abs(x - 2) + abs(y - 6))}


def test_they_come_first_in_order_without_repetition() -> None:
    strategy = InitialCandidates(
        RegularizedEvolution(population=4, tournament_size=2), (*FIRST, FIRST[0])
    )
    log = ended(simulate(strategy(Problem(SPACE, [LOSS])), loss, 30, seed=1))
    assert tuple(trial.candidate for trial in log[:3]) == FIRST
    assert {trial.proposal.origin for trial in log[:3]} == {"portfolio"}
    assert len({trial.candidate for trial in log}) == 30


def test_the_algorithm_is_told_of_them() -> None:
    """Children of a seed prove it: evolution of four members breeds from what it was told."""
    strategy = InitialCandidates(RegularizedEvolution(population=4, tournament_size=4), FIRST)
    log = ended(simulate(strategy(Problem(SPACE, [LOSS])), loss, 5, seed=0))
    assert log[4].proposal.parents == (log[1].id,)  # x 3, y 6: the best of the first four


def test_ask_returns_at_most_n_and_changes_nothing() -> None:
    strategy = InitialCandidates(candidates=FIRST)(Problem(SPACE, [LOSS]))
    for _ in range(2):
        proposals = strategy.ask(2, np.random.default_rng(0))
        assert tuple(proposal.candidate for proposal in proposals) == FIRST[:2]


def test_a_candidate_known_to_violate_a_limit_is_skipped() -> None:
    class Sums:
        def canonical(self, candidate: Candidate) -> str:
            return candidate.json()

        def features(self, candidates: object) -> np.ndarray:
            return np.zeros((0, 0))

        def metrics(self, candidate: Candidate) -> Metrics:
            return {"x": float(candidate.values["x"])}  # type: ignore[arg-type]

    problem = Problem(SPACE, [LOSS], [Limit("x", at_most=5)], Sums())  # type: ignore[arg-type]
    proposals = InitialCandidates(candidates=FIRST)(problem).ask(3, np.random.default_rng(0))
    assert tuple(proposal.candidate for proposal in proposals) == FIRST[1:]


def test_inside_asha_they_come_first_at_the_lowest_fidelity() -> None:
    strategy = ASHA(InitialCandidates(candidates=FIRST), random_fraction=0.0)(
        Problem(SPACE, [LOSS], fidelities=(0.25, 1.0))
    )
    log = ended(simulate(strategy, loss, 12, seed=0))
    low = [trial.candidate for trial in log if trial.proposal.fidelity < 1]
    whole = [trial.candidate for trial in log if trial.proposal.fidelity == 1]
    assert {*FIRST} <= {*low, *whole}
    assert log[0].candidate == FIRST[0]


def test_the_repr_depends_on_the_candidates() -> None:
    assert repr(InitialCandidates(candidates=FIRST)) != repr(
        InitialCandidates(candidates=FIRST[:2])
    )
    assert repr(InitialCandidates(candidates=FIRST)) == repr(InitialCandidates(candidates=FIRST))
    assert len(repr(InitialCandidates(candidates=FIRST))) < 80


def test_wrong_types_and_foreign_candidates_are_errors() -> None:
    with pytest.raises(InputError, match="candidates must be Candidates, got 'x'"):
        InitialCandidates(candidates=("x",))  # type: ignore[arg-type]
    with pytest.raises(InvalidCandidate):
        InitialCandidates(candidates=(Candidate({"z": 1}),))(Problem(SPACE, [LOSS]))
