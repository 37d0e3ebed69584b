from typing import Any

import numpy as np
import pytest

import netwright.strategies.bayesian.tpe as module
from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.bayesian.tpe import TPE, ParzenEstimator
from netwright.testing import best_loss, simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS = Objective("loss", "min")
MIXED = Space(
    {"kind": OneOf({"a": (Float(0.0, 1.0),), "b": (Integer(1, 3),)}), "x": Float(-1.0, 1.0)}
)
PEAKS = Space({f"x{i}": Float(0.0, 1.0) for i in range(3)} | {"k": OneOf(*"abcdef")})


def peaks(candidate: Candidate) -> Metrics:
    """The option says where the numbers should be."""
    values = candidate.values
    target = "abcdef".index(str(values["k"])) / 5
    away = sum((float(str(values[f"x{i}"])) - target) ** 2 for i in range(3))
    return {"loss": away + 0.3 * abs(target - 0.6)}


def test_the_density_sums_to_one() -> None:
    space = Space({"k": OneOf("a", "b", "c"), "i": OneOf({"p": (OneOf(1, 2),), "q": ()})})
    candidates = [space.sample(np.random.default_rng(s)) for s in range(5)]
    assert np.exp(ParzenEstimator(space, candidates).log_pdf(list(space))).sum() == pytest.approx(
        1.0
    )


def test_kernels_at_the_border_integrate_to_one() -> None:
    space = Space({"x": Float(0.0, 1.0)})
    density = ParzenEstimator(space, [Candidate({"x": 0.0}), Candidate({"x": 0.95})])
    grid = (np.arange(2000) + 0.5) / 2000
    values = np.exp(density.log_pdf([Candidate({"x": float(x)}) for x in grid]))
    assert values.mean() == pytest.approx(1.0, abs=1e-3)


def test_samples_follow_the_density() -> None:
    rng = np.random.default_rng(0)
    density = ParzenEstimator(PEAKS, [PEAKS.sample(rng) for _ in range(4)])

    def low(candidates: list[Candidate]) -> np.ndarray:
        return np.array([c.values["k"] == "a" and c.values["x0"] < 0.5 for c in candidates])  # type: ignore[operator]

    drawn = low([density.sample(rng) for _ in range(8000)]).mean()
    uniform = [PEAKS.sample(rng) for _ in range(8000)]
    expected = (6 * np.exp(density.log_pdf(uniform)) * low(uniform)).mean()  # each option had 1 / 6
    assert drawn == pytest.approx(expected, abs=0.02)


def test_the_density_keeps_interactions() -> None:
    def at(option: str, x: float) -> Candidate:
        return Candidate({f"x{i}": x for i in range(3)} | {"k": option})

    density = ParzenEstimator(PEAKS, [at("a", 0.05)] * 10 + [at("b", 0.95)] * 10)
    together, apart = density.log_pdf([at("a", 0.05), at("a", 0.95)])
    assert together > apart + 2  # the prior bounds it; apart decisions would give 0
    rng = np.random.default_rng(0)
    draws = [c for c in (density.sample(rng) for _ in range(500)) if c.values["k"] == "a"]
    assert np.mean([c.values["x0"] < 0.5 for c in draws]) > 0.7  # type: ignore[operator]


def test_inactive_decisions_follow_the_prior() -> None:
    candidates = [Candidate({"kind": "b", "kind.b.0": 2, "x": 0.0})] * 3
    density = ParzenEstimator(MIXED, candidates)
    low, high = (Candidate({"kind": "a", "kind.a.0": v, "x": 0.0}) for v in (0.1, 0.9))
    assert density.log_pdf([low])[0] == pytest.approx(density.log_pdf([high])[0])


def test_proposals_are_likely_among_good_trials_only() -> None:
    strategy = TPE(n_startup_trials=10, gamma=0.3, n_ei_candidates=64)(Problem(PEAKS, [LOSS]))
    rng = np.random.default_rng(3)
    for trial_id in range(40):
        option = "a" if trial_id < 12 else "b"
        x = {f"x{i}": float(rng.random()) for i in range(3)}
        proposal = Proposal(Candidate({**x, "k": option}))
        loss = 0.0 if trial_id < 12 else 1.0
        strategy.tell(Trial(trial_id, proposal, 0))
        strategy.tell(Trial(trial_id, proposal, 0, Status.DONE, {"loss": loss}))
    options = [
        strategy.ask(1, np.random.default_rng(s))[0].candidate.values["k"] for s in range(20)
    ]
    assert "b" not in options


def mean_best_loss(trials: int, **settings: Any) -> float:
    runs = [TPE(**settings)(Problem(PEAKS, [LOSS])) for _ in range(8)]
    best_losses = [best_loss(simulate(run, peaks, trials, seed=s)) for s, run in enumerate(runs)]
    return float(np.mean(best_losses))


def test_without_the_density_ratio_results_are_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ratio = mean_best_loss(100)
    plain = ParzenEstimator.log_pdf

    def without(self: ParzenEstimator, candidates: Any) -> Any:
        return np.zeros(len(candidates)) * plain(self, candidates)

    monkeypatch.setattr(ParzenEstimator, "log_pdf", without)
    assert with_ratio < 0.7 * mean_best_loss(100)


def test_the_number_of_kernels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_MODEL_TRIALS", 30)
    sizes: list[int] = []
    plain = ParzenEstimator.__init__

    def counting(self: ParzenEstimator, space: Any, candidates: Any) -> None:
        sizes.append(len(candidates))
        plain(self, space, candidates)

    monkeypatch.setattr(ParzenEstimator, "__init__", counting)
    simulate(TPE()(Problem(PEAKS, [LOSS])), peaks, 80)
    assert max(sizes) <= 30


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_startup_trials": 1}, "n_startup_trials must be at least 2, got 1"),
        ({"gamma": 1.0}, "gamma must be between 0 and 1, got 1.0"),
        ({"n_ei_candidates": 0}, "n_ei_candidates must be at least 1, got 0"),
    ],
)
def test_invalid_settings_are_errors(settings: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        TPE(**settings)
