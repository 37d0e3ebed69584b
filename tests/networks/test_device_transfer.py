import numpy as np
import pytest
from scipy.stats import spearmanr

from netwright.errors import InputError
from netwright.networks.device_transfer import KnownDevices

N, N_KNOWN = 400, 8


def made_up(seed: int) -> tuple[KnownDevices, np.ndarray]:
    """Devices on which operations cost different times; the last is new."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, (N, 5)).astype(float)  # operations of five kinds
    typical = np.array([5.0, 1.0, 0.5, 2.0, 0.1])
    costs = typical * np.exp(rng.normal(0, 0.5, (N_KNOWN + 1, 5)))
    speed = np.exp(rng.normal(0, 1.0, N_KNOWN + 1))
    latencies = speed * (1 + counts @ costs.T) * np.exp(rng.normal(0, 0.02, (N, N_KNOWN + 1)))
    return KnownDevices(latencies[:, :-1], counts), latencies[:, -1]


def test_ten_measurements_predict_a_new_device() -> None:
    errors, ranks, kept = [], [], []
    for seed in range(6):
        known, new = made_up(seed)
        measured = known.most_informative(10)
        predicted = known.predict(measured, new[measured])
        errors.append(np.median(np.abs(predicted.mean - new) / new))
        ranks.append(spearmanr(predicted.mean, new)[0])
        kept.append(np.mean(new <= predicted.at_most(0.9)))
    assert np.median(errors) < 0.05
    assert min(ranks) > 0.97
    assert 0.8 < np.mean(kept) < 0.99


def test_known_devices_are_worth_more_than_features() -> None:
    """Without the prior over devices, ten measurements say less."""
    gains = []
    for seed in range(8):
        known, new = made_up(seed)
        rng = np.random.default_rng(seed)
        measured = rng.choice(N, 5, replace=False)
        constant = KnownDevices(np.ones((N, 1)), known.features)
        ranks = [
            spearmanr(each.predict(measured, new[measured]).mean, new)[0]
            for each in (known, constant)
        ]
        gains.append(ranks[0] - ranks[1])
    assert np.mean(gains) > 0.02


def test_features_help_where_no_known_device_is_alike() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, (N, 4)).astype(float)
    alike = counts[:, :2] @ rng.uniform(1, 2, (2, 6))  # all know two operations only
    new = 1 + counts @ np.array([1.0, 1.0, 3.0, 3.0])
    measured = rng.choice(N, 12, replace=False)
    ranks = [
        spearmanr(KnownDevices(alike, each).predict(measured, new[measured]).mean, new)[0]
        for each in (counts, np.zeros((N, 0)))
    ]
    assert ranks[0] > 0.95
    assert ranks[1] < 0.8


def test_chosen_measurements_say_more_than_random_ones() -> None:
    errors: dict[str, list[float]] = {"chosen": [], "random": []}
    for seed in range(12):
        known, new = made_up(seed)
        random = np.random.default_rng(seed).choice(N, 6, replace=False)
        for name, measured in (("chosen", known.most_informative(6)), ("random", random)):
            predicted = known.predict(measured, new[measured]).mean
            errors[name].append(float(np.mean(np.abs(predicted - new) / new)))
    assert np.mean(errors["chosen"]) < np.mean(errors["random"])
    known, _ = made_up(0)
    assert len(set(known.most_informative(10))) == 10
    assert len(known.most_informative(10_000)) == N


def test_no_latency_is_predicted_to_be_negative() -> None:
    known, new = made_up(1)
    slowest = np.argsort(-new)[:3]
    assert known.predict(slowest, new[slowest]).mean.min() > 0


def test_wrong_measurements_are_refused() -> None:
    known, _ = made_up(0)
    with pytest.raises(InputError, match="measurements must be 3 or more, one latency for each"):
        known.predict([1, 2], [1.0, 2.0])
    with pytest.raises(InputError, match="measurements must be 3 or more, one latency for each"):
        known.predict([1, 2, 3], [1.0, 2.0])
    with pytest.raises(InputError, match=r"a latency must be above 0 ms, got -1\.0"):
        known.predict([1, 2, 3], [1.0, 2.0, -1.0])
    with pytest.raises(InputError, match="latencies must be a matrix of finite numbers"):
        KnownDevices(np.ones(3), np.ones((3, 1)))
    with pytest.raises(InputError, match="latencies and features must be of the same networks"):
        KnownDevices(np.ones((3, 1)), np.ones((4, 1)))
