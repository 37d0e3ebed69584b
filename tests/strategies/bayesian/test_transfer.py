"""What the trials of another search say of candidates that were not among them."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.space.candidate import Candidate
from netwright.space.choices import Float
from netwright.space.space import Space
from netwright.strategies.bayesian import transfer
from netwright.strategies.bayesian.surrogates import KernelFeatures
from netwright.strategies.bayesian.targets import rank_correlation
from netwright.strategies.bayesian.transfer import transferred_score
from netwright.trials.objective import Objective
from netwright.trials.trial import Proposal, Status, Trial

LOSS = Objective("loss", "min")
SPACE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
FEATURES = KernelFeatures(SPACE, DefaultKnowledge())


def at(x: float, y: float = 0.5) -> Candidate:
    return Candidate({"x": x, "y": y})


def trials(n: int, scale: float = 1.0, fidelity: float = 1.0, shift: float = 0.0) -> list[Trial]:
    """The nearer to x = 0.3, the better."""
    rng = np.random.default_rng(n)
    return [
        Trial(
            i, Proposal(at(x, y), fidelity), 0, Status.DONE, {"loss": scale * abs(x - 0.3) + shift}
        )
        for i, (x, y) in enumerate(rng.random((n, 2)), 1)
    ]


def test_unseen_candidates_are_scored_by_their_neighbours() -> None:
    score = transferred_score(FEATURES, trials(40), LOSS)
    assert score is not None
    places = np.linspace(0, 1, 21)
    assert rank_correlation(score([at(x) for x in places]), -abs(places - 0.3)) > 0.95


def test_scale_does_not_matter_and_fidelities_are_ranked_apart() -> None:
    plain, scaled = (transferred_score(FEATURES, trials(30, scale), LOSS) for scale in (1.0, 1e6))
    mixed = transferred_score(FEATURES, trials(30) + trials(31, 5.0, 0.1, shift=100.0), LOSS)
    places = [at(x) for x in np.linspace(0, 1, 11)]
    assert plain is not None
    assert scaled is not None
    assert mixed is not None
    assert plain(places) == pytest.approx(scaled(places))
    # pooled, all short trials would rank below all others, wherever they are
    assert rank_correlation(mixed(places), plain(places)) > 0.7


def test_a_score_does_not_depend_on_what_else_is_scored() -> None:
    together = transferred_score(FEATURES, trials(20), LOSS)
    alone = transferred_score(FEATURES, trials(20), LOSS)
    assert together is not None
    assert alone is not None
    places = [at(x) for x in (0.1, 0.4, 0.9)]
    apart = [float(alone([place])[0]) for place in places]
    assert together([*places, *places]) == pytest.approx(apart * 2)


def test_few_trials_or_missing_metrics_say_nothing() -> None:
    assert transferred_score(FEATURES, trials(4), LOSS) is None
    assert transferred_score(FEATURES, trials(30), Objective("other", "min")) is None
    assert transferred_score(FEATURES, (), LOSS) is None


def test_of_many_trials_the_best_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_MAX_TRIALS", 20)
    few = transfer._thinned(trials(100), LOSS)
    assert len(few) == 20
    losses = sorted(trial.metrics["loss"] for trial in trials(100))
    assert [trial.metrics["loss"] for trial in few[:10]] == losses[:10]
    assert few[-1].metrics["loss"] == losses[-1]
