import pickle
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.wrappers import cached, cascade, combine
from netwright.interfaces.evaluator import Capabilities
from netwright.space.candidate import Candidate
from netwright.trials.objective import Limit
from netwright.trials.trial import Job, Metrics, Proposal


@dataclass
class Counting:
    metrics: tuple[str, ...]
    value: float
    calls: list[str] = field(default_factory=list)

    def __call__(self, job: Job) -> Metrics:
        self.calls.append(job.proposal.candidate.key)
        return dict.fromkeys(self.metrics, self.value)


def job(x: int = 1, fidelity: float = 1.0) -> Job:
    return Job(Proposal(Candidate({"x": x}), fidelity), seed=0, folder=Path())


def test_combined_evaluators_measure_all_and_in_order() -> None:
    both = combine(Counting(("a", "b"), 1.0), Counting(("c",), 2.0))
    assert both.metrics == ("a", "b", "c")
    assert both(job()) == {"a": 1.0, "b": 1.0, "c": 2.0}


def test_two_evaluators_of_one_metric_are_refused() -> None:
    with pytest.raises(InputError, match=r"different metrics, got \['a'\]"):
        combine(Counting(("a",), 1.0), Counting(("a",), 2.0))


def test_cascade_refuses_before_the_expensive_evaluator() -> None:
    dear = Counting(("accuracy",), 0.9)
    small, large = Counting(("parameters",), 100.0), Counting(("parameters",), 101.0)
    limits = [Limit("parameters", at_most=100), Limit("accuracy", at_least=0.99)]
    assert cascade(small, dear, limits=limits)(job())["accuracy"] == 0.9
    assert len(dear.calls) == 1  # its own limit refuses nothing: it has been paid for
    with pytest.raises(InfeasibleCandidate, match="parameters<=100 is broken: 101"):
        cascade(large, dear, limits=limits)(job())
    assert len(dear.calls) == 1


def test_a_cached_evaluator_answers_again_by_candidate_and_fidelity() -> None:
    inner = Counting(("a",), 1.0)
    evaluator = cached(inner)
    for one in (job(1), job(1), job(2), job(2, fidelity=0.5)):
        assert evaluator(one) == {"a": 1.0}
    assert len(inner.calls) == 3
    assert evaluator.metrics == ("a",)
    assert pickle.loads(pickle.dumps(evaluator))(job(1)) == {"a": 1.0}


def test_evaluators_without_a_fidelity_in_common_are_refused() -> None:
    @dataclass
    class Limited(Counting):
        at: tuple[float, ...] = (1.0,)

        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(fidelities=self.at)

    halves, thirds = Limited(("a",), 1.0, at=(0.5,)), Limited(("b",), 1.0, at=(0.3, 1.0))
    with pytest.raises(InputError, match=r"fidelities in common, got \[0.5\] and \[0.3, 1.0\]"):
        combine(halves, thirds)


def test_an_evaluator_that_leaves_files_is_not_cached() -> None:
    class Leaving(Counting):
        capabilities = Capabilities(leaves_files=True)

    class Keeping(Counting):
        capabilities = Capabilities(keeps=3)

    for one in (Leaving(("a",), 1.0), Keeping(("a",), 1.0), combine(Leaving(("a",), 1.0))):
        with pytest.raises(InputError, match=r"which leaves files. Leave cached\(\) out"):
            cached(one)
