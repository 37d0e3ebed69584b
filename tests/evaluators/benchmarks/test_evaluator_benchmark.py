import math
import pickle
from pathlib import Path

import pytest

from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.benchmarks.evaluator_benchmark import EvaluatorBenchmark
from netwright.interfaces.evaluator import Capabilities
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, OneOf
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics

SPACE = Space({"x": Float(-1, 1), "op": OneOf("a", "b")})


def square(job: Job) -> Metrics:
    values = job.proposal.candidate.values
    if values["op"] == "b" and float(values["x"]) > 0.9:  # type: ignore[arg-type]  # a number
        raise InfeasibleCandidate("too large")
    return {"loss": float(values["x"]) ** 2, "noise": float(job.seed)}  # type: ignore[arg-type]


square.metrics = ("loss", "noise")  # type: ignore[attr-defined]  # an evaluator declares them


class Steps:
    """Has two fidelities, and knows something."""

    metrics = ("loss",)

    def __init__(self) -> None:
        self.n_calls = 0
        self.knowledge = DefaultKnowledge()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(fidelities=(0.5, 1.0), knowledge=self.knowledge)

    def __call__(self, job: Job) -> Metrics:
        self.n_calls += 1
        return {"loss": float(job.proposal.candidate.values["x"]) / job.proposal.fidelity}  # type: ignore[arg-type]


def test_candidates_are_evaluated() -> None:
    benchmark = EvaluatorBenchmark(SPACE, square, best={"loss": 0.0})
    candidate = Candidate({"x": 0.5, "op": "a"})
    assert benchmark.look_up(candidate, seed=7) == {"loss": 0.25, "noise": 0.0}
    single = EvaluatorBenchmark(SPACE, square, repetition="one")
    assert single.look_up(candidate, seed=7)["noise"] == 7.0
    assert single.with_mean_repetitions().look_up(candidate, seed=7)["noise"] == 0.0
    with pytest.raises(InfeasibleCandidate, match="too large"):
        benchmark.look_up(Candidate({"x": 0.95, "op": "b"}))
    assert benchmark.stand_in(candidate) is candidate
    assert benchmark.name == "square"


def test_the_scales_are_those_of_random_candidates_evaluated_once() -> None:
    evaluator = Steps()
    benchmark = EvaluatorBenchmark(SPACE, evaluator, n_random=50)
    assert set(benchmark.fidelities) == {0.5, 1.0}
    whole = benchmark.metric_means("loss")
    assert whole.shape == (50,)
    assert whole.min() < -0.8
    assert whole.max() > 0.8
    assert benchmark.metric_means("loss", 0.5) == pytest.approx(2 * whole)
    assert evaluator.n_calls == 100
    again = pickle.loads(pickle.dumps(benchmark))
    assert again.metric_means("loss") == pytest.approx(whole)
    assert again.evaluator.n_calls == 100  # workers need not evaluate them again
    assert benchmark.capabilities.knowledge is evaluator.knowledge
    own = DefaultKnowledge()
    assert EvaluatorBenchmark(SPACE, Steps(), knowledge=own).capabilities.knowledge is own


def test_infeasible_random_candidates_are_missing() -> None:
    losses = EvaluatorBenchmark(SPACE, square).metric_means("loss")
    assert 0 < sum(map(math.isnan, losses)) < 40


def nothing(job: Job) -> Metrics:
    raise InfeasibleCandidate("never")


nothing.metrics = ("loss",)  # type: ignore[attr-defined]


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evaluator must be a callable with an attribute metrics"):
        EvaluatorBenchmark(SPACE, lambda job: {})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"best must be of its metrics, got 'los'\. Did you mean"):
        EvaluatorBenchmark(SPACE, square, best={"los": 0.0})
    with pytest.raises(InputError, match="best of loss must be a finite number, got nan"):
        EvaluatorBenchmark(SPACE, square, best={"loss": math.nan})
    with pytest.raises(InputError, match="n_random must be at least 1, got 0"):
        EvaluatorBenchmark(SPACE, square, n_random=0)
    with pytest.raises(InputError, match="repetition must be mean or one, got 'all'"):
        EvaluatorBenchmark(SPACE, square, repetition="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="metric must be one of square, got 'los'"):
        EvaluatorBenchmark(SPACE, square).metric_means("los")
    with pytest.raises(InputError, match="nothing must be able to evaluate a random candidate"):
        EvaluatorBenchmark(SPACE, nothing).metric_means("loss")
